"""Sparse signatures: the strongest neurons of every layer, and the largest codes of a sparse autoencoder.

Values are never negative, and stored in float16, largest first: what exceeds 65,504 becomes 65,504, and what is below
3·10⁻⁸ becomes zero, which is not a code any more. Codes are not scaled, so that rows stay comparable with one another;
below 6·10⁻⁵ they are exact to 3·10⁻⁸ only, which is negligible in any sum with larger codes.
"""

from collections.abc import Sequence

import numpy as np

from nait_index.signatures.features import layer_slices

_LOW = np.uint64(0xFFFFFFFF)
HALF_LIMIT = float(np.finfo(np.float16).max)


def number_dtype(widths: Sequence[int]) -> "np.dtype[np.unsignedinteger]":
    """Return the smallest dtype that numbers the neurons of every layer, or the latents of one autoencoder."""
    return np.dtype(np.uint16 if max(widths, default=0) <= 2**16 else np.uint32)


def kept(widths: Sequence[int], k: int) -> int:
    """Return the number of neurons kept in all: k of every layer, or all of a layer that has fewer."""
    return sum(min(k, width) for width in widths)


def neuron_offsets(widths: Sequence[int], k: int) -> np.ndarray:
    """Return what to add to each column of neuron numbers (L·k,) int64 so that numbers differ between layers."""
    starts = np.cumsum([0, *widths[:-1]])
    return np.repeat(starts, [min(k, width) for width in widths]).astype(np.int64)


def top_neurons(impact: np.ndarray, widths: Sequence[int], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the k strongest neurons of every layer, strongest first, ties to the lower number.

    :param impact: (n, D) mean size of the neurons' up-projections, none negative.
    :returns: numbers within their layer (n, L·k), unsigned; their impacts (n, L·k) float16, clipped to what float16
        holds; layer after layer.
    """
    numbers, values = [], []
    for neurons in layer_slices(widths):
        layer = impact[:, neurons].astype(np.float32)
        chosen = strongest(layer, min(k, layer.shape[1]))
        numbers.append(chosen.astype(number_dtype(widths)))
        values.append(np.take_along_axis(layer, chosen, axis=1))
    clipped = np.clip(np.concatenate(values, axis=1), -HALF_LIMIT, HALF_LIMIT)
    return np.concatenate(numbers, axis=1), clipped.astype(np.float16)


def top_codes(codes: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the largest codes of every row, largest first, ties to the lower number.

    :param codes: (n, F) float32, none negative.
    :returns: numbers of the latents (n, min(keep, F)), unsigned, and their values, float16. A row with fewer codes that
        are not zero ends in number 0 with value 0.
    """
    # Adding zero turns −0, whose bits would sort above every number, into 0.
    codes = np.ascontiguousarray(codes, dtype=np.float32) + np.float32(0)
    numbers = strongest(codes, min(keep, codes.shape[1]))
    values = np.minimum(np.take_along_axis(codes, numbers, axis=1), HALF_LIMIT).astype(np.float16)
    return np.where(values > 0, numbers, 0).astype(number_dtype((codes.shape[1],))), values


def strongest(size: np.ndarray, k: int) -> np.ndarray:
    """Return the columns (n, k) of the k largest of each row of ``size`` (n, N), none of them negative, in order.

    The bits of a non-negative float32 sort like the number itself; with the column counted down below them, every key
    is different and one partition settles order and ties at once.
    """
    width = size.shape[1]
    keys = (size.view(np.uint32).astype(np.uint64) << np.uint64(32)) | (_LOW - np.arange(width, dtype=np.uint64))
    top = np.partition(keys, width - k, axis=1)[:, width - k :]
    top.sort(axis=1)
    return (_LOW - (top[:, ::-1] & _LOW)).astype(np.int64)
