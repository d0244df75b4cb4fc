"""Where a build begins and ends: the place that it may write to, the rows that are there, and a new version of them."""

from dataclasses import replace

from nait_index.building.intake import Known
from nait_index.errors import StoreError
from nait_index.files import TEMPORARY
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, table_state
from nait_index.store.samples import SampleTable

_MOST_FRAGMENTS = 64
"""Files of rows above which a build merges them. Merging writes every row once more, so it does not do so each time."""


def check_place(layout: Layout) -> None:
    """Refuse a place that is something else than an index, lest a build mix its files with another's."""
    root = layout.root
    if layout.remote is not None:
        others = [] if layout.read(layout.manifest) is not None else layout.remote.others()
    elif root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; an index is a folder, name another")
    elif root.is_dir() and not layout.manifest.is_file():
        own = {layout.lock, layout.readers, layout.staging, *root.glob(TEMPORARY)}
        others = sorted(path.name for path in root.iterdir() if path not in own)
    else:
        others = []
    if others:
        raise StoreError(f"{layout.name} is not an index and not empty (it holds {others[0]}); name another folder")


def known_rows(table: SampleTable) -> dict[str, Known]:
    """Give what the table has of every row, by id.

    Until a build is finished, a row and the one that takes its place are both there; the later one counts.
    """
    known: dict[str, Known] = {}
    for sample_id, digest, position in table.known():
        other = known.get(sample_id)
        if other is None or other.position < position:
            known[sample_id] = Known(digest, position)
    return known


def publish_rows(layout: Layout, table: SampleTable, manifest: Manifest) -> tuple[Manifest, int]:
    """Let readers see what was committed.

    :returns: the manifest, and how many rows others of the same id took the place of.
    """
    superseded = _superseded(table)
    table.delete(superseded)
    if not manifest.history or table.fragments > _MOST_FRAGMENTS:
        table.compact()
    state = table_state(table)
    added = state["rows"] - manifest.rows
    end = max(manifest.next_position, table.largest("position") + 1)
    first_rows = manifest.first_rows if manifest.history else end
    replaced = f", {len(superseded):,} replaced" if superseded else ""
    change = f"{added:,} row{'' if added == 1 else 's'} added{replaced}"
    manifest = replace(manifest, next_position=end, first_rows=first_rows)
    return publish(layout, manifest, change, **state), len(superseded)


def _superseded(table: SampleTable) -> list[int]:
    """Find the positions of rows that others of the same id have taken the place of."""
    known = known_rows(table)
    if len(table) == len(known):
        return []
    kept = {own.position for own in known.values()}
    return [position for _, _, position in table.known() if position not in kept]
