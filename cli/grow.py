"""``nait-index add``, ``remove`` and ``rebuild``: an index whose corpus changes."""

from pathlib import Path

import click

from nait_index.config import Device

from .built import show_built
from .completion import a_file, a_folder
from .options import (
    Place,
    at_option,
    device_option,
    engine_options,
    format_option,
    index_argument,
    json_option,
    model_override_option,
    replace_option,
    row_format_of,
    runner_of,
)
from .output import note, print_facts
from .progress import build_progress


@click.command(short_help="Add rows, with the model and settings of the build.")
@index_argument
@click.argument("corpus", nargs=-1, required=True, metavar="MORE...", shell_complete=a_file)
@replace_option
@click.option("--limit", type=int, help="Read only the first so many rows.")
@model_override_option
@engine_options
@device_option
@format_option
@json_option
def add(
    index: Place,
    corpus: tuple[str, ...],
    replace: bool,
    limit: int | None,
    model: str | None,
    device: str,
    row_format: str | None,
    engine: str,
    workers: int | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Add the rows of MORE to INDEX, with the model and settings that it was built with.

    Rows that it has already are left out. A row of the same id and another content is an error, unless --replace is
    given. Interrupted, the same command goes on.

    \b
    Example:
      nait-index add alpaca.nait this-week.jsonl
    """
    from nait_index.index import NaitIndex

    with build_progress() as progress:
        built = NaitIndex.add(
            index.path,
            corpus,
            row_format=row_format_of(row_format),
            limit=limit,
            replace=replace,
            model=model,
            device=Device(device),
            progress=progress,
            storage=index.storage,
            runner=runner_of(engine, workers, address),
        )
    show_built(built, as_json)


@click.command(short_help="Take rows out.")
@index_argument
@click.option(
    "--ids",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The rows with these ids, one a line.",
)
@click.option("--where", metavar="SQL", help="The rows that this holds for, e.g. \"source = 'x'\".")
@json_option
def remove(index: Place, ids: Path | None, where: str | None, as_json: bool) -> None:
    """Remove rows from INDEX. Earlier versions keep them; see 'nait-index versions'.

    Rows that are still in a corpus file come back when that file is built or added again.

    \b
    Example:
      nait-index remove alpaca.nait --where "source = 'spam'"
    """
    from nait_index.upkeep.removing import read_ids

    if (ids is None) == (where is None):
        raise click.UsageError("say which rows: with --ids FILE or with --where SQL")
    opened = index.open()
    count = opened.remove(None if ids is None else read_ids(ids), where=where)
    left = len(opened) - count
    print_facts({"removed": count, "rows": left}, as_json)


@click.command(short_help="Encode the stored rows again, when the corpus has shifted.")
@at_option
@index_argument
@click.argument("new", shell_complete=a_folder)
@model_override_option
@device_option
@json_option
def rebuild(index: Place, new: str, model: str | None, device: str, as_json: bool) -> None:
    """Encode the rows that INDEX keeps into the index NEW, with a basis that is fitted to all of them.

    For a corpus that has shifted away from what the first build saw; 'add' says when. Settings, scores and
    capabilities come along, INDEX stays as it is, and the corpus files are not needed. NEW takes the same
    --storage-option as INDEX where both lie in an object store.

    \b
    Example:
      nait-index rebuild alpaca.nait alpaca-2.nait
    """
    opened = index.open(model, device)
    with build_progress() as progress:
        built = opened.rebuild(new, progress=progress, storage=index.storage if "://" in new else None)
    show_built(built, as_json)
    note(f"{new} is a new index; {index.path} was left as it is")
