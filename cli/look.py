"""``nait-index info``, ``rows``, ``verify``, ``report`` and ``explore``: looking at an index."""

import json
from pathlib import Path
from typing import Any

import click

from . import options as opt
from .options import IndexTarget
from .output import counted, fidelity_text, note, preview, print_facts, print_json, print_table


@click.command(short_help="Show what an index holds and how it was built.")
@opt.index_at_version
@opt.json_option
def info(index: IndexTarget, as_json: bool) -> None:
    """Show what INDEX holds and how it was built.

    \b
    Example:
      nait-index info alpaca.nait --json
    """
    from nait_index.corpus.unread import unread_sentences

    facts = index.open().info()
    if not as_json:
        views = (f"{name} ({view['bytes_per_row']:,} bytes a row)" for name, view in facts["views"].items())
        texts = {
            "fidelity": fidelity_text(facts["fidelity"]),
            "model": facts["model"]["name"],
            "left_out": ", ".join(f"{kind} ({counted(count, 'row')})" for kind, count in facts["left_out"].items())
            or "nothing",
            "not_read": "; ".join(unread_sentences(facts["unread"])).replace(": not read: ", ": ") or "nothing",
            "reading": ", ".join(f"{name} {value}" for name, value in facts["reading"].items() if value),
            "views": ", ".join(views),
            "capabilities": ", ".join(facts["capabilities"]) or "none",
        }
        facts = {
            name: value for name, value in facts.items() if not isinstance(value, dict | list) and value is not None
        } | texts
    print_facts(facts, as_json)


@click.command(short_help="Show rows.")
@opt.index_at_version
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--where", metavar="SQL", help="Show only these rows, e.g. 'truncated' or \"file = 'a.jsonl'\".")
@click.option("--limit", type=click.IntRange(min=1), default=20, metavar="N", help="Show at most N rows.")
@opt.json_option
def rows(index: IndexTarget, ids: tuple[str, ...], where: str | None, limit: int, as_json: bool) -> None:
    """Show rows of INDEX: those with the given IDs, or the first in corpus order.

    \b
    Example:
      nait-index rows alpaca.nait --where 'n_tokens > 1000' --json
    """
    opened = index.open()
    matching = opened.rows(list(ids) or None, where=where, limit=limit + 1)
    shown = matching[:limit]
    if as_json:
        for row in shown:
            print_json(row | {"row": json.loads(row["row"])}, indent=None)
        return
    reading = opened.manifest.reading
    print_table(("id", "tokens", "row"), [(row["id"], row["n_tokens"], preview(row["row"], reading)) for row in shown])
    if not matching:
        note("no row matches")
    if len(matching) > limit:
        note(f"the first {counted(limit, 'row')} shown; show more with --limit")


@click.command(short_help="Check an index for consistency.")
@opt.index_at_version
@click.option("--sample", type=click.IntRange(min=1), default=32, metavar="N", help="Encode N rows again, and compare.")
@opt.model_options
@opt.json_option
def verify(index: IndexTarget, sample: int, as_json: bool) -> None:
    """Check INDEX for consistency: counts, hashes, engine, and a sample of rows encoded again.

    The exit code is 1 if a check fails.

    \b
    Example:
      nait-index verify alpaca.nait
    """
    checks = index.open().verify(sample)
    failed = [check for check in checks if check.passed is False]
    if as_json:
        print_json([{"name": check.name, "passed": check.passed, "detail": check.detail} for check in checks])
    else:
        words = {True: "ok", False: "FAILED", None: "skipped"}
        results = [(check.name, words[check.passed], check.detail) for check in checks]
        print_table(("check", "result", "detail"), results, whole=True)
        for check in failed:
            note(f"{check.name}: {check.detail}")
    if failed:
        click.get_current_context().exit(1)


@click.command(short_help="Write an HTML report of what an index chooses.")
@opt.index_at_version
@opt.capabilities_option("A stored capability. Repeatable. Default: all of them.")
@opt.choice_options
@click.option(
    "--by", multiple=True, metavar="FIELD",
    help="Also compare selection and corpus by this column, or field of the rows such as meta.lang. Repeatable.",
)  # fmt: skip
@click.option(
    "--bootstrap", type=click.IntRange(min=0), default=10, metavar="B",
    help="Resample the examples B times to measure how stable the core is; some methods run the model for it. 0 skips "
    "this.",
)  # fmt: skip
@opt.model_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="report.html", metavar="OUT.html", help="File to write."
)
@opt.scan_options
@opt.force_option
def report(index: IndexTarget, names: tuple[str, ...], output: Path, force: bool, **options: Any) -> None:
    """Write an HTML report of what INDEX chooses. The page needs no network.

    It shows the corpus; for each capability its scores, how its selection differs from the corpus, and rows to read;
    how capabilities overlap and what they agree on; and a map of the rows. Needs pip install 'nait-index[report]'.

    \b
    Example:
      nait-index report alpaca.nait -c math -c code --by meta.lang -o report.html
    """
    from nait_index.files import check_writable
    from nait_index.report import ReportRequest, write_report

    check_writable(output, force=force)
    request = ReportRequest(names=names or None, command=opt.typed_command(), **options)
    written = write_report(index.open(), output, request, force=force)
    for sentence in written.notes:
        note(sentence)
    note(f"wrote {written.path} ({written.size / 1e6:.1f} MB, {written.seconds:.0f} s); open it in a browser")


@click.command(short_help="Explore an index in the browser.")
@opt.index_at_version
@click.option("--port", type=click.IntRange(0, 65535), default=8737, help="Local port; 0 picks a free one.")
@click.option("--no-open", is_flag=True, help="Print the address without opening a browser.")
@opt.model_options
def explore(index: IndexTarget, port: int, no_open: bool) -> None:
    """Explore INDEX in the browser: paste examples of a skill, and see what the corpus has for it.

    The page is served to this machine only and needs no network; press Ctrl-C to stop. With --at, it is read-only.

    \b
    Example:
      nait-index explore alpaca.nait
    """
    from nait_index.explore.serve import serve

    opened = index.open()
    note(f"{index.path}: {counted(len(opened), 'row')}; press Ctrl-C to stop")
    serve(opened, port=port, browser=not no_open, ready=click.echo)
