"""``nait-index build``."""

from dataclasses import asdict
from typing import Any

import click

from nait_index.config import BUNDLED_MODEL, ModelConfig, Precision, SignatureConfig, View
from nait_index.errors import NaitError

from .built import show_built
from .completion import a_file, a_folder
from .options import (
    Place,
    device_option,
    engine_options,
    format_option,
    index_argument,
    json_option,
    replace_option,
    row_format_of,
    runner_of,
)
from .output import note, print_facts
from .progress import build_progress

_MODEL, _SIGNATURES = ModelConfig(), SignatureConfig()


@click.command(short_help="Run the model once over a corpus; keep a signature a row.")
@index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="CORPUS...", shell_complete=a_file)
@click.option(
    "--model",
    default=BUNDLED_MODEL,
    show_default=True,
    shell_complete=a_folder,
    help="Folder or hub name of a Hugging Face model.",
)
@click.option(
    "--views", default=",".join(_SIGNATURES.views), show_default=True, help=f"Signatures to keep, of {', '.join(View)}."
)
@click.option(
    "--pca-dim", default=str(_SIGNATURES.pca_dim), show_default=True, help="Bytes a row that a search scans, or 'full'."
)
@click.option(
    "--fine-dim", default=_SIGNATURES.fine_dim, show_default=True, help="Bytes a row for nait's rows near the cut."
)
@click.option("--topk", default=_SIGNATURES.topk, show_default=True, help="Neurons kept a layer by the topk view.")
@click.option("--sae", metavar="FOLDER", help="Sparse autoencoder of the sae view; see 'nait-index sae train'.")
@click.option("--sae-keep", default=_SIGNATURES.sae_keep, show_default=True, help="Codes kept a row by the sae view.")
@click.option("--grad-dim", default=_SIGNATURES.grad_dim, show_default=True, help="Width of the grad view.")
@click.option("--layers", default=_MODEL.layers, show_default=True, help="all, last, or numbers such as 8,16 or -1.")
@click.option("--site", default=_MODEL.site, show_default=True, help="mlp, or a module path with {i} for the layer.")
@click.option(
    "--template", default=_MODEL.template, show_default=True, help="auto, alpaca, chat, text, or a Jinja file."
)
@click.option("--max-length", default=_MODEL.max_length, show_default=True, help="Cut texts after so many tokens.")
@click.option("--batch-tokens", type=int, help="Tokens a batch, padding counted. Default: 2048, on a GPU 65536.")
@click.option(
    "--dtype", type=click.Choice([str(p) for p in Precision]), default=str(_MODEL.dtype), show_default=True,
    help="What the model computes in; auto is bfloat16 where the processor or GPU is made for it, else float32.",
)  # fmt: skip
@click.option("--seed", default=_SIGNATURES.seed, show_default=True, help="Seed of the order of encoding.")
@click.option("--approximate", is_flag=True, help="Make an approximate search too, for few rows of very many.")
@replace_option
@click.option("--limit", type=int, help="Read only the first so many rows.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and build nothing.")
@engine_options
@device_option
@format_option
@json_option
def build(
    index: Place,
    corpus: tuple[str, ...],
    views: str,
    pca_dim: str,
    fine_dim: int,
    topk: int,
    sae: str | None,
    sae_keep: int,
    grad_dim: int,
    seed: int,
    limit: int | None,
    approximate: bool,
    replace: bool,
    dry_run: bool,
    row_format: str | None,
    as_json: bool,
    engine: str,
    workers: int | None,
    address: str | None,
    **model: Any,  # noqa: ANN401 - the options of ModelConfig, by name
) -> None:
    """Run the model once over CORPUS and keep a signature of every row in INDEX.

    CORPUS is any number of .json, .jsonl, .jsonl.gz, .csv or .parquet files, Arrow folders, or - for standard input.
    Run it again to finish an interrupted build, or with more rows to add what is new.

    \b
    Example:
      nait-index build alpaca.nait alpaca.jsonl --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.index import NaitIndex

    config = _model_config(model)
    signatures = SignatureConfig(
        views=_views(views),
        pca_dim=_pca_dim(pca_dim),
        fine_dim=fine_dim,
        topk=topk,
        sae=sae,
        sae_keep=sae_keep,
        grad_dim=grad_dim,
        seed=seed,
    )
    if config.name == BUNDLED_MODEL:
        note("using the small bundled model, made for trying things out; name a real one with --model")
    form = row_format_of(row_format)
    if dry_run:
        told = NaitIndex.estimate(corpus, model=config, signatures=signatures, row_format=form, limit=limit)
        facts = asdict(told)
        if not as_json:  # a measurement of some seconds: more digits would mean nothing
            facts["tokens_per_second"] = round(told.tokens_per_second)
            facts["minutes"] = f"{told.minutes:,.0f}" if told.minutes >= 10 else f"{told.minutes:.1g}"
        print_facts(facts, as_json)
        return
    with build_progress() as progress:
        built = NaitIndex.build(
            index.path,
            corpus,
            model=config,
            signatures=signatures,
            row_format=form,
            limit=limit,
            progress=progress,
            approximate=approximate,
            replace=replace,
            storage=index.storage,
            runner=runner_of(engine, workers, address),
        )
    show_built(built, as_json)


def _model_config(options: dict[str, Any]) -> ModelConfig:
    from nait_index.config import Device

    options = dict(options)
    device, dtype = Device(options.pop("device")), Precision(options.pop("dtype"))
    return ModelConfig(name=options.pop("model"), device=device, dtype=dtype, **options)


def _views(text: str) -> tuple[View, ...]:
    from nait_index.spelling import parse_enum

    try:
        return tuple(parse_enum(View, name.strip(), "view") for name in text.split(","))
    except NaitError as error:
        raise click.BadParameter(str(error), param_hint="--views") from None


def _pca_dim(text: str) -> int | None:
    if text == "full":
        return None
    if not text.isdecimal():
        raise click.BadParameter(f"'{text}' is neither a number nor 'full'", param_hint="--pca-dim")
    return int(text)
