"""Figures of the corpus, and of one capability."""

from typing import Any

import numpy as np

from nait_index.report.facts import Bars, Histogram, Layers
from nait_index.report.figures.base import (
    ALERT,
    CHOSEN,
    INK,
    MUTED,
    OTHER,
    SECOND,
    Figure,
    figure,
    names_axis,
    numbers,
    plain,
    rows_axis,
    short,
)
from nait_index.report.representation import Representation
from nait_index.report.wording import count, group_text, number, share, times

_LEAST_SPAN = 10  # ratios from a tenth to ten times are always on the axis


def bars(own: Bars, whole: int, title: str) -> Figure:
    """Draw counts by name, lying, largest first."""
    hover = [
        f"{plain(name)}<br>{value:,} rows ({share(value, whole)})"
        for name, value in zip(own.names, own.counts, strict=True)
    ]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(own.counts),
        "y": list(range(len(own.counts))),
        "marker": {"color": CHOSEN},
        "text": [count(value) for value in own.counts],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": hover,
        "hoverinfo": "text",
        "constraintext": "none",
    }
    return figure(
        [trace],
        40 + 24 * len(own.counts),
        title,
        xaxis={"visible": False, "range": [0, 1.18 * max(own.counts, default=1)]},
        yaxis=names_axis(own.names),
    )


def columns(own: Bars, whole: int, title: str, axis: str) -> Figure:
    """Draw counts by band, standing, in the order of the bands."""
    hover = [
        f"{plain(name)}<br>{value:,} rows ({share(value, whole)})"
        for name, value in zip(own.names, own.counts, strict=True)
    ]
    trace = {
        "type": "bar",
        "x": list(range(len(own.counts))),
        "y": list(own.counts),
        "marker": {"color": CHOSEN},
        "hovertext": hover,
        "hoverinfo": "text",
    }
    ticks = {"tickvals": list(range(len(own.names))), "ticktext": [plain(name) for name in own.names]}
    return figure([trace], 300, title, xaxis=ticks | {"title": {"text": axis}}, yaxis=rows_axis())


def scores(own: Histogram, cut: float, title: str, k: int) -> Figure:
    """Draw how scores are spread, with the cut."""
    middle = (own.edges[:-1] + own.edges[1:]) / 2
    width = float(own.edges[1] - own.edges[0])
    traces = []
    for name, values, color in (("not chosen", own.others, OTHER), ("chosen", own.chosen, CHOSEN)):
        hover = [
            f"{value:,} rows {name}<br>score {number(low)} to {number(high)}"
            for value, low, high in zip(values, own.edges[:-1], own.edges[1:], strict=True)
        ]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": numbers(middle),
                "y": values.tolist(),
                "width": width,
                "marker": {"color": color},
                "hovertext": hover,
                "hoverinfo": "text",
            }
        )
    line = {
        "type": "line",
        "x0": cut,
        "x1": cut,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": ALERT, "width": 2},
    }
    label = {
        "x": cut,
        "y": 1,
        "yref": "paper",
        "yanchor": "top",
        "showarrow": False,
        "font": {"color": ALERT},
        "text": f"the cut<br>rank {k:,}<br>score {number(cut)}",
        **_beside(own, cut),
    }
    return figure(
        traces,
        320,
        title,
        barmode="stack",
        bargap=0,
        shapes=[line],
        annotations=[label],
        showlegend=True,
        xaxis={"title": {"text": "score (higher is better)"}},
        yaxis=rows_axis(),
    )


def representation(own: Representation, highest: float, title: str) -> Figure:
    """Draw ratios with their intervals, most over-represented on top; those not told apart from chance are pale."""
    groups = own.groups
    span = max(highest, _LEAST_SPAN)
    ratios = np.array([group.ratio for group in groups])
    low, high = (np.maximum([getattr(group, end) for group in groups], 1 / span) for end in ("low", "high"))
    drawn = np.clip(ratios, 1 / span, span)
    colors = [MUTED if not group.is_told_apart else CHOSEN if group.ratio > 1 else ALERT for group in groups]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(drawn),
        "y": list(range(len(groups))),
        "marker": {"size": 10, "color": colors, "symbol": [_symbol(group.ratio * span) for group in groups]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": numbers(np.maximum(high - drawn, 0)),
            "arrayminus": numbers(np.maximum(drawn - low, 0)),
            "color": MUTED,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [plain(group_text(group, own)) for group in groups],
        "hoverinfo": "text",
    }
    # The numbers stand in a column of their own, where no whisker runs through them.
    column = [
        {
            "x": 1.01,
            "xref": "paper",
            "xanchor": "left",
            "y": at,
            "showarrow": False,
            "font": {"color": color},
            "text": times(group.ratio),
        }
        for at, (group, color) in enumerate(zip(groups, colors, strict=True))
    ]
    line = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": INK, "width": 1}}
    ticks = [value for value in (0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 1000) if 1 / span <= value <= span]
    axis = {
        "type": "log",
        "range": [-np.log10(span * 1.2), np.log10(span * 1.2)],
        "tickvals": ticks,
        "tickangle": 0,
        "ticktext": [f"{value:g}×" for value in ticks],
        "title": {"text": "ratio of shares"},
    }
    return figure(
        [trace],
        90 + 26 * len(groups),
        title,
        xaxis=axis,
        yaxis=names_axis([g.name for g in groups]),
        shapes=[line],
        annotations=column,
        margin={"l": 10, "r": 52, "t": 10, "b": 44},
    )


def layers(own: Layers, title: str) -> Figure:
    """Draw what each layer carries, pooling upon pooling."""
    traces = [
        {
            "type": "bar",
            "name": pooling,
            "x": list(range(len(own.names))),
            "y": numbers(np.array(shares) * 100),
            "marker": {"color": color},
            "hoverinfo": "text",
            "hovertext": [
                f"layer {plain(name)}, {plain(pooling) or 'all'}: {100 * value:.1f} %"
                for name, value in zip(own.names, shares, strict=True)
            ],
        }
        for (pooling, shares), color in zip(own.shares.items(), (CHOSEN, SECOND), strict=False)
    ]
    every = -(-len(own.names) // 12)
    at = list(range(0, len(own.names), every))
    ticks = {"tickvals": at, "ticktext": [short(own.names[place]) for place in at], "title": {"text": "layer"}}
    return figure(
        traces,
        280,
        title,
        barmode="relative",
        showlegend=len(traces) > 1,
        xaxis=ticks,
        yaxis={"title": {"text": "share, %"}, "rangemode": "tozero"},
    )


def _symbol(within: float) -> str:
    """Mark what lies off the scale."""
    return "circle" if within >= 1 else "triangle-left"


def _beside(own: Histogram, cut: float) -> dict[str, Any]:
    """Put the label of the cut to its right, where bars are low, unless it would run out of the figure."""
    is_late = (cut - own.edges[0]) / (own.edges[-1] - own.edges[0]) > 0.78
    return (
        {"xanchor": "right", "align": "right", "xshift": -5}
        if is_late
        else {"xanchor": "left", "align": "left", "xshift": 5}
    )
