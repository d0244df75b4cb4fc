"""MONA: the features of a sparse autoencoder that a row shares with the examples, against all that either has.

Ma et al. 2025, "Task-Specific Data Selection for Instruction Tuning via Monosemantic Neuronal Activations", arXiv
2503.15573v2 (NeurIPS 2025), Eq. 5–9. With z the row's codes, averaged over its tokens, and p the mean of the examples'
codes, the score is the generalised Jaccard similarity over all latents k:

    score = Σ_k min(z_k, p_k) / Σ_k max(z_k, p_k)        in [0, 1];  0 where both are zero throughout

Since min + max = z + p, the denominator is Σz + Σp − Σmin, and Σmin runs over the codes of the row alone: a scan of the
sparse signatures needs nothing else. Of rows and examples alike, only the largest codes count, as many as the index
keeps; the paper keeps K = 192 of every token, at the penultimate layer.
"""

from functools import partial
from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows
from nait_index.signatures.views import SAE_NUMBERS, SAE_VALUES

_BLOCK = 512
"""Rows compared at once; their codes fit the cache."""


class Mona(Scored):
    """Generalised Jaccard similarity of sparse codes."""

    view: ClassVar[View | None] = View.SAE

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row against the examples' mean codes.

        :raises CapabilityError: no example has any code.
        """
        prototype = mean_of(examples.signatures[SAE_NUMBERS], examples.signatures[SAE_VALUES])
        if not prototype.any():
            raise CapabilityError("the sparse autoencoder has no code for these examples; give other examples")
        return rows.scored(partial(jaccard, prototype=prototype), SAE_NUMBERS, SAE_VALUES)


def mean_of(numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average sparse codes (n, K): (F',) float64, long enough for the largest number, and one zero more."""
    total = np.bincount(numbers.ravel(), weights=values.ravel().astype(np.float64))
    return np.append(total, 0.0) / max(len(numbers), 1)


def jaccard(numbers: np.ndarray, values: np.ndarray, prototype: np.ndarray) -> np.ndarray:
    """Compare sparse codes (n, K) with dense ones: (n,) float64.

    :param prototype: (F',); its last element is 0, and is used for all larger latent numbers.
    """
    scores, total = np.zeros(len(numbers)), prototype.sum()
    room = np.empty((2, min(_BLOCK, len(numbers)), numbers.shape[1]))
    for start in range(0, len(numbers), _BLOCK):
        block = slice(start, start + _BLOCK)
        codes, least = room[:, : len(numbers[block])]
        np.copyto(codes, values[block])
        np.take(prototype, numbers[block], mode="clip", out=least)
        np.minimum(codes, least, out=least)
        shared = least.sum(axis=1)
        most = codes.sum(axis=1) + total - shared
        np.divide(shared, most, out=scores[block], where=most > 0)
    return scores
