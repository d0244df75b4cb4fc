"""Docstrings of modules as text: ``<!-- docstring: nait_index.methods.nait -->``."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_PLACE = re.compile(r"<!-- docstring: (\S+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Insert every docstring that a page names."""
    return _PLACE.sub(lambda match: as_markdown(docstring(match[1])), markdown)


def docstring(module: str) -> str:
    """Read a module's docstring without importing it."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, f"{path} has no docstring"
    return inspect.cleandoc(text)


def as_markdown(text: str) -> str:
    """Convert reStructuredText to Markdown. Formulas are indented, which is code in both."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = re.sub(r"^::\n\n|(?<=:):$", "", text, flags=re.MULTILINE)
    text = re.sub(r"arXiv(\s)(\d{4}\.\d{5}(?:v\d)?)", r"[arXiv\1\2](https://arxiv.org/abs/\2)", text)
    return re.sub(r"(?:^``.*\n?)+", lambda match: _listed(match[0]), text, flags=re.MULTILINE)


def _listed(lines: str) -> str:
    """Convert lines that begin with a name to a list."""
    return re.sub(r"^(``\S+``) +", r"- \1: ", lines, flags=re.MULTILINE) if "``  " in lines else lines
