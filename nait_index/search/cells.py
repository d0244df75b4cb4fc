"""Rows in cells: clustered by their leading coordinates, and written cell after cell into files that a search maps.

FAISS finds the centers of the cells. A query reads the leading codes of the rows in the cells nearest to it, which lie
one after another, and nothing else of the files: so opening takes no longer for many rows than for few.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from nait_index.files import atomic_write
from nait_index.search.renewal import ranges
from nait_index.search.row_products import scan
from nait_index.store.engines import CELLS
from nait_index.store.samples import spread

LEADING = 256
"""Coordinates that rows are clustered by."""

STAMP, *FILES = CELLS
"""Endings of the files: what they belong to; the centers and sizes of the cells, with the queries that their recall is
measured on; the rows' ordinals, and their leading codes, by cell."""

_BLOCK = 65_536
_ASSIGNED = 4096
"""Rows that are compared with all centers at a time."""

_ITERATIONS = 10
_SAMPLE = 64
"""Rows a cell that the centers are found on."""


class Codes(Protocol):
    """The codes of all rows, in table order."""

    def block(self, start: int, end: int) -> np.ndarray:
        """Return the codes of some rows."""

    def take(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the codes of the rows with some ordinals."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows by cell.

    :param centers: (c, w) float32 coordinates; :param starts: (c + 1,) int64 positions at which the cells start, and n.
    :param order: (n,) int64 ordinals of the rows at all positions; :param codes: (n, w) their leading codes.
    """

    centers: np.ndarray
    starts: np.ndarray
    order: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.centers)

    @property
    def width(self) -> int:
        """Leading coordinates."""
        return int(self.centers.shape[1])

    def candidates(
        self, query: np.ndarray, steps: np.ndarray, count: int, visited: int, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Return the ordinals, rising, of rows in the cells of largest inner product with a query.

        :param query: (≥ w,) float32 in the units of the codes; :param steps: (w,) what one unit of each is worth.
        :param count: rows returned, those that score best by their leading codes.
        :param visited: cells. :param allowed: (n,) bool by ordinal, rows that may be returned.
        """
        query = query[: self.width]
        products = self.centers @ (query / steps)
        visited = min(visited, len(self))
        cells = np.sort(np.argpartition(products, len(self) - visited)[len(self) - visited :])
        positions = ranges(self.starts[cells], self.starts[cells + 1])
        ordinals = self.order[positions]
        if allowed is not None:
            passing = allowed[ordinals]
            positions, ordinals = positions[passing], ordinals[passing]
        if len(positions) > count:
            scores = scan(self.codes, query[None], os.cpu_count() or 1, positions)[0]
            ordinals = ordinals[np.argpartition(scores, len(scores) - count)[len(scores) - count :]]
        return np.sort(ordinals)

    @classmethod
    def cluster(cls, rows: Codes, count: int, steps: np.ndarray) -> "Cells":
        """Cluster all ``count`` rows, in memory.

        :param steps: (≥ w,) what one unit of each code is worth.
        """
        import faiss

        width, number = min(LEADING, len(steps)), round(count**0.5)
        kmeans = faiss.Kmeans(width, number, niter=_ITERATIONS, seed=0, spherical=True)
        kmeans.train(_coordinates(rows.take(spread(count, _SAMPLE * number)), steps[:width]))
        centers = np.asarray(kmeans.centroids, dtype=np.float32)
        spans = [(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
        cells = np.concatenate([_assign(rows.block(*span)[:, :width], steps[:width], centers) for span in spans])
        order = np.argsort(cells, kind="stable")
        position = np.empty(count, np.int64)
        position[order] = np.arange(count)
        codes = np.empty((count, width), rows.block(0, 1).dtype)
        for start, end in spans:
            codes[position[start:end]] = rows.block(start, end)[:, :width]
        return cls(centers, _starts(cells, number), order, codes)

    def grown(self, new_of_old: np.ndarray, fresh: np.ndarray, rows: Codes, steps: np.ndarray) -> "Cells":
        """Take in fresh rows, and leave out those that are gone, in memory.

        :param new_of_old: (n,) int64 the ordinals that the rows have now, -1 for those that are gone.
        :param fresh: (m,) int64 ordinals of the fresh rows; :param rows: all that there are now.
        """
        spans = [fresh[start : start + _BLOCK] for start in range(0, len(fresh), _BLOCK)]
        codes = np.concatenate([self.codes[:0], *(rows.take(span)[:, : self.width] for span in spans)])
        ordinals = new_of_old[self.order]
        kept = np.flatnonzero(ordinals >= 0)
        cells = np.repeat(np.arange(len(self)), np.diff(self.starts))[kept]
        cells = np.concatenate([cells, _assign(codes, steps[: self.width], self.centers)])
        order = np.argsort(cells, kind="stable")
        merged = np.empty((len(order), self.width), codes.dtype)
        for start in range(0, len(order), _BLOCK):
            some, part = order[start : start + _BLOCK], merged[start : start + _BLOCK]
            is_kept = some < len(kept)
            part[is_kept] = self.codes.take(kept[some[is_kept]], axis=0)
            part[~is_kept] = codes[some[~is_kept] - len(kept)]
        return Cells(self.centers, _starts(cells, len(self)), np.concatenate([ordinals[kept], fresh])[order], merged)

    def check_order(self) -> None:
        """Check that the ordinals are those of all rows.

        :raises ValueError: a row is not there, or there twice.
        """
        named = np.zeros(len(self.order), bool)
        if len(named) and 0 <= self.order.min() <= self.order.max() < len(named):
            named[self.order] = True
        if not named.all():
            raise ValueError("the files of the cells do not name every row once")

    def save(self, folder: Path, name: str, queries: np.ndarray) -> None:
        """Write the files, but for the stamp.

        :param queries: (q, d) float32, kept beside the centers. :raises NaitError: they cannot be written.
        """
        from safetensors.numpy import save

        small, order, codes = (folder / f"{name}{ending}" for ending in FILES)
        for path, array in ((order, self.order), (codes, self.codes)):
            with atomic_write(path) as file:
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
                file.write(np.ascontiguousarray(array).data)
        with atomic_write(small) as file:
            file.write(save({"centers": self.centers, "starts": self.starts, "queries": np.ascontiguousarray(queries)}))

    @classmethod
    def open(cls, folder: Path, name: str) -> "tuple[Cells, np.ndarray]":
        """Map the files, and read the queries beside them.

        :raises ValueError: they do not fit each other. :raises OSError: one is missing.
        """
        from safetensors.numpy import load

        small, order_path, codes_path = (folder / f"{name}{ending}" for ending in FILES)
        arrays = load(small.read_bytes())
        centers, starts = arrays["centers"], arrays["starts"]
        order, codes = np.load(order_path, mmap_mode="r"), np.load(codes_path, mmap_mode="r")
        shapes = starts.shape == (len(centers) + 1,) and codes.shape == (*order.shape, centers.shape[-1])
        types = centers.dtype == np.float32 and starts.dtype == order.dtype == np.int64
        if not (shapes and types and starts[0] == 0 and (np.diff(starts) >= 0).all() and starts[-1] == len(order)):
            raise ValueError("the files of the cells do not fit each other")
        return cls(centers, starts, order, codes), arrays["queries"]


def _coordinates(codes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes[:, : len(steps)] * steps, dtype=np.float32)


def _assign(codes: np.ndarray, steps: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the cell (b,) int64 of each row: the one whose center has the largest inner product with it."""
    columns = np.ascontiguousarray(centers.T)
    parts = [
        (_coordinates(codes[start : start + _ASSIGNED], steps) @ columns).argmax(axis=1)
        for start in range(0, len(codes), _ASSIGNED)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _starts(cells: np.ndarray, number: int) -> np.ndarray:
    return np.concatenate([[0], np.bincount(cells, minlength=number).cumsum()]).astype(np.int64)
