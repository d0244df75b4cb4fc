"""The exact scan of one signature column, from a copy of it: one file that is mapped into memory, not read on opening.

The copy is a cache of the table, and belongs to one version of it (:mod:`nait_index.search.copies`).
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from nait_index.errors import StoreError
from nait_index.files import atomic_write, explained, hash_bytes
from nait_index.search.hits import SAMPLED
from nait_index.search.placement import OnProcessor, Products
from nait_index.search.row_products import scan, whole
from nait_index.search.row_sums import row_sums
from nait_index.store.fragments import Fragment
from nait_index.store.samples import spread
from nait_index.store.sealed import read_sealed, write_sealed

_CHECKED = 65_536
"""Rows whose checksums are compared at a time."""

_MEASURED = 256
"""Rows whose lengths are taken at a time, so that they stay in the processor's cache."""

_FEW = 0.25
"""Share of the rows up to which reading them one by one takes less time than reading all."""


@dataclass(frozen=True, slots=True)
class ScanStamp:
    """The state of the table that a copy was made from.

    :param dim: columns scanned, the first ones of the signature.
    :param files: hash of the table's files, since another table at the same place may have as many rows and versions.
    """

    table_version: int
    rows: int
    dim: int
    dtype: str
    files: str = ""

    def count_read(self, passing: int | None) -> int:
        """Return how many rows a search reads: of a filter that few pass, only these; ``None`` for no filter."""
        are_few = self.dtype == "int8" and passing is not None and passing <= _FEW * self.rows
        return passing if are_few and passing is not None else self.rows


