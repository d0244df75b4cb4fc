"""Naming versions of an index, and making an old one the present one again."""

import re
import shutil
from dataclasses import replace

from nait_index.errors import StoreError
from nait_index.spelling import did_you_mean
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.lock import write_lock
from nait_index.store.manifest import Manifest, load_manifest, save_manifest
from nait_index.store.publish import publish
from nait_index.store.samples import SampleTable


def tag_version(layout: Layout, name: str, wanted: str | int | None, *, force: bool = False) -> int:
    """Name a version, which is kept from then on.

    :param wanted: its number or another of its tags; ``None`` is the last. :param force: move a tag that is there.
    :returns: the version's number. :raises StoreError: the name cannot be used, or is taken.
    """
    # A number would be taken for a version's, and what begins with a dash for an option.
    if not re.fullmatch(r"[A-Za-z_][\w.-]{0,63}", name, re.ASCII):
        raise StoreError(f"'{name}' is no usable tag; take a letter, then at most 63 letters, digits, '.', '_' and '-'")
    with write_lock(layout):
        manifest = load_manifest(layout)
        number = (manifest if wanted is None else manifest.at(wanted, layout.name)).version
        if manifest.tags.get(name, number) != number and not force:
            raise StoreError(f"tag '{name}' is version {manifest.tags[name]} already; move it with --force")
        save_manifest(layout, replace(manifest, tags=dict(manifest.tags) | {name: number}))
    return number


def remove_tag(layout: Layout, name: str) -> None:
    """Forget the name of a version, which is then kept no longer than others.

    :raises StoreError: there is no such tag.
    """
    with write_lock(layout):
        manifest = load_manifest(layout)
        if name not in manifest.tags:
            known = ", ".join(manifest.tags) or "none"
            raise StoreError(f"{layout.name} has no tag '{name}'; it has {known}{did_you_mean(name, manifest.tags)}")
        save_manifest(layout, replace(manifest, tags={tag: own for tag, own in manifest.tags.items() if tag != name}))


def restore_version(layout: Layout, wanted: str | int) -> Manifest:
    """Make a new version that is what an old one was. Nothing is lost: the versions between stay.

    It also gives up an interrupted build: of the last version, it takes away what that build has committed.
    """
    with write_lock(layout):
        manifest = load_manifest(layout)
        old = manifest.at(wanted, layout.name).head
        check_files(layout, old)
        SampleTable(layout, old.table_version).restore()
        shutil.rmtree(layout.staging, ignore_errors=True)
        capabilities = CapabilityTable(layout)
        if capabilities.version != old.capabilities_version:
            CapabilityTable(layout, old.capabilities_version).restore()
        return publish(
            layout,
            manifest,
            f"version {old.number} restored",
            rows=old.rows,
            truncated=old.truncated,
            tokens=old.tokens,
            table_version=SampleTable(layout).version,
            capabilities_version=CapabilityTable(layout).version,
        )
