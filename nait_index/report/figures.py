"""The figures, as Plotly's JSON. Colours are names of CSS variables, which the page fills in, light or dark.

Everything that comes from rows or users goes through :func:`plain`: Plotly reads a little HTML in its texts.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nait_index.report.facts import Bars, Core, Facts, Histogram, Layers, Map
from nait_index.report.representation import Representation
from nait_index.report.wording import count, group_text, number, share, signed, times

Figure = dict[str, Any]

CHOSEN, SECOND, OTHER, ALERT = "--chosen", "--second", "--other", "--alert"
INK, MUTED, PAPER = "--ink", "--muted", "--paper"
_LEAST_SPAN = 10  # ratios from a tenth to ten times are always on the axis
_LONGEST = 28  # characters of a name on an axis
_FLOOR = 0.1  # rows, where a logarithmic axis begins
_SOURCES = 8  # sources that have a colour of their own on the map


def plain(text: str, longest: int = 400) -> str:
    """Make text that Plotly shows as it is."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return html.escape(short, quote=False).replace("\n", "<br>")


def short(text: str) -> str:
    """Make a name fit an axis, and show as it is."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 + 1 :]}"
    return plain(cut)


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
    return _figure(
        [trace],
        40 + 24 * len(own.counts),
        title,
        xaxis={"visible": False, "range": [0, 1.18 * max(own.counts, default=1)]},
        yaxis=_names(own.names),
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
    return _figure([trace], 300, title, xaxis=ticks | {"title": {"text": axis}}, yaxis=_rows())


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
                "x": _numbers(middle),
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
    return _figure(
        traces,
        320,
        title,
        barmode="stack",
        bargap=0,
        shapes=[line],
        annotations=[label],
        showlegend=True,
        xaxis={"title": {"text": "score (higher is better)"}},
        yaxis=_rows(),
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
        "x": _numbers(drawn),
        "y": list(range(len(groups))),
        "marker": {"size": 10, "color": colors, "symbol": [_symbol(group.ratio * span) for group in groups]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": _numbers(np.maximum(high - drawn, 0)),
            "arrayminus": _numbers(np.maximum(drawn - low, 0)),
            "color": MUTED,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [plain(group_text(group, own)) for group in groups],
        "hoverinfo": "text",
    }
    # The numbers stand in a column of their own, where no whisker runs through them.
    numbers = [
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
    return _figure(
        [trace],
        90 + 26 * len(groups),
        title,
        xaxis=axis,
        yaxis=_names([g.name for g in groups]),
        shapes=[line],
        annotations=numbers,
        margin={"l": 10, "r": 52, "t": 10, "b": 44},
    )


def _symbol(within: float) -> str:
    return "circle" if within >= 1 else "triangle-left"


def layers(own: Layers, title: str) -> Figure:
    """Draw what each layer carries, pooling upon pooling."""
    traces = [
        {
            "type": "bar",
            "name": pooling,
            "x": list(range(len(own.names))),
            "y": _numbers(np.array(shares) * 100),
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
    return _figure(
        traces,
        280,
        title,
        barmode="relative",
        showlegend=len(traces) > 1,
        xaxis=ticks,
        yaxis={"title": {"text": "share, %"}, "rangemode": "tozero"},
    )


def heat(
    names: Sequence[str],
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    hover: Sequence[Sequence[str]],
    title: str,
    *,
    limit: float,
) -> Figure:
    """Draw a square of numbers between capabilities, diverging around 0; the diagonal, which says nothing, is empty."""
    places = list(range(len(names)))
    limited = np.round(np.clip(np.nan_to_num(values), -limit, limit), 4)
    own = [[None if i == j else float(value) for j, value in enumerate(row)] for i, row in enumerate(limited)]
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
        "text": [list(row) for row in texts],
        "texttemplate": "%{text}",
        "hovertext": [[plain(cell) for cell in row] for row in hover],
        "hoverongaps": False,
    }
    ticks = {
        "tickvals": places,
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
    return _figure(
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
    return _figure(
        [found, chance],
        340,
        title,
        showlegend=True,
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
    return _figure(
        [trace], 330, title, xaxis={"title": {"text": f"stays in so many of {own.redraws} redraws"}}, yaxis=_rows()
    )


def lift_cells(facts: Facts) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """Give the logarithms of the lifts, their texts, and what is said of each."""
    between = facts.between
    assert between is not None
    names, size = between.names, range(len(between.names))
    with np.errstate(divide="ignore"):
        logs = np.log2(np.maximum(np.asarray(between.lift, float), 1e-6))
    texts = [["" if i == j else times(float(between.lift[i][j])).replace("under ", "<") for j in size] for i in size]
    hover = [
        [
            f"{names[i]} and {names[j]}: {int(between.overlap[i][j]):,} rows in common\n"
            f"chance would give {count(round(float(between.chance[i][j]), 1))}: {times(float(between.lift[i][j]))}"
            for j in size
        ]
        for i in size
    ]
    return logs, texts, hover


def correlation_cells(facts: Facts) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """Give the rank correlations, their texts, and what is said of each."""
    between = facts.between
    assert between is not None
    names, size, values = between.names, range(len(between.names)), np.asarray(between.correlation, float)
    texts = [["" if i == j else signed(values[i, j]) for j in size] for i in size]
    hover = [[f"{names[i]} and {names[j]}: rank correlation {signed(values[i, j])}" for j in size] for i in size]
    return values, texts, hover


def map_data(own: Map, names: Sequence[str]) -> Mapping[str, Any]:
    """Give what the map is drawn from; the page draws it anew when another capability or colour is asked for."""
    counts = np.bincount(own.sources, minlength=len(own.source_names))
    largest = np.argsort(-counts, kind="stable")[:_SOURCES].tolist()
    return {
        "x": np.round(own.places[:, 0], 3).tolist(),
        "y": np.round(own.places[:, 1], 3).tolist(),
        "ids": own.ids,
        "tokens": own.tokens,
        "source": own.sources.tolist(),
        "sources": own.source_names,
        "coloured": largest,
        "names": list(names),
        "chosen": [np.flatnonzero(one).tolist() for one in own.chosen],
        "percentile": own.percentiles.tolist(),
        "text": own.texts,
    }


def _figure(data: list[dict[str, Any]], height: int, title: str, *, square: bool = False, **layout: Any) -> Figure:  # noqa: ANN401
    layout["xaxis"] = {
        "zeroline": False,
        "showgrid": layout.get("shapes") is not None and "barmode" not in layout,
    } | layout["xaxis"]
    base: dict[str, Any] = {"height": height, "margin": {"l": 10, "r": 16, "t": 24, "b": 10}, "showlegend": False}
    return {"data": data, "layout": base | layout, "title": title, "square": square}


def _rows() -> dict[str, Any]:
    return {"title": {"text": "rows"}, "tickformat": ",d"}


def _names(names: Sequence[str]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "range": [len(names) - 0.5, -0.5],
        "zeroline": False,
    }


def _numbers(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]


def _beside(own: Histogram, cut: float) -> dict[str, Any]:
    """Put the label of the cut to its right, where bars are low, unless it would run out of the figure."""
    is_late = (cut - own.edges[0]) / (own.edges[-1] - own.edges[0]) > 0.78
    return (
        {"xanchor": "right", "align": "right", "xshift": -5}
        if is_late
        else {"xanchor": "left", "align": "left", "xshift": 5}
    )
