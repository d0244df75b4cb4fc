"""Figures of several capabilities: how they relate, what they agree on, and where their rows lie on the map."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.insight.compare import Comparison
from nait_index.report.facts import CapabilityFacts, CoreFacts, RowMap
from nait_index.report.figures import ALERT, CHOSEN, PAPER, ROWS_AXIS, Figure, bar_trace, figure, plain, short
from nait_index.report.wording import count, signed, times

_FLOOR = 0.1  # rows, where a logarithmic axis begins
_MAX_LOG_LIFT = 3.4  # powers of two that have colours of their own: ten times chance
_COLOURED_SOURCES = 8


def overlap(comparison: Comparison) -> Figure:
    """Draw what selections have in common, as a multiple of what chance would give."""
    cells = [
        (first, second, int(shared), float(chance), times(float(lift)))
        for first, *row in zip(comparison.names, comparison.overlap, comparison.chance, comparison.lift, strict=True)
        for second, shared, chance, lift in zip(comparison.names, *row, strict=True)
    ]
    hover = [
        f"{first} and {second}: {shared:,} rows in common\nchance would give {count(round(chance, 1))}: {lift}"
        for first, second, shared, chance, lift in cells
    ]
    texts = [cell[-1].replace("under ", "<") for cell in cells]
    logs = np.log2(np.maximum(comparison.lift, 2.0**-_MAX_LOG_LIFT))
    return _heat_map(comparison.names, logs, texts, hover, _MAX_LOG_LIFT)


def correlation(comparison: Comparison) -> Figure:
    """Draw how similarly capabilities rank the rows."""
    names = comparison.names
    texts = [signed(float(value)) for value in comparison.correlation.flat]
    pairs = [f"{first} and {second}" for first in names for second in names]
    hover = [f"{pair}: rank correlation {text}" for pair, text in zip(pairs, texts, strict=True)]
    return _heat_map(names, comparison.correlation, texts, hover, 1)


def _heat_map(
    names: Sequence[str], values: np.ndarray, texts: Sequence[str], hover: Sequence[str], limit: float
) -> Figure:
    """Draw a square of numbers with colours diverging around 0; the diagonal, which shows nothing, is empty.

    :param values: (C, C), cut at ``limit`` on both sides. :param texts: and :param hover: of the C·C cells, row by row.
    """
    size = len(names)
    indices, starts = list(range(size)), range(0, size**2, size)
    cells = np.round(np.clip(values, -limit, limit), 4).tolist()
    texts = ["" if cell % (size + 1) == 0 else text for cell, text in enumerate(texts)]
    trace = {
        "type": "heatmap",
        "x": indices,
        "y": indices,
        "z": [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(cells)],
        "zmin": -limit,
        "zmax": limit,
        "xgap": 2,
        "ygap": 2,
        "colorscale": "--diverging",
        "showscale": False,
        "textfont": {"size": 12},
        "hoverinfo": "text",
        "text": [texts[start : start + size] for start in starts],
        "texttemplate": "%{text}",
        "hovertext": [[plain(cell) for cell in hover[start : start + size]] for start in starts],
        "hoverongaps": False,
    }
    ticks = {
        "tickvals": indices,
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
    return figure(
        [trace],
        130 + 46 * size,
        xaxis=ticks | {"side": "bottom", "tickangle": -35},
        yaxis=ticks | {"autorange": "reversed"},
        square=True,
    )


def core_sizes(core: CoreFacts) -> Figure:
    """Draw the size of the core by the votes that it requires, beside what chance would give."""
    levels = list(range(1, len(core.sizes) + 1))
    sizes = bar_trace(
        levels,
        [size or None for size in core.sizes],
        CHOSEN,
        [f"at least {level}: {size:,} rows" for level, size in zip(levels, core.sizes, strict=True)],
        name="found",
        text=[count(size) for size in core.sizes],
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        insidetextfont={"color": PAPER},
    )
    chance = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "by chance",
        "x": levels,
        "y": [rows if rows >= _FLOOR else None for rows in core.chance],
        "hoverinfo": "text",
        "line": {"color": ALERT, "width": 2, "dash": "dot"},
        "marker": {"color": ALERT, "size": 9, "symbol": "diamond"},
        "hovertext": [
            f"chance, at least {level}: {rows:,.2f} rows" for level, rows in zip(levels, core.chance, strict=True)
        ],
    }
    zero = {"y": 0, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": "0", "font": {"color": CHOSEN}}
    zeros = [
        {"x": level} | zero
        for level, size, rows in zip(levels, core.sizes, core.chance, strict=True)
        if not size and not _FLOOR <= rows < 1  # where the marker of chance would cover it
    ]
    axis = {
        "title": {"text": "rows"},
        "type": "log",
        "range": [np.log10(_FLOOR), np.log10(max(core.sizes) * 4)],
        "dtick": 1,
        "tickformat": ",~r",
    }
    return figure(
        [sizes, chance],
        340,
        showlegend=True,
        bargap=0.08,
        annotations=zeros,
        yaxis=axis,
        xaxis={"title": {"text": "chosen by at least this many capabilities"}, "dtick": 1},
    )


def stability(core: CoreFacts) -> Figure:
    """Draw in how many resamples the rows of the core stay."""
    redraws = core.redraws
    rows = np.bincount(np.round(np.array(core.stability) * redraws).astype(int), minlength=redraws + 1)
    hover = [f"{value:,} rows stay in {kept} of {redraws} resamples" for kept, value in enumerate(rows)]
    trace = bar_trace(list(range(redraws + 1)), rows.tolist(), CHOSEN, hover)
    axis = {"title": {"text": f"number of the {redraws} resamples in which a row stays"}}
    return figure([trace], 330, xaxis=axis, yaxis=ROWS_AXIS)


def map_data(row_map: RowMap, capabilities: Sequence[CapabilityFacts]) -> dict[str, Any]:
    """Return what the page needs to draw the map, and to redraw it for another capability or colouring."""
    counts = np.bincount(row_map.sources, minlength=len(row_map.source_names))
    return {
        "x": np.round(row_map.coordinates[:, 0], 3).tolist(),
        "y": np.round(row_map.coordinates[:, 1], 3).tolist(),
        "ids": row_map.ids,
        "tokens": row_map.tokens,
        "source": row_map.sources.tolist(),
        "sources": row_map.source_names,
        "coloured": np.argsort(-counts, kind="stable")[:_COLOURED_SOURCES].tolist(),
        "names": [capability.name for capability in capabilities],
        "chosen": [best_first.tolist() for best_first in row_map.chosen],
        "percentile": row_map.percentiles.tolist(),
        "text": row_map.texts,
    }
