"""Images, video and audio of a row, which no text model reads: the row is rejected, or only its text is read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_KINDS = {
    name: kind
    for kind, names in {
        "images": "image images img imgs photo photos picture pictures screenshot screenshots".split(),
        "video": ("video", "videos"),
        "audio": ("audio", "audios"),
    }.items()
    for name in names
}
_HOLDERS = frozenset("base64 bytes file filename files path paths uri url urls".split())
"""Words beside a kind in the names of columns that hold it, as in ``image_path``."""
_TURN_NAMES = frozenset(("role", "from", "human", "assistant"))
"""Keys that tell a turn from other objects in a list, such as sources, which nobody reads."""
_KEPT_NAMES = 1024  # names of columns: most rows have those of the row before
_REMEDY = "'--media text' reads that alone"
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BETWEEN_WORDS = re.compile(r"[-_. ]+")


@dataclass(frozen=True, slots=True)
class CarriedMedia:
    """What a row carries besides text: why it cannot be read whole, and whether it holds the bytes themselves."""

    reason: str
    in_bytes: bool = False


def carried_media(row: Mapping[str, Any]) -> CarriedMedia | None:
    """Return what images, video or audio a row carries; ``None`` if it carries none.

    They may be in a column of the row (a path, an address, bytes, or a list of these), which ``<image>`` and the like
    in the text stand for, or among the pieces of a turn's content.
    """
    columns = media_columns(row)
    for name, kind in columns.items():
        if any(file["bytes"] for file in _files(row[name])):
            remedy = "which an index does not keep; name their paths instead"
            return CarriedMedia(f"carries {kind} as bytes in the field {name!r}, {remedy}", in_bytes=True)
    for name, kind in columns.items():
        return CarriedMedia(f"carries {kind} in the field {name!r}, and only text is read; {_REMEDY}")
    for name, turn in _turns(row):
        for column, kind in media_columns(turn).items():
            reason = f"carries {kind} in the field {column!r} of a turn, and only text is read; {_REMEDY}"
            return CarriedMedia(reason)
        for kind in filter(None, map(media_of_piece, _pieces(turn))):
            return CarriedMedia(f"carries {kind} in the content of {name!r}, and only text is read; {_REMEDY}")
    return None


def media_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the columns that hold images, video or audio, each with its kind."""
    return {name: kind for name, value in row.items() if (kind := _kind_of_column(name, value))}


def _files(value: object) -> list[dict[str, Any]]:
    """Return the files, by their bytes or path, of which a value in a table of ``datasets`` is made."""
    values = value if isinstance(value, list) else [value]
    files = (item for item in values if isinstance(item, dict) and "bytes" in item and item.keys() <= {"bytes", "path"})
    return [file for file in files if any(file.values())]


def _kind_of_column(name: str, value: object) -> str | None:
    if isinstance(value, str):
        return _kind_of_name(name) if value else None
    if not isinstance(value, dict | list):
        return None
    if _files(value):
        return _kind_of_name(name) or "images or the like"
    values = value if isinstance(value, list) else [value]
    held = (item for item in values if isinstance(item, str | dict | list) and item)
    return _kind_of_name(name) if any(not isinstance(item, dict) or any(item.values()) for item in held) else None


@lru_cache(_KEPT_NAMES)
def _kind_of_name(name: str) -> str | None:
    words = _BETWEEN_WORDS.split(_CAMEL.sub("_", name).lower())
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    others = [word for word in words if word not in _KINDS]
    return kinds[0] if kinds and all(word in _HOLDERS or word.isdecimal() for word in others) else None


def _turns(row: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the turns in all columns, each with the column's name; of two answers, each may be a turn by itself."""
    for name, value in row.items():
        is_turn = name in ("chosen", "rejected") and isinstance(value, dict)
        for turn in _objects([value] if is_turn else value):
            if not _TURN_NAMES.isdisjoint(turn):
                yield name, turn


def _pieces(turn: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("content", "value"):
        yield from _objects(turn.get(key))


def _objects(values: object) -> Iterable[Mapping[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else ()


def media_of_piece(piece: Mapping[str, Any]) -> str | None:
    """Return the kind of media that a piece of a turn's content is; ``None`` for text and the like."""
    kind = piece.get("type")
    words = _BETWEEN_WORDS.split(kind.lower()) if isinstance(kind, str) else []
    return next((_KINDS[word] for word in words if word in _KINDS), None)
