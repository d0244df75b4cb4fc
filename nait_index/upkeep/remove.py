"""Removing rows from an index; earlier versions keep them.

``removed.bin`` holds an 8-byte hash of every id that was ever removed, so that a repeated removal is told apart from a
wrong id, and a hash of the file itself. It is written before the rows go, so it may name rows that are still there;
those are looked for first.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from nait_index.errors import SelectionError, StoreError
from nait_index.files import hash_bytes
from nait_index.spelling import did_you_mean_id, did_you_mean_path
from nait_index.store.filters import matching_rows
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish, settled, table_state
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)

_SEAL_BYTES = 16


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

    A removal can be repeated: rows that were removed before are reported, and need nothing.

    :returns: how many. :raises SelectionError: an id was never in the index, or no row would be left.
    """
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        chosen = _chosen(layout, table, ids, where)
        if not chosen:
            if where is not None:
                logger.warning("--where '%s' matches no row of %s; nothing was removed", where, layout.name)
            return 0
        if len(chosen) == manifest.rows:
            raise SelectionError(f"that would remove all {manifest.rows:,} rows; delete {layout.name} itself instead")
        _note_removed(layout, chosen)
        table.delete(sorted(chosen.values()))
        change = f"{len(chosen):,} row{'' if len(chosen) == 1 else 's'} removed"
        publish(layout, manifest, change, **table_state(table))
    return len(chosen)


def _chosen(layout: Layout, table: SampleTable, ids: Sequence[str] | None, where: str | None) -> dict[str, int]:
    """Return the positions of the rows to remove, by id."""
    records = table.records(["id", "position"])
    if where is not None:
        matching = matching_rows(table, where)
        return {row["id"]: row["position"] for row, matches in zip(records, matching, strict=True) if matches}
    if ids is None:
        raise StoreError("name the rows to remove, by ids or by a condition")
    wanted = set(ids)
    positions = {record["id"]: record["position"] for record in records if record["id"] in wanted}
    missing = [sample_id for sample_id in dict.fromkeys(ids) if sample_id not in positions]
    gone = _removed_before(layout, missing) if missing else set()
    unknown = [sample_id for sample_id in missing if sample_id not in gone]
    if unknown:
        more = f", nor {len(unknown) - 1} more" if len(unknown) > 1 else ""
        near = did_you_mean_id(unknown[0], [record["id"] for record in table.records(["id"])])
        raise SelectionError(f"there is no row with id {unknown[0][:80]!r}{more}; nothing was removed{near}")
    if gone:
        count = "1 row was" if len(gone) == 1 else f"{len(gone):,} rows were"
        logger.warning("%s removed before, the first with id %r", count, missing[0][:80])
    return {sample_id: positions[sample_id] for sample_id in ids if sample_id in positions}


def count_removed(layout: Layout) -> int:
    """Return how many ids of rows were ever removed."""
    return len(_read(layout))


def _note_removed(layout: Layout, ids: Iterable[str]) -> None:
    """Record that rows with these ids are about to be removed."""
    data = np.union1d(_read(layout), _hashes(ids)).tobytes()
    layout.write(layout.removed, data + bytes.fromhex(hash_bytes(data)))


def _removed_before(layout: Layout, ids: Iterable[str]) -> set[str]:
    """Return those of some ids whose rows were removed once."""
    asked = list(ids)
    return {sample_id for sample_id, known in zip(asked, np.isin(_hashes(asked), _read(layout)), strict=True) if known}


def _hashes(ids: Iterable[str]) -> np.ndarray:
    digests = (hashlib.blake2b(sample_id.encode("utf-8", "surrogatepass"), digest_size=8).digest() for sample_id in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _read(layout: Layout) -> np.ndarray:
    stored = layout.read(layout.removed) or b""
    data, seal = stored[:-_SEAL_BYTES], stored[-_SEAL_BYTES:]
    if stored and (seal.hex() != hash_bytes(data) or len(data) % 8):
        raise StoreError(
            f"{layout.removed} is damaged (its hash differs); restore it from a copy, or delete it: it only tells rows "
            "that were removed before from wrong ids"
        )
    return np.frombuffer(data, dtype="<u8")
