"""Losses relative to another run's, with bootstrap intervals over seeds and over held-out rows.

Means of ratios are geometric: half the loss and twice the loss cancel out. An arithmetic mean would be dominated by the
few capabilities on which a run can be many times worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

DRAWS = 1000


@dataclass(frozen=True)
class RunPair:
    """Two runs of one seed on the same held-out rows: the summed loss of every row (n,), in either run."""

    loss: np.ndarray
    base: np.ndarray


@dataclass(frozen=True)
class LogRatio:
    """The mean logarithm of a ratio of losses.

    :param draws: (draws,) its value in every bootstrap draw.
    """

    log: float
    draws: np.ndarray
    seeds: int

    @property
    def mean(self) -> float:
        """The mean difference as a share: −0.1 is a tenth less."""
        return float(np.expm1(self.log))

    def interval(self, digits: int = 4) -> dict[str, Any]:
        """Return the mean with the middle 95 % of the draws."""
        low, high = np.expm1(np.quantile(self.draws, [0.025, 0.975]))
        return {
            "mean": round(self.mean, digits),
            "low": round(float(low), digits),
            "high": round(float(high), digits),
            "seeds": self.seeds,
        }


def relative_loss(pairs: Sequence[RunPair], stream: int = 0) -> LogRatio:
    """Estimate by which share the loss per token differs from the base's, from one pair of runs per seed.

    A draw takes as many seeds as there are, with replacement, and for each its held-out rows, with replacement, the
    same rows for both runs. Every call draws the same seeds, so that the draws of several capabilities can be averaged.

    :param stream: a number for each set of held-out rows, so that they are drawn independently.
    """
    seeds = len(pairs)
    drawn = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
    resampled = [_resampled(pair, (seeds, seed, stream)) for seed, pair in enumerate(pairs)]
    logs = np.stack(resampled)[drawn, np.arange(DRAWS)[:, None], np.arange(seeds)]
    measured = [np.log(pair.loss.sum() / pair.base.sum()) for pair in pairs]
    return LogRatio(float(np.mean(measured)), logs.mean(axis=1), seeds)


def average(estimates: Sequence[LogRatio]) -> LogRatio:
    """Average the estimates of several capabilities, which must have the same seeds."""
    if len({estimate.seeds for estimate in estimates}) != 1:
        raise ValueError("estimates of different numbers of seeds have no common draws")
    return LogRatio(
        float(np.mean([estimate.log for estimate in estimates])),
        np.mean([estimate.draws for estimate in estimates], axis=0),
        estimates[0].seeds,
    )


def split(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Split rows into examples and held-out rows, half each and shuffled; with an odd number there are fewer examples.

    :raises ValueError: there are fewer than two.
    """
    if count < 2:
        raise ValueError(f"{count} rows cannot be split into examples and held-out rows")
    order = np.random.default_rng(seed).permutation(count).tolist()
    return order[: count // 2], order[count // 2 :]


def _resampled(pair: RunPair, stream: tuple[int, int, int]) -> np.ndarray:
    """Return the logarithms of (draws, seeds) ratios, each from different rows."""
    counts = _drawn_rows(len(pair.loss), stream)
    logs: np.ndarray = np.log((counts @ pair.loss) / (counts @ pair.base))
    return logs


@lru_cache(maxsize=256)
def _drawn_rows(rows: int, stream: tuple[int, int, int]) -> np.ndarray:
    """Return how often each row is drawn: (draws, seeds, rows)."""
    rng = np.random.default_rng([1, *stream])
    return rng.multinomial(rows, np.full(rows, 1 / rows), size=(DRAWS, stream[0])).astype(np.float32)
