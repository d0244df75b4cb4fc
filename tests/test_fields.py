"""Fields of the rows as columns: read once, kept, and read again where what is kept is damaged or of another state."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import small_rows

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import SelectionError
from nait_index.store.fields import field_columns
from nait_index.store.filters import matching_rows
from nait_index.store.samples import SampleTable

EXTRA: list[dict[str, Any]] = [
    {"source": "a", "score": 1, "meta": {"lang": "en", "deep": {"n": 1}}},
    {"source": "b", "score": 2.5, "meta": {"lang": "de"}, "odd": 1},
    {"source": None, "meta": "text", "odd": "one"},
    {"score": 10**30, "meta": {"lang": None}, "odd": ["x"]},
    {"flag": True, "half": "\ud83d", "tags": ["été", "math"]},
]
CONDITIONS = [
    "source = 'a'",
    "source IS NULL",
    "score > 1",
    "meta.lang = 'en' OR meta.deep.n = 1",
    "odd = '1'",
    "flag",
    "n_tokens > 5 AND source IN ('a', 'b')",
    "fields.source = 'b'",
    "half IS NOT NULL",
    "tags LIKE '%été%'",
]


def rows() -> list[dict[str, Any]]:
    return [row | EXTRA[n % len(EXTRA)] for n, row in enumerate(small_rows(20))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fields") / "x.nait"
    corpus = path.with_name("corpus.jsonl")
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    NaitIndex.build(path, str(corpus), signatures=SignatureConfig(views=(View.WORDS,)))
    return path


@pytest.fixture
def index(built: Path, tmp_path: Path) -> NaitIndex:
    return NaitIndex(shutil.copytree(built, tmp_path / "x.nait"))


def kept(index: NaitIndex) -> Path:
    return index.layout.engine(index.manifest.table_version)


def refuse(self: SampleTable, columns: Any) -> Iterator[dict[str, Any]]:
    raise AssertionError("the rows are read")


@pytest.mark.parametrize("where", CONDITIONS)
def test_conditions_hold_for_the_same_rows_whether_columns_are_kept_or_not(index: NaitIndex, where: str) -> None:
    plain = matching_rows(index._table, where)
    assert 0 < plain.sum() < 20
    for _ in range(2):
        assert np.array_equal(index.columns.allowed(where), plain)
    assert np.array_equal(NaitIndex(index.layout.root).columns.allowed(where), plain)


def test_a_field_is_read_from_the_rows_once(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"source": {}, "meta": {"lang": {}}, "nowhere": {}}
    first = field_columns(index._table, names, kept(index))
    assert list(first) == ["source", "meta"], "what no row has is left out"
    monkeypatch.setattr(SampleTable, "records", refuse)
    again = field_columns(index._table, names, kept(index))
    assert {name: column.to_pylist() for name, column in again.items()} == {
        name: column.to_pylist() for name, column in first.items()
    }
    with pytest.raises(AssertionError, match="rows are read"):
        field_columns(index._table, {"meta": {"deep": {}}}, kept(index))


@pytest.mark.parametrize(
    "where",
    [
        "coalesce(meta.lnag, '') <> 'en'",
        "meta.lnag IS NULL",
        "fields.meta.lnag = 'en'",
        "meta.lang = 'x' OR meta.lnag = 'y'",
    ],
)
def test_a_field_that_no_object_has_is_refused(index: NaitIndex, where: str) -> None:
    for _ in range(2):
        with pytest.raises(SelectionError, match=r"no object in a row has 'lnag'.*lang"):
            index.columns.allowed(where)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove", "stamp"])
def test_a_damaged_column_is_read_again(index: NaitIndex, damage: str) -> None:
    expected = index.columns.allowed("source = 'a'")
    for path in kept(index).glob("field-*.arrow"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == "remove":
            path.unlink()
        elif damage == "stamp":
            path.with_suffix(".json").write_text("{}", encoding="utf-8")
        else:
            path.write_bytes({"flip": bytes(data), "cut": data[:40], "empty": b""}[damage])
    assert np.array_equal(NaitIndex(index.layout.root).columns.allowed("source = 'a'"), expected)
    assert len(list(kept(index).glob("field-*.arrow"))) > 0


def test_rows_that_are_added_or_removed_are_seen(index: NaitIndex, tmp_path: Path) -> None:
    assert index.columns.allowed("source = 'a'").sum() == 4  # type: ignore[union-attr]
    more = [row | {"source": "a"} for row in small_rows(5, first=100)]
    NaitIndex.build(index.layout.root, more)
    assert NaitIndex(index.layout.root).columns.allowed("source = 'a'").sum() == 9  # type: ignore[union-attr]
    NaitIndex(index.layout.root).remove(where="source = 'a' AND id <> 'row-100'")
    assert NaitIndex(index.layout.root).columns.allowed("source = 'a'").sum() == 1  # type: ignore[union-attr]


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(index: NaitIndex) -> None:
    expected = matching_rows(index._table, "source = 'a'")
    blocked = kept(index)
    shutil.rmtree(blocked, ignore_errors=True)
    blocked.write_text("in the way", encoding="utf-8")
    assert np.array_equal(matching_rows(index._table, "source = 'a'", blocked), expected)
