"""Removing rows from an index; earlier versions keep them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nait_index.errors import SelectionError, StoreError
from nait_index.spelling import did_you_mean_id, did_you_mean_path
from nait_index.store.filters import matching_rows
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish, settled, table_state
from nait_index.store.samples import SampleTable


def read_ids(path: Path) -> list[str]:
    """Read ids from a file, one per line; a line may be a JSON string, for ids that contain line breaks.

    :raises SelectionError: the file cannot be read, or holds no id.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise SelectionError(f"--ids {path}: no such file{did_you_mean_path(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SelectionError(f"--ids {path}: cannot be read ({error})") from error
    ids = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            ids.append(json.loads(line) if line.startswith('"') else line)
        except ValueError as error:
            raise SelectionError(f"--ids {path}, line {number}: not a JSON string ({error})") from error
    if not ids:
        raise SelectionError(f"--ids {path}: holds no id; write one per line")
    return ids


def remove_rows(layout: Layout, ids: Sequence[str] | None, where: str | None) -> int:
    """Remove rows by id, or those that a SQL condition holds for, as one new version.

    :returns: how many. :raises SelectionError: an id is unknown, no row matches, or no row would be left.
    """
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        positions = _positions(table, ids, where)
        if not positions:
            raise SelectionError(f"--where '{where}' matches no row of {layout.name}; nothing was removed")
        if len(positions) == manifest.rows:
            raise SelectionError(f"that would remove all {manifest.rows:,} rows; delete {layout.name} itself instead")
        table.delete(positions)
        change = f"{len(positions):,} row{'' if len(positions) == 1 else 's'} removed"
        publish(layout, manifest, change, **table_state(table))
    return len(positions)


def _positions(table: SampleTable, ids: Sequence[str] | None, where: str | None) -> list[int]:
    if where is not None:
        return [int(position) for position in np.sort(table.numbers("position")[matching_rows(table, where)])]
    if ids is None:
        raise StoreError("name the rows to remove, by ids or by a condition")
    positions = {record["id"]: record["position"] for record in table.records(["id", "position"])}
    missing = [sample_id for sample_id in ids if sample_id not in positions]
    if missing:
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        near = did_you_mean_id(missing[0], list(positions))
        raise SelectionError(f"there is no row with id {missing[0][:80]!r}{more}; nothing was removed{near}")
    return sorted({positions[sample_id] for sample_id in ids})
