"""``nait-index build``, ``add`` and ``sae``: everything that runs a model over a corpus."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nait_index.config import (
    BUNDLED_MODEL,
    Media,
    ModelConfig,
    Precision,
    RunnerConfig,
    SignatureConfig,
    Unanswered,
    View,
)
from nait_index.errors import NaitError
from nait_index.types import ReadPart, Reasoning, RowFormat, Side

from . import options as opt
from .completion import a_file, a_folder
from .headings import BUILDING, Grouped
from .options import IndexTarget
from .output import fidelity_text, note, print_facts
from .progress import build_progress, duration, training_progress

if TYPE_CHECKING:
    from nait_index.building.estimate import Estimate
    from nait_index.index import NaitIndex
    from nait_index.selection.duplicates import DuplicateCount

_MODEL, _SIGNATURES = ModelConfig(), SignatureConfig()


def _views(_: click.Context, __: click.Parameter, text: str) -> tuple[View, ...]:
    from nait_index.spelling import parse_enum

    try:
        return tuple(parse_enum(View, name.strip(), "view") for name in text.split(","))
    except NaitError as error:
        raise click.BadParameter(str(error), param_hint="--views") from None


def _pca_dim(_: click.Context, __: click.Parameter, text: str) -> int | None:
    if text == "full":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"'{text}' is neither a number nor 'full'", param_hint="--pca-dim")
    return int(text)


def _columns(context: click.Context, _: click.Parameter, text: str) -> tuple[tuple[str, str], ...]:
    from nait_index.corpus.columns import parse_columns

    return () if context.resilient_parsing else parse_columns(text)


def _signature_options(command: opt.Command) -> opt.Command:
    """Add an option for every setting of :class:`SignatureConfig` that has a help text."""
    readers = {"views": _views, "pca_dim": _pca_dim}
    for setting in reversed(fields(_SIGNATURES)):
        if help_text := setting.metadata.get("help"):
            default = getattr(_SIGNATURES, setting.name)
            if setting.name in readers:
                default = ",".join(default) if isinstance(default, tuple) else str(default)
            command = click.option(
                f"--{setting.name.replace('_', '-')}", default=default,
                metavar=setting.metadata["metavar"], callback=readers.get(setting.name), help=help_text,
            )(command)  # fmt: skip
    return command


@click.command(
    cls=Grouped, headings=BUILDING, short_help="Encode a corpus with a model; store the signatures of its rows."
)
@opt.index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="CORPUS...", shell_complete=a_file)
@click.option(
    "--model", default=BUNDLED_MODEL, shell_complete=a_folder,
    help="Folder or hub name of a Hugging Face model. Like all settings, INDEX's own where there is one.",
)  # fmt: skip
@_signature_options
@click.option("--no-model", is_flag=True, help="Load no model: the same as --views words.")
@click.option("--layers", default=_MODEL.layers, help="Layers to read: all, last, or numbers such as 8,16 or -1.")
@click.option(
    "--site",
    default=_MODEL.site,
    help="What to read in a layer: mlp, or module paths with {i} for the layer, with commas.",
)
@click.option(
    "--template", default=_MODEL.template, help="How rows become text: auto, alpaca, chat, text, or a Jinja file."
)
@opt.enum_option(
    Reasoning, "--reasoning", default=_MODEL.reasoning,
    help="Whether the model reads the reasoning of answers: <think> blocks, and fields such as reasoning_content.",
)  # fmt: skip
@opt.enum_option(
    ReadPart, "--read", default=_MODEL.read,
    help="Which part of a row the model reads: all of it, what comes before its last answer, or that answer alone.",
)  # fmt: skip
@opt.enum_option(
    Side, "--side", default=_MODEL.side, help="Which answer it reads of rows with a preferred and a rejected one."
)
@click.option(
    "--columns", default="", metavar="FIELD=COLUMN,...", callback=_columns,
    help="Columns of other names, e.g. instruction=ask,output=reply.text; a dot leads into an object. Usual names of "
    "question and answer are known.",
)  # fmt: skip
@click.option("--max-length", default=_MODEL.max_length, help="Maximum tokens per row; longer rows are truncated.")
@click.option("--batch-tokens", type=int, help="Tokens per batch, including padding. Default: 2048, or 65536 on a GPU.")
@opt.enum_option(
    Precision, "--dtype", default=_MODEL.dtype,
    help="Precision of the model; auto is bfloat16 on hardware that computes in it, else float32.",
)  # fmt: skip
@click.option("--approximate", is_flag=True, help="Also prepare approximate search, for few rows out of very many.")
@opt.replace_option
@opt.split_option
@opt.unanswered_option
@opt.media_option
@opt.limit_option
@click.option("--dry-run", is_flag=True, help="Estimate the cost without building anything.")
@opt.runner_options
@opt.device_option
@opt.format_option
@opt.json_option
def build(
    index: IndexTarget,
    corpus: tuple[str, ...],
    model: str,
    runner: RunnerConfig,
    limit: int | None,
    dry_run: bool,
    row_format: RowFormat | None,
    unanswered: Unanswered | None,
    media: Media | None,
    split: str | None,
    no_model: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run the model once over CORPUS, and store the signatures of every row in INDEX.

    CORPUS is any number of files (.json, .jsonl, .csv, .parquet, .arrow; text also as .gz), folders, patterns,
    addresses, data sets of the Hub (OWNER/NAME), or - for standard input.
    Run the command again to finish an interrupted build, or with more files to add new rows.

    \b
    Example:
      nait-index build alpaca.nait alpaca.jsonl --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.index import NaitIndex

    given = opt.given_names() | ({"name"} if "model" in opt.given_names() else set())
    if no_model:
        if "views" in given and options["views"] != (View.WORDS,):
            raise click.UsageError("--no-model is --views words; give one of them")
        options["views"], given = (View.WORDS,), given | {"views"}
    config, signatures = NaitIndex.settings(
        index.path,
        ModelConfig(name=model, **opt.taken(options, _MODEL)),
        SignatureConfig(**opt.taken(options, _SIGNATURES)),
        given,
        storage=index.storage,
    )
    if signatures.needs_model:
        _note_model(config, model, index.path)
    reading: dict[str, Any] = {"row_format": row_format, "limit": limit, "unanswered": unanswered}
    reading |= {"media": media, "split": split}
    if dry_run:
        _print_estimate(NaitIndex.estimate(corpus, model=config, signatures=signatures, **reading), as_json)
        return
    with build_progress() as progress:
        built = NaitIndex.build(
            index.path,
            corpus,
            model=config,
            signatures=signatures,
            progress=progress,
            storage=index.storage,
            runner=runner,
            **reading,
            **options,
        )
    print_report(built, as_json, built.near_duplicates())


def _note_model(config: ModelConfig, named: str, path: str) -> None:
    if config.name != named:
        note(f"using the model that {path} was built with: {config.name}")
    elif config.name == BUNDLED_MODEL:
        note("using the small bundled model, which is meant for trying things out; choose a real one with --model")


def _print_estimate(estimate: "Estimate", as_json: bool) -> None:
    """Print what a build will cost."""
    facts = asdict(estimate)
    del facts["template"]
    print_facts(facts if as_json else _estimate_facts(estimate), as_json)
    for warning in estimate.warnings:
        note(warning)


def _estimate_facts(estimate: "Estimate") -> dict[str, Any]:
    """Return an estimate for people: measured for seconds, so more digits would mean nothing."""
    from rich.filesize import decimal

    return {
        "rows": estimate.rows,
        "rejected": estimate.rejected,
        "tokens": estimate.tokens,
        "truncated": estimate.truncated,
        "tokens per second": round(estimate.tokens_per_second),
        "time": f"about {duration(60 * estimate.minutes)}",
        "bytes per row": estimate.bytes_per_row,
        "on disk": f"about {decimal(estimate.index_bytes)}; the basis takes {decimal(estimate.basis_bytes)} of it",
        "while it builds": f"up to about {decimal(estimate.peak_bytes)}",
        "per capability": f"about {decimal(estimate.capability_bytes)} more, for 64 examples",
    }


def _without_noted(facts: dict[str, Any]) -> None:
    """Take out what the notes say."""
    for name in ("left_out", "unread"):
        del facts[name]


_SELDOM = ("replaced", "unanswered", "media", "text_only", "questions")
"""Counts that are shown to people only where there is something to count."""


def print_report(index: "NaitIndex", as_json: bool, repeats: "DuplicateCount | None" = None) -> None:
    """Print the report of a build that has just finished.

    :param repeats: the near-duplicates of the whole index, where they were counted.
    """
    report = index.report
    assert report is not None
    facts = asdict(report) | ({} if repeats is None else {"near_duplicates": asdict(repeats)})
    if not as_json:
        facts.pop("near_duplicates", None)  # which a note is about
        facts = {name: value for name, value in facts.items() if value or name not in _SELDOM}
    for name in ("template", "max_length", "longest"):  # for the notes
        del facts[name]
    if not as_json:
        _without_noted(facts)
        facts["seconds"] = f"{report.seconds:.1f}"
        facts["fidelity"] = fidelity_text(report.fidelity)
        shift = facts.pop("shift")
        if shift is not None:
            facts["left out by signatures"] = f"{shift['new']:.1%} of the new rows, {shift['first']:.1%} of the first"
    print_facts(facts, as_json)
    for warning in report.warnings:
        note(warning)
    if repeats is not None and repeats.rows:
        note(f"{repeats.sentence}; 'query --dedup {repeats.threshold}' leaves them out")
    if report.rejected:
        note(f"rejected rows, with reasons: {index.layout.rejected}")


@click.command(cls=Grouped, headings=BUILDING, short_help="Add rows, with the model and settings of the build.")
@opt.index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="MORE...", shell_complete=a_file)
@opt.replace_option
@opt.split_option
@opt.unanswered_option
@opt.media_option
@opt.limit_option
@opt.model_options
@opt.runner_options
@opt.format_option
@opt.json_option
def add(index: IndexTarget, corpus: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Add the rows of MORE to INDEX, with the model and settings it was built with.

    Rows that INDEX already has are skipped. A row with the same id but different content is an error, unless --replace
    is given. If interrupted, run the same command again to continue.

    \b
    Example:
      nait-index add alpaca.nait this-week.jsonl
    """
    from nait_index.index import NaitIndex

    options |= {"model": index.model, "device": index.device, "storage": index.storage}
    with build_progress() as progress:
        built = NaitIndex.add(index.path, corpus, progress=progress, **options)
    print_report(built, as_json)


