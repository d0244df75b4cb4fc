"""Merging the files of an index, and forgetting versions that nobody asked to keep."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nait_index.errors import StoreError
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.integrity import seal_files
from nait_index.store.layout import Layout
from nait_index.store.lock import no_readers, write_lock
from nait_index.store.manifest import Manifest, Version, save_manifest
from nait_index.store.publish import keep, publish, settled
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)

_LONGEST = 36_500


@dataclass(frozen=True, slots=True)
class Optimized:
    """What an optimisation did.

    :param fragments: files that the rows lay in before, and lie in now. :param forgotten: versions that are gone.
    :param size: bytes before, and now: files that a kept version reads stay beside what they were merged into.
    :param in_use: whether versions stayed because somebody has the index open.
    """

    fragments: tuple[int, int]
    forgotten: int
    kept: int
    size: tuple[int, int]
    in_use: bool


def optimize(layout: Layout, keep_days: float) -> Optimized:
    """Merge files, then forget the versions without a tag that were replaced more than so many days ago.

    Nothing is forgotten while anybody has an index on this machine open; in an object store, where that cannot be
    told, nothing that was replaced within a day.
    """
    if not 0 <= keep_days <= _LONGEST:
        raise StoreError(f"--keep-days must be from 0 to {_LONGEST:,}, not {keep_days:g}")
    if layout.remote is not None and keep_days < 1:
        raise StoreError("--keep-days must be at least 1 in an object store: who reads there cannot be told")
    with write_lock(layout):
        manifest = settled(layout)
        table, capabilities, size = SampleTable(layout), CapabilityTable(layout), _size(layout)
        before = table.fragments
        logger.info("merging %d files", before)
        table.compact()
        if capabilities.exists():
            capabilities.compact()
        if (table.version, capabilities.version) != (manifest.table_version, manifest.history[-1].capabilities_version):
            state = {"table_version": table.version, "capabilities_version": capabilities.version}
            manifest = publish(layout, manifest, "files merged", **state)
        left = _still_wanted(manifest, timedelta(days=keep_days))
        with no_readers(layout) as alone:
            if alone and len(left) < len(manifest.history):
                # First from the manifest, so that it never names a version that is gone.
                forgotten = len(manifest.history) - len(left)
                manifest = replace(manifest, history=left)
                save_manifest(layout, manifest)
                keep(layout, manifest)
                seal_files(layout, manifest)
            else:
                forgotten = 0
                keep(layout, manifest)
        in_use = not alone and len(left) < len(manifest.history)
        return Optimized((before, table.fragments), forgotten, len(manifest.history), (size, _size(layout)), in_use)


def _still_wanted(manifest: Manifest, age: timedelta) -> tuple[Version, ...]:
    """Give the versions that stay: with a tag, the last, and those that were replaced a short time ago."""
    tagged, now = set(manifest.tags.values()), datetime.now(UTC)
    left = [
        own
        for own, following in zip(manifest.history, manifest.history[1:], strict=False)
        if own.number in tagged or now - datetime.fromisoformat(following.created) < age
    ]
    return (*left, manifest.history[-1])


def _size(layout: Layout) -> int:
    return sum(path.stat().st_size for path in layout.root.rglob("*") if path.is_file())