class ExactScan:
    """A signature column, ready to be scanned.

    :param rows: (n, d) int8 or float32, in table order; :param longest: length of the longest row.
    :param sums: (n,) uint64 checksums of the rows, where they are in a file; :param digest: hash of these.
    """

    def __init__(
        self, rows: np.ndarray, longest: float, stamp: ScanStamp, sums: np.ndarray | None = None, digest: str = ""
    ) -> None:
        self.rows = rows
        self.stamp = stamp
        self.longest = longest
        #: What multiplies the rows with queries.
        self.products: Products = OnProcessor()
        self.sums = sums
        self._hash = digest

    @classmethod
    def build(cls, batches: Iterable[np.ndarray], stamp: ScanStamp) -> "ExactScan":
        """Copy signatures (b, ≥ d), in table order, into memory.

        :raises StoreError: the batches do not add up to the rows of the stamp.
        """
        rows = np.empty((stamp.rows, stamp.dim), dtype=stamp.dtype)
        longest = 0.0
        for start, part in _placed(batches, stamp):
            rows[start : start + len(part)] = part
            longest = max(longest, longest_of(part))
        return cls(rows, longest, stamp)

    @classmethod
    def write(
        cls,
        folder: Path,
        name: str,
        batches: "Iterable[np.ndarray | Copied]",
        stamp: ScanStamp,
        fragments: Sequence[Fragment] = (),
    ) -> None:
        """Write the copy batch by batch. Its stamp is written last, so that a torn write is never opened.

        :param fragments: which rows of the table these are.
        :raises NaitError: the files cannot be written. :raises StoreError: as for :meth:`build`.
        """
        stamp_path = folder / f"{name}.json"
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stamp_path.unlink(missing_ok=True)
        longest, digest = 0.0, hashlib.blake2b(digest_size=16)
        with atomic_write(folder / f"{name}.npy") as file, atomic_write(folder / f"{name}.sums") as sums_file:
            file.write(_header(stamp))
            for _, part in _placed(batches, stamp):
                if isinstance(part, Copied):
                    rows, sums = part.rows, part.sums
                    longest = max(longest, part.source.longest)
                else:
                    rows = np.ascontiguousarray(part)
                    sums = row_sums(rows)
                    longest = max(longest, longest_of(rows))
                file.write(rows.data)
                sums_file.write(sums.data)
                digest.update(sums.data)
        state = {"stamp": asdict(stamp)}
        write_sealed(folder / f"{name}.rows.json", state | {"fragments": [part.record() for part in fragments]})
        write_sealed(stamp_path, state | {"longest": longest, "hash": digest.hexdigest()})

    @staticmethod
    def is_current(folder: Path, name: str, stamp: ScanStamp) -> bool:
        """Report whether the copy is finished and of this state of the table, as far as it can be read.

        It may still be damaged.
        """
        path = folder / f"{name}.json"
        facts = read_sealed(path)
        return path.is_file() if facts is None else facts["stamp"] == asdict(stamp)

    @classmethod
    def open(cls, folder: Path, name: str, stamp: ScanStamp) -> "ExactScan | None":
        """Map the copy; ``None`` where its files are missing, truncated, or of another state of the table."""
        facts = read_sealed(folder / f"{name}.json")
        if facts is None or facts["stamp"] != asdict(stamp):
            return None
        path, header = folder / f"{name}.npy", _header(stamp)
        try:
            with path.open("rb") as file:
                as_stamped = file.read(len(header)) == header
            size = len(header) + stamp.rows * stamp.dim * np.dtype(stamp.dtype).itemsize
            sizes = os.path.getsize(path), os.path.getsize(folder / f"{name}.sums")
            if not as_stamped or sizes != (size, 8 * stamp.rows):
                return None
            rows = np.memmap(path, np.dtype(stamp.dtype), "r", len(header), (stamp.rows, stamp.dim))
            sums = np.memmap(folder / f"{name}.sums", "<u8", "r", shape=(stamp.rows,))
        except (OSError, ValueError):
            return None
        return cls(rows, float(facts["longest"]), stamp, sums, facts["hash"])

    def block(self, start: int, end: int) -> np.ndarray:
        """Return the codes of some rows in table order."""
        return self.rows[start:end]

    def take(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the codes of the rows with some ordinals."""
        return self.rows.take(ordinals, axis=0)

    def has_whole_sums(self) -> bool:
        """Return whether the checksums are as they were written."""
        return self.sums is not None and hash_bytes(self.sums.data) == self._hash

    def is_whole(self) -> bool:
        """Read every byte and return whether the copy is as it was written."""
        if self.sums is None or not self.has_whole_sums():
            return False
        starts = range(0, len(self.rows), _CHECKED)
        return all(
            np.array_equal(row_sums(self.block(start, start + _CHECKED)), self.sums[start : start + _CHECKED])
            for start in starts
        )

    def scores(self, queries: np.ndarray, threads: int | None = None) -> np.ndarray:
        """Score every row by every query.

        :param queries: (q, d) float32, or wider: columns beyond the scanned ones are ignored.
        :param threads: that scan; ``None`` is one per core.
        :returns: (q, n) float32 inner products, exact but for the rounding of the query, see
            :func:`~.row_products.whole`.
        """
        threads = threads or os.cpu_count() or 1
        return self._scores(queries, lambda numbers: self.products.multiply(self.rows, numbers, threads))

    def scores_at(self, ordinals: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Score the rows with these ordinals, and read no others: (q, m) float32, the same numbers as in all scores."""
        return self._scores(queries, lambda numbers: scan(self.rows, numbers, os.cpu_count() or 1, ordinals))

    def scores_among(self, allowed: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Score the rows that are allowed (n,) bool, and a sample, and give all others -inf: (q, n) float32."""
        read = allowed.copy()
        read[spread(len(read), SAMPLED)] = True
        scores = np.full((len(queries), len(read)), -np.inf, np.float32)
        scores[:, read] = self.scores_at(np.flatnonzero(read), queries)
        return scores

    def _scores(self, queries: np.ndarray, multiply: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        queries = np.ascontiguousarray(queries[:, : self.stamp.dim], dtype=np.float32)
        if self.rows.dtype != np.int8:
            return multiply(queries)
        numbers, units = whole(queries, self.longest)
        scores = multiply(numbers)
        scores *= units[:, None].astype(np.float32)
        return scores


@dataclass(frozen=True, slots=True)
class Copied:
    """Rows ``start`` to ``end`` of another copy, of which the longest row is in the new one too."""

    source: ExactScan
    start: int
    end: int

    @property
    def rows(self) -> np.ndarray:
        """(end - start, d)."""
        return self.source.rows[self.start : self.end]

    @property
    def sums(self) -> np.ndarray:
        """(end - start,) uint64."""
        assert self.source.sums is not None
        return self.source.sums[self.start : self.end]

    def __len__(self) -> int:
        return self.end - self.start


_Batch = TypeVar("_Batch", np.ndarray, "np.ndarray | Copied")


def _placed(batches: Iterable[_Batch], stamp: ScanStamp) -> Iterable[tuple[int, _Batch]]:
    """Yield the ordinal of each batch's first row, and its scanned columns."""
    start = 0
    for batch in batches:
        if start + len(batch) <= stamp.rows:
            yield start, batch if isinstance(batch, Copied) else batch[:, : stamp.dim]
        start += len(batch)
    if start != stamp.rows:
        raise StoreError(f"the table returned {start} rows, not the expected {stamp.rows}; run 'nait-index verify'")


def rounded(query: np.ndarray, stamp: ScanStamp, longest: float) -> np.ndarray:
    """Return a query (≥ d,) as it is scanned: rounded by :func:`~.row_products.whole`, 0 beyond the scanned columns.

    :param longest: length of the longest row.
    """
    scanned = np.zeros_like(query)
    leading = query[: stamp.dim]
    if stamp.dtype == "int8":
        numbers, units = whole(leading[None].astype(np.float32), longest)
        leading = numbers[0] * units[0]
    scanned[: stamp.dim] = leading
    return scanned


def longest_of(rows: np.ndarray) -> float:
    """Return the length of the longest of some rows (b, d); 0 if there are none."""
    longest = 0.0
    for start in range(0, len(rows), _MEASURED):
        values = rows[start : start + _MEASURED].astype(np.float32)
        longest = max(longest, float(np.sqrt(np.einsum("nd,nd->n", values, values).max())))
    return longest


def _header(stamp: ScanStamp) -> bytes:
    """Return the first bytes of the file, so that anything that reads .npy files can read it."""
    header = io.BytesIO()
    described = {"descr": np.dtype(stamp.dtype).str, "fortran_order": False, "shape": (stamp.rows, stamp.dim)}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()
