"""Exact search over dense signatures with FAISS.

Choosing a tenth of a corpus is no top-10 query: every row is scored, in one pass over the codes that memory bandwidth
bounds. The engine's files are a cache of one column of the table, made anew whenever the table has moved on.
"""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.errors import NaitError, StoreError
from nait_index.files import atomic_write


@dataclass(frozen=True, slots=True)
class EngineStamp:
    """Which state of the table an engine was made from."""

    table_version: int
    rows: int
    dim: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Hits:
    """The best rows of one query, best first.

    :param scores: (k,) float32; :param ordinals: (k,) int64 place in table order. Rows whose score equals that of the
        last hit are all included, so that the caller can break the tie by id.
    """

    scores: np.ndarray
    ordinals: np.ndarray


def best(scores: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
    """Give the ``k`` highest of some scores (n,), and with them all that equal the last.

    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    """
    candidates = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    own = scores[candidates]
    k = min(k, len(own))
    if k == 0:
        return Hits(np.zeros(0, np.float32), np.zeros(0, np.int64))
    cut = np.partition(own, len(own) - k)[len(own) - k]
    kept = np.flatnonzero(own >= cut)
    order = kept[np.argsort(-own[kept], kind="stable")]
    return Hits(own[order].astype(np.float32), candidates[order])


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


class Engine:
    """A FAISS index over one signature column, with the row id of every row."""

    def __init__(self, index: Any, row_ids: np.ndarray, stamp: EngineStamp) -> None:  # noqa: ANN401 - faiss is untyped
        self._index = index
        self.row_ids = row_ids
        self.stamp = stamp

    @classmethod
    def build(cls, batches: Iterable[tuple[np.ndarray, np.ndarray]], stamp: EngineStamp) -> "Engine":
        """Make an engine from (row ids (b,), signatures (b, d)) batches in table order.

        :raises StoreError: the batches do not add up to the rows of the stamp.
        """
        faiss = import_faiss()
        index: Any
        if stamp.dtype == "float16":
            index = faiss.IndexScalarQuantizer(stamp.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexFlatIP(stamp.dim)
        row_ids = []
        for own_ids, signatures in batches:
            index.add(np.ascontiguousarray(signatures, dtype=np.float32))
            row_ids.append(own_ids)
        if index.ntotal != stamp.rows:
            raise StoreError(
                f"the table gave {index.ntotal} rows where {stamp.rows} were expected; run 'nait-index verify'"
            )
        return cls(index, np.concatenate(row_ids) if row_ids else np.zeros(0, np.uint64), stamp)

    def save(self, folder: Path, name: str) -> None:
        """Write the engine's files; the stamp comes last, so that a torn write is never taken for an engine.

        :raises NaitError: they cannot be written.
        """
        faiss = import_faiss()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stamp_path = folder / f"{name}.json"
            stamp_path.unlink(missing_ok=True)
        except OSError as error:
            raise NaitError(f"{folder}: not written: {error.strerror or error}") from error
        row_ids = io.BytesIO()
        np.save(row_ids, self.row_ids)
        contents = {
            f"{name}.faiss": faiss.serialize_index(self._index).tobytes(),
            f"{name}.rows.npy": row_ids.getvalue(),
        }
        for file_name, data in contents.items():
            with atomic_write(folder / file_name) as file:
                file.write(data)
        hashes = {file_name: _hash(data) for file_name, data in contents.items()}
        with atomic_write(stamp_path) as file:
            file.write(json.dumps(asdict(self.stamp) | {"hashes": hashes}).encode())

    @staticmethod
    def is_current(folder: Path, name: str, stamp: EngineStamp) -> bool:
        """Tell whether the files say that they are of this state of the table; they may be damaged all the same."""
        try:
            found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return True
        return isinstance(found, dict) and all(found.get(key) == own for key, own in asdict(stamp).items())

    @classmethod
    def load(cls, folder: Path, name: str, stamp: EngineStamp) -> "Engine | None":
        """Read an engine, or give ``None`` where its files are missing, damaged, or of another state of the table."""
        faiss = import_faiss()
        try:
            found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            hashes = found.pop("hashes")
            codes, row_ids = (folder / f"{name}.faiss").read_bytes(), (folder / f"{name}.rows.npy").read_bytes()
        except (OSError, ValueError, KeyError, AttributeError):
            return None
        # FAISS trusts what it reads: a flipped bit could change the metric, so nothing is parsed before it is hashed.
        if found != asdict(stamp) or hashes != {f"{name}.faiss": _hash(codes), f"{name}.rows.npy": _hash(row_ids)}:
            return None
        index = faiss.deserialize_index(np.frombuffer(codes, dtype=np.uint8))
        return cls(index, np.load(io.BytesIO(row_ids), allow_pickle=False), stamp)

    def vectors(self, start: int, count: int) -> np.ndarray:
        """Give the vectors of some rows as they are scanned, (count, d) float32."""
        return np.asarray(self._index.reconstruct_n(start, count))

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Hits:
        """Score every row and give the best.

        :param query: (d,) float32; the score is its inner product with a signature.
        :param k: how many; all that are allowed, where there are fewer.
        :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
        """
        faiss = import_faiss()
        count = self.stamp.rows if allowed is None else int(allowed.sum())
        k = min(k, count)
        if k == 0:
            return Hits(np.zeros(0, np.float32), np.zeros(0, np.int64))
        vector = np.ascontiguousarray(query[None], dtype=np.float32)
        params = None
        if allowed is not None:
            params = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little")))
        # One hit more than asked for shows whether the cut runs through rows of equal score.
        scores, ordinals = self._index.search(vector, min(k + 1, count), params=params)
        scores, ordinals = scores[0], ordinals[0]
        if len(scores) > k and scores[k] == scores[k - 1]:
            return self._search_above(vector, np.nextafter(scores[k], np.float32(-np.inf)), params)
        return Hits(scores[:k], ordinals[:k])

    def _search_above(self, vector: np.ndarray, threshold: np.float32, params: Any) -> Hits:  # noqa: ANN401
        _, scores, ordinals = self._index.range_search(vector, float(threshold), params=params)
        order = np.argsort(-scores, kind="stable")
        return Hits(scores[order], ordinals[order])


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
