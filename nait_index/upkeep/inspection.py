"""Looking at an index: what it is, and whether it is still what it was."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.capabilities.examples import ExampleEncoder
from nait_index.config import View
from nait_index.corpus import SAMPLE_COLUMNS, read_rejected, restore_sample
from nait_index.errors import NaitError
from nait_index.search.exact import ExactScan
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import dense_column
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.integrity import check_files, check_rejected
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)

OpenEncoder = Callable[[], ExampleEncoder]

# A row encoded again, in another batch, differs by rounding alone; in 16-bit models that is larger.
_SAME_COSINE = {"float32": 0.9999}
_SAME_COSINE_16_BIT = 0.98


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and what was found. ``passed`` is ``None`` where it could not be checked."""

    name: str
    passed: bool | None
    detail: str


def describe(layout: Layout, manifest: Manifest, table: SampleTable, capabilities: CapabilityTable) -> dict[str, Any]:
    """Collect what there is to know about an index."""
    own, head = manifest.fingerprint, manifest.head
    sizes = table.signature_bytes()
    columns = {
        view: {name: own for name, own in sizes.items() if name.split("_")[0] == view} for view in own.signatures.views
    }
    views = {view: {"columns": sizes, "bytes_per_row": sum(sizes.values())} for view, sizes in columns.items()}
    return {
        "path": layout.name,
        "version": manifest.version,
        "tags": sorted(name for name, own in manifest.tags.items() if own == manifest.version),
        "rows": manifest.rows,
        "truncated": head.truncated,
        "rejected": count_rejected(layout),
        "tokens": head.tokens,
        "sources": list(manifest.sources),
        "model": dict(manifest.model),
        "layers": len(own.layers),
        "neurons_per_layer": own.widths[0] if len(set(own.widths)) == 1 else list(own.widths),
        "neurons": sum(own.widths),
        "views": views,
        "sae_unexplained": manifest.sae_unexplained,
        "fidelity": manifest.fidelity,
        "bytes_per_row": sum(view["bytes_per_row"] for view in views.values()),
        "size_on_disk": sum(path.stat().st_size for path in layout.root.rglob("*") if path.is_file()),
        "fingerprint": own.digest,
        "libraries": dict(manifest.libraries),
        "capabilities": capabilities.names(),
    }


def count_rejected(layout: Layout) -> int:
    """Count the rows that could not be used.

    :raises StoreError: the list of them is missing or damaged.
    """
    layout.pull(layout.rejected)
    check_rejected(layout)
    return sum(1 for _ in read_rejected(layout.rejected)) if layout.rejected.is_file() else 0


