"""How results look: tables for people, JSON for machines, notes on the error stream."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

PREVIEW_ROWS = 20


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


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows under a header, if it says anything; the last column takes what the terminal leaves."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(own) for own in column) for column in zip(header, *cells, strict=True)]
    room = max(20, shutil.get_terminal_size((100, 24)).columns - sum(widths[:-1]) - 2 * (len(widths) - 1))
    for line in [list(header), *cells] if any(header) else cells:
        start = "  ".join(own.ljust(width) for own, width in zip(line[:-1], widths[:-1], strict=True))
        click.echo(f"{start}  {_shorten(line[-1], room)}".rstrip())


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


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
