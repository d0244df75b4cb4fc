"""A checksum of every row of a scan copy, which goes with the row wherever it is copied.

So a copy made from another needs no checksum computed again, and a row that was damaged before it was copied still
differs from its own. It is a multilinear hash: the row's 32-bit words times odd constants, summed modulo 2⁶⁴. A change
of one word always changes it; any other change does, but for a chance of about 2⁻³². It is no protection against those
who may write to the folder.
"""

import hashlib

import numpy as np

_WORDS = 1 << 17
"""Words that are summed at a time, so that they stay in the processor's cache."""


def row_sums(rows: np.ndarray) -> np.ndarray:
    """Return the checksum of each row (n, d): (n,) uint64."""
    sums = np.empty(len(rows), dtype="<u8")
    size = rows.shape[1] * rows.dtype.itemsize
    words = -(-size // 4)
    constants = np.frombuffer(hashlib.shake_256(b"row sums").digest(8 * words), dtype="<u8") | np.uint64(1)
    step = max(1, _WORDS // max(1, words))
    for start in range(0, len(rows), step):
        data = np.ascontiguousarray(rows[start : start + step]).view(np.uint8)
        if size % 4:
            data = np.pad(data, ((0, 0), (0, 4 * words - size)))
        sums[start : start + step] = np.einsum("nw,w->n", data.view("<u4").astype("<u8"), constants)
    return sums
