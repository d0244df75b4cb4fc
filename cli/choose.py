"""``nait-index query``, ``core``, ``cover`` and ``export``: choosing rows, and writing them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nait_index.config import CoreRule, SearchMode

from . import options as opt
from .headings import CHOOSING, Grouped
from .options import IndexTarget
from .output import PREVIEW_ROWS, counted, note, print_json, print_selection, rejected_text

if TYPE_CHECKING:
    from nait_index.capabilities.capability import Capability
    from nait_index.handover.handover import OutputOptions
    from nait_index.handover.hub import HubOptions
    from nait_index.index import NaitIndex
    from nait_index.selection.selection import Selection

Options = dict[str, Any]


@click.command(cls=Grouped, headings=CHOOSING, short_help="Choose the rows that teach a capability.")
@opt.index_at_version
@opt.selection_options
@opt.filling_options
@opt.combine_options
@opt.enum_option(
    SearchMode, "--search", default=SearchMode.EXACT,
    help="approximate is faster for up to 1,000 rows out of very many; the index must be built with --approximate.",
)  # fmt: skip
@opt.output_options
@click.option(
    "--margin", type=click.IntRange(min=0), default=0, metavar="N", help="Also show N rows that just missed the cut."
)
@click.option("--explain-plan", is_flag=True, help="Report how the index was searched, and why.")
@opt.scan_options
def query(index: IndexTarget, search: SearchMode, explain_plan: bool, as_json: bool, **options: Any) -> None:
    """Choose the rows of INDEX that teach a capability.

    Name a stored capability with -c, or pass a file of in-domain examples with -e. With several, the result is the
    union of what each of them selects, unless --combine asks for exactly --top rows.

    \b
    Example:
      nait-index query alpaca.nait -e gsm8k.jsonl --top 10% -o math.jsonl
      nait-index query alpaca.nait -c math -c code --combine weighted --weight math=2 --weight code=1 --top 5000
    """
    output = _output_options(options)
    opened, capabilities = _open(index, options)
    selection = opened.query(capabilities, search=search, **options)
    if explain_plan or search is not SearchMode.EXACT:
        note(f"plan: {selection.provenance.plan}")
    for reason in selection.provenance.reasons or ():
        note(reason)
    _show(selection, output, as_json, "chosen")


@click.command(cls=Grouped, headings=CHOOSING, short_help="Choose one set of rows for several capabilities.")
@opt.index_at_version
@opt.enum_option(
    CoreRule,
    "--rule",
    help="How to choose exactly --top rows: those that add most to what the capabilities have so far (balanced, the "
    "default), by mean log-odds (joint), by the worst rank (worst-rank), or in turn (round-robin).",
)  # fmt: skip
@click.option(
    "--votes",
    metavar="all|M",
    help="Choose only rows that all, or at least M, capabilities would choose alone, however few these are.",
)
@click.option(
    "--bootstrap", type=click.IntRange(min=0), metavar="B",
    help="Resample the examples B times, and report how often each row stays in the core. Default: 16, or 0 for "
    "methods that would take long.",
)  # fmt: skip
@opt.selection_options
@opt.output_options
@opt.scan_options
def core(index: IndexTarget, as_json: bool, **options: Any) -> None:
    """Choose --top rows of INDEX that serve several capabilities, best first.

    Rows that several capabilities share come first, and none of them is starved. Every row is shown with the
    capabilities that would choose it alone, and with its stability. With --votes, the core is what all of them, or
    enough of them, would choose; it is never filled up, and shown next to the size expected by chance.

    \b
    Example:
      nait-index core alpaca.nait -c math -c code -c logic --top 10% -o core.jsonl
      nait-index core alpaca.nait -c math -c code -c logic --votes 2
    """
    output = _output_options(options)
    opened, capabilities = _open(index, options)
    selection = opened.core(capabilities, **options)
    _show(selection, output, as_json, "in the core")
    summary = selection.provenance.core
    assert summary is not None
    for sentence in summary.sentences:
        note(f"core: {sentence}")


@click.command(cls=Grouped, headings=CHOOSING, short_help="Choose diverse rows, without a target.")
@opt.index_at_version
@opt.top_option("15%", "N|P%", "Number or share of rows to choose.")
@opt.where_option
@click.option("--rare", is_flag=True, help="Weight neurons by their rarity.")
@opt.dedup_option
@opt.output_options
@opt.scan_options
def cover(index: IndexTarget, as_json: bool, **options: Any) -> None:
    """Choose rows of INDEX that together activate the most neurons: diverse, without a target.

    Greedy maximum coverage of the neurons that each row activates most (MADS, arXiv 2605.30857); once all are covered,
    another round begins. Needs the topk view. A row's score is the number of neurons it newly covers, or with --rare,
    their weight.

    \b
    Example:
      nait-index cover alpaca.nait --top 15% -o diverse.jsonl
    """
    output = _output_options(options)
    selection = index.open().cover(**options)
    _show(selection, output, as_json, "chosen")
    coverage = selection.provenance.coverage
    assert coverage is not None
    if coverage.blocks > 1 or index.is_shared:
        note(f"plan: {selection.provenance.plan}")
    rounds = "1 round" if coverage.rounds == 1 else f"{coverage.rounds} rounds"
    note(
        f"covered {coverage.covered:,} of {coverage.coverable:,} neurons in {rounds}: those that are among the "
        f"{coverage.strongest} strongest of their layer in any row, of {coverage.neurons:,} that were captured"
    )


@click.command(cls=Grouped, headings=CHOOSING, short_help="Write rows for a trainer.")
@opt.index_at_version
@click.option(
    "--from", "saved", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.meta.json",
    help="Write the rows of this earlier selection again, without choosing anew.",
)  # fmt: skip
@opt.selection_options
@opt.filling_options
@opt.combine_options
@opt.output_options
def export(index: IndexTarget, saved: Path | None, as_json: bool, **options: Any) -> None:
    """Write rows of INDEX for a trainer.

    With -c or -e, writes what query would choose; with --from, an earlier selection; with neither, all rows that
    match --where, in corpus order.

    \b
    Example:
      nait-index export alpaca.nait -c math --as sharegpt --for llamafactory -o math.sharegpt.jsonl
      nait-index export alpaca.nait --from math.jsonl.meta.json --as messages --for trl -o math.parquet
    """
    if options["output"] is None:
        raise click.UsageError("say where the rows go with -o OUT")
    is_choosing = options["names"] or options["files"]
    if not is_choosing:
        _refuse_choosing(saved)
    elif saved is not None:
        raise click.UsageError("--from writes a selection unchanged; leave out -c and -e")
    output = _output_options(options)
    if is_choosing:
        opened, capabilities = _open(index, options)
        _show(opened.query(capabilities, **options), output, as_json, "chosen")
    elif saved is None:
        _show(index.open().select_all(where=options["where"], dedup=options["dedup"]), output, as_json, "taken")
    else:
        _show(index.open().load_selection(saved), output, as_json, f"taken from {saved}, chosen")


def _refuse_choosing(saved: Path | None) -> None:
    """Refuse options that say how to choose when nothing is chosen."""
    usable = {"index", "storage_option", "index_version", "saved", "output", "format", "trainers", "scores"}
    usable |= {"weighted", "shuffle", "validation", "seed", "force", "as_json"} | (
        {"where", "dedup"} if saved is None else set()
    )
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.expose_value and option.name not in usable:
            reason = "--from writes a selection unchanged" if saved else "without -c or -e, nothing is chosen"
            raise click.UsageError(f"{reason}; leave out {option.opts[-1]}")


def _open(index: IndexTarget, options: Options) -> tuple["NaitIndex", list["str | Capability"]]:
    """Open the index, and return it with the capabilities: the stored names, then one per file of examples.

    Takes the options that describe these out of ``options``; the rest are arguments of a choosing method.
    """
    from nait_index.selection.blend import parse_weights

    names, files = options.pop("names"), options.pop("files")
    unlike_names, unlike_files = options.pop("unlike_names"), options.pop("unlike_files")
    if not names and not files:
        raise click.UsageError("name a capability with -c NAME, or give a file of examples with -e FILE")
    options["blend"] = parse_weights(options["blend"]) if options["blend"] else {}
    row_format = options.pop("row_format")
    opened = index.open()
    opened.check_method(options["method"])
    made = [opened.make_capability(file, row_format=row_format) for file in files]
    unlike = [opened.make_capability(file, row_format=row_format) for file in unlike_files]
    if unlike_names or unlike:
        options["unlike"] = [*unlike_names, *unlike]
    for capability in (*made, *unlike):
        cut = f", {capability.truncated} truncated" if capability.truncated else ""
        note(f"{capability.name}: {counted(len(capability), 'example')}{cut}{rejected_text(capability)}")
        for warning in capability.warnings:
            note(f"{capability.name}: {warning}")
    return opened, [*names, *made]


def _output_options(options: Options) -> "OutputOptions | HubOptions | None":
    """Take what ``output_options`` added out of a command's options, and check it before any work is done."""
    from nait_index.handover.hub import output_options

    is_drawn = options["shuffle"] or options["validation"]
    if not is_drawn and click.get_current_context().get_parameter_source("seed") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--seed is that of --shuffle and --validation; add one of them, or leave it out")
    path = options.pop("output")
    names = ("format", "trainers", "scores", "force", "shuffle", "validation", "seed")
    wishes = {name: options.pop(name) for name in names}
    wishes["weights"] = options.pop("weighted")
    if path is not None:
        return output_options(path, **wishes, command=opt.typed_command())
    if any(wishes[name] for name in ("format", "trainers", "weights", "shuffle", "validation")):
        raise click.UsageError("--as, --for, --weights, --shuffle and --validation apply to what -o writes; add -o OUT")
    return None


