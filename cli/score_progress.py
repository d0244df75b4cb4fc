"""The progress of scoring: on a terminal a bar, and anywhere a line that says how long it will take."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from .forecast import Forecast
from .log import without_status
from .terminal import is_live

if TYPE_CHECKING:
    from nait_index.quality.scoring import ScoreProgress

_CHUNK = 256
"""Rows that are scored together, the longest first."""


@contextmanager
def score_progress() -> Iterator["ScoreProgress"]:
    """Give a callback that draws a bar with rows and the time left, where somebody looks."""
    forecast, live = Forecast("rows", fair=_CHUNK), is_live(sys.stderr)
    bar: Any = None
    with ExitStack() as stack:

        def draw(done: int, total: int) -> None:
            # Made when the first row is done, so that it does not stand over a question that is being asked.
            nonlocal bar
            forecast.tell(done, total - done)
            if live and bar is None:
                stack.enter_context(without_status())
                bar = click.progressbar(length=total, label="scoring", file=sys.stderr, show_pos=True, show_eta=True)
                bar.update(done - 1)
            if live:
                bar.update(1)

        try:
            yield draw
        finally:
            if bar is not None:
                bar.render_finish()
