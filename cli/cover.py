"""``nait-index cover``."""

from typing import Any

import click

from .options import Place, at_option, index_argument, output_options
from .output import note


@click.command(short_help="Choose diverse rows, with no target.")
@at_option
@index_argument
@click.option("--top", default="15%", show_default=True, metavar="N|P%", help="How much to choose.")
@click.option("--where", metavar="SQL", help="Choose among these rows only, e.g. 'n_tokens < 1024'.")
@click.option("--rare", is_flag=True, help="Weight neurons by their rarity.")
@output_options
def cover(index: Place, top: str, where: str | None, rare: bool, **options: Any) -> None:  # noqa: ANN401
    """Choose rows of INDEX that together activate the most neurons: diverse, with no target.

    Greedy maximum coverage of the neurons that rows activate most (MADS, arXiv 2605.30857); when all are covered,
    another round begins. Needs the view topk. The score is what a row newly covers.

    \b
    Example:
      nait-index cover alpaca.nait --top 15% -o diverse.jsonl
    """
    from nait_index.selection.budget import Budget

    from .choose import Output, show_selection

    Budget.parse(top)
    wanted = Output.taken_from(options)
    selection = index.open().cover(top=top, where=where, rare=rare)
    show_selection(selection, wanted, "chosen")
    coverage = selection.provenance.coverage
    assert coverage is not None
    rounds = "1 round" if coverage.rounds == 1 else f"{coverage.rounds} rounds"
    note(f"covered {coverage.covered:,} of {coverage.coverable:,} neurons in {rounds}")
