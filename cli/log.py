"""What a command shows of its work on the error stream, as its parts log it.

A terminal shows the last record as a status line, once the command has been silent for a moment; in a pipe, the last
record is printed every half minute. With -v, all records are printed. Warnings always are.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO, cast

import click

from .output import console_on, is_live, one_line

if TYPE_CHECKING:
    from rich.console import Console

_LOG = logging.getLogger("nait_index")
_SILENT = 0.7
"""Seconds of silence after which a terminal shows what is going on."""
_PERIOD = 30.0
"""Seconds between two lines in a pipe."""


@contextmanager
def speaking() -> Iterator[None]:
    """Show the package's log while a command runs."""
    handlers, level, streams = _LOG.handlers[:], _LOG.level, (sys.stdout, sys.stderr)
    heartbeat = StatusLine(sys.stderr) if is_live(sys.stderr) else Heartbeat()
    _LOG.handlers += [_Lines(logging.WARNING, "%(message)s"), heartbeat]
    _LOG.setLevel(logging.DEBUG)
    if isinstance(heartbeat, StatusLine):
        sys.stdout, sys.stderr = (cast(TextIO, _Guarded(stream, heartbeat)) for stream in streams)
    try:
        yield
    finally:
        heartbeat.close()
        sys.stdout, sys.stderr = streams
        _LOG.handlers[:] = handlers
        _LOG.setLevel(level)


def speak_up(context: click.Context, _: click.Parameter, count: int) -> None:
    """Print the log until the command is done: from INFO on if ``count`` is 1, else from DEBUG on."""
    if not count or context.resilient_parsing:
        return
    for handler in _LOG.handlers[:]:
        if isinstance(handler, StatusLine | _Lines):
            handler.close()
            _LOG.removeHandler(handler)
    level = logging.INFO if count == 1 else logging.DEBUG
    _LOG.addHandler(_Lines(level, "%(asctime)s %(levelname)-7s %(name)s: %(message)s"))


@contextmanager
def without_log() -> Iterator["Heartbeat | None"]:
    """Keep the log out of the heartbeat or status line, which is yielded, if there is one: another text is shown."""
    heartbeat = next((handler for handler in _LOG.handlers if isinstance(handler, Heartbeat)), None)
    if heartbeat is None:
        yield None
        return
    _LOG.removeHandler(heartbeat)
    heartbeat.clear()
    try:
        yield heartbeat
    finally:
        heartbeat.clear()
        _LOG.addHandler(heartbeat)


class _Lines(logging.Handler):
    """Prints every record on a line."""

    def __init__(self, level: int, form: str) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(one_line(self.format(record)), err=True)


class Heartbeat(logging.Handler):
    """Prints the last record of the main thread every half minute, so that a long command is not silent in a pipe.

    Records of other threads, such as a server's, are not what a user waits for.
    """

    tick = 1.0
    """Seconds between two beats."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text, self._last = "", time.monotonic()  # what is shown next, and when something was printed last
        self._over = threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the text of a record."""
        if record.thread == threading.main_thread().ident:
            self.text = one_line(record.getMessage())

    def clear(self) -> None:
        """Show nothing until there is another text."""
        self.text = ""

    def close(self) -> None:
        """Show nothing any more."""
        self._over.set()
        self.clear()
        super().close()

    def beat(self) -> None:
        """Print the text if nothing was printed for half a minute."""
        now = time.monotonic()
        if self.text and now - self._last >= _PERIOD:
            self._last = now
            click.echo(self.text, err=True)

    def _run(self) -> None:
        with suppress(OSError, ValueError):  # the stream is gone
            while not self._over.wait(self.tick):
                self.beat()


class StatusLine(Heartbeat):
    """Shows the last record on the last line of a terminal, with the seconds since the last output.

    It appears once there has been no output for a moment, and is gone before there is any.
    """

    tick = 0.2

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._drawing = stream, threading.RLock()
        self._drawn: Console | None = None  # what the line was drawn on, while it is there
        super().__init__()

    def beat(self) -> None:
        """Draw the line."""
        with self._drawing:
            seconds = time.monotonic() - self._last
            if self.text and seconds > _SILENT:
                self._erase()
                self._drawn = console_on(self._stream)
                self._drawn.print(f"{self.text} … {seconds:.0f} s", no_wrap=True, overflow="ellipsis", end="\r")

    def clear(self) -> None:
        """Remove the line."""
        with self._drawing, suppress(OSError, ValueError):  # the stream is gone
            self.text, self._last = "", time.monotonic()
            self._erase()

    def _erase(self) -> None:
        from rich.control import Control
        from rich.segment import ControlType

        if self._drawn is not None:
            self._drawn.control(Control((ControlType.ERASE_IN_LINE, 2)))
            self._drawn = None


class _Guarded:
    """A stream that removes the status line before anything is written to it."""

    def __init__(self, stream: TextIO, status: StatusLine) -> None:
        self._stream, self._status = stream, status

    def write(self, text: str) -> int:
        self._status.clear()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
