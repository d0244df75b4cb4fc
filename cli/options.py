"""Arguments and options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from nait_index.config import Device
from nait_index.methods.names import DEFAULT_METHOD, MethodName
from nait_index.types import RowFormat

Command = TypeVar("Command", bound=Callable[..., Any])

index_argument = click.argument("index", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
force_option = click.option("--force", is_flag=True, help="Replace what is there.")
format_option = click.option(
    "--format",
    "row_format",
    type=click.Choice([str(name) for name in RowFormat]),
    help="Format of the rows. Default: told for each file from its first rows.",
)
device_option = click.option(
    "--device",
    type=click.Choice([str(name) for name in Device]),
    default=str(Device.AUTO),
    show_default=True,
    help="Where the model runs; auto is the GPU where there is one.",
)
model_override_option = click.option(
    "--model", help="Where the index's model lies now, if it was moved. It must be the same one."
)


def selection_options(command: Command) -> Command:
    """Add what every choosing command takes."""
    for option in reversed(
        [
            click.option("-c", "--capability", "names", multiple=True, metavar="NAME", help="A stored capability."),
            click.option(
                "-e", "--examples", "files", multiple=True, metavar="FILE", help="In-domain examples. Repeatable."
            ),
            click.option(
                "--method",
                type=click.Choice([str(name) for name in MethodName]),
                default=str(DEFAULT_METHOD),
                show_default=True,
                help="How examples become scores.",
            ),
            click.option(
                "--top",
                default="10%",
                show_default=True,
                metavar="N|P%",
                help="How much each capability selects: a number of rows, or a share, rounded down (at least 1).",
            ),
            click.option("--where", metavar="SQL", help="Choose among these rows only, e.g. 'n_tokens < 1024'."),
            format_option,
            model_override_option,
            device_option,
            click.option(
                "-o",
                "--output",
                type=click.Path(path_type=Path),
                metavar="OUT.jsonl",
                help="Write the chosen rows, unchanged, best first; OUT.jsonl.meta.json beside it has the scores.",
            ),
            click.option("--scores", is_flag=True, help="Put rank and score into the written rows."),
            force_option,
            json_option,
        ]
    ):
        command = option(command)
    return command


def row_format_of(value: str | None) -> RowFormat | None:
    """Turn the value of ``--format`` into its enum."""
    return None if value is None else RowFormat(value)


def require_some(names: Sequence[str], files: Sequence[str]) -> None:
    """Refuse a choosing command without a capability."""
    if not names and not files:
        raise click.UsageError("name a capability with -c NAME, or give a file of examples with -e FILE")
