"""``nait-index prove``: whether training on the chosen rows helps a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nait_index.methods.registry import DEFAULT_METHOD, MethodName

from . import options as opt
from .options import IndexTarget
from .output import counted, note, print_json, print_table

if TYPE_CHECKING:
    from nait_index.proving.prove import Proof
    from nait_index.proving.results import Results
    from nait_index.proving.runs import Run

_METHODS = click.Choice([str(name) for name in MethodName])


@click.command(short_help="Prove whether a choice teaches your model.")
@opt.index_at_version
@opt.capabilities_option("A stored capability. Repeatable.")
@opt.examples_option
@click.option(
    "--method", "methods", type=_METHODS, multiple=True, default=[str(DEFAULT_METHOD)],
    help="What chooses the rows, beside random rows and bm25. Repeatable.",
)  # fmt: skip
@opt.top_option("10%", "N|P%", "Number or share of rows to choose.")
@opt.where_option
@opt.format_option
@click.option("--tune", metavar="MODEL", help="Folder or hub name of the model to fine-tune. Default: INDEX's own.")
@click.option("--tokens", default=4000, help="Tokens of answers that each run learns from.")
@click.option("--steps", default=20, help="Steps of each run.")
@click.option("--seeds", default=3, help="Runs of each choice; the seed also decides which examples are held out.")
@click.option("--held-out", default=32, help="Held-out examples to measure on, at most.")
@click.option("--chrf", is_flag=True, help="Also generate the held-out answers, and compare them by chrF.")
@click.option("--max-length", default=256, help="Most tokens of a row.")
@click.option("--layers", default=0, help="Adapters in this many upper layers only, which is faster; 0 for all.")
@click.option("--rate", default=5e-4, help="Learning rate.")
@opt.model_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="proof.json", metavar="OUT.json",
    help="Where the result goes; OUT.png beside it is a picture, OUT.runs.jsonl the finished runs.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Estimate the cost without training anything.")
@opt.json_option
def prove(index: IndexTarget, output: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Fine-tune copies of a model on what INDEX chooses, on random rows and on BM25's, and compare what they learned.

    Half of each capability's examples choose the rows; the loss on the answers of the other half is what counts. All
    runs learn from equally many tokens of answers, with low-rank adapters (LoRA). Run the command again to resume.
    Needs nait-index[prove].

    \b
    Example:
      nait-index prove alpaca.nait -c math --dry-run
      nait-index prove alpaca.nait -c math -c code --seeds 5 -o proof.json
    """
    from nait_index.proving.prove import PICTURE, RUNS, check_output, open_prover

    check_output(output)
    prover = open_prover(index.open(), runs=output.with_suffix(RUNS), **_settings(options))
    cost = prover.cost()
    if prover.left_out:
        note(f"{counted(prover.left_out, 'chosen row')} like an example left out")
    note(f"{len(prover.planned.runs)} runs, {cost.runs} of them still to do: about {_duration(cost.seconds)}")
    if dry_run:
        if as_json:
            print_json({"runs": len(prover.planned.runs), "to_do": cost.runs, "seconds": round(cost.seconds, 1)})
        return
    proof = prover.run(_progress)
    proof.write(output)
    picture = proof.draw(output.with_suffix(PICTURE))
    note(f"wrote {output}" + (f" and {picture}" if picture else "; a picture needs nait-index[report]"))
    if as_json:
        print_json(proof.to_dict())
    else:
        _print(proof)


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Collect the settings of the proof and of its runs."""
    from nait_index.proving.prove import ProofSettings
    from nait_index.proving.recipe import TuningRecipe

    recipe = TuningRecipe(
        answer_tokens=options["tokens"],
        steps=options["steps"],
        max_length=options["max_length"],
        layers=options["layers"],
        learning_rate=options["rate"],
    )
    methods = tuple(MethodName(method) for method in options["methods"])
    settings = ProofSettings(
        methods,
        options["top"],
        options["where"],
        options["seeds"],
        options["held_out"],
        chrf=options["chrf"],
        recipe=recipe,
    )
    return {
        "capabilities": options["names"],
        "files": options["files"],
        "row_format": options["row_format"],
        "settings": settings,
        "tune": options["tune"],
    }


def _progress(run: "Run", number: int, total: int) -> None:
    note(f"run {number + 1} of {total}: {run}")


def _print(proof: "Proof") -> None:
    """Print the loss of every arm against random rows, with the accuracy where it is any, and the verdict."""
    results = proof.results
    header = ["trained on", *results.capabilities, *(["mean"] if len(results.capabilities) > 1 else [])]
    rows = [[arm, *_cells(results, arm)] for arm in results.arms]
    click.echo("answer loss against random rows, with the limits between which it lies in 95 % of cases\n")
    print_table(header, rows)
    if proof.settings.chrf:
        click.echo("\nchrF of the answers that it generates, of 100\n")
        print_table(
            ["trained on", *results.capabilities],
            [[arm, *(_chrf(results, arm, name) for name in results.capabilities)] for arm in results.arms],
        )
    click.echo(f"\n{proof.sentence}")
    click.echo(f"choosing took {proof.ratio:.3f} times as long as one fine-tuning")


def _cells(results: "Results", arm: str) -> list[str]:
    from nait_index.proving.plan import RANDOM

    names = results.capabilities
    if arm == RANDOM:
        return [f"{results.accuracy(arm, name)['loss']:.3f} a token" for name in names] + [""] * (len(names) > 1)
    cells = [str(results.compare(arm, name).interval()) for name in names]
    return [*cells, str(results.mean(arm).interval())] if len(names) > 1 else cells


def _chrf(results: "Results", arm: str, capability: str) -> str:
    return f"{results.accuracy(arm, capability)['chrf']:.1f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
