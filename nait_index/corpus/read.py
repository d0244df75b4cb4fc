"""Corpus files -> samples: every row is either usable and has a unique id, or rejected with a reason."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from nait_index.config import Media, RowRules, Unanswered
from nait_index.corpus.answers import missing_answer
from nait_index.corpus.columns import with_columns
from nait_index.corpus.folders import ALL_SPLITS, display_name
from nait_index.corpus.formats import detect_format, read_parts, row_parts
from nait_index.corpus.media import carried_media
from nait_index.corpus.readers import read_whole
from nait_index.corpus.rows import RawRow, RowError, json_kind, parse_row, refuse_surrogates, to_json
from nait_index.corpus.sources import Source, SourcePart, open_sources
from nait_index.corpus.templates import asked_text, plain_text
from nait_index.corpus.text_rows import pasted_rows
from nait_index.corpus.words import is_visible
from nait_index.errors import CorpusError, NaitError
from nait_index.scratch import Scratch, id_digest
from nait_index.spelling import parse_enum
from nait_index.types import DEFAULT_READING, Origin, Reading, Rejected, RejectionCause, RowFormat, Sample, lookup

logger = logging.getLogger(__name__)

SAMPLE_COLUMNS = ("id", "row", "format", "file", "file_row")
"""The columns of a stored row that :func:`restore_sample` reads."""

_SPLIT = "split"
_DEFAULT_RULES = RowRules()
_LONGEST_ID = 1024  # characters
HEAD_ROWS = 32  # parsed rows from which a file's format is detected
_HEAD_LIMIT = 1000  # one of these first rows must be a JSON object, or the whole file is refused


def read_corpus(
    sources: Sequence[Any],
    row_format: RowFormat | None = None,
    limit: int | None = None,
    reading: Reading = DEFAULT_READING,
    rules: RowRules = _DEFAULT_RULES,
    split: str | None = None,
) -> Iterator[Sample | Rejected]:
    """Read the rows of a corpus, in the order of its sources and of the rows in them.

    A row's id is its field ``id`` (text or an integer), else ``<file name>:<row>``; ``-`` is standard input. Of rows
    with the same id, the first usable one is kept. All sources are checked when this is called, before any row is read.

    Memory is constant: what detects repeated ids, some 45 bytes per row, is on disk; see :mod:`nait_index.scratch`.

    :param row_format: the rows' format; by default detected for each file from its first rows.
    :param limit: read at most this many rows. :param reading: what of a row is read.
    :param rules: what becomes of rows that have no answer, or that carry more than text.
    :param split: of folders that hold several: its name, or ``all``, which adds a field ``split`` to the rows. Ids that
        are generated then name the split: ``<folder name>/<split>:<row>``.
    :raises CorpusError: a file cannot be read, is given twice, or generated ids would clash; or a folder holds several
        splits and none was asked for.
    """
    if limit is not None and limit < 1:
        raise NaitError(f"--limit must be at least 1, not {limit}")
    return islice(_with_ids(_opened(sources, split), _Settings(row_format, reading, rules, split)), limit)


def naming_absent(
    items: Iterable[Sample | Rejected], columns: Sequence[tuple[str, str]]
) -> Iterator[Sample | Rejected]:
    """Pass rows on, and warn in the end of columns that were named and that none of them has.

    :param columns: as for :func:`~nait_index.corpus.columns.with_columns`.
    """
    absent = dict(columns)
    for item in items:
        if absent and isinstance(item, Sample):
            row = json.loads(item.row)
            absent = {field: column for field, column in absent.items() if lookup(row, column) is None}
        yield item
    for field, column in absent.items():
        logger.warning("--columns %s=%s: no row that can be used has a column '%s'", field, column, column)


def read_text(
    text: str,
    name: str,
    row_format: RowFormat | None = None,
    reading: Reading = DEFAULT_READING,
    rules: RowRules = _DEFAULT_RULES,
) -> Iterator[Sample | Rejected]:
    """Read examples from a text: a JSON list, JSON lines, or plain text with blank lines between rows.

    They need no answers, and are numbered whatever ids they have.

    :param name: what it is called in messages, and the beginning of ids.
    :param row_format: the rows' format; by default detected from the first rows.
    :raises CorpusError: it is empty, or cannot be read.
    """
    rows = _with_format(pasted_rows(text, name), name, row_format, reading)
    settings = _Settings(row_format, reading, replace(rules, unanswered=Unanswered.INDEX), split=None)
    first = next(rows, None)
    if first is None:
        raise CorpusError(f"{name}: empty, there is not one row in it")
    for row, form in chain([first], rows):
        yield _sample(row, form, settings, None, (name, name, row.origin.row))


def read_examples(
    sources: Sequence[Any],
    row_format: RowFormat | None = None,
    reading: Reading = DEFAULT_READING,
    rules: RowRules = _DEFAULT_RULES,
) -> list[Sample | Rejected]:
    """Read examples: as a corpus, whose rows need no answers, and ``.txt`` files, as :func:`read_text` does.

    They are numbered, whatever ids they have: several files may have the same ones.

    :raises CorpusError: one of them cannot be read.
    """
    texts = [source for source in sources if isinstance(source, str | Path) and str(source).lower().endswith(".txt")]
    others = [source for source in sources if not any(source is text for text in texts)]
    # The others first, so that all of them are checked before rows are read.
    settings = _Settings(row_format, reading, replace(rules, unanswered=Unanswered.INDEX), split=None)
    read = [row for source in _opened(others, None) for row in _read_source(source, settings, None)]
    for path in map(Path, texts):
        read += read_text(read_whole(path), display_name(path), row_format, reading, rules)
    return read


def restore_sample(record: Mapping[str, Any], reading: Reading) -> Sample:
    """Parse a stored row into a sample again.

    :param record: the row's ``SAMPLE_COLUMNS``; ``file`` and ``file_row``, which only messages name, may be absent.
    :param reading: as the index was built.
    :raises CorpusError: the row or its format is not valid any more.
    """
    origin = Origin(record.get("file", ""), record.get("file_row", 0))
    row_format = parse_enum(RowFormat, record["format"], "row format", CorpusError)
    raw = parse_row(origin, record["row"])
    if isinstance(raw, Rejected):
        raise CorpusError(f"{origin}: {raw.reason}")
    parts = row_parts(raw.fields, row_format, reading)
    answered = missing_answer(raw.fields, row_format, reading) is None
    return Sample(record["id"], raw.text, parts, origin, row_format, answered)


def stored_text(row: str, row_format: str, reading: Reading) -> str:
    """Return the text of a stored row, its parts joined by newlines, without checking again what was checked before.

    :param row: as JSON text. :param reading: as the index was built.
    """
    return plain_text(row_parts(json.loads(row), RowFormat(row_format), reading))


def question_of(sample: Sample, reading: Reading) -> str:
    """Return what a sample asks, whichever part of it is read; all of it where nothing is asked.

    :param reading: as it was read.
    """
    whole = (
        sample.parts if reading == reading.whole else row_parts(json.loads(sample.row), sample.format, reading.whole)
    )
    return asked_text(whole)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What :func:`read_corpus` was asked for."""

    row_format: RowFormat | None
    reading: Reading
    rules: RowRules
    split: str | None


