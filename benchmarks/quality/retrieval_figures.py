"""Figures of the retrieval benchmark: precision, intervals, few examples, and differences between methods."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.pool import GROUPS
from benchmarks.quality.draws import Draw, DrawKind, DrawPlan, spread

CLEAR = [name for name in GROUPS if name not in ("bbh", "general")]
"""Capabilities that have a clean group in the pool."""

BASES = ("probe", "bm25")
"""Methods that every other one is compared with."""

Figures = Mapping[str, Any]


def roc_auc(scores: np.ndarray, right: np.ndarray) -> float:
    """Return the share of pairs of a right and a wrong row in which the right one scores higher; ties count half."""
    from scipy.stats import rankdata

    ranks, hits = rankdata(scores), int(right.sum())
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (len(right) - hits)))


def figures_of(records: Mapping[Draw, Figures], plan: DrawPlan) -> dict[str, Any]:
    """Summarise one method on one capability.

    :param records: precision and AUC of every draw.
    """
    whole = records[Draw(DrawKind.ALL)]
    redraws = [record["precision"] for draw, record in records.items() if draw.kind is DrawKind.REDRAW]
    few = {
        str(count): [record["precision"] for draw, record in records.items() if draw.count == count]
        for count in plan.few
    }
    return {
        "precision": round(whole["precision"], 4),
        "interval": spread(redraws),
        "resampled": [round(precision, 4) for precision in redraws],
        "auc": None if whole["auc"] is None else round(whole["auc"], 4),
        "few": {count: round(float(np.mean(values)), 4) for count, values in few.items()},
        "few_spread": {count: round(float(np.std(values)), 4) for count, values in few.items()},
    }


def means(measured: Mapping[str, Mapping[str, Figures]], method: str) -> dict[str, Any]:
    """Average one method over the capabilities."""
    figures = {name: by_method[method] for name, by_method in measured.items()}
    clear = [facts["precision"] for name, facts in figures.items() if name in CLEAR]
    aucs = [facts["auc"] for facts in figures.values()]
    counts = next(iter(figures.values()))["few"]
    return {
        "precision": _mean(facts["precision"] for facts in figures.values()),
        "interval": spread(_redrawn(measured, method)),
        "precision_clear": _mean(clear),
        "auc": None if None in aucs else _mean(aucs),
        "few": {count: _mean(facts["few"][count] for facts in figures.values()) for count in counts},
    }


def differences(measured: Mapping[str, Mapping[str, Figures]], methods: Sequence[str]) -> dict[str, Any]:
    """Compare every method with the bases, over the same resamples of the examples.

    :returns: by base and method, how much higher the mean precision is, and half the width of its interval; none where
        one of the two was measured without its resamples being kept.
    """
    kept = [method for method in methods if all("resampled" in by_method[method] for by_method in measured.values())]
    return {
        base: {method: _difference(measured, method, base) for method in kept if method != base}
        for base in BASES
        if base in kept
    }


def _difference(measured: Mapping[str, Mapping[str, Figures]], method: str, base: str) -> dict[str, float]:
    redrawn = [_redrawn(measured, name) for name in (method, base)]
    shared = min(map(len, redrawn))
    return {
        "difference": _mean(
            by_method[method]["precision"] - by_method[base]["precision"] for by_method in measured.values()
        ),
        "interval": spread(redrawn[0][:shared] - redrawn[1][:shared]),
    }


def _redrawn(measured: Mapping[str, Mapping[str, Figures]], method: str) -> np.ndarray:
    """Return the mean precision over the capabilities in every resample."""
    return np.asarray(np.mean([by_method[method]["resampled"] for by_method in measured.values()], axis=0))


def _mean(values: Any) -> float:  # noqa: ANN401 - any iterable of numbers
    return round(float(np.mean(list(values))), 4)


def merged(result: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Merge new results of some methods with earlier ones of the others, and record when those were measured."""
    unchanged = [method for method in earlier["means"] if method not in result["means"]]
    when = earlier["environment"] | {"methods": unchanged}
    capabilities = {name: earlier["capabilities"][name] | methods for name, methods in result["capabilities"].items()}
    both = earlier["means"] | result["means"]
    return result | {
        "earlier": [*earlier.get("earlier", []), when],
        "capabilities": capabilities,
        "means": both,
        "differences": differences(capabilities, list(both)),
    }
