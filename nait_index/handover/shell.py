"""Shell scripts that start a trainer on a model: ``bash SCRIPT MODEL [MORE …]``."""

from collections.abc import Sequence

_SCRIPT = """\
#!/usr/bin/env bash
# Train a model with {trainer}: bash THIS-FILE MODEL [{more} …]
{notes}
set -eu
model=$1
shift
{command} \\
    "$@"
"""


def script(trainer: str, more: str, notes: Sequence[str], words: Sequence[str]) -> str:
    """Return the text of a script.

    :param more: what else the command takes, as its help would say it. :param notes: sentences for the user, none of
        which may hold what others wrote: they become comments. :param words: of the command, quoted for the shell.
    """
    lines = "\n".join(f"# {note}" for note in notes)
    return _SCRIPT.format(trainer=trainer, more=more, notes=lines, command=" \\\n    ".join(words))
