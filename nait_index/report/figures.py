"""Figures of the corpus and of one capability, as Plotly's JSON, and the parts that all figures share.

Colours are names of CSS variables, which the page resolves, light or dark. All text that comes from rows or users goes
through :func:`plain`, since Plotly interprets some HTML in its texts.
"""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.report.facts import GroupCounts, LayerFacts, ScoreHistogram
from nait_index.report.representation import Representation
from nait_index.report.wording import count, group_text, number, share, times

Figure = dict[str, Any]

CHOSEN, SECOND, OTHER, ALERT = "--chosen", "--second", "--other", "--alert"
INK, MUTED, PAPER = "--ink", "--muted", "--paper"

ROWS_AXIS = {"title": {"text": "rows"}, "tickformat": ",d"}
"""An axis that counts rows."""

_MAX_NAME = 28  # characters of a name on an axis
_LEAST_SPAN = 10  # ratios from a tenth to ten times are always on the axis
_RATIO_TICKS = (0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 1000)


def plain(text: str, most: int = 400) -> str:
    """Escape text so that Plotly shows it literally, cut to ``most`` characters."""
    start = text if len(text) <= most else text[: most - 1] + "…"
    return html.escape(start, quote=False).replace("\n", "<br>")


def short(text: str) -> str:
    """Escape a name and cut out its middle so that it fits an axis."""
    fits = len(text) <= _MAX_NAME
    return plain(text if fits else f"{text[: _MAX_NAME // 2]}…{text[-_MAX_NAME // 2 + 1 :]}")


def figure(traces: list[dict[str, Any]], height: int, *, square: bool = False, **layout: Any) -> Figure:  # noqa: ANN401
    """Return a figure.

    :param layout: Plotly's settings, which override what all figures share.
    """
    has_grid = "shapes" in layout and "barmode" not in layout
    layout["xaxis"] = {"zeroline": False, "showgrid": has_grid} | layout["xaxis"]
    shared: dict[str, Any] = {"height": height, "margin": {"l": 10, "r": 16, "t": 24, "b": 10}, "showlegend": False}
    return {"data": traces, "layout": shared | layout, "square": square}


