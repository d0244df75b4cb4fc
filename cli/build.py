"""``nait-index build``, ``add`` and ``demo``: everything that encodes a corpus."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nait_index.config import BUNDLED_MODEL, ModelConfig, Precision, RunnerConfig, SignatureConfig, View
from nait_index.errors import NaitError
from nait_index.types import RowFormat

from . import options as opt
from .completion import a_file, a_folder
from .options import IndexTarget
from .output import fidelity_text, note, preview, print_facts, print_table
from .progress import build_progress

if TYPE_CHECKING:
    from nait_index.index import NaitIndex

_MODEL, _SIGNATURES = ModelConfig(), SignatureConfig()
_DEMO_ROWS = 5


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


@click.command(short_help="Encode a corpus with a model; store one signature per row.")
@opt.index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="CORPUS...", shell_complete=a_file)
@click.option(
    "--model", default=BUNDLED_MODEL, show_default=True, shell_complete=a_folder,
    help="Folder or hub name of a Hugging Face model.",
)  # fmt: skip
@click.option(
    "--views", default=",".join(_SIGNATURES.views), show_default=True, callback=_views,
    help=f"Kinds of signatures to store: {', '.join(View)}.",
)  # fmt: skip
@click.option(
    "--pca-dim", default=str(_SIGNATURES.pca_dim), show_default=True, callback=_pca_dim,
    help="Bytes per row that a search scans, or 'full'.",
)  # fmt: skip
@click.option(
    "--fine-dim", default=_SIGNATURES.fine_dim, show_default=True,
    help="Bytes per row with which the method nait rescores the rows near the cut.",
)  # fmt: skip
@click.option("--topk", default=_SIGNATURES.topk, show_default=True, help="Neurons per layer in the topk view.")
@click.option(
    "--sae", metavar="FOLDER", help="Sparse autoencoder for the sae view; 'nait-index sae train' makes one."
)  # fmt: skip
@click.option("--sae-keep", default=_SIGNATURES.sae_keep, show_default=True, help="Codes per row in the sae view.")
@click.option("--grad-dim", default=_SIGNATURES.grad_dim, show_default=True, help="Numbers per row in the grad view.")
@click.option("--layers", default=_MODEL.layers, show_default=True, help="all, last, or numbers such as 8,16 or -1.")
@click.option("--site", default=_MODEL.site, show_default=True, help="mlp, or a module path with {i} for the layer.")
@click.option(
    "--template", default=_MODEL.template, show_default=True, help="auto, alpaca, chat, text, or a Jinja file."
)
@click.option(
    "--max-length", default=_MODEL.max_length, show_default=True, help="Most tokens per row; the rest is cut."
)
@click.option("--batch-tokens", type=int, help="Tokens per batch, with padding. Default: 2048, or 65536 on a GPU.")
@opt.enum_option(
    Precision, "--dtype", default=_MODEL.dtype,
    help="Precision of the model; auto is bfloat16 on hardware that computes in it, else float32.",
)  # fmt: skip
@click.option("--seed", default=_SIGNATURES.seed, show_default=True, help="Seed of the order of encoding.")
@click.option("--approximate", is_flag=True, help="Also build an approximate search, for few rows out of very many.")
@opt.replace_option
@opt.limit_option
@click.option("--dry-run", is_flag=True, help="Estimate the cost, and build nothing.")
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
    as_json: bool,
    **options: Any,
) -> None:
    """Run the model once over CORPUS, and store a signature of every row in INDEX.

    CORPUS is any number of .json, .jsonl, .jsonl.gz, .csv or .parquet files, Arrow folders, or - for standard input.
    Run the command again to finish an interrupted build, or with more files to add new rows.

    \b
    Example:
      nait-index build alpaca.nait alpaca.jsonl --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.index import NaitIndex

    config = ModelConfig(name=model, **opt.taken(options, _MODEL))
    signatures = SignatureConfig(**opt.taken(options, _SIGNATURES))
    if model == BUNDLED_MODEL:
        note("using the small bundled model, which is meant for trying things out; choose a real one with --model")
    if dry_run:
        estimate = NaitIndex.estimate(corpus, model=config, signatures=signatures, row_format=row_format, limit=limit)
        facts = asdict(estimate)
        if not as_json:  # measured for some seconds: more digits would mean nothing
            facts["tokens_per_second"] = round(estimate.tokens_per_second)
            facts["minutes"] = f"{estimate.minutes:,.0f}" if estimate.minutes >= 10 else f"{estimate.minutes:.1g}"
        print_facts(facts, as_json)
        return
    with build_progress() as progress:
        built = NaitIndex.build(
            index.path,
            corpus,
            model=config,
            signatures=signatures,
            row_format=row_format,
            limit=limit,
            progress=progress,
            storage=index.storage,
            runner=runner,
            **options,
        )
    print_report(built, as_json)


def print_report(index: "NaitIndex", as_json: bool) -> None:
    """Print the report of a build that has just finished."""
    report = index.report
    assert report is not None
    facts = asdict(report)
    if not as_json:
        facts["fidelity"] = fidelity_text(report.fidelity)
        shift = facts.pop("shift")
        if shift is not None:
            facts["left out by signatures"] = f"{shift['new']:.1%} of the new rows, {shift['first']:.1%} of the first"
    print_facts(facts, as_json)
    for warning in report.warnings:
        note(warning)
    if report.rejected:
        note(f"rejected rows, with reasons: {index.layout.rejected}")
    if report.truncated:
        note(f"truncated rows were cut at {index.manifest.fingerprint.max_length} tokens")


@click.command(short_help="Add rows, with the model and settings of the build.")
@opt.index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="MORE...", shell_complete=a_file)
@opt.replace_option
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


@click.command(short_help="Try everything offline, in a minute.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo-out"))
@opt.force_option
def demo(folder: Path, force: bool) -> None:
    """Build an index of a bundled corpus with a bundled model, select rows from it, and write the results to FOLDER.

    Queries the index for several skills, finds their stable core, and writes each selection. Takes about a minute on
    two CPU cores and needs no network.

    \b
    Example:
      nait-index demo demo-out
    """
    from nait_index.demo.run import run

    with build_progress() as progress:
        outcome = run(folder, force=force, progress=progress)
    for name, selection in outcome.selections.items():
        click.echo(f"\n{name}: the best {_DEMO_ROWS} of {len(selection):,} chosen rows")
        print_table(
            ("rank", "score", "id", "row"),
            [
                (record["rank"], record["score"], record["id"], preview(row))
                for record, row in zip(selection.records()[:_DEMO_ROWS], selection.rows(_DEMO_ROWS), strict=True)
            ],
        )
    core = outcome.core.provenance.core
    assert core is not None
    names = ", ".join(outcome.selections)
    click.echo(f"\nstable core: {core.found} rows that {names} all chose; chance would give {core.chance}")
    click.echo(err=True)
    note(f"index, corpus and selections: {folder}")
    note(f"next: nait-index query {folder / 'demo.nait'} -c {next(iter(outcome.selections))} --top 5%")
