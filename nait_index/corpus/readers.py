"""Corpus file -> raw rows, one at a time, whatever the format.

Rows are numbered from 1, JSON lines by line. A row that cannot be read is rejected and reading goes on; a file that
cannot be read is an error.
"""

import gzip
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from nait_index.corpus.arrow_rows import arrow_rows
from nait_index.corpus.rows import RawRow, printable
from nait_index.corpus.text_rows import csv_rows, json_line_rows, json_rows
from nait_index.errors import CorpusError, one_line
from nait_index.spelling import did_you_mean_path
from nait_index.types import Rejected

STDIN = Path("-")
STDIN_NAME = "stdin"

_STREAMED: dict[str, Callable[[BinaryIO, str], Iterator[RawRow | Rejected]]] = {
    ".json": json_rows,
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".csv": csv_rows,
}
_ARROW = (".parquet", ".arrow", ".feather")
_SUFFIXES = (*_STREAMED, *(f"{suffix}.gz" for suffix in _STREAMED), *_ARROW)


def corpus_files(path: Path) -> list[Path]:
    """List the files of one corpus path, in reading order.

    A folder written by ``datasets``' ``save_to_disk`` yields its shards, any other folder the corpus files directly in
    it, by name.

    :raises CorpusError: the path, or something in it, cannot be read.
    """
    if path == STDIN:
        return [path]
    if not _is_name(path):
        raise CorpusError(f"{display_name(path)!r} cannot be the name of a file")
    with _explained(path):
        path.stat()
        files = _folder_files(path) if path.is_dir() else [path]
    for file in files:
        if _suffix(file) not in _SUFFIXES:
            problem = f"unknown extension {_suffix(file)}" if file.suffix else "a name without extension"
            raise CorpusError(f"{display_name(file)}: {problem}; known are {', '.join(_SUFFIXES)}")
    return files


def read_rows(file: Path) -> Iterator[RawRow | Rejected]:
    """Stream the rows of one file.

    :raises CorpusError: the file cannot be read, or only up to a point.
    """
    name, suffix = display_name(file), _suffix(file)
    with _explained(file):
        if file == STDIN:
            yield from json_rows(sys.stdin.buffer, name)
        elif suffix in _ARROW:
            yield from arrow_rows(file, name, "Parquet" if suffix == ".parquet" else "Arrow")
        else:
            with gzip.open(file) if suffix.endswith(".gz") else file.open("rb") as stream:
                yield from _STREAMED[suffix.removesuffix(".gz")](cast(BinaryIO, stream), name)


def display_name(file: Path) -> str:
    """Return a file's name as the user gave it, in printable characters."""
    return STDIN_NAME if file == STDIN else printable(str(file))


def _folder_files(folder: Path) -> list[Path]:
    splits, state = folder / "dataset_dict.json", folder / "state.json"
    try:
        if splits.is_file():
            names = json.loads(splits.read_bytes())["splits"]
            return [file for name in names for file in _folder_files(_inside(folder, name))]
        if state.is_file():
            return [_inside(folder, shard["filename"]) for shard in json.loads(state.read_bytes())["_data_files"]]
    except (ValueError, LookupError, TypeError) as error:
        raise CorpusError(f"{display_name(folder)}: damaged save_to_disk folder ({error!r}); save it again") from error
    files = sorted(file for file in folder.iterdir() if _suffix(file) in _SUFFIXES and not file.name.startswith("."))
    if not files:
        raise CorpusError(f"{display_name(folder)}: a folder with no file that ends in {', '.join(_SUFFIXES)}")
    return files


def _is_name(path: Path) -> bool:
    """Return whether the system can have a file of this name."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _inside(folder: Path, name: str) -> Path:
    """Return a file directly in a folder, by a name that was read from a file and must not lead elsewhere."""
    if name in ("", "..") or Path(name).name != name or not name.isprintable():
        raise CorpusError(f"{display_name(folder)}: names {name!r}, which is not a file in this folder; save it again")
    return folder / name


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    return "".join(suffixes) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn the system's error about an unusable file into one clear line."""
    name = display_name(file)
    try:
        yield
    except FileNotFoundError as error:
        readable = os.access(file.parent, os.R_OK | os.X_OK)
        hint = did_you_mean_path(file) if readable else f", nor a folder {display_name(file.parent)} that can be read"
        raise CorpusError(f"{name}: no such file{hint}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{name}: damaged or truncated gzip data ({error}); fetch or compress it again") from error
    except RecursionError as error:
        raise CorpusError(f"{name}: nested too deep to be read; write one object per line") from error
    except OSError as error:
        raise CorpusError(f"{name}: cannot be read: {error.strerror or one_line(error)}") from error
