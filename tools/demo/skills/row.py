"""The shape of a demo row, and how a request and its material become one."""

from typing import TypedDict


class Row(TypedDict):
    """One instruction-tuning row in Alpaca format; ``input`` may be empty."""

    instruction: str
    input: str
    output: str


def fill(template: str, **fields: str) -> str:
    """Put fields in the place of their ``{name}``; other braces, as in code or JSON, stay as they are.

    :param template: text with ``{name}`` marks.
    :param fields: what to put in place of each mark.
    """
    for name, value in fields.items():
        template = template.replace("{" + name + "}", value)
    return template


def compose(ask: str, text: str, output: str) -> Row:
    """Make a row; the ask decides where the text goes: in place of its ``{text}`` mark, else into ``input``.

    :param ask: the request.
    :param text: the material that the request is about.
    :param output: the answer.
    """
    if "{text}" in ask:
        return Row(instruction=fill(ask, text=text), input="", output=output)
    return Row(instruction=ask, input=text, output=output)
