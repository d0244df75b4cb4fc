"""Trained queries are cached: read where nothing changed, trained again where something did or a file is damaged."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import small_rows

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import NaitError
from nait_index.methods import probe
from nait_index.store import cache
from nait_index.store.sealed import read_sealed, write_sealed

EXAMPLES = [{"instruction": f"add {n} and {n + 1}", "output": str(2 * n + 1)} for n in range(6)]


@pytest.fixture
def index(tmp_path: Path) -> NaitIndex:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in small_rows(30)), encoding="utf-8")
    built = NaitIndex.build(tmp_path / "x.nait", str(corpus), signatures=SignatureConfig(views=(View.WORDS,)))
    built.add_capability("sums", EXAMPLES)
    return built


def chosen(index: NaitIndex, **options: Any) -> list[tuple[str, float]]:
    choice = index.query("sums", top=5, **options)
    return list(zip(choice.ids, choice.scores, strict=True))


def files(index: NaitIndex) -> list[Path]:
    return sorted(index.layout.engine(index.manifest.table_version).glob("cached-*.json"))


def never(*_: object) -> Any:
    raise AssertionError("trained again")


def test_a_query_is_trained_once(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chosen(index)
    assert len(files(index)) == 1
    monkeypatch.setattr(probe, "train", never)
    assert chosen(NaitIndex(index.layout.root)) == first


def test_another_process_does_not_import_the_optimiser(index: NaitIndex) -> None:
    script = (
        "import sys; from nait_index import NaitIndex; NaitIndex(sys.argv[1]).query('sums', top=5);"
        "print('scipy.optimize' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(index.layout.root)]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert said == ["True", "False"]


def test_it_is_trained_again_for_other_rows_examples_or_wishes(index: NaitIndex) -> None:
    before = chosen(index)
    index.add_capability("other", [{"instruction": "name a colour", "output": "red"}, *EXAMPLES[:2]])
    unlike = chosen(index, unlike=["other"])
    assert unlike != before
    assert len(files(index)) == 2
    fresh = NaitIndex.add(index.layout.root, small_rows(20, first=100))
    assert not files(fresh)
    assert chosen(fresh) != before


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"made_of": "another", "numbers": [0.0]},
        {"numbers": [0.0, 1.0]},
        {"made_of": "same", "numbers": {"0": 1.0}},
        {"made_of": "same", "numbers": ["1", None]},
    ],
)
def test_a_damaged_or_foreign_file_is_made_anew(index: NaitIndex, record: dict[str, Any] | None) -> None:
    before = chosen(index)
    (path,) = files(index)
    whole = path.read_bytes()
    if record is None:
        path.write_bytes(whole[:100] + b"9" + whole[101:])
    else:
        known = read_sealed(path)
        assert known is not None
        same = {"made_of": known["made_of"]} if record.get("made_of") == "same" else {}
        write_sealed(path, record | same)
    assert chosen(NaitIndex(index.layout.root)) == before
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_time_alone(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NaitError("disk full")

    monkeypatch.setattr(cache, "write_sealed", refuse)
    assert len(chosen(index)) == 5
    assert not files(index)


def test_nothing_is_cached_of_resampled_examples(index: NaitIndex) -> None:
    index.add_capability("words", small_rows(20, first=200)[::2])
    core = index.core(["sums", "words"], top=5, bootstrap=4)
    assert core.provenance.core is not None
    assert core.provenance.core.bootstrap == 4
    assert len(files(index)) == 2


def test_the_least_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST", 3)
    made = []

    def number(n: int) -> np.ndarray:
        made.append(n)
        return np.array([n / 3])

    for n in (0, 1, 2, 0, 3, 0, 1):
        assert cache.cached(tmp_path, [np.arange(n), "thirds"], lambda n=n: number(n)) == [n / 3]
        newest = max(tmp_path.glob("cached-*.json"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (len(made), len(made)))  # some file systems know whole seconds alone
    assert made == [0, 1, 2, 3, 1]
    assert len(list(tmp_path.glob("cached-*.json"))) == 3
