"""What trainers get beside the rows, read as they read it: TRL and datasets themselves, the others by their schemas."""

import ast
import json
import os
import runpy
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers import read_lines, refusal
from tiny_models import FAMILIES, TEXTS, save_model, save_tokenizer

from nait_index.config import Trainer
from nait_index.errors import NaitError, OutputExistsError
from nait_index.handover.handover import OutputOptions, WrittenFiles, hand_over
from nait_index.handover.rows import ChosenRow, Lengths
from nait_index.handover.writers import write_rows
from nait_index.types import RowFormat

TEMPLATE = (
    "{%- if tools %}TOOLS {{ tools | tojson }}\n{% endif -%}"
    "{%- for message in messages -%}"
    "{%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}{{ raise_exception('role') }}{% endif -%}"
    "<{{ message.role }}>{{ message.content }}"
    "{%- for call in message.tool_calls or [] %}CALL {{ call.function.arguments | tojson }}{% endfor %}\n"
    "{%- endfor -%}{%- if add_generation_prompt %}<assistant>{% endif -%}"
)
"""Writes out all that a row holds, and refuses roles that it does not know, as real ones do."""

ALPACA = [
    {"id": 1, "instruction": "Add.", "input": "1 and 2", "output": "3", "system": "", "note": "x"},
    {"id": 2, "instruction": "Name a river.", "input": "", "output": "The Volga.", "system": "Be brief.", "note": None},
    {"id": 3, "instruction": "And another?", "input": "", "output": "Ural.", "history": [["Name a river.", "Volga."]]},
]
TALK = [
    {"role": "user", "content": "Is it blue?"},
    {"role": "assistant", "content": "No."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "It is red."},
]


