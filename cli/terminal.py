"""What a stream can show: whether it is a terminal, how wide, in colour or not, and how wide text is there."""

import os
import sys
import unicodedata
from typing import TextIO

_USUAL = 80
"""Columns of a terminal that does not say how many it has."""


def is_live(stream: TextIO) -> bool:
    """Tell whether what is written there can be drawn over again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool | None:
    """Give whether to print in colour, as the environment says; ``None`` leaves it to the stream.

    ``NO_COLOR`` (https://no-color.org) counts for more than ``FORCE_COLOR``.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def columns() -> int | None:
    """Give the width of the terminal that data is printed on; ``None`` where it goes elsewhere."""
    return columns_of(sys.stdout) if sys.stdout.isatty() else None


def columns_of(stream: TextIO) -> int:
    """Give the width of a terminal."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return max(1, int(os.environ["COLUMNS"]))
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    except (OSError, ValueError):
        return _USUAL


def width_of(text: str) -> int:
    """Give how many columns printable text takes: two for a wide letter or an emoji, none for a combining mark."""
    return len(text) if text.isascii() else sum(map(_width, text))


def pad(text: str, width: int) -> str:
    """Fill text up with spaces."""
    return text + " " * max(0, width - width_of(text))


def shorten(text: str, width: int) -> str:
    """Cut text to so many columns, with a sign that it was cut."""
    return text if width_of(text) <= width else text[: _fitting(text, width - 1)] + "…"


def fold(text: str, width: int) -> list[str]:
    """Break text between words into lines of so many columns; a longer word, such as a path, stays whole."""
    lines = [""]
    for word in text.split(" "):
        if not lines[-1]:
            lines[-1] = word
        elif width_of(lines[-1]) + 1 + width_of(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fitting(text: str, width: int) -> int:
    """Give how many characters fit into so many columns, a letter's marks included."""
    taken = 0
    for at, own in enumerate(text):
        taken += _width(own)
        if taken > width:
            return at
    return len(text)


def _width(own: str) -> int:
    if unicodedata.category(own) in ("Mn", "Me", "Cf") or "\u1160" <= own <= "\u11ff":  # the latter: parts of Hangul
        return 0
    return 2 if unicodedata.east_asian_width(own) in "WF" else 1
