"""Raw rows, each as the JSON text that is stored and the fields parsed from it, and rejected rows in a file.

Whatever a file's format, its rows become JSON text first and are parsed from that, so what is used is what is stored.
"""

import json
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nait_index.errors import CorpusError
from nait_index.files import atomic_write
from nait_index.types import Origin, Rejected, is_nothing

MAX_DEPTH = 100  # levels of nesting; the parser's own limit depends on the depth of the caller's stack
_JSON_NAMES = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}


class RowError(CorpusError):
    """A row cannot be used; the message is the reason, without the row's origin."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row of a file: a JSON object, as text and parsed."""

    origin: Origin
    text: str
    fields: dict[str, Any]


def parse_row(origin: Origin, line: bytes | str) -> RawRow | Rejected:
    """Parse one row from its JSON text, or reject it with the reason."""
    try:
        text = line if isinstance(line, str) else line.decode()
        return RawRow(origin, text, _parse_object(text))
    except UnicodeDecodeError as error:
        reason = f"not valid UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}"
    except RowError as error:
        reason = str(error)
    return Rejected(origin, reason, printable(line))


def to_json(value: object, default: Callable[[Any], Any] | None = None, *, indent: int | None = None) -> str:
    """Return JSON that can be written as UTF-8; characters are escaped only if there is a lone surrogate.

    NaN and infinity, which JSON does not have, are null in a list, and left out of an object.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, default=default, indent=indent, allow_nan=False)
    except ValueError:
        value = _finite(value)
        text = json.dumps(value, ensure_ascii=False, default=default, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=default, indent=indent)
    return text


def one_line(row: str) -> str:
    """Write a row, as JSON text, anew if it spans several lines, or holds NaN or infinity."""
    constants: list[str] = []
    if "NaN" in row or "Infinity" in row:
        json.loads(row, parse_constant=constants.append)
    return to_json(json.loads(row)) if constants or "\n" in row else row


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items() if not _is_no_number(inner)}
    if isinstance(value, list | tuple):
        return [None if _is_no_number(item) else _finite(item) for item in value]
    return value


def _is_no_number(value: object) -> bool:
    return value is not None and is_nothing(value)


def printable(text: bytes | str) -> str:
    """Return bytes, or text that Python decoded from undecodable bytes, as text that can be written as UTF-8."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "backslashreplace")
    try:
        return printable(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that encodes no byte
        return text.encode("utf-8", "backslashreplace").decode()


def json_kind(value: object) -> str:
    """Return the name of a parsed value's JSON type, for messages."""
    return _JSON_NAMES.get(type(value), "a number")


def refuse_surrogates(text: str, where: str) -> None:
    """Check that text is valid Unicode, which tokenizers and tables need.

    :raises RowError: it holds one half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{where} holds a lone surrogate (U+{ord(text[error.start]):04X})") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON, of which readers keep the last of several values with the same key.

    :raises RowError: a key occurs twice.
    """
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise RowError(f"an object has the key {reprlib.repr(repeated)} twice, and only one value can be read")
    return fields


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg} at column {error.colno}") from None
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise RowError("not usable JSON: an integer has too many digits") from None
    except RecursionError:
        raise RowError(f"nested more than {MAX_DEPTH} levels deep") from None
    if not isinstance(value, dict):
        raise RowError(f"a row must be a JSON object, this is {json_kind(value)}")
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return value
    raise RowError(f"nested more than {MAX_DEPTH} levels deep")


# ---- rejected.jsonl: the rows that could not be used, each with its origin and the reason ---------------------------


class RejectedWriter:
    """Writes rejected rows, one JSON object per line, and counts them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def add(self, rejected: Rejected) -> None:
        """Write one row."""
        origin = rejected.origin
        line = {"file": origin.file, "row": origin.row, "reason": rejected.reason, "content": rejected.row}
        self._file.write(to_json(line).encode() + b"\n")
        self.count += 1


@contextmanager
def rejected_writer(path: Path) -> Iterator[RejectedWriter]:
    """Open a writer whose file appears, whole, when the block ends without an error.

    :raises NaitError: the file cannot be written.
    """
    with atomic_write(path) as file:
        yield RejectedWriter(file)


def read_rejected(path: Path) -> Iterator[Rejected]:
    """Read what a :class:`RejectedWriter` wrote."""
    with path.open("rb") as lines:
        for line in lines:
            fields = json.loads(line)
            yield Rejected(Origin(fields["file"], fields["row"]), fields["reason"], fields["content"])