def _tool_row(name: str, argument: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": {argument: 2}}}
    definition = {"name": name, "parameters": {"type": "object", "properties": {argument: {"type": "integer"}}}}
    turns = [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": "Do it."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "done", "tool_call_id": "c"},
        {"role": "assistant", "content": "It is done."},
    ]
    return {"id": name, "messages": turns, "tools": [{"type": "function", "function": definition}]}


# A column "prompt", as some have it beside their messages: TRL would take such rows for prompts without completion.
MESSAGES = [
    {"id": "talk", "prompt": "Is it blue?", "messages": TALK},
    _tool_row("lift", "height"),
    _tool_row("turn", "angle"),
]
MADE = {RowFormat.ALPACA: ALPACA, RowFormat.MESSAGES: MESSAGES, RowFormat.TEXT: [{"text": text} for text in TEXTS[:3]]}
PAIRS = [{"prompt": f"{question}? ", "completion": "Yes."} for question in ("Blue", "Red")]


def put(
    path: Path | str, rows: Sequence[Mapping[str, Any]], form: RowFormat, *trainers: Trainer, **options: Any
) -> WrittenFiles:
    """Write rows as a selection is written."""
    chosen = [ChosenRow(str(row.get("id", number)), json.dumps(row), form, 5, False) for number, row in enumerate(rows)]
    records = [{"rank": number + 1, "id": row.id, "score": 1.0} for number, row in enumerate(chosen)]
    return hand_over(chosen, records, {"max_length": 512}, OutputOptions(path, trainers=trainers, **options))


# ---- datasets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "out"])
@pytest.mark.parametrize(
    "target", [RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES, RowFormat.PROMPT_COMPLETION]
)
def test_datasets_loads_every_kind_of_file(tmp_path: Path, name: str, target: RowFormat) -> None:
    put(tmp_path / name, ALPACA, RowFormat.ALPACA, format=target)
    put(tmp_path / "same.jsonl", ALPACA, RowFormat.ALPACA, format=target)
    expected = [json.loads(line) for line in (tmp_path / "same.jsonl").read_text().splitlines()]
    loaded = _load(tmp_path / name)
    assert len(loaded) == 3
    for row, wanted in zip(loaded, expected, strict=True):
        assert {key: value for key, value in row.items() if value is not None} == {
            key: value for key, value in wanted.items() if value is not None
        }


def _load(path: Path) -> Any:
    import datasets

    if path.is_dir():
        return datasets.load_from_disk(path)
    kind = "parquet" if path.suffix == ".parquet" else "json"
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


# ---- LLaMA-Factory ---------------------------------------------------------------------------------------------------

_COLUMNS = ("prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios")
_TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")


def _read_as_llamafactory(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Read rows by the documented meaning of ``dataset_info.json``: what an entry does not name is none."""
    entry = json.loads((folder / "dataset_info.json").read_bytes())[name]
    assert set(entry) <= {"file_name", "formatting", "columns", "tags"}
    assert entry["formatting"] in ("alpaca", "sharegpt")  # "openai" adds a system prompt of its own
    assert set(entry["columns"]) <= set(_COLUMNS)
    columns = {key: entry["columns"].get(key) for key in _COLUMNS}
    for row in _load(folder / entry["file_name"]):
        missing = [name for name in columns.values() if name is not None and name not in row]
        assert not missing, "a column is named that is not there"
        held = {key: row[name] for key, name in columns.items() if name is not None}
        assert isinstance(held.get("tools"), str | None)
        if entry["formatting"] == "alpaca":
            asked = "\n".join(text for text in (held.get("prompt"), held.get("query")) if text)
            history = [text for pair in held.get("history") or [] for text in pair]
            yield {
                "said": [*history, asked, held.get("response")],
                "system": held.get("system"),
                "tools": held.get("tools"),
            }
        else:
            assert set(entry["tags"]) == set(_TAGS), "a tag that is not named is none"
            yield _sharegpt_row(held, entry["tags"])


def _sharegpt_row(held: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    turns, system = held["messages"], held.get("system")
    if turns[0][tags["role_tag"]] == tags["system_tag"]:
        system, turns = turns[0][tags["content_tag"]], turns[1:]
    wanted = ((tags["user_tag"], tags["observation_tag"]), (tags["assistant_tag"], tags["function_tag"]))
    assert all(turn[tags["role_tag"]] in wanted[number % 2] for number, turn in enumerate(turns)), "it would be skipped"
    assert len(turns) % 2 == 0
    for turn in turns:
        if turn[tags["role_tag"]] == tags["function_tag"]:
            assert {"name", "arguments"} <= set(json.loads(turn[tags["content_tag"]]))
    return {"said": [turn[tags["content_tag"]] for turn in turns], "system": system, "tools": held.get("tools")}


@pytest.mark.parametrize("name", ["my rows.jsonl", "my rows.json", "my rows.parquet"])
@pytest.mark.parametrize("target", [None, RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES])
def test_llamafactory_reads_alpaca_rows_in_every_shape(tmp_path: Path, name: str, target: RowFormat | None) -> None:
    written = put(tmp_path / name, ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY, format=target)
    read = list(_read_as_llamafactory(tmp_path, "my_rows"))
    texts = [
        ["Add.\n1 and 2", "3"],
        ["Name a river.", "The Volga."],
        ["Name a river.", "Volga.", "And another?", "Ural."],
    ]
    assert [example["said"] for example in read] == texts
    assert [example["system"] or None for example in read] == [None, "Be brief.", None]
    assert f"LLaMA-Factory: dataset: my_rows, dataset_dir: {tmp_path}" in written.notes


def test_llamafactory_reads_calls_of_tools_in_sharegpt(tmp_path: Path) -> None:
    put(tmp_path / "out.jsonl", MESSAGES, RowFormat.MESSAGES, Trainer.LLAMAFACTORY, format=RowFormat.SHAREGPT)
    talk, lift, turn = _read_as_llamafactory(tmp_path, "out")
    assert talk["said"] == [example["content"] for example in TALK]
    assert (talk["tools"], lift["system"]) == (None, "Use tools.")
    assert json.loads(lift["said"][1])["arguments"] == {"height": 2}
    assert json.loads(turn["tools"])[0]["parameters"]["properties"] == {"angle": {"type": "integer"}}


def test_llamafactory_reads_prompts_and_text_as_they_lie(tmp_path: Path) -> None:
    put(tmp_path / "pairs.jsonl", PAIRS, RowFormat.PROMPT_COMPLETION, Trainer.LLAMAFACTORY)
    assert [example["said"] for example in _read_as_llamafactory(tmp_path, "pairs")] == [
        ["Blue? ", "Yes."],
        ["Red? ", "Yes."],
    ]
    written = put(tmp_path / "text.jsonl", MADE[RowFormat.TEXT], RowFormat.TEXT, Trainer.LLAMAFACTORY)
    assert written.notes[0].endswith("stage: pt, for plain text")
    read = _read_as_llamafactory(tmp_path, "text")
    assert [row["said"] for row in read] == [[text, None] for text in TEXTS[:3]]


def test_roles_are_told_as_the_rows_call_them(tmp_path: Path) -> None:
    rows = [{"conversations": [{"from": "user", "value": "a"}, {"from": "model", "value": "b"}]}]
    put(tmp_path / "out.jsonl", rows, RowFormat.SHAREGPT, Trainer.LLAMAFACTORY)
    tags = json.loads((tmp_path / "dataset_info.json").read_bytes())["out"]["tags"]
    assert (tags["user_tag"], tags["assistant_tag"], tags["observation_tag"]) == ("user", "model", "observation")


def test_rows_do_not_take_the_place_of_what_a_trainer_needs(tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(NaitError, match="the trainer needs a file of this name"):
            put(tmp_path / "dataset_info.json", ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY, force=force)
    assert not list(tmp_path.iterdir())


def test_other_entries_stay_and_none_is_replaced_unasked(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_text('{"mine": {"file_name": "é.json"}, "out": {"file_name": "other.json"}}', encoding="utf-8")
    before = info.read_bytes()
    with pytest.raises(
        OutputExistsError, match=r"dataset_info\.json: has another entry 'out'; replace it with --force"
    ):
        put(tmp_path / "out.jsonl", ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY)
    assert info.read_bytes() == before
    assert not (tmp_path / "out.jsonl").exists()
    put(tmp_path / "out.jsonl", ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY, force=True)
    put(tmp_path / "two.jsonl", ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY)
    known = json.loads(info.read_bytes())
    assert list(known) == ["mine", "out", "two"]
    assert (known["mine"], known["out"]["file_name"]) == ({"file_name": "é.json"}, "out.jsonl")
    info.write_text("[]")
    with pytest.raises(NaitError, match="not a JSON object"):
        put(tmp_path / "three.jsonl", ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY)


def test_two_outputs_at_once_keep_both_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_entry(name: str) -> None:
        put(tmp_path / name, ALPACA, RowFormat.ALPACA, Trainer.LLAMAFACTORY)

    other = threading.Thread(target=put_entry, args=["two.jsonl"])

    def interrupted(rows: Any, path: Path, *rest: Any) -> None:
        if path.name == "one.jsonl":
            other.start()
            other.join(0.5)  # long enough for it to finish, were it not to wait
        write_rows(rows, path, *rest)

    monkeypatch.setattr("nait_index.handover.handover.write_rows", interrupted)
    put_entry("one.jsonl")
    other.join()
    assert list(json.loads((tmp_path / "dataset_info.json").read_bytes())) == ["one", "two"]


# ---- Axolotl ---------------------------------------------------------------------------------------------------------

_AXOLOTL = {
    "path", "ds_type", "type", "field", "field_messages", "field_tools", "message_property_mappings", "roles",
    "roles_to_train",
}  # fmt: skip
_USER_DEFINED = {
    "field_instruction",
    "field_input",
    "field_output",
    "field_system",
    "format",
    "no_input_format",
    "system_format",
}


def _axolotl_entry(out: Path) -> dict[str, Any]:
    """Read the block and hold it against the documented schema of ``datasets:``."""
    import yaml

    (entry,) = yaml.safe_load(out.with_name(out.name + ".axolotl.yaml").read_text(encoding="utf-8"))["datasets"]
    assert isinstance(entry, dict)
    assert set(entry) <= _AXOLOTL
    assert Path(entry["path"]) == out.resolve()
    kinds = {".jsonl": "json", ".json": "json", ".parquet": "parquet", "": None}
    assert entry.get("ds_type") == kinds[out.suffix]
    if isinstance(entry["type"], dict):
        assert set(entry["type"]) <= _USER_DEFINED
    return entry


def _read_as_axolotl(out: Path) -> Iterator[list[tuple[str, str]]]:
    """Read the turns of a conversation as ``type: chat_template`` does."""
    entry = _axolotl_entry(out)
    assert entry["type"] == "chat_template"
    keys, roles = (
        entry["message_property_mappings"],
        {name: role for role, names in entry["roles"].items() for name in names},
    )
    assert set(entry["roles_to_train"]) <= set(roles.values())
    for row in _load(out):
        yield [(roles[turn[keys["role"]]], turn[keys["content"]]) for turn in row[entry["field_messages"]]]
        tools = row.get(entry.get("field_tools", "tools"))
        assert tools is None or json.loads(tools) if isinstance(tools, str) else tools is None or tools


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "out"])
@pytest.mark.parametrize("target", [RowFormat.SHAREGPT, RowFormat.MESSAGES])
def test_axolotl_reads_conversations(tmp_path: Path, name: str, target: RowFormat) -> None:
    put(tmp_path / name, ALPACA, RowFormat.ALPACA, Trainer.AXOLOTL, format=target)
    first, second, third = _read_as_axolotl(tmp_path / name)
    assert first == [("user", "Add.\n1 and 2"), ("assistant", "3")]
    assert second[0] == ("system", "Be brief.")
    assert [role for role, _ in third] == ["user", "assistant"] * 2


def test_axolotl_reads_tools(tmp_path: Path) -> None:
    for name in ("out.jsonl", "out.parquet"):
        put(tmp_path / name, MESSAGES, RowFormat.MESSAGES, Trainer.AXOLOTL)
        assert [len(ids) for ids in _read_as_axolotl(tmp_path / name)] == [4, 5, 5]
        assert _axolotl_entry(tmp_path / name)["field_tools"] == "tools"


def test_axolotl_is_told_of_systems_prompts_and_text(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", ALPACA[:1], RowFormat.ALPACA, Trainer.AXOLOTL)
    put(tmp_path / "b.jsonl", ALPACA[:2], RowFormat.ALPACA, Trainer.AXOLOTL)
    assert _axolotl_entry(tmp_path / "a.jsonl")["type"] == "alpaca"
    assert _axolotl_entry(tmp_path / "b.jsonl")["type"] == "alpaca_w_system"
    put(tmp_path / "c.jsonl", PAIRS, RowFormat.PROMPT_COMPLETION, Trainer.AXOLOTL)
    entry = _axolotl_entry(tmp_path / "c.jsonl")["type"]
    assert entry["format"].format(instruction=PAIRS[0][entry["field_instruction"]]) == "Blue? "
    assert entry["field_output"] == "completion"
    put(tmp_path / "d.jsonl", MADE[RowFormat.TEXT], RowFormat.TEXT, Trainer.AXOLOTL)
    entry = _axolotl_entry(tmp_path / "d.jsonl")
    assert (entry["type"], entry["field"]) == ("completion", "text")


# ---- TRL -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny model to be trained, with a chat template."""
    folder = tmp_path_factory.mktemp("trained")
    save_model(FAMILIES["llama"], folder)
    save_tokenizer(folder, eos_token="</s>", pad_token="<unk>", chat_template=TEMPLATE)
    return folder


def _train(written: WrittenFiles, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the script's own path for one step, and give the text that each row became."""
    (script,) = (path for path in written.configurations if path.name.endswith(".trl.py"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    with warnings.catch_warnings():
        # TRL sets it itself, by its old name.
        warnings.filterwarnings("ignore", message="`gradient_checkpointing` is deprecated", category=FutureWarning)
        made = runpy.run_path(str(script))["trainer"](
            str(model),
            max_steps=1,
            per_device_train_batch_size=2,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            bf16=False,
        )
        assert made.train().global_step == 1
    return [made.processing_class.decode(ids) for ids in made.train_dataset["input_ids"]]


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "out"])
@pytest.mark.parametrize("target", [RowFormat.MESSAGES, RowFormat.PROMPT_COMPLETION])
def test_trl_trains_on_what_was_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: RowFormat
) -> None:
    written = put(tmp_path / name, ALPACA, RowFormat.ALPACA, Trainer.TRL, format=target)
    first, second, third = _train(written, model, tmp_path, monkeypatch)
    assert first == "<user>Add.\n1 and 2<assistant>3"
    assert second.startswith("<system>Be brief.")
    assert third.count("<user>") == 2


def test_trl_trains_on_tools_and_columns_do_not_mislead_it(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = put(tmp_path / "out.jsonl", MESSAGES, RowFormat.MESSAGES, Trainer.TRL)
    talk, lift, turn = _train(written, model, tmp_path, monkeypatch)
    assert talk.count("<user>") == 2
    assert 'CALL {"height": 2}' in lift
    assert "angle" not in lift
    assert 'CALL {"angle": 2}' in turn
    assert turn.startswith("TOOLS ")


def test_trl_trains_on_text_and_prompts_as_they_lie(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = put(tmp_path / "text.jsonl", MADE[RowFormat.TEXT], RowFormat.TEXT, Trainer.TRL)
    assert _train(written, model, tmp_path, monkeypatch) == [f"{text}</s>" for text in TEXTS[:3]]
    written = put(tmp_path / "pairs.parquet", PAIRS, RowFormat.PROMPT_COMPLETION, Trainer.TRL)
    assert _train(written, model, tmp_path, monkeypatch) == ["Blue? Yes.</s>", "Red? Yes.</s>"]


def test_the_script_holds_whatever_the_file_is_called(tmp_path: Path) -> None:
    name = "it's \"{odd}\" \\ \n'''.jsonl"
    written = put(tmp_path / name, ALPACA, RowFormat.ALPACA, Trainer.TRL, format=RowFormat.MESSAGES)
    (script,) = written.configurations
    tree = ast.parse(script.read_text(encoding="utf-8"))
    assert name in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [
        (
            Lengths([10, 2000, 1025, 1024], 4096, 0),
            "2 of 4 rows are longer than 1,024 tokens of the index's tokenizer",
        ),
        (
            Lengths([10, 512, 512], 512, 2),
            "is unknown: the index truncated 2 of 3 rows at 512 tokens of its own tokenizer",
        ),
        (Lengths([10, 512], 512, 0), "0 of 2 rows are longer"),
        (Lengths([10, 2048], 2048, 1), "1 of 2 rows are longer"),
    ],
)
def test_lengths_are_worded_by_what_is_known(lengths: Lengths, sentence: str) -> None:
    assert sentence in lengths.over(1024)


# ---- what a trainer cannot read --------------------------------------------------------------------------------------

_TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
_SAID = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
_NAMED = [{"role": "user", "value": "a"}, {"role": "assistant", "value": "b"}]
_CALL = {"name": "f", "arguments": '{"a": 1}'}
_CALLED_IN_TEXT = [_TURNS[0], {"role": "assistant", "content": "", "tool_calls": [{"function": _CALL}]}]
_CALLED_AS_BEFORE = [_TURNS[0], {"role": "assistant", "content": "", "function_call": _CALL}]


@pytest.mark.parametrize(
    ("trainer", "form", "row", "message"),
    [
        ("trl", "alpaca", ALPACA[0], "TRL does not read alpaca rows; add --as messages"),
        ("trl", "sharegpt", {"conversations": _SAID}, "add --as messages"),
        (
            "trl",
            "messages",
            {"messages": [{"role": "human", "content": "a"}, _TURNS[1]]},
            "role 'human'.*add --as messages",
        ),
        ("trl", "messages", {"messages": _TURNS, "system": "s"}, "'system' would be lost; add --as messages"),
        ("trl", "messages", {"messages": _CALLED_IN_TEXT}, "arguments of its calls are text.*; add --as messages"),
        ("trl", "messages", {"messages": _CALLED_AS_BEFORE}, "'function_call'.*; add --as messages"),
        ("trl", "messages", {"messages": _NAMED}, "no text in 'content'; add --as messages"),
        ("trl", "prompt-completion", {"prompt": "a", "completion": _TURNS[1:]}, "add --as prompt-completion"),
        ("axolotl", "messages", {"messages": _CALLED_AS_BEFORE}, "'function_call'.*; add --as messages"),
        ("axolotl", "messages", {"messages": _NAMED}, "no text in 'content'; add --as messages"),
        ("axolotl", "messages", {"messages": _TURNS, "system": ""}, "get an empty system turn; add --as messages"),
        ("axolotl", "alpaca", ALPACA[2], "history, which Axolotl ignores in alpaca rows; add --as messages"),
        ("axolotl", "alpaca", {"instruction": "a", "context": "b", "response": "c"}, "'output'; add --as messages"),
        ("axolotl", "prompt-completion", {"prompt": _TURNS[:1], "completion": _TURNS[1:]}, "add --as messages"),
        ("axolotl", "sharegpt", {"conversations": [*_SAID, {"from": "function_call", "value": "{}"}]}, "--as messages"),
        ("llamafactory", "messages", {"messages": _TURNS[1:]}, "would be skipped; add --as sharegpt"),
        ("llamafactory", "messages", {"messages": [_TURNS[0], *_TURNS]}, "would be skipped; add --as sharegpt"),
        ("llamafactory", "messages", MESSAGES[1], "calls tools; add --as sharegpt"),
        (
            "llamafactory",
            "messages",
            {"messages": _TURNS, "tools": [{"name": "f"}]},
            "not JSON text; add --as sharegpt",
        ),
        ("llamafactory", "alpaca", {"instruction": None, "output": "a"}, "no text in 'instruction'; add --as sharegpt"),
        ("llamafactory", "sharegpt", {"conversation": [{"human": "a", "assistant": "b"}]}, "add --as sharegpt"),
        (
            "llamafactory",
            "messages",
            {"messages": [*_TURNS, {"role": "human", "content": "a"}, _TURNS[1]]},
            "its role 'user' is called 'human' in other turns; add --as sharegpt",
        ),
    ],
)
def test_rows_that_a_trainer_cannot_read_are_refused(
    tmp_path: Path, trainer: str, form: str, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(NaitError, match=f"cannot read row '.+': .*{message}"):
        put(tmp_path / "out.jsonl", [row], RowFormat(form), Trainer(trainer))
    assert os.listdir(tmp_path) == []


def test_llamafactory_gets_the_columns_of_images(tmp_path: Path) -> None:
    rows = [
        {"conversations": _SAID, "images": ["a.png"], "audio": "a.wav"},
        {"conversations": _SAID, "images": [], "videos": ["a.mp4", "b.mp4"]},
    ]
    written = put(tmp_path / "out.jsonl", rows, RowFormat.SHAREGPT, Trainer.LLAMAFACTORY)
    entry = json.loads((tmp_path / "dataset_info.json").read_bytes())["out"]
    assert entry["columns"] == {"messages": "conversations", "images": "images", "audios": "audio", "videos": "videos"}
    assert any("set media_dir" in note for note in written.notes)
    assert read_lines(tmp_path / "out.jsonl") == rows


@pytest.mark.parametrize(
    ("trainer", "row", "message"),
    [
        (
            Trainer.TRL,
            {"messages": _TURNS, "images": ["a.png"]},
            "it carries images, video or audio, which would be lost",
        ),
        (Trainer.AXOLOTL, {"messages": _TURNS, "image": "a.png"}, "it carries images, video or audio"),
        (Trainer.LLAMAFACTORY, {"messages": _TURNS, "images": ["a.png"], "image": "b.png"}, "and others in 'images'"),
        (Trainer.LLAMAFACTORY, {"messages": _TURNS, "images": [{"url": "a.png"}]}, "are not all paths"),
        (
            Trainer.LLAMAFACTORY,
            {"messages": [_TURNS[0] | {"images": ["a.png"]}, _TURNS[1]]},
            "it carries images, video or audio",
        ),
        (Trainer.LLAMAFACTORY, {"messages": _TURNS, "photo": {"bytes": None, "path": "a.png"}}, "are not all paths"),
    ],
)
def test_rows_whose_images_a_trainer_would_lose_are_refused(
    tmp_path: Path, trainer: Trainer, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(NaitError, match=f"{message}.*; write the rows without --for"):
        put(tmp_path / "out.jsonl", [row], RowFormat.MESSAGES, trainer)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("trainer", [Trainer.TRL, Trainer.AXOLOTL])
def test_what_is_not_text_is_made_text(tmp_path: Path, trainer: Trainer) -> None:
    row: dict[str, Any] = {"messages": [_TURNS[0], _TURNS[1] | {"reasoning_content": ["One, ", "two."]}]}
    pieces = {"messages": [_TURNS[0], _TURNS[1] | {"content": [{"type": "text", "text": "b"}]}]}
    with pytest.raises(NaitError, match="a turn holds text or reasoning in pieces; add --as messages"):
        put(tmp_path / "out.jsonl", [pieces], RowFormat.MESSAGES, trainer)
    with pytest.raises(NaitError, match="a turn holds text or reasoning in pieces; add --as messages"):
        put(tmp_path / "out.jsonl", [row], RowFormat.MESSAGES, trainer)
    put(tmp_path / "out.jsonl", [row], RowFormat.MESSAGES, trainer, format="messages")
    (written,) = read_lines(tmp_path / "out.jsonl")
    assert written["messages"][1]["reasoning_content"] == "One, two."


@pytest.mark.parametrize("trainer", [Trainer.LLAMAFACTORY, Trainer.AXOLOTL])
def test_a_system_text_beside_a_system_turn_is_not_lost(tmp_path: Path, trainer: Trainer) -> None:
    row = {"system": "Be brief.", "messages": [{"role": "system", "content": "Be kind."}, *_TURNS]}
    with pytest.raises(NaitError, match="its column 'system' would be lost beside a system turn; put both into"):
        put(tmp_path / "out.jsonl", [row], RowFormat.MESSAGES, trainer)


@pytest.mark.parametrize(
    ("trainer", "target", "ignored"),
    [
        (Trainer.LLAMAFACTORY, RowFormat.SHAREGPT, {"name": 1, "weight": 2}),
        (Trainer.AXOLOTL, RowFormat.MESSAGES, {"weight": 2}),
        (Trainer.TRL, RowFormat.MESSAGES, {"weight": 2}),
        (Trainer.TRL, RowFormat.PROMPT_COMPLETION, {"weight": 2}),
    ],
)
def test_fields_of_turns_that_a_trainer_ignores_are_counted(
    tmp_path: Path, trainer: Trainer, target: RowFormat, ignored: dict[str, int]
) -> None:
    """They are written all the same, for other readers."""
    weighed = [_TURNS[0], _TURNS[1] | {"weight": 0}]
    rows = [{"messages": weighed}, {"messages": [_TURNS[0] | {"name": "Ann"}, *weighed[1:]]}, {"messages": _TURNS}]
    written = put(tmp_path / "out.jsonl", rows, RowFormat.MESSAGES, trainer, format=target)
    assert json.loads(written.sidecar.read_bytes())["ignored"] == {str(trainer): ignored}
    names = ", ".join(f"{name} ({count} {'row' if count == 1 else 'rows'})" for name, count in ignored.items())
    assert any(note.endswith(f" ignores these fields of turns: {names}") for note in written.notes)
    assert '"weight": 0' in (tmp_path / "out.jsonl").read_text()


@pytest.mark.parametrize(
    ("trainer", "form", "row"),
    [
        (Trainer.LLAMAFACTORY, RowFormat.SHAREGPT, MESSAGES[1]),
        (Trainer.AXOLOTL, RowFormat.MESSAGES, MESSAGES[1]),
        (Trainer.TRL, RowFormat.MESSAGES, MESSAGES[1]),
    ],
)
def test_what_is_advised_works(tmp_path: Path, trainer: Trainer, form: RowFormat, row: dict[str, Any]) -> None:
    assert put(tmp_path / "out.jsonl", [row], RowFormat.MESSAGES, trainer, format=form).rows == 1


def test_mixed_rows_are_refused_for_every_trainer(tmp_path: Path) -> None:
    chosen = [
        ChosenRow("a", json.dumps(ALPACA[0]), RowFormat.ALPACA, 1, False),
        ChosenRow("b", json.dumps({"messages": _TURNS}), RowFormat.MESSAGES, 1, False),
    ]
    for trainer in Trainer:
        with pytest.raises(NaitError, match="cannot read row 'b': it is messages where row 'a' is alpaca"):
            hand_over(chosen, [{}, {}], {}, OutputOptions(tmp_path / "out.jsonl", trainers=(trainer,)))


def test_what_can_never_work_is_refused_before_any_work(tmp_path: Path) -> None:
    asked = ["query", tmp_path / "none.nait", "-c", "x", "-o"]
    assert "TRL does not read rows --as alpaca; use --as messages" in refusal(
        *asked, tmp_path / "a.jsonl", "--as", "alpaca", "--for", "trl"
    )
    assert "LLaMA-Factory cannot read a folder of datasets; write .jsonl" in refusal(
        *asked, f"{tmp_path}/a/", "--for", "llamafactory"
    )


def test_calls_in_a_table_are_not_for_trl(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match=r"arguments of its calls are text.*; write \.jsonl"):
        put(tmp_path / "out.parquet", MESSAGES, RowFormat.MESSAGES, Trainer.TRL)
