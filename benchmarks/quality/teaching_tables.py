"""The tables of a result of :mod:`benchmarks.quality.teaching`."""

from collections.abc import Mapping
from typing import Any

Table = tuple[list[str], list[tuple[str, list[str]]]]
"""Header, and rows with a name and its cells."""


def teaching_tables(result: Mapping[str, Any]) -> dict[str, Table]:
    """Make the tables: loss against random, transfer of the first method, claims, exact matches."""
    return {
        "teaching": _relative(result),
        "teaching-transfer": _transfer(result),
        "teaching-claims": _claims(result),
        "teaching-exact": _exact(result),
    }


def _relative(result: Mapping[str, Any]) -> Table:
    arms = result["relative_to_random"]
    capabilities = result["capabilities"]
    rows = [
        (f"`{arm}`", [_percent(losses[name]["mean"]) for name in capabilities] + [f"**{_interval(losses['mean'])}**"])
        for arm, losses in arms.items()
    ]
    return ["answer loss against random rows", *capabilities, "mean (95 %)"], rows


def _transfer(result: Mapping[str, Any]) -> Table:
    transfer = next(iter(result["transfer"].values()))
    capabilities = result["capabilities"]
    rows = [
        (source, [_percent(cells[on]) for on in capabilities] + [_interval(transfer["elsewhere"].get(source))])
        for source, cells in transfer["matrix"].items()
    ]
    return ["chosen for ↓, measured on →", *capabilities, "others (95 %)"], rows


def _claims(result: Mapping[str, Any]) -> Table:
    rows = [(claim["claim"], ["yes" if claim["holds"] else "no"]) for claim in result["claims"]]
    return ["claim", "holds"], rows


def _exact(result: Mapping[str, Any]) -> Table:
    """Tabulate exact matches, without the capabilities in which no arm has any."""
    arms = result["exact_match"]
    capabilities = [name for name in result["capabilities"] if any(shares[name] for shares in arms.values())]
    rows = [(f"`{arm}`", [f"{shares[name]:.2f}" for name in capabilities]) for arm, shares in arms.items()]
    return ["exact matches", *capabilities], rows


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "−")


def _interval(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return ""
    return f"{_percent(interval['mean'])} ({_percent(interval['low'])} … {_percent(interval['high'])})"
