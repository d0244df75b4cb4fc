"""Examples of what is not wanted, and rows that just missed the cut."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import nait_index, refusal, small_signatures, write_lines

from nait_index import NaitIndex
from nait_index.config import ModelConfig
from nait_index.errors import SelectionError
from nait_index.methods.probe import negative_weights, train

KINDS = {
    "sums": ("What is {} plus {}?", "The sum is {}."),
    "rivers": ("Which river flows through town {}?", "The long river number {} flows there."),
    "recipes": ("How do I bake bread number {}?", "Mix flour and water, and bake it for {} minutes."),
}


def rows(kind: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    asked, answered = KINDS[kind]
    return [
        {"id": f"{kind}-{n}", "instruction": asked.format(n, n + 1), "output": answered.format(n)}
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_model: Any) -> Path:
    folder = tmp_path_factory.mktemp("unlike")
    corpus = [row for kind in KINDS for row in rows(kind, 40)]
    model = ModelConfig(str(tiny_model("llama")), max_length=48)
    built = NaitIndex.build(folder / "x.nait", corpus, model=model, signatures=small_signatures())
    built.add_capability("mixed", [row for kind in ("sums", "rivers") for row in rows(kind, 8, first=100)])
    built.add_capability("sums", rows("sums", 8, first=200))
    built.add_capability("recipes", rows("recipes", 8, first=100))
    return folder / "x.nait"


def share(index: Path, kind: str, **options: Any) -> float:
    chosen = NaitIndex(index).query("mixed", top=30, **options)
    return sum(sample_id.startswith(kind) for sample_id in chosen.ids) / 30


@pytest.mark.parametrize("method", ["probe", "contrast"])
def test_rows_like_what_is_not_wanted_fall_behind(index: Path, method: str) -> None:
    assert share(index, "sums", method=method) > 0.1
    assert share(index, "sums", method=method, unlike="sums") < 0.1
    assert share(index, "rivers", method=method, unlike=["sums"]) > 0.6


def test_a_core_heeds_it_too(index: Path) -> None:
    chosen = NaitIndex(index).core(["mixed", "recipes"], top=20, unlike="sums", bootstrap=2)
    assert not any(sample_id.startswith("sums") for sample_id in chosen.ids)
    known = {"examples": 8, "truncated": 0, "hash": NaitIndex(index).capability("sums").digest}
    assert chosen.provenance.to_dict()["unlike"] == {"sums": known}


def test_wanted_and_unwanted_or_a_method_that_cannot(index: Path) -> None:
    opened = NaitIndex(index)
    with pytest.raises(SelectionError, match="wanted and unwanted"):
        opened.query("mixed", unlike="mixed")
    with pytest.raises(SelectionError, match=r"bm25 does not heed.*probe"):
        opened.query("mixed", method="bm25", unlike="sums")


def test_the_command_takes_names_and_files(index: Path, tmp_path: Path) -> None:
    examples = write_lines(tmp_path / "rivers.jsonl", rows("rivers", 4, first=300))
    asked = nait_index("query", index, "-c", "mixed", "--not", "sums", "--unlike", examples, "--top", "20", "--json")
    assert asked.code == 0, asked.err
    assert '"rivers"' in asked.out
    assert "there is no capability" in refusal("query", index, "-c", "mixed", "--not", "nope")


def test_contested_rows_are_not_spared() -> None:
    like = np.arange(20.0)
    spared = negative_weights(like)
    assert spared[-1] == 0
    contested = negative_weights(like, np.arange(20) == 19)
    assert contested[-1] == contested.max()
    assert contested.sum() == pytest.approx(1)


def test_without_unwanted_examples_nothing_changes() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 8)).astype(np.float32)
    points /= 2 * np.linalg.norm(points, axis=1, keepdims=True)
    first, again = train(points[:10], points[10:]), train(points[:10], points[10:], points[:0])
    assert np.array_equal(first.vector, again.vector)


# ---- what just missed the cut ---------------------------------------------------------------------------------------


def test_the_margin_is_what_a_larger_budget_would_add(index: Path, tmp_path: Path) -> None:
    opened = NaitIndex(index)
    chosen, more = opened.query("mixed", top=10, margin=5), opened.query("mixed", top=15)
    assert chosen.missed is not None
    assert (*chosen.ids, *chosen.missed.ids) == more.ids
    assert [record["rank"] for record in chosen.missed.records()] == [11, 12, 13, 14, 15]
    assert opened.query("mixed", top="100%", margin=5).missed is None
    with pytest.raises(SelectionError, match="--margin"):
        opened.query(["mixed", "sums"], top=5, margin=5)
    asked = nait_index("query", index, "-c", "mixed", "--top", "5", "--margin", "3")
    assert "just missed the cut" in asked.out
    out = tmp_path / "out.jsonl"
    assert nait_index("query", index, "-c", "mixed", "--top", "5", "--margin", "3", "-o", out).code == 0
    assert len(json.loads((tmp_path / "out.jsonl.meta.json").read_text())["missed"]) == 3
