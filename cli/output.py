"""How results look: tables for people, JSON for machines, notes on the error stream."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .terminal import columns, fold, pad, shorten, width_of

if TYPE_CHECKING:
    from nait_index.capabilities.capability import Capability

PREVIEW_ROWS = 20
_LEAST, _INDENT = 20, 4
"""Columns that the last one of a table needs, and how far in it begins where it goes below."""


def one_line(text: str) -> str:
    """Give text as one line that cannot steer the terminal: what is not printable becomes an escape."""
    return "".join(own if own.isprintable() else own.encode("unicode_escape").decode() for own in text)


def note(text: str) -> None:
    """Say something that is no data."""
    click.echo(one_line(text), err=True)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print one JSON value."""
    from nait_index.corpus import to_json

    # JSON itself escapes the control characters before the space, but not those that begin at DEL.
    click.echo(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", to_json(value, indent=indent)))


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: bool = False) -> None:
    """Print rows under a header, if it says anything.

    On a terminal the last column takes what is left of the line; where that is too little, it goes below, and where the
    others do not fit either, every cell gets a line of its own. Nothing is cut that is printed elsewhere.

    :param whole: break the last column into lines where it is too long, and do not cut it; so without a header.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(width_of(own) for own in column) for column in zip(header, *cells, strict=True)]
    room = columns()
    start = sum(widths[:-1]) + 2 * (len(widths) - 1)
    lines = [list(header), *cells] if any(header) else cells
    if room is None or start + min(widths[-1], _LEAST) <= room:
        for line in lines:
            begin = "".join(pad(own, width + 2) for own, width in zip(line[:-1], widths[:-1], strict=True))
            _print_last(begin, line[-1], start, room, whole or not any(header))
    elif any(header) and start - 2 <= room and widths[-1] > _LEAST:
        for line in lines:
            click.echo("  ".join(pad(own, width) for own, width in zip(line[:-1], widths[:-1], strict=True)).rstrip())
            _print_last(" " * _INDENT, line[-1], _INDENT, room, whole)
    else:
        _print_apart(header, cells, room, whole)


def _print_apart(header: Sequence[str], cells: Sequence[Sequence[str]], room: int, whole: bool) -> None:
    """Print every cell on a line of its own, after its title."""
    start = max(map(width_of, header))
    start += 2 if start else 0
    for number, line in enumerate(cells):
        if number and any(header):
            click.echo()
        for title, own in zip(header[:-1], line[:-1], strict=True):
            _print_last(pad(title, start), own, start, room, whole=True)
        _print_last(pad(header[-1], start), line[-1], start or _INDENT, room, whole or not any(header))


def _print_last(begin: str, text: str, start: int, room: int | None, whole: bool) -> None:
    """Print the end of a line that begins ``start`` columns in."""
    if room is None:
        parts = [text]
    elif whole:
        parts = fold(text, max(room - start, 1))
    else:
        parts = [shorten(text, room - start)]
    begin = begin or " " * start
    for part in parts:
        click.echo(f"{begin}{part}".rstrip())
        begin = " " * start


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print one thing's facts, a line each."""
    if as_json:
        print_json(facts)
    else:
        print_table(("", ""), [(name.replace("_", " "), value) for name, value in facts.items()])


def fidelity_text(fidelity: Mapping[str, Any] | None) -> str:
    """Say how faithful signatures are."""
    if fidelity is None:
        return "not measured"
    return ", ".join(f"{fidelity[method][1]:.1%} ({method})" for method in ("probe", "nait"))


def rejected_text(own: "Capability") -> str:
    """Say how many examples could not be used, and why the first could not."""
    first = f" ({own.reasons[0]})" if own.reasons else ""
    return f", {own.rejected} rejected{first}" if own.rejected else ""


def preview(row: str) -> str:
    """Give the beginning of what a row says, on one line."""
    return " ".join(_texts(json.loads(row)))[:500]


def _texts(value: object) -> Iterable[str]:
    """Give the text in a row: of its known fields first, of any otherwise."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        known = ("system", "instruction", "input", "prompt", "messages", "conversations", "conversation", "text")
        spoken = [value[key] for key in (*known, "completion", "output", "content", "value") if value.get(key)]
        yield from _texts(spoken or list(value.values()))


def _cell(value: Any) -> str:  # noqa: ANN401
    text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    # Rows come from anywhere: what is not printable could steer the terminal.
    return "".join(own if own.isprintable() else " " for own in text)
