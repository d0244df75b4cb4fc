"""Pooled activations to the vectors that dense signatures compress.

Three vectors are made of a sample's pooled activations x (2, D), c being the corpus mean:

- ``mean``, ``drift`` (D,): x[pooling] − c[pooling]. NAIT's scores and raw similarities are inner products with them.
- ``unit`` (2·D,): both, every (pooling, layer) block scaled to length 1/√(number of blocks), so that an inner product
  of two such vectors is the mean cosine over poolings and layers.

Centring matters more than anything else: activations share one large common component, and a cosine before removing
it mostly compares that component with itself.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Feature(StrEnum):
    """The vectors that methods compare: three of neurons, and the unit vectors of words and of last hidden states."""

    MEAN = "mean"
    DRIFT = "drift"
    UNIT = "unit"
    WORDS = "words"
    HIDDEN = "hidden"


POOLINGS = {Feature.MEAN: (0,), Feature.DRIFT: (1,), Feature.UNIT: (0, 1)}
"""Which poolings enter a vector of neurons, in order."""


def layer_slices(widths: Sequence[int]) -> list[slice]:
    """Return the slice of the D neurons that belongs to each layer."""
    ends = np.cumsum(widths)
    return [slice(int(end - width), int(end)) for end, width in zip(ends, widths, strict=True)]


def layer_norms(mean: "torch.Tensor", widths: Sequence[int]) -> "torch.Tensor":
    """Compute the length of each layer's mean activations: from (n, D), (n, L) float32."""
    import torch

    layers = [mean[:, neurons].float() for neurons in layer_slices(widths)]
    return torch.stack([torch.linalg.vector_norm(layer, dim=1) for layer in layers], dim=1)


def unit_block(centered: np.ndarray, layers: int) -> np.ndarray:
    """Scale the rows of one block (n, N) of centred activations to length 1/√(2L); a row of zeros stays zero."""
    norms = np.linalg.norm(centered, axis=1, keepdims=True)
    scaled = np.zeros_like(centered)
    np.divide(centered, norms * np.float32(np.sqrt(2 * layers)), out=scaled, where=norms > 0)
    return scaled


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Scale rows (n, d) to length 1, float32; a row of zeros stays zero."""
    values = values.astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0))


def feature_blocks(
    pooled: np.ndarray, center: np.ndarray, feature: Feature, widths: Sequence[int]
) -> Iterator[np.ndarray]:
    """Yield the vectors layer by layer, (n, N) float32 each, so that they need not be in memory whole.

    :param pooled: (n, 2, D) pooled activations; :param center: (2, D) their corpus mean.
    """
    for pooling in POOLINGS[feature]:
        for neurons in layer_slices(widths):
            centered = pooled[:, pooling, neurons].astype(np.float32) - center[pooling, neurons]
            yield unit_block(centered, len(widths)) if feature is Feature.UNIT else centered


def feature_vectors(pooled: np.ndarray, center: np.ndarray, feature: Feature, widths: Sequence[int]) -> np.ndarray:
    """Compute the whole vectors: (n, D), or (n, 2·D) for ``unit``; float32."""
    return np.concatenate(list(feature_blocks(pooled, center, feature, widths)), axis=1)
