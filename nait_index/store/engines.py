"""Which scan copies and cells are kept: those of the present version, and of each signature the newest other ones.

Those are what the files of the present version are made from, and go once these are there. Processes that have a
deleted file mapped can still read it.

The copies of a share of the rows, for processes that scan a table together, are in a folder of their own, by the same
rules, and for one number of shares at a time.
"""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nait_index.store.layout import Layout

KINDS = (".json", ".npy", ".sums", ".rows.json")
"""Endings of the files of one copy: its stamp, its rows, their checksums, and which rows of the table they are."""

CELLS = (".cells.json", ".cells", ".order.npy", ".codes.npy")
"""Endings of the files of an approximate search, its stamp first."""


_SHARE = re.compile(r"\d+-of-(\d+)")


def share_folder(layout: Layout, number: int, shares: int) -> Path:
    """Return the folder of the copies of one of several shares of the rows."""
    return layout.engines / f"{number}-of-{shares}"


def drop_other_shares(layout: Layout, shares: int) -> None:
    """Delete the copies of shares of another number."""
    for folder, count in _shares(layout):
        if count != shares:
            _delete(folder)


def other_copies(engines: Path, name: str, table_version: int, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Return the folders with a finished copy of a column at another version of the table, the newest first.

    :param engines: the folder of the copies of all versions.
    """
    return [folder for folder in _others(engines, table_version) if (name, kinds) in _finished(folder)]


def drop_older(engines: Path, name: str, table_version: int, kinds: Sequence[str] = KINDS) -> None:
    """Delete the copies of a column at earlier versions of the table, as far as that is permitted."""
    for folder in _others(engines, table_version):
        if int(folder.name) < table_version:
            with suppress(OSError):
                for kind in kinds:  # the stamp first: without it, no file is used
                    (folder / f"{name}{kind}").unlink(missing_ok=True)
                folder.rmdir()


def prune(layout: Layout, table_version: int) -> None:
    """Delete all copies but those of a version of the table and, of columns it has none of, the newest other ones."""
    shares = [folder for folder, _ in _shares(layout)]
    for engines in (layout.engines, *shares):
        _prune(engines, table_version, shares)


def _prune(engines: Path, table_version: int, shares: Sequence[Path]) -> None:
    current, others = engines / str(table_version), _others(engines, table_version)
    covered = _finished(current)
    for folder in others:
        copies = _finished(folder) - covered
        covered |= copies
        kept = {f"{name}{kind}" for name, kinds in copies for kind in kinds}
        for path in [path for path in folder.iterdir() if path.name not in kept]:
            _delete(path)
        if not kept:
            _delete(folder)
    for folder in engines.glob("*"):
        if folder.is_dir() and folder not in (current, *others, *shares):
            _delete(folder)


def _shares(layout: Layout) -> list[tuple[Path, int]]:
    """Return the folder of every share, and of how many it is one."""
    named = [(folder, _SHARE.fullmatch(folder.name)) for folder in layout.engines.glob("*")]
    return [(folder, int(match[1])) for folder, match in named if match is not None and folder.is_dir()]


def _others(engines: Path, table_version: int) -> list[Path]:
    """Return the folders of other versions of the table, the newest first."""
    folders = [folder for folder in engines.glob("*") if folder.name.isdecimal() and folder.is_dir()]
    others = [folder for folder in folders if folder.name != str(table_version)]
    return sorted(others, key=lambda folder: int(folder.name), reverse=True)


def _finished(folder: Path) -> set[tuple[str, Sequence[str]]]:
    """Return the names, with the endings, of which a folder holds all files."""
    copies = {
        (path.name.removesuffix(kinds[-1]), kinds) for kinds in (KINDS, CELLS) for path in folder.glob(f"*{kinds[-1]}")
    }
    return {(name, kinds) for name, kinds in copies if all((folder / f"{name}{kind}").is_file() for kind in kinds)}


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
