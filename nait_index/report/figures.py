"""The figures, as Plotly's JSON. Colours are names of CSS variables, which the page fills in, light or dark.

Everything that comes from rows or users goes through :func:`plain`: Plotly reads a little HTML in its texts.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nait_index.report.facts import Bars, Core, Facts, Histogram, Layers, Map
from nait_index.report.representation import Representation
from nait_index.report.wording import count, group_text, share, times

Figure = dict[str, Any]

CHOSEN, OTHER, ALERT, INK, MUTED = "--chosen", "--other", "--alert", "--ink", "--muted"
_LOWEST = 0.02  # ratio at which the axis ends
_LONGEST = 28  # characters of a name on an axis
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
    hover = [f"{plain(name)}<br>{value:,} rows ({share(value, whole)})" for name, value in zip(own.names, own.counts, strict=True)]
    trace = {
        "type": "bar", "orientation": "h", "x": list(own.counts), "y": list(range(len(own.counts))),
        "marker": {"color": CHOSEN}, "text": [count(value) for value in own.counts], "textposition": "outside",
        "cliponaxis": False, "hovertext": hover, "hoverinfo": "text", "constraintext": "none",
    }  # fmt: skip
    return _figure([trace], 40 + 24 * len(own.counts), title,
                   xaxis={"visible": False, "range": [0, 1.18 * max(own.counts, default=1)]},
                   yaxis=_names(own.names))  # fmt: skip


def columns(own: Bars, whole: int, title: str, axis: str) -> Figure:
    """Draw counts by band, standing, in the order of the bands."""
    hover = [f"{plain(name)}<br>{value:,} rows ({share(value, whole)})" for name, value in zip(own.names, own.counts, strict=True)]
    trace = {
        "type": "bar", "x": list(range(len(own.counts))), "y": list(own.counts), "marker": {"color": CHOSEN},
        "hovertext": hover, "hoverinfo": "text",
    }  # fmt: skip
    ticks = {"tickvals": list(range(len(own.names))), "ticktext": [plain(name) for name in own.names]}
    return _figure([trace], 300, title, xaxis=ticks | {"title": {"text": axis}}, yaxis={"title": {"text": "rows"}})


def scores(own: Histogram, cut: float, title: str, k: int) -> Figure:
    """Draw how scores are spread, with the cut."""
    middle = (own.edges[:-1] + own.edges[1:]) / 2
    width = float(own.edges[1] - own.edges[0])
    traces = []
    for name, values, color in (("not chosen", own.others, OTHER), ("chosen", own.chosen, CHOSEN)):
        hover = [
            f"{value:,} rows {name}<br>score {low:.3g} to {high:.3g}"
            for value, low, high in zip(values, own.edges[:-1], own.edges[1:], strict=True)
        ]
        traces.append({
            "type": "bar", "name": name, "x": _numbers(middle), "y": values.tolist(), "width": width,
            "marker": {"color": color}, "hovertext": hover, "hoverinfo": "text",
        })  # fmt: skip
    line = {"type": "line", "x0": cut, "x1": cut, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": ALERT, "width": 2}}
    label = {
        "x": cut, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "font": {"color": ALERT},
        "text": f"the cut: rank {k:,}, score {cut:.3g}", "xanchor": "right" if _is_right(own, cut) else "left",
    }  # fmt: skip
    return _figure(traces, 320, title, barmode="stack", bargap=0, shapes=[line], annotations=[label], showlegend=True,
                   xaxis={"title": {"text": "score (higher is better)"}}, yaxis={"title": {"text": "rows"}})  # fmt: skip


def representation(own: Representation, highest: float, title: str) -> Figure:
    """Draw ratios with their intervals, most over-represented on top; those not told apart from chance are pale."""
    groups = own.groups
    ratios = np.array([group.ratio for group in groups])
    low, high = (np.maximum([getattr(group, end) for group in groups], _LOWEST) for end in ("low", "high"))
    drawn = np.maximum(ratios, _LOWEST)
    colors = [MUTED if not group.is_told_apart else CHOSEN if group.ratio > 1 else ALERT for group in groups]
    trace = {
        "type": "scatter", "mode": "markers+text", "x": _numbers(drawn), "y": list(range(len(groups))),
        "marker": {"size": 10, "color": colors, "symbol": ["circle" if g.ratio >= _LOWEST else "triangle-left" for g in groups]},
        "error_x": {"type": "data", "symmetric": False, "array": _numbers(np.maximum(high - drawn, 0)),
                    "arrayminus": _numbers(np.maximum(drawn - low, 0)), "color": MUTED, "thickness": 1.5, "width": 4},
        "hovertext": [plain(group_text(group, own)) for group in groups], "hoverinfo": "text",
    }  # fmt: skip
    # The numbers stand in a column of their own, where no whisker runs through them.
    numbers = [
        {"x": 1.01, "xref": "paper", "xanchor": "left", "y": at, "showarrow": False, "font": {"color": color},
         "text": times(group.ratio)}
        for at, (group, color) in enumerate(zip(groups, colors, strict=True))
    ]  # fmt: skip
    trace["mode"] = "markers"
    line = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": INK, "width": 1}}
    ticks = [value for value in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if value <= highest * 1.05]
    axis = {
        "type": "log", "range": [np.log10(_LOWEST * 0.85), np.log10(max(highest, 2) * 1.15)], "tickvals": ticks,
        "ticktext": [f"{value:g}×" for value in ticks], "title": {"text": "as often among the chosen as in the corpus"},
    }  # fmt: skip
    return _figure([trace], 90 + 26 * len(groups), title, xaxis=axis, yaxis=_names([g.name for g in groups]),
                   shapes=[line], annotations=numbers, margin={"l": 10, "r": 52, "t": 10, "b": 44})  # fmt: skip


def layers(own: Layers, title: str) -> Figure:
    """Draw what each layer carries, pooling upon pooling."""
    traces = [
        {
            "type": "bar", "name": pooling, "x": list(range(len(own.names))), "y": _numbers(np.array(shares) * 100),
            "marker": {"color": color}, "hoverinfo": "text",
            "hovertext": [
                f"layer {plain(name)}, {plain(pooling) or 'all'}: {100 * value:.1f} %"
                for name, value in zip(own.names, shares, strict=True)
            ],
        }
        for (pooling, shares), color in zip(own.shares.items(), (CHOSEN, ALERT), strict=False)
    ]  # fmt: skip
    every = max(1, -(-len(own.names) // 12))
    at = list(range(0, len(own.names), every))
    ticks = {"tickvals": at, "ticktext": [short(own.names[place]) for place in at], "title": {"text": "layer"}}
    return _figure(traces, 280, title, barmode="relative", showlegend=len(traces) > 1, xaxis=ticks,
                   yaxis={"title": {"text": "share, %"}, "rangemode": "tozero"})  # fmt: skip


def heat(names: Sequence[str], values: np.ndarray, texts: Sequence[Sequence[str]], hover: Sequence[Sequence[str]],
         title: str, *, limit: float) -> Figure:  # fmt: skip
    """Draw a square of numbers between capabilities, diverging around 0; the diagonal, which says nothing, is empty."""
    places = list(range(len(names)))
    own: list[list[float | None]] = [
        [None if i == j or not np.isfinite(value) else round(float(np.clip(value, -limit, limit)), 4) for j, value in enumerate(row)]
        for i, row in enumerate(values)
    ]
    trace = {
        "type": "heatmap", "x": places, "y": places, "z": own, "zmin": -limit, "zmax": limit, "xgap": 2, "ygap": 2,
        "colorscale": "--diverging", "showscale": False, "hoverinfo": "text", "text": [list(row) for row in texts],
        "texttemplate": "%{text}", "hovertext": [[plain(cell) for cell in row] for row in hover], "hoverongaps": False,
    }  # fmt: skip
    ticks = {"tickvals": places, "ticktext": [short(name) for name in names], "showgrid": False}
    return _figure([trace], 130 + 46 * len(names), title, xaxis=ticks | {"side": "bottom", "tickangle": -35},
                   yaxis=ticks | {"autorange": "reversed"}, square=True)  # fmt: skip


def core_sizes(own: Core, title: str) -> Figure:
    """Draw the size of the core against the votes that it needs, beside what chance would give."""
    levels = list(range(1, len(own.found) + 1))
    found = {
        "type": "bar", "name": "found", "x": levels, "y": [value or None for value in own.found],
        "marker": {"color": CHOSEN}, "text": [count(value) for value in own.found], "textposition": "outside",
        "cliponaxis": False, "hoverinfo": "text",
        "hovertext": [f"at least {level}: {value:,} rows" for level, value in zip(levels, own.found, strict=True)],
    }  # fmt: skip
    chance = {
        "type": "scatter", "mode": "lines+markers", "name": "by chance", "x": levels,
        "y": [value if value >= 0.01 else None for value in own.chance], "hoverinfo": "text",
        "line": {"color": ALERT, "width": 2, "dash": "dot"}, "marker": {"color": ALERT, "size": 9, "symbol": "diamond"},
        "hovertext": [f"chance, at least {level}: {value:,.2f} rows" for level, value in zip(levels, own.chance, strict=True)],
    }  # fmt: skip
    # Bars of a logarithmic axis need a floor: a tenth of a row, below which nothing is found.
    top = np.log10(max(own.found) * 4)
    return _figure([found, chance], 330, title, showlegend=True,
                   xaxis={"title": {"text": "chosen by at least so many capabilities"}, "dtick": 1},
                   yaxis={"title": {"text": "rows"}, "type": "log", "range": [-1, top], "dtick": 1,
                          "exponentformat": "none"})  # fmt: skip


def stability(own: Core, title: str) -> Figure:
    """Draw in how many of the redraws the rows of the core stay."""
    kept = np.bincount(np.round(np.array(own.stability) * own.redraws).astype(int), minlength=own.redraws + 1)
    trace = {
        "type": "bar", "x": list(range(own.redraws + 1)), "y": kept.tolist(), "marker": {"color": CHOSEN},
        "hoverinfo": "text",
        "hovertext": [f"{value:,} rows stay in {at} of {own.redraws} redraws" for at, value in enumerate(kept)],
    }  # fmt: skip
    return _figure([trace], 330, title, xaxis={"title": {"text": f"stays in so many of {own.redraws} redraws"}},
                   yaxis={"title": {"text": "rows"}})  # fmt: skip


def lift_cells(facts: Facts) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """Give the logarithms of the lifts, their texts, and what is said of each."""
    between = facts.between
    assert between is not None
    names, size = between.names, range(len(between.names))
    with np.errstate(divide="ignore"):
        logs = np.log2(np.maximum(np.asarray(between.lift, float), 1e-6))
    texts = [["" if i == j else times(float(between.lift[i][j])).replace("under ", "<") for j in size] for i in size]
    hover = [
        [f"{names[i]} and {names[j]}: {int(between.overlap[i][j]):,} rows in common\n"
         f"chance would give {count(round(float(between.chance[i][j]), 1))}: {times(float(between.lift[i][j]))}" for j in size]
        for i in size
    ]  # fmt: skip
    return logs, texts, hover


def correlation_cells(facts: Facts) -> tuple[np.ndarray, list[list[str]], list[list[str]]]:
    """Give the rank correlations, their texts, and what is said of each."""
    between = facts.between
    assert between is not None
    names, size, values = between.names, range(len(between.names)), np.asarray(between.correlation, float)
    texts = [["" if i == j else f"{values[i, j]:+.2f}".replace("-", "−") for j in size] for i in size]
    hover = [[f"{names[i]} and {names[j]}: rank correlation {values[i, j]:+.3f}" for j in size] for i in size]
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
    base: dict[str, Any] = {"height": height, "margin": {"l": 10, "r": 16, "t": 24, "b": 10}, "showlegend": False}
    return {"data": data, "layout": base | layout, "title": title, "square": square}


def _names(names: Sequence[str]) -> dict[str, Any]:
    return {
        "tickvals": list(range(len(names))), "ticktext": [short(name) for name in names], "showgrid": False,
        "range": [len(names) - 0.5, -0.5], "zeroline": False,
    }  # fmt: skip


def _numbers(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]


def _is_right(own: Histogram, cut: float) -> bool:
    """Tell whether the cut lies in the right half, where its label would run out of the figure."""
    return cut > (own.edges[0] + own.edges[-1]) / 2
