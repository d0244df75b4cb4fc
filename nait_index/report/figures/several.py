"""Figures of several capabilities: how they relate, and what they agree on."""

from collections.abc import Sequence

import numpy as np

from nait_index.insight.compare import Comparison
from nait_index.report.facts import Core
from nait_index.report.figures.base import ALERT, CHOSEN, PAPER, Figure, figure, plain, rows_axis, short
from nait_index.report.wording import count, signed, times

_FLOOR = 0.1  # rows, where a logarithmic axis begins
_FARTHEST = 3.4  # powers of two that a colour tells apart: ten times chance


def overlap(own: Comparison) -> Figure:
    """Draw what selections have in common, as a multiple of what chance would give."""
    pairs = [(i, j) for i in range(len(own.names)) for j in range(len(own.names))]
    hover = [
        f"{own.names[i]} and {own.names[j]}: {int(own.overlap[i, j]):,} rows in common\n"
        f"chance would give {count(round(float(own.chance[i, j]), 1))}: {times(float(own.lift[i, j]))}"
        for i, j in pairs
    ]
    texts = [times(float(own.lift[i, j])).replace("under ", "<") for i, j in pairs]
    logs = np.log2(np.maximum(own.lift, 2.0**-_FARTHEST))
    return _heat(own.names, logs, texts, hover, "Overlap of the selections, against chance", _FARTHEST)


def correlation(own: Comparison) -> Figure:
    """Draw how alike capabilities rank the rows."""
    pairs = [(i, j) for i in range(len(own.names)) for j in range(len(own.names))]
    texts = [signed(float(own.correlation[i, j])) for i, j in pairs]
    hover = [
        f"{own.names[i]} and {own.names[j]}: rank correlation {text}" for (i, j), text in zip(pairs, texts, strict=True)
    ]
    return _heat(own.names, own.correlation, texts, hover, "Rank correlation of the scores", 1)


def _heat(
    names: Sequence[str], values: np.ndarray, texts: Sequence[str], hover: Sequence[str], title: str, limit: float
) -> Figure:
    """Draw a square of numbers, diverging around 0; the diagonal, which says nothing, is empty.

    :param values: (C, C), cut at ``limit`` on both sides. :param texts: and :param hover: of the C·C cells, row by row.
    """
    places, across = list(range(len(names))), range(0, len(names) ** 2, len(names))
    limited = np.round(np.clip(values, -limit, limit), 4).tolist()
    texts = ["" if at % (len(names) + 1) == 0 else text for at, text in enumerate(texts)]
    own = [[None if i == j else value for j, value in enumerate(row)] for i, row in enumerate(limited)]
    trace = {
        "type": "heatmap",
        "x": places,
        "y": places,
        "z": own,
        "zmin": -limit,
        "zmax": limit,
        "xgap": 2,
        "ygap": 2,
        "colorscale": "--diverging",
        "showscale": False,
        "textfont": {"size": 12},
        "hoverinfo": "text",
        "text": [list(texts[at : at + len(names)]) for at in across],
        "texttemplate": "%{text}",
        "hovertext": [[plain(cell) for cell in hover[at : at + len(names)]] for at in across],
        "hoverongaps": False,
    }
    ticks = {
        "tickvals": places,
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
    return figure(
        [trace],
        130 + 46 * len(names),
        title,
        xaxis=ticks | {"side": "bottom", "tickangle": -35},
        yaxis=ticks | {"autorange": "reversed"},
        square=True,
    )


def core_sizes(own: Core, title: str) -> Figure:
    """Draw the size of the core against the votes that it needs, beside what chance would give."""
    levels = list(range(1, len(own.found) + 1))
    found = {
        "type": "bar",
        "name": "found",
        "x": levels,
        "y": [value or None for value in own.found],
        "marker": {"color": CHOSEN},
        "text": [count(value) for value in own.found],
        "textposition": "inside",
        "insidetextanchor": "start",
        "textangle": 0,
        "insidetextfont": {"color": PAPER},
        "hoverinfo": "text",
        "hovertext": [f"at least {level}: {value:,} rows" for level, value in zip(levels, own.found, strict=True)],
    }
    chance = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "by chance",
        "x": levels,
        "y": [value if value >= _FLOOR else None for value in own.chance],
        "hoverinfo": "text",
        "line": {"color": ALERT, "width": 2, "dash": "dot"},
        "marker": {"color": ALERT, "size": 9, "symbol": "diamond"},
        "hovertext": [
            f"chance, at least {level}: {value:,.2f} rows" for level, value in zip(levels, own.chance, strict=True)
        ],
    }
    none = [
        {
            "x": level,
            "y": 0,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "text": "0",
            "font": {"color": CHOSEN},
        }
        for level, value, chance in zip(levels, own.found, own.chance, strict=True)
        if not value and not _FLOOR <= chance < 1  # where the mark of chance would lie on it
    ]
    axis = {
        "title": {"text": "rows"},
        "type": "log",
        "range": [np.log10(_FLOOR), np.log10(max(own.found) * 4)],
        "dtick": 1,
        "tickformat": ",~r",
    }
    return figure(
        [found, chance],
        340,
        title,
        showlegend=True,
        bargap=0.08,
        annotations=none,
        yaxis=axis,
        xaxis={"title": {"text": "chosen by at least so many capabilities"}, "dtick": 1},
    )


def stability(own: Core, title: str) -> Figure:
    """Draw in how many of the redraws the rows of the core stay."""
    kept = np.bincount(np.round(np.array(own.stability) * own.redraws).astype(int), minlength=own.redraws + 1)
    trace = {
        "type": "bar",
        "x": list(range(own.redraws + 1)),
        "y": kept.tolist(),
        "marker": {"color": CHOSEN},
        "hoverinfo": "text",
        "hovertext": [f"{value:,} rows stay in {at} of {own.redraws} redraws" for at, value in enumerate(kept)],
    }
    return figure(
        [trace], 330, title, xaxis={"title": {"text": f"stays in so many of {own.redraws} redraws"}}, yaxis=rows_axis()
    )
