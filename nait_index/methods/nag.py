"""NAG: Wang et al., arXiv 2604.15706: samples as graphs of their most active neurons.

The impact of neuron i of layer l on a sample is the mean over its tokens of |W_up h|; S_l(y) is the set of the k = 20
neurons of largest impact. The profile of a capability is, layer by layer, how often each neuron is among the examples':

    p_l(i) = #{examples e: i in S_l(e)} / Σ_j #{examples e: j in S_l(e)}        Σ_i p_l(i) = 1
    score(y) = 1/L · Σ_l Σ_{i in S_l(y)} p_l(i)                                  in [0, 1]
"""

from functools import partial
from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import TOPK_NUMBERS

_BLOCK = 256
"""Rows scored at once; their weights fit the cache."""


class Nag(Scored):
    """How much of the examples' most active neurons a sample shares."""

    view: ClassVar[View | None] = View.TOPK

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Add up the profile's weights of every row's neurons: (n,) float32."""
        offsets, profile = neuron_offsets(rows.widths, rows.topk), profile_of(examples, rows)
        return rows.scored(partial(shares, offsets=offsets, profile=profile), TOPK_NUMBERS)


def profile_of(examples: Examples, rows: IndexRows) -> np.ndarray:
    """Return every neuron's p_l(i) / L: (D,) float64."""
    offsets = neuron_offsets(rows.widths, rows.topk)
    counts = np.bincount((examples.signatures[TOPK_NUMBERS] + offsets).reshape(-1), minlength=sum(rows.widths))
    # A layer has as many counts as examples times neurons kept of it.
    kept = np.repeat([min(rows.topk, width) for width in rows.widths], rows.widths)
    return np.asarray(counts / (kept * len(examples)) / len(rows.widths))


def shares(numbers: np.ndarray, offsets: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """Add up the weights of every row's neurons: (n,) float64.

    :param numbers: (n, m) within their layer. :param offsets: (m,) added to them to index the profile (D,).
    """
    sums = np.empty(len(numbers))
    indices = np.empty((min(_BLOCK, len(numbers)), len(offsets)), dtype=np.intp)
    weights = np.empty(indices.shape)
    for start in range(0, len(numbers), _BLOCK):
        block = slice(start, start + _BLOCK)
        count = len(numbers[block])
        np.add(numbers[block], offsets, out=indices[:count])
        np.take(profile, indices[:count], mode="clip", out=weights[:count])  # the mode that needs no copy
        weights[:count].sum(axis=1, out=sums[block])
    return sums
