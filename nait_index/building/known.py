"""What an index knows about its rows when more are taken in, by their ids; on disk, since it grows with the rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nait_index.scratch import Scratch, id_digest
from nait_index.store.samples import SampleTable
from nait_index.types import Rejected, Sample


@dataclass(frozen=True, slots=True)
class Known:
    """What the index already knows about a row."""

    content_hash: str
    position: int
    file: str = ""


class KnownRows:
    """The rows that an index has; close it when done.

    Until a build is finished, the table holds both a row and the one that replaces it; the later one counts.

    :param rows: the id of each, and what is known about it.
    """

    def __init__(self, rows: Iterable[tuple[str, Known]] = ()) -> None:
        self._rows = Scratch(
            "CREATE TABLE rows (digest BLOB, content_hash TEXT, position INTEGER, file TEXT, met INTEGER)"
        )
        values = ((id_digest(row_id), row.content_hash, row.position, row.file) for row_id, row in rows)
        self._rows.change_all("INSERT INTO rows VALUES (?, ?, ?, ?, 0)", values)
        # Afterwards, which sorts once, instead of writing a page somewhere in the file for every row.
        self._rows.change("CREATE INDEX by_id ON rows (digest, position)")
        self._is_empty = self._rows.first("SELECT 1 FROM rows") is None

    @classmethod
    def of(cls, table: SampleTable) -> "KnownRows":
        """Read what a table knows about every row."""
        return cls(_known(table) if table.exists() else ())

    def get(self, sample_id: str) -> Known | None:
        """Return what is known about a row, if it is there."""
        if self._is_empty:
            return None
        query = "SELECT content_hash, position, file FROM rows WHERE digest = ? ORDER BY position DESC"
        known = self._rows.first(query, [id_digest(sample_id)])
        return None if known is None else Known(*known)

    def meet(self, sample_id: str, position: int) -> None:
        """Note that a row was read again."""
        statement = "UPDATE rows SET met = 1 WHERE digest = ? AND position = ?"
        self._rows.change(statement, [id_digest(sample_id), position])

    def count_unmet(self, first: int) -> int:
        """Count the rows at a given position or later ones that were not read again."""
        row = self._rows.first("SELECT count(*) FROM rows WHERE position >= ? AND NOT met", [first])
        assert row is not None
        return int(row[0])

    def last_unmet(self, first: int) -> int:
        """Return the last position, not before a given one, of a row that was not read again; -1 if there is none."""
        row = self._rows.first("SELECT max(position) FROM rows WHERE position >= ? AND NOT met", [first])
        return -1 if row is None or row[0] is None else int(row[0])

    def end(self, first: int) -> int:
        """Return the position after the last of all rows, and no earlier one than a given one."""
        row = self._rows.first("SELECT max(position) FROM rows")
        return first if row is None or row[0] is None else max(first, int(row[0]) + 1)

    def has_repeats(self) -> bool:
        """Return whether the table holds a row and another one that replaces it."""
        return self._rows.first("SELECT 1 FROM rows GROUP BY digest HAVING count(*) > 1") is not None

    def superseded(self) -> Iterator[int]:
        """Yield the positions of the rows that another one replaces."""
        query = """SELECT position FROM rows WHERE EXISTS (
            SELECT 1 FROM rows AS later WHERE later.digest = rows.digest AND later.position > rows.position)"""
        return (int(position) for (position,) in self._rows.rows(query))

    def close(self) -> None:
        """Delete what was read."""
        self._rows.close()


class RejectedBefore:
    """The rows that earlier builds rejected, and which of them were read again; close it when done.

    :param rows: as the index lists them.
    """

    def __init__(self, rows: Iterable[Rejected] = ()) -> None:
        self._rows = Scratch("CREATE TABLE rows (digest BLOB PRIMARY KEY, met INTEGER) WITHOUT ROWID")
        self._rows.change_all("INSERT OR IGNORE INTO rows VALUES (?, 0)", ([_file_and_text(row)] for row in rows))
        self._is_empty = self._rows.first("SELECT 1 FROM rows") is None

    def meet(self, row: Sample | Rejected) -> None:
        """Note that a row was read."""
        if not self._is_empty:
            self._rows.change("UPDATE rows SET met = 1 WHERE digest = ?", [_file_and_text(row)])

    def was_met(self, row: Rejected) -> bool:
        """Return whether the same content was read again from a file of the same name."""
        return self._rows.first("SELECT 1 FROM rows WHERE digest = ? AND met", [_file_and_text(row)]) is not None

    def close(self) -> None:
        """Delete what was read."""
        self._rows.close()


def _file_and_text(row: Sample | Rejected) -> bytes:
    return id_digest(f"{row.origin.file}\n{row.row}")


def _known(table: SampleTable) -> Iterator[tuple[str, Known]]:
    for record in table.records(["id", "content_hash", "position", "file"]):
        yield record["id"], Known(record["content_hash"], record["position"], record["file"])
