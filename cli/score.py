"""``nait-index score``: quality scores without a target, as columns of an index."""

import os
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nait_index.config import Device

from . import options as opt
from .options import IndexTarget
from .output import counted, note, print_json, print_table
from .progress import score_progress

if TYPE_CHECKING:
    from nait_index.quality.score import QualitySpec

model_options = opt.all_of(
    click.option("--max-length", type=int, help="Maximum tokens per input. Default: the index's."),
    click.option("--batch-tokens", type=int, help="Maximum tokens per batch, including padding."),
    opt.device_option,
)
column_options = opt.all_of(
    click.option("--name", metavar="COLUMN", help="Default: the kind of score, or the name of an imported file."),
    click.option("--force", is_flag=True, help="Discard scores computed earlier under this name."),
    opt.json_option,
)


class _IndexFirst(click.Group):
    """A group with an argument of its own, where ``score ifd --help`` shows the help of ``ifd``, not the group's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help of the last command that is named, if help is asked for."""
        named = [word for word in args if word in self.commands]
        if named and set(ctx.help_option_names) & set(args):
            inner = click.Context(self.commands[named[-1]], info_name=named[-1], parent=ctx)
            click.echo(inner.get_help(), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)


@click.group(cls=_IndexFirst, short_help="Score the quality of all rows, to filter and blend by it.")
@opt.index_argument
@click.pass_context
def score(context: click.Context, index: IndexTarget) -> None:
    """Score the quality of all rows of INDEX once, to filter and blend by it later.

    Each kind of score becomes two columns, such as ifd and ifd_status. A row that cannot be scored has a status but no
    number. Run the same command again to finish an interrupted run, or to score rows that were added since.
    Options of INDEX, such as --storage-option, come before INDEX.

    \b
    Example:
      nait-index score alpaca.nait ifd --model Qwen/Qwen2.5-0.5B
      nait-index query alpaca.nait -c math --where "ifd < 0.9 AND ifd_status = 'ok'"
    """
    context.obj = index


@score.command("ifd")
@click.option("--model", help="Folder or hub name of a causal language model. Default: the index's.")
@click.option(
    "--template", help="How prompts are formatted: auto, chat, alpaca, text, or a file. Default: the index's."
)
@model_options
@column_options
@click.pass_obj
def ifd(index: IndexTarget, /, **options: Any) -> None:
    """Score how little a question helps to predict its answer.

    IFD = ppl(answer | question) / ppl(answer). A high value below 1 marks a row that is hard to follow, which the paper
    selects (Li et al., arXiv 2308.12032); above 1, question and answer do not belong together.

    \b
    Example:
      nait-index score alpaca.nait ifd --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.quality.ifd import Ifd

    _score(index, Ifd(**opt.taken(options, Ifd)), **options)


@score.command("selectit")
@click.option(
    "--model", "models", multiple=True,
    help="A causal language model. Repeatable; models are weighted by size. Default: the index's.",
)  # fmt: skip
@click.option(
    "--prompts", type=click.Path(path_type=Path), metavar="FILE", help="Use these rating prompts, one per line."
)
@click.option("--alpha", type=float, default=0.2, help="Penalty for disagreement between prompts.")
@model_options
@column_options
@click.pass_obj
def selectit(index: IndexTarget, /, **options: Any) -> None:
    """Rate each row from 1 to 5 with a model.

    The score is higher the more certain the model is, and the more its ratings for several prompts agree; high is good
    (SelectIT, Liu et al., arXiv 2402.16705).

    \b
    Example:
      nait-index score alpaca.nait selectit --model Qwen/Qwen2.5-0.5B --model Qwen/Qwen2.5-1.5B
    """
    from nait_index.quality.selectit import SelectIt

    _score(index, SelectIt(**opt.taken(options, SelectIt)), **options)


def _key(_: click.Context, __: click.Parameter, variable: str | None) -> str | None:
    """Read the API key, which is never an argument, since other users could see it there."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise click.UsageError(f"--key-env {variable}: this environment variable is not set")
    return os.environ[variable]


