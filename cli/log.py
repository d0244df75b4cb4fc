"""What is said of the work while it goes on: the package's log, with -v as lines, else as one that comes and goes.

A terminal shows the last thing that the log said as soon as a command has been silent for a moment, with the seconds
since then. It is gone before anything else is printed. On a pipe nothing is shown, and warnings always are.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

import click

from .output import one_line
from .terminal import columns_of, is_live, pad, shorten, wants_color, width_of

_LOG = logging.getLogger("nait_index")
_SILENT = 0.7
"""Seconds after which a terminal is told what is going on."""
_TICK = 0.2


@contextmanager
def speaking() -> Iterator[None]:
    """Listen to the package's log while a command runs."""
    handlers, level, streams = _LOG.handlers[:], _LOG.level, (sys.stdout, sys.stderr)
    status = StatusLine(sys.stderr) if is_live(sys.stderr) else None
    try:
        _LOG.addHandler(_Lines(logging.WARNING, "%(message)s"))
        if status is not None:
            _LOG.addHandler(status)
            _LOG.setLevel(logging.DEBUG)
            sys.stdout, sys.stderr = (_guarded(own, status) for own in streams)
        yield
    finally:
        if status is not None:
            status.close()
        sys.stdout, sys.stderr = streams
        _LOG.handlers[:] = handlers
        _LOG.setLevel(level)


def speak_up(context: click.Context, _: click.Parameter, count: int) -> None:
    """Print the log on the error stream until the command is done: its main stages, of a count of two everything."""
    if not count or context.resilient_parsing:
        return
    root, before = context.find_root(), _LOG.level
    lines = _Lines(logging.INFO if count == 1 else logging.DEBUG, "%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for other in _LOG.handlers[:]:
        if isinstance(other, StatusLine | _Lines):
            other.close()
            _LOG.removeHandler(other)
    _LOG.addHandler(lines)
    _LOG.setLevel(lines.level)

    def hush() -> None:
        _LOG.removeHandler(lines)
        _LOG.setLevel(before)

    root.call_on_close(hush)


@contextmanager
def without_status() -> Iterator[None]:
    """Leave the last line of the terminal to somebody else, such as a bar."""
    found = [own for own in _LOG.handlers if isinstance(own, StatusLine)]
    for own in found:
        own.hide(True)
    try:
        yield
    finally:
        for own in found:
            own.hide(False)


class _Lines(logging.Handler):
    """Prints what is logged, a line each."""

    def __init__(self, level: int, form: str) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        begin = "\r" if is_live(sys.stderr) else ""  # over a bar, which is drawn again
        line = one_line(self.format(record))
        click.echo(begin + (pad(line, columns_of(sys.stderr) - 1) if begin else line), err=True)


class StatusLine(logging.Handler):
    """Shows on a terminal what was logged last. Draws with blanks and carriage returns alone: no escape codes."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.DEBUG)
        self._stream = stream
        self._drawing = threading.RLock()
        self._text, self._drawn, self._hidden = "", 0, False
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take what to show next; what other threads do, such as those of a server, nobody waits for here."""
        if record.thread == threading.main_thread().ident:
            self._text = one_line(record.getMessage())

    def forget(self) -> None:
        """Make way for what is printed now."""
        with self._drawing:
            self._wipe()
            self._text, self._since = "", time.monotonic()

    def hide(self, hidden: bool) -> None:
        """Show nothing, or go on with it."""
        with self._drawing:
            self.forget()
            self._hidden = hidden

    def close(self) -> None:
        """Be gone."""
        self._over.set()
        self.hide(True)
        super().close()

    def _run(self) -> None:
        while not self._over.wait(_TICK):
            with self._drawing:
                seconds = time.monotonic() - self._since
                if self._text and not self._hidden and seconds > _SILENT:
                    self._draw(f"{self._text} … {seconds:.0f} s")

    def _draw(self, text: str) -> None:
        text = shorten(text, columns_of(self._stream) - 1)
        self._put("\r" + pad(text, self._drawn))
        self._drawn = width_of(text)

    def _wipe(self) -> None:
        if self._drawn:
            self._put("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._over.set()


class _Guarded:
    """A stream that the status line makes way for."""

    def __init__(self, stream: TextIO, status: StatusLine) -> None:
        self._stream, self._status = stream, status

    def write(self, text: str) -> int:
        self._status.forget()
        # The bars of click hide and show the cursor whatever was said about colours.
        return self._stream.write(click.unstyle(text) if wants_color() is False else text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _guarded(stream: TextIO, status: StatusLine) -> TextIO:
    return cast(TextIO, _Guarded(stream, status)) if stream.isatty() else stream
