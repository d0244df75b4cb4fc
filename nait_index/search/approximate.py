"""Approximate search for the few best rows of many: FAISS's inverted lists first, exact scores for what they return.

The rows are clustered by their leading coordinates, which hold most of their variance. A query visits the cells nearest
to it, takes the best candidates by those coordinates, and scores them exactly by the whole codes. How many cells must
be visited is measured against the exact scan when the search is built, and the recall reached is stored beside it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.config import SearchMode
from nait_index.errors import NaitError
from nait_index.files import atomic_write, hash_bytes
from nait_index.search.hits import Hits, best
from nait_index.search.joint import LEADING, Scan
from nait_index.store.sealed import read_sealed, write_sealed

MOST = 1000
"""Most rows that an approximate search returns; for more, an exact scan costs little more."""

_DEPTHS = (4, 8, 16, 32)
_MEASURED = 100  # rows requested when recall is measured
_WANTED = 0.99
_LEAST_ROWS = 10_000
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Recall:
    """What was measured when an approximate search was built.

    :param cells: number of cells; :param visited: how many of them a query visits.
    :param depth: candidates scored exactly per requested row.
    :param lowest: recall of the exact 100 best for the worst query; :param mean: averaged over all ``queries``.
    """

    cells: int
    visited: int
    depth: int
    queries: int
    lowest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How a search is done, and the reason in words."""

    mode: SearchMode
    why: str


def make_plan(
    wanted: SearchMode, k: int, rows: int, width: int, queries: int, *, filtered: bool, recall: Recall | None
) -> Plan:
    """Decide between the exact scan and an approximate search, which is never used unasked.

    :param k: rows requested; :param rows: rows there are, each of :param width: scanned bytes.
    :param recall: of the approximate search, where the index has one.
    """
    times = f"once for {queries} capabilities" if queries > 1 else "once"
    scan = f"exact scan: every row scored, {rows:,} x {width:,} bytes read {times}"
    if wanted is SearchMode.EXACT:
        return Plan(SearchMode.EXACT, scan)
    if recall is None:
        reason = "there is no approximate search of this version ('build --approximate' and 'optimize' make one)"
    elif filtered:
        reason = "an approximate search cannot filter or blend"
    elif k > MOST:
        reason = f"approximate search returns at most {MOST:,} rows, not {k:,}"
    else:
        return Plan(
            SearchMode.APPROXIMATE,
            f"approximate: {recall.visited} of {recall.cells:,} cells visited, candidates scored exactly; of the best "
            f"100 it found {recall.mean:.1%} on average and {recall.lowest:.0%} at worst, measured on {recall.queries} "
            "queries when it was made",
        )
    return Plan(SearchMode.EXACT, f"{scan}, since {reason}")


class Approximate:
    """An approximate search over the rows of an exact scan.

    :param index: FAISS's. :param steps: (d,) what one unit of each code is worth.
    """

    def __init__(self, index: Any, exact: Scan, steps: np.ndarray, recall: Recall) -> None:  # noqa: ANN401 - untyped
        self.recall = recall
        self._index = index
        self._exact = exact
        self._steps = steps
        self._width = min(LEADING, exact.stamp.dim)
        index.nprobe = recall.visited

    @classmethod
    def build(cls, exact: Scan, steps: np.ndarray, queries: np.ndarray) -> "Approximate":
        """Cluster the rows, and measure how many cells must be visited.

        :param queries: (q, d) float32 in the units of the codes, like those that will be asked.
        :raises NaitError: there are too few rows for it to be useful.
        """
        rows = exact.stamp.rows
        if rows < _LEAST_ROWS:
            raise NaitError(
                f"approximate search needs at least {_LEAST_ROWS:,} rows, and this index has {rows:,}; leave "
                "out --approximate: an exact scan takes milliseconds"
            )
        index = _clustered(exact, steps)
        cells = index.nlist
        expected = [set(best(scores, _MEASURED).ordinals[:_MEASURED].tolist()) for scores in exact.scores(queries)]

        def measured(visited: int, depth: int) -> Recall:
            search = cls(index, exact, steps, Recall(cells, visited, depth, len(queries), 0, 0))
            shares = [
                len(right & set(search.search(query, _MEASURED).ordinals.tolist())) / _MEASURED
                for right, query in zip(expected, queries, strict=True)
            ]
            return Recall(cells, visited, depth, len(queries), min(shares), round(float(np.mean(shares)), 4))

        # First how many candidates the leading coordinates must supply, then how few cells are enough.
        deep = (measured(cells, depth) for depth in _DEPTHS)
        depth = next((recall.depth for recall in deep if recall.mean >= _WANTED), _DEPTHS[-1])
        tries = (measured(min(2**power, cells), depth) for power in range(1, cells.bit_length() + 1))
        recall = next(recall for recall in tries if recall.mean >= _WANTED or recall.visited == cells)
        return cls(index, exact, steps, recall)

    def search(self, query: np.ndarray, k: int) -> Hits:
        """Return about the ``k`` best rows with exact scores, and never fewer than an exact scan would.

        :param query: (d,) float32 in the units of the codes.
        """
        vector = query[: self._exact.stamp.dim]
        leading = (vector / self._steps[: len(vector)])[None, : self._width]
        _, ordinals = self._index.search(np.ascontiguousarray(leading, dtype=np.float32), self.recall.depth * k)
        candidates = np.sort(ordinals[0][ordinals[0] >= 0])
        if len(candidates) < k:  # the visited cells hold too few rows
            return best(self._exact.scores(vector[None])[0], k)
        hits = best(self._exact.scores_at(candidates, vector[None])[0], k)
        return Hits(hits.scores, candidates[hits.ordinals])

    def save(self, folder: Path, name: str) -> None:
        """Write the search; its stamp is written last.

        :raises NaitError: it cannot be written.
        """
        from safetensors.numpy import save

        data = save(_arrays(self._index))
        (folder / f"{name}.ivf.json").unlink(missing_ok=True)
        with atomic_write(folder / f"{name}.ivf") as file:
            file.write(data)
        facts = {"stamp": asdict(self._exact.stamp), "recall": asdict(self.recall), "hash": hash_bytes(data)}
        write_sealed(folder / f"{name}.ivf.json", facts)

    @classmethod
    def load(cls, folder: Path, name: str, exact: Scan, steps: np.ndarray) -> "Approximate | None":
        """Read a search; ``None`` where there is none for this state of the table."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        facts = read_sealed(folder / f"{name}.ivf.json")
        try:
            data = (folder / f"{name}.ivf").read_bytes()
            if facts is None or facts["stamp"] != asdict(exact.stamp) or facts["hash"] != hash_bytes(data):
                return None
            recall = Recall(**facts["recall"])
            index = _index_of(load(data), exact.stamp.rows, recall.cells)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        return cls(index, exact, steps, recall)


def _clustered(exact: Scan, steps: np.ndarray) -> Any:  # noqa: ANN401
    """Train FAISS's inverted lists on the leading coordinates of all rows, and add them."""
    faiss = import_faiss()
    rows, width = exact.stamp.rows, min(LEADING, exact.stamp.dim)
    cells = round(rows**0.5)
    index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.parallel_mode = 1  # over the cells of one query
    index.cp.niter, index.cp.seed = 10, 0
    index.train(_coordinates(exact.block(0, 64 * cells), steps, width))
    for start in range(0, rows, _BLOCK):
        index.add(_coordinates(exact.block(start, start + _BLOCK), steps, width))
    return index


