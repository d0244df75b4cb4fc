"""NAS: Ma et al., arXiv 2503.15573 v1: a sample's embedding is its neuronal activation state at one layer.

With A(y) the activations of layer l averaged over the tokens of y, and m their mean over the examples:

    score(y) = cos(A(y), m)

l is the last captured layer but one (the paper's penultimate layer), or the only one: ``build --layers`` chooses.
Nothing is subtracted: what all text shares stays in, as in the paper. The inner product comes from the raw signatures;
the lengths, which no basis of few dimensions holds well, are kept exactly beside them.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nait_index.config import SearchMode
from nait_index.methods.base import Direction, Examples, Linear, Rows, Summary
from nait_index.search.hits import Hits, best
from nait_index.signatures.features import Feature, layer_slices
from nait_index.store.samples import NORMS


class Nas(Linear):
    """Cosine to the examples' mean activation state at one layer."""

    feature: ClassVar[Feature] = Feature.MEAN

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep the mean activation state of the layer (N,)."""
        own = layer_slices(widths)[layer_of(widths)]
        return {"nas.state": examples[:, 0, own].mean(axis=0, dtype=np.float64).astype(np.float32)}

    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Direction:
        """Point at the examples' mean state; the constant puts back the corpus mean, which signatures lack."""
        own, state = layer_slices(widths)[layer_of(widths)], summary["nas.state"]
        vector = np.zeros(sum(widths), dtype=np.float32)
        vector[own] = state / max(float(np.linalg.norm(state)), 1e-30)
        return Direction(vector, float(center[0].astype(np.float64) @ vector))

    def rank_all(
        self,
        capabilities: Sequence[Examples],
        rows: Rows,
        k: int,
        allowed: np.ndarray | None,
        mode: SearchMode = SearchMode.EXACT,
    ) -> list[Hits]:
        """Rank for one after the other: scores are cosines, not inner products."""
        return [self._rank(examples, rows, k, allowed) for examples in capabilities]

    def _rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Divide every row's inner product by the length of its own state; a row of no length scores 0."""
        query = self.query_of(examples, rows)
        products = rows.scores(self.feature, query.vector[None])[0].astype(np.float64) + query.constant
        lengths = np.concatenate([block[:, layer_of(rows.widths)] for block in rows.blocks(NORMS)])
        cosines = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        return best(cosines.astype(np.float32), k, allowed)


def layer_of(widths: Sequence[int]) -> int:
    """Give the place of the layer that states are taken of."""
    return max(0, len(widths) - 2)
