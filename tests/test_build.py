"""What a build reads, counts, stores, sets aside and leaves behind."""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers import (
    NOT_FINITE,
    SHARD,
    build_small,
    counts_of,
    manifest_of,
    nait_index,
    planted_infinity,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex
from nait_index.building.report import cut_rows
from nait_index.config import Media, RowRules, SignatureConfig, Unanswered, View
from nait_index.corpus import read_corpus
from nait_index.errors import CorpusError, FingerprintError, IndexBusyError
from nait_index.types import RowFormat, Sample

if TYPE_CHECKING:
    from nait_index.activations.encoder import Encoder

pytestmark = pytest.mark.slow

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def build(model: Path) -> Callable[..., "NaitIndex"]:
    """Build in small shards with a tiny model."""

    def make(root: Path, corpus: Path | Sequence[Path], **options: Any) -> "NaitIndex":
        return build_small(root, corpus, **({"model": model} | options))

    return make


# ---- files and formats --------------------------------------------------------------------------------------------


def _json(rows: Rows, folder: Path) -> Path:
    path = folder / "corpus.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _jsonl(rows: Rows, folder: Path) -> Path:
    return write_lines(folder / "corpus.jsonl", rows)


def _gzipped(rows: Rows, folder: Path) -> Path:
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(_jsonl(rows, folder).read_bytes()))
    return path


