"""The reference of the command line, made of what ``--help`` reads: ``<!-- commands -->``."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Fill the place."""
    return markdown.replace("<!-- commands -->", reference()) if "<!-- commands -->" in markdown else markdown


def reference() -> str:
    """Describe every command, those of a group below it."""
    from nait_index_cli.main import cli

    return "\n\n".join(_group(cli, click.Context(cli, info_name="nait-index"), ()))


def _group(group: click.Group, context: click.Context, path: tuple[str, ...]) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.commands[name]
        own = click.Context(command, info_name=name, parent=context)
        yield from _command(command, own, (*path, name))
        if isinstance(command, click.Group):
            yield from _group(command, own, (*path, name))


def _command(command: click.Command, context: click.Context, path: tuple[str, ...]) -> Iterator[str]:
    yield f"{'#' * (1 + len(path))} {' '.join(path)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield _paragraph(paragraph)
    records = [own.get_help_record(context) for own in command.get_params(context) if isinstance(own, click.Option)]
    rows = [f"| `{names}` | {_text(what)} |" for names, what in filter(None, records) if "--help" not in names]
    if rows:
        yield "\n".join(["| option | what it does |", "|---|---|", *rows])


def _paragraph(text: str) -> str:
    """Give a paragraph of a help text; one that keeps its lines is an example."""
    if not text.startswith("\b"):
        return _text(text)
    lines = text.removeprefix("\b\n").removeprefix("Example:\n").splitlines()
    return "```sh\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"


def _text(text: str) -> str:
    """Set options and SQL in code, and let no sign be taken for Markdown."""
    text = re.sub(r"([|*_<\[])", r"\\\1", text)
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", text)
