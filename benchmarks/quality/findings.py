"""Findings from finished runs: losses against random rows, the transfer matrix, and the papers' claims in kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.quality.arms import Arm, ArmKind
from benchmarks.quality.plan import RunSpec
from benchmarks.quality.statistics import LogRatio, RunPair, average, relative_loss

RANDOM = Arm(ArmKind.RANDOM)
FULL = Arm(ArmKind.FULL)
DIRECTIONS = ("bbh", "humaneval")
"""Capabilities whose chosen rows help the others most, according to the paper: reasoning and code."""


class Runs:
    """The records of a measurement.

    :param records: of every run; :param arms: all, including random.
    """

    def __init__(
        self, records: Mapping[RunSpec, Mapping[str, Any]], arms: Sequence[Arm], capabilities: Sequence[str], seeds: int
    ) -> None:
        self.records = records
        self.arms = arms
        self.capabilities = capabilities
        self.seeds = range(seeds)

    def of(self, arm: Arm, target: str | None) -> list[Mapping[str, Any]]:
        """Return the records of an arm, one per seed."""
        return [self.records[RunSpec(arm, target if arm.targeted else None, seed)] for seed in self.seeds]

    def compare(
        self, arm: Arm, on: str, base: Arm = RANDOM, target: str | None = None, measure: str = "answer"
    ) -> LogRatio:
        """Estimate the loss on a capability relative to another arm's.

        :param target: the capability that rows were chosen for, by default the same.
        """
        both = zip(self.of(arm, target or on), self.of(base, target or on), strict=True)
        losses = [[np.array(run["measured"][on][measure]) for run in pair] for pair in both]
        return relative_loss([RunPair(*pair) for pair in losses], self.capabilities.index(on))

    def mean(self, arm: Arm, base: Arm = RANDOM) -> LogRatio:
        """Estimate the mean over the capabilities."""
        return average([self.compare(arm, on, base) for on in self.capabilities])


def findings(runs: Runs) -> dict[str, Any]:
    """Return everything to report."""
    against = [arm for arm in runs.arms if arm != RANDOM]
    return {
        "relative_to_random": {str(arm): _row(runs, arm, "answer") for arm in against},
        "relative_to_random_whole_text": {str(arm): _row(runs, arm, "whole") for arm in against},
        "loss_a_token": {str(arm): _each(runs, arm, _loss) for arm in runs.arms},
        "exact_match": {str(arm): _each(runs, arm, _exact) for arm in runs.arms},
        "chosen": {str(arm): _chosen(runs, arm) for arm in runs.arms},
        "transfer": {
            str(arm): transfer(runs, arm) for arm in runs.arms if arm.kind is ArmKind.TOP and not arm.examples
        },
        "claims": claims(runs),
    }


def transfer(runs: Runs, arm: Arm) -> dict[str, Any]:
    """Return the loss on every capability after training on the rows chosen for each, and the mean on the others."""
    matrix, elsewhere = {}, {}
    for source in runs.capabilities:
        losses = {on: runs.compare(arm, on, target=source) for on in runs.capabilities}
        matrix[source] = {on: round(loss.mean, 4) for on, loss in losses.items()}
        others = [loss for on, loss in losses.items() if on != source]
        if others:
            elsewhere[source] = average(others).interval()
    return {"matrix": matrix, "elsewhere": elsewhere}


def claims(runs: Runs) -> list[dict[str, Any]]:
    """Check the papers' claims for which the arms were run."""
    tops = [arm for arm in runs.arms if arm.kind is ArmKind.TOP and arm.examples is None]
    checked = [_high_and_low(runs, top, Arm(ArmKind.LOW, top.method)) for top in tops]
    checked += [_against_full(runs, top) for top in tops if FULL in runs.arms]
    checked += [_directions(runs, top) for top in tops if set(DIRECTIONS) < set(runs.capabilities)]
    checked += [_few(runs, arm) for arm in runs.arms if arm.examples is not None]
    checked += [_for_all(runs, arm) for arm in runs.arms if arm.kind in (ArmKind.CORE, ArmKind.ROUND_ROBIN)]
    return checked


