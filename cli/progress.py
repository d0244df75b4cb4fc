"""The progress of a build, drawn on a terminal and on no pipe."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nait_index.building.report import Progress, ProgressCallback
    from nait_index.report import ReportProgress, Step


@contextmanager
def build_progress() -> Iterator["ProgressCallback | None"]:
    """Give a callback that draws a bar with rows, tokens/s and the time left; ``None`` where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from nait_index.building.report import Stage

    state = {"text": "loading the model"}
    started: list[float] = []
    bar: Any
    with click.progressbar(
        length=1, label="building", file=sys.stderr, show_pos=True, show_eta=True,
        item_show_func=lambda _: state["text"],
    ) as bar:  # fmt: skip

        def draw(progress: "Progress") -> None:
            started[:] = started or [time.monotonic()]
            speed = progress.tokens / max(time.monotonic() - started[0], 1e-9)
            encoding = progress.stage is Stage.ENCODING
            state["text"] = f"{speed:,.0f} tokens/s" if encoding else str(progress.stage)
            bar.length = max(progress.total, 1)
            bar.update(progress.rows - bar.pos, progress)
            bar.render_progress()

        yield draw


@contextmanager
def report_progress() -> Iterator["ReportProgress | None"]:
    """Give a callback that draws a bar with the step that is under way; ``None`` where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    state = {"text": ""}
    bar: Any
    with click.progressbar(
        length=1, label="report", file=sys.stderr, show_eta=False, show_percent=False, show_pos=True,
        item_show_func=lambda _: state["text"],
    ) as bar:  # fmt: skip

        def draw(step: "Step") -> None:
            state["text"] = step.what
            bar.length = step.of
            bar.update(step.number - 1 - bar.pos, step)
            bar.render_progress()

        yield draw
        state["text"] = ""
        bar.update(bar.length - bar.pos)
