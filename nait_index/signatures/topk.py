"""Sparse signatures: the k neurons of every layer with the largest impact."""

from collections.abc import Sequence

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)


def number_dtype(widths: Sequence[int]) -> "np.dtype[np.unsignedinteger]":
    """Give the smallest dtype that numbers the neurons of every layer."""
    return np.dtype(np.uint16 if max(widths) <= 2**16 else np.uint32)


def kept(widths: Sequence[int], k: int) -> int:
    """Give the number of neurons kept in all: k of every layer, or all of a layer that has fewer."""
    return sum(min(k, width) for width in widths)


def top_neurons(impact: np.ndarray, widths: Sequence[int], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the k strongest neurons of every layer, strongest first, ties to the lower number.

    :param impact: (n, D) mean size of the neurons' up-projections, none negative.
    :returns: numbers within their layer (n, L·k), unsigned; their impacts (n, L·k) float16, clipped to what float16
        holds; layer after layer.
    """
    numbers, values = [], []
    start = 0
    for width in widths:
        layer = impact[:, start : start + width].astype(np.float32)
        start += width
        chosen = strongest(layer, min(k, width))
        numbers.append(chosen.astype(number_dtype(widths)))
        values.append(np.take_along_axis(layer, chosen, axis=1))
    limit = np.finfo(np.float16).max
    return np.concatenate(numbers, axis=1), np.clip(np.concatenate(values, axis=1), -limit, limit).astype(np.float16)


def neuron_offsets(widths: Sequence[int], k: int) -> np.ndarray:
    """Give what to add to each column of neuron numbers (L·k,) int64 so that numbers differ between layers."""
    starts = np.cumsum([0, *widths[:-1]])
    return np.repeat(starts, [min(k, width) for width in widths]).astype(np.int64)


def strongest(size: np.ndarray, k: int) -> np.ndarray:
    """Give the columns (n, k) of the k largest of each row of ``size`` (n, N), none of them negative, in order.

    The bits of a non-negative float32 sort like the number itself; with the column counted down below them, every key
    is different and one partition settles order and ties at once.
    """
    width = size.shape[1]
    keys = (size.view(np.uint32).astype(np.uint64) << np.uint64(32)) | (_LOW - np.arange(width, dtype=np.uint64))
    top = np.partition(keys, width - k, axis=1)[:, width - k :]
    top.sort(axis=1)
    return (_LOW - (top[:, ::-1] & _LOW)).astype(np.int64)
