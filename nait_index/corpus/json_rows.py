"""JSON text -> raw rows: one object a line, streamed, or one list of objects, parsed whole.

Lines keep their text byte for byte, and their number in the file counts blank lines, which are no rows.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from nait_index.corpus.rows import RawRow, parse_row, to_json
from nait_index.errors import CorpusError
from nait_index.types import Origin, Rejected

_BOM = b"\xef\xbb\xbf"


def json_rows(stream: BinaryIO, name: str) -> Iterator[RawRow | Rejected]:
    """Read a JSON list, or JSON lines where the first thing in the stream is not a ``[``.

    :param name: the file's name in messages and origins.
    :raises CorpusError: it is a list, and not a valid one.
    """
    head = list(_up_to_first_text(stream))
    if head and head[-1].removeprefix(_BOM).lstrip().startswith(b"["):
        yield from _list_rows(b"".join(head) + stream.read(), name)
    else:
        yield from json_line_rows(itertools.chain(head, stream), name)


def json_line_rows(lines: Iterable[bytes], name: str) -> Iterator[RawRow | Rejected]:
    """Read JSON lines.

    :param name: the file's name in messages and origins.
    """
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if number == 1:
            text = text.removeprefix(_BOM)
        if text.strip():
            yield parse_row(Origin(name, number), text)


def _up_to_first_text(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        yield line
        if line.removeprefix(_BOM).strip():
            return


def _list_rows(data: bytes, name: str) -> Iterator[RawRow | Rejected]:
    try:
        rows = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not valid UTF-8 at byte {error.start}; convert it to UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise CorpusError(f"{name}: not a valid JSON list: {error.msg} at {place}; repair it there") from error
    except ValueError as error:
        raise CorpusError(f"{name}: an integer in this JSON list has too many digits; make it text") from error
    for number, row in enumerate(rows, start=1):
        yield parse_row(Origin(name, number), to_json(row))
