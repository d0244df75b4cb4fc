"""The progress of long work: a bar on a terminal, else a line every half minute; and once, how long it will take."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from .log import Heartbeat, without_log
from .output import console_on, is_live

if TYPE_CHECKING:
    from nait_index.building.report import BuildProgress, ProgressCallback
    from nait_index.quality.run import ScoreProgress, ScoreStep

Show = Callable[[str, int, int, str, str], None]
"""Takes the stage, how many are done, of how many, what they are, and the pace."""

_FIRST = 5.0
"""Seconds until a forecast is made."""
_WORTH = 60.0
"""Least number of seconds left that is worth a forecast."""
_BAR = 36
"""Greatest width of a bar."""


@contextmanager
def build_progress() -> Iterator["ProgressCallback"]:
    """Yield a callback that shows the stage of a build, its rows, and the time left as its tokens predict it."""
    from nait_index.building.report import Stage

    forecast = Forecast("tokens")
    with _meter() as show:

        def advance(progress: "BuildProgress") -> None:
            is_encoding = progress.stage is Stage.ENCODING
            step = progress.tokens, progress.left, progress.size, progress.fit
            pace = forecast.update(*step) if is_encoding else ""
            show(str(progress.stage), progress.rows, progress.total, "rows", pace)

        yield advance


@contextmanager
def score_progress(unit: str) -> Iterator["ScoreProgress"]:
    """Yield a callback that shows how many rows are scored, and the time left.

    :param unit: what the time goes by: ``tokens``, or ``rows``, which take equally long whatever their length.
    """
    forecast = Forecast(unit)
    with _meter() as show:

        def advance(step: "ScoreStep") -> None:
            done, left = (step.tokens, step.left) if unit == "tokens" else (step.rows, step.total - step.rows)
            show("scoring", step.rows, step.total, "rows", forecast.update(done, left))

        yield advance


@contextmanager
def training_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that shows how far a training is; it takes what is counted, how many are done, and the total."""
    forecasts: dict[str, Forecast] = {}
    with _meter() as show:

        def advance(unit: str, done: int, total: int) -> None:
            forecast = forecasts.setdefault(unit, Forecast(unit))
            show("training", done, total, unit, forecast.update(done, total - done))

        yield advance


@contextmanager
def _meter() -> Iterator[Show]:
    """Yield what shows how far a work is: as a bar on one line of a terminal, else as the text of the heartbeat.

    The bar is drawn at the first call, so that it does not stand over a question that is being asked.
    """
    from rich import progress as rich
    from rich.table import Column

    bar = rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=_BAR),
        rich.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        rich.TaskProgressColumn(),
        rich.TextColumn("{task.fields[pace]}", markup=False),
        console=console_on(sys.stderr), redirect_stdout=False, disable=not is_live(sys.stderr),
    )  # fmt: skip
    heartbeat: Heartbeat | None = None
    with ExitStack() as stack:

        def show(stage: str, done: int, total: int, unit: str, pace: str) -> None:
            nonlocal heartbeat
            if not bar.tasks:
                heartbeat = stack.enter_context(without_log())
                bar.add_task(stage, total=total or None, completed=done, pace=pace)
                stack.enter_context(bar)
            changed = bar.tasks[0].description != stage
            bar.update(bar.task_ids[0], description=stage, completed=done, total=total or None, pace=pace)
            if changed:
                bar.refresh()
            if heartbeat is not None and bar.disable:
                count = f": {done:,} of {total:,} {unit}" if done else ""
                heartbeat.text = f"{stage}{count}{pace and ', '}{pace}"

        yield show


class Forecast:
    """Predicts how long a work will take from a growing count.

    A forecast that turns out more than twice too long or too short is corrected.

    :param unit: what is counted.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._began: tuple[float, int] | None = None
        self._end: float | None = None  # when the work will be done by the last forecast

    def update(self, done: int, left: int, size: int = 0, extra: float = 0.0) -> str:
        """Return the speed and the time left in a few words; print them once if that is long, or was wrong.

        Rich's own estimate is by rows, but the longest rows come first.

        :param done: the count so far. :param left: the rest of it. :param size: bytes of the result, 0 if unknown.
        :param extra: seconds of work to come that is not counted.
        """
        from rich.filesize import decimal

        now = time.monotonic()
        began, first = self._began = self._began or (now, done)
        seconds, count = now - began, done - first
        if count <= 0 or seconds <= 0:
            return f"0 {self._unit}/s"
        rest, speed = left * seconds / count + extra, f"{_speed(count / seconds)} {self._unit}/s"
        if seconds >= _FIRST and self._is_news(now, rest):
            space = f"; about {decimal(size)} on disk" if size else ""
            click.echo(f"about {duration(rest)} left, at {speed}{space}", err=True)
        return f"{speed}, {duration(rest)} left"

    def _is_news(self, now: float, rest: float) -> bool:
        """Decide whether a forecast is worth a line, and remember it if it is the first, or differs from the last."""
        expected = rest if self._end is None else max(self._end - now, 1.0)
        is_wrong = not 0.5 < rest / expected < 2 if expected else False
        if self._end is not None and not is_wrong:
            return False
        self._end = now + rest
        return max(rest, expected) > _WORTH


def _speed(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} hours"
