"""The end of a build: encoded shards go into the table, rejected rows into their file, and both become a version.

Readers see the version of the table that the manifest names, which is written last.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.building.known import KnownRows, RejectedBefore
from nait_index.building.shards import EncodedShard, StagedShard
from nait_index.corpus import STDIN_NAME, RejectedWriter, read_rejected, rejected_writer
from nait_index.errors import NaitError
from nait_index.scratch import Scratch, id_digest
from nait_index.signatures.views import ColumnTypes
from nait_index.store.dataset import MERGED_ROWS
from nait_index.store.integrity import check_rejected, seal_rejected
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, table_state
from nait_index.store.samples import SampleTable, schema, table_of
from nait_index.types import Rejected

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_SHARDS, _MOST_BYTES, _MOST_SECONDS = 16, 2**24, 10.0
"""Shards, their bytes, and the seconds since the last commit, any of which is enough to commit what waits.

Every commit lists all files of the table, so where the model is fast, shards are committed together; and where it is
slow, each by itself, so that a killed build loses little.
"""

_MOST_FRAGMENTS = 64
"""Files of few rows above which a build merges them. That writes their rows once more, so it is not done every time."""


class BackgroundWriter:
    """Runs one piece of work after another in a thread (context manager, which waits for the last).

    At most one piece waits, so memory stays bounded and shards are written in order.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "behind")
        self._current: Future[None] | None = None

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            # After an error, work that was begun is finished: it is a whole shard that need not be done again.
            self._thread.shutdown()

    def do(self, work: Callable[[], None]) -> None:
        """Begin some work when the last piece is done.

        :raises BaseException: what the last piece raised; this one is not begun then.
        """
        self._wait()
        self._current = self._thread.submit(work)

    def _wait(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.result()


class Committer:
    """Commits encoded shards to the table in their order, several at a time; see :func:`committing`.

    ``unusable`` counts the rows that could not be used, and ``truncated`` those among the others that were cut.

    :param types: of the signature columns; :param kept: versions of the table that readers may need.
    :param rejects: receives the rows that could not be used.
    """

    def __init__(self, table: SampleTable, types: ColumnTypes, kept: set[int], rejects: RejectedWriter) -> None:
        self.unusable = self.truncated = 0
        self._table = table
        self._schema = schema(types)
        self._kept = kept
        self._rejects = rejects
        self._waiting: list[pa.Table] = []
        self._staged: list[StagedShard] = []
        self._unmerged = 0
        self._last = time.monotonic()
        table.create(self._schema)

    def add(self, shard: EncodedShard) -> None:
        """Write the usable rows of one shard, at once or with those of later ones."""
        for number, reason in shard.facts.reasons.items():
            row = shard.rows[number]
            self._rejects.add(Rejected(row.origin, reason, row.row))
            self.unusable += 1
        self.truncated += int(shard.facts.truncated[shard.facts.usable].sum())
        if len(shard.facts.usable):
            self._waiting.append(table_of(_table_columns(shard), self._schema))
        if shard.staged is not None:
            self._staged.append(shard.staged)
        size = sum(rows.nbytes for rows in self._waiting)
        waited = time.monotonic() - self._last
        if len(self._waiting) >= _MOST_SHARDS or size >= _MOST_BYTES or waited >= _MOST_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write the rows that wait, and delete the staged files of their shards."""
        waiting, self._waiting = self._waiting, []
        staged, self._staged = self._staged, []
        if waiting:
            self._table.append(waiting)
            self._unmerged += sum(len(rows) for rows in waiting)
            if self._unmerged >= MERGED_ROWS:  # of which one file is made, which is never merged again
                self._table.compact()
                self._table.keep(self._kept)
                self._unmerged = 0
        for shard in staged:
            shard.remove()
        self._last = time.monotonic()


@contextmanager
def committing(layout: Layout, table: SampleTable, types: ColumnTypes, kept: set[int]) -> Iterator[Committer]:
    """Open a committer; what waits in it is committed in the end."""
    with rejected_writer(_unusable_rows(layout)) as rejects:
        committer = Committer(table, types, kept, rejects)
        try:
            yield committer
        except BaseException:
            with suppress(NaitError):  # what waits need not be done again, but the first error is the one to report
                committer.commit()
            raise
        committer.commit()


def _table_columns(shard: EncodedShard) -> dict[str, Any]:
    """Join rows, facts and signatures as columns of the table, usable rows only."""
    usable = shard.facts.usable
    rows = [shard.rows[i] for i in usable]
    return {
        "id": [row.id for row in rows],
        "position": [row.position for row in rows],
        "row": [row.row for row in rows],
        "format": [str(row.format) for row in rows],
        "content_hash": [row.content_hash for row in rows],
        "file": [row.origin.file for row in rows],
        "file_row": [row.origin.row for row in rows],
        "n_tokens": shard.facts.n_tokens[usable],
        "truncated": shard.facts.truncated[usable],
        "left_out": [row.left_out for row in rows],
    } | {name: values[usable] for name, values in shard.columns.items()}


def merge_rejected(layout: Layout, before: RejectedBefore, last_rows: Mapping[str, int]) -> Path:
    """Write the rows that the index could not use in any of its builds into a file for :func:`publish_rejected`.

    Each is listed once. For a row that this run has read again, the new result counts.

    :param before: those of earlier runs, and which of them this run has read again.
    :param last_rows: number of the last row that this run has read of each file that was edited since an earlier run.
        Standard input is another stream every time, and never edited.
    """
    merged = layout.staging / "rejected-merged.jsonl"
    with rejected_writer(merged) as rejects:
        earlier = (row for row in rejected_before(layout) if not _is_superseded(row, before, last_rows))
        read_now = read_rejected(layout.staging / layout.rejected.name)
        unusable = read_rejected(_unusable_rows(layout))
        with closing(Scratch("CREATE TABLE rows (digest BLOB PRIMARY KEY) WITHOUT ROWID")) as listed:
            for row in chain(earlier, read_now, unusable):
                if listed.change("INSERT OR IGNORE INTO rows VALUES (?)", [id_digest(repr(row))]):
                    rejects.add(row)
    return merged


def _unusable_rows(layout: Layout) -> Path:
    """Return where rows are listed that turned out to be unusable after they had been taken in."""
    return layout.staging / "unusable.jsonl"


def rejected_before(layout: Layout) -> Iterator[Rejected]:
    """Read the rows that the index lists as rejected."""
    layout.pull(layout.rejected)
    if layout.rejected.is_file():
        check_rejected(layout)
        yield from read_rejected(layout.rejected)


def _is_superseded(row: Rejected, before: RejectedBefore, last_rows: Mapping[str, int]) -> bool:
    name = row.origin.file
    return before.was_met(row) or (name != STDIN_NAME and row.origin.row <= last_rows.get(name, 0))


def publish_rejected(layout: Layout, merged: Path) -> None:
    """Move the merged rejected rows to their final place, just before the new version becomes visible."""
    seal_rejected(layout, merged)
    os.replace(merged, layout.rejected)
    layout.push(layout.rejected)


def publish_rows(
    layout: Layout,
    table: SampleTable,
    manifest: Manifest,
    more: Mapping[str, Any],
    rejected: Path,
    *,
    superseding: bool,
) -> tuple[Manifest, int]:
    """Make what was committed visible to readers, and with it the rejected rows.

    :param more: fields of the version besides those that describe the rows.
    :param rejected: what :func:`merge_rejected` wrote.
    :param superseding: whether some rows take the place of others, which are deleted.
    :returns: the manifest, and how many rows were replaced by others of the same id.
    """
    if superseding:
        with closing(KnownRows.of(table)) as known:
            table.delete(list(known.superseded()))
    # Counted against what readers see: an earlier start that was killed here has deleted them already.
    gone = manifest.rows - table.rows_before(manifest.next_position) if manifest.history else 0
    if not manifest.history or table.small_fragments > _MOST_FRAGMENTS:
        table.compact()
    state = table_state(table)
    added = state["rows"] - manifest.rows
    end = max(manifest.next_position, table.last_position() + 1)
    first_rows = manifest.first_rows if manifest.history else end
    replaced = f", {gone:,} replaced" if gone else ""
    change = f"{added:,} row{'' if added == 1 else 's'} added{replaced}"
    manifest = replace(manifest, next_position=end, first_rows=first_rows)
    publish_rejected(layout, rejected)
    return publish(layout, manifest, change, **state, **more), gone
