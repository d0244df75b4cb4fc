"""The end of a build: encoded shards go into the table, rejected rows into their file, and both become a version.

Readers see the version of the table that the manifest names, which is written last.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from nait_index.building.intake import known_rows
from nait_index.building.shards import EncodedShard
from nait_index.corpus import STDIN_NAME, read_rejected, rejected_writer
from nait_index.signatures.views import ColumnTypes
from nait_index.store.integrity import check_rejected, seal_rejected
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, table_state
from nait_index.store.samples import SampleTable, schema
from nait_index.types import Rejected

_COMMITS = 256
"""Shards after which a running build merges files and drops its own versions: each commit lists all files again."""

_MOST_FRAGMENTS = 64
"""Files of rows above which a build merges them. Merging writes every row once more, so it is not done every time."""


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
    """Commits encoded shards to the table, one by one.

    :param types: of the signature columns; :param kept: versions of the table that readers may need.
    """

    def __init__(self, table: SampleTable, types: ColumnTypes, kept: set[int]) -> None:
        self._table = table
        self._schema = schema(types)
        self._kept = kept
        self._commits = 0
        table.create(self._schema)

    def commit(self, shard: EncodedShard) -> None:
        """Write the usable rows of one shard, and delete its staged files."""
        if len(shard.facts.usable):
            self._table.append(_table_columns(shard), self._schema)
            self._commits += 1
            if self._commits % _COMMITS == 0:
                self._table.compact()
                self._table.keep(self._kept)
        if shard.staged is not None:
            shard.staged.remove()


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


def merge_rejected(layout: Layout, unusable: Iterable[Rejected], last_rows: Mapping[str, int]) -> Path:
    """Write the rows that the index could not use in any of its builds into a file for :func:`publish_rejected`.

    Each is listed once. For a row that this run has read again, the new result counts.

    :param unusable: rows that turned out to be unusable after they had been taken in.
    :param last_rows: number of the last row that this run has read of each file. Standard input is another stream
        every time, so it supersedes nothing.
    """
    merged = layout.staging / "rejected-merged.jsonl"
    with rejected_writer(merged) as rejects:
        read_now = read_rejected(layout.staging / layout.rejected.name)
        for row in dict.fromkeys([*_earlier_rejected(layout, last_rows), *read_now, *unusable]):
            rejects.add(row)
    return merged


def _earlier_rejected(layout: Layout, last_rows: Mapping[str, int]) -> Iterator[Rejected]:
    layout.pull(layout.rejected)
    if layout.rejected.is_file():
        check_rejected(layout)
        for row in read_rejected(layout.rejected):
            name = row.origin.file
            if name == STDIN_NAME or row.origin.row > last_rows.get(name, 0):
                yield row


def publish_rejected(layout: Layout, merged: Path) -> None:
    """Move the merged rejected rows to their final place, just before the new version becomes visible."""
    seal_rejected(layout, merged)
    os.replace(merged, layout.rejected)
    layout.push(layout.rejected)


def publish_rows(
    layout: Layout, table: SampleTable, manifest: Manifest, more: Mapping[str, Any]
) -> tuple[Manifest, int]:
    """Make what was committed visible to readers.

    :param more: fields of the version besides those that describe the rows.
    :returns: the manifest, and how many rows were replaced by others of the same id.
    """
    known = known_rows(table)
    kept = {row.position for row in known.values()}
    positions = table.numbers("position") if len(table) > len(known) else ()
    superseded = [int(position) for position in positions if position not in kept]
    table.delete(superseded)
    # Counted against what readers see: an earlier start that was killed here has deleted them already.
    before = SampleTable(layout, manifest.table_version).numbers("position") if manifest.history else ()
    gone = sum(int(position) not in kept for position in before)
    if not manifest.history or table.fragments > _MOST_FRAGMENTS:
        table.compact()
    state = table_state(table)
    added = state["rows"] - manifest.rows
    end = max(manifest.next_position, table.last_position() + 1)
    first_rows = manifest.first_rows if manifest.history else end
    replaced = f", {gone:,} replaced" if gone else ""
    change = f"{added:,} row{'' if added == 1 else 's'} added{replaced}"
    manifest = replace(manifest, next_position=end, first_rows=first_rows)
    return publish(layout, manifest, change, **state, **more), gone
