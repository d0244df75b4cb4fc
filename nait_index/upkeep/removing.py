"""Taking rows out of an index; the versions before keep them."""

from collections.abc import Sequence
from pathlib import Path

from nait_index.errors import SelectionError, StoreError
from nait_index.spelling import did_you_mean_id, did_you_mean_path
from nait_index.store.filters import matching_positions
from nait_index.store.layout import Layout
from nait_index.store.lock import write_lock
from nait_index.store.publish import publish, settled, table_state
from nait_index.store.samples import SampleTable


def read_ids(path: Path) -> list[str]:
    """Read ids from a file, one a line; a line may be a JSON string, for ids with line breaks in them.

    :raises SelectionError: the file cannot be read, or has none.
    """
    import json

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
        raise SelectionError(f"--ids {path}: there is no id in it; write one a line")
    return ids


def remove_rows(layout: Layout, ids: Sequence[str] | None, where: str | None) -> int:
    """Remove rows by their ids, or those that a filter holds for, as one new version.

    :returns: how many. :raises SelectionError: an id is not there, nothing matches, or nothing would be left.
    """
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        positions = _positions(table, ids) if where is None else matching_positions(table, where)
        if not positions:
            raise SelectionError(f"--where '{where}' holds for no row of {layout.name}; nothing was removed")
        if len(positions) == manifest.rows:
            raise SelectionError(f"that would remove all {manifest.rows:,} rows; remove {layout.name} itself instead")
        table.delete(positions)
        publish(
            layout,
            manifest,
            f"{len(positions):,} row{'' if len(positions) == 1 else 's'} removed",
            **table_state(table),
        )
    return len(positions)


def _positions(table: SampleTable, ids: Sequence[str] | None) -> list[int]:
    if ids is None:
        raise StoreError("say which rows: by their ids, or by a filter")
    places = {sample_id: position for sample_id, _, position in table.known()}
    missing = [sample_id for sample_id in ids if sample_id not in places]
    if missing:
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        near = did_you_mean_id(missing[0], list(places))
        raise SelectionError(f"there is no row with id {missing[0][:80]!r}{more}; nothing was removed{near}")
    return sorted({places[sample_id] for sample_id in ids})
