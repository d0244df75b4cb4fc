"""A comparison as a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from nait_index.errors import NaitError
from nait_index.files import atomic_write, check_writable
from nait_index.insight.compare import Comparison

FORMATS = ("png", "svg")


def check_plot(path: Path, *, force: bool) -> None:
    """Check that a picture can be drawn and written, before any work is done for it.

    :raises NaitError: its name ends in neither ``.png`` nor ``.svg``, or matplotlib is not there.
    :raises OutputExistsError: the file is there and ``force`` was not given.
    """
    if path.suffix.lower().lstrip(".") not in FORMATS:
        raise NaitError(f"{path}: a picture is written as .png or .svg; choose a name that ends in one of them")
    check_writable(path, force=force)
    _matplotlib()


def plot(comparison: Comparison, path: Path, *, force: bool = False) -> None:
    """Draw the overlap against chance, the rank correlation and, where there is one, the cosine of the directions.

    :raises NaitError: as for :func:`check_plot`, or the file cannot be written.
    """
    check_plot(path, force=force)
    figure = _draw(comparison)
    form = path.suffix.lower().lstrip(".")
    # Without a date, and with fixed names inside an SVG, the same comparison gives the same file.
    with _matplotlib().rc_context({"svg.hashsalt": "nait-index"}), atomic_write(path) as file:
        figure.savefig(
            file, format=form, dpi=150, bbox_inches="tight", metadata={"Date": None} if form == "svg" else None
        )


def _draw(comparison: Comparison) -> Any:  # noqa: ANN401 - matplotlib's figure
    from matplotlib.figure import Figure

    own, count = comparison, len(comparison.names)
    panels = [
        ("rows in common, share of the smaller choice", own.shared, (0, 1), "Blues"),
        ("rank correlation of the scores", own.correlation, (-1, 1), "RdBu"),
    ]
    if own.cosine is not None:
        panels.append(("cosine of the directions", own.cosine, (-1, 1), "RdBu"))
    side = 2.6 + 0.5 * count
    figure = Figure(figsize=(side * len(panels), side + 0.8), layout="constrained")
    others = ~np.eye(count, dtype=bool)
    by_chance = (own.chance / np.minimum.outer(own.sizes, own.sizes))[others].mean()
    figure.suptitle(f"{own.method}, top {own.budget} of {own.available:,} rows; by chance, {by_chance:.0%} in common")
    for at, (title, values, (low, high), colours) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), at + 1)
        axes.imshow(values, vmin=low, vmax=high, cmap=colours)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(count), own.names, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(count), own.names if at == 0 else [""] * count, fontsize=8)
        for (i, j), value in np.ndenumerate(values):
            # White on the dark ends of the scale, whichever they are.
            dark = abs(value - (low + high) / 2) > 0.35 * (high - low) if low < 0 else value > 0.6
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return figure


def _matplotlib() -> Any:  # noqa: ANN401
    try:
        import matplotlib
    except ImportError as error:
        raise NaitError("a picture needs matplotlib: pip install 'nait-index[report]'") from error
    return matplotlib
