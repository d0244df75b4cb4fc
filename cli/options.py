"""Arguments and options that several commands share."""

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from shlex import join
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from nait_index.config import Combine, Device, Media, RunnerConfig, RunnerKind, Selector, Trainer, Unanswered
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.types import RowFormat

from .completion import a_capability, a_file, a_folder, a_version

if TYPE_CHECKING:
    from nait_index.index import NaitIndex
    from nait_index.selection.budget import Budget

logger = logging.getLogger("nait_index.cli")

CONVERTIBLE = [str(name) for name in RowFormat if name not in (RowFormat.TEXT, RowFormat.PREFERENCE)]
"""The formats that rows can be converted to."""

Command = TypeVar("Command", bound=Callable[..., Any])

_SETTINGS = ("version", "model", "device")
"""What else options say of an index."""


@dataclass(frozen=True, slots=True)
class IndexTarget:
    """The index that a command works on.

    :param path: a folder or a URI. :param storage: options of the object store. :param version: a number or tag.
    :param model: where its model is, if it was moved. :param device: where the model runs.
    :param runner: what scans its rows.
    """

    path: str
    storage: dict[str, str] | None = None
    version: str | None = None
    model: str | None = None
    device: Device = Device.AUTO
    runner: RunnerConfig | None = None

    @property
    def is_shared(self) -> bool:
        """Whether workers of a cluster scan its rows."""
        return self.runner is not None and self.runner.kind is RunnerKind.RAY

    def open(self) -> "NaitIndex":
        """Open the index for reading."""
        logger.info("opening %r", self.path)
        from nait_index.index import NaitIndex

        return NaitIndex(
            self.path,
            version=self.version,
            model=self.model,
            device=self.device,
            storage=self.storage,
            runner=self.runner,
        )


def index_argument(command: Command) -> Any:
    """Add the argument INDEX, passed on as an :class:`IndexTarget`."""

    @functools.wraps(command)
    def with_target(*args: Any, index: str, storage_option: tuple[str, ...], **options: Any) -> Any:
        settings = {name: options.pop(f"index_{name}") for name in _SETTINGS if f"index_{name}" in options}
        return command(*args, index=IndexTarget(index, _storage(storage_option), **settings), **options)

    storage = click.option(
        "--storage-option", multiple=True, metavar="KEY=VALUE",
        help="Option of the object store that holds INDEX, e.g. region=eu-west-1. Repeatable.",
    )  # fmt: skip
    return click.argument("index", shell_complete=a_folder)(storage(with_target))


def index_at_version(command: Command) -> Any:
    """Add the argument INDEX, of which ``--at`` reads an old version."""
    version = click.option(
        "--at", "index_version", metavar="VERSION|TAG", shell_complete=a_version,
        help="Read this version of INDEX instead of the newest.",
    )  # fmt: skip
    return version(index_argument(command))


def given_names() -> set[str]:
    """Return the names of the parameters that were given on the command line, and not left to their defaults."""
    context = click.get_current_context()
    return {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}


