"""From the rows of a corpus to the work of a build: what is new, in the order in which it will be encoded.

Sources are read once, and new rows go into a spool file: so standard input works as well as a file, a source that
changes during a build does no harm, and memory stays at a few bytes per row.

Rows are encoded in the order of a seeded hash of their ids. Any prefix of that order is a random sample of the corpus:
the basis can be fitted on the first shards, and the time left is estimated without bias. And since the order depends on
the rows alone, an interrupted build finds its shards again.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nait_index.corpus import RejectedWriter, RowTemplateError, Template, plain_text, restore_sample
from nait_index.corpus.unread import UnreadFields
from nait_index.corpus.words import terms
from nait_index.errors import CorpusError
from nait_index.store.samples import LEFT_OUT_SEPARATOR, SampleTable
from nait_index.types import MarkedText, Origin, Reading, Rejected, RejectionCause, RowFormat, Sample

_LONGEST_ID_JSON = 16_384
"""Bytes at the beginning of a spool's line that hold the id: at most 1,024 characters, each of at most twelve bytes."""

RowNumbers = Sequence[int]
"""Some rows of a spool, such as those of one shard, by their numbers."""


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One row to encode.

    :param position: counts all rows that the index has ever taken in. :param marked: the text that the model reads.
    :param left_out: the kinds of parts that the template leaves out of it.
    """

    id: str
    row: str
    format: RowFormat
    content_hash: str
    origin: Origin
    position: int
    marked: MarkedText
    left_out: str


def documents_of(rows: Iterable[WorkRow], reading: Reading) -> list[list[str]]:
    """Return the terms of some rows, of the same text that ``bm25`` and ``dsir`` read."""
    records = (
        {"id": row.id, "row": row.row, "format": row.format, "file": row.origin.file, "file_row": row.origin.row}
        for row in rows
    )
    return [terms(plain_text(restore_sample(record, reading).parts)) for record in records]


@dataclass(frozen=True, slots=True)
class Known:
    """What the index already knows about a row."""

    content_hash: str
    position: int


def known_rows(table: SampleTable) -> dict[str, Known]:
    """Read what the table knows about every row, by id.

    Until a build is finished, the table holds both a row and the one that replaces it; the later one counts.
    """
    known: dict[str, Known] = {}
    for record in table.records(["id", "content_hash", "position"]) if table.exists() else ():
        earlier = known.get(record["id"])
        if earlier is None or earlier.position < record["position"]:
            known[record["id"]] = Known(record["content_hash"], record["position"])
    return known


@dataclass(slots=True)
class Counts:
    """How many rows were read, and what happened to them: ``read = new + present + rejected``.

    :param causes: of the rejected, those with causes that are counted on their own.
    :param questions: of the others, those that have no answer. :param text_only: those that carry more than text.
    :param last_rows: number of the last row read of each file.
    :param left_out: new rows of which the template leaves out some kind of part, by kind.
    :param unread: fields of the usable rows that hold text which is not read.
    """

    read: int = 0
    new: int = 0
    present: int = 0
    rejected: int = 0
    causes: Counter[RejectionCause] = field(default_factory=Counter)
    questions: int = 0
    text_only: int = 0
    last_rows: dict[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: UnreadFields = field(default_factory=UnreadFields)


class Spool:
    """The rows of a build, on disk, with their offsets in memory (16 bytes per row).

    :param path: of the file, for :func:`read_texts`; :param seed: of the order in which rows are encoded.
    """

    _DONE = 2**64 - 1

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._file: BinaryIO = path.open("w+b")
        self._skipped = 0
        self._salt = seed.to_bytes(8, "little")
        self._offsets = array("Q")
        self._hashes = array("Q")

    def remove(self) -> None:
        """Delete the file, and its folder if that is empty then."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def skip_positions(self, count: int) -> None:
        """Start the positions of the rows to encode after this many that other rows hold."""
        self._skipped = count

    def add(self, row: WorkRow) -> None:
        """Write one row to encode."""
        self._note(row.id, self._file.tell())
        source = row.origin.file, row.origin.row
        fields = [row.id, row.row, row.format, row.content_hash, source, row.position, row.left_out, row.marked]
        self._file.write(json.dumps(fields).encode() + b"\n")

    def mark_done(self, sample_id: str) -> None:
        """Keep a slot in the order for a row that an interrupted start of this build has committed."""
        self._note(sample_id, self._DONE)

    def offsets(self, numbers: RowNumbers) -> list[int]:
        """Flush the file for other processes, and return the offsets at which some rows begin."""
        self._file.flush()
        return [self._offsets[number] for number in numbers]

    def shards(self, size: int) -> list[RowNumbers]:
        """Cut the order of encoding into shards, and return the numbers of the rows of each that remain to be done.

        Rows that are done keep their slots, so that the shards are those of an uninterrupted build.
        """
        order = np.argsort(np.frombuffer(self._hashes, dtype=np.uint64), kind="stable").astype(np.uint64)
        left = np.frombuffer(self._offsets, dtype=np.uint64)[order] != self._DONE
        # As arrays of numbers, 8 bytes per row; a list takes 36.
        cuts = (slice(start, start + size) for start in range(0, len(order), size))
        shards = [array("Q", order[cut][left[cut]].tobytes()) for cut in cuts]
        return [shard for shard in shards if shard]

    def ids(self, numbers: RowNumbers) -> list[str]:
        """Read the ids of some rows, in the order given, without their texts."""
        ids = []
        for number in numbers:
            self._file.seek(self._offsets[number])
            line = self._file.read(_LONGEST_ID_JSON).decode("ascii")
            ids.append(json.JSONDecoder().raw_decode(line, line.index('"'))[0])
        return ids

    def read(self, numbers: RowNumbers) -> list[WorkRow]:
        """Read some rows back, in the order given."""
        rows = []
        for number in numbers:
            self._file.seek(self._offsets[number])
            sample_id, row, form, content_hash, origin, position, lost, marked = json.loads(self._file.readline())
            position += self._skipped
            source, text = Origin(*origin), MarkedText.parsed(marked)
            rows.append(WorkRow(sample_id, row, RowFormat(form), content_hash, source, position, text, lost))
        return rows

    def _note(self, sample_id: str, offset: int) -> None:
        self._offsets.append(offset)
        digest = hashlib.blake2b(sample_id.encode(), digest_size=8, salt=self._salt).digest()
        self._hashes.append(int.from_bytes(digest, "little"))


