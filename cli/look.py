"""``nait-index info``, ``verify`` and ``rows``: looking at an index."""

import json

import click

from .options import Place, at_option, device_option, index_argument, json_option, model_override_option
from .output import fidelity_text, note, preview, print_json, print_table


@click.command(short_help="Say what an index holds and how it was made.")
@at_option
@index_argument
@json_option
def info(index: Place, as_json: bool) -> None:
    """Say what INDEX holds and how it was made.

    \b
    Example:
      nait-index info alpaca.nait --json
    """
    facts = index.open().info()
    if as_json:
        print_json(facts)
        return
    flat = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    flat["fidelity"] = fidelity_text(facts["fidelity"])
    flat["model"] = facts["model"]["name"]
    flat["views"] = ", ".join(
        f"{name} ({view['bytes_per_row']:,} bytes a row)" for name, view in facts["views"].items()
    )
    flat["capabilities"] = ", ".join(facts["capabilities"]) or "none"
    print_table(("", ""), [(name.replace("_", " "), value) for name, value in flat.items() if value is not None])


@click.command(short_help="Check an index against itself.")
@at_option
@index_argument
@click.option(
    "--sample", type=click.IntRange(min=1), default=32, show_default=True, help="Rows to encode again and compare."
)
@model_override_option
@device_option
@json_option
def verify(index: Place, sample: int, model: str | None, device: str, as_json: bool) -> None:
    """Check INDEX against itself: counts, hashes, engine, and a sample of rows encoded again.

    Ends with exit code 1 where a check fails.

    \b
    Example:
      nait-index verify alpaca.nait
    """
    checks = index.open(model, device).verify(sample)
    if as_json:
        print_json([{"name": own.name, "passed": own.passed, "detail": own.detail} for own in checks])
    else:
        words = {True: "ok", False: "FAILED", None: "skipped"}
        print_table(
            ("check", "result", "detail"), [(own.name, words[own.passed], own.detail) for own in checks], whole=True
        )
        for own in checks:
            if own.passed is False:
                note(f"{own.name}: {own.detail}")
    if any(own.passed is False for own in checks):
        click.get_current_context().exit(1)


@click.command(short_help="Show rows.")
@at_option
@index_argument
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--where", metavar="SQL", help="Only these rows, e.g. 'truncated' or \"file = 'a.jsonl'\".")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@json_option
def rows(index: Place, ids: tuple[str, ...], where: str | None, limit: int, as_json: bool) -> None:
    """Show rows of INDEX: those of some IDs, or the first in the order of the corpus.

    \b
    Example:
      nait-index rows alpaca.nait --where 'n_tokens > 1000' --json
    """
    found = index.open().rows(list(ids) or None, where=where, limit=limit + 1)
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        for row in found:
            print_json(row | {"row": json.loads(row["row"])}, indent=None)
        return
    print_table(("id", "tokens", "row"), [(row["id"], row["n_tokens"], preview(row["row"])) for row in found])
    if more:
        note(f"the first {limit} are shown; more with --limit")
