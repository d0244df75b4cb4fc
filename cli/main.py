"""Entry point: the command group, and how errors become exit codes.

0 done · 1 a clear one-line error · 2 wrong usage · 130 interrupted, with the work kept.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence

import click

from nait_index.errors import NaitError

from .build import add, build, sae
from .capability import capability
from .choose import core, cover, export, query
from .completion import completion
from .demo import demo
from .explain import compare, explain
from .log import speak_up, speaking
from .look import explore, info, report, rows, verify
from .maintain import landmarks, optimize, rebuild, remove, restore, tag, versions
from .output import one_line, open_closed_streams, wants_color
from .prove import prove
from .recipe import recipe, run, try_
from .score import score

_VERBOSE = click.Option(
    ["-v", "--verbose"], count=True, expose_value=False, callback=speak_up, is_eager=True, show_default=False,
    help="Log the main steps to standard error; -vv logs more.",
)  # fmt: skip


class Jobs(click.Group):
    """A group whose help lists its commands by job, in the order added, and whose commands all take ``-v``."""

    jobs: Mapping[str, Sequence[str]] = {}

    def add_jobs(self, jobs: Mapping[str, Sequence[click.Command]]) -> None:
        """Add the commands of each job, and ``-v`` to each command and subcommand."""
        self.jobs = {job: [str(command.name) for command in commands] for job, commands in jobs.items()}
        for command in (command for commands in jobs.values() for command in commands):
            self.add_command(command)
        for command in _all_of(self):
            command.params.append(_VERBOSE)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return [name for names in self.jobs.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of each job."""
        widest = max(len(name) for name in self.list_commands(ctx))
        limit = formatter.width - 6 - widest
        for job, names in self.jobs.items():
            rows = [(name.ljust(widest), self.commands[name].get_short_help_str(limit)) for name in names]
            with formatter.section(job):
                formatter.write_dl(rows)


def _all_of(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            yield from _all_of(subcommand)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}


@click.group(cls=Jobs, context_settings=_SETTINGS)
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
        "Get started": (demo, try_, completion),
        "Build": (build, add, landmarks, score, sae),
        "Choose": (query, core, cover, capability),
        "Look": (report, explore, info, rows, explain, compare, prove, verify),
        "Hand over": (export,),
        "Replay": (run, recipe),
        "Maintain": (versions, tag, restore, remove, rebuild, optimize),
    }
)


def main() -> None:
    """Run the command line and exit."""
    open_closed_streams()
    try:
        with speaking():
            sys.exit(cli.main(prog_name="nait-index", standalone_mode=False, color=wants_color()) or 0)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; finished work is kept, run the same command again to continue", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except (NaitError, OSError) as error:
        click.echo(f"Error: {one_line(str(error))}", err=True)
        sys.exit(1)


def _show(error: click.ClickException) -> None:
    """Print the error as click does, but with the message on one line, whatever the user wrote."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # of click 8.2 and later
        error.show()
        return
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    click.echo(f"Error: {one_line(error.format_message()).rstrip('.')}{_nearest(error)}", err=True)


def _nearest(error: click.ClickException) -> str:
    """Suggest the nearest value of an option, or the nearest command, where click does not."""
    from nait_index.spelling import did_you_mean

    if isinstance(error, click.BadParameter) and error.param and isinstance(error.param.type, click.Choice):
        given = re.match("'(.*)' is not one of ", error.message)
        return did_you_mean(given[1], map(str, error.param.type.choices)) if given else ""
    given = re.fullmatch(r"No such command '(.*)'\.?", error.message)
    command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    return did_you_mean(given[1], command.commands) if given and isinstance(command, click.Group) else ""
