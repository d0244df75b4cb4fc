"""Losses relative to another run's, with bootstrap intervals over seeds and over held-out rows.

Means are geometric, of ratios: half the loss and twice the loss make no difference between them. An arithmetic one
would be ruled by the few capabilities on which a run can be many times worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

DRAWS = 1000


@dataclass(frozen=True)
class Pair:
    """Two runs of one seed on the same held-out rows: the summed loss of every row (n,), in either run."""

    loss: np.ndarray
    base: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Mean logarithm of a ratio of losses.

    :param draws: what it is in every bootstrap draw (draws,).
    """

    log: float
    draws: np.ndarray
    seeds: int

    @property
    def mean(self) -> float:
        """Give the mean difference as a share: −0.1 is a tenth less."""
        return float(np.expm1(self.log))

    def interval(self, digits: int = 4) -> dict[str, Any]:
        """Give the mean with the middle 95 % of the draws."""
        low, high = np.expm1(np.quantile(self.draws, [0.025, 0.975]))
        return {
            "mean": round(self.mean, digits),
            "low": round(float(low), digits),
            "high": round(float(high), digits),
            "seeds": self.seeds,
        }


def relative_loss(pairs: Sequence[Pair], stream: int = 0) -> Estimate:
    """Estimate by which share the loss a token differs from the base's, from one pair of runs a seed.

    A draw takes as many seeds as there are, with replacement, and of each its held-out rows, with replacement: the same
    rows of both runs. Seeds are drawn alike in every call, so that the draws of several capabilities can be averaged.

    :param stream: one for each set of held-out rows, so that these are drawn independently of others.
    """
    seeds = len(pairs)
    drawn = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
    own = [_resampled(pair, (seeds, at, stream)) for at, pair in enumerate(pairs)]
    logs = np.stack(own)[drawn, np.arange(DRAWS)[:, None], np.arange(seeds)]
    found = [np.log(pair.loss.sum() / pair.base.sum()) for pair in pairs]
    return Estimate(float(np.mean(found)), logs.mean(axis=1), seeds)


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Give the mean of several capabilities' estimates; they must be of the same seeds."""
    if len({one.seeds for one in estimates}) != 1:
        raise ValueError("estimates of different numbers of seeds have no common draws")
    return Estimate(
        float(np.mean([one.log for one in estimates])),
        np.mean([one.draws for one in estimates], axis=0),
        estimates[0].seeds,
    )


def split(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Part rows into examples and held-out rows, half and half, both shuffled; of an odd number the examples get less.

    :raises ValueError: there are fewer than two.
    """
    if count < 2:
        raise ValueError(f"{count} rows cannot be parted into examples and held-out rows")
    order = np.random.default_rng(seed).permutation(count).tolist()
    return order[: count // 2], order[count // 2 :]


def _resampled(pair: Pair, stream: tuple[int, int, int]) -> np.ndarray:
    """Give the logarithms of (draws, seeds) ratios, each of other rows."""
    counts = _drawn_rows(len(pair.loss), stream)
    logs: np.ndarray = np.log((counts @ pair.loss) / (counts @ pair.base))
    return logs


@lru_cache(maxsize=256)
def _drawn_rows(rows: int, stream: tuple[int, int, int]) -> np.ndarray:
    """Give how often each row is drawn (draws, seeds, rows)."""
    rng = np.random.default_rng([1, *stream])
    return rng.multinomial(rows, np.full(rows, 1 / rows), size=(DRAWS, stream[0])).astype(np.float32)