def _show(selection: "Selection", output: "OutputOptions | HubOptions | None", as_json: bool, what: str) -> None:
    """Write a selection if that was asked for, else print its first rows; then report its size."""
    provenance = selection.provenance
    if output is not None:
        written = selection.write_output(output)
        beside = ", ".join(map(str, (written.sidecar, *written.configurations)))
        if written.unchanged:
            note(f"{written.path} is there already, with {counted(written.rows, 'row')}; nothing was changed")
        else:
            where = "" if written.hub is None else f" to {written.hub}"
            note(f"wrote {written.path} ({counted(written.rows, 'row')}) and {beside}{where}")
        for sentence in written.notes:
            note(sentence)
    if as_json:
        missed = {} if selection.missed is None else {"missed": selection.missed.records()}
        print_json(provenance.to_dict() | {"rows": len(selection), "selected": selection.records()} | missed)
    elif output is None:
        print_selection(selection, PREVIEW_ROWS)
    if selection.missed is not None and not as_json:
        click.echo("\njust missed the cut\n")
        print_selection(selection.missed, len(selection.missed))
    if provenance.decontaminated is not None:
        removed = provenance.decontaminated.removed
        note(f"decontaminated: {counted(removed, 'row')} like an example left out")
    if provenance.deduplicated is not None:
        note(f"deduplicated: {counted(provenance.deduplicated.removed, 'row')} like a better one left out")
    if provenance.wanted is not None:
        quotas = " ".join(f"--at-most {quota}" for quota in provenance.at_most or ())
        note(f"{quotas} leaves {len(selection):,} of {counted(provenance.wanted, 'row')}; raise it for more")
    is_cut = output is None and not as_json and len(selection) > PREVIEW_ROWS
    more = f"; the first {PREVIEW_ROWS} are shown, -o writes all" if is_cut else ""
    by = f" by {provenance.method}" if provenance.method else ""
    note(f"{len(selection):,} of {counted(provenance.available, 'row')} {what}{by}{more}")
