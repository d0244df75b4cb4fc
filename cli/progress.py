"""The progress of a build: on a terminal a bar, and anywhere a line that says how long it will take."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .forecast import Forecast
from .log import without_status
from .terminal import columns_of, is_live, width_of

if TYPE_CHECKING:
    from nait_index.building.report import BuildProgress, ProgressCallback


_BAR = 36
"""Columns of a bar where there is room."""


def fit(bar: Any) -> None:  # noqa: ANN401
    """Make a bar as short as its line must be: one that wraps is drawn anew on line after line."""
    rest = width_of(bar.format_progress_line()) - bar.width + len(str(bar.length)) - len(str(bar.pos))
    bar.width = min(_BAR, max(columns_of(bar.file) - 1 - rest, 1))


@contextmanager
def build_progress() -> Iterator["ProgressCallback"]:
    """Give a callback that draws a bar with rows, tokens/s and the time left, where somebody looks."""
    from nait_index.building.report import Stage

    forecast = Forecast("tokens")

    def tell(progress: "BuildProgress") -> None:
        if progress.stage is Stage.ENCODING:
            forecast.tell(progress.tokens, progress.left, progress.size)

    if not is_live(sys.stderr):
        yield tell
        return
    state = {"text": "loading the model"}
    bar: Any
    with (
        without_status(),
        click.progressbar(
            length=1, label="building", file=sys.stderr, show_pos=True, show_eta=False, show_percent=True,
            item_show_func=lambda _: state["text"],
        ) as bar,
    ):  # fmt: skip

        def draw(progress: "BuildProgress") -> None:
            tell(progress)
            encoding = progress.stage is Stage.ENCODING
            state["text"] = forecast.pace(progress.tokens, progress.left) if encoding else str(progress.stage)
            bar.length = max(progress.total, 1)
            fit(bar)
            bar.update(progress.rows - bar.pos, progress)
            bar.render_progress()

        yield draw
