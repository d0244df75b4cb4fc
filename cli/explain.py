"""``nait-index explain`` and ``compare``: why a row stands where it stands, and how capabilities relate."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    method_option,
    model_override_option,
    row_format_of,
    top_option,
    where_option,
)
from .output import columns, console_on, note, one_line, preview, print_json, print_table

if TYPE_CHECKING:
    from nait_index.insight.compare import Comparison
    from nait_index.insight.explanation import Explanation
    from nait_index.insight.words import Word

_BAR = 24
_WORDS = 20


@click.command(short_help="Say why a row stands where it stands for a capability.")
@at_option
@index_argument
@click.argument("row", metavar="ROW")
@click.option("-c", "--capability", "name", metavar="NAME", shell_complete=a_capability, help="A stored capability.")
@click.option(
    "-e", "--examples", "files", multiple=True, metavar="FILE", shell_complete=a_file,
    help="In-domain examples. Repeatable.",
)  # fmt: skip
@method_option
@top_option
@where_option
@click.option(
    "--neurons", type=click.IntRange(min=1), default=10, show_default=True, help="Tell so many of the neurons."
)
@click.option("--tokens", is_flag=True, help="Encode the row again, and tell which words move its score.")
@format_option
@model_override_option
@device_option
@json_option
def explain(
    index: Place,
    row: str,
    name: str | None,
    files: tuple[str, ...],
    method: str,
    top: str,
    where: str | None,
    neurons: int,
    tokens: bool,
    row_format: str | None,
    model: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Say why the row with id ROW stands where it stands for a capability.

    Its score is a sum: what an average row scores (of nag and mona, one that shares nothing), and what every layer and
    neuron adds or takes.

    \b
    Example:
      nait-index explain alpaca.nait row-17 -c math --tokens
    """
    from nait_index.insight.explain import Depth

    if (name is None) == (not files):
        raise click.UsageError("name one capability with -c NAME, or give files of its examples with -e FILE")
    opened = index.open(model, device)
    opened.check_method(method)
    own = name or opened.make_capability(files, row_format=row_format_of(row_format))
    found = opened.explain(row, own, method=method, top=top, where=where, depth=Depth(neurons=neurons), words=tokens)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(own: "Explanation") -> None:
    place = own.position
    click.echo(one_line(f"{own.id}: {preview(own.row)}"[:300]))
    click.echo(
        f"\n{one_line(own.capability)}, {own.method}: {own.score:.4f} = {own.baseline:.4f} of {own.zero} "
        f"{own.score - own.baseline:+.4f} of its {own.unit}s"
    )
    click.echo(
        f"rank {place.rank:,} of {place.available:,}, above {math.floor(10 * place.percentile) / 10}% of the rows: "
        f"{'in' if place.is_in else 'out'}; the first {place.chosen:,} are taken, down to {place.cut:.4f}"
    )
    for change in own.changes:
        click.echo(f"- {change}")
    click.echo()
    _bars([(part.name, part.value) for part in own.layers], "layer")
    click.echo()
    poolings = any(part.pooling for part in own.neurons)
    header = ["layer", "pooling", own.unit, "adds", "activation", "off the mean", "what fires it hardest that way"]
    rows = [
        [
            "" if part.layer is None else str(part.layer),
            part.pooling or "",
            str(part.number),
            f"{part.value:+.4f}",
            part.activation,
            "" if part.deviation is None else f"{part.deviation:+.1f} σ",
            "; ".join(f"{row.id}: {preview(row.row)[:60]}" for row in part.rows),
        ]
        for part in own.neurons
    ]
    kept = [at for at, title in enumerate(header) if poolings or title != "pooling"]
    print_table([header[at] for at in kept], [[row[at] for at in kept] for row in rows])
    click.echo(f"all other {own.unit}s: {own.rest:+.4f}\n")
    print_table(
        ("likeness", "example", "nearest in-domain examples"),
        [(near.likeness, str(near.number), " ".join(near.text.split())) for near in own.nearest],
    )
    if own.words is not None:
        _show_words(own.words)
        click.echo(f"\nnot told by words, since signatures are compressed: {own.words_rest:+.4f}")


