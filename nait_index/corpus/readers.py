"""Corpus file -> raw rows, one at a time, whatever the format.

Rows are numbered from 1, JSON lines by line. A row that cannot be read is rejected and reading goes on; a file that
cannot be read is an error.
"""

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, cast

from nait_index.corpus.arrow_rows import arrow_rows
from nait_index.corpus.folders import STDIN, CorpusFile, choose_split, display_name, is_name, path_files, suffix_of
from nait_index.corpus.rows import RawRow
from nait_index.corpus.text_rows import csv_rows, json_line_rows, json_rows
from nait_index.errors import CorpusError, one_line
from nait_index.spelling import did_you_mean_path
from nait_index.types import Rejected

_STREAMED: dict[str, Callable[[BinaryIO, str], Iterator[RawRow | Rejected]]] = {
    ".json": json_rows,
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".csv": csv_rows,
}
_ARROW = (".parquet", ".arrow", ".feather")
SUFFIXES = (*_STREAMED, *(f"{suffix}.gz" for suffix in _STREAMED), *_ARROW)


def corpus_files(path: Path, split: str | None = None) -> list[CorpusFile]:
    """List the files of one corpus path, in reading order.

    :param split: of a folder that holds several: its name, or ``all``.
    :raises CorpusError: the path, or something in it, cannot be read; or it holds several splits, and none was asked
        for.
    """
    if path == STDIN:
        return [CorpusFile(path)]
    if not is_name(path):
        raise CorpusError(f"{display_name(path)!r} cannot be the name of a file")
    with _explained(path):
        path.stat()
        files = choose_split(display_name(path), path_files(path, SUFFIXES), split, is_folder=path.is_dir())
    for file in files:
        check_suffix(file.path, display_name(file.path))
    return files


def check_suffix(file: PurePath, name: str) -> None:
    """Check that a file is of a kind that can be read.

    :param name: what it is called in the message.
    :raises CorpusError: it is not.
    """
    if suffix_of(file) not in SUFFIXES:
        problem = f"unknown extension {suffix_of(file)}" if file.suffix else "a name without extension"
        raise CorpusError(f"{name}: {problem}; known are {', '.join(SUFFIXES)}")


def read_rows(file: Path, name: str | None = None) -> Generator[RawRow | Rejected, None, None]:
    """Stream the rows of one file.

    :param name: what it is called in messages; its own by default.
    :raises CorpusError: the file cannot be read, or only up to a point.
    """
    name, suffix = name or display_name(file), suffix_of(file)
    with _explained(file):
        if file == STDIN:
            yield from json_rows(sys.stdin.buffer, name)
        elif suffix in _ARROW:
            yield from arrow_rows(file, name, "Parquet" if suffix == ".parquet" else "Arrow")
        else:
            with gzip.open(file) if suffix.endswith(".gz") else file.open("rb") as stream:
                yield from _STREAMED[suffix.removesuffix(".gz")](cast(BinaryIO, stream), name)


def read_whole(file: Path) -> str:
    """Read a file of text.

    :raises CorpusError: it cannot be read, or is not UTF-8.
    """
    with _explained(file):
        try:
            return file.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{display_name(file)}: not valid UTF-8 at byte {error.start}; convert it to UTF-8"
            ) from error


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
