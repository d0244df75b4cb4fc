"""Length: the longest rows first, a baseline that is hard to beat (Zhao et al., ICML 2024, arXiv 2402.04833).

    score = number of tokens

It knows no target: the examples are not looked at.
"""

import numpy as np

from nait_index.methods.base import Examples, Rows, Scoring


class Length(Scoring):
    """Longest first."""

    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Score every row by its tokens (n,) float32."""
        return rows.numbers("n_tokens").astype(np.float32)
