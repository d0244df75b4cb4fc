"""``nait-index demo``: everything, offline, in a minute."""

from pathlib import Path

import click

from .options import force_option
from .output import note, preview, print_table
from .progress import build_progress

SHOWN = 5


@click.command(short_help="Everything, offline, in a minute.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo-out"))
@force_option
def demo(folder: Path, force: bool) -> None:
    """Run the main job on a bundled corpus with a bundled model, and write the outcome to FOLDER.

    Builds an index, asks it for several skills, finds the stable core, and writes each selection. Takes about a minute
    on two CPU cores and needs no network.

    \b
    Example:
      nait-index demo demo-out
    """
    from nait_index.demo.run import run

    with build_progress() as progress:
        outcome = run(folder, force=force, progress=progress)
    for name, selection in outcome.selections.items():
        click.echo(f"\n{name}: the best {SHOWN} of {len(selection):,} rows chosen")
        print_table(
            ("rank", "score", "id", "row"),
            [
                (own["rank"], own["score"], own["id"], preview(row))
                for own, row in zip(selection.records()[:SHOWN], selection.rows(SHOWN), strict=True)
            ],
        )
    core = outcome.core.provenance.core
    assert core is not None
    names = ", ".join(outcome.selections)
    click.echo(f"\nstable core: {core.found} rows that {names} all chose; chance would give {core.chance}")
    click.echo(err=True)
    note(f"index, corpus and selections: {folder}")
    note(f"next: nait-index query {folder / 'demo.nait'} -c {next(iter(outcome.selections))} --top 5%")
