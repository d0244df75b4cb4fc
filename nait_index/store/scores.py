"""Scores as columns of the samples table: NAME, a number or null, and NAME_status, how the row was scored.

A row that was never scored has null in both. The columns are computed from the ids that the table itself yields, row by
row, so that no failure can assign a score to another row.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nait_index.errors import NaitError
from nait_index.store.dataset import open_dataset, writing
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish, settled
from nait_index.store.samples import SIGNATURE_PREFIXES, SampleTable

if TYPE_CHECKING:
    import pyarrow as pa

Score = tuple[float | None, str | None]
Lookup = Callable[[str, str], Score]
"""Maps id and content hash of a row to its value and status."""

_LONGEST = 64
_SQL_WORDS = frozenset(
    "all and any as asc between by case cast desc distinct else end exists false from group having in into is join "
    "like limit not null offset on or order select set some table then true union using when where with".split()
)


def status_column(name: str) -> str:
    """Return the name of the column of a score's statuses."""
    return f"{name}_status"


def score_names(table: SampleTable) -> list[str]:
    """List the scores that a table has columns for."""
    names = table.schema().names
    return [name for name in names if status_column(name) in names]


def check_name(table: SampleTable, name: str) -> None:
    """Check that a score can have this name.

    :raises NaitError: a filter could not use it, or another column has it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > _LONGEST or name in _SQL_WORDS:
        raise NaitError(
            f"--name '{name}' cannot name a column; use a lower-case letter, then lower-case letters, digits and _"
        )
    taken = {name, status_column(name)} & set(table.schema().names)
    if name.startswith(SIGNATURE_PREFIXES) or (taken and name not in score_names(table)):
        raise NaitError(f"--name '{name}' is taken: the index already has such a column; choose another")


def publish_scores(layout: Layout, name: str, lookup: Lookup) -> bool:
    """Update the columns of a score and make them visible to readers.

    :returns: whether anything had to be written.
    :raises IncompleteIndexError: a build of this index was interrupted. :raises IndexBusyError: another process writes.
    """
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        check_name(table, name)
        exists = name in score_names(table)
        if exists and all(score == lookup(*row) for row, score in _scores(table, name)):
            return False
        _replace_columns(layout, table, name, lookup)
        publish(layout, manifest, f"score {name}", table_version=table.version)
    return True


def copy_score(old: Layout, table: SampleTable, new: Layout, name: str) -> None:
    """Copy a score and its journal to an index that is being rebuilt from another; the caller publishes the columns.

    :param table: of the old index.
    """
    known = dict(_scores(table, name))
    _replace_columns(new, SampleTable(new), name, lambda row_id, content: known.get((row_id, content), (None, None)))
    journal = old.journal(name)
    old.pull(journal)
    if journal.is_file():
        new.write(new.journal(name), journal.read_bytes())


def _scores(table: SampleTable, name: str) -> Iterator[tuple[tuple[str, str], Score]]:
    """Yield id and content hash of every row, and its value and status."""
    for record in table.records(["id", "content_hash", name, status_column(name)]):
        yield (record["id"], record["content_hash"]), (record[name], record[status_column(name)])


def _replace_columns(layout: Layout, table: SampleTable, name: str, lookup: Lookup) -> None:
    import lance
    import pyarrow as pa

    schema = pa.schema([pa.field(name, pa.float64()), pa.field(status_column(name), pa.string())])

    @lance.batch_udf(output_schema=schema)  # type: ignore[untyped-decorator]  # lance is untyped
    def columns(batch: "pa.RecordBatch") -> "pa.RecordBatch":
        ids, contents = batch.column("id").to_pylist(), batch.column("content_hash").to_pylist()
        scored = [lookup(row_id, content) for row_id, content in zip(ids, contents, strict=True)]
        arrays = [pa.array([pair[i] for pair in scored], field.type) for i, field in enumerate(schema)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    with writing(layout):
        dataset = open_dataset(layout, layout.samples)
        if name in score_names(table):
            dataset.drop_columns([name, status_column(name)])
        dataset.add_columns(columns, read_columns=["id", "content_hash"])
