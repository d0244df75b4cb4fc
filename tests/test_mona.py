"""MONA against a dense NumPy reference that shares no code with it."""

import tracemalloc
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.insight.sparse import MonaParts
from nait_index.methods import mona
from nait_index.methods.base import Examples
from nait_index.methods.mona import Mona
from nait_index.search.rows import IndexRows
from nait_index.signatures.sparse import top_codes
from nait_index.signatures.views import SAE_NUMBERS, SAE_VALUES

torch = pytest.importorskip("torch")

LATENTS, KEEP = 90, 12


class FakeRows:
    """Rows that hold two columns of codes, in blocks of different sizes."""

    def __init__(self, numbers: np.ndarray, values: np.ndarray, cuts: Sequence[int]) -> None:
        self._columns = {"sae_codes": numbers, "sae_values": values}
        self._cuts = cuts

    def scored(self, score: Callable[..., np.ndarray], *columns: str) -> np.ndarray:
        blocks = zip(*(np.split(self._columns[column], self._cuts) for column in columns), strict=True)
        return np.concatenate([score(*block) for block in blocks]).astype(np.float32)


def sparse_rows(count: int, seed: int) -> np.ndarray:
    """Make dense codes with few non-zero values, all exact in half precision; the first row has none."""
    rng = np.random.default_rng(seed)
    codes = np.round(rng.gamma(0.5, 2, size=(count, LATENTS)) * 64) / 64 * (rng.random((count, LATENTS)) < 0.1)
    codes[0] = 0
    return codes.astype(np.float16).astype(np.float32)


def stored(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers, values = top_codes(torch.from_numpy(codes), KEEP)
    return numbers.numpy(), values.numpy()


def examples_of(codes: np.ndarray) -> Examples:
    numbers, values = stored(codes)
    return Examples([""] * len(codes), {}, {"sae_codes": numbers, "sae_values": values})


def kept(codes: np.ndarray) -> np.ndarray:
    """Keep the largest of dense codes, ties to the lower number, in double precision."""
    left = np.zeros(codes.shape)
    for row, values in enumerate(codes.astype(np.float64)):
        best = sorted(range(LATENTS), key=lambda k: (-values[k], k))[:KEEP]
        left[row, best] = values[best]
    return left


def scores_of(codes: np.ndarray, examples: np.ndarray, cuts: Sequence[int] = ()) -> np.ndarray:
    rows: IndexRows = FakeRows(*stored(codes), cuts)  # type: ignore[assignment]
    return Mona().scores(examples_of(examples), rows)


def test_scores_are_the_generalised_jaccard_similarity() -> None:
    codes, examples = sparse_rows(200, 0), sparse_rows(9, 1)
    prototype = kept(examples).mean(axis=0)
    wanted = [np.minimum(values, prototype).sum() / np.maximum(values, prototype).sum() for values in kept(codes)]
    scores = scores_of(codes, examples, cuts=(1, 64, 199))
    assert scores.dtype == np.float32
    assert scores[0] == 0
    np.testing.assert_allclose(scores, wanted, rtol=1e-6)


def test_the_larger_of_two_sums_follows_from_the_smaller() -> None:
    codes, prototype = kept(sparse_rows(50, 2)), kept(sparse_rows(50, 3)).mean(axis=0)
    least = np.minimum(codes, prototype).sum(axis=1)
    most = np.maximum(codes, prototype).sum(axis=1)
    np.testing.assert_allclose(most, codes.sum(axis=1) + prototype.sum() - least, rtol=1e-12)


def test_latents_that_no_example_has_count_as_missing() -> None:
    codes = np.zeros((3, LATENTS), dtype=np.float32)
    codes[0, 2] = codes[1, LATENTS - 1] = codes[2, 2] = codes[2, LATENTS - 1] = 1
    np.testing.assert_allclose(scores_of(codes, codes[:1]), [1, 0, 0.5])


def test_the_scan_is_the_same_whatever_the_blocks() -> None:
    codes, examples = sparse_rows(64, 4), sparse_rows(5, 5)
    np.testing.assert_array_equal(scores_of(codes, examples), scores_of(codes, examples, cuts=range(1, 64)))


def test_the_scan_is_the_same_however_many_rows_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, examples = sparse_rows(150, 6), sparse_rows(5, 7)
    wanted = scores_of(codes, examples)
    for block in (1, 7, 149, 150, 151):
        monkeypatch.setattr(mona, "_BLOCK", block)
        np.testing.assert_array_equal(scores_of(codes, examples, cuts=(20, 20, 90)), wanted)


def test_examples_without_a_code_are_refused() -> None:
    with pytest.raises(CapabilityError, match="has no code for these examples"):
        scores_of(sparse_rows(4, 0), np.zeros((2, LATENTS), dtype=np.float32))


def test_it_needs_the_view_of_sparse_codes() -> None:
    assert Mona.view is View.SAE


def test_the_mean_parts_of_many_rows_need_the_memory_of_one() -> None:
    rng = np.random.default_rng(0)
    latents, count = 1 << 16, 200
    numbers = rng.integers(0, latents, (count, 64)).astype(np.uint32)
    numbers[0, 0] = latents - 1
    signatures = {SAE_NUMBERS: numbers, SAE_VALUES: rng.random((count, 64)).astype(np.float16)}
    rows: Any = SimpleNamespace(signatures=lambda ordinals, column: signatures[column][ordinals])
    parts = MonaParts(Examples([""] * count, {}, signatures), rows, (0,))
    tracemalloc.start()
    mean = parts.mean(np.arange(count))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * mean.nbytes
    np.testing.assert_allclose(mean, np.mean([parts.of(ordinal)[1] for ordinal in range(count)], axis=0))
