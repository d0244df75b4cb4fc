"""Naming versions of an index, and making an old version the last one again."""

import logging
import re
import shutil
from dataclasses import replace
from typing import Any

from nait_index.errors import StoreError
from nait_index.spelling import did_you_mean
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.manifest import Manifest, load_finished, save_manifest
from nait_index.store.publish import publish
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)


def list_versions(layout: Layout) -> list[dict[str, Any]]:
    """Return number, creation time, change, rows and tags of every version, oldest first."""
    manifest = load_finished(layout)
    return [
        {"version": version.number, "created": version.created, "change": version.change, "rows": version.rows}
        | {"tags": [name for name, number in manifest.tags.items() if number == version.number]}
        for version in manifest.history
    ]


def tag_version(layout: Layout, name: str, version: str | int | None, *, force: bool = False) -> int:
    """Name a version, which is never deleted from then on.

    :param version: its number or another of its tags; ``None`` is the last. :param force: move an existing tag.
    :returns: the version's number. :raises StoreError: the name cannot be used, or is taken.
    """
    # A number would be read as a version's, and a leading dash as an option.
    if not re.fullmatch(r"[A-Za-z_][\w.-]{0,63}", name, re.ASCII):
        raise StoreError(
            f"'{name}' cannot be a tag; use a letter or '_', then at most 63 letters, digits, '.', '_' and '-'"
        )
    with write_lock(layout):
        manifest = load_finished(layout)
        number = (manifest if version is None else manifest.at_version(version, layout.name)).version
        if manifest.tags.get(name, number) != number and not force:
            raise StoreError(f"tag '{name}' already names version {manifest.tags[name]}; move it with --force")
        save_manifest(layout, replace(manifest, tags={**manifest.tags, name: number}))
    return number


def remove_tag(layout: Layout, name: str) -> None:
    """Remove a tag; its version then expires like any other.

    :raises StoreError: there is no such tag.
    """
    with write_lock(layout):
        manifest = load_finished(layout)
        if name not in manifest.tags and name in manifest.removed_tags:
            logger.warning("tag '%s' was removed before; nothing was changed", name)
            return
        if name not in manifest.tags:
            known = ", ".join(manifest.tags) or "none"
            raise StoreError(f"{layout.name} has no tag '{name}'; it has {known}{did_you_mean(name, manifest.tags)}")
        tags = {tag: number for tag, number in manifest.tags.items() if tag != name}
        removed = tuple(dict.fromkeys([*manifest.removed_tags, name]))
        save_manifest(layout, replace(manifest, tags=tags, removed_tags=removed))


def restore_version(layout: Layout, version: str | int) -> Manifest:
    """Publish the content of an old version as a new one; the versions between stay.

    This also abandons an interrupted build: restoring the last version drops what the build has committed. If the last
    version has that content already, and nothing is to be dropped, nothing changes.
    """
    with write_lock(layout):
        manifest = load_finished(layout)
        old = manifest.at_version(version, layout.name).head
        check_files(layout, old)
        if old.number in (manifest.head.number, manifest.head.restored) and _is_clean(layout, manifest):
            logger.warning("version %d is the newest already; nothing was changed", old.number)
            return manifest
        SampleTable(layout, old.table_version).restore()
        shutil.rmtree(layout.staging, ignore_errors=True)
        if CapabilityTable(layout).version != old.capabilities_version:
            CapabilityTable(layout, old.capabilities_version).restore()
        return publish(
            layout,
            manifest,
            f"version {old.number} restored",
            restored=old.number,
            rows=old.rows,
            truncated=old.truncated,
            left_out=old.left_out,
            tokens=old.tokens,
            table_version=SampleTable(layout).version,
            capabilities_version=CapabilityTable(layout).version,
        )


def _is_clean(layout: Layout, manifest: Manifest) -> bool:
    """Return whether the tables are as the last version left them, with nothing of an interrupted change."""
    head = manifest.head
    tables = SampleTable(layout).version, CapabilityTable(layout).version
    return tables == (head.table_version, head.capabilities_version) and not layout.staging.exists()
