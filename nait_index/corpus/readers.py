"""Corpus file -> raw rows, one at a time, whatever the format.

Rows are numbered from 1, in JSON lines by their line. A row that cannot be read is rejected and reading goes on; a
file that cannot be read is an error.
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

from nait_index.corpus.csv_rows import csv_rows
from nait_index.corpus.json_rows import json_line_rows, json_rows
from nait_index.corpus.rows import RawRow, printable
from nait_index.errors import CorpusError
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
    """List the files that one path of a corpus stands for, in reading order.

    A folder written by ``datasets``' ``save_to_disk`` stands for its shards, any other for the corpus files right in
    it, by name.

    :raises CorpusError: the path, or what is in it, is nothing that can be read.
    """
    if path == STDIN:
        return [path]
    with _explained(path):
        _check_name(path)
        path.stat()
        files = _folder_files(path) if path.is_dir() else [path]
    for file in files:
        if _suffix(file) not in _SUFFIXES:
            found = f"unknown extension {_suffix(file)}" if file.suffix else "a name without extension"
            raise CorpusError(f"{display_name(file)}: {found}; known are {', '.join(_SUFFIXES)}")
    return files


def read_rows(file: Path) -> Iterator[RawRow | Rejected]:
    """Stream the rows of one file.

    :raises CorpusError: the file as a whole cannot be read, or only up to a point.
    """
    name, suffix = display_name(file), _suffix(file)
    with _explained(file):
        if file == STDIN:
            yield from json_rows(sys.stdin.buffer, name)
        elif suffix in _ARROW:
            from nait_index.corpus.arrow_rows import arrow_rows, parquet_rows

            yield from parquet_rows(file, name) if suffix == ".parquet" else arrow_rows(file, name)
        else:
            with gzip.open(file) if suffix.endswith(".gz") else file.open("rb") as stream:
                yield from _STREAMED[suffix.removesuffix(".gz")](cast(BinaryIO, stream), name)


def display_name(file: Path) -> str:
    """Name a file as the user did, in characters that can be written."""
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


def _check_name(path: Path) -> None:
    try:
        named = "\0" not in str(path) and os.fsencode(path) != b""
    except UnicodeEncodeError:  # half a surrogate pair
        named = False
    if not named:
        raise CorpusError(f"{display_name(path)!r} cannot be the name of a file")


def _inside(folder: Path, name: str) -> Path:
    """Give a file right in a folder, by a name that comes from a file and must not lead elsewhere."""
    if name in ("", "..") or Path(name).name != name or not name.isprintable():
        raise CorpusError(f"{display_name(folder)}: names {name!r}, which is not right in this folder; save it again")
    return folder / name


def _suffix(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    return "".join(suffixes) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn what the system says about an unusable file into one clear line."""
    name = display_name(file)
    try:
        yield
    except FileNotFoundError as error:
        raise CorpusError(f"{name}: no such file{_closest(file)}") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{name}: damaged or cut off gzip data ({error}); fetch or compress it again") from error
    except RecursionError as error:
        raise CorpusError(f"{name}: nested too deep to be read; use one object a line") from error
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:300] or type(error).__name__
        raise CorpusError(f"{name}: cannot be read: {reason}") from error


def _closest(file: Path) -> str:
    if not os.access(file.parent, os.R_OK | os.X_OK):
        return f", nor a folder {display_name(file.parent)} that can be read"
    return did_you_mean_path(file)
