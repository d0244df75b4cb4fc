"""``nait-index explore``: a page on an index, on this machine."""

import click

from .options import Place, at_option, device_option, index_argument, model_override_option
from .output import note


@click.command(short_help="Look at an index in the browser.")
@at_option
@index_argument
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8737, show_default=True, help="Of this machine; 0 is any free one."
)
@click.option("--no-open", is_flag=True, help="Print the address and open no browser.")
@model_override_option
@device_option
def explore(index: Place, port: int, no_open: bool, model: str | None, device: str) -> None:
    """Look at INDEX in the browser: paste examples of a skill, and see what the corpus has for it.

    The page is served to this machine alone and needs no network; Ctrl-C ends it. With --at, it changes nothing.

    \b
    Example:
      nait-index explore alpaca.nait
    """
    from nait_index.explore.serve import serve

    opened = index.open(model, device)
    note(f"{index.path}: {len(opened):,} rows; Ctrl-C ends it")
    serve(opened, port=port, browser=not no_open, ready=click.echo)
