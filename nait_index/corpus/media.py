"""Images, video and audio of a row, which no text model reads: a row that carries any is rejected, never half read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_KINDS = {
    name: kind
    for kind, names in {
        "images": ("image", "images", "img", "imgs"),
        "video": ("video", "videos"),
        "audio": ("audio", "audios"),
    }.items()
    for name in names
}
_HOLDERS = frozenset("base64 bytes file filename files path paths uri url urls".split())
"""Words beside a kind in the names of columns that hold it, as in ``image_path``."""
_TURNS = ("messages", "conversations", "conversation", "prompt", "completion")
_BETWEEN_WORDS = re.compile(r"[-_. ]+")


def carried_media(row: Mapping[str, Any]) -> str | None:
    """Return why a row cannot be read whole: it carries images, video or audio; ``None`` if it carries none.

    They may be in a column of the row (a path, an address, bytes, or a list of these), which ``<image>`` and the like
    in the text stand for, or among the pieces of a turn's content.
    """
    for name, value in row.items():
        kind = _kind_of_column(name, value)
        if kind is not None:
            return f"carries {kind} in the field {name!r}, and only text is read; remove it to use the text alone"
    for name in _TURNS:
        kind = next((kind for piece in _pieces(row.get(name)) if (kind := _kind_of_piece(piece))), None)
        if kind is not None:
            return f"carries {kind} in the content of {name!r}, and only text is read; remove it to use the text alone"
    return None


def _kind_of_column(name: str, value: object) -> str | None:
    values = value if isinstance(value, list) else [value]
    files = [item for item in values if isinstance(item, dict) and "bytes" in item and item.keys() <= {"bytes", "path"}]
    if any(any(file.values()) for file in files):
        return _kind_of_name(name) or "images or the like"
    held = any(item for item in values if isinstance(item, str | dict | list) and item not in files)
    return _kind_of_name(name) if held else None


def _kind_of_name(name: str) -> str | None:
    words = _BETWEEN_WORDS.split(name.lower())
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    others = [word for word in words if word not in _KINDS]
    return kinds[0] if kinds and all(word in _HOLDERS or word.isdecimal() for word in others) else None


def _pieces(turns: object) -> Iterator[Mapping[str, Any]]:
    for turn in _objects(turns):
        for key in ("content", "value"):
            yield from _objects(turn.get(key))


def _objects(values: object) -> Iterable[Mapping[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else ()


def _kind_of_piece(piece: Mapping[str, Any]) -> str | None:
    kind = piece.get("type")
    words = _BETWEEN_WORDS.split(kind.lower()) if isinstance(kind, str) else []
    return next((_KINDS[word] for word in words if word in _KINDS), None)
