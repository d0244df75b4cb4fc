"""What all figures share. Colours are names of CSS variables, which the page fills in, light or dark.

Everything that comes from rows or users goes through :func:`plain`: Plotly reads a little HTML in its texts.
"""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

Figure = dict[str, Any]

CHOSEN, SECOND, OTHER, ALERT = "--chosen", "--second", "--other", "--alert"
INK, MUTED, PAPER = "--ink", "--muted", "--paper"

_LONGEST = 28  # characters of a name on an axis


def plain(text: str, longest: int = 400) -> str:
    """Make text that Plotly shows as it is."""
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return html.escape(short, quote=False).replace("\n", "<br>")


def short(text: str) -> str:
    """Make a name fit an axis, and show as it is."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 + 1 :]}"
    return plain(cut)


def figure(data: list[dict[str, Any]], height: int, title: str, *, square: bool = False, **layout: Any) -> Figure:  # noqa: ANN401
    """Put a figure together; :param layout: in Plotly's words, laid over what all figures share."""
    layout["xaxis"] = {
        "zeroline": False,
        "showgrid": layout.get("shapes") is not None and "barmode" not in layout,
    } | layout["xaxis"]
    base: dict[str, Any] = {"height": height, "margin": {"l": 10, "r": 16, "t": 24, "b": 10}, "showlegend": False}
    return {"data": data, "layout": base | layout, "title": title, "square": square}


def names_axis(names: Sequence[str]) -> dict[str, Any]:
    """Give an axis of names, from the top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short(name) for name in names],
        "showgrid": False,
        "range": [len(names) - 0.5, -0.5],
        "zeroline": False,
    }


def rows_axis() -> dict[str, Any]:
    """Give an axis that counts rows."""
    return {"title": {"text": "rows"}, "tickformat": ",d"}


def numbers(values: np.ndarray) -> list[float]:
    """Give numbers as JSON can hold them, and no longer than they say anything."""
    return [float(f"{value:.6g}") for value in np.asarray(values, float)]
