"""NAS: Ma et al., arXiv 2503.15573 v1: a sample's embedding is its neuronal activation state at one layer.

With A(y) the activations of layer l averaged over the tokens of y, and m their mean over the examples:

    score(y) = cos(A(y), m)

l is the last captured layer but one (the paper's penultimate layer), or the only one: ``build --layers`` chooses.
Nothing is subtracted: what all text shares stays in, as in the paper. The inner product comes from the raw signatures;
the lengths, which a basis of few dimensions preserves badly, are stored exactly beside them.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nait_index.methods.base import Directed, Query, Summary
from nait_index.signatures.features import Feature, layer_slices


class Nas(Directed):
    """Cosine to the examples' mean activation state at one layer."""

    feature: ClassVar[Feature] = Feature.MEAN

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep the mean activation state of the layer (N,)."""
        neurons = layer_slices(widths)[layer_of(widths)]
        return {"nas.state": examples[:, 0, neurons].mean(axis=0, dtype=np.float64).astype(np.float32)}

    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Query:
        """Point at the examples' mean state; the constant adds the corpus mean, which signatures lack."""
        layer, state = layer_of(widths), summary["nas.state"]
        vector = np.zeros(sum(widths), dtype=np.float32)
        vector[layer_slices(widths)[layer]] = state / max(float(np.linalg.norm(state)), 1e-30)
        return Query(self.feature, vector, float(center[0].astype(np.float64) @ vector), layer)


def layer_of(widths: Sequence[int]) -> int:
    """Return the position, among the captured layers, of the one whose state is compared."""
    return max(0, len(widths) - 2)
