"""What finished runs say: losses against random rows, the transfer matrix, and the papers' claims in kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.quality.arms import Arm, Kind
from benchmarks.quality.plan import Place
from benchmarks.quality.statistics import Estimate, Pair, average, relative_loss

RANDOM = Arm(Kind.RANDOM)
FULL = Arm(Kind.FULL)
DIRECTIONS = ("bbh", "humaneval")
"""Capabilities of which the paper says that what was chosen for them helps the others most: reasoning and code."""


class Runs:
    """The records of a measurement.

    :param records: of every place; :param arms: all, random among them.
    """

    def __init__(
        self, records: Mapping[Place, Mapping[str, Any]], arms: Sequence[Arm], capabilities: Sequence[str], seeds: int
    ) -> None:
        self.records = records
        self.arms = arms
        self.capabilities = capabilities
        self.seeds = range(seeds)

    def of(self, arm: Arm, target: str | None) -> list[Mapping[str, Any]]:
        """Give the records of an arm, one a seed."""
        return [self.records[Place(arm, target if arm.targeted else None, seed)] for seed in self.seeds]

    def compare(
        self, arm: Arm, on: str, base: Arm = RANDOM, target: str | None = None, measure: str = "answer"
    ) -> Estimate:
        """Estimate the loss on a capability against another arm's; ``target``, by default the same, was chosen for."""
        both = zip(self.of(arm, target or on), self.of(base, target or on), strict=True)
        losses = [[np.array(run["measured"][on][measure]) for run in pair] for pair in both]
        return relative_loss([Pair(*pair) for pair in losses], self.capabilities.index(on))

    def mean(self, arm: Arm, base: Arm = RANDOM) -> Estimate:
        """Estimate the mean over the capabilities."""
        return average([self.compare(arm, on, base) for on in self.capabilities])


def findings(runs: Runs) -> dict[str, Any]:
    """Give all there is to report."""
    against = [arm for arm in runs.arms if arm != RANDOM]
    return {
        "relative_to_random": {str(arm): _row(runs, arm, "answer") for arm in against},
        "relative_to_random_whole_text": {str(arm): _row(runs, arm, "whole") for arm in against},
        "loss_a_token": {str(arm): _each(runs, arm, _loss) for arm in runs.arms},
        "exact_match": {str(arm): _each(runs, arm, _exact) for arm in runs.arms},
        "chosen": {str(arm): _chosen(runs, arm) for arm in runs.arms},
        "transfer": {str(arm): transfer(runs, arm) for arm in runs.arms if arm.kind is Kind.TOP and not arm.examples},
        "claims": claims(runs),
    }


def transfer(runs: Runs, arm: Arm) -> dict[str, Any]:
    """Give the loss on every capability after training on what was chosen for each, and the mean on the others."""
    matrix, elsewhere = {}, {}
    for source in runs.capabilities:
        own = {on: runs.compare(arm, on, target=source) for on in runs.capabilities}
        matrix[source] = {on: round(one.mean, 4) for on, one in own.items()}
        others = [one for on, one in own.items() if on != source]
        if others:
            elsewhere[source] = average(others).interval()
    return {"matrix": matrix, "elsewhere": elsewhere}


def claims(runs: Runs) -> list[dict[str, Any]]:
    """Check what the papers claim, as far as the arms for it were run."""
    tops = [arm for arm in runs.arms if arm.kind is Kind.TOP and arm.examples is None]
    found = [_high_and_low(runs, top, Arm(Kind.LOW, top.method)) for top in tops]
    found += [_against_full(runs, top) for top in tops if FULL in runs.arms]
    found += [_directions(runs, top) for top in tops if set(DIRECTIONS) < set(runs.capabilities)]
    found += [_few(runs, arm) for arm in runs.arms if arm.examples is not None]
    found += [_for_all(runs, arm) for arm in runs.arms if arm.kind in (Kind.CORE, Kind.ROUND_ROBIN)]
    return found


def _high_and_low(runs: Runs, top: Arm, low: Arm) -> dict[str, Any]:
    high = runs.mean(top).interval()
    found = {
        "claim": f"highest-scored rows teach more than random ones ({top.method})",
        "high": high,
        "capabilities_high_below_random": _below(runs, top),
        "holds": high["high"] < 0,
    }
    if low in runs.arms:
        found["claim"] = f"highest-scored rows teach more than random ones, lowest-scored less ({top.method})"
        interval = runs.mean(low).interval()
        worse = [on for on in runs.capabilities if runs.compare(low, on).mean > 0]
        found |= {"low": interval, "capabilities_low_above_random": worse}
        found["holds"] = found["holds"] and interval["low"] > 0
    return found


def _against_full(runs: Runs, top: Arm) -> dict[str, Any]:
    difference = runs.mean(top, FULL).interval()
    return {
        "claim": f"a chosen tenth teaches more than the whole pool, for the same tokens ({top.method})",
        "difference": difference,
        "capabilities_below_full": _below(runs, top, FULL),
        "holds": difference["high"] < 0,
    }


def _directions(runs: Runs, top: Arm) -> dict[str, Any]:
    elsewhere = {source: own["mean"] for source, own in transfer(runs, top)["elsewhere"].items()}
    order = sorted(elsewhere, key=lambda source: elsewhere[source])
    return {
        "claim": f"what is chosen for reasoning or code helps the other capabilities most ({top.method})",
        "best_to_worst": order,
        "loss_elsewhere": elsewhere,
        "holds": set(order[: len(DIRECTIONS)]) == set(DIRECTIONS),
    }


def _few(runs: Runs, few: Arm) -> dict[str, Any]:
    all_examples = Arm(Kind.TOP, few.method)
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
    own = {on: runs.compare(arm, on, measure=measure) for on in runs.capabilities}
    return {on: one.interval() for on, one in own.items()} | {"mean": average(list(own.values())).interval()}


def _each(runs: Runs, arm: Arm, measure: Callable[[Mapping[str, Any]], float]) -> dict[str, float]:
    """Average something that is measured on each capability over the seeds."""
    return {
        on: round(float(np.mean([measure(run["measured"][on]) for run in runs.of(arm, on)])), 4)
        for on in runs.capabilities
    }


def _loss(measured: Mapping[str, Any]) -> float:
    return float(sum(measured["answer"]) / measured["answer_tokens"])


def _exact(measured: Mapping[str, Any]) -> float:
    return float(measured["exact"] / len(measured["answer"]))


def _chosen(runs: Runs, arm: Arm) -> dict[str, float | None]:
    """Give how many rows were chosen, and which share of their tokens the loss counts on."""
    own = [run for on in runs.capabilities for run in runs.of(arm, on)]
    shares = [run["answer_share"] for run in own if run["answer_share"] is not None]
    return {
        "rows": round(float(np.mean([run["rows"] for run in own])), 1),
        "answer_share": round(float(np.mean(shares)), 4) if shares else None,
    }
