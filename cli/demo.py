"""``nait-index demo``: the main job on what comes with the package."""

import os
import shutil
import sys
from pathlib import Path
from shlex import join

import click

from . import options as opt
from .build import print_report
from .output import note, print_selection
from .progress import build_progress

_ROWS = 3
"""Rows that are shown of each selection."""


@click.command(short_help="Try everything offline, in a minute.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo-out"))
@opt.force_option
def demo(folder: Path, force: bool) -> None:
    """Build an index of a bundled corpus with a bundled model, select rows from it, and write the results to FOLDER.

    Queries the index for several skills, finds a core that serves all of them, and writes each selection and a report.
    Takes about a minute on two CPU cores and needs no network. A finished demo is left as it is.

    \b
    Example:
      nait-index demo demo-out
    """
    from nait_index.demo.run import QUERIED, is_finished, run

    if not force and is_finished(folder):
        note(f"{folder} holds a finished demo, which is left as it is; --force makes it anew")
        _show_next(folder, QUERIED[0])
        return
    with build_progress() as progress:
        outcome = run(folder, force=force, progress=progress)
    print_report(outcome.index, as_json=False)
    for name, selection in outcome.selections.items():
        labels = outcome.labels(name)
        right = f"{labels.chosen:,} of the {labels.corpus:,} rows that are labelled {name} are among them"
        click.echo(f"\n{name}: {len(selection):,} of {len(outcome.index):,} rows chosen; {right}; the best {_ROWS}:")
        print_selection(selection, _ROWS)
    core = outcome.core.provenance.core
    assert core is not None
    names = ", ".join(outcome.selections)
    click.echo("\n" + "; ".join([f"core: {core.rows} rows that serve {names}", *core.sentences]))
    click.echo(err=True)
    note(f"corpus, index and selections: {folder}")
    note(outcome.no_report if outcome.report is None else f"report, to open in a browser: {outcome.report}")
    _show_next(folder, QUERIED[0])


def _show_next(folder: Path, skill: str) -> None:
    index = str(folder / "demo.nait")
    for words in (["query", index, "-c", skill, "--top", "5%"], ["explore", index]):
        note("next: " + join([program(sys.argv[0]), *words]))


def program(started_as: str) -> str:
    """Return what a shell starts this program by: its name where that is on the path, else the file."""
    name = Path(started_as).name
    known = shutil.which(name)
    if os.path.dirname(started_as) and not (known and Path(known).resolve() == Path(started_as).resolve()):
        near = os.path.relpath(started_as)
        return started_as if near.startswith("..") else near
    return name
