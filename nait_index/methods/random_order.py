"""Random order: what every method has to beat.

    score = the first 24 bits of hash(seed, id), as a fraction        in [0, 1)

Made of the id alone, so that a row keeps its score however the corpus is ordered and whatever is added to it.
"""

import hashlib

import numpy as np

from nait_index.methods.base import Examples, Rows, Scoring

_BITS = 24
"""As many as float32 holds exactly."""


class RandomOrder(Scoring):
    """A seeded shuffle of the rows."""

    def __init__(self, seed: int = 0) -> None:
        self._key = str(seed).encode()

    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Score every row (n,) float32; the examples are not looked at."""
        return np.array([self._fraction(own) for own in rows.ids()], dtype=np.float32)

    def _fraction(self, row_id: str) -> float:
        digest = hashlib.blake2b(row_id.encode(errors="surrogatepass"), key=self._key, digest_size=_BITS // 8).digest()
        return int.from_bytes(digest) / (1 << _BITS)