def _temperature(_: click.Context, __: click.Parameter, text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"--temperature '{text}' is neither a number nor 'none'") from None


@score.command("judge")
@click.option("--url", required=True, help="An OpenAI-compatible endpoint, such as http://localhost:8000/v1.")
@click.option("--judge-model", "model", required=True, metavar="MODEL", help="Name of the model at the endpoint.")
@click.option(
    "--key-env", "key", metavar="VARIABLE", callback=_key, help="Environment variable that holds the API key."
)
@click.option("--workers", type=int, default=4, help="Concurrent requests.")
@click.option("--rate", type=float, metavar="N", help="Maximum requests per minute.")
@click.option("--timeout", type=float, default=60, help="Seconds allowed per attempt.")
@click.option("--retries", type=click.IntRange(0), default=5, help="Attempts after the first.")
@click.option("--temperature", default="0", callback=_temperature, help="A number, or 'none' for the server's default.")
@click.option("--max-tokens", type=int, help="Maximum tokens per answer; reasoning models need more.")
@click.option("--price-in", type=float, metavar="PRICE", help="Price per million prompt tokens, for the estimate.")
@click.option("--price-out", type=float, metavar="PRICE", help="Price per million answer tokens, for the estimate.")
@click.option("--yes", is_flag=True, help="Start without asking for confirmation.")
@column_options
@click.pass_obj
def judge(index: IndexTarget, /, yes: bool, **options: Any) -> None:
    """Rate each row from 0 to 5 with a model behind an endpoint.

    The texts of the rows are sent to the endpoint, after an estimate of the cost is shown. High is good (AlpaGasus,
    Chen et al., arXiv 2307.08701).

    \b
    Example:
      nait-index score alpaca.nait judge --url https://api.example.com/v1 --judge-model large --key-env API_KEY
    """
    from nait_index.quality.endpoint import Endpoint
    from nait_index.quality.judge import Judge

    endpoint = Endpoint(**opt.taken(options, Endpoint))
    spec = Judge(endpoint, **opt.taken(options, Judge))
    _score(index, spec, unit="rows", confirm=partial(_confirm, yes), **options)


@score.command("import", short_help="Import scores that were computed elsewhere.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--column", help="The field that holds the scores. Default: value, or the only other one with numbers.")
@column_options
@click.pass_obj
def import_(index: IndexTarget, /, file: Path, column: str | None, **options: Any) -> None:
    """Import scores that were computed elsewhere.

    FILE is a .csv or .jsonl file with a field id and the scores. Ids that are not in the index are set aside and
    counted; rows that are not in FILE get no score.

    \b
    Example:
      nait-index score alpaca.nait import reward.csv --name reward
    """
    from nait_index.quality.imported import Imported

    _score(index, Imported(file, column), **options)


def _score(
    index: IndexTarget,
    spec: "QualitySpec",
    *,
    as_json: bool,
    device: Device = Device.AUTO,
    unit: str = "tokens",
    **options: Any,
) -> None:
    """Score the rows, and print how many have which status. ``unit`` is what the time goes by."""
    opened = replace(index, device=device).open()
    with score_progress(unit) as progress:
        report = opened.score(spec, progress=progress, **options)
    if as_json:
        print_json(asdict(report))
        return
    counts = sorted(report.statuses.items(), key=lambda entry: -entry[1])
    if unscored := report.rows - sum(report.statuses.values()):
        counts.append(("no score", unscored))
    print_table((f"{report.name}_status", "rows"), counts)
    note(f"{counted(report.computed, 'row')} in {report.seconds:.1f} s, {report.reused:,} were done before")
    for warning in report.warnings:
        note(warning)
    if report.set_aside:
        note(f"{counted(report.set_aside, 'line')} set aside, see {opened.layout.scores / report.name}.rejected.jsonl")
    if failed := report.statuses.get("failed", 0) + report.statuses.get("refused", 0):
        note(f"{counted(failed, 'row')} failed; run the same command again to retry them")


def _confirm(yes: bool, cost: object) -> bool:
    note(str(cost))
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody can confirm this here, because standard input is not a terminal; add --yes")
    return yes or click.confirm("go on?", err=True)