@click.group(short_help="Train the sparse autoencoder that the sae view needs.")
def sae() -> None:
    """Train the sparse autoencoder that the sae view needs, for a model that has none.

    \b
    Example:
      nait-index sae train qwen.sae corpus.jsonl --model Qwen/Qwen2.5-0.5B
    """


@sae.command("train", short_help="Train one on the rows of an index or corpus.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="INDEX|CORPUS...", shell_complete=a_file)
@click.option("--model", help="Folder or hub name of a Hugging Face model. Default: the index's, or the bundled one.")
@click.option("--layer", default=-2, help="Train on the residual stream after this layer.")
@click.option("--latents", type=int, help="Number of latents. Default: 8 times the width of the residual stream.")
@click.option("--k", type=int, default=32, help="Active latents per token.")
@click.option("--tokens", type=int, default=500_000, help="Train on at most this many tokens.")
@click.option("--template", help="As in build. Default: the index's, or auto.")
@click.option("--max-length", type=int, help="As in build. Default: the index's, or 2048.")
@click.option("--seed", default=0, help="Seed for row sampling, initialization and order.")
@opt.device_option
@opt.format_option
@opt.force_option
@opt.json_option
def train(out: Path, sources: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Train a TopK sparse autoencoder on the rows of INDEX or of CORPUS files, and write it into the folder OUT.

    The training tokens are held in memory: 4 bytes per token and hidden dimension.

    \b
    Example:
      nait-index sae train qwen.sae corpus.jsonl --model Qwen/Qwen2.5-0.5B
      nait-index build alpaca.nait corpus.jsonl --model Qwen/Qwen2.5-0.5B --views pca,sae --sae qwen.sae
    """
    from nait_index.activations.sae.training import SaeSettings
    from nait_index.building.autoencoder import train_sae

    settings = SaeSettings(**opt.taken(options, SaeSettings))
    with training_progress() as advance:
        report = train_sae(out, sources, settings=settings, advance=advance, **options)
    facts = asdict(report)
    print_facts(facts if as_json else facts | {"seconds": f"{report.seconds:.1f}"}, as_json)
    note(f"written to {out}; build with --views pca,sae --sae {out}")
