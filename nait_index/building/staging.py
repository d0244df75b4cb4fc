"""The first shards of a build, whole on disk until the basis is fitted on them.

Each becomes a folder with its pooled activations and, written last, what else is known of its rows; so a build that was
interrupted before or during the fit goes on with the shards it has.
"""

import errno
import hashlib
import mmap
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nait_index.errors import NaitError
from nait_index.files import atomic_write, hash_file
from nait_index.store.sealed import read_sealed, write_sealed


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What tokenising and running a shard told of its rows.

    :param n_tokens: (n,) int32; :param truncated: (n,) bool; :param reasons: why a row cannot be used, by its number.
    """

    n_tokens: np.ndarray
    truncated: np.ndarray
    reasons: dict[int, str]

    @property
    def usable(self) -> np.ndarray:
        """Numbers of the rows that can be used, ascending."""
        return np.array([i for i in range(len(self.n_tokens)) if i not in self.reasons], dtype=np.int64)


class StagedShard:
    """One shard's pooled activations (n, 2, D) float32 in a file."""

    def __init__(self, parent: Path, ids: Sequence[str]) -> None:
        self.ids = list(ids)
        # Named by its rows: what is left to do is cut into shards anew at every start, and finds its folder again.
        name = hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest()
        self._folder = parent / f"shard-{name}"
        self._array = self._folder / "pooled.npy"
        self._columns = self._folder / "columns.npz"
        self._facts = self._folder / "facts.json"
        self._known: ShardFacts | None = None

    def create(self, width: int) -> np.ndarray:
        """Make the file, to be filled by the caller."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._facts.unlink(missing_ok=True)
        shape = (len(self.ids), 2, width)
        array = np.lib.format.open_memmap(self._array, mode="w+", dtype=np.float32, shape=shape)
        _take_room(self._array)
        return array

    def finish(self, array: np.ndarray, columns: Mapping[str, np.ndarray], facts: ShardFacts) -> None:
        """Declare the file complete, and keep beside it the columns that need no basis."""
        array.flush()  # type: ignore[attr-defined]  # a memmap, which numpy types as an array
        let_go(array)
        with atomic_write(self._columns) as file:
            np.savez(file, **columns)  # type: ignore[arg-type]  # numpy's stubs take one keyword for another
        record = {
            "hashes": [hash_file(self._array), hash_file(self._columns)],
            "ids": self.ids,
            "n_tokens": facts.n_tokens.tolist(),
            "truncated": facts.truncated.tolist(),
            "reasons": {str(row): reason for row, reason in facts.reasons.items()},
        }
        write_sealed(self._facts, record)

    def facts(self) -> ShardFacts | None:
        """Read what is known of the rows; ``None`` where the shard is not complete, or damaged, and so not done."""
        if self._known is None:
            self._known = self._read()
        return self._known

    def _read(self) -> ShardFacts | None:
        record = read_sealed(self._facts)
        try:
            if record is None or record["hashes"] != [hash_file(self._array), hash_file(self._columns)]:
                return None
        except OSError:
            return None
        return ShardFacts(
            np.array(record["n_tokens"], dtype=np.int32),
            np.array(record["truncated"], dtype=bool),
            {int(row): reason for row, reason in record["reasons"].items()},
        )

    def pooled(self) -> np.ndarray:
        """Open the file for reading, without reading it."""
        array: np.ndarray = np.load(self._array, mmap_mode="r", allow_pickle=False)
        return array

    def columns(self) -> dict[str, np.ndarray]:
        """Read the columns that need no basis."""
        with np.load(self._columns, allow_pickle=False) as columns:
            return dict(columns)

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _take_room(path: Path) -> None:
    """Have the disk give the room that a file says it has: a mapped page without any would end this process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise NaitError(f"{path}: not written: {error.strerror}") from error


class Reservoir:
    """The usable rows of the staged shards, read block by block."""

    def __init__(self, shards: Sequence[StagedShard]) -> None:
        self._parts = []
        for shard in shards:
            facts = shard.facts()
            assert facts is not None
            self._parts.append((shard.pooled(), facts.usable))

    def __len__(self) -> int:
        return sum(len(usable) for _, usable in self._parts)

    def read(self, pooling: int, neurons: slice) -> np.ndarray:
        """Read one block (n, N)."""
        block = np.empty((len(self), neurons.stop - neurons.start), dtype=np.float32)
        start = 0
        for pooled, usable in self._parts:
            block[start : start + len(usable)] = pooled[usable, pooling, neurons]
            start += len(usable)
            let_go(pooled)
        return block


def let_go(array: np.ndarray) -> None:
    """Take the pages of a mapped file out of this process's memory; what they hold stays in the system's cache."""
    pages: mmap.mmap | None = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
