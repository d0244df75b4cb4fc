"""Where rows go: a file or folder by its suffix, and writing them there."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from nait_index.errors import NaitError, OutputExistsError
from nait_index.files import Together, check_writable
from nait_index.handover.rows import OutRow
from nait_index.handover.tables import require_datasets, to_dataset, to_table


class Kind(StrEnum):
    """What rows can be written as; the value is the suffix."""

    JSONL = ".jsonl"
    JSON = ".json"
    PARQUET = ".parquet"
    FOLDER = ""


def kind_of(path: str | Path) -> Kind:
    """Tell by the name what is to be written; a name with no suffix, or a slash at its end, is a folder's.

    :raises NaitError: nothing is written under such a suffix.
    """
    suffix = "" if str(path).endswith(("/", os.sep)) else Path(path).suffix.lower()
    try:
        return Kind(suffix)
    except ValueError:
        known = ", ".join(own for own in Kind if own)
        raise NaitError(
            f"{path}: cannot write {suffix}; use {known}, or a / at the end for a folder that load_from_disk opens"
        ) from None


def check_rows_place(path: Path, kind: Kind, *, force: bool) -> None:
    """Check that rows may be written to a path. Only a folder that holds a dataset is ever replaced.

    :raises OutputExistsError: something is in the way. :raises NaitError: it cannot be written.
    """
    if path.name in ("", ".."):
        raise NaitError(f"'{path}' names no file or folder to be written; add a name")
    if kind is Kind.FOLDER:
        require_datasets(f"{path}: a folder")
    if path.is_dir():
        if kind is not Kind.FOLDER:
            raise OutputExistsError(f"{path}: a folder is there; name a file in it")
        if not (path / "state.json").is_file():
            raise OutputExistsError(f"{path}: a folder is there that holds no dataset; choose another name")
    elif kind is Kind.FOLDER and path.exists():
        raise OutputExistsError(f"{path}: a file is there; choose another name for the folder")
    check_writable(path, force=force)


def write_rows(rows: Sequence[OutRow], path: Path, kind: Kind, batch: Together) -> None:
    """Write rows, to appear with all else in the batch.

    :raises NaitError: they cannot be written so.
    """
    if kind is Kind.FOLDER:
        dataset = to_dataset(to_table(rows, str(path)))
        with batch.folder(path) as folder, _no_progress():
            dataset.save_to_disk(folder)
        return
    table = to_table(rows, str(path)) if kind is Kind.PARQUET else None
    with batch.file(path) as file:
        if table is not None:
            import pyarrow.parquet as pq

            pq.write_table(table, file)
        elif kind is Kind.JSONL:
            file.writelines(row.text.encode() + b"\n" for row in rows)
        else:
            _write_array(rows, file)


@contextmanager
def _no_progress() -> Iterator[None]:
    """Keep the library's bars off a terminal that is not its own."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _write_array(rows: Sequence[OutRow], file: BinaryIO) -> None:
    for number, row in enumerate(rows):
        file.write((b",\n" if number else b"[\n") + row.text.encode())
    file.write(b"\n]\n" if rows else b"[]\n")
