"""The indexes that ``benchmarks.search.engines`` compares, over the same made-up rows."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.search.speed import make_queries, make_rows
from nait_index.search.approximate import Recall
from nait_index.search.cells import Cells
from nait_index.search.exact import ExactScan, ScanStamp, longest_of

_BLOCK = 65_536


class MadeUp:
    """Made-up rows, those that are added later, and queries."""

    def __init__(self, folder: Path, rows: int, dim: int) -> None:
        self.folder = folder
        self.rows = rows
        self.added = rows // 100
        self.codes, self.steps = make_rows(folder / "rows.npy", rows + self.added, dim)
        self.longest = max(
            longest_of(self.codes[start : start + _BLOCK]) for start in range(0, len(self.codes), _BLOCK)
        )
        rng = np.random.default_rng(7)
        self.part = rng.integers(100, size=len(self.codes), dtype=np.int16)
        self.tuning = make_queries(self.codes[1024:], self.steps, 16)
        self.queries = make_queries(self.codes, self.steps, 8)

    def exact(self, rows: int) -> ExactScan:
        """Return the exact scan of the first rows."""
        stamp = ScanStamp(1, rows, self.codes.shape[1], "int8")
        return ExactScan(self.codes[:rows], self.longest, stamp)

    def leading(self, start: int, end: int, width: int) -> np.ndarray:
        """Return the leading coordinates (b, width) of some rows."""
        return np.ascontiguousarray(self.codes[start:end, :width] * self.steps[:width], dtype=np.float32)

    def coordinates(self, query: np.ndarray, width: int) -> np.ndarray:
        """Return the leading coordinates (width,) of a query."""
        return np.asarray((query / self.steps)[:width], dtype=np.float32)

    def passing(self, one_of: int, rows: int) -> np.ndarray:
        """Return which of the first rows (n,) pass a filter."""
        return np.asarray(self.part[:rows] < 100 // one_of)


class Engine(Protocol):
    """An index over leading coordinates."""

    cells: int
    width: int

    def candidates(self, query: np.ndarray, count: int, visited: int, one_of: int | None) -> np.ndarray:
        """Return the ordinals of about the ``count`` best rows, of those that pass a filter if there is one."""

    def add(self, start: int, end: int) -> None:
        """Take in more rows."""

    def size(self) -> dict[str, int]:
        """Return what lies on disk, in bytes."""

    def reopen(self) -> None:
        """Open the files as a new process would."""


class Ours:
    """The cells of ``build --approximate``."""

    def __init__(self, made: MadeUp, _kind: str) -> None:
        self._made = made
        self._keep(Cells.cluster(made.exact(made.rows), made.rows, made.steps))
        self.width, self.cells = self._cells.width, len(self._cells)

    def _keep(self, cells: Cells) -> None:
        self._cells = cells
        cells.save(self._made.folder, "made-up", self._made.tuning)
        self.reopen()

    def reopen(self) -> None:
        """Map the files."""
        self._cells, _ = Cells.open(self._made.folder, "made-up")

    def add(self, start: int, end: int) -> None:
        """Put rows into the cells, and write all of them."""
        rows, fresh = self._made.exact(end), np.arange(start, end)
        self._keep(self._cells.grown(np.arange(start), fresh, rows, self._made.steps))

    def candidates(self, query: np.ndarray, count: int, visited: int, one_of: int | None) -> np.ndarray:
        """Search the nearest cells, more of them where fewer rows pass, and none where those are few."""
        allowed, rows = None, len(self._cells.order)
        if one_of is not None:
            allowed = self._made.passing(one_of, rows)
            passing = int(np.count_nonzero(allowed))
            visited = Recall(self.cells, visited, 0, 0, 0, 0).visits(passing, rows)
            if visited == self.cells:
                return np.flatnonzero(allowed)
        return self._cells.candidates(query, self._made.steps[: self.width], count, visited, allowed)

    def size(self) -> dict[str, int]:
        """Return the bytes of the files."""
        return {"index": sum(path.stat().st_size for path in self._made.folder.glob("made-up.*"))}


class Faiss:
    """Inverted lists of bytes in FAISS's own file."""

    width = 256
    _index: Any

    def __init__(self, made: MadeUp, _kind: str) -> None:
        import faiss

        self._made = made
        self.cells = round(made.rows**0.5)
        self._index = faiss.index_factory(self.width, f"IVF{self.cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        self._index.parallel_mode = 1
        self._index.cp.niter, self._index.cp.seed = 10, 0
        self._index.train(made.leading(0, 64 * self.cells, self.width))
        self.path = made.folder / "faiss.index"
        self.add(0, made.rows)

    def add(self, start: int, end: int) -> None:
        """Put rows into the lists, and write all of them."""
        import faiss

        for first in range(start, end, _BLOCK):
            self._index.add(self._made.leading(first, min(end, first + _BLOCK), self.width))
        faiss.write_index(self._index, str(self.path))
        self._allowed: dict[int, Any] = {}

    def reopen(self) -> None:
        """Read the file."""
        import faiss

        self._index = faiss.read_index(str(self.path))
        self._index.parallel_mode = 1

    def candidates(self, query: np.ndarray, count: int, visited: int, one_of: int | None) -> np.ndarray:
        """Search the nearest cells, with a bitmap of the rows that pass."""
        import faiss

        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = visited
        if one_of is not None:
            mask = self._made.passing(one_of, self._index.ntotal)
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
            parameters.sel = selector
        leading = self._made.coordinates(query, self.width)
        _, ordinals = self._index.search(leading[None], count, params=parameters)
        return np.asarray(ordinals[0][ordinals[0] >= 0])

    def size(self) -> dict[str, int]:
        """Return the bytes of the file."""
        return {"index": self.path.stat().st_size}


class Lance:
    """A Lance table of leading coordinates as float16, with an index of its own."""

    def __init__(self, made: MadeUp, kind: str) -> None:
        import lance

        name, width = kind.split("-")
        self.width = int(width)
        self._made = made
        self.path = made.folder / f"{kind}.lance"
        self.cells = round(made.rows**0.5)
        lance.write_dataset(self._batches(0, made.rows), str(self.path), schema=self._schema())
        self._data = lance.dataset(str(self.path))
        options: dict[str, Any] = {"num_partitions": self.cells, "sample_rate": 64, "max_iterations": 10}
        if name == "IVF_HNSW_SQ":
            self.cells = options["num_partitions"] = max(1, made.rows // 500_000)
            options |= {"m": 20, "ef_construction": 150}
        if name.startswith("IVF_RQ"):
            options["num_bits"] = int(name[6:] or 1)
            name = "IVF_RQ"
        self._is_graph = name == "IVF_HNSW_SQ"
        self.written = time.monotonic()
        self._data.create_index("leading", name, name="leading", metric="dot", **options)
        self.reopen()

    def _schema(self) -> Any:  # noqa: ANN401 - a schema of pyarrow
        import pyarrow as pa

        return pa.schema([("leading", pa.list_(pa.float16(), self.width)), ("part", pa.int16())])

    def _batches(self, start: int, end: int) -> Iterator[Any]:
        import pyarrow as pa

        for first in range(start, end, 8192):
            last = min(end, first + 8192)
            values = self._made.leading(first, last, self.width).astype(np.float16).reshape(-1)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), self.width)
            yield pa.RecordBatch.from_arrays([vectors, pa.array(self._made.part[first:last])], schema=self._schema())

    def reopen(self) -> None:
        """Open the table, with nothing in memory."""
        import lance

        self._data = lance.dataset(str(self.path))
        sizes = [fragment.count_rows() for fragment in self._data.get_fragments()]
        self._starts = np.cumsum([0, *sizes])

    def add(self, start: int, end: int) -> None:
        """Append rows to the table, with a small index of their own."""
        import lance

        lance.write_dataset(self._batches(start, end), str(self.path), schema=self._schema(), mode="append")
        self._data = lance.dataset(str(self.path))
        self._data.optimize.optimize_indices(num_indices_to_merge=0)
        self.reopen()

    def merge(self) -> None:
        """Merge both indexes, as LanceDB's ``optimize`` does."""
        self._data.optimize.optimize_indices(num_indices_to_merge=2)
        self.reopen()

    def candidates(self, query: np.ndarray, count: int, visited: int, one_of: int | None) -> np.ndarray:
        """Search the nearest cells, and more of them if too few rows of these pass the filter."""
        leading = self._made.coordinates(query, self.width)
        nearest: dict[str, Any] = {"column": "leading", "q": leading, "k": count, "metric": "dot"}
        if self._is_graph:
            nearest |= {"minimum_nprobes": self.cells, "ef": max(count, visited)}
        else:
            nearest["minimum_nprobes"] = visited
            if one_of is None:
                nearest["maximum_nprobes"] = visited
        passing = None if one_of is None else f"part < {100 // one_of}"
        table = self._data.to_table(
            columns=["_distance"], nearest=nearest, filter=passing, prefilter=True, with_row_id=True
        )
        ids = table["_rowid"].to_numpy().astype(np.int64)
        return np.asarray(self._starts[ids >> 32] + (ids & 0xFFFFFFFF))

    def size(self) -> dict[str, int]:
        """Return the bytes of the column and of the index."""
        files = [path for path in self.path.rglob("*") if path.is_file()]
        index = sum(path.stat().st_size for path in files if "_indices" in path.parts)
        return {"index": index, "column": sum(path.stat().st_size for path in files) - index}