def _csv(rows: Rows, folder: Path) -> Path:
    import csv

    path = folder / "corpus.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _parquet(rows: Rows, folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    path = folder / "corpus.parquet"
    pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def _saved_to_disk(rows: Rows, folder: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    path = folder / "corpus"
    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


@pytest.fixture(scope="module")
def twelve(build: Callable[..., "NaitIndex"], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build twelve rows of a .jsonl file."""
    folder = tmp_path_factory.mktemp("twelve")
    build(folder / "own.nait", _jsonl(small_rows(12), folder))
    return folder / "own.nait"


def _numbers(root: Path) -> dict[str, dict[str, Any]]:
    """Return what was computed for every row, without where the row came from."""
    left_out = ("file", "file_row", "row")
    return {
        key: {name: value for name, value in row.items() if name not in left_out}
        for key, row in samples_of(root).items()
    }


@pytest.mark.parametrize("write", [_json, _gzipped, _csv, _parquet, _saved_to_disk])
def test_every_kind_of_file_gives_the_same_index(
    write: Callable[[Rows, Path], Path], build: Callable[..., "NaitIndex"], twelve: Path, tmp_path: Path
) -> None:
    build(tmp_path / "own.nait", write(small_rows(12), tmp_path))
    assert _numbers(tmp_path / "own.nait") == _numbers(twelve)


def test_standard_input_gives_the_same_index_and_its_name(twelve: Path, model: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    lines = "".join(json.dumps(row) + "\n" for row in small_rows(12)).encode()
    outcome = nait_index("build", root, "-", "--model", model, "--device", "cpu", stdin=lines)
    assert outcome.code == 0, outcome.err
    assert {key: row["position"] for key, row in samples_of(root).items()} == {
        key: row["position"] for key, row in samples_of(twelve).items()
    }
    assert {row["file"] for row in samples_of(root).values()} == {"stdin"}
    assert manifest_of(root).sources == ("-",)


_AS_FORMAT: dict[RowFormat, Callable[[str, str], dict[str, Any]]] = {
    RowFormat.ALPACA: lambda ask, answer: {"instruction": ask, "input": "", "output": answer},
    RowFormat.SHAREGPT: lambda ask, answer: {
        "conversations": [{"from": "human", "value": ask}, {"from": "gpt", "value": answer}]
    },
    RowFormat.MESSAGES: lambda ask, answer: {
        "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    },
    RowFormat.PROMPT_COMPLETION: lambda ask, answer: {"prompt": ask, "completion": answer},
    RowFormat.TEXT: lambda ask, answer: {"text": f"{ask}\n{answer}"},
    RowFormat.PREFERENCE: lambda ask, answer: {"prompt": ask, "chosen": answer, "rejected": "No."},
}


@pytest.mark.parametrize("row_format", list(RowFormat))
def test_every_format_is_told_and_gives_the_same_numbers(
    row_format: RowFormat, build: Callable[..., "NaitIndex"], twelve: Path, tmp_path: Path
) -> None:
    rows = [{"id": row["id"], **_AS_FORMAT[row_format](row["instruction"], row["output"])} for row in small_rows(12)]
    build(tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", rows))
    stored = samples_of(tmp_path / "own.nait")
    assert {row["format"] for row in stored.values()} == {str(row_format)}
    for sample_id, expected in samples_of(twelve).items():
        for column in ("n_tokens", "position", "pca_unit", "pca_mean", "topk_neurons"):
            assert stored[sample_id][column] == expected[column]


def test_rows_are_kept_as_they_lie_in_the_file(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    lines = [
        '{"id": "a",   "instruction": "Sp\\u00e4t?", "output": "ja",  "x": [1.50, null]}',
        '{"instruction": "Späte Übung", "output": "🙂", "meta": {"b": 1, "a": 2}}',
    ]
    build(tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", lines))
    stored = samples_of(tmp_path / "own.nait")
    assert [stored["a"]["row"], stored["corpus.jsonl:2"]["row"]] == lines


# ---- counts -------------------------------------------------------------------------------------------------------


MESSY = [
    *small_rows(6),
    "not json",
    '["a list"]',
    {"id": "empty", "instruction": "", "output": "  "},
    {"id": "long", "instruction": "Repeat.", "output": "la " * 300},
    {"id": "row-000", "instruction": "Another", "output": "one"},
]
"""Eleven rows: six good ones, one that is cut, four that cannot be used."""


def test_what_is_read_is_indexed_present_or_rejected(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", MESSY)
    first = build(tmp_path / "own.nait", corpus, max_length=64).report
    assert first is not None
    assert (first.read, first.indexed, first.present, first.rejected, first.truncated) == (11, 7, 0, 4, 1)
    again = build(tmp_path / "own.nait", corpus, max_length=64).report
    assert again is not None
    assert (again.read, again.indexed, again.present, again.rejected, again.rows) == (11, 0, 7, 4, 7)


def test_the_counts_are_printed(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", MESSY)
    outcome = nait_index("build", tmp_path / "own.nait", corpus, "--model", model, "--max-length", "64")
    assert outcome.code == 0, outcome.err
    printed = dict(line.split(maxsplit=1) for line in outcome.out.splitlines() if line.strip())
    wanted = {"read": "11", "indexed": "7", "present": "0", "rejected": "4", "truncated": "1", "rows": "7"}
    assert {name: printed[name] for name in wanted} == wanted
    assert str(tmp_path / "own.nait" / "rejected.jsonl") in outcome.err
    assert "64 tokens" in outcome.err


def test_rejected_rows_are_kept_with_place_reason_and_content_once(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", MESSY)
    for _ in range(2):
        build(tmp_path / "own.nait", corpus)
        rejected = read_lines(tmp_path / "own.nait" / "rejected.jsonl")
        assert [(row["file"], row["row"]) for row in rejected] == [(str(corpus), number) for number in (7, 8, 9, 11)]
        assert rejected[0]["content"] == "not json"
        assert [json.loads(row["content"]) for row in rejected[1:]] == [["a list"], MESSY[8], MESSY[10]]
        for row, reason in zip(rejected, ("not JSON", "a list", "no text", "'row-000'"), strict=True):
            assert reason in row["reason"]
        assert counts_of(tmp_path / "own.nait")["rejected"] == 4


def test_a_row_that_was_mended_is_no_longer_among_the_rejected(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", [*small_rows(4), "broken"])
    build(tmp_path / "own.nait", corpus)
    write_lines(corpus, small_rows(5))
    build(tmp_path / "own.nait", corpus)
    assert "row-004" in samples_of(tmp_path / "own.nait")
    assert read_lines(tmp_path / "own.nait" / "rejected.jsonl") == []


def test_rejected_rows_of_another_file_of_the_same_name_are_kept(tmp_path: Path) -> None:
    """Whether it is a file of next week or rows in memory; not those that were read again with a better result."""
    signatures, root = SignatureConfig(views=(View.WORDS,)), tmp_path / "own.nait"
    note = {"note": "This is read by nobody at all."}
    weeks = [[row | note for row in small_rows(8, first)] for first in (0, 20)]
    for number in (2, 5):
        weeks[0][number]["output"] = ""
    lost = [weeks[0][2]["id"], weeks[0][5]["id"]]
    for rows in weeks:
        corpus = write_lines(tmp_path / "this-week.jsonl", rows)
        NaitIndex.build(root, corpus, signatures=signatures)
        assert [json.loads(row["content"])["id"] for row in read_lines(root / "rejected.jsonl")] == lost
    assert manifest_of(root).unread == {str(corpus): {"'note'": 14}}
    NaitIndex.build(root, write_lines(corpus, ["broken", *weeks[0]]), signatures=signatures)  # lines have moved
    assert [row["row"] for row in read_lines(root / "rejected.jsonl")] == [1, 4, 7]
    write_lines(corpus, [row | {"output": "Mended."} if row["id"] == lost[0] else row for row in weeks[0]])
    for unanswered, left in ((Unanswered.REJECT, 1), (Unanswered.INDEX, 0)):
        NaitIndex.build(root, corpus, signatures=signatures, unanswered=unanswered)
        rejected = read_lines(root / "rejected.jsonl")
        assert len(rejected) == left, rejected


def test_rejected_rows_of_two_streams_are_both_kept(model: Path, tmp_path: Path) -> None:
    for first, broken in ((0, b"broken one\n"), (10, b"broken two\n")):
        lines = broken + "".join(json.dumps(row) + "\n" for row in small_rows(4, first)).encode()
        outcome = nait_index("build", tmp_path / "own.nait", "-", "--model", model, stdin=lines)
        assert outcome.code == 0, outcome.err
    contents = [row["content"] for row in read_lines(tmp_path / "own.nait" / "rejected.jsonl")]
    assert contents == ["broken one", "broken two"]


QUESTIONS: list[dict[str, Any]] = [
    {"id": f"question-{number}", "instruction": f"What is {number} + 1?", "answer": str(number + 1)}
    for number in range(2)
]


def test_rows_without_an_answer_or_with_images_are_rejected_and_counted(model: Path, tmp_path: Path) -> None:
    picture = {"id": "p", "instruction": "<image> What is it?", "output": "A cat.", "images": ["cat.png"]}
    corpus = write_lines(tmp_path / "corpus.jsonl", [*QUESTIONS, *small_rows(6), picture])
    command = ["build", tmp_path / "own.nait", corpus, "--model", model]
    for outcome in (nait_index(*command, "--dry-run"), nait_index(*command)):
        assert outcome.code == 0, outcome.err
        assert "2 rows have no answer; '--unanswered index' takes them in by their question" in outcome.err
        assert "1 row carries images, video or audio, which are not read; '--media text' takes rows in" in outcome.err
    assert counts_of(tmp_path / "own.nait")["rejected"] == 3
    reasons = [row["reason"] for row in read_lines(tmp_path / "own.nait" / "rejected.jsonl")]
    assert reasons[:2] == ["no answer: no 'output'; the row has 'answer'"] * 2


def test_a_corpus_without_answers_is_refused_with_a_remedy(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", QUESTIONS)
    told = refusal("build", tmp_path / "own.nait", corpus, "--model", model)
    assert "row 1: no answer: no 'output'; the row has 'answer'; rename the field that holds it, or index" in told


def test_rows_without_an_answer_are_indexed_when_asked_for_and_never_exported(model: Path, tmp_path: Path) -> None:
    """What is added later, and what is encoded anew, follow the setting of the build."""
    index, out = tmp_path / "own.nait", tmp_path / "out.jsonl"
    corpus = write_lines(tmp_path / "corpus.jsonl", [*small_rows(6), QUESTIONS[0]])
    more = write_lines(tmp_path / "more.jsonl", [QUESTIONS[1]])
    built = nait_index("build", index, corpus, "--model", model, "--unanswered", "index")
    assert "1 row has no answer: indexed by the question alone, and never exported" in built.err
    assert nait_index("add", index, more).code == 0
    assert manifest_of(index).unanswered == "index"
    assert {"question-0", "question-1"} <= samples_of(index).keys()
    assert nait_index("rebuild", index, tmp_path / "new.nait").code == 0
    assert manifest_of(tmp_path / "new.nait").unanswered == "index"

    asked = write_lines(tmp_path / "asked.jsonl", QUESTIONS)
    chosen = nait_index("query", index, "-e", asked, "--top", "100%", "--method", "length", "-o", out)
    assert chosen.code == 0, chosen.err
    assert "asked: 2 examples, 2 without an answer" in chosen.err
    assert "2 rows cannot be written, see" in chosen.err
    assert {row["id"] for row in read_lines(out)} == {row["id"] for row in small_rows(6)}
    stored = nait_index("capability", "add", index, "asked", asked)
    assert "2 examples, 0 truncated, 2 without an answer, 0 rejected" in stored.err
    refused = read_lines(out.with_name("out.jsonl.rejected.jsonl"))
    assert {row["id"] for row in refused} == {"question-0", "question-1"}
    assert nait_index("export", index, "--where", "id like 'question%'", "-o", tmp_path / "none.jsonl").code == 1
    assert not (tmp_path / "none.jsonl").exists()


def test_the_split_of_a_row_can_be_filtered_by_and_is_exported(model: Path, tmp_path: Path) -> None:
    for name, first in (("train", 0), ("test", 6)):
        write_lines(tmp_path / f"{name}.jsonl", small_rows(6, first))
    index, out = tmp_path / "own.nait", tmp_path / "out.jsonl"
    asks = nait_index("build", index, tmp_path, "--model", model)
    assert (asks.code, "--split train" in asks.err, index.exists()) == (1, True, False)
    (tmp_path / "data").mkdir()
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").rename(tmp_path / "data" / f"{name}.jsonl")
    assert nait_index("build", index, tmp_path / "data", "--model", model, "--split", "all", "--dry-run").code == 0
    assert nait_index("build", index, tmp_path / "data", "--model", model, "--split", "all").code == 0
    chosen = nait_index("export", index, "--where", "split = 'test'", "-o", out)
    assert chosen.code == 0, chosen.err
    assert read_lines(out) == [row | {"split": "test"} for row in small_rows(6, 6)]


def test_rows_with_images_are_indexed_by_their_text_when_asked_for(model: Path, tmp_path: Path) -> None:
    """Their other columns and pieces of content stay with them, in every kind of file."""
    turns = [
        {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
    ]
    rows = [{"id": "list", "messages": turns}, {"id": "column", "messages": turns[1:], "images": ["a.png", "b.png"]}]
    rows.append({"id": "bytes", "messages": turns[1:], "images": [{"bytes": "aGVsbG8=", "path": None}]})
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    index = tmp_path / "own.nait"
    built = nait_index("build", index, corpus, "--model", model, "--media", "text")
    assert built.code == 0, built.err
    assert "2 rows carry images, video or audio, which are not read: indexed by the text alone" in built.err
    assert manifest_of(index).media == "text"
    (lost,) = read_lines(index / "rejected.jsonl")
    assert "as bytes in the field 'images', which an index does not keep; name their paths instead" in lost["reason"]
    assert nait_index("query", index, "-e", corpus, "--method", "length", "--top", "100%").code == 0
    for name in ("out.jsonl", "out.parquet"):
        assert nait_index("export", index, "-o", tmp_path / name).code == 0
        written = [json.loads(sample.row) for sample in _kept(tmp_path / name)]
        assert written == rows[:2]
    converted = nait_index("export", index, "-o", tmp_path / "as.jsonl", "--as", "sharegpt", "--where", "id = 'list'")
    assert "holds images, video or audio, which cannot be converted" in converted.err
    assert nait_index("rebuild", index, tmp_path / "new.nait").code == 0
    assert manifest_of(tmp_path / "new.nait").media == "text"


def _kept(path: Path) -> list[Sample]:
    rules = RowRules(media=Media.TEXT)
    return [row for row in read_corpus([path], rules=rules) if isinstance(row, Sample)]


def test_truncated_rows_are_counted_and_marked(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", MESSY)
    index = build(tmp_path / "own.nait", corpus, max_length=64)
    stored = samples_of(tmp_path / "own.nait")
    assert [key for key, row in stored.items() if row["truncated"]] == ["long"]
    assert stored["long"]["n_tokens"] == 64
    assert index.info()["truncated"] == 1
    assert [row["id"] for row in index.rows(where="truncated")] == ["long"]


@pytest.mark.parametrize(
    ("cut", "longest", "sentence"),
    [
        (0, None, None),
        (9, None, "truncated rows were cut at 64 tokens"),
        (
            90,
            None,
            r"90 of 100 rows \(90%\) were cut at 64 tokens, so .* not at all; build with a larger --max-length$",
        ),
        (90, 512, "build with a larger --max-length, of up to 512$"),
        (90, 64, "the model reads no more; choose one that reads longer inputs than 64 tokens$"),
    ],
)
def test_many_rows_that_are_cut_are_told_with_a_remedy(cut: int, longest: int | None, sentence: str | None) -> None:
    told = cut_rows(cut, 100, 64, longest)
    assert len(told) == (sentence is not None)
    assert all(re.search(sentence or "", line) for line in told)


def test_cut_rows_are_told_by_the_build_and_its_forecast(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(6))
    command = ["build", tmp_path / "own.nait", corpus, "--model", model, "--max-length", "4", "--device", "cpu"]
    for outcome in (nait_index(*command, "--dry-run"), nait_index(*command)):
        assert outcome.err.count("6 of 6 rows (100%) were cut at 4 tokens") == 1, outcome.err


def test_a_row_with_activations_that_are_not_finite_is_set_aside_and_the_build_goes_on(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    bad = {"id": "bad", "instruction": f"Say {NOT_FINITE}", "output": "ok"}
    corpus = write_lines(tmp_path / "corpus.jsonl", [*small_rows(10), bad, *small_rows(10, first=10)])
    with planted_infinity():
        index = build(tmp_path / "own.nait", corpus)
    assert index.report is not None
    assert (index.report.read, index.report.indexed, index.report.rejected) == (21, 20, 1)
    assert set(samples_of(tmp_path / "own.nait")) == {f"row-{number:03}" for number in range(20)}
    (rejected,) = read_lines(tmp_path / "own.nait" / "rejected.jsonl")
    assert (rejected["file"], rejected["row"]) == (str(corpus), 11)
    assert "not finite" in rejected["reason"]
    assert json.loads(rejected["content"]) == bad


def test_a_model_that_fails_on_every_row_leaves_no_index(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    rows = [row | {"instruction": NOT_FINITE + row["instruction"]} for row in small_rows(5)]
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    with planted_infinity(), pytest.raises(CorpusError, match="not finite"):
        build(tmp_path / "own.nait", corpus)


# ---- again, and more ----------------------------------------------------------------------------------------------


def test_a_second_run_adds_and_changes_nothing(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    build(tmp_path / "own.nait", corpus)
    before, manifest = samples_of(tmp_path / "own.nait"), manifest_of(tmp_path / "own.nait")
    report = build(tmp_path / "own.nait", corpus).report
    assert report is not None
    assert (report.indexed, report.present, report.tokens) == (0, 20, 0)
    assert samples_of(tmp_path / "own.nait") == before
    assert manifest_of(tmp_path / "own.nait") == manifest


def test_a_second_run_changes_nothing_where_the_model_failed_on_a_row(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    bad = {"id": "bad", "instruction": f"Say {NOT_FINITE}", "output": "ok"}
    corpus = write_lines(tmp_path / "corpus.jsonl", [*small_rows(10), bad])
    with planted_infinity():
        build(tmp_path / "own.nait", corpus)
        manifest = manifest_of(tmp_path / "own.nait")
        build(tmp_path / "own.nait", corpus)
    assert manifest_of(tmp_path / "own.nait") == manifest


def test_more_rows_are_added_and_leave_the_others_as_they_are(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    build(root, corpus)
    before, basis = samples_of(root), (root / "basis.safetensors").read_bytes()
    write_lines(corpus, [*small_rows(5, first=20), *small_rows(20), *small_rows(5, first=25)])
    index = build(root, corpus)
    assert index.report is not None
    assert (index.report.read, index.report.indexed, index.report.present) == (30, 10, 20)
    after = samples_of(root)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(index) == 30
    assert (root / "basis.safetensors").read_bytes() == basis
    assert [row["id"] for row in index.rows()] == [f"row-{number:03}" for number in range(30)]


def test_a_second_file_is_added_and_named_among_the_sources(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    first = write_lines(tmp_path / "first.jsonl", small_rows(9))
    second = write_lines(tmp_path / "second.jsonl", small_rows(9, first=9))
    build(root, first)
    build(root, second)
    assert manifest_of(root).sources == (str(first), str(second))
    assert {row["file"] for row in samples_of(root).values()} == {str(first), str(second)}
    assert len(samples_of(root)) == 18


def test_an_id_with_other_content_is_refused_and_the_index_stays(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(10))
    build(root, corpus)
    before, counts = samples_of(root), counts_of(root)
    changed = [*small_rows(2, first=10), small_rows(1)[0] | {"output": "something else"}]
    other = write_lines(tmp_path / "other.jsonl", changed)
    with pytest.raises(CorpusError, match=r"other\.jsonl, row 3: id 'row-000'.*other content"):
        build(root, other)
    assert samples_of(root) == before
    assert counts_of(root) == counts


def test_a_refused_addition_leaves_no_files(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(10))
    build(root, corpus)
    names = sorted(path.name for path in root.iterdir())
    other = write_lines(tmp_path / "other.jsonl", [small_rows(1)[0] | {"output": "something else"}])
    with pytest.raises(CorpusError):
        build(root, other)
    assert sorted(path.name for path in root.iterdir()) == names


def test_a_row_that_differs_in_spacing_alone_is_the_same_row(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(4))
    build(root, corpus)
    before = samples_of(root)
    write_lines(
        corpus, [json.dumps(dict(reversed(row.items())), indent=None, separators=(",", ":")) for row in small_rows(4)]
    )
    build(root, corpus)
    assert samples_of(root) == before


# ---- settings -----------------------------------------------------------------------------------------------------


def test_full_signatures_are_the_centred_activations(
    build: Callable[..., "NaitIndex"], make_encoder: Callable[..., "Encoder"], model: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    from nait_index.corpus import make_template

    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(12))
    build(root, corpus, signatures=small_signatures(pca_dim=None))
    encoder = make_encoder(model)
    template = make_template("auto", encoder.model.tokenizer)
    samples = [item for item in read_corpus([corpus]) if isinstance(item, Sample)]
    tokens = encoder.tokenize([template.render(sample.parts) for sample in samples], add_special_tokens=True)
    center, stored = load_file(root / "basis.safetensors")["center"], samples_of(root)
    for batch in encoder.encode(tokens):
        for row, values in zip(batch.rows, batch.values, strict=True):
            for column, pooling in (("pca_mean", 0), ("pca_drift", 1)):
                signature = np.frombuffer(stored[samples[row].id][column], np.float32)
                np.testing.assert_allclose(signature, values[pooling] - center[pooling], atol=2e-5)
    unit = np.stack([np.frombuffer(row["pca_unit"], np.float32) for row in stored.values()])
    assert unit.shape == (12, 2 * sum(encoder.widths))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)


def test_an_index_of_topk_alone_is_built_and_refuses_queries_in_one_line(model: Path, tmp_path: Path) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(6))
    outcome = nait_index("build", root, corpus, "--model", model, "--views", "topk", "--topk", "4")
    assert outcome.code == 0, outcome.err
    info = nait_index("info", root, "--json").json
    assert list(info["views"]) == ["topk"]
    assert info["bytes_per_row"] == info["views"]["topk"]["bytes_per_row"]
    line = refusal("query", root, "-e", corpus)
    assert "pca" in line
    assert nait_index("verify", root).code == 0


def test_bytes_per_row_are_those_of_the_stored_columns(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(12))
    index = build(tmp_path / "own.nait", corpus)
    stored = next(iter(samples_of(tmp_path / "own.nait").values()))
    described = {name: size for view in index.info()["views"].values() for name, size in view["columns"].items()}
    assert described == {name: len(value) for name, value in stored.items() if isinstance(value, bytes)}


def test_rows_come_in_the_order_of_the_corpus_though_they_are_encoded_in_another(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    rows = small_rows(3 * SHARD)
    rows = rows[::2] + rows[1::2]
    index = build(tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", rows))
    wanted = [row["id"] for row in rows]
    assert [row["id"] for row in index.rows()] == wanted
    assert list(samples_of(tmp_path / "own.nait")) != wanted
    assert [row["id"] for row in index.rows(limit=5)] == wanted[:5]


def test_a_limit_takes_the_first_rows(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(20))
    index = build(tmp_path / "own.nait", corpus, limit=7)
    assert [row["id"] for row in index.rows()] == [f"row-{number:03}" for number in range(7)]
    index = build(tmp_path / "own.nait", corpus)
    assert index.report is not None
    assert (index.report.indexed, index.report.present) == (13, 7)


def test_a_seed_changes_the_order_of_encoding_alone(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(3 * SHARD))
    stored = []
    for seed in (0, 1):
        build(tmp_path / f"{seed}.nait", corpus, signatures=small_signatures(seed=seed))
        stored.append(samples_of(tmp_path / f"{seed}.nait"))
    assert list(stored[0]) != list(stored[1])
    assert {key: row["position"] for key, row in stored[0].items()} == {
        key: row["position"] for key, row in stored[1].items()
    }


def test_a_dry_run_tells_the_cost_and_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", MESSY)
    options = ["--model", model, "--max-length", "64", "--json"]
    estimate = nait_index("build", tmp_path / "own.nait", corpus, *options, "--dry-run").json
    assert list(tmp_path.iterdir()) == [corpus]
    assert (estimate["rows"], estimate["rejected"], estimate["truncated"]) == (7, 4, 1)
    assert estimate["minutes"] > 0
    assert estimate["bytes_per_row"] > 0
    built = nait_index("build", tmp_path / "own.nait", corpus, *options).json
    assert estimate["tokens"] == built["tokens"]


# ---- one writer ---------------------------------------------------------------------------------------------------


def test_of_two_builds_at_once_one_says_who_holds_the_index(build: Callable[..., "NaitIndex"], tmp_path: Path) -> None:
    import os

    from nait_index.store.layout import Layout
    from nait_index.store.locks import write_lock

    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(4))
    build(root, corpus)
    with write_lock(Layout(root)), pytest.raises(IndexBusyError, match=f"process {os.getpid()}"):
        build(root, corpus)
    build(root, corpus)


def test_a_build_never_removes_the_folder_of_another_that_began_at_the_same_moment(
    build: Callable[..., "NaitIndex"], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another build makes and locks the folder after this one looked at it and before it tries to lock it."""
    from nait_index.store.layout import Layout
    from nait_index.store.locks import write_lock

    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(4))

    @contextmanager
    def late(layout: Layout) -> Iterator[None]:
        with write_lock(layout):
            (root / "staging").mkdir()
            (root / "staging" / "of-the-other").touch()
            with write_lock(layout):
                yield

    monkeypatch.setattr("nait_index.building.builder.write_lock", late)
    with pytest.raises(IndexBusyError):
        build(root, corpus)
    assert (root / "staging" / "of-the-other").exists()


def test_an_index_of_another_setting_is_refused_before_any_row_is_read(
    build: Callable[..., "NaitIndex"], tmp_path: Path
) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(4))
    build(root, corpus)
    corpus.unlink()
    corpus.touch()
    with pytest.raises(FingerprintError, match="max_length"):
        build(root, corpus, max_length=16)


