"""Sealed JSON: an object that holds a hash of itself, so that a damaged or edited one is noticed when it is read.

What a seal cannot show is who wrote it, so that the types of fields are checked as well (:func:`check_types`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from nait_index.files import atomic_write, hash_bytes

_SEAL = "seal"


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with one more field, the hash of all others whatever their order."""
    return {**record, _SEAL: hash_bytes(json.dumps(record, sort_keys=True).encode())}


def unseal(sealed: object) -> dict[str, Any]:
    """Return a record without its seal.

    :raises ValueError: it has none, or its content does not match it.
    """
    record = {name: value for name, value in sealed.items() if name != _SEAL} if isinstance(sealed, dict) else {}
    if sealed != seal(record):
        raise ValueError("its seal does not match its content")
    return record


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write a sealed record on this machine, whole or not at all.

    :raises NaitError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(seal(record)).encode())


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Read what :func:`write_sealed` wrote; ``None`` if it is missing or damaged, for files that can be made again."""
    try:
        return unseal(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def check_types(record: object) -> None:
    """Check that the fields of a dataclass read from a file have the types they are declared with.

    :raises TypeError: one does not.
    """
    for name, declared in get_type_hints(type(record)).items():
        if not _has_type(getattr(record, name), declared):
            raise TypeError(f"{name} is {getattr(record, name)!r:.40}")


def _has_type(value: object, declared: Any) -> bool:  # noqa: ANN401
    origin, inner = get_origin(declared), get_args(declared)
    if declared is Any:
        return True
    if origin is UnionType:
        return any(_has_type(value, option) for option in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_has_type(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            isinstance(key, inner[0]) and _has_type(item, inner[1]) for key, item in value.items()
        )
    return isinstance(value, declared) and (declared is bool or not isinstance(value, bool))
