"""How results are printed: tables for people, JSON for machines, notes on the error stream.

Text of rows is shown as it is: rich never interprets it as markup, and no control character reaches the terminal.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

if TYPE_CHECKING:
    from rich.console import Console

    from nait_index.capabilities.capability import Capability
    from nait_index.selection.selection import Selection
    from nait_index.types import Reading

PREVIEW_ROWS = 20
_GAP = 2
"""Spaces between the columns of a table."""
_PREVIEWED = 5000
"""Characters of each text that a preview looks at, most of which may be spaces; a row can hold gigabytes."""
_LEAST = 20
"""Least width of a table's last column, in columns of the terminal."""


class LossyErrorStream:
    """The error stream: what cannot be written to it, as when its reader is gone, stops no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if that is possible."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def open_closed_streams() -> None:
    """Open the standard streams that this process was started without, and let no error stream stop its work.

    A stream that stays closed would lend its number to the next file that is opened, such as one of the index, and
    whatever a library prints would end up in there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    sys.stderr = cast(TextIO, LossyErrorStream(sys.stderr))


def is_live(stream: TextIO) -> bool:
    """Return whether what is written to a stream can be drawn over again."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def wants_color() -> bool | None:
    """Return whether the environment asks for colour; ``None`` leaves it to the stream.

    ``NO_COLOR`` (https://no-color.org) takes precedence over ``FORCE_COLOR``.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def console_on(stream: TextIO) -> "Console":
    """Return a console that draws on a stream: no markup, no highlighting, and colour only where it is wanted."""
    from rich.console import Console

    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        color_system={None: "auto", False: None, True: "standard"}[wants_color()],
        no_color=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def columns() -> int | None:
    """Return the width of the terminal that data is printed on, or ``None`` if data goes elsewhere."""
    return max(console_on(sys.stdout).width, _LEAST) if sys.stdout.isatty() else None


def one_line(text: str) -> str:
    """Return text as one line that cannot control the terminal, with non-printable characters escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def note(text: str) -> None:
    """Print a line that is not data on the error stream."""
    click.echo(one_line(text), err=True)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print one JSON value."""
    from nait_index.corpus import to_json

    # JSON itself escapes the control characters before the space, but not those that begin at DEL.
    click.echo(re.sub("[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", to_json(value, indent=indent)))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: bool = False) -> None:
    """Print rows under a header, or two columns without one, which is then left out.

    In a pipe, every cell is printed in full. On a terminal, the last column takes the rest of the line; if that is too
    narrow, every cell gets a line of its own, after its title.

    :param whole: fold the last column instead of cutting it; always so without a header.
    """
    from rich.table import Table
    from rich.text import Text

    titles, cells = [Text(title) for title in header], [[Text(_cell(value)) for value in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(titles, *cells, strict=True)]
    taken = sum(widths[:-1]) + _GAP * len(widths[:-1])
    room = columns() or taken + widths[-1]
    if any(header) and not whole:
        for *_, last in cells:
            last.no_wrap, last.overflow = True, "ellipsis"
    lines, firm = cells, 0  # the first columns are firm: they keep their widths
    if any(header) and taken + min(widths[-1], _LEAST) <= room:
        lines, firm = [titles, *cells], len(header) - 1
    elif any(header):
        lines = [[*pair] for row in cells for pair in (*zip(titles, row, strict=True), (Text(), Text()))][:-1]
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for number in range(firm + 1 if firm else 2):
        table.add_column(no_wrap=number < firm, overflow="fold")
    for line in lines:
        table.add_row(*line)
    console = console_on(sys.stdout)
    console.width = room
    with console.capture() as capture:
        console.print(table)
    for drawn in capture.get().splitlines():
        click.echo(drawn.rstrip())


def print_selection(selection: "Selection", count: int) -> None:
    """Print the first rows of a selection."""
    shown = [name for name, values in selection.details.items() if not any(isinstance(value, dict) for value in values)]
    names = ("rank", "score", *shown, "id")
    rows = zip(selection.records()[:count], selection.rows(count), strict=True)
    print_table(
        (*names, "row"),
        [(*(record[name] for name in names), preview(row, selection.reading)) for record, row in rows],
    )


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print named facts, one per line."""
    if as_json:
        print_json(facts)
    else:
        print_table(("", ""), [(name.replace("_", " "), value) for name, value in facts.items()])


def counted(count: int, noun: str) -> str:
    """Write a count with its noun, in the singular for one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def fidelity_text(fidelity: Mapping[str, Any] | None) -> str:
    """Describe how faithful the signatures are."""
    if fidelity is None:
        return "not measured"
    return ", ".join(f"{fidelity[method][1]:.1%} ({method})" for method in ("probe", "nait"))


def rejected_text(capability: "Capability") -> str:
    """Describe how many examples have no answer or could not be used, and why the first could not."""
    questions = f", {capability.questions} without an answer" if capability.questions else ""
    first = f" ({capability.reasons[0]})" if capability.reasons else ""
    return questions + (f", {capability.rejected} rejected{first}" if capability.rejected else "")


def preview(row: str, reading: "Reading | None" = None) -> str:
    """Return the beginning of a row's text, on one line: what a model reads of it, but not the definitions of tools.

    :param reading: how the index reads rows; as usual, if nothing else is known.
    """
    from nait_index.corpus import parts_of
    from nait_index.errors import CorpusError
    from nait_index.types import DEFAULT_READING, Role

    fields = json.loads(row)
    try:
        texts = [
            part.text for part in parts_of(fields, (reading or DEFAULT_READING).whole) if part.role is not Role.TOOLS
        ]
    except CorpusError:
        texts = []
    beginnings = (text[:_PREVIEWED] for text in texts or _texts(fields))
    return " ".join(" ".join(beginnings).split())[:500]


def _texts(value: object) -> Iterable[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    # Rows come from anywhere: characters that are not printable could control the terminal.
    return "".join(char if char.isprintable() else " " for char in text)
