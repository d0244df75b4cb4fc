"""The table of the indexes for few rows of many."""

from collections.abc import Mapping
from typing import Any

_PASS = ("1 %", "10 %")


def engines_table(result: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Tabulate the indexes by size, below the exact scan."""
    header = ["rows, index", "build, s; of processor time", "MB", "recall (lowest)"]
    header += ["query, ms; of processor time", "first query, ms", *(f"{name} pass: recall, ms" for name in _PASS)]
    rows = []
    for size, measured in result["sizes"].items():
        for name, figures in measured["engines"].items():
            rows.append((f"{int(size):,}, {name}", _exact_cells(figures) if name == "exact" else _index_cells(figures)))
    return [*header, "1 % added, s"], rows


def _exact_cells(figures: Mapping[str, float]) -> list[str]:
    passing = [f"1, {_milliseconds(figures[f'query, {name} pass, only these read'])}" for name in _PASS]
    return ["–", "–", "1 (1)", _query(figures), "–", *passing, "–"]


def _index_cells(figures: Mapping[str, Any]) -> list[str]:
    sizes = [f"{size / 1e6:,.0f}" for size in figures["bytes"].values()]
    build = f"{figures['build']:,.0f}; {figures['build, of processor time']:,.0f}"
    recall = f"{figures['recall']:.3f} ({figures['lowest recall']:.2f})"
    cells = [build, " + ".join(sizes), recall, _query(figures), _milliseconds(figures["first query"])]
    passing = [figures[f"{name} pass"] for name in _PASS]
    cells += [f"{part['recall']:.3f}, {_milliseconds(part['query'])}" for part in passing]
    return [*cells, f"{figures['add 1 %']:.1f}"]


def _query(figures: Mapping[str, float]) -> str:
    return "; ".join(_milliseconds(figures[name]) for name in ("query", "query, of processor time"))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.01 else f"{seconds * 1000:.1f}"
