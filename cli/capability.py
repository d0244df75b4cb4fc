"""``nait-index capability``: stored target skills."""

import json
from pathlib import Path

import click

from .completion import a_capability, a_file
from .options import (
    Place,
    at_option,
    device_option,
    force_option,
    format_option,
    index_argument,
    json_option,
    model_override_option,
    row_format_of,
)
from .output import PREVIEW_ROWS, note, preview, print_json, print_table, rejected_text


@click.group(short_help="Store target skills with an index, under a name.")
def capability() -> None:
    """Store target skills with an index, and ask for them by name.

    \b
    Example:
      nait-index capability add alpaca.nait math gsm8k.jsonl
    """


@capability.command("add", short_help="Store examples under a name, encoded like the corpus.")
@index_argument
@click.argument("name", shell_complete=a_capability)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", shell_complete=a_file)
@force_option
@format_option
@model_override_option
@device_option
def add(
    index: Place, name: str, files: tuple[str, ...], force: bool, row_format: str | None, model: str | None, device: str
) -> None:
    """Store the examples in FILE under NAME, encoded like the corpus. 16 to 64 examples already work.

    \b
    Example:
      nait-index capability add alpaca.nait math gsm8k.jsonl
    """
    opened = index.open(model, device)
    own = opened.add_capability(name, files, row_format=row_format_of(row_format), force=force)
    note(f"stored '{name}': {len(own)} examples, {own.truncated} truncated{rejected_text(own) or ', 0 rejected'}")


@capability.command("list")
@at_option
@index_argument
@json_option
def list_(index: Place, as_json: bool) -> None:
    """List the stored capabilities.

    \b
    Example:
      nait-index capability list alpaca.nait
    """
    found = index.open().capabilities()
    if as_json:
        print_json(found)
    elif found:
        print_table(list(found[0]), [list(own.values()) for own in found])
    else:
        note("none is stored yet: nait-index capability add INDEX NAME FILE")


@capability.command("show", short_help="Show the examples of a stored capability.")
@at_option
@index_argument
@click.argument("name", shell_complete=a_capability)
@json_option
def show(index: Place, name: str, as_json: bool) -> None:
    """Show the examples of a stored capability; all of them with --json.

    \b
    Example:
      nait-index capability show alpaca.nait math
    """
    found = index.open().capability_rows(name)
    if as_json:
        print_json([json.loads(row) for row in found])
        return
    print_table(("", "example"), [(at, preview(row)) for at, row in enumerate(found[:PREVIEW_ROWS], start=1)])
    note(f"{len(found):,} examples" + (f", the first {PREVIEW_ROWS} shown" if len(found) > PREVIEW_ROWS else ""))


@capability.command("remove")
@index_argument
@click.argument("name", shell_complete=a_capability)
def remove(index: Place, name: str) -> None:
    """Remove a stored capability.

    \b
    Example:
      nait-index capability remove alpaca.nait math
    """
    index.open().remove_capability(name)
    note(f"removed '{name}'")


@capability.command("export", short_help="Write a stored capability to a file, for another index.")
@at_option
@index_argument
@click.argument("name", shell_complete=a_capability)
@click.argument("file", type=click.Path(path_type=Path))
@force_option
def export(index: Place, name: str, file: Path, force: bool) -> None:
    """Write a stored capability to FILE, examples included, for another index of the same model and settings.

    \b
    Example:
      nait-index capability export alpaca.nait math math.capability
    """
    index.open().export_capability(name, file, force=force)
    note(f"wrote {file}")


@capability.command("import", short_help="Store a capability that export wrote.")
@index_argument
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Store it under another name.")
@force_option
@model_override_option
@device_option
def import_(index: Place, file: Path, name: str | None, force: bool, model: str | None, device: str) -> None:
    """Store a capability that export wrote. Its examples are encoded again where the corpus was another one.

    \b
    Example:
      nait-index capability import dolly.nait math.capability
    """
    own = index.open(model, device).import_capability(file, name, force=force)
    note(f"stored '{own.name}': {len(own)} examples")
