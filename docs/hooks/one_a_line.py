"""Docstrings prepared for the reference pages: one field per line, and the values of enums."""

import re
from typing import Any

import griffe

_FIELD = re.compile(r"[;.,]?\s+(?=:(?:param \w+|raises \w+|returns):)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class OneALine(griffe.Extension):
    """Rewrites docstrings for the parser of fields and for readers of the page."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:  # noqa: ANN401
        """Add the values of an enum to its docstring."""
        if cls.docstring and any(str(base).endswith("Enum") for base in cls.bases):
            values = [str(member.value).strip("'\"") for member in cls.attributes.values()]
            cls.docstring.value += "\n\nOne of " + ", ".join(f"`{value}`" for value in values) + "."

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401
        """Put every field on a line of its own, and turn references to other objects into code."""
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            head, separator, fields = text.partition("\n\n:")
            obj.docstring.value = head + separator + _FIELD.sub("\n", fields)
