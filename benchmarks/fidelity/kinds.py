"""Kinds of compression: coordinates (n, d) to what is left of them, and what that takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Squeeze = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gives coordinates as they come back; the first argument is a sample to learn ranges from."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of compression at one number of bits a coordinate."""

    name: str
    bits: int
    squeeze: Squeeze


def eight_bits(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """As the index keeps them: a step for every coordinate."""
    steps = np.abs(sample).max(axis=0) * 1.1 / 127
    return (np.rint(values / steps).clip(-127, 127) * steps).astype(np.float32)


def half(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float16, scaled by the largest coordinate."""
    scale = np.abs(sample).max()
    return (values / scale).astype(np.float16).astype(np.float32) * scale


def four_bits(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """FAISS's scalar quantiser at 4 bits, a range for every coordinate."""
    import faiss

    quantiser = faiss.IndexScalarQuantizer(values.shape[1], faiss.ScalarQuantizer.QT_4bit)
    quantiser.train(np.ascontiguousarray(sample))
    return np.asarray(quantiser.sa_decode(quantiser.sa_encode(np.ascontiguousarray(values))))


def four_bits_rotated(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rotate at random first, which spreads the variance evenly over the coordinates."""
    rotation = _rotation(values.shape[1])
    turned = [rotation.apply(np.ascontiguousarray(own)) for own in (sample, values)]
    return np.asarray(rotation.reverse_transform(four_bits(*turned)))


@cache
def _rotation(dim: int) -> Any:  # noqa: ANN401 - faiss is untyped
    import faiss

    rotation = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(0)
    return rotation


KINDS = (
    Kind("float16", 16, half),
    Kind("8 bits", 8, eight_bits),
    Kind("4 bits", 4, four_bits),
    Kind("4 bits, rotated", 4, four_bits_rotated),
)
SIZES = (256, 512, 1024, 2048, 4096)
"""Bytes a row."""