def _opened(sources: Sequence[Any], split: str | None) -> list[Source]:
    """Find the parts of several sources, of which each may be given once."""
    opened = open_sources(sources, split)
    seen: set[object] = set()
    for part in chain.from_iterable(source.parts for source in opened):
        if part.key in seen:
            raise CorpusError(f"{part.name}: given twice; name each corpus file once")
        seen.add(part.key)
    return opened


def _with_ids(sources: Sequence[Source], settings: _Settings) -> Iterator[Sample | Rejected]:
    with closing(SeenIds()) as ids:
        for source in sources:
            yield from _read_source(source, settings, ids)


def _read_source(source: Source, settings: _Settings, ids: "SeenIds | None") -> Iterator[Sample | Rejected]:
    numbers: Counter[str] = Counter()
    for part in source.parts:
        stem = _stem(source, part, settings.split)
        with closing(part.rows()) as raw_rows:
            rows = map(partial(_in_split, part.split), raw_rows)
            for row, form in _with_format(rows, part.name, settings.row_format, settings.reading):
                numbers[stem] += 1
                number = row.origin.row if source.is_one_part else numbers[stem]
                yield _sample(row, form, settings, ids, (source.label, stem, number))
    if not numbers:
        raise CorpusError(f"{source.label}: empty, there is not one row in it")


def _stem(source: Source, part: SourcePart, split: str | None) -> str:
    """Return what the ids of a part's rows begin with, if they have none: the source's name, and the split chosen.

    :param split: that was asked for.
    """
    chosen = part.split if split == ALL_SPLITS else split
    return source.stem if chosen is None or source.is_one_part else f"{source.stem}/{chosen}"


def _in_split(split: str | None, row: RawRow | Rejected) -> RawRow | Rejected:
    """Add the name of the split to a row; a field of that name with another value becomes ``original_split``.

    If the row has such a field too, it becomes ``original_original_split``.
    """
    if split is None or isinstance(row, Rejected):
        return row
    before = row.fields.get(_SPLIT)
    fields = {name: value for name, value in row.fields.items() if name != _SPLIT}
    free = f"original_{_SPLIT}"
    while free in fields:
        free = f"original_{free}"
    kept = {} if before in (None, split) else {free: before}
    fields = kept | fields | {_SPLIT: split}
    return RawRow(row.origin, to_json(fields), fields)


