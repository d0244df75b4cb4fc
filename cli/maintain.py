"""``nait-index versions``, ``tag``, ``restore``, ``remove``, ``rebuild`` and ``optimize``: an index over time."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from nait_index.config import SignatureConfig

from . import options as opt
from .build import print_report
from .completion import a_folder, a_version
from .options import IndexTarget
from .output import note, print_facts, print_json, print_table
from .progress import build_progress


@click.command(short_help="List the versions that are kept.")
@opt.index_argument
@opt.json_option
def versions(index: IndexTarget, as_json: bool) -> None:
    """List the versions of INDEX that are kept, newest last.

    Every change makes a version. All commands that read INDEX can read an old one with --at VERSION|TAG.

    \b
    Example:
      nait-index versions alpaca.nait
      nait-index query alpaca.nait --at 3 -c math -o as-it-was.jsonl
    """
    from nait_index.index import NaitIndex

    kept = NaitIndex.versions(index.path, storage=index.storage)
    if as_json:
        print_json(kept)
        return
    columns = ("version", "created", "rows", "tags", "change")
    rows = [version | {"tags": ", ".join(version["tags"])} for version in kept]
    print_table(columns, [[row[name] for name in columns] for row in rows], whole=True)


@click.command(short_help="Give a version a name, so that it is kept.")
@opt.index_at_version
@click.argument("name")
@click.option("--delete", is_flag=True, help="Delete the tag; the version then expires like any other.")
@opt.force_option
def tag(index: IndexTarget, name: str, delete: bool, force: bool) -> None:
    """Tag the newest version of INDEX, or the one given by --at, as NAME. Tagged versions are never deleted.

    \b
    Example:
      nait-index tag alpaca.nait paper-v1
      nait-index query alpaca.nait --at paper-v1 -c math -o math.jsonl
    """
    opened = index.open()
    if delete:
        opened.remove_tag(name)
        note(f"deleted the tag '{name}'")
    else:
        note(f"'{name}' is version {opened.tag(name, force=force)}")


@click.command(short_help="Make an old version the newest again.")
@opt.index_argument
@click.argument("version", metavar="VERSION|TAG", shell_complete=a_version)
def restore(index: IndexTarget, version: str) -> None:
    """Make an old version of INDEX the newest again. The versions in between are kept.

    Restoring the newest version itself discards an interrupted build and the rows it has added so far.

    \b
    Example:
      nait-index restore alpaca.nait paper-v1
    """
    from nait_index.index import NaitIndex

    note(f"{version} is now version {NaitIndex.restore(index.path, version, storage=index.storage)}")


@click.command(short_help="Remove rows.")
@opt.index_argument
@click.option(
    "--ids", type=click.Path(path_type=Path), metavar="FILE", help="Remove the rows with these ids, one per line."
)
@click.option("--where", metavar="SQL", help="Remove the rows that match, e.g. \"source = 'x'\".")
@opt.json_option
def remove(index: IndexTarget, ids: Path | None, where: str | None, as_json: bool) -> None:
    """Remove rows from INDEX. Earlier versions keep them; see 'nait-index versions'.

    Rows that are still in a corpus file come back when that file is built or added again.

    \b
    Example:
      nait-index remove alpaca.nait --where "source = 'spam'"
    """
    from nait_index.upkeep.remove import read_ids

    if (ids is None) == (where is None):
        raise click.UsageError("say which rows: with --ids FILE or with --where SQL")
    opened = index.open()
    count = opened.remove(None if ids is None else read_ids(ids), where=where)
    print_facts({"removed": count, "rows": len(opened) - count}, as_json)


@click.command(short_help="Encode the stored rows again after the corpus has shifted.")
@opt.index_at_version
@click.argument("new", shell_complete=a_folder)
@opt.model_options
@opt.json_option
def rebuild(index: IndexTarget, new: str, as_json: bool) -> None:
    """Encode the rows stored in INDEX again into the index NEW, with a basis fitted to all of them.

    Use it when the corpus has shifted away from what the first build saw; 'add' reports that. Settings, scores and
    capabilities are copied, INDEX is left unchanged, and the corpus files are not needed. If both are in an object
    store, NEW uses the same --storage-option as INDEX.

    \b
    Example:
      nait-index rebuild alpaca.nait alpaca-2.nait
    """
    opened = index.open()
    with build_progress() as progress:
        built = opened.rebuild(new, progress=progress, storage=index.storage if "://" in new else None)
    print_report(built, as_json)
    note(f"{new} is a new index; {index.path} is unchanged")


_GRADIENTS = SignatureConfig()


@click.command(short_help="Take the gradients of a few rows, for the method influence.")
@opt.index_argument
@click.option("--landmarks", "count", default=_GRADIENTS.landmarks, help="Rows whose gradients are taken.")
@click.option("--grad-dim", default=_GRADIENTS.grad_dim, help="Numbers per gradient and checkpoint.")
@click.option("--grad-layers", default=_GRADIENTS.grad_layers, help="Layers from the top; 0 is all of them.")
@click.option("--grad-checkpoints", default=_GRADIENTS.grad_checkpoints, help="Checkpoints of the warm-up.")
@opt.model_options
@opt.json_option
def landmarks(
    index: IndexTarget, count: int, grad_dim: int, grad_layers: int, grad_checkpoints: int, as_json: bool
) -> None:
    """Add the view landmarks to an INDEX that was built without it: the gradients of some of its rows.

    The rows and their signatures stay as they are, and the examples of the stored capabilities are encoded again.
    Needs pip install 'nait-index[gradients]'.

    \b
    Example:
      nait-index landmarks alpaca.nait
      nait-index query alpaca.nait -c math --method influence -o math.jsonl
    """
    opened = index.open().add_landmarks(
        landmarks=count, grad_dim=grad_dim, grad_layers=grad_layers, grad_checkpoints=grad_checkpoints
    )
    print_facts({"landmarks": len(opened.columns.landmarks()[0]), "version": opened.manifest.version}, as_json)


@click.command(short_help="Merge files, and delete old versions without a tag.")
@opt.index_argument
@click.option(
    "--keep-days", type=float, default=7, metavar="DAYS",
    help="Keep the versions replaced in the last DAYS days, and all tagged ones.",
)  # fmt: skip
@opt.json_option
def optimize(index: IndexTarget, keep_days: float, as_json: bool) -> None:
    """Merge the files of INDEX, and delete old versions without a tag.

    Tagged versions are never deleted, nor is any version while INDEX is open elsewhere.

    \b
    Example:
      nait-index optimize alpaca.nait --keep-days 30
    """
    optimized = index.open().optimize(keep_days)
    before, now = optimized.size
    if as_json:
        print_json(asdict(optimized))
        return
    facts: dict[str, Any] = {
        "files of rows": "{:,} before, {:,} now".format(*optimized.fragments),
        "versions deleted": optimized.forgotten,
        "versions kept": optimized.kept,
        "bytes on disk": f"{before:,} before, {now:,} now",
    }
    print_facts(facts, as_json)
    if optimized.in_use:
        note("no version was deleted, because the index is open elsewhere; try again later")
    elif now > before:
        note(
            "the index grew: versions that are kept still need the files that were merged; they are deleted with those "
            "versions, by optimize with fewer --keep-days, or later"
        )
