"""``nait-index export``."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from .choose import Choice, Output, show_selection
from .options import (
    Place,
    at_option,
    combine_options,
    index_argument,
    output_options,
    selection_options,
    weights_of,
)


@click.command(short_help="Hand rows over to a trainer.")
@at_option
@index_argument
@click.option(
    "--from", "saved", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.meta.json",
    help="Write the rows of this selection again, in another way, without choosing anew.",
)  # fmt: skip
@selection_options
@combine_options
@output_options
def export(
    index: Place,
    saved: Path | None,
    combine: str,
    weights: tuple[str, ...],
    **options: Any,  # noqa: ANN401
) -> None:
    """Hand rows of INDEX over to a trainer.

    With -c or -e, what query would choose; with --from, what was chosen before; with neither, all rows that pass
    --where, in the order of the corpus.

    \b
    Example:
      nait-index export alpaca.nait -c math --as sharegpt --for llamafactory -o data/math.jsonl
      nait-index export alpaca.nait --from math.jsonl.meta.json --as messages --for trl -o math.parquet
    """
    if options["output"] is None:
        raise click.UsageError("say where the rows go with -o OUT")
    if options["names"] or options["files"]:
        if saved is not None:
            raise click.UsageError("--from takes a selection as it is; leave out -c and -e")
        choice = Choice.of(options)
        shares = weights_of(weights)
        show_selection(choice.query(choice.open(index), combine, shares), choice.output, "chosen")
        return
    _refuse_choosing(saved)
    output, where = Output.taken_from(options), options["where"]
    opened = index.open()
    if saved is None:
        show_selection(opened.select_all(where=where), output, "taken")
    else:
        show_selection(opened.load_selection(saved), output, f"taken from {saved}, chosen")


def _refuse_choosing(saved: Path | None) -> None:
    """Refuse what says how to choose, where nothing is chosen."""
    taken = {"index", "storage_option", "at", "saved", "output", "target", "trainers", "scores", "weighted", "force"}
    taken |= {"as_json"} | ({"where"} if saved is None else set())
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.expose_value and option.name not in taken:
            reason = "--from takes a selection as it is" if saved else "without -c or -e, nothing is chosen"
            raise click.UsageError(f"{reason}; leave out {option.opts[-1]}")
