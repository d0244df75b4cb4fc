"""Options of long commands grouped under headings, the common ones first."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

Headings = Mapping[str, Sequence[str]]
"""Heading → the options under it, in order; those that a command lacks are passed over."""

CHOOSING: Headings = {
    "What to choose": ("--capability", "--examples", "--from", "--not", "--unlike", "--method", "--rare"),
    "How many": ("--top", "--select", "--mix"),
    "From which rows": ("--where", "--at", "--decontaminate", "--dedup", "--at-most", "--blend"),
    "Several capabilities": ("--rule", "--votes", "--combine", "--weight"),
    "How to write it": (
        "--output",
        "--as",
        "--for",
        "--scores",
        "--weights",
        "--shuffle",
        "--validation",
        "--seed",
        "--force",
    ),
    "How to show it": ("--json", "--margin", "--explain-plan"),
    "Rarely needed": ("--bootstrap", "--format", "--search", "--model", "--device", "--storage-option"),
}
"""For ``query``, ``core``, ``cover`` and ``export``."""

BUILDING: Headings = {
    "The model": ("--model", "--no-model", "--max-length", "--device", "--dtype", "--batch-tokens"),
    "Which rows": ("--limit", "--split", "--unanswered", "--media", "--replace"),
    "What is read of a row": ("--format", "--columns", "--template", "--read", "--side", "--reasoning"),
    "How it runs": ("--dry-run", "--json", "--devices", "--engine", "--workers", "--address", "--storage-option"),
    "What is stored": ("--views", "--layers", "--site", "--approximate"),
}
"""For ``build`` and ``add``. The settings of the views follow what is stored."""


class Grouped(click.Command):
    """A command whose help lists its options under headings.

    :param headings: options that none of them names follow under the last one.
    """

    def __init__(self, *args: Any, headings: Headings, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.headings = headings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each heading."""
        for heading, records in option_records(self, ctx).items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option_records(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Return names and help of a command's options, by heading; ``-v`` and ``-h`` come last."""
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    records = {option.opts[-1]: record for option in options if (record := option.get_help_record(context))}
    if not isinstance(command, Grouped):
        return {"Options": [*records.values()]} if records else {}
    general = {name: records.pop(name) for name in ("--verbose", "--help") if name in records}
    grouped = {
        heading: [records.pop(name) for name in names if name in records] for heading, names in command.headings.items()
    }
    grouped[[*grouped][-1]] += records.values()
    return {heading: listed for heading, listed in (grouped | {"Everywhere": [*general.values()]}).items() if listed}
