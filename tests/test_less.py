"""LESS: its score against a reference of its own, and that it finds a skill among others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest

from nait_index.activations.encoder import Tokens
from nait_index.activations.gradients.adapters import GradientSettings
from nait_index.activations.gradients.encoder import GradientEncoder, Gradients
from nait_index.config import Device, ModelConfig, View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples
from nait_index.methods.less import GradientCosine, Less, LessMax
from nait_index.search.rows import IndexRows
from nait_index.signatures.views import GRADIENT

Skill = Callable[[int, int], list[str]]


@dataclass
class Table:
    """Rows that have gradients and nothing else."""

    gradients: np.ndarray
    block: int = 7

    def __len__(self) -> int:
        return len(self.gradients)

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        assert column == GRADIENT
        for start in range(0, len(self), self.block):
            yield self.gradients[start : start + self.block]


def examples(gradients: np.ndarray) -> Examples:
    return Examples(texts=[""] * len(gradients), summary={}, signatures={GRADIENT: gradients})


def table(gradients: np.ndarray, block: int = 7) -> IndexRows:
    return cast(IndexRows, Table(gradients, block))


def unit(n: int, d: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((n, d))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize(("method", "of_all"), [(Less(), np.mean), (LessMax(), max)])
def test_the_score_is_the_mean_cosine_or_the_largest(
    method: GradientCosine, of_all: Callable[[list[float]], float]
) -> None:
    rows, targets = unit(31, 16, 0), unit(5, 16, 1)
    expected = [of_all([float(np.dot(row, example)) for example in targets]) for row in rows]
    scores = method.scores(examples(targets.astype(np.float32)), table(rows.astype(np.float16)))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-3)


def test_the_ranking_is_that_of_the_scores_among_allowed_rows() -> None:
    rows, targets = unit(31, 16, 0).astype(np.float32), unit(5, 16, 1).astype(np.float32)
    allowed = np.arange(31) % 2 == 0
    hits = Less().rank(examples(targets), table(rows), 6, allowed)
    scores = (rows @ targets.T).mean(axis=1)
    assert set(hits.ordinals) == set(np.flatnonzero(allowed)[np.argsort(-scores[allowed])[:6]])
    assert (np.diff(hits.scores) <= 0).all()


def test_the_score_does_not_depend_on_how_rows_are_read() -> None:
    rows, targets = unit(31, 16, 0).astype(np.float32), unit(5, 16, 1).astype(np.float32)
    few, many = (Less().scores(examples(targets), table(rows, block)) for block in (3, 100))
    np.testing.assert_allclose(few, many, atol=1e-6)
    assert Less().scores(examples(targets), table(rows[:0])).shape == (0,)


def test_it_needs_the_view_of_gradients_and_an_example() -> None:
    assert Less.view is View.GRAD
    with pytest.raises(CapabilityError, match="at least 1 example"):
        Less().scores(examples(np.zeros((0, 16), np.float32)), table(unit(3, 16, 0)))


def sums(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"What is {a} plus {b}? The answer is {a + b}." for a, b in rng.integers(2, 90, (n, 2))]


def stories(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    who, where = ["fox", "girl", "king", "bird", "baker"], ["the river", "a castle", "the woods", "her house"]
    return [
        f"Write a story about a {rng.choice(who)}. Once upon a time there lived a {rng.choice(who)} near "
        f"{rng.choice(where)}, who was afraid of the {rng.choice(who)}."
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def encoder() -> GradientEncoder:
    pytest.importorskip("torch")
    settings = GradientSettings(width=256, warmup_steps=6, warmup_batch=8)
    made = GradientEncoder(ModelConfig(device=Device.CPU), settings)
    made.warm_up(tokens(made, sums(20, 0) + stories(20, 1)))
    return made


def tokens(encoder: GradientEncoder, texts: Sequence[str]) -> list[Tokens]:
    return [Tokens(np.array(ids), False) for ids in encoder.model.tokenizer(list(texts))["input_ids"]]


def stored(batches: Iterator[Gradients], n: int) -> np.ndarray:
    features = np.full((n, 256), np.nan, np.float16)
    for batch in batches:
        features[batch.rows] = batch.values
    return features


@pytest.mark.parametrize(("skill", "right"), [(sums, range(20)), (stories, range(20, 40))])
def test_it_finds_a_skill_with_the_bundled_model(encoder: GradientEncoder, skill: Skill, right: range) -> None:
    rows = stored(encoder.rows(tokens(encoder, sums(20, 0) + stories(20, 1))), 40)
    targets = stored(encoder.examples(tokens(encoder, skill(6, 2))), 6)
    hits = Less().rank(examples(targets), table(rows), 20, None)
    assert len(set(hits.ordinals) & set(right)) >= 18