def test_a_build_uses_the_settings_of_the_index_that_is_there(
    model: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    root, corpus = tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(6))
    more, build = write_lines(tmp_path / "more.jsonl", small_rows(2, first=6)), ["build", root]
    assert nait_index(*build, corpus, "--model", model, "--max-length", "64", "--views", "pca").code == 0
    before, caches = manifest_of(root), root / "staging"
    outcome = nait_index(*build, more, "--json")
    assert outcome.json["indexed"] == 2
    assert f"using the model that {root} was built with: {model}" in outcome.err
    assert manifest_of(root).fingerprint == before.fingerprint
    assert nait_index(*build, more, "--model", model, "--views", "pca", "--layers", "all", "--dtype", "auto").code == 0
    other = tiny_model("mistral")
    refusals = {
        f"differ in weights (of {model} here, of {other} there)": ["--model", other],
        f"differ in weights (of {model} here, of bundled there)": ["--model", "bundled"],
        "differ in max_length (64 here, 32 there);": ["--max-length", "32"],
        "differ in views (pca here, pca,topk there);": ["--views", "pca,topk"],
        "differ in pca_dim (1024 here, full there);": ["--pca-dim", "full"],
        "differ in seed (0 here, 1 there);": ["--seed", "1"],
    }
    for message, options in refusals.items():
        line = refusal(*build, corpus, *options)
        assert message in line
        assert len(line) < 400
        assert before.fingerprint.weights not in line
    assert not caches.exists() or not any(caches.iterdir())
    assert "was interrupted" not in nait_index("info", root).err