def _with_format(
    rows: Iterator[RawRow | Rejected], name: str, row_format: RowFormat | None, reading: Reading
) -> Iterator[tuple[RawRow | Rejected, RowFormat]]:
    """Yield the rows of one file, each with the file's format."""
    head: list[RawRow | Rejected] = []
    parsed: list[dict[str, Any]] = []
    for row in islice(rows, _HEAD_LIMIT):
        head.append(row)
        if isinstance(row, RawRow):
            parsed.append(row.fields)
        if len(parsed) == HEAD_ROWS:
            break
    if head and not parsed:
        first = next(row for row in head if isinstance(row, Rejected))
        raise CorpusError(
            f"{first.origin}: {first.reason}, and none of the first {len(head)} rows can be read; rows are objects, "
            "one per line in JSON lines, or all in one list in .json"
        )
    if head:
        form = row_format or detect_format(parsed, name, reading.columns)
        yield from ((row, form) for row in chain(head, rows))


def _sample(
    row: RawRow | Rejected,
    row_format: RowFormat,
    settings: _Settings,
    ids: "SeenIds | None",
    place: tuple[str, str, int],
) -> Sample | Rejected:
    """Make a sample of a row.

    :param ids: that no other row may have; ``None`` for examples, which are numbered.
    :param place: label and name of what holds the row, and its number there.
    """
    if isinstance(row, Rejected):
        return row
    media = carried_media(with_columns(row.fields, settings.reading.columns))
    if media is not None and (settings.rules.media is Media.REJECT or media.in_bytes):
        return Rejected(row.origin, media.reason, row.text, RejectionCause.MEDIA)
    try:
        parts = row_parts(row.fields, row_format, settings.reading.whole)
        missing = missing_answer(row.fields, row_format, settings.reading)
        if missing is not None and settings.rules.unanswered is Unanswered.REJECT:
            return Rejected(row.origin, missing, row.text, RejectionCause.UNANSWERED)
        parts = read_parts(parts, settings.reading.read)
        if ids is None:
            sample_id = f"{place[1]}:{place[2]}"
        else:
            sample_id = _given_id(row.fields) or ids.generate(*place)
            ids.claim(sample_id, row.origin)
    except RowError as error:
        return Rejected(row.origin, str(error), row.text)
    answered, text_only = missing is None, media is not None
    return Sample(sample_id, row.text, parts, row.origin, row_format, answered, text_only)


def _given_id(fields: Mapping[str, Any]) -> str | None:
    value = fields.get("id")
    if value is None or (isinstance(value, str) and not is_visible(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError(f"field 'id' is {json_kind(value)}, expected text or an integer")
    given_id = str(value)
    if len(given_id) > _LONGEST_ID:
        raise RowError(f"field 'id' has {len(given_id)} characters, {_LONGEST_ID} are allowed")
    refuse_surrogates(given_id, "field 'id'")
    return given_id


class SeenIds:
    """The ids used so far, so that none is used twice; close it when done."""

    def __init__(self) -> None:
        self._first_rows = Scratch("CREATE TABLE ids (digest BLOB PRIMARY KEY, file INT, row INT) WITHOUT ROWID")
        self._files: dict[str, int] = {}
        self._named: dict[str, str] = {}

    def generate(self, label: str, name: str, row: int) -> str:
        """Generate the id of a row that has none.

        :param name: what it begins with.
        :raises CorpusError: another path has the same file name and also rows without ids.
        """
        other = self._named.setdefault(name, label)
        if other != label:
            raise CorpusError(
                f"{label}: has rows without an id, and so has {other}, which has the same "
                'name, so that generated ids would clash; rename one file, or give its rows a field "id"'
            )
        return f"{name}:{row}"

    def claim(self, sample_id: str, origin: Origin) -> None:
        """Reserve an id for a row.

        :raises RowError: an earlier row has it.
        """
        digest = id_digest(sample_id)
        file = self._files.setdefault(origin.file, len(self._files))
        if self._first_rows.change("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", [digest, file, origin.row]):
            return
        first = self._first_rows.first("SELECT file, row FROM ids WHERE digest = ?", [digest])
        if first is not None and first != (file, origin.row):
            earlier = Origin(list(self._files)[first[0]], first[1])
            raise RowError(f"duplicate id {sample_id!r}, first seen at {earlier}")

    def close(self) -> None:
        """Delete them."""
        self._first_rows.close()
