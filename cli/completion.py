"""Completion in the shell: ``nait-index completion``, and what stands where on a command line.

What is completed is read from the index's manifest, so that the shell does not wait; whatever is wrong with an
index, there is nothing to complete, and no error.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from nait_index.store.layout import Layout
    from nait_index.store.manifest import Manifest

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_PROGRAM, _VARIABLE = "nait-index", "_NAIT_INDEX_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the script that lets your shell complete all this.")
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the script that lets SHELL complete commands, options, files and the names of stored capabilities.

    SHELL is by default the one that $SHELL names; bash must be 4.4 or newer. Where the script goes:

    \b
      bash  ~/.local/share/bash-completion/completions/nait-index
      zsh   ~/.zfunc/_nait-index, with fpath+=~/.zfunc before compinit in .zshrc
      fish  ~/.config/fish/completions/nait-index.fish

    \b
    Example:
      nait-index completion fish > ~/.config/fish/completions/nait-index.fish
      source <(nait-index completion bash)
    """
    own = shell or Path(os.environ.get("SHELL", "")).name
    made = get_completion_class(own) if own in _SHELLS else None
    if made is None:
        raise click.UsageError(f"say which shell: {', '.join(_SHELLS)}")
    click.echo(made(click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE).source())


def a_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell, which knows the files."""
    return [CompletionItem(incomplete, type="file")]


def a_folder(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave it to the shell, which knows the folders."""
    return [CompletionItem(incomplete, type="dir")]


def a_capability(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of the capabilities that are stored in the index on the line."""
    return _matching(_read(context, capability_names), incomplete)


def a_version(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the tags and versions of the index on the line."""
    return _matching(_read(context, _versions), incomplete)


def capability_names(_: "Layout", manifest: "Manifest") -> list[str]:
    """Return the names of the stored capabilities: from the manifest, since opening the table takes half a second."""
    return list(manifest.head.capability_names)


def _versions(_: "Layout", manifest: "Manifest") -> list[str]:
    return [*manifest.tags, *(str(own.number) for own in manifest.history)]


def _read(context: click.Context, names: "Callable[[Layout, Manifest], Iterable[str]]") -> list[str]:
    try:
        from nait_index.store.layout import Layout
        from nait_index.store.manifest import load_manifest

        # After an option without its value, arguments are not told apart yet; INDEX is the first.
        place = context.params.get("index") or context.args[0]
        layout = Layout(os.path.expanduser(place))  # a shell completes what it has not expanded
        return list(names(layout, load_manifest(layout))) if layout.remote is None else []
    except Exception:
        return []


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # A name that the shell would take apart, or that would steer the terminal, is not offered.
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and name.isprintable()]
