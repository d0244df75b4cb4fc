"""The reference of the command line, generated from the help texts: ``<!-- commands -->``."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

_EVERYWHERE = re.compile("--(help|verbose)")


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401
    """Insert the reference."""
    return markdown.replace("<!-- commands -->", reference()) if "<!-- commands -->" in markdown else markdown


def reference() -> str:
    """Describe every command, grouped by job; the commands of a group follow it."""
    from nait_index_cli.main import cli

    context = click.Context(cli, info_name="nait-index", **cli.context_settings)
    assert {name for names in cli.jobs.values() for name in names} == set(cli.commands)
    parts = []
    for job, names in cli.jobs.items():
        parts += [f"## {job}", *_commands({name: cli.commands[name] for name in names}, context, ())]
    return "\n\n".join(parts)


def _commands(commands: Mapping[str, click.Command], context: click.Context, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in commands.items():
        command_context = click.Context(command, info_name=name, parent=context)
        yield from _command(command, command_context, (*path, name))
        if isinstance(command, click.Group):
            yield from _commands(command.commands, command_context, (*path, name))


def _command(command: click.Command, context: click.Context, path: tuple[str, ...]) -> Iterator[str]:
    from nait_index_cli.headings import option_records

    yield f"{'#' * (2 + len(path))} {' '.join(path)}"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield _paragraph(paragraph)
    for heading, records in option_records(command, context).items():
        rows = [f"| `{names}` | {_text(text)} |" for names, text in records if not _EVERYWHERE.search(names)]
        if rows:
            title = "option" if heading == "Options" else heading
            yield "\n".join([f"| {title} | what it does |", "|---|---|", *rows])


def _paragraph(text: str) -> str:
    """Return a paragraph of a help text as Markdown; one that keeps its line breaks is mostly an example."""
    if not text.startswith("\b"):
        return _text(text)
    lines = text.removeprefix("\b\n").removeprefix("Example:\n").splitlines()
    language = "sh" if "Example:" in text else "text"
    return f"```{language}\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```"


def _text(text: str) -> str:
    """Format options and SQL as code, and escape characters that Markdown would interpret."""
    text = re.sub(r"([|*_<\[])", r"\\\1", text)
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", text)