def _high_and_low(runs: Runs, top: Arm, low: Arm) -> dict[str, Any]:
    high = runs.mean(top).interval()
    checked = {
        "claim": f"highest-scored rows teach more than random ones ({top.method})",
        "high": high,
        "capabilities_high_below_random": _below(runs, top),
        "holds": high["high"] < 0,
    }
    if low in runs.arms:
        checked["claim"] = f"highest-scored rows teach more than random ones, lowest-scored less ({top.method})"
        interval = runs.mean(low).interval()
        worse = [on for on in runs.capabilities if runs.compare(low, on).mean > 0]
        checked |= {"low": interval, "capabilities_low_above_random": worse}
        checked["holds"] = checked["holds"] and interval["low"] > 0
    return checked


def _against_full(runs: Runs, top: Arm) -> dict[str, Any]:
    difference = runs.mean(top, FULL).interval()
    return {
        "claim": f"a chosen tenth teaches more than the whole pool, for the same tokens ({top.method})",
        "difference": difference,
        "capabilities_below_full": _below(runs, top, FULL),
        "holds": difference["high"] < 0,
    }


def _directions(runs: Runs, top: Arm) -> dict[str, Any]:
    elsewhere = {source: interval["mean"] for source, interval in transfer(runs, top)["elsewhere"].items()}
    order = sorted(elsewhere, key=lambda source: elsewhere[source])
    return {
        "claim": f"what is chosen for reasoning or code helps the other capabilities most ({top.method})",
        "best_to_worst": order,
        "loss_elsewhere": elsewhere,
        "holds": set(order[: len(DIRECTIONS)]) == set(DIRECTIONS),
    }


def _few(runs: Runs, few: Arm) -> dict[str, Any]:
    all_examples = Arm(ArmKind.TOP, few.method)
    mean, whole = runs.mean(few).interval(), runs.mean(all_examples)
    return {
        "claim": f"{few.examples} examples are enough ({few.method})",
        "relative_to_random": mean,
        "relative_to_all_examples": runs.mean(few, all_examples).interval(),
        "share_of_the_gain": round(mean["mean"] / whole.mean, 3) if whole.mean < 0 else None,
        "holds": mean["high"] < 0,
    }


def _for_all(runs: Runs, arm: Arm) -> dict[str, Any]:
    below = _below(runs, arm)
    return {
        "claim": f"rows chosen for all capabilities at once help every one of them ({arm})",
        "relative_to_random": runs.mean(arm).interval(),
        "capabilities_below_random": below,
        "holds": len(below) == len(runs.capabilities),
    }


def _below(runs: Runs, arm: Arm, base: Arm = RANDOM) -> list[str]:
    return [on for on in runs.capabilities if runs.compare(arm, on, base).mean < 0]


def _row(runs: Runs, arm: Arm, measure: str) -> dict[str, Any]:
    losses = {on: runs.compare(arm, on, measure=measure) for on in runs.capabilities}
    return {on: loss.interval() for on, loss in losses.items()} | {"mean": average(list(losses.values())).interval()}


def _each(runs: Runs, arm: Arm, measure: Callable[[Mapping[str, Any]], float]) -> dict[str, float]:
    """Average a measure over the seeds, for each capability."""
    return {
        on: round(float(np.mean([measure(run["measured"][on]) for run in runs.of(arm, on)])), 4)
        for on in runs.capabilities
    }


def _loss(measured: Mapping[str, Any]) -> float:
    return float(sum(measured["answer"]) / measured["answer_tokens"])


def _exact(measured: Mapping[str, Any]) -> float:
    return float(measured["exact"] / len(measured["answer"]))


def _chosen(runs: Runs, arm: Arm) -> dict[str, float | None]:
    """Return how many rows were chosen, and the share of their tokens that counts in the loss."""
    records = [run for on in runs.capabilities for run in runs.of(arm, on)]
    shares = [run["answer_share"] for run in records if run["answer_share"] is not None]
    return {
        "rows": round(float(np.mean([run["rows"] for run in records])), 1),
        "answer_share": round(float(np.mean(shares)), 4) if shares else None,
    }
