"""How long a long piece of work will take, said a few seconds into it: in one line, on a terminal or not."""

import sys
import time

import click

from .terminal import columns_of, is_live, pad

_FIRST, _LATEST = 5.0, 20.0
_WORTH = 60.0
"""Seconds that a work must still take for anything to be said."""


class Forecast:
    """Watches a count grow.

    :param unit: what is counted. :param fair: how many of them are as slow, on average, as all; what is scored in
        chunks begins with the longest texts of a chunk. After twenty seconds, fewer must do; once there are enough, a
        forecast that was twice too long or too short is corrected.
    """

    def __init__(self, unit: str, fair: int = 1) -> None:
        self._unit, self._fair = unit, fair
        self._began: tuple[float, int] | None = None
        self._end: float | None = None  # when it will be done, as far as was told
        self._is_fair = False

    def tell(self, done: int, left: int, size: int = 0) -> None:
        """Say how long the rest will take, if that is long and has not been said, or was said wrongly.

        :param done: so far; :param left: to do; :param size: bytes of what is being made, 0 where that is not told.
        """
        now = time.monotonic()
        if self._began is None:
            self._began = now, done
        seconds, count = now - self._began[0], done - self._began[1]
        is_fair = count >= self._fair
        if self._is_fair or seconds < _FIRST or count <= 0:
            return
        if not is_fair and (self._end is not None or seconds < _LATEST):
            return
        speed, told = count / seconds, self._end
        self._end, self._is_fair = now + left / speed, is_fair
        if left / speed > _WORTH if told is None else not 0.5 < left / speed / max(told - now, 1.0) < 2:
            space = f"; about {_bytes(size)} on disk" if size else ""
            _say(f"about {_duration(left / speed)} left, at {_speed(speed)} {self._unit}/s{space}")

    def pace(self, done: int, left: int) -> str:
        """Give the speed and the time left in a few words, once :meth:`tell` was told anything.

        From what is counted here, since a bar's own guess is by rows, and the longest come first.
        """
        seconds, count = (time.monotonic() - self._began[0], done - self._began[1]) if self._began else (0.0, 0)
        if count <= 0 or seconds <= 0:
            return f"0 {self._unit}/s"
        return f"{_speed(count / seconds)} {self._unit}/s, {_duration(left * seconds / count)} left"


def _say(line: str) -> None:
    """Print a line, over a bar if one is being drawn; it is drawn again."""
    if is_live(sys.stderr):
        line = "\r" + pad(line, columns_of(sys.stderr) - 1)
    click.echo(line, err=True)


def _speed(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