def read_texts(path: Path, offsets: Iterable[int]) -> list[MarkedText]:
    """Read the texts of some rows of a spool that another process holds, in the order given."""
    texts = []
    with path.open("rb") as file:
        for offset in offsets:
            file.seek(offset)
            texts.append(MarkedText.parsed(json.loads(file.readline())[-1]))
    return texts


class Intake:
    """Sorts the rows of a corpus into new, present and rejected ones.

    :param known: the rows that the index already has, by id.
    :param first_position: first position of this run; a row known with this position or a later one was taken in by an
        earlier, interrupted start of the same run.
    :param replace: whether a row replaces one that has the same id and other content.
    :param most_characters: of a text, that are kept for the model.
    """

    def __init__(
        self,
        template: Template,
        known: Mapping[str, Known],
        first_position: int,
        *,
        replace: bool = False,
        most_characters: int | None = None,
    ) -> None:
        self._replace = replace
        self._most_characters = most_characters
        self._template = template
        self._known = known
        self._first_position = first_position
        self._taken = 0
        self._unseen = {sample_id for sample_id, row in known.items() if row.position >= first_position}

    def run(self, items: Iterable[Sample | Rejected], spool: Spool, rejects: RejectedWriter) -> Counts:
        """Write new rows to the spool and unusable ones to the rejects.

        :raises CorpusError: no row is usable, or an id is known with other content.
        """
        counts = Counts()
        first_reject: Rejected | None = None
        for item in items:
            counts.read += 1
            counts.last_rows[item.origin.file] = item.origin.row
            rejected = item if isinstance(item, Rejected) else self._take(item, spool, counts)
            if rejected is not None:
                rejects.add(rejected)
                counts.rejected += 1
                if rejected.cause is not None:
                    counts.causes[rejected.cause] += 1
                first_reject = first_reject or rejected
        if first_reject is not None and counts.read == counts.rejected:
            reason = f"the first, {first_reject.origin}: {first_reject.reason}"
            if first_reject.cause is RejectionCause.UNANSWERED:
                reason += "; rename the field that holds it, or index questions alone with --unanswered index"
            raise CorpusError(f"none of the {counts.read} rows can be used; {reason}")
        # Rows of another run, one that was interrupted and abandoned, hold positions as well.
        others = max((self._known[sample_id].position for sample_id in self._unseen), default=-1)
        spool.skip_positions(max(0, others + 1 - self._first_position))
        return counts

    def _take(self, sample: Sample, spool: Spool, counts: Counts) -> Rejected | None:
        try:
            read = self._template.read(sample.parts)
        except RowTemplateError as error:
            return Rejected(sample.origin, str(error), sample.row)
        counts.unread.add(sample)
        digest = sample.content_hash
        known = self._known.get(sample.id)
        if known is not None and known.content_hash != digest:
            if not self._replace:
                raise CorpusError(
                    f"{sample.origin}: id {sample.id!r} is in the index with other content; replace that row with "
                    "--replace, or use another id for this one"
                )
            known = None
        counts.questions += not sample.answered
        counts.text_only += sample.text_only
        counts.present += known is not None
        counts.new += known is None
        if known is None:
            position = self._first_position + self._taken
            lost = LEFT_OUT_SEPARATOR.join(read.left_out)
            text = MarkedText(read.text[: self._most_characters], read.marked.answers)
            spool.add(WorkRow(sample.id, sample.row, sample.format, digest, sample.origin, position, text, lost))
            counts.left_out.update(read.left_out)
        elif known.position >= self._first_position:
            spool.mark_done(sample.id)
            self._unseen.discard(sample.id)
        else:
            return None
        self._taken += 1
        return None
