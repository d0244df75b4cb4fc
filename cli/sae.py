"""``nait-index sae``: sparse autoencoders."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from . import options as opt
from .completion import a_file
from .output import note, print_facts
from .progress import training_progress


@click.group(short_help="Train the sparse autoencoder that the sae view needs.")
def sae() -> None:
    """Train the sparse autoencoder that the sae view needs, for a model that has none.

    \b
    Example:
      nait-index sae train qwen.sae corpus.jsonl --model Qwen/Qwen2.5-0.5B
    """


@sae.command("train", short_help="Train one on the rows of an index or of corpus files.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="INDEX|CORPUS...", shell_complete=a_file)
@click.option("--model", help="Folder or hub name of a Hugging Face model. Default: the index's, or the bundled one.")
@click.option("--layer", default=-2, show_default=True, help="Train on the residual stream after this layer.")
@click.option("--latents", type=int, help="Number of latents. Default: 8 times the width of the residual stream.")
@click.option("--k", type=int, default=32, show_default=True, help="Active latents per token.")
@click.option("--tokens", type=int, default=500_000, show_default=True, help="Train on at most this many tokens.")
@click.option("--template", help="As in build. Default: the index's, or auto.")
@click.option("--max-length", type=int, help="As in build. Default: the index's, or 2048.")
@click.option("--seed", default=0, show_default=True, help="Seed of row sampling, initialization and order.")
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
    print_facts(asdict(report), as_json)
    note(f"written to {out}; build with --views pca,sae --sae {out}")
