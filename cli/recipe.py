"""``nait-index run``, ``recipe`` and ``try``: the whole way in one command."""

from pathlib import Path
from shlex import quote
from typing import Any

import click

from nait_index.config import BUNDLED_MODEL

from . import options as opt
from .completion import a_file
from .options import IndexTarget
from .output import counted, note, print_json, print_selection
from .progress import build_progress

_SHOWN = 10


@click.command(short_help="Do what a recipe says: build, choose, write.")
@click.argument("recipe", type=click.Path(path_type=Path), shell_complete=a_file)
@click.option("--schema", is_flag=True, is_eager=True, expose_value=False, help="Print the JSON schema of recipes.",
              callback=lambda context, _, wanted: _print_schema(context) if wanted else None)  # fmt: skip
def run(recipe: Path) -> None:
    """Do what RECIPE says, and write RECIPE.lock.json, which records what came of it.

    A recipe is a YAML file that names a corpus, a model, capabilities and selections. What is up to date is left as it
    is; if interrupted, run the same command again to continue.

    \b
    Example:
      nait-index run recipe.yaml
    """
    from nait_index.recipes.recipe import read_recipe
    from nait_index.recipes.run import run_recipe

    with build_progress() as progress:
        outcome = run_recipe(read_recipe(recipe), note, progress, command=opt.typed_command())
    note(f"wrote {outcome.lock}")


def _print_schema(context: click.Context) -> None:
    from nait_index.recipes.document import schema

    print_json(schema())
    context.exit()


@click.command(short_help="Write a recipe of what was chosen by hand.")
@opt.index_at_version
@click.argument("selection", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.meta.json")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="recipe.yaml", metavar="RECIPE.yaml",
    help="File to write; the examples go beside it.",
)  # fmt: skip
@opt.force_option
def recipe(index: IndexTarget, selection: Path, output: Path, force: bool) -> None:
    """Write a recipe that builds INDEX again and chooses what OUT.meta.json describes.

    \b
    Example:
      nait-index recipe alpaca.nait math.jsonl.meta.json -o math.yaml
    """
    from nait_index.recipes.from_selection import write_recipe

    written = write_recipe(index.open(), selection, output, force=force)
    note(f"wrote {written[0]}, and the examples in {', '.join(map(str, written[1:]))}")


@click.command("try", short_help="From a corpus and examples to a report, in one command.")
@click.argument("corpus", nargs=-1, required=True, metavar="CORPUS...", shell_complete=a_file)
@opt.examples_option
@click.option("--model", default=BUNDLED_MODEL, help="Folder or hub name of a Hugging Face model.")
@opt.top_option("10%", "N|P%", "Number or share of rows to choose.")
@click.option("--limit", type=int, metavar="N", help="Read at most N rows.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default="tried", metavar="FOLDER",
    help="Folder of the index, the chosen rows and the report.",
)  # fmt: skip
def try_(corpus: tuple[str, ...], files: tuple[str, ...], model: str, output: Path, **options: Any) -> None:
    """Build an index of CORPUS where there is none, choose rows by examples, and write them and a report to a folder.

    Run again, it takes in rows of CORPUS that are new or changed. Another corpus needs another folder.

    \b
    Example:
      nait-index try alpaca.jsonl -e gsm8k.jsonl --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.recipes.attempt import attempt

    if not files:
        raise click.UsageError("give a file of examples with -e FILE")
    with build_progress() as progress:
        command = opt.typed_command()
        made = attempt(output, corpus, files, model=model, progress=progress, command=command, tell=note, **options)
    for name, (selection, path) in made.selections.items():
        click.echo(
            f"\n{name}: {len(selection):,} of {counted(len(made.index), 'row')} chosen, in {path}; the best {_SHOWN}:"
        )
        print_selection(selection, _SHOWN)
    click.echo(err=True)
    note(made.no_report if made.report is None else f"report, to open in a browser: {made.report}")
    note(
        f"next: nait-index query {quote(str(made.index.layout.name))} -c {quote(next(iter(made.selections)))} --top 5%"
    )
