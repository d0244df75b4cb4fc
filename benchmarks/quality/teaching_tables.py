"""The tables of the results of :mod:`benchmarks.quality.teaching`."""

from collections.abc import Iterable, Mapping
from typing import Any

Table = tuple[list[str], list[tuple[str, list[str]]]]
"""Header, and rows with a name and its cells."""

CORE = "core:"
_TITLES = {"loss": "loss", "options": "right option", "exact": "exact", "chrf": "chrF"}
_DIGITS = {"loss": 3, "options": 2, "exact": 2, "chrf": 1}


def choices_table(result: Mapping[str, Any]) -> Table:
    """Tabulate what each method's choices teach, best first: loss against random rows, and the mean against BM25's."""
    names = result["capabilities"]
    arms = [arm for arm in _best_first(result) if not arm.startswith(CORE)]
    rows = [
        (
            f"`{arm}`",
            [
                *(_percent(result["against_random"][arm][name]["mean"]) for name in names),
                f"**{interval(result['against_random'][arm]['mean'])}**",
                interval(result["against_bm25"][arm]["mean"]) if arm in result["against_bm25"] else "",
            ],
        )
        for arm in arms
    ]
    return ["trained on the tenth of", *names, "mean against random rows", "mean against `bm25`"], rows


def brief_table(result: Mapping[str, Any]) -> Table:
    """Tabulate the means over the capabilities."""
    rows = [
        (
            f"`{arm}`",
            [
                interval(result["against_random"][arm]["mean"]),
                interval(result["against_bm25"][arm]["mean"]) if arm in result["against_bm25"] else "",
            ],
        )
        for arm in _best_first(result)
    ]
    return ["trained on", "answer loss against random rows", "against `bm25`"], rows


def cores_table(result: Mapping[str, Any]) -> Table:
    """Tabulate what one choice for all tasks teaches each of them."""
    names = result["capabilities"]
    arms = [arm for arm in _best_first(result) if arm.startswith(CORE)]
    rows = [
        (
            f"`{arm.removeprefix(CORE)}`",
            [
                *(_percent(result["against_random"][arm][name]["mean"]) for name in names),
                f"**{interval(result['against_random'][arm]['mean'])}**",
                _percent(max(result["against_random"][arm][name]["mean"] for name in names)),
            ],
        )
        for arm in arms
    ]
    return ["core by", *names, "mean against random rows", "worst task"], rows


def measured_table(result: Mapping[str, Any]) -> Table:
    """Tabulate the loss a token, and the right options, exact answers and chrF where there are any."""
    measured, names = result["measured"], result["capabilities"]
    shown = [
        (name, measure)
        for name in names
        for measure in _TITLES
        if any(measured[arm][name].get(measure) for arm in measured)
    ]
    rows = [
        (
            f"`{arm}`",
            [f"{measured[arm][name].get(measure, float('nan')):.{_DIGITS[measure]}f}" for name, measure in shown],
        )
        for arm in result["arms"]
    ]
    return ["", *(f"{name}, {_TITLES[measure]}" for name, measure in shown)], rows


def settings_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Tabulate the loss against random rows on the capability that was measured under several settings.

    :param results: by what their settings change.
    """
    (name,) = set.intersection(*(set(result["capabilities"]) for result in results.values()))
    arms = set.intersection(*(set(result["against_random"]) for result in results.values()))
    first = next(iter(results.values()))["against_random"]
    rows = [
        (f"`{arm}`", [interval(result["against_random"][arm][name]) for result in results.values()])
        for arm in sorted(arms, key=lambda arm: float(first[arm][name]["mean"]))
    ]
    return [name, *results], rows


def claims_table(result: Mapping[str, Any]) -> Table:
    """Check what the papers claim, in kind, by what was measured."""
    rows = [(claim, ["yes" if holds else "no", figures]) for claim, holds, figures in claims(result)]
    return ["claim", "holds here", "answer loss"], rows


def claims(result: Mapping[str, Any]) -> Iterable[tuple[str, bool, str]]:
    """Yield each claim whose arms were run: what it says, whether it holds, and by which figures."""
    against, full = result["against_random"], result.get("full_minus", {})
    how = "read once" if result.get("epoch") else "for equally many tokens of answers"
    for method in (arm for arm in ("nait", "probe", "less") if arm in against):
        high = against[method]["mean"]
        yield f"what `{method}` ranks highest teaches more than random rows, {how}", high["high"] < 0, interval(high)
        low = against.get(f"low:{method}", {}).get("mean")
        if low:
            yield f"what `{method}` ranks lowest teaches less than random rows", low["low"] > 0, interval(low)
        if method in full:
            text = f"the tenth that `{method}` ranks highest teaches more than the whole, {how}"
            yield text, full[method]["high"] < 0, interval(full[method])
    names = result["capabilities"]
    for arm in (arm for arm in against if arm.startswith(CORE)):
        tasks = {name: against[arm][name]["mean"] for name in names}
        better, worst = sum(mean < 0 for mean in tasks.values()), max(names, key=lambda name: tasks[name])
        figures = f"{better} of {len(names)}; least: {worst}, {_percent(tasks[worst])}"
        yield f"one core, by `{arm.removeprefix(CORE)}`, helps every task", better == len(names), figures


def interval(limits: Mapping[str, float]) -> str:
    """Write a mean with its limits."""
    return f"{_percent(limits['mean'])} ({_percent(limits['low'])} … {_percent(limits['high'])})"


def _best_first(result: Mapping[str, Any]) -> list[str]:
    against = result["against_random"]
    return sorted(against, key=lambda arm: float(against[arm]["mean"]["mean"]))


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")
