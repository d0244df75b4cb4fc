"""``nait-index capability``: stored target skills."""

import json
from pathlib import Path
from typing import Any

import click

from . import options as opt
from .completion import a_capability, a_file
from .options import IndexTarget
from .output import PREVIEW_ROWS, counted, note, preview, print_json, print_table, rejected_text


@click.group(short_help="Store target skills in an index, by name.")
def capability() -> None:
    """Store target skills in an index, and use them by name.

    \b
    Example:
      nait-index capability add alpaca.nait math gsm8k.jsonl
    """


@capability.command("add", short_help="Encode examples, and store them under a name.")
@opt.index_argument
@click.argument("name", shell_complete=a_capability)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=a_file)
@opt.force_option
@opt.format_option
@opt.model_options
def add(index: IndexTarget, name: str, files: tuple[str, ...], **options: Any) -> None:
    """Encode the examples in FILE the way the corpus was encoded, and store them as NAME.

    FILE holds rows like the corpus, which need no answers, or a paragraph per example (.txt); 16 to 64 are enough to
    start with. NAME is made of letters of any script, digits, spaces, and - _ . : (at
    most 200 characters).

    \b
    Example:
      nait-index capability add alpaca.nait math gsm8k.jsonl
    """
    stored = index.open().add_capability(name, files, **options)
    rejected = rejected_text(stored) + ("" if stored.rejected else ", 0 rejected")
    note(f"stored '{name}': {counted(len(stored), 'example')}, {stored.truncated} truncated{rejected}")
    for warning in stored.warnings:
        note(warning)


@capability.command("list")
@opt.index_at_version
@opt.json_option
def list_(index: IndexTarget, as_json: bool) -> None:
    """List the stored capabilities.

    \b
    Example:
      nait-index capability list alpaca.nait
    """
    stored = index.open().capabilities()
    if as_json:
        print_json(stored)
    elif stored:
        print_table(list(stored[0]), [list(facts.values()) for facts in stored])
    else:
        note("no capability is stored yet: nait-index capability add INDEX NAME FILE")


@capability.command("show", short_help="Show the examples of a stored capability.")
@opt.index_at_version
@click.argument("name", shell_complete=a_capability)
@opt.json_option
def show(index: IndexTarget, name: str, as_json: bool) -> None:
    """Show the first examples of a stored capability, or all of them with --json.

    \b
    Example:
      nait-index capability show alpaca.nait math
    """
    examples = index.open().capability_rows(name)
    if as_json:
        print_json([json.loads(row) for row in examples])
        return
    print_table(("", "example"), enumerate(map(preview, examples[:PREVIEW_ROWS]), start=1))
    more = f", the first {PREVIEW_ROWS} shown" if len(examples) > PREVIEW_ROWS else ""
    note(f"{counted(len(examples), 'example')}{more}")


@capability.command("remove")
@opt.index_argument
@click.argument("name", shell_complete=a_capability)
def remove(index: IndexTarget, name: str) -> None:
    """Remove a stored capability.

    \b
    Example:
      nait-index capability remove alpaca.nait math
    """
    index.open().remove_capability(name)
    note(f"removed '{name}'")


@capability.command("export", short_help="Write a stored capability to a file, for another index.")
@opt.index_at_version
@click.argument("name", shell_complete=a_capability)
@click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="File to write, instead of FILE.")
@opt.force_option
def export(index: IndexTarget, name: str, file: Path | None, output: Path | None, force: bool) -> None:
    """Write a stored capability to FILE, with its examples, for another index of the same model and settings.

    \b
    Example:
      nait-index capability export alpaca.nait math -o math.capability
    """
    if (file is None) == (output is None):
        raise click.UsageError("say once where the capability goes, with -o FILE")
    file = file or output
    assert file is not None
    index.open().export_capability(name, file, force=force)
    note(f"wrote {file}")


@capability.command("import", short_help="Store a capability from a file that export wrote.")
@opt.index_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Store it under this name instead.")
@opt.force_option
@opt.model_options
def import_(index: IndexTarget, file: Path, name: str | None, force: bool) -> None:
    """Store a capability that export wrote to FILE. One from an index of another corpus is encoded again.

    \b
    Example:
      nait-index capability import dolly.nait math.capability
    """
    stored = index.open().import_capability(file, name, force=force)
    note(f"stored '{stored.name}': {counted(len(stored), 'example')}")
