"""How faithful signatures are: the share of the rows chosen by whole activations that signatures choose as well.

No capability is known when an index is built, so capabilities are made of its own rows: a random row and its nearest
neighbours stand for the examples, and every row of a sample is scored for them, by whole vectors and by signatures.

Whole vectors are never held. What the scores need of them is their inner products, added up layer by layer; and from
those, coordinates that have the same inner products.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.methods.nait import calibrated_direction
from nait_index.methods.probe import train
from nait_index.signatures.features import Feature, layer_slices, unit_block
from nait_index.signatures.pca import Compressor, PooledBlock

_CAPABILITIES, _EXAMPLES, _SHARE = 8, 16, 0.1


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Overlap of the chosen tenths, lowest and mean over the capabilities.

    :param rows: of the sample; :param held_out: whether the basis was fitted without them.
    """

    probe: tuple[float, float]
    nait: tuple[float, float]
    rows: int
    held_out: bool


def measure_fidelity(
    read: PooledBlock, unit: np.ndarray, mean: np.ndarray, compressor: Compressor, *, seed: int, held_out: bool
) -> Fidelity:
    """Measure it on a sample of rows.

    :param read: gives their pooled activations block by block; :param unit: their signatures of unit vectors (n, d).
    :param mean: their signatures of mean activations (n, d').
    """
    products = _products(read, compressor)
    sets = _example_sets(products, seed)
    whole, stored = _coordinates(products), compressor.restore(unit, Feature.UNIT)
    probe = [overlap(_probe(whole, examples), _probe(stored, examples)) for examples in sets]
    nait = _nait(read, compressor.restore(mean, Feature.MEAN), compressor, sets)
    return Fidelity(_summary(probe), _summary(nait), len(unit), held_out)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Give the share of the tenth of highest score that two scores (n,) agree on."""
    k = max(1, int(len(one) * _SHARE))
    best = [set(np.argsort(-scores, kind="stable")[:k].tolist()) for scores in (one, other)]
    return len(best[0] & best[1]) / k


def _summary(overlaps: Sequence[float]) -> tuple[float, float]:
    return round(min(overlaps), 4), round(sum(overlaps) / len(overlaps), 4)


def _products(read: PooledBlock, compressor: Compressor) -> np.ndarray:
    """Add up the inner products (n, n) of whole unit vectors."""
    total: np.ndarray | float = 0.0
    for pooling in (0, 1):
        for neurons in layer_slices(compressor.widths):
            block = unit_block(read(pooling, neurons) - compressor.center[pooling, neurons], len(compressor.widths))
            total = total + block @ block.T
    return np.asarray(total)


def _coordinates(products: np.ndarray) -> np.ndarray:
    """Give vectors (n, n) that have these inner products."""
    from scipy.linalg import eigh

    values, vectors = eigh(products.astype(np.float64))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32))


def _example_sets(products: np.ndarray, seed: int) -> list[np.ndarray]:
    """Give the rows nearest to each of some random rows, themselves included."""
    n = len(products)
    chosen = np.random.default_rng(seed).permutation(n)[:_CAPABILITIES]
    return [np.argsort(-products[own], kind="stable")[: min(_EXAMPLES, max(2, n // 4))] for own in chosen]


def _probe(vectors: np.ndarray, examples: np.ndarray) -> np.ndarray:
    return np.asarray(vectors @ train(vectors[examples], vectors).weights)


def _nait(read: PooledBlock, means: np.ndarray, compressor: Compressor, sets: Sequence[np.ndarray]) -> list[float]:
    """Score by NAIT's directions, whole and projected on the components."""
    components = compressor.components(Feature.MEAN)
    whole = np.zeros((len(sets), len(means)))
    queries = np.zeros((len(sets), len(components)), dtype=np.float32)
    for neurons in layer_slices(compressor.widths):
        layer, drifts = read(0, neurons) - compressor.center[0, neurons], read(1, neurons)
        directions = np.stack([calibrated_direction(drifts[examples]) for examples in sets]).astype(np.float32)
        whole += directions @ layer.T
        queries += directions @ components[:, neurons].T
    return [overlap(one, other) for one, other in zip(whole, queries @ means.T, strict=True)]
