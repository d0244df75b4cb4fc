"""The docstrings of this project put several fields on one line; their parser wants one a line."""

import re
from typing import Any

import griffe

_FIELD = re.compile(r"[;.,]?\s+(?=:(?:param \w+|raises \w+|returns):)")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


class OneALine(griffe.Extension):
    """Puts every field on a line of its own, and makes code of what refers to other objects."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401
        """Change the docstring of one object."""
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            head, found, fields = text.partition("\n\n:")
            obj.docstring.value = head + found + _FIELD.sub("\n", fields)
