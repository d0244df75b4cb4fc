"""The format of a demo row, and how to make one of a request and its material."""

from typing import TypedDict


class Row(TypedDict):
    """One instruction-tuning row in Alpaca format; ``input`` may be empty."""

    instruction: str
    input: str
    output: str


def fill(template: str, **fields: str) -> str:
    """Replace ``{name}`` marks by fields; other braces, as in code or JSON, are left alone.

    :param template: text with ``{name}`` marks.
    :param fields: what to put in place of each mark.
    """
    for name, value in fields.items():
        template = template.replace("{" + name + "}", value)
    return template


def compose(ask: str, text: str, output: str) -> Row:
    """Make a row. The text replaces the ``{text}`` mark of the request; without a mark it becomes the ``input``.

    :param ask: the request.
    :param text: the material that the request is about.
    :param output: the answer.
    """
    if "{text}" in ask:
        return Row(instruction=fill(ask, text=text), input="", output=output)
    return Row(instruction=ask, input=text, output=output)
