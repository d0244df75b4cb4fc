"""NAIT: Chen et al., Neuron-Aware Data Selection, ICLR 2026, arXiv 2603.13201.

With A(t)[l] the neurons of layer l at token t, of in-domain examples i = 1 … K:

    Eq. 1   ΔA_i[l] = A_i[l](t_last) − A_i[l](t_first)                     drift of an example
    Eq. 2–3 v[l]    = first principal component of {ΔA_i[l]}, centred      direction of the capability
    Eq. 4   v[l]   ← −v[l]  where  mean_i(ΔA_i[l]) · v[l] < 0              sign calibration
    Eq. 5   s(y)    = Σ_l A_y[l] · v[l]                                    score of a candidate y
    Eq. 6   take the candidates of highest score

The paper leaves open how a candidate's tokens are pooled to A_y. ``nait`` takes the mean over its tokens,
``nait-drift`` its drift.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nait_index.errors import CapabilityError
from nait_index.methods.base import Directed, Query, Summary
from nait_index.signatures.features import POOLINGS, Feature, layer_slices

_DENSE_LIMIT = 1024


class Nait(Directed):
    """The published score; the candidate's activations are averaged over its tokens."""

    feature: ClassVar[Feature] = Feature.MEAN

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep the direction v (D,), layer after layer; nothing where there are fewer than two examples."""
        if len(examples) < 2:
            return {}
        directions = [calibrated_direction(examples[:, 1, neurons]) for neurons in layer_slices(widths)]
        return {"nait.direction": np.concatenate(directions).astype(np.float32)}

    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Query:
        """Score by v against the candidate's own activations, which are its feature plus the corpus mean."""
        if "nait.direction" not in summary:
            raise CapabilityError("nait needs at least 2 examples: a principal component of one drift is not defined")
        v = summary["nait.direction"]
        corpus_mean = center[POOLINGS[self.feature][0]]
        return Query(self.feature, v, float(corpus_mean.astype(np.float64) @ v))


class NaitDrift(Nait):
    """The same direction, projected on the candidate's drift."""

    feature: ClassVar[Feature] = Feature.DRIFT


def calibrated_direction(drifts: np.ndarray) -> np.ndarray:
    """Compute v (N,) float64 of one layer from the examples' drifts (K, N): Eq. 2 to 4. Zero where nothing varies."""
    drifts = drifts.astype(np.float64)
    mean = drifts.mean(axis=0)
    v = _first_component(drifts - mean)
    return -v if mean @ v < 0 else v


def _first_component(x: np.ndarray) -> np.ndarray:
    """Compute the unit eigenvector of xᵀx with the largest eigenvalue, from the smaller of its two Gram matrices."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    wide = x.shape[0] <= x.shape[1]
    gram = x @ x.T if wide else x.T @ x
    size = len(gram)
    if not gram.any():
        return np.zeros(x.shape[1])
    if size <= _DENSE_LIMIT:
        vector = eigh(gram, subset_by_index=[size - 1, size - 1])[1][:, 0]
    else:
        vector = eigsh(gram, k=1, v0=np.ones(size))[1][:, 0]
    v = x.T @ vector if wide else vector
    return np.asarray(v / np.linalg.norm(v))
