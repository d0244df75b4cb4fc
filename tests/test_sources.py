"""Corpora from where they lie: patterns, addresses, the Hub, and rows in memory."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import small_signatures, write_lines
from hub_stand_in import serving

from nait_index import NaitIndex
from nait_index.config import ModelConfig
from nait_index.corpus import corpus_list, read_corpus
from nait_index.errors import CorpusError, NaitError
from nait_index.types import Rejected, Sample

ROWS = [{"question": f"What is {n} + {n}?", "answer": f"It is {2 * n}."} for n in range(12)]


def ids(*sources: Any, split: str | None = None) -> list[str]:
    return [item.id for item in read_corpus(sources, split=split) if isinstance(item, Sample)]


def stored(*sources: Any) -> list[dict[str, Any]]:
    return [json.loads(item.row) for item in read_corpus(sources) if isinstance(item, Sample)]


def test_one_or_several_sources() -> None:
    assert corpus_list("a.jsonl") == ["a.jsonl"]
    assert corpus_list([Path("a"), "b"]) == [Path("a"), "b"]
    assert corpus_list(ROWS) == [ROWS]
    with pytest.raises(NaitError, match="no file"):
        corpus_list([])


def test_a_pattern_names_files_in_their_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_lines(tmp_path / f"part-{name}.jsonl", ROWS[:2])
    (tmp_path / "other.txt").write_text("x")
    found = [item.origin.file for item in read_corpus([str(tmp_path / "part-*.jsonl")])]
    assert [Path(name).name for name in found] == ["part-a.jsonl"] * 2 + ["part-b.jsonl"] * 2
    with pytest.raises(CorpusError, match="no such file"):
        list(read_corpus([str(tmp_path / "none-*.jsonl")]))


# ---- in memory ------------------------------------------------------------------------------------------------------


def test_rows_in_memory() -> None:
    assert ids(ROWS) == [f"rows:{number}" for number in range(1, 13)]
    assert stored(iter(ROWS)) == ROWS
    with pytest.raises(CorpusError, match="not a corpus"):
        ids(3)
    with pytest.raises(CorpusError, match="empty"):
        ids(iter([]))
    items = list(read_corpus([[*ROWS[:1], {"question": "q", "answer": 3}, {"question": {"a": float("nan")}}]]))
    assert [isinstance(item, Rejected) for item in items] == [False, True, True]


def test_several_lists_of_rows_are_told_apart() -> None:
    lists = [[{"text": f"{name}{n}"} for n in range(2)] for name in "ab"]
    assert ids(*lists) == ["rows:1", "rows:2", "rows-2:1", "rows-2:2"]


def test_a_column_alone_is_no_corpus() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(CorpusError, match="Series is not a corpus"):
        ids(pandas.Series(["a"]))


def test_a_data_set_a_stream_and_a_frame_are_read_alike() -> None:
    import datasets
    import pandas as pd

    data = datasets.Dataset.from_list([row | {"score": 0.5, "note": None} for row in ROWS])
    expected = [row | {"score": 0.5} for row in ROWS]
    assert stored(data) == stored(data.to_iterable_dataset()) == expected
    assert stored(pd.DataFrame(expected)) == expected
    assert stored(data.select(range(3))) == expected[:3]
    both = datasets.DatasetDict(train=data, test=data.select(range(2)))
    with pytest.raises(CorpusError, match="splits train, test"):
        ids(both)
    assert len(ids(both, split="test")) == 2
    assert ids(both, split="all")[-1] == "rows/test:2"


def test_a_column_of_several_types_in_a_frame_is_named() -> None:
    import pandas as pd

    mixed = pd.DataFrame({"text": ["a", "b"], "label": pd.Series(["a", 1], dtype=object)})
    with pytest.raises(CorpusError, match=r"rows: .* column label .*; make its values of one type") as caught:
        ids(mixed)
    assert "\n" not in str(caught.value)
    with pytest.raises(CorpusError, match="an integer is too large; make it text"):
        ids(pd.DataFrame({"text": ["a", "b"], "seed": [2**70, "b"]}))
    with pytest.raises(CorpusError, match="has two columns named 'text'; rename one"):
        ids(pd.DataFrame([["a", "b"]], columns=["text", "text"]))


def test_a_column_of_objects_in_a_frame_of_polars_is_named() -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(CorpusError, match="the column 'label' holds Python objects"):
        ids(polars.DataFrame({"text": ["a"], "label": [object()]}))


def test_an_index_is_built_of_rows_in_memory_and_asked_with_them(tmp_path: Path, tiny_model: Any) -> None:
    model = ModelConfig(str(tiny_model("llama")), max_length=48)
    index = NaitIndex.build(tmp_path / "x.nait", ROWS, model=model, signatures=small_signatures())
    assert index.manifest.sources == ("rows",)
    index.add_capability("sums", ROWS[:4])
    assert len(index.query("sums", top=3)) == 3
    more = [{"id": "new", "question": "Why?", "answer": "Because."}]
    assert len(NaitIndex.add(tmp_path / "x.nait", more)) == 13


# ---- addresses ------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote() -> Iterator[str]:
    import fsspec

    system = fsspec.filesystem("memory")
    for name in ("b", "a"):
        system.pipe(f"/corpus/{name}.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in ROWS[:3]))
    system.pipe("/corpus/notes.md", b"#")
    yield "memory://corpus"
    system.rm("/corpus", recursive=True)


def test_files_folders_and_patterns_at_an_address(remote: str) -> None:
    assert ids(f"{remote}/a.jsonl") == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    assert ids(remote) == [f"corpus:{number}" for number in range(1, 7)]
    first = next(iter(read_corpus([f"{remote}/*.jsonl"])))
    assert first.origin.file.startswith("memory://")
    assert first.origin.file.endswith("corpus/a.jsonl")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nope.jsonl", "no such file"), ("*.csv", "no file that ends"), ("notes.md", "unknown extension")],
)
def test_an_address_with_nothing_to_read(remote: str, name: str, problem: str) -> None:
    with pytest.raises(CorpusError, match=problem):
        ids(f"{remote}/{name}")


def test_a_folder_at_an_address_is_read_like_one_here(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "test", ".hidden"):
        write_lines(folder / f"{name}.jsonl", ROWS[:2])
    write_lines(folder / "dataset_info.json", [{"data": {"file_name": "train.jsonl"}}])
    for source in (str(folder), folder.as_uri()):
        with pytest.raises(CorpusError, match="data: holds the splits test and train; 'build' and 'add' take one with"):
            ids(source)
        assert ids(source, split="test") == ["data/test:1", "data/test:2"]
        assert ids(source, split="all") == ["data/test:1", "data/test:2", "data/train:1", "data/train:2"]
        with pytest.raises(CorpusError, match="data: has no split 'tset'; it has test, train; did you mean test"):
            ids(source, split="tset")
        assert len(ids(f"{source}/*.js*")) == 4  # files that are named, whatever their splits
        assert len(ids(f"{source}/.h*")) == 2
    (folder / "README.md").write_text("#")
    for source in (str(folder), folder.as_uri()):
        with pytest.raises(CorpusError, match=r"README\.md: unknown extension \.md; known are"):
            read_corpus([f"{source}/*"])


def test_what_save_to_disk_wrote_at_an_address(tmp_path: Path) -> None:
    import datasets

    data = datasets.Dataset.from_list(ROWS[:3])
    data.save_to_disk(tmp_path / "rows")
    assert len(ids((tmp_path / "rows").as_uri())) == 3
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "both")
    with pytest.raises(CorpusError, match="name the folder of one of its splits"):
        ids((tmp_path / "both").as_uri())
    assert len(ids((tmp_path / "both" / "test").as_uri())) == 3


def test_an_address_of_no_known_kind() -> None:
    with pytest.raises(CorpusError, match="nosuch"):
        ids("nosuch://bucket/rows.jsonl")


# ---- the Hub --------------------------------------------------------------------------------------------------------

_SCRIPT = """
import json, sys
from nait_index.corpus import read_corpus
from nait_index.errors import CorpusError
for text in sys.argv[1:]:
    source, _, split = text.partition("#")
    try:
        print(json.dumps([item.id for item in read_corpus([source], split=split or None)]))
    except CorpusError as error:
        print(json.dumps(str(error)))
