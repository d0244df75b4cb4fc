"""Checks that an index is intact: files, counts, content, versions, scan copies and encodings."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nait_index.capabilities.examples import ExampleEncoder
from nait_index.config import View
from nait_index.corpus import SAMPLE_COLUMNS, plain_text, restore_sample
from nait_index.corpus.words import terms
from nait_index.errors import NaitError
from nait_index.search.approximate import Stored
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import POOLINGS, Feature
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import WORDS, dense_column
from nait_index.store.engines import CELLS
from nait_index.store.fitted import load_landmarks
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable
from nait_index.types import Reading, content_hash_of
from nait_index.upkeep.describe import count_rejected

logger = logging.getLogger(__name__)

OpenEncoder = Callable[[], ExampleEncoder]

# A row encoded again in another batch differs by rounding alone, which is larger in 16-bit models.
_SAME_COSINE, _SAME_COSINE_16_BIT = 0.9999, 0.98


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; ``passed`` is ``None`` if it could not be made."""

    name: str
    passed: bool | None
    detail: str


def verify(
    layout: Layout, manifest: Manifest, table: SampleTable, rows: IndexRows, encoder: OpenEncoder, sample: int
) -> list[Check]:
    """Check an index against itself: run all checks, or only the first if it fails: nothing else can be read then.

    :param sample: how many rows to encode again.
    """
    read: set[Path] = set()
    files = _files(layout, manifest, read)
    if not files.passed:
        return [files]
    checks = [files, _count(manifest, table), _rejected(layout), _content(table), _components(rows.compressor)]
    if View.LANDMARKS in manifest.fingerprint.signatures.views:
        checks.append(_landmarks(layout, manifest))
    checks += [_versions(layout, manifest, read), *_scans(layout, table, rows)]
    checks += _approximate(layout, table)
    checks += [] if View.WORDS not in rows.views else [_words(table, rows.compressor, manifest.reading, sample)]
    return [*checks, _encoding(manifest, table, rows.compressor, encoder, sample)]


def _files(layout: Layout, manifest: Manifest, read: set[Path]) -> Check:
    """Read every file of the tables and compare its hash with the recorded one."""
    logger.info("checking the files")
    try:
        count = check_files(layout, manifest.head, thorough=True, read=read)
    except NaitError as error:
        return Check("files", False, str(error))
    return Check("files", True, f"{count} read, all hashes match" if count else "left to the object store")


def _count(manifest: Manifest, table: SampleTable) -> Check:
    rows, ids = len(table), len({record["id"] for record in table.records(["id"])})
    detail = f"{rows} rows, {ids} different ids; the manifest says {manifest.rows}"
    return Check("rows", rows == manifest.rows == ids, detail)


def _rejected(layout: Layout) -> Check:
    name = layout.rejected.name
    try:
        count = count_rejected(layout)
    except (ValueError, KeyError, TypeError, NaitError) as error:
        return Check("rejected rows", False, f"{name} is damaged: {error}")
    return Check("rejected rows", True, f"{count} in {name}, each with its reason")


def _content(table: SampleTable) -> Check:
    """Hash every row again."""
    logger.info("checking the content of every row")
    records = table.records(["id", "row", "content_hash"])
    wrong = [record["id"] for record in records if _hash_of(record["row"]) != record["content_hash"]]
    detail = f"row {wrong[0]!r} and {len(wrong) - 1} more were altered" if wrong else "all hashes match"
    return Check("content", not wrong, detail)


def _hash_of(row: str) -> str | None:
    """Return the hash of a row's content; ``None`` if it is no JSON object any more."""
    try:
        return content_hash_of(row)
    except (ValueError, AttributeError, RecursionError):
        return None


def _components(compressor: Compressor) -> Check:
    """Read the components, which opening an index does not."""
    try:
        sizes = [f"{len(basis.components)} {name}" for name, basis in compressor.bases.items()]
    except NaitError as error:
        return Check("components", False, str(error))
    return Check("components", True, " and ".join(sizes) or "none: no signature of neurons is compressed")


def _landmarks(layout: Layout, manifest: Manifest) -> Check:
    """Read the landmarks, which only ``influence`` does."""
    try:
        landmarks = load_landmarks(layout, manifest.landmarks_hash)
    except NaitError as error:
        return Check("landmarks", False, str(error))
    return Check("landmarks", True, f"{len(landmarks.ids)}, with their gradients")


def _versions(layout: Layout, manifest: Manifest, read: set[Path]) -> Check:
    """Open every version that is kept, and read the files that were not read yet."""
    logger.info("checking the versions")
    for version in manifest.history:
        try:
            check_files(layout, version, thorough=True, read=read)
            rows = len(SampleTable(layout, version.table_version))
        except NaitError as error:
            return Check("versions", False, f"version {version.number}: {error}")
        if rows != version.rows:
            detail = f"version {version.number} has {rows} rows, the manifest says {version.rows}"
            return Check("versions", False, detail)
    return Check("versions", True, f"{len(manifest.history)} can be read")


