"""How much lower a run's loss is than another run's, with bootstrap intervals over seeds and over held-out examples.

Means of ratios are geometric: half the loss and twice the loss cancel out. An arithmetic mean would be dominated by the
few capabilities on which a run can be many times worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class RunPair:
    """Two runs of one seed on the same held-out examples: the summed loss of every example (n,), in either run."""

    loss: np.ndarray
    base: np.ndarray


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference as a share, −0.1 being a tenth less, with the limits between which it lies with some confidence."""

    mean: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return it rounded, as JSON can hold it."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4)}

    def __str__(self) -> str:
        return f"{_percent(self.mean)} ({_percent(self.low)} … {_percent(self.high)})"


@dataclass(frozen=True, slots=True)
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

    def interval(self, comparisons: int = 1) -> Interval:
        """Return the mean with its confidence limits.

        :param comparisons: how many such intervals are read together: the level is corrected so that all of them hold
            at once in 95 % of cases (Bonferroni).
        """
        tail = (1 - LEVEL) / comparisons / 2
        low, high = np.expm1(np.quantile(self.draws, [tail, 1 - tail]))
        return Interval(self.mean, float(low), float(high))


def relative_loss(pairs: Sequence[RunPair], stream: int = 0) -> LogRatio:
    """Estimate by which share the loss per token differs from the base's, from one pair of runs per seed.

    A draw takes as many seeds as there are, with replacement, and for each its held-out examples, with replacement, the
    same examples for both runs. Every call draws the same seeds, so that the draws of several capabilities can be
    averaged.

    :param stream: a number for each set of held-out examples, so that they are drawn independently.
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


def _resampled(pair: RunPair, stream: tuple[int, int, int]) -> np.ndarray:
    """Return the logarithms of (draws, seeds) ratios, each from different examples."""
    counts = _drawn_rows(len(pair.loss), stream)
    logs: np.ndarray = np.log((counts @ pair.loss) / (counts @ pair.base))
    return logs


@lru_cache(maxsize=64)
def _drawn_rows(rows: int, stream: tuple[int, int, int]) -> np.ndarray:
    """Return how often each example is drawn: (draws, seeds, rows)."""
    rng = np.random.default_rng([1, *stream])
    return rng.multinomial(rows, np.full(rows, 1 / rows), size=(DRAWS, stream[0])).astype(np.float32)


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")
