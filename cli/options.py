"""Arguments and options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from nait_index.config import Combine, Device
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
            click.option(
                "--blend",
                multiple=True,
                metavar="COLUMN=WEIGHT",
                help="Blend in a quality score by its ranks, e.g. ifd=0.3; a negative weight prefers low values.",
            ),
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


def combine_options(command: Command) -> Command:
    """Add how several capabilities become one selection."""
    how = click.option(
        "--combine",
        type=click.Choice([str(name) for name in Combine]),
        default=str(Combine.UNION),
        show_default=True,
        help="Of several capabilities: --top rows of each, or exactly --top rows by mean rank, in turn, or by quota.",
    )
    weight = click.option(
        "--weight", "weights", multiple=True, metavar="NAME=W", help="A capability's share of --combine weighted."
    )
    return how(weight(command))


def weights_of(specs: Sequence[str]) -> dict[str, float] | None:
    """Read what ``--weight`` was given."""
    weights: dict[str, float] = {}
    for spec in specs:
        name, found, value = spec.rpartition("=")
        if name in weights:
            raise click.UsageError(f"--weight names '{name}' twice")
        try:
            weights[name] = float(value)
        except ValueError:
            found = ""
        if not found:
            raise click.UsageError(f"--weight '{spec}' is not of the form NAME=W, such as math=2")
    return weights or None


def row_format_of(value: str | None) -> RowFormat | None:
    """Turn the value of ``--format`` into its enum."""
    return None if value is None else RowFormat(value)


def require_some(names: Sequence[str], files: Sequence[str]) -> None:
    """Refuse a choosing command without a capability."""
    if not names and not files:
        raise click.UsageError("name a capability with -c NAME, or give a file of examples with -e FILE")
