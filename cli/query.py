"""``nait-index query``."""

import click

from nait_index.config import SearchMode

from .choose import Choice, show_selection
from .options import Place, at_option, combine_options, index_argument, output_options, selection_options, weights_of
from .output import note


@click.command(short_help="Choose the rows that teach a capability.")
@at_option
@index_argument
@selection_options
@combine_options
@click.option(
    "--search",
    type=click.Choice([str(mode) for mode in SearchMode]),
    default=str(SearchMode.EXACT),
    show_default=True,
    help="approximate finds up to 1,000 rows of very many faster; the index must be built with --approximate.",
)
@output_options
@click.option("--explain-plan", is_flag=True, help="Say which way the search took, and why.")
def query(
    index: Place, combine: str, weights: tuple[str, ...], search: str, explain_plan: bool, **options: object
) -> None:
    """Choose the rows of INDEX that teach a capability.

    Name a stored capability with -c, or give a file of in-domain examples with -e. Of several, the union of what each
    one selects is chosen; --combine gives exactly --top rows instead.

    \b
    Example:
      nait-index query alpaca.nait -e gsm8k.jsonl --top 10% -o math.jsonl
      nait-index query alpaca.nait -c math -c code --combine weighted --weight math=2 --weight code=1 --top 5000
    """
    choice = Choice.of(options)
    shares = weights_of(weights)
    opened = choice.open(index)
    selection = choice.query(opened, combine, shares, search)
    if explain_plan or search != SearchMode.EXACT:
        note(f"plan: {selection.provenance.plan}")
    for reason in selection.provenance.reasons or ():
        note(reason)
    show_selection(selection, choice.output, "chosen")
