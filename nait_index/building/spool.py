"""The rows of a build, on disk, and the order in which they are encoded.

Rows are encoded in the order of a seeded hash of their ids. Any prefix of that order is a random sample of the corpus:
the basis can be fitted on the first shards, and the time left is estimated without bias. And since the order depends on
the rows alone, an interrupted build finds its shards again.

Memory does not grow with the rows: what is kept of each, its hash and its place in the file, is on disk as well.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np

from nait_index.scratch import Scratch
from nait_index.types import MarkedText, Origin, RowFormat

_IDENTITY_BYTES = 16_384
"""Bytes at the beginning of a spool's line that hold the id, of at most 1,024 characters of at most twelve bytes each,
and the hash of the content."""

_IDENTITY = re.compile(r'\[("(?:[^"\\]|\\.)*", "[0-9a-f]*")')

_NOTED = 1024
"""Rows whose hashes and offsets are written at a time."""

_DONE = -1
"""Stands for the offset of a row that need not be encoded."""

RowOffsets = Sequence[int]
"""Some rows of a spool, such as those of one shard, by the offsets at which they begin in its file."""


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


class Shards(Sequence[RowOffsets]):
    """The shards of a spool, in the order in which they are encoded. Each is read from disk when it is asked for.

    :param path: a file with the offsets of all their rows. :param starts: the number in that file of each shard's first
        row, and in the end that of the row after the last.
    """

    def __init__(self, path: Path, starts: Sequence[int]) -> None:
        self._path = path
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def rows(self) -> int:
        """How many rows all of them have."""
        return self._starts[-1] - self._starts[0]

    @overload
    def __getitem__(self, which: int) -> RowOffsets: ...

    @overload
    def __getitem__(self, which: slice) -> "Shards": ...

    def __getitem__(self, which: int | slice) -> "RowOffsets | Shards":
        if isinstance(which, slice):
            begin, end, _ = which.indices(len(self))
            return Shards(self._path, self._starts[begin : max(begin, end) + 1])
        number = range(len(self))[which]
        begin, end = self._starts[number], self._starts[number + 1]
        offsets: list[int] = np.fromfile(self._path, np.int64, end - begin, offset=8 * begin).tolist()
        return offsets


class Spool:
    """The rows of a build.

    :param path: of the file, for :func:`read_texts`; :param seed: of the order in which rows are encoded.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._order = path.with_name("order.i64")
        self._file: BinaryIO = path.open("w+b")
        self._skipped = 0
        self._salt = seed.to_bytes(8, "little")
        self._slots = Scratch("CREATE TABLE slots (hash INTEGER, start INTEGER)")
        self._noted: list[tuple[int, int]] = []

    def remove(self) -> None:
        """Delete the files, and their folder if that is empty then."""
        self._file.close()
        self._slots.close()
        for path in (self.path, self._order):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def skip_positions(self, count: int) -> None:
        """Start the positions of the rows to encode after this many that other rows hold."""
        self._skipped = count

    def add(self, row: WorkRow) -> None:
        """Write one row to encode."""
        self._note(row.id, self._file.tell())
        source = row.origin.file, row.origin.row
        fields = [row.id, row.content_hash, row.row, row.format, source, row.position, row.left_out, row.marked]
        self._file.write(json.dumps(fields).encode() + b"\n")

    def mark_done(self, sample_id: str) -> None:
        """Keep a slot in the order for a row that an interrupted start of this build has committed."""
        self._note(sample_id, _DONE)

    def flush(self) -> None:
        """Flush the file for other processes."""
        self._file.flush()

    def shards(self, size: int) -> Shards:
        """Cut the order of encoding into shards, and return the rows of each that remain to be done.

        Rows that are done keep their slots, so that the shards are those of an uninterrupted build.
        """
        self._write_notes()
        starts = array("Q", [0])
        slots = self._slots.rows("SELECT start FROM slots ORDER BY hash, rowid")
        with self._order.open("wb") as file:
            while shard := [start for (start,) in islice(slots, size)]:
                left = array("q", [start for start in shard if start != _DONE])
                if left:
                    left.tofile(file)
                    starts.append(starts[-1] + len(left))
        return Shards(self._order, starts)

    def identities(self, shard: RowOffsets) -> list[str]:
        """Read the id of each of some rows and the hash of its content, as one JSON text, without the rest of it."""
        identities = []
        for offset in shard:
            self._file.seek(offset)
            identity = _IDENTITY.match(self._file.read(_IDENTITY_BYTES).decode("ascii"))
            assert identity is not None
            identities.append(identity[1])
        return identities

    def read(self, shard: RowOffsets) -> list[WorkRow]:
        """Read some rows back, in the order given."""
        rows = []
        for offset in shard:
            self._file.seek(offset)
            sample_id, content_hash, row, form, origin, position, lost, marked = json.loads(self._file.readline())
            position += self._skipped
            source, text = Origin(*origin), MarkedText.parsed(marked)
            rows.append(WorkRow(sample_id, row, RowFormat(form), content_hash, source, position, text, lost))
        return rows

    def _note(self, sample_id: str, start: int) -> None:
        digest = hashlib.blake2b(sample_id.encode(), digest_size=8, salt=self._salt).digest()
        # As SQLite's integers have a sign, half of their range is subtracted, which leaves their order as it is.
        self._noted.append((int.from_bytes(digest, "little") - 2**63, start))
        if len(self._noted) == _NOTED:
            self._write_notes()

    def _write_notes(self) -> None:
        self._slots.change_all("INSERT INTO slots VALUES (?, ?)", self._noted)
        self._noted.clear()


def read_texts(path: Path, offsets: Iterable[int]) -> list[MarkedText]:
    """Read the texts of some rows of a spool that another process holds, in the order given."""
    texts = []
    with path.open("rb") as file:
        for offset in offsets:
            file.seek(offset)
            texts.append(MarkedText.parsed(json.loads(file.readline())[-1]))
    return texts
