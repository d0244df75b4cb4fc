"""``nait-index query``."""

from pathlib import Path

import click

from .choose import Choice, show_selection
from .options import index_argument, selection_options


@click.command()
@index_argument
@selection_options
def query(index: Path, **options: object) -> None:
    """Choose the rows of INDEX that teach a capability.

    Name a stored capability with -c, or give a file of in-domain examples with -e. Of several, the union of what each
    one selects is chosen.

    \b
    Example:
      nait-index query alpaca.nait -e gsm8k.jsonl --top 10% -o math.jsonl
    """
    choice = Choice.of(options)
    choice.check_output()
    opened = choice.open(index)
    selection = opened.query(choice.capabilities(opened), top=choice.top, method=choice.method, where=choice.where)
    show_selection(selection, choice, "chosen")
