"""JSON, CSV and pasted text -> raw rows, streamed wherever the format allows it."""

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from nait_index.corpus.rows import RawRow, RowError, parse_row, printable, to_json, unique_keys
from nait_index.errors import CorpusError
from nait_index.types import Origin, Rejected

_BOM = b"\xef\xbb\xbf"
_LONGEST_FIELD = 2**31 - 1  # characters; the csv module's default of 128 KiB is shorter than many documents
_JSON = re.compile(r'\s*(?:\[\s*(?:[{\]"]|$)|\{\s*(?:["}]|$))')
_BETWEEN_BLOCKS = re.compile(r"\n(?:[ \t]*\n)+")

Rows = Iterator[RawRow | Rejected]


# ---- JSON: one object per line, streamed, or one list of objects, parsed whole --------------------------------------


def json_rows(stream: BinaryIO, name: str) -> Rows:
    """Read a JSON list if the first character is ``[``, else JSON lines.

    :param name: the file's name in messages and origins.
    :raises CorpusError: it is a list, but not a valid one.
    """
    head = list(_up_to_first_text(stream))
    if head and head[-1].removeprefix(_BOM).lstrip().startswith(b"["):
        yield from _list_rows(b"".join(head) + stream.read(), name)
    else:
        yield from json_line_rows(itertools.chain(head, stream), name)


def json_line_rows(lines: Iterable[bytes], name: str) -> Rows:
    """Read JSON lines. Rows keep their text byte for byte, and blank lines count in their numbers.

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


def _list_rows(data: bytes, name: str) -> Rows:
    try:
        rows = json.loads(data.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except RowError as error:
        raise CorpusError(f"{name}: not a usable JSON list: {error}; rename or remove one") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not valid UTF-8 at byte {error.start}; convert it to UTF-8") from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise CorpusError(f"{name}: not a valid JSON list: {error.msg} at {position}; repair it there") from error
    except ValueError as error:
        raise CorpusError(f"{name}: an integer in this JSON list has too many digits; make it text") from error
    except RecursionError as error:
        raise CorpusError(f"{name}: nested too deep to be read; write one object per line") from error
    for number, row in enumerate(rows, start=1):
        yield parse_row(Origin(name, number), to_json(row))


# ---- CSV: the first line is the header, every value is text, and of lists it is JSON text ----------------------------


def csv_rows(stream: BinaryIO, name: str) -> Rows:
    """Read CSV, numbering rows without the header and blank lines.

    Parsing is strict, since a stray quote must not join rows unnoticed. It costs one row; but where it leaves a quote
    open at the end of the line, it is unknown where the next row begins, and reading ends. Bytes that are not UTF-8 are
    decoded as surrogates, so that they cost one row and not the file.

    :param name: the file's name in messages and origins.
    :raises CorpusError: the header is unusable, or a quote is never closed.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        record: list[str] = []
        records = csv.reader(_recorded(lines, record), strict=True)
        try:
            header = next(records, [])
        except csv.Error as error:
            raise CorpusError(f"{name}: the first line is not a CSV header: {error}") from error
        refuse_repeated(header, name)
        for number in itertools.count(1):
            origin = Origin(name, number)
            record.clear()
            try:
                values = next(filter(None, records), None)
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise CorpusError(f"{origin}: a quote that opens here is never closed; close it") from error
                text = _joined(record)
                if text.count('"') % 2:
                    raise CorpusError(f'{origin}: not CSV: {error}; write a quote inside a value as ""') from error
                yield Rejected(origin, f"not CSV: {error}", printable(text))
            else:
                if values is None:
                    return
                yield _csv_row(origin, header, values, _joined(record))


def _recorded(lines: Iterable[str], record: list[str]) -> Iterator[str]:
    """Pass lines on and append them to a record, whose text the parser does not keep."""
    for line in lines:
        record.append(line)
        yield line


def _joined(record: list[str]) -> str:
    """Join the lines of a record, without its line end and the blank lines before it."""
    return "".join(record).strip("\r\n")


def refuse_repeated(columns: Sequence[str], name: str) -> None:
    """Refuse two columns of the same name, only one of which could be kept.

    :raises CorpusError: names the column.
    """
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise CorpusError(f"{name}: has two columns named {repeated[0]!r}; rename one")


def _csv_row(origin: Origin, header: list[str], values: list[str], record: str) -> RawRow | Rejected:
    if len(values) != len(header):
        return Rejected(origin, f"{len(values)} values under a header of {len(header)}", printable(record))
    try:
        record.encode()
    except UnicodeEncodeError:
        return Rejected(origin, "not valid UTF-8", printable(record))
    return parse_row(origin, to_json(dict(zip(header, map(_turns_or_text, values), strict=True))))


def _turns_or_text(value: str) -> object:
    """Return the turns of a conversation if a value is JSON text of them, else the value."""
    if not value.startswith("[{"):
        return value
    try:
        turns = json.loads(value, object_pairs_hook=unique_keys)
    except (ValueError, RowError, RecursionError):
        return value
    is_turn = [isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in turns]
    return turns if all(is_turn) else value


# ---- pasted text: JSON in any layout, or plain text -----------------------------------------------------------------


def pasted_rows(text: str, name: str) -> Rows:
    """Read a list of objects, JSON lines, or objects spread over lines; anything else is plain text.

    Blocks of plain text separated by blank lines become one row each.

    :param name: what the text is called in messages and origins.
    :raises CorpusError: it begins like a JSON list, but is not a valid one.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    if _JSON.match(text):
        rows = _objects(text)
    else:
        rows = [to_json({"text": block.strip()}) for block in _BETWEEN_BLOCKS.split(text) if block.strip()]
    if rows is None:
        return json_rows(io.BytesIO(text.encode("utf-8", "surrogatepass")), name)
    return (parse_row(Origin(name, number), row) for number, row in enumerate(rows, start=1))


def _objects(text: str) -> list[str] | None:
    """Return the JSON objects in a text if the first spans several lines; ``None`` for any other text."""
    if text.lstrip().startswith("[") or _is_json(text.lstrip().partition("\n")[0]):
        return None
    decoder, objects, start = json.JSONDecoder(), [], 0
    while rest := text[start:].lstrip():
        start = len(text) - len(rest)
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        objects.append(text[start:end])
        start = end
    return objects


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