def _arrays(index: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    """Return the arrays of FAISS's index. Its own file format is not used: FAISS trusts what it reads."""
    faiss = import_faiss()
    lists, cells = index.invlists, index.nlist
    sizes = np.array([lists.list_size(cell) for cell in range(cells)], dtype=np.int64)
    filled = [(cell, int(size)) for cell, size in enumerate(sizes) if size]
    ids = [faiss.rev_swig_ptr(lists.get_ids(cell), size).copy() for cell, size in filled]
    width = index.code_size
    codes = [
        faiss.rev_swig_ptr(lists.get_codes(cell), size * width).reshape(size, width).copy() for cell, size in filled
    ]
    return {
        "centroids": faiss.downcast_index(index.quantizer).reconstruct_n(0, cells),
        "ranges": faiss.vector_to_array(index.sq.trained),
        "sizes": sizes,
        "ids": np.concatenate(ids).astype(np.int64),
        "codes": np.concatenate(codes),
    }


def _index_of(arrays: Mapping[str, np.ndarray], rows: int, cells: int) -> Any:  # noqa: ANN401
    """Rebuild FAISS's index from its arrays.

    :raises ValueError: the arrays do not fit each other.
    """
    faiss = import_faiss()
    centroids, ranges, sizes, ids, codes = (arrays[name] for name in ("centroids", "ranges", "sizes", "ids", "codes"))
    width = centroids.shape[-1]
    expected = {"centroids": (cells, width), "ranges": (2 * width,), "sizes": (cells,), "ids": (rows,)}
    expected["codes"] = (rows, width)
    types = {"centroids": np.float32, "ranges": np.float32, "sizes": np.int64, "ids": np.int64, "codes": np.uint8}
    fitting = all(arrays[name].shape == expected[name] and arrays[name].dtype == types[name] for name in expected)
    if not fitting or sizes.min() < 0 or sizes.sum() != rows or not np.array_equal(np.sort(ids), np.arange(rows)):
        raise ValueError("not the arrays of an inverted file")
    quantizer = faiss.IndexFlatIP(width)
    quantizer.add(centroids)
    kind = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexIVFScalarQuantizer(quantizer, width, cells, kind, faiss.METRIC_INNER_PRODUCT)
    index.referenced_objects = [quantizer]  # which FAISS does not own
    faiss.copy_array_to_vector(ranges, index.sq.trained)
    index.is_trained, index.ntotal, index.parallel_mode = True, rows, 1
    start = 0
    for cell, size in enumerate(sizes):
        cell_ids, cell_codes = ids[start : start + size].copy(), codes[start : start + size].copy()
        if size:
            index.invlists.add_entries(cell, int(size), faiss.swig_ptr(cell_ids), faiss.swig_ptr(cell_codes))
        start += size
    return index


def import_faiss() -> Any:  # noqa: ANN401 - faiss is untyped
    """Import FAISS, which one of two extras installs.

    :raises NaitError: neither is installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise NaitError(
            f"FAISS is not installed ({error}): pip install 'nait-index[cpu]', or [gpu] on a GPU"
        ) from error
    return faiss


def _coordinates(codes: np.ndarray, steps: np.ndarray, width: int) -> np.ndarray:
    return np.ascontiguousarray(codes[:, :width] * steps[:width], dtype=np.float32)
