"""The docstrings of this project as pages need them: one field a line, and the values of enums."""

import re
from typing import Any

import griffe

_FIELD = re.compile(r"[;.,]?\s+(?=:(?:param \w+|raises \w+|returns):)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class OneALine(griffe.Extension):
    """Makes docstrings what the parser of fields and the reader of a page expect."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:  # noqa: ANN401
        """Say what values an enum has."""
        if cls.docstring and any(str(base).endswith("Enum") for base in cls.bases):
            values = [str(own.value).strip("'\"") for own in cls.attributes.values()]
            cls.docstring.value += "\n\nOne of " + ", ".join(f"`{own}`" for own in values) + "."

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401
        """Put every field on a line of its own, and make code of what refers to other objects."""
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            head, found, fields = text.partition("\n\n:")
            obj.docstring.value = head + found + _FIELD.sub("\n", fields)
