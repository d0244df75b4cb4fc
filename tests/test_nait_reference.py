"""A whole build and query against the reference: the same ids in the same order, the same scores."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from nait_reference import (
    cosine,
    principal_directions,
    ranking,
    reference_contrast,
    reference_scores,
    text_of,
)

from nait_index import NaitIndex
from nait_index.config import Device, ModelConfig, SignatureConfig
from tools.demo.corpus import Split, generate

Rows = list[dict[str, Any]]
ROWS, EXAMPLES = 300, 32
RELATIVE = 1e-4
EVERY = 57
"""Of the real data, which row in how many is taken: chosen so that no two scores come closer than ``GAP``."""
GAP = 2e-6
"""Least distance of two scores, relative to the largest, for their order not to hang on float32 rounding (6e-7)."""


def shared_data() -> Path:
    """Folder of real instruction data that may lie beside the repository."""
    beside = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("NAIT_SHARED", beside)) / "data"


def distinct(rows: Iterable[dict[str, Any]]) -> Rows:
    """Take the first rows of different texts: the order of equal texts would hang on the last bit of their scores."""
    by_text: dict[str, dict[str, Any]] = {}
    for row in rows:
        by_text.setdefault(text_of(row), row)
        if len(by_text) == ROWS:
            break
    return list(by_text.values())


def demo_rows() -> tuple[Rows, Rows]:
    return distinct(generate(Split.CORPUS)), generate(Split.EXAMPLES, {"arithmetic": EXAMPLES})


def real_rows() -> tuple[Rows, Rows]:
    data = shared_data()
    if not (data / "pool.jsonl").is_file():
        pytest.skip(f"no real data at {data}; name its parent folder in NAIT_SHARED")
    with (data / "pool.jsonl").open(encoding="utf-8") as file:
        corpus = distinct(map(json.loads, islice(file, 0, None, EVERY)))
    with (data / "capabilities" / "gsm8k.jsonl").open(encoding="utf-8") as file:
        return corpus, [json.loads(line) for line in islice(file, EXAMPLES)]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


class Built:
    """An index of some rows by the tiny llama, nothing compressed, and its capability."""

    def __init__(self, model: Path, folder: Path, corpus: Rows, examples: Rows) -> None:
        self.model, self.corpus, self.examples = model, corpus, examples
        self.index = NaitIndex.build(
            folder / "index.nait",
            write(folder / "corpus.jsonl", corpus),
            model=ModelConfig(name=str(model), device=Device.CPU),
            signatures=SignatureConfig(pca_dim=None),
        )
        self.capability = self.index.make_capability(write(folder / "examples.jsonl", examples))

    def scores(self, method: str) -> dict[str, float]:
        """Return ids and scores in the order of the selection."""
        selection = self.index.query(self.capability, method=method, top="100%")
        return dict(zip(selection.ids, selection.scores, strict=True))


@pytest.fixture(scope="module", params=[demo_rows, real_rows], ids=["demo", "real"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    corpus, examples = request.param()
    assert (len(corpus), len(examples)) == (ROWS, EXAMPLES)
    folder = tmp_path_factory.mktemp("index")
    model = tiny_models.save_family("llama", folder / "model", max_position_embeddings=4096)
    return Built(model, folder, corpus, examples)


def assert_equal(scores: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert list(scores) == ranking(expected)
    measured = np.array([scores[sample_id] for sample_id in expected])
    wanted = np.array(list(expected.values()))
    largest = np.abs(wanted).max()
    assert np.diff(np.sort(wanted)).min() > GAP * largest
    # A score is a sum of terms of both signs: near 0 its error is relative to the terms.
    np.testing.assert_allclose(measured, wanted, rtol=RELATIVE, atol=RELATIVE * 1e-2 * largest)


@pytest.mark.parametrize(("method", "candidate"), [("nait", "mean"), ("nait-drift", "drift")])
def test_nait_ranks_and_scores_as_the_reference(method: str, candidate: str, built: Built) -> None:
    expected = reference_scores(built.model, built.corpus, built.examples, candidate)
    assert_equal(built.scores(method), expected)


def test_contrast_ranks_and_scores_as_the_reference(built: Built) -> None:
    assert ROWS < SignatureConfig().reservoir
    assert_equal(built.scores("contrast"), reference_contrast(built.model, built.corpus, built.examples))


def test_truncated_texts_score_as_the_reference(tmp_path: Path) -> None:
    """Both read the same first tokens of a text that is longer than the model's position table."""
    model = tiny_models.save_family("llama", tmp_path / "model", max_position_embeddings=64)
    corpus, examples = demo_rows()
    built = Built(model, tmp_path, corpus[:40], examples)
    assert built.index.info()["truncated"] > 10
    assert_equal(built.scores("nait"), reference_scores(model, corpus[:40], examples))


def test_reference_finds_a_planted_direction() -> None:
    """The reference itself: drifts along one line, whichever way its principal component comes out of the SVD."""
    rng = np.random.default_rng(0)
    line = rng.standard_normal(12)
    line /= np.linalg.norm(line)
    for sign in (1.0, -1.0):
        drifts = [[sign * (3.0 + size) * line + 0.01 * rng.standard_normal(12)] for size in rng.standard_normal(20)]
        (v,) = principal_directions(drifts)
        assert v @ line * sign > 0.999
        assert np.linalg.norm(v) == pytest.approx(1.0)


def test_reference_leaves_out_what_is_empty() -> None:
    assert text_of({"instruction": "a", "input": "", "output": "b"}) == "a\nb"
    assert text_of({"instruction": "a", "input": "x y", "output": None}) == "a\nx y"
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(np.sqrt(0.5))


def test_reference_shares_no_code_with_the_package() -> None:
    source = (Path(__file__).parent / "nait_reference.py").read_text(encoding="utf-8")
    assert "nait_index" not in source
    assert "from_pretrained" in source
