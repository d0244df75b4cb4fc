"""``nait-index explain`` and ``compare``: what makes up a row's score, and how capabilities relate."""

import math
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nait_index.types import RowFormat, RowRead

from . import options as opt
from .completion import a_capability
from .options import IndexTarget
from .output import console_on, counted, note, one_line, preview, print_json, print_table

if TYPE_CHECKING:
    from nait_index.insight.compare import Comparison
    from nait_index.insight.explanation import Explanation, NeuronPart
    from nait_index.insight.words import Word

_BAR = 24
_READ = 300
"""Characters of the beginning, and of the end, of what the model read of a row."""
_WORDS = 20


@click.command(short_help="Explain a row's score and rank for a capability.")
@opt.index_at_version
@click.argument("row", metavar="ROW")
@click.option("-c", "--capability", "name", metavar="NAME", shell_complete=a_capability, help="A stored capability.")
@opt.examples_option
@opt.choice_options
@click.option(
    "--neurons", type=click.IntRange(min=1), default=10, metavar="N",
    help="Show the N neurons that change the score most.",
)  # fmt: skip
@click.option("--tokens", is_flag=True, help="Encode the row again, and show which words change its score.")
@opt.format_option
@opt.model_options
@opt.json_option
def explain(
    index: IndexTarget,
    row: str,
    name: str | None,
    files: tuple[str, ...],
    neurons: int,
    tokens: bool,
    row_format: RowFormat | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Explain the score and rank of the row with id ROW for a capability.

    The score is a sum: the score of an average row (with nag and mona, of a row that has nothing in common with the
    examples), and what each layer and neuron adds to it or takes from it.

    \b
    Example:
      nait-index explain alpaca.nait row-17 -c math --tokens
    """
    from nait_index.insight.explain import Depth

    if (name is None) == (not files):
        raise click.UsageError("name one capability with -c NAME, or give files of its examples with -e FILE")
    opened = index.open()
    opened.check_method(options["method"])
    capability = name or opened.make_capability(files, row_format=row_format)
    explanation = opened.explain(row, capability, depth=Depth(neurons=neurons), words=tokens, **options)
    if as_json:
        print_json(explanation.to_dict())
    else:
        _print_explanation(explanation)


def _print_explanation(explanation: "Explanation") -> None:
    position, unit = explanation.position, explanation.unit
    click.echo(one_line(f"{explanation.id}: {preview(explanation.row)}"[:300]))
    if explanation.read is not None:
        _print_read(explanation.read)
    total = f"{explanation.score:.4f} = {explanation.baseline:.4f} of {explanation.zero}"
    difference = f"{sum(part.contribution for part in explanation.layers):+.4f} of its {unit}s"
    difference += "".join(f" {part.contribution:+.4f} of its {part.name}" for part in explanation.views)
    click.echo(f"\n{one_line(explanation.capability)}, {explanation.method}: {total} {difference}")
    above = f"above {math.floor(10 * position.percentile) / 10}% of the rows: {'in' if position.is_in else 'out'}"
    taken = f"the first {position.chosen:,} are taken, down to {position.cut:.4f}"
    click.echo(f"rank {position.rank:,} of {position.available:,}, {above}; {taken}")
    for change in explanation.changes:
        click.echo(f"- {change}")
    click.echo()
    print_table(
        ("likeness", "example", "nearest in-domain examples"),
        [(near.likeness, str(near.example), " ".join(near.text[:1000].split())) for near in explanation.nearest],
    )
    click.echo()
    _print_bars([(part.name, part.contribution) for part in explanation.layers], "layer")
    click.echo()
    _print_neurons(explanation.neurons, unit)
    click.echo(f"all other {unit}s: {explanation.rest:+.4f}")
    if explanation.words is not None:
        _print_words(explanation.words)
        if any(part.name.endswith("drift") for part in explanation.layers):
            click.echo(
                "\nthe drift is the last token less the first, so these two carry all of it, also where they are "
                "special tokens such as [SEP] or <s>"
            )
        click.echo(f"\nnot explained by words, since signatures are compressed: {explanation.words_rest:+.4f}")


def _print_read(read: RowRead) -> None:
    """Print what the model read of a row, the middle of a long text left out, and what it did not read."""
    if read.problem:
        note(f"what the model read cannot be shown: {read.problem}")
        return
    text = one_line(read.text)
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]} […] {text[-_READ:]}"
    click.echo(f"\nwhat the model read ({counted(len(read.text), 'character')}): {text}")
    if read.cut:
        click.echo(f"cut by --max-length: {read.cut:,} more characters, from: {one_line(read.rest[:60])}")
    if read.left_out:
        click.echo(f"left out by the template: {', '.join(read.left_out)}")


def _print_neurons(neurons: "Sequence[NeuronPart]", unit: str) -> None:
    rows = [
        (
            " ".join(str(value) for value in (part.layer, part.pooling) if value is not None),
            str(part.number),
            f"{part.contribution:+.4f}",
            part.activation,
            "" if part.deviation is None else f"{part.deviation:+.1f} σ",
            "; ".join(f"{row.id}: {preview(row.row)[:60]}" for row in part.rows),
        )
        for part in neurons
    ]
    print_table(("layer", unit, "adds", "activation", "off the mean", "most extreme rows"), rows)


def _print_words(words: "Sequence[Word]") -> None:
    """Print the words that change the score most, and the whole row, on a terminal in colours."""
    from rich.text import Text

    click.echo()
    values: dict[str, list[float]] = {}
    for word in words:
        values.setdefault(word.text.strip() or repr(word.text)[1:-1], []).append(word.contribution)
    ranked = sorted(values.items(), key=lambda entry: -abs(sum(entry[1])))[:_WORDS]
    _print_bars([(text if len(each) == 1 else f"{text} ×{len(each)}", sum(each)) for text, each in ranked], "word")
    largest = max((abs(word.contribution) for word in words), default=0.0) or 1.0
    row = Text("\n")
    for word in words:
        color = "" if abs(word.contribution) < largest / 20 else "green" if word.contribution > 0 else "red"
        bold = "bold " if abs(word.contribution) > largest / 4 else ""
        row.append("".join(char if char.isprintable() or char == "\n" else " " for char in word.text), bold + color)
    console_on(sys.stdout).print(row, soft_wrap=True)


def _print_bars(values: Sequence[tuple[str, float]], title: str) -> None:
    """Print values, each with a bar of proportional length."""
    largest = max((abs(value) for _, value in values), default=0.0) or 1.0
    bars = [("█" if value > 0 else "░") * round(_BAR * abs(value) / largest) for _, value in values]
    rows = [(name, f"{value:+.4f}", bar) for (name, value), bar in zip(values, bars, strict=True)]
    print_table((title, "adds", ""), rows)


@click.command(short_help="Show how capabilities relate, and which could be merged.")
@opt.index_at_version
@opt.capabilities_option("A stored capability. Repeatable. Default: all of them.")
@opt.choice_options
@click.option(
    "--plot", type=click.Path(path_type=Path), metavar="OUT.png|svg", help="Also draw it. Needs nait-index[report]."
)
@opt.scan_options
@opt.force_option
@opt.json_option
def compare(
    index: IndexTarget, names: tuple[str, ...], plot: Path | None, force: bool, as_json: bool, **options: Any
) -> None:
    """Show how capabilities relate: which rows they share, how similarly they rank, and which could be merged.

    \b
    Example:
      nait-index compare alpaca.nait -c math -c code -c logic --plot skills.png
    """
    from nait_index.insight.compare import check_plot
    from nait_index.insight.compare import plot as draw

    if plot is not None:
        check_plot(plot, force=force)
    comparison = index.open().compare(names or None, **options)
    if plot is not None:
        draw(comparison, plot, force=force)
        note(f"wrote {plot}")
    if as_json:
        print_json(comparison.to_dict())
    else:
        _print_comparison(comparison)


def _print_comparison(comparison: "Comparison") -> None:
    """Print how every two capabilities relate, one pair per line."""
    click.echo(f"rows in common, of {comparison.budget} each; rank correlation over {comparison.ranked:,} rows\n")
    header, matrices = ["capability", "and", "in common", "by chance", "correlation"], [comparison.correlation]
    if comparison.cosine is not None:
        header, matrices = [*header, "cosine"], [*matrices, comparison.cosine]
    rows: list[list[Any]] = []
    for i, j in combinations(range(len(comparison.names)), 2):
        rows.append([comparison.names[i], comparison.names[j], int(comparison.overlap[i, j])])
        rows[-1] += [f"{comparison.chance[i, j]:,.1f}", *(f"{matrix[i, j]:.2f}" for matrix in matrices)]
    print_table(header, rows)
    click.echo()
    for sentence in comparison.readings:
        click.echo(f"- {sentence}")
    for group in comparison.merges:
        click.echo(f"- {' and '.join(group)} choose mostly the same rows, so they could be merged into one capability")