def _show_words(words: "Sequence[Word]") -> None:
    """Show the words that move the score most, and the whole row, on a terminal in colours."""
    from rich.text import Text

    click.echo()
    added: dict[str, list[float]] = {}
    for word in words:
        added.setdefault(word.text.strip() or repr(word.text)[1:-1], []).append(word.value)
    ranked = sorted(added.items(), key=lambda own: -abs(sum(own[1])))[:_WORDS]
    _bars([(text if len(own) == 1 else f"{text} ×{len(own)}", sum(own)) for text, own in ranked], "word")
    largest = max((abs(word.value) for word in words), default=0.0) or 1.0
    text = Text("\n")
    for word in words:
        color = "" if abs(word.value) < largest / 20 else "green" if word.value > 0 else "red"
        bold = "bold " if abs(word.value) > largest / 4 else ""
        text.append("".join(char if char.isprintable() or char == "\n" else " " for char in word.text), bold + color)
    console_on(sys.stdout).print(text, soft_wrap=True)


def _bars(values: Sequence[tuple[str, float]], what: str) -> None:
    """Print values with a bar each, as long as they are large."""
    largest = max((abs(value) for _, value in values), default=0.0) or 1.0
    print_table(
        (what, "adds", ""),
        [
            (name, f"{value:+.4f}", ("█" if value > 0 else "░") * round(_BAR * abs(value) / largest))
            for name, value in values
        ],
    )


@click.command(short_help="Say how capabilities relate, and which may as well be one.")
@at_option
@index_argument
@click.option(
    "-c", "--capability", "names", multiple=True, metavar="NAME", shell_complete=a_capability,
    help="A stored capability. Default: all of them.",
)  # fmt: skip
@method_option
@top_option
@where_option
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="OUT.png|svg", help="Draw it. Needs nait-index[report]."
)
@force_option
@json_option
def compare(
    index: Place,
    names: tuple[str, ...],
    method: str,
    top: str,
    where: str | None,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Say how capabilities relate: what they choose in common, how alike they rank, which may as well be one.

    \b
    Example:
      nait-index compare alpaca.nait -c math -c code -c logic --plot skills.png
    """
    from nait_index.insight.compare import check_plot
    from nait_index.insight.compare import plot as draw

    if plot is not None:
        check_plot(plot, force=force)
    found = index.open().compare(names or None, method=method, top=top, where=where)
    if plot is not None:
        draw(found, plot, force=force)
        note(f"wrote {plot}")
    if as_json:
        print_json(found.to_dict())
    else:
        _tables(found)


def _blocks(header: list[str], rows: list[list[str]], room: int | None) -> list[list[int]]:
    """Return which columns to print side by side: the first, which names the rows, and as many others as fit."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    blocks: list[list[int]] = []
    left = 0
    for number in range(1, len(header)):
        if not blocks or (room is not None and left < widths[number] + 2):
            blocks.append([0])
            left = (room or 0) - widths[0]
        blocks[-1].append(number)
        left -= widths[number] + 2
    return blocks


def _short(names: Sequence[str], room: int | None) -> list[str]:
    """Return names that are short enough for the titles of a matrix, of 6 to 12 columns."""
    from rich.cells import cell_len
    from rich.text import Text

    left = 12 if room is None else (room - max(map(cell_len, names))) // len(names) - 2
    titles = [Text(name) for name in names]
    for title in titles:
        title.truncate(min(max(left, 6), 12), overflow="ellipsis")
    return [title.plain for title in titles]


def _tables(own: "Comparison") -> None:
    room = columns()
    short = _short(own.names, room)
    by_chance = f"{own.chance[0, 1]:,.1f}" if len(set(own.sizes)) == 1 else "other numbers"
    parts = [
        (f"rows in common (each chooses {own.budget}; by chance {by_chance} would be)", own.overlap, "{:,.0f}"),
        (f"rank correlation over {own.ranked:,} rows", own.correlation, "{:.2f}"),
    ]
    if own.cosine is not None:
        parts.append(("cosine of the directions", own.cosine, "{:.2f}"))
    for title, matrix, form in parts:
        click.echo(title)
        rows = [
            [name, *(form.format(value) for value in values)] for name, values in zip(own.names, matrix, strict=True)
        ]
        for number, block in enumerate(_blocks(["", *short], rows, room)):
            if number:
                click.echo()
            print_table([(["", *short])[at] for at in block], [[row[at] for at in block] for row in rows])
        click.echo()
    for said in own.readings:
        click.echo(f"- {said}")
    for group in own.merges:
        click.echo(f"- {' and '.join(group)} choose mostly the same rows: they may as well be one capability")
