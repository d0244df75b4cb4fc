"""One raw row: its JSON text, which is kept, and the fields read from that text, which are used.

Whatever a file's format, its rows become JSON text first and are parsed from there, so what is used is what is kept.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nait_index.errors import CorpusError
from nait_index.types import Origin, Rejected

MAX_DEPTH = 100  # levels of nesting; the parser's own limit depends on how deep the caller's stack already is
_JSON_NAMES = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}


class RowError(CorpusError):
    """One row cannot be used; the message is the reason, without the row's place."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it lies in its file: a JSON object as text, and parsed."""

    origin: Origin
    text: str
    fields: dict[str, Any]


def parse_row(origin: Origin, line: bytes | str) -> RawRow | Rejected:
    """Read one row from its JSON text; what cannot be read is rejected with the reason."""
    try:
        text = line if isinstance(line, str) else _decode(line)
        return RawRow(origin, text, _parse_object(text))
    except RowError as error:
        return Rejected(origin, str(error), printable(line))


def to_json(value: object, default: Callable[[Any], Any] | None = None, *, indent: int | None = None) -> str:
    """JSON text that can be written as UTF-8: readable, with ASCII escapes only where a lone surrogate needs them."""
    text = json.dumps(value, ensure_ascii=False, default=default, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=default, indent=indent)
    return text


def printable(text: bytes | str) -> str:
    """Any bytes, and any text Python made of undecodable bytes, as text that can be written as UTF-8."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "backslashreplace")
    try:
        return printable(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def json_kind(value: object) -> str:
    """Name the JSON type of a parsed value, for messages."""
    return _JSON_NAMES.get(type(value), "a number")


def refuse_surrogates(text: str, where: str) -> None:
    """Check that text is whole Unicode, which tokenizers and tables need.

    :raises RowError: it holds one half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{where} holds a lone surrogate (U+{ord(text[error.start]):04X})") from None


def _decode(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise RowError(f"not valid UTF-8: byte 0x{line[error.start]:02x} at position {error.start}") from None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at column {error.colno}") from None
    except ValueError:  # Python refuses to read integers of more than some thousand digits
        raise RowError("not usable JSON: an integer has too many digits") from None
    except RecursionError:
        raise RowError(f"nested more than {MAX_DEPTH} levels deep") from None
    if not isinstance(value, dict):
        raise RowError(f"a row must be a JSON object, this is {json_kind(value)}")
    if _deeper_than(value, MAX_DEPTH):
        raise RowError(f"nested more than {MAX_DEPTH} levels deep")
    return value


def _deeper_than(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        nodes = [node for node in level if isinstance(node, dict | list)]
        level = [child for node in nodes for child in (node.values() if isinstance(node, dict) else node)]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)
