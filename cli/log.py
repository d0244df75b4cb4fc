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
    from rich.live import Live

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
    try:
        _LOG.addHandler(_Lines(logging.WARNING, "%(message)s"))
        _LOG.addHandler(heartbeat)
        _LOG.setLevel(logging.DEBUG)
        if isinstance(heartbeat, StatusLine):
            sys.stdout, sys.stderr = (_guarded(stream, heartbeat) for stream in streams)
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
    before = _LOG.level
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

    context.find_root().call_on_close(hush)


@contextmanager
def without_log() -> Iterator["Heartbeat | None"]:
    """Keep the log out of the heartbeat or status line, which is yielded, if there is one: another text is shown."""
    heartbeat = next((handler for handler in _LOG.handlers if isinstance(handler, Heartbeat)), None)
    if heartbeat is None:
        yield None
        return
    heartbeat.takes_log = False
    heartbeat.pause()
    try:
        yield heartbeat
    finally:
        heartbeat.pause()
        heartbeat.takes_log = True


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
        self.text, self.takes_log = "", True
        self._last = time.monotonic()  # when something was printed
        self._over = threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take the text of a record, unless something else is shown at present."""
        if self.takes_log and record.thread == threading.main_thread().ident:
            self.text = one_line(record.getMessage())

    def pause(self) -> None:
        """Show nothing until there is another text."""
        self.text = ""

    def close(self) -> None:
        """Show nothing any more."""
        self._over.set()
        self.pause()
        super().close()

    def beat(self) -> None:
        """Print the text if nothing was printed for half a minute."""
        now = time.monotonic()
        if self.text and now - self._last >= _PERIOD:
            self._last = now
            click.echo(self.text, err=True)

    def _run(self) -> None:
        while not self._over.wait(self.tick):
            try:
                self.beat()
            except (OSError, ValueError):  # the stream is gone
                return


class StatusLine(Heartbeat):
    """Shows the last record on the last line of a terminal, with the seconds since the last output.

    It appears once there has been no output for a moment, and is gone before there is any.
    """

    tick = 0.2

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._drawing = stream, threading.RLock()
        self._live: Live | None = None
        super().__init__()

    def beat(self) -> None:
        """Draw the line."""
        from rich.live import Live
        from rich.text import Text

        with self._drawing:
            seconds = time.monotonic() - self._last
            if not self.text or seconds <= _SILENT:
                return
            if self._live is None:
                self._live = Live(
                    console=console_on(self._stream),
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()
            self._live.update(Text(f"{self.text} … {seconds:.0f} s", no_wrap=True, overflow="ellipsis"), refresh=True)

    def pause(self) -> None:
        """Remove the line."""
        with self._drawing:
            self.text, self._last = "", time.monotonic()
            if self._live is not None:
                with suppress(OSError, ValueError):  # the stream is gone
                    self._live.stop()
                self._live = None


class _Guarded:
    """A terminal stream that removes the status line before anything is written to it."""

    def __init__(self, stream: TextIO, status: StatusLine) -> None:
        self._stream, self._status = stream, status

    def write(self, text: str) -> int:
        self._status.pause()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _guarded(stream: TextIO, status: StatusLine) -> TextIO:
    return cast(TextIO, _Guarded(stream, status)) if stream.isatty() else stream
