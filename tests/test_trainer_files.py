"""What ms-swift, verl, OpenRLHF and Unsloth get beside the rows, read by what each documents.

The scripts are run, with a stand-in for the program that they start.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import refusal
from tiny_models import FAMILIES, TEXTS, save_model, save_tokenizer

from nait_index.config import Trainer
from nait_index.errors import NaitError
from nait_index.handover.handover import OutputOptions, WrittenFiles, hand_over
from nait_index.handover.rows import ChosenRow
from nait_index.types import RowFormat

ALPACA = [
    {"instruction": "Add.", "input": "1 and 2", "output": "3"},
    {"instruction": "And another?", "input": "", "output": "Ural.", "history": [["Name a river.", "Volga."]]},
]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it blue?"},
    {"role": "assistant", "content": "No."},
]
CALL = {"id": "c", "type": "function", "function": {"name": "lift", "arguments": {"height": 2}}}
CALLS = [
    {"role": "user", "content": "Lift it."},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "done", "tool_call_id": "c"},
    {"role": "assistant", "content": "It is up."},
]
TOOLS = [{"type": "function", "function": {"name": "lift", "parameters": {"type": "object", "properties": {}}}}]
SAID = [{"from": "human", "value": "Red?"}, {"from": "gpt", "value": "Yes."}]
PAIRS = [{"question": "Blue?", "answer": "No."}, {"question": "Red?", "answer": "Yes."}]
TEXT_ROWS = [{"text": text} for text in TEXTS[:2]]
BETTER = [{"prompt": "Blue?", "chosen": "No.", "rejected": "Yes."}]
BETTER_TALKS = [{"chosen": TALK, "rejected": [*TALK[:2], {"role": "assistant", "content": "Yes."}]}]
BETTER_TURNS = [{"prompt": TALK[:2], "chosen": TALK[2:], "rejected": [{"role": "assistant", "content": "Yes."}]}]
REWARDED = [
    {"prompt": TALK[1:2], "data_source": "colours", "reward_model": {"style": "rule", "ground_truth": "No."}, "id": "a"}
]


def put(
    path: Path, rows: Sequence[Mapping[str, Any]], form: str, trainer: Trainer, target: str | None = None
) -> WrittenFiles:
    """Write rows as a selection is written."""
    chosen = [ChosenRow(str(number), json.dumps(row), RowFormat(form), 5, False) for number, row in enumerate(rows)]
    records = [{"rank": number + 1, "id": row.id, "score": 1.0} for number, row in enumerate(chosen)]
    return hand_over(chosen, records, {"max_length": 512}, OutputOptions(path, trainers=(trainer,), format=target))


def load(path: Path) -> Any:
    """Load rows as trainers do."""
    import datasets

    kind = "parquet" if path.suffix == ".parquet" else "json"
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


def started(written: WrittenFiles, program: str, *arguments: str) -> list[str]:
    """Run the script, with a stand-in for the program that it starts, and return that program's arguments."""
    (script,) = written.configurations
    stand_in = script.parent / "bin" / program
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", script, "the model", *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.split("\0")[:-1]


# ---- ms-swift: https://swift.readthedocs.io/en/latest/Instruction/Command-line-parameters.html -----------------------

_SWIFT = {"dataset", "strict", "columns", "rlhf_type"}
_SWIFT_ROLES = {"human": "user", "gpt": "assistant", "function_call": "tool_call", "observation": "tool"}


def read_as_swift(out: Path) -> Iterator[Any]:
    """Read rows as https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html says."""
    import yaml

    settings = yaml.safe_load(out.with_name(f"{out.name}.ms-swift.yaml").read_text(encoding="utf-8"))
    assert set(settings) <= _SWIFT
    assert settings["dataset"] == [str(out)]
    rows = load(out)
    rows = rows.rename_columns(settings.get("columns", {}))  # stops at a name that is taken
    for row in rows:
        if "messages" in row:
            talks = [row[name] for name in ("messages", "rejected_messages") if name in row]
            read = [[(_role(turn), turn.get("content", turn.get("value"))) for turn in talk] for talk in talks]
            yield read if len(read) > 1 else read[0]
        elif "instruction" in row and "input" in row:
            asked = "\n".join(filter(None, (row["instruction"], row["input"])))
            yield [*(row.get("history") or []), [asked, row.get("output", row.get("response"))]]
        else:
            yield [
                row.get("query"),
                row["response"],
                *([row["rejected_response"]] if "rejected_response" in row else []),
            ]


