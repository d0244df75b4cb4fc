"""What a command shows of its work on the error stream, as its parts log it.

A terminal shows the last record as a status line, once the command has been silent for a moment; in a pipe, the last
record is printed every half minute. With -v, all records are printed. Warnings always are.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

import click

from .output import console_on, is_live, one_line

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_LOG = logging.getLogger("nait_index")
_SILENT = 0.7
"""Seconds of silence after which a terminal shows what is going on."""
_PERIOD = 30.0
"""Seconds between two lines in a pipe."""
_TICK = 1.0
"""Seconds after which a pipe's clock is looked at again."""


@contextmanager
def speaking() -> Iterator[None]:
    """Show the package's log while a command runs."""
    handlers, level, streams = _LOG.handlers[:], _LOG.level, (sys.stdout, sys.stderr)
    news = StatusLine(sys.stderr) if is_live(sys.stderr) else Heartbeat()
    try:
        _LOG.addHandler(_Lines(logging.WARNING, "%(message)s"))
        _LOG.addHandler(news)
        _LOG.setLevel(logging.DEBUG)
        if isinstance(news, StatusLine):
            sys.stdout, sys.stderr = (_guarded(stream, news) for stream in streams)
        yield
    finally:
        news.close()
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
def without_news() -> Iterator["Heartbeat | None"]:
    """Keep the log out of the status line, for a bar, and out of the heartbeat, which is yielded, if there is one."""
    handlers = [handler for handler in _LOG.handlers if isinstance(handler, _News)]
    for handler in handlers:
        handler.pause()
        handler.takes_log = False
    try:
        yield next((handler for handler in handlers if isinstance(handler, Heartbeat)), None)
    finally:
        for handler in handlers:
            handler.pause()
            handler.takes_log = True


class _Lines(logging.Handler):
    """Prints every record on a line."""

    def __init__(self, level: int, form: str) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(form))

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(one_line(self.format(record)), err=True)


class _News(logging.Handler):
    """Holds the last record of the main thread; those of others, such as a server's, are not what a user waits for."""

    takes_log = True
    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        if self.takes_log and record.thread == threading.main_thread().ident:
            self.show(one_line(record.getMessage()))

    def show(self, text: str) -> None:
        """Replace the text."""
        self.text = text

    def pause(self) -> None:
        """Show nothing until there is another text."""
        self.text = ""


class StatusLine(_News):
    """Shows the last record on the last line of a terminal, with the seconds since the last output.

    Another output removes it; the next record brings it back.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.DEBUG)
        self._stream = stream
        self._live: Live | None = None
        self._since = time.monotonic()

    def show(self, text: str) -> None:
        """Replace the text, and show it once there has been no output for a moment."""
        self.text = text
        if self._live is None:
            from rich.live import Live

            self._live = Live(
                console=console_on(self._stream), get_renderable=self._render, transient=True, refresh_per_second=5,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
        self._live.start()

    def pause(self) -> None:
        """Remove the line."""
        self.text, self._since = "", time.monotonic()
        if self._live is not None:
            self._live.stop()

    def close(self) -> None:
        """Remove the line for good."""
        self.takes_log = False
        self.pause()
        super().close()

    def _render(self) -> "Text":
        from rich.text import Text

        seconds = time.monotonic() - self._since
        shown = f"{self.text} … {seconds:.0f} s" if self.text and seconds > _SILENT else ""
        return Text(shown, no_wrap=True, overflow="ellipsis")


class Heartbeat(_News):
    """Prints the last text every half minute, so that a long command is not silent in the log of a pipe."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._printed = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def close(self) -> None:
        """Print nothing any more."""
        self._over.set()
        super().close()

    def beat(self) -> None:
        """Print the text if the last line was printed half a minute ago."""
        now = time.monotonic()
        if self.text and now - self._printed >= _PERIOD:
            self._printed = now
            click.echo(self.text, err=True)

    def _run(self) -> None:
        while not self._over.wait(_TICK):
            try:
                self.beat()
            except (OSError, ValueError):  # nobody reads any more
                return


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