def taken(options: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Take the fields of a dataclass out of a command's options."""
    return {field.name: options.pop(field.name) for field in fields(kind) if field.name in options}


def typed_command() -> str:
    """Return the command as it was typed, but without the values of storage options, since files are passed on."""
    return without_secrets(sys.argv[1:])


def without_secrets(words: Sequence[str]) -> str:
    """Return the words of a command, quoted for a shell, without the values of storage options."""
    shown, option = ["nait-index"], "--storage-option"
    for before, word in zip(("", *words), words, strict=False):
        value = word.removeprefix(f"{option}=")
        if before == option or value != word:
            word = word.removesuffix(value) + value.partition("=")[0] + "=…"
        shown.append(word)
    return join(shown)


def _storage(pairs: Sequence[str]) -> dict[str, str] | None:
    if any("=" not in pair or pair.startswith("=") for pair in pairs):
        raise click.UsageError("--storage-option is not of the form KEY=VALUE, such as region=eu-west-1")
    return dict(pair.split("=", 1) for pair in pairs) or None


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that adds several options, which the help lists in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def enum_option(
    kind: type[StrEnum], *names: str, default: StrEnum | None = None, help: str
) -> Callable[[Command], Command]:
    """Return an option that takes one of an enum's values and passes on the member, or ``None`` without a default."""
    return click.option(
        *names, type=click.Choice([str(member) for member in kind]), help=help,
        default=None if default is None else str(default),
        callback=lambda _, __, value: None if value is None else kind(value),
    )  # fmt: skip


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
force_option = click.option("--force", is_flag=True, help="Replace what exists already.")
replace_option = click.option(
    "--replace", is_flag=True, help="Replace stored rows that have the same id but different content."
)
limit_option = click.option("--limit", type=int, metavar="N", help="Read at most N rows.")
format_option = enum_option(
    RowFormat,
    "--format",
    "row_format",
    help="Format of the rows to read. Default: detected in each file from its first rows.",
)
split_option = click.option(
    "--split", metavar="NAME|all",
    help="Which split to read of folders that hold several; all adds a field 'split' to the rows.",
)  # fmt: skip
media_option = enum_option(
    Media, "--media",
    help="Rows that carry images, video or audio: reject them, or index them by their text. Default: as in the index's "
    "last build; reject in a new one.",
)  # fmt: skip
unanswered_option = enum_option(
    Unanswered, "--unanswered",
    help="Rows without an answer: reject them, or index them by their question; they are never exported. Default: as "
    "in the index's last build; reject in a new one.",
)  # fmt: skip
device_help = "Where the model runs; auto uses a GPU if there is one, and split all of them for one model."
device_option = enum_option(Device, "--device", default=Device.AUTO, help=device_help)
model_options = all_of(
    click.option(
        "--model", "index_model", help="Where the index's model is now, if it has moved; it must be the same model."
    ),
    enum_option(Device, "--device", "index_device", default=Device.AUTO, help=device_help),
)
"""Where the index's own model is, and where it runs."""
method_option = enum_option(
    MethodName, "--method", default=DEFAULT_METHOD, help="How to compute scores from the examples."
)


def top_option(default: str, metavar: str, help: str) -> Callable[[Command], Command]:
    """Return the option that says how many rows are chosen, which is parsed before any work is done."""
    return click.option("--top", default=default, metavar=metavar, help=help, callback=_budget)


def _budget(context: click.Context, _: click.Parameter, text: str) -> "Budget | None":
    if context.resilient_parsing:
        return None
    from nait_index.selection.budget import Budget

    return Budget.parse(text)


where_option = click.option("--where", metavar="SQL", help="Choose only among these rows, e.g. 'n_tokens < 1024'.")


dedup_option = click.option(
    "--dedup", type=float, metavar="SHARE",
    help="Leave out rows that share this much of their wording with a better one, e.g. 0.9, and choose the next best "
    "instead.",
)  # fmt: skip


choice_options = all_of(
    method_option, top_option("10%", "N|P%", "Number or share of rows to select per capability."), where_option
)
"""What ``explain``, ``compare`` and ``report`` choose by."""


def capabilities_option(help: str) -> Callable[[Command], Command]:
    """Return the option that names stored capabilities."""
    return click.option(
        "-c", "--capability", "names", multiple=True, metavar="NAME", shell_complete=a_capability, help=help
    )


examples_option = click.option(
    "-e", "--examples", "files", multiple=True, metavar="FILE", shell_complete=a_file,
    help="File of in-domain examples: rows, or paragraphs in a .txt file. Repeatable.",
)  # fmt: skip


def _cluster_options(engine_help: str, workers_help: str) -> Callable[[Command], Command]:
    """Return the options that say what works on the rows."""
    return all_of(
        enum_option(RunnerKind, "--engine", default=RunnerKind.LOCAL, help=engine_help),
        click.option("--workers", type=int, help=f"For --engine ray. Default: {workers_help}."),
        click.option(
            "--address",
            help="Address of a Ray cluster that this machine belongs to, e.g. auto. Default: start a cluster here.",
        ),
    )


def runner_options(command: Command) -> Any:
    """Add the options that say what runs the rows through the model, passed on as ``runner``."""

    @functools.wraps(command)
    def with_runner(
        *args: Any, engine: RunnerKind, workers: int | None, address: str | None, devices: str | None, **options: Any
    ) -> Any:
        names = () if devices is None else tuple(name.strip() for name in devices.split(","))
        return command(*args, runner=RunnerConfig(engine, workers, address, names), **options)

    add = all_of(
        click.option(
            "--devices", metavar="0,1,...",
            help="GPUs of this machine, each for a process with its own copy of the model; 0+1 is one copy split over "
            "two. The results are the same.",
        ),
        _cluster_options(
            "What runs the model: this process, or the workers of a Ray cluster. The results are the same.",
            "one per GPU, else as many as machines",
        ),
    )  # fmt: skip
    return add(with_runner)


def scan_options(command: Command) -> Any:
    """Add the options that say what scans the rows of INDEX, passed on in its :class:`IndexTarget`."""

    @functools.wraps(command)
    def with_runner(
        *args: Any, index: IndexTarget, engine: RunnerKind, workers: int | None, address: str | None, **options: Any
    ) -> Any:
        return command(*args, index=replace(index, runner=RunnerConfig(engine, workers, address)), **options)

    add = _cluster_options(
        "What scans the rows: this process, or the workers of a Ray cluster, each its share. The results are the same.",
        "as many as machines",
    )
    return add(with_runner)


selection_options = all_of(
    capabilities_option("A stored capability. Repeatable."),
    examples_option,
    click.option(
        "-n", "--not", "unlike_names", multiple=True, metavar="NAME", shell_complete=a_capability,
        help="A stored capability that is not wanted, for probe, its variants, and contrast. Repeatable.",
    ),
    click.option(
        "--unlike", "unlike_files", multiple=True, metavar="FILE", shell_complete=a_file,
        help="File of examples of what is not wanted. Repeatable.",
    ),
    method_option,
    top_option(
        "10%", "N|P%|N-tokens|auto",
        "Number or share of rows to select (a share is rounded down, to at least 1), or as many as some tokens allow, "
        "e.g. 2M-tokens. In query, this is for each capability, and auto suggests a number from the score curve.",
    ),
    where_option,
    click.option(
        "--blend", multiple=True, metavar="COLUMN=WEIGHT",
        help="Blend in a quality score by its ranks, e.g. ifd=0.3; a negative weight prefers low values. Repeatable.",
    ),
    format_option,
    model_options,
    click.option(
        "--decontaminate", is_flag=True,
        help="Leave out rows that closely match an example, and choose the next best instead.",
    ),
    dedup_option,
    click.option(
        "--at-most", multiple=True, metavar="COLUMN=N|P%",
        help="Choose at most this many rows, or this share, with the same value in a column or field of the rows, e.g. "
        "source=20%. Repeatable.",
    ),
)  # fmt: skip
"""What ``query``, ``core`` and ``export`` choose by."""

filling_options = all_of(
    enum_option(
        Selector, "--select", default=Selector.TOP,
        help="Which of the best rows to take: the best scores (top), those nearest to each example in turn "
        "(round-robin), those that activate neurons of their own (coverage), or those that together explain the "
        "examples (gip).",
    ),
    click.option(
        "--mix", metavar="random=N|P%",
        help="Draw this many of the rows, or this share, at random from all others, e.g. random=30%, against "
        "forgetting.",
    ),
)  # fmt: skip
"""How ``query`` and ``export`` fill up a budget."""

combine_options = all_of(
    enum_option(
        Combine, "--combine", default=Combine.UNION,
        help="How to combine several capabilities: --top rows of each (union), or --top rows in all, by mean rank "
        "(mean), in turn (round-robin), or in shares set by --weight (weighted).",
    ),
    click.option(
        "--weight", "weights", multiple=True, metavar="NAME=W", callback=lambda _, __, specs: _weights(specs),
        help="Share of a capability with --combine weighted, e.g. math=2. Repeatable.",
    ),
)  # fmt: skip
"""How several capabilities become one selection."""

output_options = all_of(
    click.option(
        "-o", "--output", metavar="OUT", shell_complete=a_file,
        help="Write the chosen rows, best first, and OUT.meta.json beside them. OUT is a .jsonl, .json, .parquet "
        "or .csv file, a folder for datasets.load_from_disk, or a private data set of the Hub: hf://datasets/OWNER/NAME.",
    ),
    click.option(
        "--as", "format", type=click.Choice(CONVERTIBLE),
        help="Convert the rows to this format; rows that cannot be converted go to OUT.rejected.jsonl. Default: leave "
        "them unchanged.",
    ),
    click.option(
        "--for", "trainers", multiple=True, type=click.Choice([str(name) for name in Trainer]),
        help="Also write what this trainer needs to read OUT: an entry in dataset_info.json, or a file beside "
        "OUT such as OUT.trl.py. Repeatable.",
    ),
    click.option("--scores", is_flag=True, help="Add rank and score to the written rows."),
    click.option(
        "--weights", "weighted", is_flag=True,
        help="Add nait_weight to the written rows: linear in the rank, with mean 1.",
    ),
    click.option("--shuffle", is_flag=True, help="Write the rows in random order, not best first."),
    click.option(
        "--validation", metavar="N|P%",
        help="Keep this many of the rows, or this share, drawn at random, for validation: OUT.validation.jsonl for "
        "OUT.jsonl.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of --shuffle and --validation."),
    force_option,
    json_option,
)  # fmt: skip
"""Where chosen rows are written, and how."""


def _weights(specs: Sequence[str]) -> dict[str, float] | None:
    weights: dict[str, float] = {}
    for spec in specs:
        name, _, weight = spec.rpartition("=")
        if name in weights:
            raise click.UsageError(f"--weight names '{name}' twice")
        try:
            weights[name] = float(weight)
        except ValueError:
            name = ""
        if not name:
            raise click.UsageError(f"--weight '{spec}' is not of the form NAME=W, such as math=2")
    return weights or None
