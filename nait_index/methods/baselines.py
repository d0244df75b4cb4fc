"""Baselines that every method has to beat: longest rows first, and a random order. Both ignore the examples.

    length:  score = number of tokens
    random:  score = the first 24 bits of hash(seed, id), as a fraction        in [0, 1)

Length is a baseline that is hard to beat (Zhao et al., ICML 2024, arXiv 2402.04833). The random score depends on the id
alone, so that a row keeps it however the corpus is ordered and whatever is added to it.
"""

import hashlib

import numpy as np

from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows

_BITS = 24
"""As many as float32 holds exactly."""


class Length(Scored):
    """Longest first."""

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row by its number of tokens (n,) float32."""
        return rows.numbers("n_tokens").astype(np.float32)


class RandomOrder(Scored):
    """A seeded shuffle of the rows."""

    def __init__(self, seed: int = 0) -> None:
        self._key = str(seed).encode()

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row (n,) float32."""
        return np.array([self._fraction(row_id) for row_id in rows.ids()], dtype=np.float32)

    def _fraction(self, row_id: str) -> float:
        digest = hashlib.blake2b(row_id.encode(errors="surrogatepass"), key=self._key, digest_size=_BITS // 8).digest()
        return int.from_bytes(digest) / (1 << _BITS)
