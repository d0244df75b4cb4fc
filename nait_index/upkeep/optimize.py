"""Merging the files of an index, and deleting versions that nobody asked to keep."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from nait_index.errors import NaitError, StoreError
from nait_index.methods.probe import sample_queries
from nait_index.methods.registry import approximated
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.views import SCANNED
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.integrity import seal_files
from nait_index.store.layout import Layout
from nait_index.store.locks import no_readers, write_lock
from nait_index.store.manifest import Manifest, Version, save_manifest
from nait_index.store.publish import keep, mark_approximate, publish, settled
from nait_index.store.samples import SampleTable
from nait_index.upkeep.describe import size_on_disk

logger = logging.getLogger(__name__)

_MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Optimized:
    """What an optimisation did.

    :param fragments: files that held the rows before, and hold them now. :param forgotten: versions deleted.
    :param kept: versions left. :param size: bytes before, and now: files that a kept version reads stay beside those
        they were merged into. :param in_use: whether versions stayed because the index is open somewhere,
        or rows that were chosen from it can still be read.
    """

    fragments: tuple[int, int]
    forgotten: int
    kept: int
    size: tuple[int, int]
    in_use: bool


def optimize(layout: Layout, keep_days: float, opened: int | None = None) -> Optimized:
    """Merge files, then delete the versions without a tag that were replaced more than ``keep_days`` days ago.

    No version is deleted while anybody on this machine has the index open, or rows that were chosen from it. In an
    object store, where that cannot be known, none that was replaced within a day is.

    :param opened: a version that is kept.
    """
    if not 0 <= keep_days <= _MOST_DAYS:
        raise StoreError(f"--keep-days must be from 0 to {_MOST_DAYS:,}, not {keep_days:g}")
    if layout.remote is not None and keep_days < 1:
        raise StoreError("--keep-days must be at least 1 in an object store, where open readers cannot be detected")
    with write_lock(layout):
        manifest, size = settled(layout), size_on_disk(layout)
        table = SampleTable(layout)
        before = table.fragments
        logger.info("merging %d files", before)
        manifest = _merge(layout, manifest, table)
        history = _to_keep(manifest, timedelta(days=keep_days), opened)
        forgotten = len(manifest.history) - len(history)
        with no_readers(layout) as alone:
            if alone and forgotten:
                # The manifest first, so that it never names a deleted version.
                manifest = replace(manifest, history=history)
                save_manifest(layout, manifest)
            keep(layout, manifest)
            if alone and forgotten:
                seal_files(layout, manifest)
        fragments, sizes = (before, table.fragments), (size, size_on_disk(layout))
        deleted = forgotten if alone else 0
        return Optimized(fragments, deleted, len(manifest.history), sizes, forgotten > deleted)


def prepare_search(layout: Layout, manifest: Manifest, rows: IndexRows, *, approximate: bool = False) -> None:
    """Make the exact scan of the present version, and its approximate search if wanted or if the index had one.

    :raises NaitError: it is wanted and cannot be made; where only an earlier version had one, searches are exact.
    """
    for feature in SCANNED:
        if rows.holds(feature):
            rows.exact(feature)
    scanned = approximated(rows)
    if scanned and (approximate or manifest.approximate):
        for features in sorted(scanned):
            if rows.approximate(*features) is None:
                _make_approximate(rows, features, is_wanted=approximate)
        if not manifest.approximate:  # which takes the lock that another process may hold by now
            mark_approximate(layout)


def _make_approximate(rows: IndexRows, features: tuple[Feature, ...], *, is_wanted: bool) -> None:
    try:
        rows.make_approximate(sample_queries(rows, features))
    except NaitError as error:
        if is_wanted:
            raise
        reason = str(error).split(";")[0]
        logger.warning("searches of this version are exact, since it has no approximate one: %s", reason)


def _merge(layout: Layout, manifest: Manifest, table: SampleTable) -> Manifest:
    """Merge the files of both tables, as a new version if that changes anything."""
    capabilities = CapabilityTable(layout)
    table.compact()
    if capabilities.exists():
        capabilities.compact()
    merged = {"table_version": table.version, "capabilities_version": capabilities.version}
    if merged == {name: getattr(manifest.head, name) for name in merged}:
        return manifest
    return publish(layout, manifest, "files merged", **merged)


def _to_keep(manifest: Manifest, age: timedelta, opened: int | None) -> tuple[Version, ...]:
    """Return the versions to keep: tagged ones, the opened and the last, and those replaced less than ``age`` ago."""
    named, now = {*manifest.tags.values(), opened}, datetime.now(UTC)
    kept = [
        version
        for version, following in zip(manifest.history, manifest.history[1:], strict=False)
        if version.number in named or now - datetime.fromisoformat(following.created) < age
    ]
    return (*kept, manifest.head)