"""


def test_data_sets_of_the_hub(tmp_path: Path) -> None:
    """In a process of its own, since the libraries read the Hub's address when they are imported."""
    pytest.importorskip("datasets")
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS[:2])
    names = [
        "acme/sums",
        "acme/sums#train",
        "acme/sums#tset",
        "acme/sums#all",
        "hf://datasets/acme/sums@main:default/test",
        "hf://datasets/acme/sums/data/test.jsonl",
        "acme/nothing",
    ]
    with serving("acme/sums", {"data/train.jsonl": lines, "data/test.jsonl": lines, "README.md": b"#"}) as address:
        environment = {name: value for name, value in os.environ.items() if not name.endswith("OFFLINE")}
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        ran = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *names], env=environment, capture_output=True, text=True, check=True
        )
    several, train, wrong, every, test, file, nothing = map(json.loads, ran.stdout.splitlines())
    assert "splits train, test; take one with --split" in several
    assert train == ["acme/sums/train:1", "acme/sums/train:2"]
    assert "no split 'tset'" in wrong
    assert every == ["acme/sums/train:1", "acme/sums/train:2", "acme/sums/test:1", "acme/sums/test:2"]
    assert test == ["acme/sums/test:1", "acme/sums/test:2"]
    assert file == ["test.jsonl:1", "test.jsonl:2"]
    assert "neither a file or folder here, nor a data set" in nothing
