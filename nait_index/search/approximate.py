"""Approximate search for the few best rows of many: FAISS's inverted lists first, exact scores for what they find.

The rows are clustered by their leading coordinates, which hold most of their variance. A query visits the cells nearest
to it, takes the best candidates by those coordinates, and scores them exactly by the whole codes. How many cells must
be visited is measured when it is built, against the exact scan; the recall reached is kept beside it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.errors import NaitError
from nait_index.files import atomic_write
from nait_index.search.engine import Engine, read_stamp, seal
from nait_index.search.hits import Hits, best

MOST = 1000
"""Rows that an approximate search is asked for at most; beyond, an exact scan costs little more."""

_COORDINATES = 256
_DEPTHS = (4, 8, 16, 32)
_MEASURED = 100  # rows asked for when recall is measured
_WANTED = 0.99
_LEAST_ROWS = 10_000
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Recall:
    """What was measured when an approximate search was built.

    :param cells: how many there are; :param visited: how many a query visits.
    :param depth: candidates that are scored exactly for every row asked for.
    :param lowest: share of the exact 100 best that it finds, of the worst query; :param mean: of all ``queries``.
    """

    cells: int
    visited: int
    depth: int
    queries: int
    lowest: float
    mean: float


class Approximate:
    """An approximate search over one engine.

    :param index: FAISS's. :param steps: (d,) what one unit of each code is worth.
    """

    def __init__(self, index: Any, engine: Engine, steps: np.ndarray, recall: Recall) -> None:  # noqa: ANN401 - untyped
        self.recall = recall
        self._index = index
        self._engine = engine
        self._steps = steps
        self._width = min(_COORDINATES, engine.stamp.dim)
        index.nprobe = recall.visited

    @classmethod
    def build(cls, engine: Engine, steps: np.ndarray, queries: np.ndarray) -> "Approximate":
        """Cluster the rows of an engine, and find how many cells must be visited.

        :param queries: (q, d) float32 in the units of the codes, such as will be asked.
        :raises NaitError: there are too few rows for it to be of use.
        """
        rows = engine.rows
        if len(rows) < _LEAST_ROWS:
            raise NaitError(
                f"approximate search is for {_LEAST_ROWS:,} rows and more, this index has {len(rows):,}; leave out "
                "--approximate: an exact scan takes milliseconds"
            )
        faiss = import_faiss()
        width, cells = min(_COORDINATES, rows.shape[1]), round(len(rows) ** 0.5)
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.parallel_mode = 1  # over the cells of one query
        index.cp.niter, index.cp.seed = 10, 0
        index.train(_coordinates(rows[: 64 * cells], steps, width))
        for at in range(0, len(rows), _BLOCK):
            index.add(_coordinates(rows[at : at + _BLOCK], steps, width))
        exact = [set(best(scores, _MEASURED).ordinals[:_MEASURED].tolist()) for scores in engine.scores(queries)]

        def measured(visited: int, depth: int) -> Recall:
            found = cls(index, engine, steps, Recall(cells, visited, depth, len(queries), 0, 0))
            shares = [
                len(own & set(found.search(query, _MEASURED).ordinals.tolist())) / _MEASURED
                for own, query in zip(exact, queries, strict=True)
            ]
            return Recall(cells, visited, depth, len(queries), min(shares), round(float(np.mean(shares)), 4))

        # First how deep the leading coordinates must be trusted, then how few cells are enough.
        deep = (measured(cells, depth) for depth in _DEPTHS)
        depth = next((own.depth for own in deep if own.mean >= _WANTED), _DEPTHS[-1])
        tries = (measured(min(2**power, cells), depth) for power in range(1, cells.bit_length() + 1))
        recall = next(own for own in tries if own.mean >= _WANTED or own.visited == cells)
        return cls(index, engine, steps, recall)

    def search(self, query: np.ndarray, k: int) -> Hits:
        """Give about the ``k`` best rows, with exact scores; never fewer than an exact scan gives.

        :param query: (d,) float32 in the units of the codes.
        """
        vector = query[: self._engine.stamp.dim]
        leading = (vector / self._steps[: len(vector)])[None, : self._width]
        _, found = self._index.search(np.ascontiguousarray(leading, dtype=np.float32), self.recall.depth * k)
        candidates = np.sort(found[0][found[0] >= 0])
        if len(candidates) < k:  # the cells visited hold too few
            return best(self._engine.scores(vector[None])[0], k)
        hits = best(self._engine.scores_at(candidates, vector[None])[0], k)
        return Hits(hits.scores, candidates[hits.ordinals])

    def save(self, folder: Path, name: str) -> None:
        """Write it; its stamp comes last.

        :raises NaitError: it cannot be written.
        """
        from safetensors.numpy import save

        data = save(_arrays(self._index))
        (folder / f"{name}.ivf.json").unlink(missing_ok=True)
        with atomic_write(folder / f"{name}.ivf") as file:
            file.write(data)
        own = {"stamp": asdict(self._engine.stamp), "recall": asdict(self.recall), "hash": _hash(data)}
        with atomic_write(folder / f"{name}.ivf.json") as file:
            file.write(json.dumps(own | {"seal": seal(own)}).encode())

    @classmethod
    def load(cls, folder: Path, name: str, engine: Engine, steps: np.ndarray) -> "Approximate | None":
        """Read it, or give ``None`` where there is none, or none of this state of the table."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        found = read_stamp(folder / f"{name}.ivf.json")
        try:
            data = (folder / f"{name}.ivf").read_bytes()
            if found is None or found["stamp"] != asdict(engine.stamp) or found["hash"] != _hash(data):
                return None
            recall = Recall(**found["recall"])
            index = _index_of(load(data), len(engine.rows), recall.cells)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        return cls(index, engine, steps, recall)


def _arrays(index: Any) -> dict[str, np.ndarray]:  # noqa: ANN401
    """Take FAISS's index apart. Its own format is not kept: FAISS trusts what it reads, arrays can be checked."""
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
    """Put FAISS's index together again.

    :raises ValueError: the arrays do not fit each other.
    """
    faiss = import_faiss()
    centroids, ranges, sizes, ids, codes = (arrays[own] for own in ("centroids", "ranges", "sizes", "ids", "codes"))
    width = centroids.shape[-1]
    expected = {"centroids": (cells, width), "ranges": (2 * width,), "sizes": (cells,), "ids": (rows,)}
    expected["codes"] = (rows, width)
    types = {"centroids": np.float32, "ranges": np.float32, "sizes": np.int64, "ids": np.int64, "codes": np.uint8}
    fitting = all(arrays[own].shape == expected[own] and arrays[own].dtype == types[own] for own in expected)
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
        own_ids, own_codes = ids[start : start + size].copy(), codes[start : start + size].copy()
        if size:
            index.invlists.add_entries(cell, int(size), faiss.swig_ptr(own_ids), faiss.swig_ptr(own_codes))
        start += size
    return index


def import_faiss() -> Any:  # noqa: ANN401 - faiss is untyped
    """Import FAISS, which comes with one of two extras.

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


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
