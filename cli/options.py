"""Arguments and options that several commands share."""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nait_index.config import Combine, Device, RunnerConfig, RunnerKind, Trainer
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.types import RowFormat

from .completion import a_capability, a_file, a_folder, a_version

if TYPE_CHECKING:
    from nait_index.index import NaitIndex

logger = logging.getLogger("nait_index.cli")

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Which index a command is about.

    :param path: a folder or a URI. :param storage: options of the object store. :param at: a version or tag.
    """

    path: str
    storage: dict[str, str] | None = None
    at: str | None = None

    def open(self, model: str | None = None, device: str = "auto") -> "NaitIndex":
        """Open it for reading."""
        logger.info("opening %s", self.path)
        from nait_index.index import NaitIndex

        return NaitIndex(self.path, version=self.at, model=model, device=Device(device), storage=self.storage)


def index_argument(command: Command) -> Any:  # noqa: ANN401 - what click makes of it
    """Add the argument INDEX, passed on as a :class:`Place`."""

    @functools.wraps(command)
    def placed(*args: Any, index: str, storage_option: tuple[str, ...], at: str | None = None, **own: Any) -> Any:  # noqa: ANN401
        return command(*args, index=Place(index, _storage(storage_option), at), **own)

    storage = click.option(
        "--storage-option",
        multiple=True,
        metavar="KEY=VALUE",
        help="Of the object store that INDEX lies in, e.g. region=eu-west-1. Repeatable.",
    )
    return click.argument("index", shell_complete=a_folder)(storage(placed))


def at_option(command: Command) -> Command:
    """Add the choice of an old version, to what has INDEX."""
    return click.option(
        "--at", metavar="VERSION|TAG", shell_complete=a_version, help="Read this version of INDEX, not the last."
    )(command)


def _storage(pairs: Sequence[str]) -> dict[str, str] | None:
    if any("=" not in pair or pair.startswith("=") for pair in pairs):
        raise click.UsageError("--storage-option is not of the form KEY=VALUE, such as region=eu-west-1")
    return dict(pair.split("=", 1) for pair in pairs) or None


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
replace_option = click.option(
    "--replace", is_flag=True, help="Let rows take the place of those of the same id and other content."
)
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

method_option = click.option(
    "--method",
    type=click.Choice([str(name) for name in MethodName]),
    default=str(DEFAULT_METHOD),
    show_default=True,
    help="How examples become scores.",
)
top_option = click.option(
    "--top",
    default="10%",
    show_default=True,
    metavar="N|P%|auto",
    help="How much each capability selects: a number of rows, or a share, rounded down (at least 1). In query, auto "
    "suggests a number from the score curve, and says why.",
)
where_option = click.option("--where", metavar="SQL", help="Choose among these rows only, e.g. 'n_tokens < 1024'.")


def engine_options(command: Command) -> Command:
    """Add what runs the rows through the model; :func:`runner_of` reads it."""
    kind = click.option(
        "--engine", type=click.Choice([str(kind) for kind in RunnerKind]),
        default=str(RunnerKind.LOCAL), show_default=True,
        help="What runs the model: this process, or workers of a Ray cluster. The numbers are the same.",
    )  # fmt: skip
    workers = click.option(
        "--workers", type=int, help="With --engine ray. Default: one a GPU, or without GPUs one a machine."
    )
    address = click.option(
        "--address", help="Of a Ray cluster that this machine is part of, such as auto. Default: start one here."
    )
    return kind(workers(address(command)))


def runner_of(engine: str, workers: int | None, address: str | None) -> RunnerConfig:
    """Read what :func:`engine_options` gave."""
    return RunnerConfig(RunnerKind(engine), workers, address)


def selection_options(command: Command) -> Command:
    """Add what every choosing command takes."""
    for option in reversed(
        [
            click.option(
                "-c",
                "--capability",
                "names",
                multiple=True,
                metavar="NAME",
                shell_complete=a_capability,
                help="A stored capability.",
            ),
            click.option(
                "-e",
                "--examples",
                "files",
                multiple=True,
                metavar="FILE",
                shell_complete=a_file,
                help="In-domain examples. Repeatable.",
            ),
            method_option,
            top_option,
            where_option,
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
                "--decontaminate",
                is_flag=True,
                help="Leave out rows that are like an example, and choose the next best in their place.",
            ),
        ]
    ):
        command = option(command)
    return command


def output_options(command: Command) -> Command:
    """Add where chosen rows go, and how; ``Output.of`` in ``choose.py`` reads it."""
    for option in reversed(
        [
            click.option(
                "-o", "--output", metavar="OUT", shell_complete=a_file,
                help="Write the chosen rows, best first, with OUT.meta.json beside them: .jsonl, .json, .parquet, or "
                "a folder that datasets.load_from_disk opens.",
            ),
            click.option(
                "--as", "target", type=click.Choice([str(own) for own in RowFormat if own is not RowFormat.TEXT]),
                help="Convert the rows. What cannot be converted goes to OUT.rejected.jsonl. Default: as they are.",
            ),
            click.option(
                "--for", "trainers", multiple=True, type=click.Choice([str(own) for own in Trainer]),
                help="Write what this trainer needs to read OUT: an entry in dataset_info.json, OUT.axolotl.yaml, or "
                "OUT.trl.py. Repeatable.",
            ),
            click.option("--scores", is_flag=True, help="Put rank and score into the written rows."),
            click.option(
                "--weights", "weighted", is_flag=True,
                help="Put nait_weight into the written rows: linear in the rank, with mean 1.",
            ),
            force_option,
            json_option,
        ]
    ):  # fmt: skip
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
