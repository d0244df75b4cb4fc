"""``nait-index core``."""

import click

from .choose import Choice, show_selection
from .options import Place, at_option, index_argument, output_options, selection_options
from .output import note


@click.command(short_help="Choose the rows that several capabilities agree on.")
@at_option
@index_argument
@click.option("--votes", default="all", show_default=True, metavar="all|M", help="How many capabilities must agree.")
@click.option(
    "--bootstrap", type=click.IntRange(min=0), default=0, show_default=True, metavar="B",
    help="Redraw the examples so often, and give each row the share of draws in which it stays in the core.",
)  # fmt: skip
@selection_options
@output_options
def core(index: Place, votes: str, bootstrap: int, **options: object) -> None:
    """Choose the rows of INDEX that several capabilities agree on.

    Each capability selects its --top; the core is what all of them, or at least --votes of them, hold. It is never
    padded; the size that chance would give is shown beside the size found.

    \b
    Example:
      nait-index core alpaca.nait -c math -c code -c logic --votes 2 -o core.jsonl
    """
    choice = Choice.of(options)
    opened = choice.open(index)
    selection = opened.core(
        choice.capabilities(opened),
        top=choice.top,
        votes=votes,
        method=choice.method,
        where=choice.where,
        blend=choice.blend,
        decontaminate=choice.decontaminate,
        bootstrap=bootstrap,
    )
    show_selection(selection, choice.output, "in the core")
    size = selection.provenance.core
    assert size is not None
    note(f"core: {size.found:,} rows where chance would give {size.chance:,.1f}")
