"""The progress of scoring, drawn on a terminal and on no pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nait_index.scoring import ScoreProgress


@contextmanager
def score_progress() -> Iterator["ScoreProgress | None"]:
    """Give a callback that draws a bar with rows and the time left; ``None`` where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    bar: Any = None

    def draw(done: int, total: int) -> None:
        # Made when the first row is done, so that it does not stand over a question that is being asked.
        nonlocal bar
        if bar is None:
            bar = click.progressbar(length=total, label="scoring", file=sys.stderr, show_pos=True, show_eta=True)
            bar.update(done - 1)
        bar.update(1)

    try:
        yield draw
    finally:
        if bar is not None:
            bar.render_finish()
