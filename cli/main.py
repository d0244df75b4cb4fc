"""Entry point: the command group, and how errors become exit codes.

0 done · 1 a clear one-line error · 2 wrong usage · 130 interrupted, with the work kept.
"""

import re
import sys

import click

from nait_index.errors import NaitError

from .build import build
from .capability import capability
from .completion import completion
from .core import core
from .cover import cover
from .demo import demo
from .explain import compare, explain
from .explore import explore
from .export import export
from .groups import Jobs
from .grow import add, rebuild, remove
from .log import speaking
from .look import info, rows, verify
from .output import one_line, wants_color
from .query import query
from .report import report
from .sae import sae
from .score import score
from .versions import optimize, restore, tag, versions


@click.group(cls=Jobs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nait-index")
def cli() -> None:
    """Which of my samples teach this skill?

    Build an index of a corpus once; then choose training data for any capability in seconds.

    \b
    Example:
      nait-index build my.nait corpus.jsonl --model Qwen/Qwen2.5-0.5B
      nait-index query my.nait -e gsm8k.jsonl --top 10% -o math.jsonl
    """


cli.add_jobs(
    {
        "Begin": (demo, completion),
        "Build": (build, add, score, sae),
        "Choose": (query, core, cover, capability),
        "Look": (report, explore, info, rows, explain, compare, verify),
        "Hand over": (export,),
        "Keep alive": (versions, tag, restore, remove, rebuild, optimize),
    }
)


def main() -> None:
    """Run the command line and exit."""
    try:
        with speaking():
            sys.exit(cli.main(prog_name="nait-index", standalone_mode=False, color=wants_color()) or 0)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was finished is kept, run the same command again to go on", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except (NaitError, OSError) as error:
        click.echo(f"Error: {one_line(str(error))}", err=True)
        sys.exit(1)


def _show(error: click.ClickException) -> None:
    """Say what click does, with the message on one line whatever the user wrote."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # of click 8.2 and later
        error.show()
        return
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    click.echo(f"Error: {one_line(error.format_message()).rstrip('.')}{_nearest(error)}", err=True)


def _nearest(error: click.ClickException) -> str:
    """Offer the nearest of the values that an option takes, or of the commands, where click does not."""
    from nait_index.spelling import did_you_mean

    if isinstance(error, click.BadParameter) and error.param and isinstance(error.param.type, click.Choice):
        given = re.match("'(.*)' is not one of ", error.message)
        return did_you_mean(given[1], map(str, error.param.type.choices)) if given else ""
    given = re.fullmatch(r"No such command '(.*)'\.?", error.message)
    command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    return did_you_mean(given[1], command.commands) if given and isinstance(command, click.Group) else ""
