"""The command group: its commands by the job they do, and ``-v`` after every one of them."""

from collections.abc import Iterator, Mapping, Sequence

import click

from .log import speak_up


class Jobs(click.Group):
    """A group whose help lists commands by job, in an order that makes sense."""

    jobs: Mapping[str, Sequence[str]] = {}

    def add_jobs(self, jobs: Mapping[str, Sequence[click.Command]]) -> None:
        """Add commands, and let each of them, with its own commands, take ``-v`` as well."""
        self.jobs = {job: [str(own.name) for own in commands] for job, commands in jobs.items()}
        for command in (own for commands in jobs.values() for own in commands):
            self.add_command(command)
        for command in _all_of(self):
            command.params.append(_verbose())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order of the help."""
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
        for own in command.commands.values():
            yield from _all_of(own)


def _verbose() -> click.Option:
    return click.Option(
        ["-v", "--verbose"], count=True, expose_value=False, callback=speak_up, is_eager=True,
        help="Say on the error stream what is being done; twice, say more.",
    )  # fmt: skip
