"""Near-duplicates among chosen rows."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, read_lines, refusal, small_rows, write_lines

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.handover.rows import ChosenRow
from nait_index.selection.duplicates import find_duplicates, word_runs
from nait_index.types import RowFormat

WORDS = [f"word{n}" for n in range(400)]


def chosen(texts: list[str]) -> list[ChosenRow]:
    return [ChosenRow(str(n), json.dumps({"text": text}), RowFormat.TEXT, 9, cut=False) for n, text in enumerate(texts)]


def likeness(first: str, second: str) -> float:
    one, other = word_runs(first), word_runs(second)
    return len(one & other) / len(one | other)


def test_runs_of_three_words_whatever_the_marks() -> None:
    assert word_runs("One, two three. Four!") == {b"one two three", b"two three four"}
    assert word_runs("One two") == {b"one two"}
    assert word_runs("…") == frozenset()


def test_pairs_are_found_as_by_comparing_all() -> None:
    """Copies, and copies with some words changed, planted among random rows."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=60)) for _ in range(150)]
    for source in range(50):
        changed = texts[source].split()
        for place in rng.sample(range(60), source % 6):
            changed[place] = rng.choice(WORDS)
        texts.append(" ".join(changed))
    for threshold in (0.6, 0.8, 0.95, 1):
        kept: list[int] = []
        expected = {}
        for n, text in enumerate(texts):
            near = [(likeness(text, texts[other]), other) for other in kept]
            best = max(near, default=(0.0, -1), key=lambda pair: pair[0])
            if best[0] >= threshold:
                expected[str(n)] = str(best[1])
            else:
                kept.append(n)
        found = find_duplicates(chosen(texts), threshold)
        assert found.keys() <= expected.keys()
        assert len(found) >= 0.97 * len(expected)
        assert all(found[n].like == expected[n] for n in found)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(1)
    rows: list[dict[str, Any]] = []
    for n in range(60):
        text = " ".join(rng.choices(WORDS, k=30))
        rows += [{"id": f"{n}-{copy}", "question": f"What says {text}?", "answer": text} for copy in range(2)]
    path = tmp_path_factory.mktemp("duplicates") / "x.nait"
    built = NaitIndex.build(path, rows, signatures=SignatureConfig(views=(View.WORDS,)))
    built.add_capability("first", [{"question": row["question"], "answer": row["answer"]} for row in rows[:16]])
    built.add_capability("second", [{"question": row["question"], "answer": row["answer"]} for row in rows[40:56]])
    return path


def test_a_selection_is_filled_with_the_next_best(index: Path) -> None:
    opened = NaitIndex(index)
    chosen = opened.query("first", top=30, dedup=0.9)
    assert len(chosen) == len({sample_id.split("-")[0] for sample_id in chosen.ids}) == 30
    facts = chosen.provenance.to_dict()["deduplicated"]
    assert facts["removed"] == len(facts["rows"]) >= 25
    assert all(row["like"] in chosen.ids and row["likeness"] == 1 for row in facts["rows"][:10])
    assert len({sample_id.split("-")[0] for sample_id in opened.query("first", top=30).ids}) < 20
    core = opened.core(["first", "second"], top=20, dedup=0.9, bootstrap=2)
    assert len({sample_id.split("-")[0] for sample_id in core.ids}) == 20


def test_the_command(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asked = nait_index("query", index, "-c", "first", "--top", "20", "--dedup", "0.9", "-o", out)
    assert asked.code == 0, asked.err
    assert "like a better one left out" in asked.err
    sidecar = json.loads((tmp_path / "out.jsonl.meta.json").read_text())
    assert sidecar["deduplicated"]["threshold"] == 0.9
    again = tmp_path / "again.jsonl"
    assert nait_index("export", index, "--from", tmp_path / "out.jsonl.meta.json", "-o", again).code == 0
    assert again.read_bytes() == out.read_bytes()
    assert "from 0.2" in refusal("query", index, "-c", "first", "--dedup", "9")


def test_all_rows_and_a_cover_without_near_duplicates(index: Path, tmp_path: Path) -> None:
    opened = NaitIndex(index)
    counted = opened.near_duplicates()
    assert (counted.rows, counted.counted, counted.total) == (60, 120, 120)
    assert counted.sentence == "60 of 120 rows share at least 90% of their wording with another"
    out = tmp_path / "all.jsonl"
    asked = nait_index("export", index, "--dedup", "0.9", "-o", out)
    assert asked.code == 0, asked.err
    assert [row["id"] for row in read_lines(out)] == [f"{n}-0" for n in range(60)], "in corpus order, the first is kept"
    assert json.loads((tmp_path / "all.jsonl.meta.json").read_bytes())["deduplicated"]["removed"] == 60


def test_a_cover_is_filled_up(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    rows = [row | {"id": f"{row['id']}-{copy}"} for row in small_rows(12) for copy in range(3)]
    built = NaitIndex.build(tmp_path / "x.nait", rows, model=tiny_model("llama"))
    chosen = built.cover(top=12, dedup=0.9)
    assert len({sample_id.rpartition("-")[0] for sample_id in chosen.ids}) == len(chosen) == 12
    told = nait_index("build", tmp_path / "y.nait", write_lines(tmp_path / "rows.jsonl", rows), "--no-model")
    assert told.code == 0, told.err
    assert "24 of 36 rows share at least 90% of their wording with another; 'query --dedup 0.9'" in told.err
    more = nait_index("add", tmp_path / "y.nait", write_lines(tmp_path / "more.jsonl", small_rows(3, first=90)))
    assert more.code == 0, more.err
    assert "of their wording" not in more.err, "the whole index is not read again for three rows"
