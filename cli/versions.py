"""``nait-index versions``, ``tag``, ``restore`` and ``optimize``: the past of an index."""

from dataclasses import asdict

import click

from .completion import a_version
from .options import Place, at_option, force_option, index_argument, json_option
from .output import note, print_facts, print_json, print_table


@click.command(short_help="List the versions that are kept.")
@index_argument
@json_option
def versions(index: Place, as_json: bool) -> None:
    """List the versions of INDEX that are kept, the last one last.

    Every change makes one. --at VERSION|TAG reads an old one, with any command that reads.

    \b
    Example:
      nait-index versions alpaca.nait
      nait-index query alpaca.nait --at 3 -c math -o as-it-was.jsonl
    """
    from nait_index.index import NaitIndex

    found = NaitIndex.versions(index.path, storage=index.storage)
    if as_json:
        print_json(found)
        return
    print_table(
        ("version", "created", "rows", "tags", "change"),
        [(own["version"], own["created"], own["rows"], ", ".join(own["tags"]), own["change"]) for own in found],
        whole=True,
    )


@click.command(short_help="Name a version, so that it is kept.")
@at_option
@index_argument
@click.argument("name")
@click.option("--delete", is_flag=True, help="Forget the tag; the version then goes the way of others.")
@force_option
def tag(index: Place, name: str, delete: bool, force: bool) -> None:
    """Name the last version of INDEX, or that of --at; a version with a tag is never forgotten.

    \b
    Example:
      nait-index tag alpaca.nait paper-v1
      nait-index query alpaca.nait --at paper-v1 -c math -o math.jsonl
    """
    opened = index.open()
    if delete:
        opened.remove_tag(name)
        note(f"tag '{name}' is gone")
    else:
        note(f"'{name}' is version {opened.tag(name, force=force)}")


@click.command(short_help="Make an old version the last one again.")
@index_argument
@click.argument("version", metavar="VERSION|TAG", shell_complete=a_version)
def restore(index: Place, version: str) -> None:
    """Make an old version of INDEX the last one again. Those between stay.

    Of the last version itself, this gives up an interrupted build and what it has added so far.

    \b
    Example:
      nait-index restore alpaca.nait paper-v1
    """
    from nait_index.index import NaitIndex

    note(f"{version} is version {NaitIndex.restore(index.path, version, storage=index.storage)} now")


@click.command(short_help="Merge files, and forget old versions without a tag.")
@index_argument
@click.option(
    "--keep-days",
    type=float,
    default=7,
    show_default=True,
    help="Keep what was replaced since, and all tags.",
)
@json_option
def optimize(index: Place, keep_days: float, as_json: bool) -> None:
    """Merge the files of INDEX, and forget old versions without a tag.

    Never a tagged version, and none at all while anybody has INDEX open.

    \b
    Example:
      nait-index optimize alpaca.nait --keep-days 30
    """
    done = index.open().optimize(keep_days)
    facts = asdict(done)
    if not as_json:
        facts |= {name: "{:,} before, {:,} now".format(*facts[name]) for name in ("fragments", "size")}
    print_facts(facts, as_json)
    if done.in_use:
        note("nothing was forgotten: somebody has the index open; try again later")
