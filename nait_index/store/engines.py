"""Which scan copies are kept: those of the present version, and of each signature the newest other one.

That other one is what the copy of the present version is made from, and goes once that is there. Processes that have a
deleted copy mapped can still read it.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from nait_index.store.layout import Layout

KINDS = (".json", ".npy", ".sums", ".rows.json")
"""Endings of the files of one copy: its stamp, its rows, their checksums, and which rows of the table they are."""


def other_copies(layout: Layout, column: str, table_version: int) -> list[Path]:
    """Return the folders with a finished copy of a column at another version of the table, the newest first."""
    return [folder for folder in _others(layout, table_version) if column in _finished(folder)]


def drop_older(layout: Layout, column: str, table_version: int) -> None:
    """Delete the copies of a column at earlier versions of the table, as far as that is permitted."""
    for folder in _others(layout, table_version):
        if int(folder.name) < table_version:
            with suppress(OSError):
                for kind in KINDS:  # the stamp first: without it, no file is used
                    (folder / f"{column}{kind}").unlink(missing_ok=True)
                folder.rmdir()


def prune(layout: Layout, table_version: int) -> None:
    """Delete all copies but those of a version of the table and, of columns it has none of, the newest other ones."""
    current, others = layout.engine(table_version), _others(layout, table_version)
    covered = _finished(current)
    for folder in others:
        columns = _finished(folder) - covered
        covered |= columns
        kept = {f"{column}{kind}" for column in columns for kind in KINDS}
        for path in [path for path in folder.iterdir() if path.name not in kept]:
            _delete(path)
        if not kept:
            _delete(folder)
    for folder in layout.engines.glob("*"):
        if folder.is_dir() and folder not in (current, *others):
            _delete(folder)


def _others(layout: Layout, table_version: int) -> list[Path]:
    """Return the folders of other versions of the table, the newest first."""
    folders = [folder for folder in layout.engines.glob("*") if folder.name.isdecimal() and folder.is_dir()]
    others = [folder for folder in folders if folder != layout.engine(table_version)]
    return sorted(others, key=lambda folder: int(folder.name), reverse=True)


def _finished(folder: Path) -> set[str]:
    """Return the columns of which a folder holds all files of a copy."""
    columns = {path.name.removesuffix(".npy") for path in folder.glob("*.npy")}
    return {column for column in columns if all((folder / f"{column}{kind}").is_file() for kind in KINDS)}


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