class Verifier:
    """Checks an index against itself."""

    def __init__(
        self, layout: Layout, manifest: Manifest, table: SampleTable, compressor: Compressor, encoder: OpenEncoder
    ) -> None:
        self._layout = layout
        self._manifest = manifest
        self._table = table
        self._compressor = compressor
        self._open_encoder = encoder

    def run(self, sample: int) -> list[Check]:
        """Run every check.

        :param sample: how many rows to encode again.
        """
        files = self._files()
        if not files.passed:
            return [files]
        picked = np.sort(np.random.default_rng().permutation(len(self._table))[:sample])
        checks = [files, self._count(), self._rejects(), self._content(), self._components(), self._versions()]
        return [*checks, *self._engines(), self._encoding(picked)]

    def _files(self) -> Check:
        """Read every file of the tables, and compare it with what was written."""
        logger.info("checking the files")
        try:
            count = check_files(self._layout, self._manifest.head, thorough=True)
        except NaitError as error:
            return Check("files", False, str(error))
        return Check("files", True, f"{count} read, each with its hash" if count else "left to the object store")

    def _versions(self) -> Check:
        """Open every version that is kept."""
        logger.info("checking the versions")
        for own in self._manifest.history:
            try:
                check_files(self._layout, own)
                rows = len(SampleTable(self._layout, own.table_version))
            except NaitError as error:
                return Check("versions", False, f"version {own.number}: {error}")
            if rows != own.rows:
                return Check("versions", False, f"version {own.number} has {rows} rows, the manifest says {own.rows}")
        return Check("versions", True, f"{len(self._manifest.history)} can be read")

    def _count(self) -> Check:
        rows, wanted = len(self._table), self._manifest.rows
        ids = len({sample_id for sample_id, _, _ in self._table.known()})
        detail = f"{rows} rows, {ids} different ids; the manifest says {wanted}"
        return Check("rows", rows == wanted == ids, detail)

    def _rejects(self) -> Check:
        try:
            found = count_rejected(self._layout)
        except (ValueError, KeyError, TypeError, NaitError) as error:
            return Check("rejected rows", False, f"{self._layout.rejected.name} is damaged: {error}")
        return Check("rejected rows", True, f"{found} in {self._layout.rejected.name}, each with its reason")

    def _content(self) -> Check:
        """Hash every row again."""
        logger.info("checking the content of every row")
        wrong = [row["id"] for row in self._rows(None) if restore_sample(row).content_hash != row["content_hash"]]
        detail = f"row {wrong[0]!r} and {len(wrong) - 1} more were altered" if wrong else "every row has its hash"
        return Check("content", not wrong, detail)

    def _components(self) -> Check:
        """Read the components, which opening an index does not."""
        try:
            sizes = [f"{len(basis.components)} {name}" for name, basis in self._compressor.bases.items()]
        except NaitError as error:
            return Check("components", False, str(error))
        return Check("components", True, " and ".join(sizes) or "none: signatures are whole")

    def _engines(self) -> Iterator[Check]:
        """Compare every engine that was made with the table, vector by vector."""
        own = self._manifest.fingerprint
        folder = self._layout.engine(self._table.version)
        opened = IndexRows(self._layout, self._table, self._compressor, own.signatures)
        for feature in Feature:
            column = dense_column(feature)
            if not (folder / f"{column}.npy").is_file():
                continue
            yield Check(f"engine {column}", *self._compare(opened, feature))

    def _compare(self, opened: IndexRows, feature: Feature) -> tuple[bool | None, str]:
        logger.info("checking the engine of %s", feature)
        folder, column = self._layout.engine(self._table.version), dense_column(feature)
        stamp = opened.stamp(feature)
        if not ExactScan.is_current(folder, column, stamp):
            return None, "of an earlier state of the table; it is made again when it is needed"
        engine = ExactScan.open(folder, column, stamp)
        if engine is None or not engine.is_whole(folder, column):
            return False, f"damaged; delete the folder {folder}, and it is made again"
        start, same = 0, True
        for stored in opened.blocks(column):
            end = start + len(stored)
            same &= np.array_equal(engine.rows[start:end], stored[:, : stamp.dim])
            start = end
        return same, f"{start} vectors compared" if same else f"not the table's vectors; delete the folder {folder}"

    def _encoding(self, picked: np.ndarray) -> Check:
        """Encode some rows again and compare their signatures with the stored ones."""
        logger.info("checking %d rows by encoding them again", len(picked))
        if View.PCA not in self._manifest.fingerprint.signatures.views:
            return Check("encoding", None, "not checked: there is no dense view to compare")
        column = dense_column(Feature.UNIT)
        rows = list(self._rows(picked))
        stored = np.array(self._table.take(picked, [column])[column], dtype=np.float32)
        try:
            encoded = self._open_encoder().again([restore_sample(row) for row in rows])
        except NaitError as error:
            return Check("encoding", None, f"not checked: {error}")
        again = encoded.signatures[column].astype(np.float32) * self._compressor.steps[Feature.UNIT]
        stored = stored * self._compressor.steps[Feature.UNIT]
        lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(again, axis=1)
        cosines = np.where(lengths > 0, (stored * again).sum(axis=1) / np.maximum(lengths, 1e-30), 1.0)
        limit = _SAME_COSINE.get(self._manifest.fingerprint.dtype, _SAME_COSINE_16_BIT)
        worst = int(cosines.argmin())
        detail = f"{len(rows)} rows encoded again; lowest cosine {cosines[worst]:.6f} (row {rows[worst]['id']!r})"
        return Check("encoding", bool(cosines[worst] >= limit), detail)

    def _rows(self, ordinals: np.ndarray | None) -> Iterator[dict[str, Any]]:
        columns = [*SAMPLE_COLUMNS, "content_hash"]
        if ordinals is None:
            yield from self._table.records(columns)
            return
        taken = self._table.take(ordinals, columns)
        yield from (dict(zip(columns, values, strict=True)) for values in zip(*taken.values(), strict=True))
