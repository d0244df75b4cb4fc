"""``nait-index report``: one page to look at."""

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import join

import click

from nait_index.methods.registry import DEFAULT_METHOD, MethodName

from .completion import a_capability
from .options import Place, at_option, device_option, force_option, index_argument, model_override_option
from .output import note


@click.command(short_help="Show what an index chooses, on one page.")
@at_option
@index_argument
@click.option(
    "-c", "--capability", "names", multiple=True, metavar="NAME", shell_complete=a_capability,
    help="A stored one. Default: all of them.",
)  # fmt: skip
@click.option("--top", default="10%", show_default=True, metavar="N|P%", help="How much each capability selects.")
@click.option(
    "--method", type=click.Choice([str(name) for name in MethodName]), default=str(DEFAULT_METHOD), show_default=True,
    help="How examples become scores.",
)  # fmt: skip
@click.option("--where", metavar="SQL", help="Choose among these rows only, e.g. 'n_tokens < 1024'.")
@click.option(
    "--by", multiple=True, metavar="FIELD",
    help="Compare selection and corpus by this too: a column, or a field of the rows such as meta.lang. Repeatable.",
)  # fmt: skip
@click.option(
    "--bootstrap", type=click.IntRange(min=0), default=10, show_default=True, metavar="B",
    help="Redraw the examples so often for the stability of the core; runs the model. 0 leaves it out.",
)  # fmt: skip
@model_override_option
@device_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
    metavar="OUT.html", help="Where the page goes.",
)  # fmt: skip
@force_option
def report(
    index: Place,
    names: tuple[str, ...],
    top: str,
    method: str,
    where: str | None,
    by: tuple[str, ...],
    bootstrap: int,
    model: str | None,
    device: str,
    output: Path,
    force: bool,
) -> None:
    """Show what INDEX chooses, on one HTML page that needs no network.

    The corpus; for each capability its scores, what it has more and less of than the corpus, and rows to read; how
    capabilities overlap and what they agree on; a map of the rows. Needs pip install 'nait-index[report]'.

    \b
    Example:
      nait-index report alpaca.nait -c math -c code --by meta.lang -o report.html
    """
    from nait_index.files import check_writable
    from nait_index.report import ReportRequest, write_report
    from nait_index.selection.budget import Budget

    Budget.parse(top)
    check_writable(output, force=force)
    request = ReportRequest(
        names=names or None,
        top=top,
        method=MethodName(method),
        where=where,
        by=by,
        bootstrap=bootstrap,
        command=_without_secrets(sys.argv[1:]),
    )
    opened = index.open(model, device)
    written = write_report(opened, output, request, force=force)
    for said in written.notes:
        note(said)
    note(f"wrote {written.path} ({written.size / 1e6:.1f} MB, {written.seconds:.0f} s); open it in a browser")


def _without_secrets(words: Sequence[str]) -> str:
    """Give the command as it was typed, without what it gave to an object store: pages travel, and keys must not."""
    shown, option = ["nait-index"], "--storage-option"
    for before, own in zip(("", *words), words, strict=False):
        value = own.removeprefix(f"{option}=")
        if before == option or value != own:
            own = own.removesuffix(value) + value.partition("=")[0] + "=…"
        shown.append(own)
    return join(shown)
