"""Shards: the portions in which a build encodes and commits its rows, and the first of them, staged on disk.

Staged shards wait whole on disk until the basis is fitted on them. Each becomes a folder with its pooled activations
and, written last, the facts about its rows; so a build that was interrupted before or during the fit continues with
the shards it has.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nait_index.building.spool import WorkRow
from nait_index.errors import NaitError
from nait_index.files import atomic_write, hash_file
from nait_index.scratch import allocate, release_pages
from nait_index.store.sealed import read_sealed, write_sealed

SHARD_ROWS = 1024
"""Rows committed at a time. Batches are made within a shard, so the numbers depend on it: it never changes."""


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What tokenising and running a shard revealed about its rows.

    :param n_tokens: (n,) int32; :param truncated: (n,) bool; :param reasons: why a row cannot be used, by its number.
    """

    n_tokens: np.ndarray
    truncated: np.ndarray
    reasons: dict[int, str]

    @property
    def usable(self) -> np.ndarray:
        """Numbers of the rows that can be used, ascending."""
        return np.array([i for i in range(len(self.n_tokens)) if i not in self.reasons], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """A shard that has been through the model.

    :param columns: (n, width) each: all signature columns; of a shard to be staged, those that need no basis.
    :param staged: its staged files, which are deleted when it is committed.
    """

    rows: Sequence[WorkRow]
    facts: ShardFacts
    columns: Mapping[str, np.ndarray]
    staged: "StagedShard | None" = None


class StagedShard:
    """One shard's pooled activations (n, 2, D) float32 in a file.

    :param parent: folder of the staged shards. :param settings: that the rows are run with, and the hashes of fitted
        parts. :param identities: a text for each of the shard's rows, in their order, that names it and its content.
    """

    def __init__(self, parent: Path, settings: str, identities: Sequence[str]) -> None:
        self._rows = len(identities)
        # Named after its rows and their content: every start cuts the remaining rows into shards again, and must find
        # the folder, but not that of rows which have been changed since, or of a build with other settings, which is
        # left behind where an index in an object store was deleted.
        name = hashlib.blake2b("\n".join([settings, *identities]).encode(), digest_size=8).hexdigest()
        self._folder = parent / f"shard-{name}"
        self._array = self._folder / "pooled.npy"
        self._columns = self._folder / "columns.npz"
        self._facts = self._folder / "facts.json"
        self._known: ShardFacts | None = None
        self._filling: np.ndarray | None = None

    def create(self, width: int) -> np.ndarray:
        """Create the file of activations, for the caller to fill and :meth:`finish`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._facts.unlink(missing_ok=True)
        shape = (self._rows, 2, width)
        array = np.lib.format.open_memmap(self._array, mode="w+", dtype=np.float32, shape=shape)
        try:
            with self._array.open("r+b") as file:
                allocate(file)
        except OSError as error:
            raise NaitError(f"{self._array}: not written: {error.strerror}") from error
        self._filling = array
        return array

    def finish(self, columns: Mapping[str, np.ndarray], facts: ShardFacts) -> None:
        """Mark the file that :meth:`create` made as complete, and store beside it the columns that need no basis."""
        array, self._filling = self._filling, None
        assert array is not None
        array.flush()  # type: ignore[attr-defined]  # a memmap, which numpy types as an array
        release_pages(array)
        with atomic_write(self._columns) as file:
            np.savez(file, **columns)  # type: ignore[arg-type]  # numpy's stubs take one keyword for another
        record = {
            "hashes": [hash_file(self._array), hash_file(self._columns)],
            "n_tokens": facts.n_tokens.tolist(),
            "truncated": facts.truncated.tolist(),
            "reasons": {str(row): reason for row, reason in facts.reasons.items()},
        }
        write_sealed(self._facts, record)

    def facts(self) -> ShardFacts | None:
        """Read the facts about the rows; ``None`` where the shard is incomplete or damaged, and so must be run."""
        if self._known is None:
            record = read_sealed(self._facts)
            with suppress(OSError):
                if record is not None and record["hashes"] == [hash_file(self._array), hash_file(self._columns)]:
                    self._known = ShardFacts(
                        np.array(record["n_tokens"], dtype=np.int32),
                        np.array(record["truncated"], dtype=bool),
                        {int(row): reason for row, reason in record["reasons"].items()},
                    )
        return self._known

    def pooled(self) -> np.ndarray:
        """Map the activations into memory, without reading them."""
        array: np.ndarray = np.load(self._array, mmap_mode="r", allow_pickle=False)
        return array

    def columns(self) -> dict[str, np.ndarray]:
        """Read the columns that need no basis."""
        with np.load(self._columns, allow_pickle=False) as columns:
            return dict(columns)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Reservoir:
    """The usable rows of some staged shards, read block by block."""

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
            release_pages(pooled)
        return block