def _role(turn: Mapping[str, Any]) -> str:
    role = turn.get("role") or turn["from"]
    return _SWIFT_ROLES.get(role, role)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_ms_swift_reads_conversations(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    put(tmp_path / name, [{"messages": TALK}], "messages", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / name)) == [[(turn["role"], turn["content"]) for turn in TALK]]
    put(tmp_path / "a" / name, [{"conversations": SAID}], "sharegpt", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "a" / name)) == [[("user", "Red?"), ("assistant", "Yes.")]]


def test_ms_swift_reads_instructions_pairs_and_text(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", ALPACA, "alpaca", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "a.jsonl")) == [
        [["Add.\n1 and 2", "3"]],
        [["Name a river.", "Volga."], ["And another?", "Ural."]],
    ]
    dolly = [{"instruction": "Add.", "context": "1 and 2", "response": "3"}]
    put(tmp_path / "b.jsonl", dolly, "alpaca", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "b.jsonl")) == [[["Add.\n1 and 2", "3"]]]
    put(tmp_path / "c.jsonl", [{"instruction": "Add.", "output": "3"}], "alpaca", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "c.jsonl")) == [["Add.", "3"]]
    put(tmp_path / "d.jsonl", PAIRS, "prompt-completion", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "d.jsonl")) == [["Blue?", "No."], ["Red?", "Yes."]]
    put(tmp_path / "e.jsonl", TEXT_ROWS, "text", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "e.jsonl")) == [[None, text] for text in TEXTS[:2]]
    assert "swift pt " in (tmp_path / "e.jsonl.ms-swift.yaml").read_text()


