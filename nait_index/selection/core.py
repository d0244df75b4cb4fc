"""A core: exactly k rows that serve every one of C tasks, best first.

Let s_c(x) be the score of row x for task c, and r_c(x) its place in the ranking of that task, 1 for the best.

``balanced``     maximise Σ_c log(1 + Σ_{x chosen} p_c(x)), where p_c(x) is the probability that x serves c
``joint``        the best mean log-odds over the tasks, 1/C · Σ_c log p_c(x)/(1 − p_c(x)): one classifier for all
``worst-rank``   the best worst rank, max_c r_c(x); equal ones by the sum of the ranks
``round-robin``  the tasks take turns, each with its best row that is not chosen yet

``balanced`` is the default. A row that serves three tasks counts three times; and the more of a task is chosen, the
less more of it counts, by 1/(1 + Σ p_c), so that no task is starved and none takes more than it needs. The rows are
chosen greedily, each by what it adds to the sum (its score): as many at a time as a tenth of those chosen before, so
that the weights 1/(1 + Σ p_c) are out of date by at most a tenth.

The probability is calibrated for each task on the distribution of its scores, whatever method they are from::

    log p_c(x)/(1 − p_c(x)) = (μ₁ − μ₀)/σ² · s_c(x) + b        μ₁, μ₀ = means of the task's best m rows and of the rest
                                                             σ² = variance around them;  b such that Σ_x p_c(x) = m

This is the linear discriminant between the best rows of a task and all others. It does not change when scores are
scaled or shifted, so no task outweighs another because its scores are larger, and every task expects m rows to serve
it. Of k rows, a task gets k/C if no row is shared, and k if all are: m is the geometric mean, k/√C (at most half of the
rows). With m = k, what fills up the best k of a task that has fewer rows of its kind would count nearly as much as
those. The log-odds of ``probe`` are calibrated in the same way: their scale depends on how many examples there are.

``--votes`` asks for agreement instead: every task votes for its best k rows, and the core holds the rows with enough
votes, however few they are; most votes first, then by the mean over the tasks of (k − r + 1)/k, 0 where there is no
vote.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.config import CoreRule
from nait_index.errors import SelectionError
from nait_index.selection.combine import take_turns

_LAG = 0.1  # rows chosen by the same weights, as a share of those chosen before
_LOOKED_AT = 2  # rows that are looked at in most rounds, as a multiple of those that are chosen
_SURE = 30.0  # log-odds beyond which a probability is 0 or 1
_BINS = 1 << 14  # of the histogram of log-odds


@dataclass(frozen=True, slots=True)
class CoreRows:
    """Chosen rows, best first. :param positions: (m,) in the scores; :param values: (m,) what they are ordered by."""

    positions: np.ndarray
    values: np.ndarray


def choose_core(scores: np.ndarray, k: int, rule: CoreRule) -> CoreRows:
    """Choose exactly ``k`` rows for all tasks.

    :param scores: (C, n) finite, higher is better; columns in the order in which ties are broken.
    """
    if rule is CoreRule.BALANCED:
        return balanced(log_odds(scores, k), k)
    if rule is CoreRule.JOINT:
        mean = log_odds(scores, k).mean(axis=0)
        chosen = _highest(mean, k)
        return CoreRows(chosen, mean[chosen])
    return best_worst_rank(places(scores), k) if rule is CoreRule.WORST_RANK else in_turn(places(scores), k)


def log_odds(scores: np.ndarray, k: int) -> np.ndarray:
    """Calibrate every task's scores (C, n) on their own distribution: log p/(1 − p), with Σ p = k/√C, at most n/2."""
    calibrated = np.zeros(scores.shape)
    expected = min(max(1, round(k / np.sqrt(len(scores)))), scores.shape[1] // 2)
    if expected:
        for of_task, values in zip(calibrated, scores, strict=True):
            of_task[:] = _discriminant(values.astype(np.float64), expected)
    return calibrated


def _discriminant(values: np.ndarray, expected: int) -> np.ndarray:
    from scipy.optimize import brentq
    from scipy.special import expit

    ordered = np.partition(values, len(values) - expected)
    rest, best = ordered[:-expected], ordered[-expected:]
    gap = best.mean() - rest.mean()
    if not gap > 0:
        return np.full(len(values), np.log(expected / (len(values) - expected)))
    variance = (best.var() * len(best) + rest.var() * len(rest)) / len(values)
    slope = gap / max(variance, gap**2 / (4 * _SURE))
    logits = np.clip(slope * (values - best[0]), -_SURE, _SURE)
    counts, edges = np.histogram(logits, _BINS, (-_SURE, _SURE))  # b depends on the distribution alone
    centers = (edges[1:] + edges[:-1]) / 2
    return np.asarray(logits - brentq(lambda b: expit(centers - b) @ counts - expected, -2 * _SURE, 2 * _SURE))


def balanced(logits: np.ndarray, k: int) -> CoreRows:
    """Choose ``k`` rows greedily, so that Σ_c log(1 + Σ p_c) becomes large.

    Of very many rows, most are looked at a few times only: a row's gain never grows by more than the largest quotient
    of the weights now and then, so those that gained least stay behind for many rounds.

    :param logits: (C, n) log-odds of p.
    """
    from scipy.special import expit

    probabilities = expit(logits)
    reached, left = np.zeros(len(logits)), np.ones(logits.shape[1], bool)
    # The rows that are looked at, and what all others gain at most by the weights ``then``.
    every = near = np.arange(logits.shape[1])
    looked_at, most, then = probabilities, -np.inf, np.ones(len(logits))
    positions, values = np.zeros(0, np.int64), np.zeros(0)
    while len(positions) < k:
        weights = 1 / (1 + reached)
        gains = _gains(looked_at, weights)
        gains[~left[near]] = -1
        batch = _highest(gains, min(max(1, int(_LAG * len(positions))), k - len(positions)))
        if gains[batch[-1]] <= most * (weights / then).max() * (1 + 1e-9):
            near, looked_at, most = every, probabilities, -np.inf
            continue
        chosen = near[batch]
        positions, values = np.append(positions, chosen), np.append(values, gains[batch])
        left[chosen] = False
        reached += probabilities[:, chosen].sum(axis=1)
        if len(near) == len(every) > 2 * _LOOKED_AT * k:
            near = np.sort(_highest(gains, _LOOKED_AT * k))
            others = np.ones(len(every), bool)
            others[near] = False
            looked_at, most, then = probabilities[:, near], float(gains[others].max()), weights
    return CoreRows(positions, values)


def _gains(probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return what each row adds (n,): term by term, since a product's rounding could depend on where a row lies."""
    gains, part = np.zeros(probabilities.shape[1]), np.empty(probabilities.shape[1])
    for of_task, weight in zip(probabilities, weights, strict=True):
        gains += np.multiply(of_task, weight, out=part)
    return gains


def best_worst_rank(ranks: np.ndarray, k: int) -> CoreRows:
    """Choose the ``k`` rows that are best for the task that ranks them worst; ``ranks`` (C, n) from 1."""
    worst = ranks.max(axis=0)
    chosen = np.lexsort((ranks.sum(axis=0), worst))[:k]
    return CoreRows(chosen, 1 - (worst[chosen] - 1) / ranks.shape[1])


def in_turn(ranks: np.ndarray, k: int) -> CoreRows:
    """Choose ``k`` rows in turn; a row's value is what ``best_worst_rank`` makes of the rank that chose it."""
    rankings = {str(task): np.argsort(of_task)[:k].tolist() for task, of_task in enumerate(ranks)}
    positions, tasks = zip(*take_turns(rankings, k, dict.fromkeys(rankings, 1)), strict=True)
    chosen, choosers = np.array(positions), np.array(tasks, int)
    return CoreRows(chosen, 1 - (ranks[choosers, chosen] - 1) / ranks.shape[1])


def places(scores: np.ndarray) -> np.ndarray:
    """Rank every task's scores (C, n): (C, n) int64 from 1 for the best; ties in the order of the columns."""
    ranks = np.empty(scores.shape, np.int64)
    for of_task, values in zip(ranks, scores, strict=True):
        of_task[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks


def _highest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the ``count`` highest values, highest first; ties in the order of their positions."""
    cut = np.partition(values, len(values) - count)[len(values) - count]
    kept = np.flatnonzero(values >= cut)
    return np.asarray(kept[np.argsort(-values[kept], kind="stable")][:count])


# ---- votes --------------------------------------------------------------------------------------------------------


def required_votes(votes: str | int, selections: int) -> int:
    """Parse ``all`` or a number of selections.

    :raises SelectionError: it is not between 1 and the number of selections.
    """
    if votes == "all":
        return selections
    if not str(votes).isdecimal() or not 1 <= int(votes) <= selections:
        raise SelectionError(
            f"--votes '{votes}' is neither 'all' nor a number from 1 to {selections}, the capabilities given"
        )
    return int(votes)


def agreed(ranks: np.ndarray, k: int, votes: int) -> CoreRows:
    """Return the rows that at least ``votes`` tasks rank among their best ``k``; ``ranks`` (C, n) from 1."""
    points = np.maximum(k + 1 - ranks, 0)
    held, total = (points > 0).sum(axis=0), points.sum(axis=0)
    order = np.lexsort((-total, -held))
    positions = order[held[order] >= votes]
    return CoreRows(positions, total[positions] / (k * len(ranks)))


def chance_size(sizes: Sequence[int], available: int, votes: int) -> float:
    """Return the expected size of a core of random selections: n · P(at least ``votes`` of them hold a row)."""
    holds = np.array([1.0])  # probability of 0, 1, … selections holding a given row
    for size in sizes:
        p = size / available
        holds = np.convolve(holds, [1 - p, p])
    return float(available * holds[votes:].sum())


def stability(core: np.ndarray, redrawn: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Return, for each row of a core (m,), the share of the cores of resampled examples that hold it.

    :param redrawn: one core per resample, at least one. :param rows: how many rows there are.
    """
    kept, draws = np.zeros(rows, np.int64), 0
    for positions in redrawn:
        kept[positions] += 1
        draws += 1
    return np.asarray(kept[core] / draws)
