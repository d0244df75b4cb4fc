"""Fields of the rows as columns, for conditions: read from the rows' JSON once for each state of the table.

A million rows take seconds to parse. So the columns are kept beside the scans, in the folder of the table's version,
each with the hash of its file: a damaged one is read from the rows again, and a folder that cannot be written costs
nothing but time.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.errors import NaitError
from nait_index.files import atomic_write, hash_bytes, hash_file
from nait_index.store.samples import SampleTable
from nait_index.store.sealed import read_sealed, write_sealed
from nait_index.types import lookup

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

WHOLE = "fields"
"""The name under which a condition reaches all fields of a row, even those that the table has a column for."""

Tree = Mapping[str, Any]
"""Names of fields, each with the tree of those that are asked for inside of it."""


def field_columns(table: SampleTable, fields: Tree, folder: Path | None) -> dict[str, "pa.Array"]:
    """Read fields of all rows, in table order; those that no row has are left out.

    :param folder: where columns are kept; ``None`` to keep none.
    """
    import pyarrow as pa

    state = {"files": table.files_hash(), "rows": len(table)}
    stamps = {name: {"name": name, "inner": inner} | state for name, inner in fields.items()}
    kept = {name: _load(folder, stamp) for name, stamp in stamps.items()} if folder is not None else {}
    columns = {name: column for name, column in kept.items() if column is not None}
    missing = [name for name in fields if name not in columns]
    if missing:
        logger.info("reading %s of every row", ", ".join(missing))
        values: dict[str, list[Any]] = {name: [] for name in missing}
        for record in table.records(["row"]):
            row = fields_of(record)
            for name in missing:
                values[name].append(row if name == WHOLE else row.get(name))
        for name in missing:
            column = _array(values.pop(name), fields[name])
            columns[name] = column if column.null_count < len(column) else pa.nulls(len(column))
            if folder is not None:
                _keep(folder, stamps[name], columns[name])
    return {name: columns[name] for name in fields if columns[name].null_count < len(columns[name])}


def field_column(table: SampleTable, path: str, folder: Path | None) -> "pa.Array | None":
    """Read one field of all rows, whose name may lead into objects with dots; ``None`` if no row has it.

    :param folder: as for :func:`field_columns`; a field inside of others is not kept.
    """
    if "." not in path and path != WHOLE:
        return field_columns(table, {path: {}}, folder).get(path)
    column = _array([lookup(fields_of(record), path) for record in table.records(["row"])], {})
    return column if column.null_count < len(column) else None


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row of the table."""
    fields: dict[str, Any] = json.loads(record["row"])
    return fields


def _files(folder: Path, stamp: Mapping[str, Any]) -> tuple[Path, Path]:
    name = f"field-{hash_bytes(json.dumps([stamp['name'], stamp['inner']]).encode())}"
    return folder / f"{name}.arrow", folder / f"{name}.json"


def _load(folder: Path, stamp: Mapping[str, Any]) -> "pa.Array | None":
    import pyarrow as pa

    path, sealed = _files(folder, stamp)
    facts = read_sealed(sealed)
    if facts is None or facts["stamp"] != stamp:
        return None
    try:
        if hash_file(path) != facts["hash"]:
            return None
        with pa.OSFile(str(path)) as source:
            return pa.ipc.open_file(source).read_all().column(0).combine_chunks()
    except (OSError, ValueError, NaitError):  # pa.ArrowInvalid is a ValueError
        return None


def _keep(folder: Path, stamp: Mapping[str, Any], column: "pa.Array") -> None:
    import pyarrow as pa

    path, sealed = _files(folder, stamp)
    table = pa.table({"values": column})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sealed.unlink(missing_ok=True)
        with atomic_write(path) as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        write_sealed(sealed, {"stamp": stamp, "hash": hash_file(path)})
    except (OSError, NaitError) as error:  # only a copy
        logger.warning(
            "the field %s cannot be kept, so every filter by it reads all rows again: %s", stamp["name"], error
        )


def _array(values: Sequence[Any], inner: Tree) -> "pa.Array":
    """Turn the values of a field into one column of their common type; mixed types become text.

    Of objects, the fields that are asked for and that any of them has are columns inside of it.
    """
    import pyarrow as pa

    if inner and any(isinstance(value, dict) for value in values):
        objects = [value if isinstance(value, dict) else {} for value in values]
        parts = {
            name: _array([value.get(name) for value in objects], tree)
            for name, tree in inner.items()
            if any(name in value for value in objects)
        }
        if not parts:
            return pa.array([{}] * len(values), pa.struct([]))
        return pa.StructArray.from_arrays([*parts.values()], [*parts])
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if value is None else _float(value) for value in values], pa.float64())
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
    # JSON can hold half a surrogate pair, Arrow cannot.
    whole = [None if text is None else text.encode("utf-8", "replace").decode() for text in texts]
    return pa.array(whole, pa.large_string())


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
