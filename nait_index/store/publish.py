"""Making a change visible: the one place where an index moves from one version to the next.

Whatever was written into the tables before is unseen until the manifest names it, and the manifest is replaced whole.
So a change that is interrupted anywhere has not happened, and what it left behind goes with the next one.
"""

import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from typing import Any

from nait_index.errors import IncompleteIndexError
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.dataset import drop_torn_versions
from nait_index.store.integrity import check_files, seal_files
from nait_index.store.layout import Layout
from nait_index.store.lock import write_lock
from nait_index.store.manifest import Manifest, load_finished, load_manifest, save_manifest
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)


def publish(layout: Layout, manifest: Manifest, change: str, **state: Any) -> Manifest:  # noqa: ANN401
    """Let readers see a new version; the caller holds the write lock.

    :param change: what made it, in words. :param state: fields of :class:`Version` that differ from the last one, but
        for ``capability_names``, which are read from the table.
    """
    logger.info("writing a new version: %s", change)
    if "capabilities_version" in state:
        state["capability_names"] = tuple(CapabilityTable(layout, state["capabilities_version"]).names())
    manifest = manifest.then(change, **state)
    keep(layout, manifest)
    seal_files(layout, manifest)
    save_manifest(layout, manifest)
    _drop_engines(layout, manifest)
    logger.info("version %d of %s written", manifest.version, layout.name)
    return manifest


def table_state(table: SampleTable) -> dict[str, int]:
    """Count what a version says of the table of samples, as it is now."""
    return {
        "rows": len(table),
        "truncated": table.count("truncated"),
        "tokens": table.total("n_tokens"),
        "table_version": table.version,
    }


def mark_approximate(layout: Layout) -> None:
    """Write down that an index has an approximate search; it is a cache, so this makes no version."""
    with write_lock(layout):
        manifest = load_manifest(layout)
        if not manifest.approximate:
            save_manifest(layout, replace(manifest, approximate=True))


def keep(layout: Layout, manifest: Manifest) -> None:
    """Delete the versions of the tables that the manifest does not name, but for the last, which may be unfinished."""
    SampleTable(layout).keep({own.table_version for own in manifest.history})
    capabilities = CapabilityTable(layout)
    if capabilities.exists():
        capabilities.keep({own.capabilities_version for own in manifest.history} - {0})


def settled(layout: Layout) -> Manifest:
    """Read the manifest for a change of the samples, and take back what an interrupted change left of itself.

    :raises IncompleteIndexError: rows of an interrupted build are there, which only that build can deal with.
    """
    load_finished(layout)
    manifest = settled_capabilities(layout)
    if interrupted_build(layout, manifest):
        raise IncompleteIndexError(
            f"a build of {layout.name} was interrupted; finish it with the same command as before, or give it up with "
            f"'nait-index restore {layout.name} {manifest.version}'"
        )
    return manifest


def interrupted_build(layout: Layout, manifest: Manifest) -> bool:
    """Tell whether rows of an interrupted build are there; what any other interrupted change left is taken back.

    :raises StoreError: a file of what readers see is damaged: merging files would hide that for good.
    """
    if manifest.history:
        check_files(layout, manifest.head)
    drop_torn_versions(layout, layout.samples)
    table = SampleTable(layout)
    if not manifest.history or table.version == manifest.table_version:
        return False
    if table.largest("position") >= manifest.next_position:
        return True
    SampleTable(layout, manifest.table_version).restore()
    return False


def settled_capabilities(layout: Layout) -> Manifest:
    """Read the manifest for a change of the capabilities, and take back what an interrupted change left of itself."""
    manifest = load_manifest(layout)
    drop_torn_versions(layout, layout.capabilities)
    seen = manifest.head.capabilities_version if manifest.history else 0
    if CapabilityTable(layout).version != seen:
        CapabilityTable(layout, seen).restore()
    return manifest


def _drop_engines(layout: Layout, manifest: Manifest) -> None:
    """Delete the engines of other versions; who has one mapped goes on reading it."""
    own = layout.engine(manifest.history[-1].table_version)
    with suppress(OSError):
        for folder in layout.engines.iterdir():
            if folder.is_dir() and folder != own:
                shutil.rmtree(folder, ignore_errors=True)