def bar_trace(x: Sequence[Any], y: Sequence[Any], color: str, hover: Sequence[str], **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return bars of one colour with a text each to be shown on hover."""
    bars = {"type": "bar", "x": x, "y": y, "marker": {"color": color}, "hovertext": hover, "hoverinfo": "text"}
    return bars | settings


def vertical_line(x: float, color: str, width: int) -> dict[str, Any]:
    """Return a line across the whole height of a figure."""
    ends = {"x0": x, "x1": x, "y0": 0, "y1": 1}
    return {"type": "line", "yref": "paper", "line": {"color": color, "width": width}} | ends


def _names_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return an axis of names, from the top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "range": [len(names) - 0.5, -0.5],
        "zeroline": False,
    }


def _rounded(values: np.ndarray) -> list[float]:
    """Return numbers as JSON can hold them, with six significant figures."""
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]


def _group_hover(groups: GroupCounts, whole: int) -> list[str]:
    return [f"{plain(name)}<br>{rows:,} rows ({share(rows, whole)})" for name, rows in groups]


def bars(groups: GroupCounts, whole: int) -> Figure:
    """Draw rows by group as horizontal bars, largest first."""
    counts, hover = [rows for _, rows in groups], _group_hover(groups, whole)
    text = {"text": [count(rows) for rows in counts], "textposition": "outside", "constraintext": "none"}
    trace = bar_trace(counts, list(range(len(counts))), CHOSEN, hover, orientation="h", cliponaxis=False, **text)
    axis = {"visible": False, "range": [0, 1.18 * max(counts, default=1)]}
    return figure([trace], 40 + 24 * len(counts), xaxis=axis, yaxis=_names_axis([name for name, _ in groups]))


def columns(groups: GroupCounts, whole: int, axis: str) -> Figure:
    """Draw rows by group as vertical bars, in the order of the groups."""
    indices = list(range(len(groups)))
    trace = bar_trace(indices, [rows for _, rows in groups], CHOSEN, _group_hover(groups, whole))
    ticks = {"tickvals": indices, "ticktext": [plain(name) for name, _ in groups], "title": {"text": axis}}
    return figure([trace], 300, xaxis=ticks, yaxis=ROWS_AXIS)


def scores(histogram: ScoreHistogram, cut: float, k: int) -> Figure:
    """Draw the distribution of scores, with the cut."""
    edges = histogram.edges
    middles = _rounded((edges[:-1] + edges[1:]) / 2)
    traces = []
    for name, rows, color in (("not chosen", histogram.others, OTHER), ("chosen", histogram.chosen, CHOSEN)):
        hover = [
            f"{value:,} rows {name}<br>score {number(low)} to {number(high)}"
            for value, low, high in zip(rows, edges[:-1], edges[1:], strict=True)
        ]
        traces.append(bar_trace(middles, rows.tolist(), color, hover, name=name, width=float(edges[1] - edges[0])))
    label = {
        "x": cut,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": ALERT},
        "text": f"the cut<br>rank {k:,}<br>score {number(cut)}",
        **_label_side((cut - edges[0]) / (edges[-1] - edges[0])),
    }
    return figure(
        traces,
        320,
        barmode="stack",
        bargap=0,
        shapes=[vertical_line(cut, ALERT, 2)],
        annotations=[label],
        showlegend=True,
        xaxis={"title": {"text": "score (higher is better)"}},
        yaxis=ROWS_AXIS,
    )


def _label_side(position: float) -> dict[str, Any]:
    """Put the label of the cut to its right, where bars are low, unless it would run out of the figure."""
    side, shift = ("right", -5) if position > 0.78 else ("left", 5)
    return {"xanchor": side, "align": side, "xshift": shift}


def representation(field: Representation, highest: float) -> Figure:
    """Draw ratios with their intervals, most over-represented on top; those near chance are grey."""
    groups, span = field.drawn, max(highest, _LEAST_SPAN)
    ratios = np.clip([group.ratio for group in groups], 1 / span, span)
    low, high = (np.maximum([getattr(group, end) for group in groups], 1 / span) for end in ("low", "high"))
    colors = [MUTED if not group.is_significant else CHOSEN if group.ratio > 1 else ALERT for group in groups]
    symbols = ["circle" if group.ratio * span >= 1 else "triangle-left" for group in groups]  # a triangle is off scale
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": _rounded(ratios),
        "y": list(range(len(groups))),
        "marker": {"size": 10, "color": colors, "symbol": symbols},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": _rounded(np.maximum(high - ratios, 0)),
            "arrayminus": _rounded(np.maximum(ratios - low, 0)),
            "color": MUTED,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [plain(group_text(group, field)) for group in groups],
        "hoverinfo": "text",
    }
    # The numbers have a column of their own, which no error bar crosses.
    numbers = [
        {
            "x": 1.01,
            "xref": "paper",
            "xanchor": "left",
            "y": row,
            "showarrow": False,
            "font": {"color": color},
            "text": times(group.ratio),
        }
        for row, (group, color) in enumerate(zip(groups, colors, strict=True))
    ]
    return figure(
        [trace],
        90 + 26 * len(groups),
        xaxis=_ratio_axis(span),
        yaxis=_names_axis([group.name for group in groups]),
        shapes=[vertical_line(1, INK, 1)],
        annotations=numbers,
        margin={"l": 10, "r": 52, "t": 10, "b": 44},
    )


def _ratio_axis(span: float) -> dict[str, Any]:
    ticks = [ratio for ratio in _RATIO_TICKS if 1 / span <= ratio <= span]
    return {
        "type": "log",
        "range": [-np.log10(span * 1.2), np.log10(span * 1.2)],
        "tickvals": ticks,
        "tickangle": 0,
        "ticktext": [f"{ratio:g}×" for ratio in ticks],
        "title": {"text": "ratio of shares"},
    }


def layers(facts: LayerFacts) -> Figure:
    """Draw how much each layer contributes, stacked by pooling."""
    indices, names = list(range(len(facts.names))), facts.names
    traces = []
    for (pooling, shares), color in zip(facts.shares.items(), (CHOSEN, SECOND), strict=False):
        hover = [
            f"layer {plain(name)}, {plain(pooling) or 'all'}: {100 * value:.1f} %"
            for name, value in zip(names, shares, strict=True)
        ]
        traces.append(bar_trace(indices, _rounded(np.array(shares) * 100), color, hover, name=pooling))
    labelled = indices[:: -(-len(names) // 12)]
    ticks = {"tickvals": labelled, "ticktext": [short(names[layer]) for layer in labelled]}
    return figure(
        traces,
        280,
        barmode="relative",
        showlegend=len(traces) > 1,
        xaxis=ticks | {"title": {"text": "layer"}},
        yaxis={"title": {"text": "share, %"}, "rangemode": "tozero"},
    )
