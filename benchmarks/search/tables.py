"""The table of the indexes for few rows of many."""

from collections.abc import Mapping
from typing import Any

_PASS = ("1 %", "10 %")


def engines_table(result: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Tabulate the indexes by size, below the exact scan; times of the processor where they were measured."""
    header = ["rows, index", "build, s", "MB", "recall (lowest)", "query, ms", "first query, ms"]
    rows = []
    for size, measured in result["sizes"].items():
        for name, figures in measured["engines"].items():
            rows.append((f"{int(size):,}, {name}", _exact_cells(figures) if name == "exact" else _index_cells(figures)))
    return [*header, *(f"{name} pass: recall, ms" for name in _PASS), "1 % added, s"], rows


def _exact_cells(figures: Mapping[str, float]) -> list[str]:
    passing = [f"1, {_milliseconds(figures[f'query, {name} pass, only these read'])}" for name in _PASS]
    return ["–", "–", "1 (1)", _query(figures), "–", *passing, "–"]


def _index_cells(figures: Mapping[str, Any]) -> list[str]:
    sizes = [f"{size / 1e6:,.0f}" for size in figures["bytes"].values()]
    processor = figures.get("build, of processor time")
    build = f"{figures['build']:,.0f}" + ("" if processor is None else f"; {processor:,.0f} of processor time")
    recall = f"{figures['recall']:.3f} ({figures['lowest recall']:.2f})"
    first = figures.get("first query")
    cells = [build, " + ".join(sizes), recall, _query(figures), "–" if first is None else _milliseconds(first)]
    passing = [figures[f"{name} pass"] for name in _PASS]
    cells += [f"{part['recall']:.3f}, {_milliseconds(part['query'])}" for part in passing]
    return [*cells, f"{figures['add 1 %']:.1f}"]


def _query(figures: Mapping[str, float]) -> str:
    processor = figures.get("query, of processor time")
    query = _milliseconds(figures["query"])
    return query if processor is None else f"{query}; {_milliseconds(processor)} of processor time"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.01 else f"{seconds * 1000:.1f}"
