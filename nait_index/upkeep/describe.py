"""What an index is: its counts, model, views, sizes and stored capabilities."""

from typing import Any

from nait_index.corpus import read_rejected
from nait_index.store.fingerprint import recorded_reading
from nait_index.store.integrity import check_rejected
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable


def describe(layout: Layout, manifest: Manifest, table: SampleTable) -> dict[str, Any]:
    """Collect what is known about an index, ready for JSON."""
    fingerprint, head = manifest.fingerprint, manifest.head
    views = _views(table, fingerprint.signatures.views)
    return {
        "path": layout.name,
        "version": head.number,
        "tags": sorted(tag for tag, number in manifest.tags.items() if number == head.number),
        "rows": head.rows,
        "truncated": head.truncated,
        "left_out": dict(head.left_out),
        "rejected": count_rejected(layout),
        "tokens": head.tokens,
        "sources": list(manifest.sources),
        "unread": {file: dict(fields) for file, fields in manifest.unread.items()},
        "reading": recorded_reading(manifest.reading),
        "model": dict(manifest.model),
        "layers": len(fingerprint.layers),
        "neurons_per_layer": fingerprint.widths[0] if len(set(fingerprint.widths)) == 1 else list(fingerprint.widths),
        "neurons": sum(fingerprint.widths),
        "views": views,
        "sae_unexplained": manifest.sae_unexplained,
        "fidelity": manifest.fidelity,
        "bytes_per_row": sum(view["bytes_per_row"] for view in views.values()),
        "size_on_disk": size_on_disk(layout),
        "fingerprint": fingerprint.digest,
        "libraries": dict(manifest.libraries),
        "capabilities": list(head.capability_names),
    }


def count_rejected(layout: Layout) -> int:
    """Count the rows that could not be used.

    :raises StoreError: the list of them is missing or damaged.
    """
    layout.pull(layout.rejected)
    check_rejected(layout)
    return sum(1 for _ in read_rejected(layout.rejected)) if layout.rejected.is_file() else 0


def size_on_disk(layout: Layout) -> int:
    """Return the bytes that the index takes on this machine."""
    return sum(path.stat().st_size for path in layout.root.rglob("*") if path.is_file())


def _views(table: SampleTable, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns of each view, and its bytes per row."""
    sizes = {name: dtype.itemsize * width for name, (dtype, width) in table.signature_types().items()}
    columns = {view: {name: size for name, size in sizes.items() if name.split("_")[0] == view} for view in names}
    return {view: {"columns": sizes, "bytes_per_row": sum(sizes.values())} for view, sizes in columns.items()}
