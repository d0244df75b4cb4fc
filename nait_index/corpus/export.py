"""Selected rows -> a file that a trainer reads as it is, and a sidecar that says what they are."""

import json
from collections.abc import Iterable
from pathlib import Path

from nait_index.corpus.rows import to_json
from nait_index.errors import NaitError, OutputExistsError
from nait_index.files import atomic_write

_SUFFIXES = (".jsonl",)


def check_output(path: Path, *, force: bool) -> None:
    """Check that rows may be written to a path, before work is spent on them.

    :raises OutputExistsError: a file is there and ``force`` is not set.
    :raises NaitError: the extension is not one that can be written, or the folder is missing.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise NaitError(f"{path}: cannot write {path.suffix or 'a name without extension'}; use {', '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise NaitError(f"{path}: not written, there is no folder {path.parent}; create it first")
    _refuse_existing(path, force)


def write_rows(path: Path, rows: Iterable[str], *, force: bool = False) -> int:
    """Write rows one a line, each exactly as it is given.

    :param rows: JSON objects as text.
    :returns: how many were written.
    :raises OutputExistsError: a file is there and ``force`` is not set.
    :raises NaitError: the file cannot be written.
    """
    check_output(path, force=force)
    count = 0
    with atomic_write(path) as file:
        for row in rows:
            file.write(_one_line(row).encode() + b"\n")
            count += 1
    return count


def write_json(path: Path, value: object, *, force: bool = False) -> None:
    """Write one JSON value, indented for people.

    :raises OutputExistsError: a file is there and ``force`` is not set.
    :raises NaitError: the file cannot be written.
    """
    _refuse_existing(path, force)
    with atomic_write(path) as file:
        file.write(to_json(value, indent=2).encode() + b"\n")


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir():
        raise OutputExistsError(f"{path}: a folder is there; name a file in it")
    if path.exists() and not force:
        raise OutputExistsError(f"{path}: exists already; overwrite it with --force, or choose another name")


def _one_line(row: str) -> str:
    """Only a row that is spread over lines is written anew, for a line must hold all of it."""
    return to_json(json.loads(row)) if "\n" in row else row
