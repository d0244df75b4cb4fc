"""``nait-index completion``, and what the shell completes at each place of a command line.

Names are read from the index's manifest, which is quick. If an index cannot be read, nothing is completed, without an
error.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from nait_index.store.manifest import Manifest

_PROGRAM, _VARIABLE = "nait-index", "_NAIT_INDEX_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the completion script for your shell.")
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print a script that makes your shell complete commands, options, files and the names of stored capabilities.

    Without an argument, the shell is the one that $SHELL names; bash must be 4.4 or newer. Save the script as:

    \b
      bash  ~/.local/share/bash-completion/completions/nait-index
      zsh   ~/.zfunc/_nait-index, with fpath+=~/.zfunc before compinit in .zshrc
      fish  ~/.config/fish/completions/nait-index.fish

    \b
    Example:
      nait-index completion fish > ~/.config/fish/completions/nait-index.fish
      source <(nait-index completion bash)
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    completer = get_completion_class(name) if name in _SHELLS else None
    if completer is None:
        raise click.UsageError(f"name your shell: {', '.join(_SHELLS)}")
    click.echo(completer(click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE).source())


def _left_to_shell(kind: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    return lambda _, __, incomplete: [CompletionItem(incomplete, type=kind)]


a_file, a_folder = _left_to_shell("file"), _left_to_shell("dir")


def a_capability(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of the capabilities that are stored in the index on the line."""
    return _matching(context, capability_names, incomplete)


def a_version(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the tags and versions of the index on the line."""
    return _matching(context, _versions, incomplete)


def capability_names(manifest: "Manifest") -> list[str]:
    """Return the names of the stored capabilities."""
    return list(manifest.head.capability_names)


def _versions(manifest: "Manifest") -> list[str]:
    return [*manifest.tags, *(str(version.number) for version in manifest.history)]


def _matching(
    context: click.Context, names: "Callable[[Manifest], Iterable[str]]", incomplete: str
) -> list[CompletionItem]:
    try:
        from nait_index.store.layout import Layout
        from nait_index.store.manifest import load_manifest

        # After an option without its value, click has not assigned the arguments yet; INDEX is the first.
        path = context.params.get("index") or context.args[0]
        layout = Layout(os.path.expanduser(path))  # a shell completes what it has not expanded
        known = names(load_manifest(layout)) if layout.remote is None else []
        # A name that the shell would split, or that would control the terminal, is not offered.
        return [CompletionItem(name) for name in known if name.startswith(incomplete) and name.isprintable()]
    except Exception:
        return []
