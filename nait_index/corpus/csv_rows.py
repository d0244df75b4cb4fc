"""CSV -> raw rows. The first line is the header; every value is text.

Read strictly, for a stray quote must not glue rows together unnoticed. Bytes that are not UTF-8 are let through as
surrogates, so that they cost one row and not the file.
"""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from nait_index.corpus.rows import RawRow, parse_row, printable, to_json
from nait_index.errors import CorpusError
from nait_index.types import Origin, Rejected

_LONGEST_FIELD = 2**31 - 1  # characters; the csv module's own 128 KiB is shorter than many a document


def csv_rows(stream: BinaryIO, name: str) -> Iterator[RawRow | Rejected]:
    """Read CSV, counting rows without the header and without blank lines.

    :param name: the file's name in messages and origins.
    :raises CorpusError: the header is unusable, or a quote is never closed.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        record: list[str] = []
        records = csv.reader(_noted(lines, record), strict=True)
        header = _header(records, name)
        for number in itertools.count(1):
            origin = Origin(name, number)
            record.clear()
            try:
                values = next(filter(None, records), None)
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise CorpusError(f"{origin}: a quote that opens here is never closed; close it") from error
                yield Rejected(origin, f"not CSV: {error}", printable(_text(record)))
            else:
                if values is None:
                    return
                yield _row(origin, header, values, _text(record))


def _noted(lines: Iterable[str], record: list[str]) -> Iterator[str]:
    """Pass lines on and note them, as the parser does not keep the text of a record."""
    for line in lines:
        record.append(line)
        yield line


def _text(record: list[str]) -> str:
    """Join the lines of a record, without its line end and the blank lines before it."""
    return "".join(record).strip("\r\n")


def _header(records: Iterator[list[str]], name: str) -> list[str]:
    try:
        header = next(records, [])
    except csv.Error as error:
        raise CorpusError(f"{name}: the first line is not a CSV header: {error}") from error
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise CorpusError(f"{name}: the CSV header names column {repeated[0]!r} twice; rename one")
    return header


def _row(origin: Origin, header: list[str], values: list[str], record: str) -> RawRow | Rejected:
    if len(values) != len(header):
        return Rejected(origin, f"{len(values)} values under a header of {len(header)}", printable(record))
    try:
        record.encode()
    except UnicodeEncodeError:
        return Rejected(origin, "not valid UTF-8", printable(record))
    return parse_row(origin, to_json(dict(zip(header, values, strict=True))))
