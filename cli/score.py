"""``nait-index score``: quality scores without a target, as columns of an index."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nait_index.config import Device

from .options import Place, device_option, index_argument, json_option
from .output import note, print_json, print_table
from .progress import score_progress

if TYPE_CHECKING:
    from nait_index.quality.run import Confirm
    from nait_index.quality.score import QualitySpec

name_option = click.option("--name", metavar="COLUMN", help="Name of the column, if not the default.")
force_option = click.option("--force", is_flag=True, help="Start anew, whatever was computed under this name before.")
length_option = click.option("--max-length", type=int, help="Longest input in tokens. Default: the index's.")
batch_option = click.option("--batch-tokens", type=int, help="Most tokens of a batch, padding counted.")


@click.group(short_help="Score the quality of every row, to filter and blend by it.")
@index_argument
@click.pass_context
def score(context: click.Context, index: Place) -> None:
    """Score the quality of every row of INDEX, once; then filter and blend by it.

    Each kind of score becomes two columns, such as ifd and ifd_status. A row that cannot be scored has a status and
    no number. An interrupted run goes on where it was; after new rows were added, the same command scores them.
    Options of INDEX, such as --storage-option, come before it.

    \b
    Example:
      nait-index score alpaca.nait ifd --model Qwen/Qwen2.5-0.5B
      nait-index query alpaca.nait -c math --where "ifd < 0.9 AND ifd_status = 'ok'"
    """
    context.obj = index


@score.command("ifd")
@click.option("--model", help="A causal language model: a folder or hub name. Default: the index's own.")
@click.option("--template", help="How questions are written: auto, chat, alpaca, text or a file. Default: the index's.")
@length_option
@batch_option
@name_option
@force_option
@device_option
@json_option
@click.pass_obj
def ifd(
    index: Place,
    model: str | None,
    template: str | None,
    max_length: int | None,
    batch_tokens: int | None,
    name: str | None,
    force: bool,
    device: str,
    as_json: bool,
) -> None:
    """Score how little a question helps to foresee its answer.

    IFD = ppl(answer | question) / ppl(answer). High but below 1 is hard to follow, and what the paper selects (Li et
    al., arXiv 2308.12032); above 1, question and answer do not belong together.

    \b
    Example:
      nait-index score alpaca.nait ifd --model Qwen/Qwen2.5-0.5B
    """
    from nait_index.quality.ifd import Ifd

    _run(index, Ifd(model, template, max_length, batch_tokens), name, force, device, as_json)


@score.command("selectit")
@click.option(
    "--model", "models", multiple=True, help="A causal language model. Repeatable: weighted by size. Default: own."
)
@click.option(
    "--prompts", type=click.Path(path_type=Path), metavar="FILE", help="Rating prompts of your own, one a line."
)
@click.option("--alpha", type=float, default=0.2, show_default=True, help="How much disagreement of prompts costs.")
@length_option
@batch_option
@name_option
@force_option
@device_option
@json_option
@click.pass_obj
def selectit(
    index: Place,
    models: tuple[str, ...],
    prompts: Path | None,
    alpha: float,
    max_length: int | None,
    batch_tokens: int | None,
    name: str | None,
    force: bool,
    device: str,
    as_json: bool,
) -> None:
    """Let a model rate each row from 1 to 5.

    The surer it is, and the more its answers to several rating prompts agree, the higher the score; high is good
    (SelectIT, Liu et al., arXiv 2402.16705).

    \b
    Example:
      nait-index score alpaca.nait selectit --model Qwen/Qwen2.5-0.5B --model Qwen/Qwen2.5-1.5B
    """
    from nait_index.quality.selectit import SelectIt

    _run(index, SelectIt(models, prompts, alpha, max_length, batch_tokens), name, force, device, as_json)


@score.command("judge")
@click.option("--url", required=True, help="Any OpenAI-compatible endpoint, such as http://localhost:8000/v1.")
@click.option("--judge-model", required=True, metavar="MODEL", help="The model to ask there.")
@click.option("--key-env", metavar="VARIABLE", help="Environment variable that holds the API key.")
@click.option("--workers", type=int, default=4, show_default=True, help="Requests under way at once.")
@click.option("--rate", type=float, metavar="N", help="Most requests a minute.")
@click.option("--timeout", type=float, default=60, show_default=True, help="Seconds an attempt may take.")
@click.option("--retries", type=click.IntRange(0), default=5, show_default=True, help="Attempts after the first.")
@click.option("--temperature", default="0", show_default=True, help="A number, or 'none' to leave it to the server.")
@click.option("--max-tokens", type=int, help="Longest answer; models that think first need room.")
@click.option("--price-in", type=float, metavar="PRICE", help="Of a million prompt tokens, for the estimate.")
@click.option("--price-out", type=float, metavar="PRICE", help="Of a million answer tokens, for the estimate.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@name_option
@force_option
@json_option
@click.pass_obj
def judge(
    index: Place,
    url: str,
    judge_model: str,
    key_env: str | None,
    workers: int,
    rate: float | None,
    timeout: float,
    retries: int,
    temperature: str,
    max_tokens: int | None,
    price_in: float | None,
    price_out: float | None,
    yes: bool,
    name: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Let a model behind an endpoint rate each row from 0 to 5.

    The texts of the rows are sent there. What it will cost is said first; high is good (AlpaGasus, Chen et al., arXiv
    2307.08701).

    \b
    Example:
      nait-index score alpaca.nait judge --url https://api.example.com/v1 --judge-model large --key-env API_KEY
    """
    from nait_index.quality.endpoint import Endpoint
    from nait_index.quality.judge import Judge

    endpoint = Endpoint(
        url, judge_model, _key(key_env), _temperature(temperature), max_tokens, retries=retries, timeout=timeout
    )
    spec = Judge(endpoint, workers, rate, price_in, price_out)
    _run(index, spec, name, force, str(Device.AUTO), as_json, _confirmer(yes))


