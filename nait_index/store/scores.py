"""Scores as columns of the samples table: NAME, a number or null, and NAME_status, what became of the row.

A row that no score was ever computed for has null in both. The columns are made of the ids that the table itself
gives, row by row, so that no failure can move a score to another row.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from nait_index.errors import NaitError
from nait_index.store.dataset import open_dataset, writing
from nait_index.store.layout import Layout
from nait_index.store.lock import write_lock
from nait_index.store.publish import publish, settled
from nait_index.store.samples import SIGNATURE_PREFIXES, SampleTable

if TYPE_CHECKING:
    import pyarrow as pa

Lookup = Callable[[str, str], tuple[float | None, str | None]]
"""Gives value and status of a row, of its id and content hash."""

_LONGEST = 64
_SQL_WORDS = frozenset(
    "all and any as asc between by case cast desc distinct else end exists false from group having in into is join "
    "like limit not null offset on or order select set some table then true union using when where with".split()
)


def status_column(name: str) -> str:
    """Name the column of a score's statuses."""
    return f"{name}_status"


def score_names(table: SampleTable) -> list[str]:
    """List the scores that a table has columns of."""
    names = table.schema().names
    return [name for name in names if status_column(name) in names]


def check_name(table: SampleTable, name: str) -> None:
    """Check that a score can have this name.

    :raises NaitError: it cannot be written in a filter, or a column that is no score has it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > _LONGEST or name in _SQL_WORDS:
        raise NaitError(f"--name '{name}' cannot name a column; take a small letter, then small letters, digits and _")
    taken = set(table.schema().names)
    scores = score_names(table)
    if name.startswith(SIGNATURE_PREFIXES) or (name not in scores and {name, status_column(name)} & taken):
        raise NaitError(f"--name '{name}' is taken: the index has such a column already; choose another")


def publish_scores(layout: Layout, name: str, lookup: Lookup) -> bool:
    """Bring the columns of a score up to date and let readers see them.

    :returns: whether anything had to be written.
    :raises IncompleteIndexError: a build of this index was interrupted. :raises IndexBusyError: another one runs.
    """
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        check_name(table, name)
        if _is_current(table, name, lookup):
            return False
        _replace_columns(layout, table, name, lookup)
        publish(layout, manifest, f"score {name}", table_version=table.version)
    return True


def copy_score(old: Layout, table: SampleTable, new: Layout, name: str) -> None:
    """Copy a score and its journal to an index that was rebuilt from the rows of another.

    :param table: of the old index.
    """
    records = table.records(["id", "content_hash", name, status_column(name)])
    known = {(row_id, content): (value, status) for row_id, content, value, status in map(dict.values, records)}
    publish_scores(new, name, lambda row_id, content: known.get((row_id, content), (None, None)))
    journal = old.journal(name)
    old.pull(journal)
    if journal.is_file():
        new.write(new.journal(name), journal.read_bytes())


def _is_current(table: SampleTable, name: str, lookup: Lookup) -> bool:
    if name not in score_names(table):
        return False
    columns = ["id", "content_hash", name, status_column(name)]
    return all((row[columns[2]], row[columns[3]]) == lookup(row["id"], row["content_hash"])
               for row in table.records(columns))  # fmt: skip


def _replace_columns(layout: Layout, table: SampleTable, name: str, lookup: Lookup) -> None:
    import lance
    import pyarrow as pa

    schema = pa.schema([pa.field(name, pa.float64()), pa.field(status_column(name), pa.string())])

    @lance.batch_udf(output_schema=schema)  # type: ignore[untyped-decorator]  # lance is untyped
    def columns(batch: "pa.RecordBatch") -> "pa.RecordBatch":
        ids, contents = batch.column("id").to_pylist(), batch.column("content_hash").to_pylist()
        found = [lookup(*own) for own in zip(ids, contents, strict=True)]
        arrays = [pa.array([own[at] for own in found], field.type) for at, field in enumerate(schema)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    with writing(layout):
        dataset = open_dataset(layout, layout.samples)
        if name in score_names(table):
            dataset.drop_columns([name, status_column(name)])
        dataset.add_columns(columns, read_columns=["id", "content_hash"])
