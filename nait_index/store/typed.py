"""Whether what was read from a file is of the types that its fields are declared to have."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def check_types(own: object) -> None:
    """Check that fields hold what they are declared to: whoever made the file can have written anything.

    :raises TypeError: one does not.
    """
    for name, declared in get_type_hints(type(own)).items():
        if not _is_of(getattr(own, name), declared):
            raise TypeError(f"{name} is {getattr(own, name)!r:.40}")


def _is_of(value: object, declared: Any) -> bool:  # noqa: ANN401
    kind, inner = get_origin(declared), get_args(declared)
    if declared is Any:
        return True
    if kind is UnionType:
        return any(_is_of(value, own) for own in inner)
    if kind is tuple:
        return isinstance(value, tuple) and all(_is_of(own, inner[0]) for own in value)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(
            isinstance(key, inner[0]) and _is_of(own, inner[1]) for key, own in value.items()
        )
    return isinstance(value, declared) and (declared is bool or not isinstance(value, bool))
