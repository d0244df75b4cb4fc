"""Making a change visible: the one place where an index moves from one version to the next.

What was written to the tables before is invisible until the manifest names it, and the manifest is replaced whole. So a
change that is interrupted anywhere has not happened, and the next change deletes what it left behind.
"""

import logging
from dataclasses import replace
from typing import Any

from nait_index.errors import IncompleteIndexError
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.dataset import drop_torn_versions
from nait_index.store.engines import prune
from nait_index.store.integrity import check_files, seal_files
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.manifest import Manifest, load_finished, load_manifest, save_manifest
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)


def publish(layout: Layout, manifest: Manifest, change: str, **state: Any) -> Manifest:  # noqa: ANN401
    """Make a new version visible to readers; the caller holds the write lock.

    :param change: what made it, in words. :param state: fields of :class:`Version` that differ from the last one,
        except ``capability_names``, which are read from the table.
    """
    logger.info("writing a new version: %s", change)
    if "capabilities_version" in state:
        state["capability_names"] = tuple(CapabilityTable(layout, state["capabilities_version"]).names())
    manifest = manifest.then(change, **state)
    keep(layout, manifest)
    seal_files(layout, manifest)
    save_manifest(layout, manifest)
    prune(layout, manifest.head.table_version)
    logger.info("version %d of %s written", manifest.version, layout.name)
    return manifest


def table_state(table: SampleTable) -> dict[str, Any]:
    """Return the fields of a version that describe the table of samples as it is now."""
    totals = table.totals(["truncated", "n_tokens"])
    return {
        "rows": len(table),
        "truncated": totals["truncated"],
        "left_out": table.left_out(),
        "tokens": totals["n_tokens"],
        "table_version": table.version,
    }


def mark_approximate(layout: Layout) -> None:
    """Record that an index has an approximate search; that is a cache, so this makes no version."""
    with write_lock(layout):
        manifest = load_manifest(layout)
        if not manifest.approximate:
            save_manifest(layout, replace(manifest, approximate=True))


def keep(layout: Layout, manifest: Manifest) -> None:
    """Delete the versions of the tables that the manifest does not name, except the last, which may be unfinished."""
    SampleTable(layout).keep({version.table_version for version in manifest.history})
    capabilities = CapabilityTable(layout)
    if capabilities.exists():
        capabilities.keep({version.capabilities_version for version in manifest.history} - {0})


def settled(layout: Layout) -> Manifest:
    """Read the manifest for a change of the samples, and undo what an interrupted change left behind.

    :raises IncompleteIndexError: there are rows of an interrupted build, which only that build can finish.
    """
    load_finished(layout)
    manifest = settled_capabilities(layout)
    if interrupted_build(layout, manifest):
        raise IncompleteIndexError(
            f"a build of {layout.name} was interrupted; finish it with the same command as before, or abandon it with "
            f"'nait-index restore {layout.name} {manifest.version}'"
        )
    return manifest


def interrupted_build(layout: Layout, manifest: Manifest) -> bool:
    """Return whether there are rows of an interrupted build; what any other interrupted change left is undone.

    :raises StoreError: a file that readers see is damaged; merging files would hide that for good.
    """
    if manifest.history:
        check_files(layout, manifest.head)
    drop_torn_versions(layout, layout.samples)
    table = SampleTable(layout)
    if not manifest.history or table.version == manifest.table_version:
        return False
    if table.last_position() >= manifest.next_position:
        return True
    SampleTable(layout, manifest.table_version).restore()
    return False


def settled_capabilities(layout: Layout) -> Manifest:
    """Read the manifest for a change of the capabilities, and undo what an interrupted change left behind."""
    manifest = load_manifest(layout)
    drop_torn_versions(layout, layout.capabilities)
    visible = manifest.head.capabilities_version if manifest.history else 0
    if CapabilityTable(layout).version != visible:
        CapabilityTable(layout, visible).restore()
    return manifest