def test_ms_swift_reads_preferences(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", BETTER, "preference", Trainer.MS_SWIFT)
    assert list(read_as_swift(tmp_path / "a.jsonl")) == [["Blue?", "No.", "Yes."]]
    put(tmp_path / "b.jsonl", BETTER_TALKS, "preference", Trainer.MS_SWIFT)
    ((chosen, rejected),) = read_as_swift(tmp_path / "b.jsonl")
    assert (chosen[-1], rejected[-1]) == (("assistant", "No."), ("assistant", "Yes."))
    text = (tmp_path / "b.jsonl.ms-swift.yaml").read_text()
    assert "swift rlhf " in text
    assert "rlhf_type: dpo" in text


def test_what_ms_swift_mixes_is_words(tmp_path: Path) -> None:
    """ms-swift passes lists of its configuration on as words of a command."""
    import yaml

    put(tmp_path / "a.jsonl", PAIRS, "prompt-completion", Trainer.MS_SWIFT)
    text = (tmp_path / "a.jsonl.ms-swift.yaml").read_text()
    mixed = yaml.safe_load("\n".join(line.removeprefix("# ") for line in text.splitlines()[-2:]))
    assert mixed == {"dataset": [str(tmp_path / "a.jsonl"), "GENERAL"], "interleave_prob": ["0.5", "0.5"]}


def test_fields_of_turns_that_ms_swift_reads_are_not_ignored(tmp_path: Path) -> None:
    turns = [TALK[1], TALK[2] | {"loss_scale": 2.0, "name": "Ann"}]
    written = put(tmp_path / "a.jsonl", [{"messages": turns}], "messages", Trainer.MS_SWIFT)
    assert json.loads(written.sidecar.read_bytes())["ignored"] == {"ms-swift": {"name": 1}}


# ---- verl: https://verl.readthedocs.io/en/latest/examples/config.html, verl/trainer/config/sft_trainer_engine.yaml ---

_VERL_SFT = {"data.train_files", "data.messages_key", "data.max_length", "model.path"}
_VERL_PPO = {
    "algorithm.adv_estimator", "data.train_files", "data.prompt_key", "actor_rollout_ref.model.path",
    "actor_rollout_ref.rollout.name",
}  # fmt: skip


def test_verl_reads_conversations_of_parquet(tmp_path: Path) -> None:
    out = tmp_path / 'it\'s "odd" $HOME.parquet'
    written = put(out, ALPACA, "alpaca", Trainer.VERL, "messages")
    words = started(written, "torchrun", "trainer.total_epochs=2")
    assert words[:5] == ["--standalone", "--nnodes=1", "--nproc_per_node=1", "-m", "verl.trainer.sft_trainer"]
    settings = dict(word.split("=", 1) for word in words[5:])
    assert settings.pop("trainer.total_epochs") == "2"
    assert set(settings) == _VERL_SFT
    assert settings["data.train_files"] == '"' + str(out).replace('"', '\\"') + '"'
    assert settings["model.path"] == "the model"
    rows = pq.read_table(out).to_pydict()[settings["data.messages_key"]]
    assert [[turn["role"] for turn in turns] for turns in rows] == [["user", "assistant"], ["user", "assistant"] * 2]


def test_verl_does_not_read_text(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="verl does not read text rows; use another trainer"):
        put(tmp_path / "a.jsonl", TEXT_ROWS, "text", Trainer.VERL)


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet"])
def test_verl_reads_prompts_with_a_reward(tmp_path: Path, name: str) -> None:
    """By https://verl.readthedocs.io/en/latest/preparation/prepare_data.html."""
    written = put(tmp_path / name, REWARDED, "prompt-completion", Trainer.VERL)
    words = started(written, "python3", "data.val_files=x")
    assert words[:2] == ["-m", "verl.trainer.main_ppo"]
    settings = dict(word.split("=", 1) for word in words[2:])
    assert settings.pop("data.val_files") == "x"
    assert set(settings) == _VERL_PPO
    (row,) = load(tmp_path / name)
    assert {settings["data.prompt_key"], "data_source", "reward_model"} <= set(row)
    assert row["reward_model"]["ground_truth"] == "No."


# ---- OpenRLHF: https://openrlhf.readthedocs.io/en/latest/non_rl.html, openrlhf/cli/train_sft.py, train_dpo.py --------


def started_openrlhf(written: WrittenFiles) -> argparse.Namespace:
    """Parse what the script passes to OpenRLHF, by the options that it documents for this trainer."""
    module, name, *words = started(written, "deepspeed", "--ckpt.output_dir", "made")
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    keys = {
        "openrlhf.cli.train_sft": ["input_key", "output_key"],
        "openrlhf.cli.train_dpo": ["prompt_key", "chosen_key", "rejected_key"],
    }[name]
    assert module == "--module"
    for key in ("dataset", "max_len", *keys):
        parser.add_argument(f"--data.{key}", dest=key)
    parser.add_argument("--data.apply_chat_template", dest="chat", action="store_true")
    parser.add_argument("--model.model_name_or_path", dest="model")
    parser.add_argument("--ckpt.output_dir", dest="output")
    if name.endswith("sft"):
        parser.add_argument("--data.multiturn", dest="multiturn", action="store_true")
        parser.add_argument("--model.pretrain_mode_enable", dest="pretrain", action="store_true")
    options = parser.parse_args(words)
    assert (options.model, options.output, options.dataset) == ("the model", "made", str(written.path))
    return options


def test_openrlhf_reads_conversations(tmp_path: Path) -> None:
    options = started_openrlhf(put(tmp_path / "it's.jsonl", [{"messages": TALK}], "messages", Trainer.OPENRLHF))
    assert (options.input_key, options.output_key, options.chat, options.multiturn) == ("messages", None, True, True)
    assert not options.pretrain


def test_openrlhf_reads_pairs_and_text(tmp_path: Path) -> None:
    options = started_openrlhf(put(tmp_path / "a.jsonl", PAIRS, "prompt-completion", Trainer.OPENRLHF))
    assert (options.input_key, options.output_key, options.chat) == ("question", "answer", True)
    written = put(tmp_path / "b.parquet", ALPACA, "alpaca", Trainer.OPENRLHF, "prompt-completion")
    options = started_openrlhf(written)
    assert (options.input_key, options.output_key, options.chat) == ("prompt", "completion", True)
    options = started_openrlhf(put(tmp_path / "c.jsonl", TEXT_ROWS, "text", Trainer.OPENRLHF))
    assert (options.input_key, options.output_key, options.chat, options.pretrain) == ("text", None, False, True)


@pytest.mark.parametrize(
    ("rows", "prompt", "chat"), [(BETTER, "prompt", False), (BETTER_TALKS, None, True), (BETTER_TURNS, "prompt", True)]
)
def test_openrlhf_reads_preferences(tmp_path: Path, rows: list[dict[str, Any]], prompt: str | None, chat: bool) -> None:
    options = started_openrlhf(put(tmp_path / "a.jsonl", rows, "preference", Trainer.OPENRLHF))
    assert (options.prompt_key, options.chosen_key, options.rejected_key) == (prompt, "chosen", "rejected")
    assert options.chat is chat


def test_openrlhf_separates_data_sets_with_commas(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="cannot read a path with a comma or an @; choose another name"):
        put(tmp_path / "a,b.jsonl", PAIRS, "prompt-completion", Trainer.OPENRLHF)


# ---- Unsloth: https://docs.unsloth.ai/basics/chat-templates, which trains by TRL -------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a tiny model to be trained, with a chat template that shows tools."""
    folder = tmp_path_factory.mktemp("trained")
    save_model(FAMILIES["llama"], folder)
    template = (
        "{%- if tools %}TOOLS {{ tools[0].function.name }} {% endif -%}"
        "{%- for message in messages %}<{{ message.role }}>{{ message.content }}"
        "{%- for call in message.tool_calls or [] %}CALL {{ call.function.arguments | tojson }}{% endfor %}\n"
        "{%- endfor -%}{%- if add_generation_prompt %}<assistant>{% endif -%}"
    )
    save_tokenizer(folder, eos_token="</s>", pad_token="<unk>", chat_template=template)
    return folder


@pytest.fixture
def unsloth(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for Unsloth, and return the list of what is called of it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    calls: list[str] = []

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(name: str, *, max_seq_length: int, load_in_4bit: bool) -> tuple[Any, Any]:
            assert max_seq_length == 2048
            assert load_in_4bit
            return AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)

        @staticmethod
        def get_peft_model(model: Any, **settings: Any) -> Any:
            assert set(settings) == {"r", "lora_alpha", "lora_dropout", "use_gradient_checkpointing"}
            return model

    def called(name: str) -> Any:
        def record(*made: Any) -> Any:
            calls.append(name)
            return made[0] if made else None

        return record

    module, templates = types.ModuleType("unsloth"), types.ModuleType("unsloth.chat_templates")
    module.__dict__.update(FastLanguageModel=FastLanguageModel, PatchDPOTrainer=called("PatchDPOTrainer"))
    templates.__dict__.update(train_on_responses_only=called("train_on_responses_only"))
    monkeypatch.setitem(sys.modules, "unsloth", module)
    monkeypatch.setitem(sys.modules, "unsloth.chat_templates", templates)
    return calls


def trained(written: WrittenFiles, model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the trainer of the script, after a step."""
    (script,) = written.configurations
    compile(script.read_text(encoding="utf-8"), str(script), "exec")
    monkeypatch.chdir(script.parent)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(script.parent / "cache"))
    # TRL uses it by its old names.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
    made = runpy.run_path(str(script))["trainer"](
        str(model), max_steps=1, use_cpu=True, bf16=False, report_to=[], disable_tqdm=True, save_strategy="no",
        per_device_train_batch_size=1,
    )  # fmt: skip
    assert made.train().global_step == 1
    return made


def _texts(made: Any) -> list[str]:
    return [made.processing_class.decode(ids) for ids in made.train_dataset["input_ids"]]


def test_unsloth_trains_on_conversations_and_tools(
    tmp_path: Path, model: Path, unsloth: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, Any]] = [{"messages": TALK}, {"messages": CALLS, "tools": TOOLS}]
    made = trained(put(tmp_path / "a.jsonl", rows, "messages", Trainer.UNSLOTH), model, monkeypatch)
    talk, call = _texts(made)
    assert talk.startswith("<system>Be brief.")
    assert call.startswith("TOOLS lift ")
    assert 'CALL {"height": 2}' in call
    assert unsloth == ["train_on_responses_only"]


def test_unsloth_renders_no_nulls_that_datasets_adds(tmp_path: Path, unsloth: list[str]) -> None:
    rows: list[dict[str, Any]] = [{"messages": TALK}, {"messages": CALLS, "tools": TOOLS}]
    (script,) = put(tmp_path / "a.jsonl", rows, "messages", Trainer.UNSLOTH).configurations
    made = runpy.run_path(str(script))
    assert made["without_nulls"]([{"a": None, "b": {"c": None, "d": 0}}, "e"]) == [{"b": {"d": 0}}, "e"]
    assert made["tools_of"]({"tools": [{"f": None, "g": ""}]}) == [{"g": ""}]
    assert unsloth == []


def test_unsloth_trains_on_pairs_text_and_preferences(
    tmp_path: Path, model: Path, unsloth: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = put(tmp_path / 'it\'s "{odd}".parquet', ALPACA, "alpaca", Trainer.UNSLOTH, "prompt-completion")
    made = trained(written, model, monkeypatch)
    assert _texts(made)[0].startswith("<user>Add.\n1 and 2<assistant>3")
    made = trained(put(tmp_path / "b.jsonl", TEXT_ROWS, "text", Trainer.UNSLOTH), model, monkeypatch)
    assert all(
        text.startswith(row["text"]) and "</s>" in text for row, text in zip(TEXT_ROWS, _texts(made), strict=True)
    )
    assert unsloth == []
    trained(put(tmp_path / "c.jsonl", BETTER_TURNS, "preference", Trainer.UNSLOTH), model, monkeypatch)
    assert unsloth == ["PatchDPOTrainer"]


@pytest.mark.parametrize("trainer", [Trainer.TRL, Trainer.OPENRLHF])
def test_calls_in_preferences_are_refused_in_tables_alone(tmp_path: Path, trainer: Trainer) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    answer = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    row = {"prompt": [{"role": "user", "content": "Add."}], "chosen": answer, "rejected": answer}
    put(tmp_path / "out.jsonl", [row], "preference", trainer)
    with pytest.raises(NaitError, match=r"the arguments of its calls are text, which templates quote; write \.jsonl"):
        put(tmp_path / "out.parquet", [row], "preference", trainer)


def test_llamafactory_is_told_the_roles_of_preferences(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "user", "value": "Blue?"}]}
    row |= {name: {"from": "assistant", "value": name} for name in ("chosen", "rejected")}
    put(tmp_path / "out.jsonl", [row], "preference", Trainer.LLAMAFACTORY)
    entry = json.loads((tmp_path / "dataset_info.json").read_bytes())["out"]
    assert entry["ranking"] is True
    assert (entry["tags"]["user_tag"], entry["tags"]["assistant_tag"]) == ("user", "assistant")


# ---- what each cannot read -------------------------------------------------------------------------------------------


_HUMAN, _GPT = {"from": "human", "value": "Blue?"}, {"from": "gpt", "value": "No."}
_PREFERRED = {"conversations": [_HUMAN], "chosen": _GPT, "rejected": _GPT}
_IN_LISTS = {"prompt": [_HUMAN], "chosen": [_GPT], "rejected": [_GPT]}


@pytest.mark.parametrize(
    ("trainer", "form", "row", "message"),
    [
        ("ms-swift", "messages", {"messages": [TALK[1] | {"role": "boss"}, TALK[2]]}, "role 'boss'.*--as messages"),
        ("ms-swift", "messages", {"messages": [TALK[1], TALK[2] | {"thinking": "So."}]}, "reasoning.*--as sharegpt"),
        ("ms-swift", "messages", {"messages": [TALK[1] | {"content": None}, TALK[2]]}, "no text.*--as messages"),
        ("ms-swift", "prompt-completion", {"prompt": TALK[:2], "completion": TALK[2:]}, "--as messages"),
        ("ms-swift", "prompt-completion", PAIRS[0] | {"query": 1}, "another column 'query'; add --as messages"),
        ("ms-swift", "preference", BETTER_TURNS[0], "is not a question with its answer; convert them"),
        ("verl", "messages", {"messages": TALK}, "from Parquet only; write .parquet"),
        ("verl", "alpaca", ALPACA[0], "does not read alpaca rows; add --as messages"),
        ("verl", "preference", BETTER[0], "verl has no trainer on preferences; convert them"),
        ("verl", "prompt-completion", REWARDED[0] | {"data_source": None}, "add --as messages"),
        ("openrlhf", "alpaca", ALPACA[0], "does not read alpaca rows; add --as messages"),
        ("openrlhf", "sharegpt", {"conversations": SAID}, "add --as messages"),
        ("openrlhf", "messages", {"messages": TALK, "tools": TOOLS}, "column 'tools' would be lost; use another"),
        ("openrlhf", "messages", {"messages": TALK, "system": "s"}, "column 'system' would be lost; add --as messages"),
        ("openrlhf", "preference", BETTER[0] | {"rejected": ["Yes."]}, "convert them"),
        ("openrlhf", "preference", _IN_LISTS, "role None, and OpenRLHF does not rename roles"),
        ("trl", "preference", _IN_LISTS, "role None, and TRL does not rename roles"),
        ("llamafactory", "preference", _PREFERRED | {"conversations": [_HUMAN, _HUMAN]}, "would be skipped"),
        ("unsloth", "sharegpt", {"conversations": SAID}, "TRL does not read sharegpt rows; add --as messages"),
        ("unsloth", "messages", {"messages": TALK, "images": ["a.png"]}, "carries images.*without --for"),
    ],
)
def test_rows_that_a_trainer_cannot_read_are_refused(
    tmp_path: Path, trainer: str, form: str, row: dict[str, Any], message: str
) -> None:
    with pytest.raises(NaitError, match=f"cannot read row '0': .*{message}"):
        put(tmp_path / "out.jsonl", [row], form, Trainer(trainer))
    assert os.listdir(tmp_path) == []


def test_verl_gets_no_tools(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="its tools are text, which verl does not parse; use another trainer"):
        put(tmp_path / "out.parquet", [{"messages": TALK, "tools": TOOLS}], "messages", Trainer.VERL)


def test_what_can_never_work_is_refused_before_any_work(tmp_path: Path) -> None:
    asked = ["query", tmp_path / "none.nait", "-c", "x", "-o"]
    for trainer, known in (("ms-swift", "ms-swift"), ("verl", "verl")):
        assert f"{known} cannot read a folder of datasets; write .jsonl" in refusal(
            *asked, f"{tmp_path}/a/", "--for", trainer
        )
        assert f"{known} does not read rows --as prompt-completion; use --as messages" in refusal(
            *asked, tmp_path / "a.jsonl", "--as", "prompt-completion", "--for", trainer
        )
    for trainer in Trainer:
        assert "cannot read types and turns from .csv; write" in refusal(*asked, tmp_path / "a.csv", "--for", trainer)


# ---- what a trainer of preferences would lose ------------------------------------------------------------------------

_ANSWERS = {"chosen": "No.", "rejected": "Yes."}


_BY_TRL = (Trainer.TRL, Trainer.UNSLOTH)
_BY_TEXTS = (Trainer.AXOLOTL, Trainer.MS_SWIFT, Trainer.OPENRLHF)
_LOST = [
    (_BY_TRL, {"question": "Blue?"}, "its question is in 'question'"),
    (_BY_TRL, {"conversations": [{"from": "human", "value": "Blue?"}]}, "its question is in 'conversations'"),
    (_BY_TRL, {"instruction": "Say it.", "input": "Blue"}, "its question is in 'instruction'"),
    (_BY_TEXTS, {"instruction": "Say it.", "input": "Blue"}, "its column 'input' would be lost"),
    ((*_BY_TRL, Trainer.AXOLOTL, Trainer.OPENRLHF), {"prompt": "Blue?", "system": "s"}, "'system' would be lost"),
    (
        (*_BY_TRL, *_BY_TEXTS, Trainer.LLAMAFACTORY),
        {"prompt": "Blue?", "history": [["a", "b"]]},
        "'history' would be lost",
    ),
]


@pytest.mark.parametrize(
    ("trainer", "row", "problem"), [(trainer, row, problem) for trainers, row, problem in _LOST for trainer in trainers]
)
def test_no_part_of_a_question_is_lost_beside_two_answers(
    trainer: Trainer, row: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(NaitError, match=problem):
        put(tmp_path / "b.jsonl", [row | _ANSWERS], RowFormat.PREFERENCE, trainer)
    assert not list(tmp_path.iterdir())


def test_the_instruction_is_the_question_of_two_answers(tmp_path: Path) -> None:
    rows = [{"instruction": "Blue?", "input": "", **_ANSWERS}]
    put(tmp_path / "b.jsonl", rows, RowFormat.PREFERENCE, Trainer.AXOLOTL)
    assert 'field_prompt": "instruction"' in (tmp_path / "b.jsonl.axolotl.yaml").read_text()
    put(tmp_path / "c.jsonl", rows, RowFormat.PREFERENCE, Trainer.MS_SWIFT)
    assert '"instruction": "query"' in (tmp_path / "c.jsonl.ms-swift.yaml").read_text()
    put(
        tmp_path / "d.jsonl",
        [{"system": "s", "prompt": "Blue?", **_ANSWERS}],
        RowFormat.PREFERENCE,
        Trainer.LLAMAFACTORY,
    )
    columns = json.loads((tmp_path / "dataset_info.json").read_text())["d"]["columns"]
    assert columns == {"prompt": "prompt", "system": "system", "chosen": "chosen", "rejected": "rejected"}


def test_trl_takes_the_question_of_whole_conversations_from_them(tmp_path: Path) -> None:
    rows = [{"prompt": "Blue?", **BETTER_TALKS[0]}]
    put(tmp_path / "b.jsonl", rows, RowFormat.PREFERENCE, Trainer.TRL)
    assert "COLUMNS = ['chosen', 'rejected']" in (tmp_path / "b.jsonl.trl.py").read_text()
    mixed = [{"prompt": "Blue?", **{name: BETTER_TURNS[0][name] for name in ("chosen", "rejected")}}]
    with pytest.raises(NaitError, match="its 'prompt' is not text or turns as 'chosen'"):
        put(tmp_path / "c.jsonl", mixed, RowFormat.PREFERENCE, Trainer.TRL)


@pytest.mark.parametrize("trainer", [Trainer.LLAMAFACTORY, Trainer.AXOLOTL, Trainer.MS_SWIFT, Trainer.OPENRLHF])
def test_questions_and_answers_of_other_names_than_in_the_first_row_are_refused(
    trainer: Trainer, tmp_path: Path
) -> None:
    rows = [{"question": "Blue?", "answer": "No."}, {"question": "Red?", "response": "No.", "answer": ""}]
    with pytest.raises(NaitError, match="it has 'response' where the first row has 'answer'"):
        put(tmp_path / "a.jsonl", rows, RowFormat.PROMPT_COMPLETION, trainer)


@pytest.mark.parametrize("trainer", [Trainer.TRL, Trainer.AXOLOTL, Trainer.OPENRLHF])
def test_a_system_prompt_beside_a_question_is_refused_where_it_would_be_lost(trainer: Trainer, tmp_path: Path) -> None:
    rows = [{"system": "Be brief.", "prompt": "Blue?", "completion": "No."}]
    with pytest.raises(NaitError, match="column 'system' would be lost"):
        put(tmp_path / "a.jsonl", rows, RowFormat.PROMPT_COMPLETION, trainer)
    put(tmp_path / "b.jsonl", rows, RowFormat.PROMPT_COMPLETION, Trainer.LLAMAFACTORY)
    assert json.loads((tmp_path / "dataset_info.json").read_text())["b"]["columns"]["system"] == "system"


_DEFINED = json.dumps(TOOLS)
_WITH_TOOLS = {
    RowFormat.ALPACA: {"instruction": "Lift it.", "output": "It is up.", "tools": _DEFINED},
    RowFormat.PROMPT_COMPLETION: {"prompt": "Lift it.", "completion": "It is up.", "tools": _DEFINED},
    RowFormat.PREFERENCE: {"prompt": "Lift it.", "chosen": "It is up.", "rejected": "No.", "tools": _DEFINED},
}


@pytest.mark.parametrize("form", _WITH_TOOLS)
def test_tools_are_named_or_refused(form: RowFormat, tmp_path: Path) -> None:
    row = _WITH_TOOLS[form]
    put(tmp_path / "a.jsonl", [row], form, Trainer.LLAMAFACTORY)
    assert json.loads((tmp_path / "dataset_info.json").read_bytes())["a"]["columns"]["tools"] == "tools"
    with pytest.raises(NaitError, match="its tools are not JSON text"):
        put(tmp_path / "b.jsonl", [row | {"tools": TOOLS}], form, Trainer.LLAMAFACTORY)
    for trainer in (Trainer.AXOLOTL, *(() if form is RowFormat.ALPACA else (Trainer.TRL, Trainer.UNSLOTH))):
        with pytest.raises(NaitError, match="its column 'tools' would be lost"):
            put(tmp_path / "c.jsonl", [row], form, trainer)
    put(tmp_path / "d.jsonl", [row], form, Trainer.AXOLOTL, "messages")


@pytest.mark.parametrize("column", ["tools", "system"])
def test_verl_is_taught_by_prompts_alone(column: str, tmp_path: Path) -> None:
    with pytest.raises(NaitError, match=f"its column '{column}' would be lost; use another trainer"):
        put(tmp_path / "a.jsonl", [REWARDED[0] | {column: "x"}], RowFormat.PROMPT_COMPLETION, Trainer.VERL)