def _scans(layout: Layout, table: SampleTable, rows: IndexRows) -> Iterator[Check]:
    """Compare every existing scan copy with the table, vector by vector."""
    folder = layout.engine(table.version)
    for feature in (*POOLINGS, Feature.WORDS):
        column = dense_column(feature)
        if (folder / f"{column}.npy").is_file():
            logger.info("checking the scan copy of %s", feature)
            yield Check(f"engine {column}", *_compare(folder, column, rows, rows.stamp(feature)))


def _compare(folder: Path, column: str, rows: IndexRows, stamp: ScanStamp) -> tuple[bool | None, str]:
    if not ExactScan.is_current(folder, column, stamp):
        return None, "not finished, or of an earlier state of the table; it is made again when it is needed"
    exact = ExactScan.open(folder, column, stamp)
    if exact is None or not exact.is_whole():
        return False, f"damaged; delete the folder {folder}, and it is made again"
    start, same = 0, True
    for stored in rows.blocks(column):
        end = start + len(stored)
        same &= np.array_equal(exact.rows[start:end], stored[:, : stamp.dim])
        start = end
    return same, f"{start} vectors compared" if same else f"not the table's vectors; delete the folder {folder}"


def _approximate(layout: Layout, table: SampleTable) -> Iterator[Check]:
    """Read the files of every approximate search."""
    folder, ending = layout.engine(table.version), CELLS[0]
    for path in sorted(folder.glob(f"*{ending}")):
        name = path.name.removesuffix(ending)
        logger.info("checking the approximate search of %s", name)
        stored = Stored.read(folder, name)
        if stored is None:
            result: tuple[bool | None, str] = False, f"damaged; delete {path}, and 'nait-index optimize' makes it again"
        elif stored.stamp.files != table.files_hash():
            result = None, "of another table; 'nait-index optimize' makes it again"
        else:
            result = True, f"{stored.stamp.rows} rows in {stored.recall.cells} cells, all hashes match"
        yield Check(f"approximate {name}", *result)


def _words(table: SampleTable, compressor: Compressor, reading: Reading, sample: int) -> Check:
    """Make the signatures of some rows' words again and compare them with the stored ones, which must be the same."""
    picked = np.sort(np.random.default_rng().permutation(len(table))[:sample])
    records = table.take(picked, [*SAMPLE_COLUMNS, WORDS]).to_pylist()
    try:
        documents = [terms(plain_text(restore_sample(record, reading).parts)) for record in records]
        again = compressor.compress_words(documents)
    except NaitError as error:
        return Check("words", False, str(error))
    stored = np.array([record[WORDS] for record in records]).reshape(again.shape)
    # One step of one number: sums may be rounded differently on another processor.
    wrong = np.flatnonzero(np.abs(again.astype(int) - stored).max(axis=1, initial=0) > 1).tolist()
    detail = f"{len(records)} rows made again"
    return Check("words", not wrong, f"{detail}; row {records[wrong[0]]['id']!r} differs" if wrong else detail)


def _encoding(
    manifest: Manifest, table: SampleTable, compressor: Compressor, encoder: OpenEncoder, sample: int
) -> Check:
    """Encode some rows again and compare their signatures with the stored ones."""
    picked = np.sort(np.random.default_rng().permutation(len(table))[:sample])
    logger.info("checking %d rows by encoding them again", len(picked))
    if View.PCA not in manifest.fingerprint.signatures.views:
        return Check("encoding", None, "not checked: there is no dense view to compare")
    column, steps = dense_column(Feature.UNIT), compressor.steps[Feature.UNIT]
    records = table.take(picked, [*SAMPLE_COLUMNS, column]).to_pylist()
    try:
        samples = [restore_sample(record, manifest.reading) for record in records]
        encoded = encoder().encode_again(samples).examples
    except NaitError as error:
        return Check("encoding", None, f"not checked: {error}")
    again = encoded.signatures[column].astype(np.float32) * steps
    stored = np.array([record[column] for record in records], dtype=np.float32) * steps
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(again, axis=1)
    cosines = np.where(lengths > 0, (stored * again).sum(axis=1) / np.maximum(lengths, 1e-30), 1.0)
    limit = _SAME_COSINE if manifest.fingerprint.dtype == "float32" else _SAME_COSINE_16_BIT
    worst = int(cosines.argmin())
    row_id = records[worst]["id"]
    detail = f"{len(records)} rows encoded again; lowest cosine {cosines[worst]:.6f} (row {row_id!r})"
    return Check("encoding", bool(cosines[worst] >= limit), detail)
