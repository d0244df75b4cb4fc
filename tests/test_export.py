"""What is written: rows unchanged, in every kind of file, all files whole or none at all."""

import json
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import build_small, hand_over_lines, nait_index, read_lines, refusal, samples_of, small_rows, write_lines

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, Trainer, View
from nait_index.corpus import read_corpus, read_rejected, rejected_writer
from nait_index.errors import NaitError, OutputExistsError, SelectionError
from nait_index.files import Together, atomic_write, together
from nait_index.handover.convert import TARGETS
from nait_index.handover.handover import OutputOptions, WrittenFiles, hand_over
from nait_index.handover.rows import ChosenRow
from nait_index.handover.writers import OutputKind, kind_of
from nait_index.selection.provenance import Provenance
from nait_index.types import Origin, Rejected, RowFormat, Sample

ROWS = ['{ "b":1,"a" : "é\u2028\\ud800" }', '{"text": "x\\ny"}']
CHATS = [
    {"id": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "é"}], "n": 1},
    {"id": "b", "messages": [{"role": "assistant", "content": "hello"}], "n": 2.5},
    {
        "id": "c",
        "messages": [{"role": "user", "content": "r"}, {"role": "assistant", "content": "s"}],
        "more": {"k": 1},
    },
]


def names(folder: Path) -> list[str]:
    """List all that is in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def put(
    path: Path | str, rows: Sequence[dict[str, Any]], form: RowFormat = RowFormat.MESSAGES, **options: Any
) -> WrittenFiles:
    """Write rows as a selection is written."""
    chosen = [ChosenRow(str(row.get("id", number)), json.dumps(row), form, 5, False) for number, row in enumerate(rows)]
    records = [{"rank": number + 1, "id": row.id, "score": 1 / (number + 1)} for number, row in enumerate(chosen)]
    return hand_over(chosen, records, {"method": "made", "max_length": 512}, OutputOptions(path, **options))


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_rows_are_written_as_given(tmp_path: Path) -> None:
    """One row a line, in order, byte for byte."""
    path = tmp_path / "out.jsonl"
    hand_over_lines(path, ROWS)
    assert path.read_bytes() == "".join(f"{row}\n" for row in ROWS).encode()
    assert names(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]


def test_rows_are_read_in_parts_and_the_sidecar_has_a_line_for_each(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    chosen = NaitIndex(index).query("adding", top=7)
    chosen.write(whole)
    monkeypatch.setattr("nait_index.selection.selection._BLOCK", 3)
    read: list[int] = []

    def fetch(ordinals: Sequence[int], columns: Sequence[str]) -> Any:
        read.append(len(ordinals))
        return chosen.fetch(ordinals, columns)

    replace(chosen, fetch=fetch).write(parts)
    assert parts.read_bytes() == whole.read_bytes()
    assert read == [3, 3, 1]
    lines = parts.with_name("parts.jsonl.meta.json").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line.rstrip(",")) for line in lines if line.startswith('    {"rank"')]
    assert all(len(record.pop("content")) == 16 for record in records)
    assert records == chosen.records()


def test_a_row_over_several_lines_is_made_one(tmp_path: Path) -> None:
    """A line of JSON lines holds a whole row."""
    hand_over_lines(tmp_path / "out.jsonl", ['{\n "a": "b\\nc"\n}'])
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"a": "b\\nc"}\n'


def test_numbers_that_json_does_not_have_are_left_out(tmp_path: Path) -> None:
    """Readers of JSON lines such as those of datasets refuse the whole file for one of them."""
    rows = ['{"a": "NaN", "b": 1e999}', '{"a": "x", "score": NaN, "all": [-Infinity, 1.50], "in": {"low": Infinity}}']
    hand_over_lines(tmp_path / "out.jsonl", rows)
    expected = f'{rows[0]}\n{{"a": "x", "all": [null, 1.5], "in": {{}}}}\n'
    assert (tmp_path / "out.jsonl").read_text() == expected


def test_an_array_holds_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    hand_over_lines(path, ROWS)
    assert json.loads(path.read_bytes()) == [json.loads(row) for row in ROWS]
    assert all(row.encode() in path.read_bytes() for row in ROWS)
    hand_over_lines(path, [], force=True)
    assert json.loads(path.read_bytes()) == []


def test_parquet_holds_the_rows_with_nulls_for_what_is_absent(tmp_path: Path) -> None:
    put(tmp_path / "out.parquet", CHATS)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "messages", "n", "more"]
    assert table["n"].to_pylist() == [1.0, 2.5, None]
    assert table["messages"].to_pylist() == [row["messages"] for row in CHATS]
    assert table["more"].to_pylist() == [None, None, {"k": 1}]


def test_arguments_and_tools_do_not_bleed_into_one_another_in_a_table(tmp_path: Path) -> None:
    """In one struct, every call would get the arguments of all the others, as nulls."""
    rows = [
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": name, "arguments": {name: 1}}}],
                }
            ],
            "tools": [{"type": "function", "function": {"name": name, "parameters": {name: "integer"}}}],
        }
        for name in ("f", "g")
    ]
    put(tmp_path / "out.parquet", rows)
    read = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [json.loads(row["tools"]) for row in read] == [row["tools"] for row in rows]
    calls = [row["messages"][0]["tool_calls"][0]["function"]["arguments"] for row in read]
    assert [json.loads(text) for text in calls] == [{"f": 1}, {"g": 1}]


def test_a_folder_is_one_that_datasets_opens(tmp_path: Path) -> None:
    import datasets

    put(f"{tmp_path}/out/", CHATS)
    assert names(tmp_path) == ["out", "out.meta.json"]
    assert datasets.load_from_disk(tmp_path / "out")["messages"][0] == CHATS[0]["messages"]
    put(tmp_path / "out", CHATS[:1], force=True)
    assert len(datasets.load_from_disk(tmp_path / "out")) == 1
    assert names(tmp_path) == ["out", "out.meta.json"]


def test_the_suffix_tells_the_kind() -> None:
    wanted = {
        "a.jsonl": OutputKind.JSONL,
        "a.JSON": OutputKind.JSON,
        "b/a.parquet": OutputKind.PARQUET,
        "a.csv": OutputKind.CSV,
        "a": OutputKind.FOLDER,
    }
    assert {name: kind_of(name) for name in wanted} == wanted
    assert kind_of("a.v2/") is OutputKind.FOLDER
    with pytest.raises(NaitError, match=r"cannot write \.v2; use \.jsonl, \.json, \.parquet, \.csv, or a / at the end"):
        kind_of("a.v2")


def test_one_table_has_one_format_and_one_type_a_column(tmp_path: Path) -> None:
    mixed = [{"text": "a", "n": n} for n in (1, 2, "three", 4)]
    with pytest.raises(NaitError, match=r"column 'n' of row '2' has another type .*--as.*\.jsonl"):
        put(tmp_path / "out.parquet", mixed, RowFormat.TEXT)
    pair = (("a", RowFormat.TEXT), ("b", RowFormat.ALPACA))
    rows = [ChosenRow(name, '{"output": "a"}', form, 1, False) for name, form in pair]
    with pytest.raises(NaitError, match=r"row 'b' is alpaca where row 'a' is text.*--as, or write \.jsonl"):
        hand_over(rows, [{}, {}], {}, OutputOptions(tmp_path / "out.parquet"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "folder/"])
def test_rows_that_were_written_are_read_as_the_same_rows(tmp_path: Path, name: str) -> None:
    """Text and content hash survive every kind of file, though tables hold tools and arguments as JSON text."""
    if name == "folder/":
        pytest.importorskip("datasets", reason="the library that writes such folders is not installed")
    calls = [{"type": "function", "function": {"name": "f", "arguments": made}} for made in ({"x": 1}, {"y": ""}, {})]
    rows = [
        {
            "id": str(number),
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
            ],
            "meta": {f"key {number}": [1, 2]},
        }
        for number, call in enumerate(calls)
    ]
    rows[1]["tools"] = [{"name": "f", "parameters": {"x": {"default": 1}}}]
    put(f"{tmp_path}/{name}", rows)
    kept = list(read_corpus([tmp_path / name]))
    expected = list(read_corpus([write_lines(tmp_path / "rows.jsonl", rows)]))
    for sample, other in zip(kept, expected, strict=True):
        assert isinstance(sample, Sample)
        assert isinstance(other, Sample)
        assert (sample.parts, sample.content_hash) == (other.parts, other.content_hash)


# ---- CSV ------------------------------------------------------------------------------------------------------------


def test_flat_rows_come_back_from_csv(tmp_path: Path) -> None:
    """Text survives, whatever is in it; numbers and what is absent become text."""
    texts = ['say "no", then\tgo', "two\nlines\r\nand more", " spaces ", "é 漢 🙂", "007", "'=1+1", '[{"a": 1}]', "[{"]
    rows: list[dict[str, Any]] = [{"id": f"r{number}", "text": text} for number, text in enumerate(texts)]
    put(tmp_path / "out.csv", [*rows, {"id": "n", "text": "t", "n": 1.5, "ok": True, "none": None}], RowFormat.TEXT)
    *kept, last = (
        json.loads(sample.row) for sample in read_corpus([tmp_path / "out.csv"]) if isinstance(sample, Sample)
    )
    assert kept == [row | {"n": "", "ok": "", "none": ""} for row in rows]
    assert last == {"id": "n", "text": "t", "n": "1.5", "ok": "true", "none": ""}


def test_turns_come_back_from_csv(tmp_path: Path) -> None:
    rows = [
        CHATS[0],
        {"id": "s", "messages": [{"role": "user", "content": '"q",\n'}, {"role": "assistant", "content": "é"}]},
    ]
    put(tmp_path / "out.csv", rows)
    kept = [json.loads(sample.row) for sample in read_corpus([tmp_path / "out.csv"]) if isinstance(sample, Sample)]
    assert [row["messages"] for row in kept] == [row["messages"] for row in rows]


def test_half_a_character_is_not_for_csv(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match=r"a row holds half of a character, which CSV cannot; write \.jsonl"):
        put(tmp_path / "out.csv", [{"text": "\ud800"}], RowFormat.TEXT)
    assert names(tmp_path) == []


# ---- rows without an answer ------------------------------------------------------------------------------------------

_ANSWERED = {"id": "q", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
_NOT_ANSWERED = {"id": "n", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None}]}


@pytest.mark.parametrize("form", [None, *TARGETS])
@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "folder/"])
def test_no_training_row_is_written_without_an_answer(tmp_path: Path, name: str, form: RowFormat | None) -> None:
    """Refused row by row with the reason, counted in the sidecar, and said; whatever kind of file and format."""
    if name == "folder/":
        pytest.importorskip("datasets", reason="the library that writes such folders is not installed")
    written = put(f"{tmp_path}/{name}", [_NOT_ANSWERED, _ANSWERED], format=form)
    assert (written.rows, written.refused) == (1, 1)
    (refused,) = read_lines(written.rejected)
    assert (refused["id"], refused["reason"]) == ("n", "no answer: the last turn of 'messages' is empty")
    sidecar = json.loads(written.sidecar.read_bytes())
    assert [row["id"] for row in sidecar["rejected"]] == ["n"]
    assert [row["id"] for row in sidecar["selected"]] == ["q"]
    assert written.notes[0].startswith("1 row cannot be ")


def test_an_answer_that_conversion_would_empty(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "function_call", "value": "[]"}]
    with pytest.raises(NaitError, match="the first is 'n': no answer: the last turn of 'messages' is empty"):
        put(tmp_path / "out.jsonl", [{"id": "n", "conversations": turns}], RowFormat.SHAREGPT, format="messages")


def test_no_row_with_an_answer_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="not written, no row can be written; the first is 'n': no answer"):
        put(tmp_path / "out.jsonl", [_NOT_ANSWERED])
    assert names(tmp_path) == []


# ---- conversion, columns, sidecar ------------------------------------------------------------------------------------


def test_what_cannot_be_converted_is_set_aside(tmp_path: Path) -> None:
    written = put(tmp_path / "out.jsonl", CHATS, format=RowFormat.ALPACA)
    assert (written.rows, written.refused) == (2, 1)
    assert [row["instruction"] for row in read_lines(tmp_path / "out.jsonl")] == ["q", "r"]
    (refused,) = read_lines(written.rejected)
    assert refused["id"] == "b"
    assert refused["reason"] == "its turns do not alternate between question and answer"
    assert json.loads(refused["content"]) == CHATS[1]
    sidecar = json.loads(written.sidecar.read_bytes())
    assert (sidecar["rows"], sidecar["format"]) == (2, "alpaca")
    assert [record["id"] for record in sidecar["selected"]] == ["a", "c"]
    assert [(record["id"], record["rank"]) for record in sidecar["rejected"]] == [("b", 2)]
    assert "1 row cannot be converted to alpaca, see " in written.notes[0]


def test_a_file_of_refused_rows_goes_with_what_it_was_of(tmp_path: Path) -> None:
    put(tmp_path / "out.jsonl", CHATS, format=RowFormat.ALPACA)
    put(tmp_path / "out.jsonl", CHATS, format=RowFormat.MESSAGES, force=True)
    assert names(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]


def test_where_no_row_can_be_converted_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(NaitError, match="no row can be converted to alpaca; the first is 'b': its turns"):
        put(tmp_path / "out.jsonl", CHATS[1:2], format=RowFormat.ALPACA)
    assert names(tmp_path) == []


def test_fields_of_turns_that_are_left_out_are_counted(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]}]
    written = put(tmp_path / "out.jsonl", rows, format=RowFormat.ALPACA)
    assert json.loads(written.sidecar.read_bytes())["left_out"] == {"weight": 1}
    assert "no place for these fields of turns, which were left out: weight (1 row)" in written.notes[0]


def test_weights_are_linear_in_the_rank_with_mean_one(tmp_path: Path) -> None:
    written = put(tmp_path / "out.jsonl", CHATS, weights=True, scores=True)
    rows = read_lines(tmp_path / "out.jsonl")
    assert [row["nait_weight"] for row in rows] == [1.5, 1.0, 0.5]
    assert [(row["nait_rank"], row["nait_score"]) for row in rows] == [(1, 1), (2, 0.5), (3, 1 / 3)]
    assert "linear" in json.loads(written.sidecar.read_bytes())["nait_weight"]
    written = put(tmp_path / "fewer.jsonl", CHATS, weights=True, format=RowFormat.ALPACA)
    assert [row["nait_weight"] for row in read_lines(written.path)] == [4 / 3, 2 / 3]


# ---- all or nothing --------------------------------------------------------------------------------------------------


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    """Nothing is overwritten unasked, whichever of the files it is."""
    for name in ("out.jsonl", "out.jsonl.meta.json", "out.jsonl.rejected.jsonl", "out.jsonl.trl.py"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputExistsError, match=f"{name} already exists; overwrite it with --force"):
            put(tmp_path / "out.jsonl", CHATS, format=RowFormat.MESSAGES, trainers=(Trainer.TRL,))
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


@pytest.mark.parametrize("name", ["out.jsonl", "out.json", "out.parquet", "out"])
def test_the_same_rows_written_again_change_nothing(name: str, tmp_path: Path) -> None:
    out, trainer = tmp_path / name, Trainer.TRL if name == "out" else Trainer.AXOLOTL
    options: dict[str, Any] = {"format": RowFormat.MESSAGES, "trainers": (trainer,), "scores": True}
    first = put(out, CHATS, **options)
    assert not first.unchanged
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert put(out, CHATS, **options).unchanged
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(OutputExistsError, match="already exists"):
        put(out, CHATS[:1], **options)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_writer_killed_between_two_files_is_continued(tmp_path: Path) -> None:
    """The rows are in place, the sidecar is not, and its temporary file is left."""
    out = tmp_path / "out.jsonl"
    sidecar = put(out, CHATS).sidecar
    expected = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sidecar.rename(tmp_path / f".{'0a' * 8}.tmp")
    (tmp_path / f".{'1b' * 8}.tmp").mkdir()
    (tmp_path / ".mine.tmp").write_text("mine")
    assert not put(out, CHATS).unchanged
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == expected | {".mine.tmp": b"mine"}
    sidecar.unlink()
    with pytest.raises(OutputExistsError, match=r"out\.jsonl already exists"):  # nobody was killed here
        put(out, CHATS)


def test_a_file_that_appears_after_the_options_were_parsed_is_not_overwritten(tmp_path: Path) -> None:
    options = OutputOptions(tmp_path / "out.jsonl")
    (tmp_path / "out.jsonl.meta.json").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"meta\.json already exists"):
        hand_over([ChosenRow("a", "{}", RowFormat.TEXT, 1, False)], [{"rank": 1, "id": "a"}], {}, options)
    assert names(tmp_path) == ["out.jsonl.meta.json"]


def test_output_is_refused_before_rows_are_asked_for(tmp_path: Path) -> None:
    """Missing folder, unknown extension and a folder in the way are named, each with what to do."""
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NaitError, match=r"no folder .*missing; create it first"):
        OutputOptions(tmp_path / "missing" / "out.jsonl")
    with pytest.raises(NaitError, match=r"cannot write \.xlsx; use \.jsonl"):
        OutputOptions(tmp_path / "out.xlsx", force=True)
    for nameless in ("", ".", "..", "/"):
        with pytest.raises(NaitError, match="names no file or folder to be written"):
            OutputOptions(nameless, force=True)
    with pytest.raises(OutputExistsError, match="is a folder; name a file in it"):
        OutputOptions(tmp_path / "folder.jsonl", force=True)
    with pytest.raises(OutputExistsError, match="is a folder that holds no dataset"):
        OutputOptions(tmp_path / "mine", force=True)
    with pytest.raises(OutputExistsError, match="is a file"):
        OutputOptions(tmp_path / "file", force=True)


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(
        NaitError, match=r"out\.jsonl: not written, no permission to write to .*; choose another folder"
    ):
        OutputOptions(tmp_path / "out.jsonl")


def test_a_folder_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NaitError, match=r"needs the library datasets: pip install 'nait-index\[export\]'"):
        OutputOptions(tmp_path / "out")


@pytest.mark.parametrize("failing", ["out.jsonl.meta.json", "out.jsonl.trl.py", "out.jsonl.rejected.jsonl"])
@pytest.mark.parametrize("late", [False, True])
def test_a_late_failure_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, late: bool
) -> None:
    """Whichever file cannot be written or put in its place: the old ones are there, no new one, and nothing else."""
    olds = {"out.jsonl": "rows", "out.jsonl.meta.json": "sidecar", "out.jsonl.rejected.jsonl": "rejected"}
    for name, text in olds.items():
        (tmp_path / name).write_text(text)
    rows = [*CHATS, {"messages": [{"role": "assistant", "content": "x"}]}]

    def breaking(original: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*arguments: Any) -> Any:
            if Path(arguments[-1]).name == failing:
                raise OSError(28, "No space left on device")
            return original(*arguments)

        return broken

    if late:
        monkeypatch.setattr(Path, "replace", breaking(Path.replace))
    else:
        monkeypatch.setattr(Together, "file", breaking(Together.file))
    with pytest.raises((NaitError, OSError), match="No space left"):
        put(tmp_path / "out.jsonl", rows, format=RowFormat.PROMPT_COMPLETION, trainers=(Trainer.TRL,), force=True)
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == olds


def test_an_error_while_writing_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def write_and_fail() -> None:
        with together() as batch:
            with batch.file(tmp_path / "a") as file:
                file.write(b"new")
            with batch.folder(tmp_path / "b") as folder:
                (folder / "c").write_text("new")
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        write_and_fail()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_replaced_file_is_at_no_moment_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    seen = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (seen.append(path.read_text()), replace(self, to))[1])
    with together() as batch, batch.file(path) as file:
        file.write(b"new")
    assert seen == ["old"]
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a"]


# ---- from an index ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """Build a small index with one capability; not to be changed."""
    folder = tmp_path_factory.mktemp("export")
    chats = write_lines(folder / "chats.jsonl", [row | {"id": f"chat-{row['id']}"} for row in CHATS])
    rows = write_lines(folder / "rows.jsonl", small_rows(24))
    build_small(folder / "own.nait", [rows, chats], model=tiny_model("llama"))
    NaitIndex(folder / "own.nait").add_capability("adding", write_lines(folder / "a.jsonl", small_rows(8, 100)[1::2]))
    return folder / "own.nait"


def test_a_selection_is_written_again_in_another_way(index: Path, tmp_path: Path) -> None:
    """Of a sidecar, with what could not be converted the first time."""
    first = NaitIndex(index).query("adding", top="100%").write(tmp_path / "a.jsonl", format="alpaca")
    assert (first.rows, first.refused) == (26, 1)
    again = NaitIndex(index).load_selection(first.sidecar)
    direct = NaitIndex(index).query("adding", top="100%")
    assert (again.ids, again.scores, again.ordinals) == (direct.ids, direct.scores, direct.ordinals)
    assert again.provenance.method == direct.provenance.method
    assert nait_index("export", index, "--from", first.sidecar, "-o", tmp_path / "b.jsonl").code == 0
    direct.to_jsonl(tmp_path / "c.jsonl")
    assert (tmp_path / "b.jsonl").read_bytes() == (tmp_path / "c.jsonl").read_bytes()
    sidecars = [json.loads((tmp_path / f"{name}.jsonl.meta.json").read_bytes()) for name in "bc"]
    assert sidecars[0].pop("command").startswith("nait-index export ")
    assert sidecars[0] == sidecars[1]


def test_rows_that_are_not_those_that_were_chosen_are_refused(tmp_path: Path) -> None:
    """Whether a row was replaced, or another corpus gives its id to another row."""
    signatures = SignatureConfig(views=(View.WORDS,))
    more_rows = [{name: row[name] for name in ("instruction", "output")} for row in small_rows(17)]
    corpus = write_lines(tmp_path / "rows.jsonl", rows := more_rows[5:])
    built = NaitIndex.build(tmp_path / "a.nait", corpus, signatures=signatures)
    chosen = built.query(built.make_capability_from(rows[:3], "naming"), top=3)
    sidecar = chosen.write(tmp_path / "out.jsonl", format="messages").sidecar
    first = {"id": chosen.ids[0], "instruction": "Say something else.", "output": "No."}
    more = NaitIndex.build(tmp_path / "a.nait", [first], signatures=signatures, replace=True)
    with pytest.raises(SelectionError, match=rf"names '{chosen.ids[0]}', which is another row .* add --at 1, or"):
        more.load_selection(sidecar)
    assert NaitIndex(tmp_path / "a.nait", version=1).load_selection(sidecar).rows() == chosen.rows()

    other = NaitIndex.build(tmp_path / "b.nait", write_lines(corpus, more_rows), signatures=signatures)
    with pytest.raises(SelectionError, match="name the index that it was chosen from, or choose again"):
        other.load_selection(sidecar)
    record = json.loads(sidecar.read_bytes())
    for row in record["selected"]:
        del row["content"]
    sidecar.write_text(json.dumps(record))  # as earlier releases wrote it
    assert NaitIndex(tmp_path / "a.nait", version=1).load_selection(sidecar).ids == chosen.ids
    with pytest.raises(SelectionError, match="with another basis or other settings than those of"):
        other.load_selection(sidecar)


@pytest.mark.parametrize(
    "facts",
    [
        {"combined": "union", "weights": None, "core": {"votes": 2, "found": 3, "chance": 0.5, "bootstrap": 0}},
        {
            "weights": "rarity",
            "coverage": {"covered": 5, "coverable": 9, "neurons": 12, "strongest": 3, "rounds": 1}
            | {"blocks": 4, "block_rows": 2, "together": 7},
        },
        {"decontaminated": {"removed": 1, "rows": [{"id": "a"}]}, "reasons": ["a bend"], "contamination": {"near": 1}},
    ],
)
def test_the_provenance_in_a_sidecar_is_written_again_unchanged(facts: dict[str, Any]) -> None:
    facts = {"index": "a.nait", "method": None, "where": None, "available": 7} | facts
    written = Provenance.from_dict(facts).to_dict()
    assert json.loads(json.dumps(written)) == facts


def test_all_rows_that_pass_are_written_in_the_order_of_the_corpus(index: Path, tmp_path: Path) -> None:
    outcome = nait_index("export", index, "--where", "format = 'alpaca'", "-o", tmp_path / "a.jsonl")
    assert outcome.code == 0, outcome.err
    assert read_lines(tmp_path / "a.jsonl") == small_rows(24)
    sidecar = json.loads((tmp_path / "a.jsonl.meta.json").read_bytes())
    content = samples_of(index)["row-000"]["content_hash"][:16]
    assert sidecar["selected"][0] == {"rank": 1, "id": "row-000", "content": content}
    with pytest.raises(SelectionError, match="nothing ranks these rows"):
        NaitIndex(index).select_all().write(tmp_path / "b.jsonl", weights=True)


def test_rounding_is_said(index: Path, tmp_path: Path) -> None:
    written = NaitIndex(index).query("adding", top="10%").write(tmp_path / "a.jsonl")
    sidecar = json.loads(written.sidecar.read_bytes())
    assert sidecar["rows"] == len(sidecar["selected"]) == 27 // 10
    assert sidecar["rounding"] == "a share of the rows is rounded down, and never below one row"


def test_the_sidecar_holds_the_command_without_secrets(index: Path, tmp_path: Path) -> None:
    """As typed; from Python there is none."""
    out = tmp_path / "it's here.jsonl"
    words = ["export", index, "--where", "format = 'alpaca'", "-o", out]
    assert nait_index(*words).code == 0
    sidecar = json.loads(out.with_name(f"{out.name}.meta.json").read_bytes())
    assert sidecar["command"] == shlex.join(["nait-index", *map(str, words)])
    written = NaitIndex(index).load_selection(out.with_name(f"{out.name}.meta.json")).write(tmp_path / "b.jsonl")
    assert "command" not in json.loads(written.sidecar.read_bytes())


def test_export_chooses_as_query_does(index: Path, tmp_path: Path) -> None:
    for command in ("query", "export"):
        assert nait_index(command, index, "-c", "adding", "--top", "5", "-o", tmp_path / f"{command}.jsonl").code == 0
    assert (tmp_path / "query.jsonl").read_bytes() == (tmp_path / "export.jsonl").read_bytes()


def test_a_dataset_without_a_file(index: Path) -> None:
    chosen = NaitIndex(index).query("adding", top=3, where="format = 'alpaca'")
    assert chosen.to_dataset()["id"][:] == list(chosen.ids)
    assert set(chosen.to_dataset("messages").column_names) == {"id", "messages"}
    with pytest.raises(NaitError, match="row 'chat-b' cannot be converted to sharegpt"):
        NaitIndex(index).select_all().to_dataset("sharegpt")
    with pytest.raises(NaitError, match="unknown format 'chatml'"):
        chosen.to_dataset("chatml")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--from", "SIDECAR", "-c", "adding", "-o", "OUT.jsonl"], 2, "leave out -c and -e"),
        (["--from", "SIDECAR", "--top", "3", "-o", "OUT.jsonl"], 2, "leave out --top"),
        (["--from", "SIDECAR", "--where", "1 = 1", "-o", "OUT.jsonl"], 2, "leave out --where"),
        (["--top", "3", "-o", "OUT.jsonl"], 2, "without -c or -e, nothing is chosen; leave out --top"),
        (["--from", "SIDECAR"], 2, "say where the rows go with -o"),
        (["--from", "rows.jsonl", "-o", "OUT.jsonl"], 1, "rows.jsonl: cannot be read"),
        (
            ["--from", "INDEX/manifest.json", "-o", "OUT.jsonl"],
            1,
            "not a .meta.json that was written beside a selection",
        ),
        (["--from", "OTHER", "-o", "OUT.jsonl"], 1, "names 'gone', which is not in"),
        (["--from", "BARE", "-o", "OUT.jsonl"], 1, "the method or the number of available rows is missing"),
        (["-c", "adding", "-o", "OUT.parquet", "--top", "100%"], 1, "a table has one format; convert them with --as"),
        (["--where", "n_tokens < 0", "-o", "OUT.jsonl"], 1, "no row passes --where"),
    ],
)
def test_wrong_use_gives_one_line(index: Path, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    sidecar = NaitIndex(index).query("adding", top=2).write(tmp_path / "s.jsonl").sidecar
    bare = {"selected": [{"rank": 1, "id": "gone", "score": 1}]}
    (tmp_path / "bare.meta.json").write_text(json.dumps(bare))
    (tmp_path / "other.meta.json").write_text(json.dumps(bare | {"method": "probe", "available": 9}))
    places = {"SIDECAR": str(sidecar), "INDEX": str(index)}
    places |= {name.upper(): str(tmp_path / f"{name}.meta.json") for name in ("other", "bare")}
    before = names(tmp_path)
    given = [arguments[0], *arguments[1:]]
    for place, path in (places | {"OUT": str(tmp_path / "out")}).items():
        given = [argument.replace(place, path) for argument in given]
    assert message in refusal("export", index, *given, code=code)
    assert names(tmp_path) == before


def test_what_is_of_the_output_needs_one(index: Path) -> None:
    assert "add -o OUT" in refusal("query", index, "-c", "adding", "--as", "messages", code=2)


# ---- small files -----------------------------------------------------------------------------------------------------


def test_atomic_write_follows_the_umask(tmp_path: Path) -> None:
    """Others may read the file if the user lets them."""
    umask = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_atomic_write_explains_what_the_system_says(tmp_path: Path) -> None:
    """No traceback for a folder that is missing or a name that is too long."""
    with pytest.raises(NaitError, match="there is no folder"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(NaitError, match="not written: File name too long"), atomic_write(tmp_path / ("a" * 300)):
        pass
    assert names(tmp_path) == []
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere" / "lost.npy"
    folder.mkdir()
    with pytest.raises(NaitError, match=f"^{re.escape(str(elsewhere))}: No such file"), atomic_write(folder / "a"):
        elsewhere.read_bytes()


def test_rejected_rows_come_back(tmp_path: Path) -> None:
    """Whatever the row held, its line can be read again."""
    path = tmp_path / "rejected.jsonl"
    rejected = [Rejected(Origin("a.jsonl", 3), "not JSON", '{"a'), Rejected(Origin("stdin", 1), "no text", "\\xff é\n")]
    with rejected_writer(path) as writer:
        for row in rejected:
            writer.add(row)
    assert writer.count == 2
    assert list(read_rejected(path)) == rejected
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first == {"file": "a.jsonl", "row": 3, "reason": "not JSON", "content": '{"a'}


def test_rejected_rows_are_not_half_written(tmp_path: Path) -> None:
    """A run that fails leaves no rejected.jsonl."""
    with pytest.raises(RuntimeError), rejected_writer(tmp_path / "rejected.jsonl") as writer:  # noqa: PT012
        writer.add(Rejected(Origin("a", 1), "b", "c"))
        raise RuntimeError
    assert names(tmp_path) == []