@score.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@name_option
@force_option
@json_option
@click.pass_obj
def import_(index: Place, file: Path, name: str | None, force: bool, as_json: bool) -> None:
    """Take over scores computed elsewhere.

    FILE is .csv or .jsonl with id and value. Ids that the index does not have are set aside and counted; rows
    that FILE does not have get no score.

    \b
    Example:
      nait-index score alpaca.nait import reward.csv --name reward
    """
    from nait_index.quality.imported import Imported

    _run(index, Imported(file), name, force, str(Device.AUTO), as_json)


def _run(
    index: Place,
    spec: "QualitySpec",
    name: str | None,
    force: bool,
    device: str,
    as_json: bool,
    confirm: "Confirm | None" = None,
) -> None:
    from dataclasses import asdict

    opened = index.open(device=device)
    with score_progress() as progress:
        report = opened.score(spec, name=name, force=force, progress=progress, confirm=confirm)
    if as_json:
        print_json(asdict(report))
        return
    unscored = report.rows - sum(report.statuses.values())
    counts = sorted(report.statuses.items(), key=lambda own: -own[1]) + ([("no score", unscored)] if unscored else [])
    print_table((f"{report.name}_status", "rows"), counts)
    note(f"{report.computed:,} rows in {report.seconds:.1f} s, {report.reused:,} were done before")
    if report.set_aside:
        note(f"{report.set_aside:,} lines set aside, see {opened.layout.scores / report.name}.rejected.jsonl")
    if report.statuses.get("failed"):
        note(f"{report.statuses['failed']:,} rows failed; run the same command again to try them again")


def _key(variable: str | None) -> str | None:
    """Read the API key, which is never given on the command line itself: others could see it there."""
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise click.UsageError(f"--key-env {variable}: this environment variable is not set")
    return os.environ[variable]


def _temperature(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.UsageError(f"--temperature '{text}' is neither a number nor 'none'") from None


def _confirmer(yes: bool) -> "Confirm":
    def confirm(cost: object) -> bool:
        note(str(cost))
        if yes:
            return True
        if not sys.stdin.isatty():
            raise click.UsageError("there is nobody here to confirm this; add --yes")
        return click.confirm("go on?", err=True)

    return confirm
