"""``nait-index query``."""

from pathlib import Path

import click

from .choose import Choice, show_selection
from .options import combine_options, index_argument, selection_options, weights_of


@click.command()
@index_argument
@selection_options
@combine_options
def query(index: Path, combine: str, weights: tuple[str, ...], **options: object) -> None:
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
    selection = opened.query(
        choice.capabilities(opened),
        top=choice.top,
        method=choice.method,
        where=choice.where,
        combine=combine,
        weights=shares,
        blend=choice.blend,
    )
    show_selection(selection, choice.output, "chosen")
