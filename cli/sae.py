"""``nait-index sae``: sparse autoencoders."""

from dataclasses import asdict
from pathlib import Path

import click

from nait_index.config import Device

from .completion import a_file
from .options import device_option, force_option, format_option, json_option, row_format_of
from .output import note, print_json, print_table
from .progress import training_progress


@click.group(short_help="Train the sparse autoencoder that the view sae needs.")
def sae() -> None:
    """Train the sparse autoencoder that the view sae needs, where none exists for a model.

    \b
    Example:
      nait-index sae train qwen.sae corpus.jsonl --model Qwen/Qwen2.5-0.5B
    """


@sae.command("train", short_help="Train one on the rows of an index or of corpus files.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="INDEX|CORPUS...", shell_complete=a_file)
@click.option("--model", help="Folder or hub name of a Hugging Face model. Default: the index's, or the bundled one.")
@click.option("--layer", default=-2, show_default=True, help="Read the residual stream after this layer.")
@click.option("--latents", type=int, help="How many. Default: 8 times the width of the residual stream.")
@click.option("--k", type=int, default=32, show_default=True, help="Latents that a token keeps.")
@click.option("--tokens", type=int, default=500_000, show_default=True, help="Most tokens to train on.")
@click.option("--template", help="As in build. Default: the index's, or auto.")
@click.option("--max-length", type=int, help="As in build. Default: the index's, or 2048.")
@click.option("--seed", default=0, show_default=True, help="Seed of the sample of rows, the start and the order.")
@device_option
@format_option
@force_option
@json_option
def train(
    out: Path,
    sources: tuple[str, ...],
    model: str | None,
    layer: int,
    latents: int | None,
    k: int,
    tokens: int,
    template: str | None,
    max_length: int | None,
    seed: int,
    device: str,
    row_format: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Train a TopK sparse autoencoder on the rows of INDEX or of CORPUS files, and write it into the folder OUT.

    The tokens lie in memory while it is trained: 4 bytes for each and each number in its hidden state.

    \b
    Example:
      nait-index sae train qwen.sae corpus.jsonl --model Qwen/Qwen2.5-0.5B
      nait-index build alpaca.nait corpus.jsonl --model Qwen/Qwen2.5-0.5B --views pca,sae --sae qwen.sae
    """
    from nait_index.activations.sae.training import SaeSettings
    from nait_index.building.autoencoder import train_sae

    with training_progress() as advance:
        report = train_sae(
            out,
            sources,
            model=model,
            layer=layer,
            settings=SaeSettings(latents=latents, k=k, tokens=tokens, seed=seed),
            template=template,
            max_length=max_length,
            device=Device(device),
            row_format=row_format_of(row_format),
            force=force,
            advance=advance,
        )
    if as_json:
        print_json(asdict(report))
    else:
        print_table(("", ""), [(name.replace("_", " "), value) for name, value in asdict(report).items()])
    note(f"written to {out}; build with --views pca,sae --sae {out}")
