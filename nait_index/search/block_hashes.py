"""A hash for every 16 MiB of a file, so that blocks copied from another file need no new one.

A block that was damaged before it was copied keeps the hash of what it should be, and is found by the next check.
"""

import hashlib
from collections.abc import Iterator, Sequence

BLOCK = 1 << 24
"""Bytes of a block; only the last may have fewer."""


class BlockHashes:
    """The hashes of bytes that are added piece by piece."""

    def __init__(self) -> None:
        self.length = 0
        self._whole: list[str] = []
        self._open = hashlib.blake2b(digest_size=16)

    def add(self, data: memoryview, known: Sequence[str] = (), place: int = -1) -> None:
        """Add bytes.

        :param data: one-dimensional. :param known: hashes of the blocks of the file they are copied from.
        :param place: where in that file they begin; its hashes are taken over where that is where they come to stand.
        """
        for piece in _pieces(data, self.length):
            if len(piece) == BLOCK and place == self.length and place // BLOCK < len(known):
                self._whole.append(known[place // BLOCK])
            else:
                self._open.update(piece)
                if (self.length + len(piece)) % BLOCK == 0:
                    self._whole.append(self._open.hexdigest())
                    self._open = hashlib.blake2b(digest_size=16)
            self.length += len(piece)
            place += len(piece)

    def digests(self) -> list[str]:
        """Return the hash of every block, as 32 hex digits."""
        return [*self._whole, *([self._open.hexdigest()] if self.length % BLOCK else [])]


def hash_blocks(data: memoryview) -> list[str]:
    """Return the hash of every block of some bytes."""
    hashes = BlockHashes()
    hashes.add(data)
    return hashes.digests()


def _pieces(data: memoryview, length: int) -> Iterator[memoryview]:
    """Cut bytes that follow ``length`` others at the ends of blocks."""
    start = 0
    while start < len(data):
        end = start + BLOCK - (length + start) % BLOCK
        yield data[start:end]
        start = end
