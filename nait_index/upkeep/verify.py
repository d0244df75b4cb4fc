"""Whether an index still is what it was: files, counts, content, versions, scan copies and encodings."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nait_index.capabilities.examples import ExampleEncoder
from nait_index.config import View
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import NaitError
from nait_index.search.exact import ExactScan
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import dense_column
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable
from nait_index.upkeep.describe import count_rejected

logger = logging.getLogger(__name__)

OpenEncoder = Callable[[], ExampleEncoder]

# A row encoded again in another batch differs by rounding alone, which is larger in 16-bit models.
_SAME_COSINE = {"float32": 0.9999}
_SAME_COSINE_16_BIT = 0.98


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; ``passed`` is ``None`` if it could not be made."""

    name: str
    passed: bool | None
    detail: str


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
        """Run all checks, or only the first if it fails: nothing else can be read then.

        :param sample: how many rows to encode again.
        """
        files = self._files()
        if not files.passed:
            return [files]
        picked = np.sort(np.random.default_rng().permutation(len(self._table))[:sample])
        checks = [files, self._count(), self._rejected(), self._content(), self._components(), self._versions()]
        return [*checks, *self._scans(), self._encoding(picked)]

    def _files(self) -> Check:
        """Read every file of the tables and compare its hash with the recorded one."""
        logger.info("checking the files")
        try:
            count = check_files(self._layout, self._manifest.head, thorough=True)
        except NaitError as error:
            return Check("files", False, str(error))
        return Check("files", True, f"{count} read, all hashes match" if count else "left to the object store")

    def _versions(self) -> Check:
        """Open every version that is kept."""
        logger.info("checking the versions")
        for version in self._manifest.history:
            try:
                check_files(self._layout, version)
                rows = len(SampleTable(self._layout, version.table_version))
            except NaitError as error:
                return Check("versions", False, f"version {version.number}: {error}")
            if rows != version.rows:
                detail = f"version {version.number} has {rows} rows, the manifest says {version.rows}"
                return Check("versions", False, detail)
        return Check("versions", True, f"{len(self._manifest.history)} can be read")

    def _count(self) -> Check:
        rows, expected = len(self._table), self._manifest.rows
        ids = len({sample_id for sample_id, _, _ in self._table.known()})
        detail = f"{rows} rows, {ids} different ids; the manifest says {expected}"
        return Check("rows", rows == expected == ids, detail)

    def _rejected(self) -> Check:
        name = self._layout.rejected.name
        try:
            count = count_rejected(self._layout)
        except (ValueError, KeyError, TypeError, NaitError) as error:
            return Check("rejected rows", False, f"{name} is damaged: {error}")
        return Check("rejected rows", True, f"{count} in {name}, each with its reason")

    def _content(self) -> Check:
        """Hash every row again."""
        logger.info("checking the content of every row")
        records = self._table.records([*SAMPLE_COLUMNS, "content_hash"])
        wrong = [record["id"] for record in records if restore_sample(record).content_hash != record["content_hash"]]
        detail = f"row {wrong[0]!r} and {len(wrong) - 1} more were altered" if wrong else "all hashes match"
        return Check("content", not wrong, detail)

    def _components(self) -> Check:
        """Read the components, which opening an index does not."""
        try:
            sizes = [f"{len(basis.components)} {name}" for name, basis in self._compressor.bases.items()]
        except NaitError as error:
            return Check("components", False, str(error))
        return Check("components", True, " and ".join(sizes) or "none: the signatures are not compressed")

    def _scans(self) -> Iterator[Check]:
        """Compare every existing scan copy with the table, vector by vector."""
        folder = self._layout.engine(self._table.version)
        rows = IndexRows(self._layout, self._table, self._compressor, self._manifest.fingerprint.signatures)
        for feature in Feature:
            column = dense_column(feature)
            if (folder / f"{column}.npy").is_file():
                yield Check(f"engine {column}", *self._compare(rows, feature))

    def _compare(self, rows: IndexRows, feature: Feature) -> tuple[bool | None, str]:
        logger.info("checking the scan copy of %s", feature)
        folder, column = self._layout.engine(self._table.version), dense_column(feature)
        stamp = rows.stamp(feature)
        if not ExactScan.is_current(folder, column, stamp):
            return None, "of an earlier state of the table; it is made again when it is needed"
        exact = ExactScan.open(folder, column, stamp)
        if exact is None or not exact.is_whole(folder, column):
            return False, f"damaged; delete the folder {folder}, and it is made again"
        start, same = 0, True
        for stored in rows.blocks(column):
            end = start + len(stored)
            same &= np.array_equal(exact.rows[start:end], stored[:, : stamp.dim])
            start = end
        return same, f"{start} vectors compared" if same else f"not the table's vectors; delete the folder {folder}"

    def _encoding(self, picked: np.ndarray) -> Check:
        """Encode some rows again and compare their signatures with the stored ones."""
        logger.info("checking %d rows by encoding them again", len(picked))
        if View.PCA not in self._manifest.fingerprint.signatures.views:
            return Check("encoding", None, "not checked: there is no dense view to compare")
        column, steps = dense_column(Feature.UNIT), self._compressor.steps[Feature.UNIT]
        records = self._table.take_records(picked, [*SAMPLE_COLUMNS, column])
        try:
            encoded = self._open_encoder().encode_again([restore_sample(record) for record in records])
        except NaitError as error:
            return Check("encoding", None, f"not checked: {error}")
        again = encoded.signatures[column].astype(np.float32) * steps
        stored = np.array([record[column] for record in records], dtype=np.float32) * steps
        lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(again, axis=1)
        cosines = np.where(lengths > 0, (stored * again).sum(axis=1) / np.maximum(lengths, 1e-30), 1.0)
        limit = _SAME_COSINE.get(self._manifest.fingerprint.dtype, _SAME_COSINE_16_BIT)
        worst = int(cosines.argmin())
        row_id = records[worst]["id"]
        detail = f"{len(records)} rows encoded again; lowest cosine {cosines[worst]:.6f} (row {row_id!r})"
        return Check("encoding", bool(cosines[worst] >= limit), detail)
