"""Dense signatures: feature vectors projected on the principal components of a sample of the corpus.

There are two sets of components. ``raw`` spans means and drifts alike and serves both: NAIT projects means on a
direction found among drifts, which a basis fitted to means alone holds badly. ``unit`` spans the unit vectors.

The fit works on the n×n Gram matrix of the sample, never on a D×D covariance, and walks over the sample one layer at a
time: its memory is n² + n·N numbers beside the components themselves, whatever the number of layers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nait_index.signatures.features import Feature, feature_blocks, layer_slices, unit_block

PooledBlock = Callable[[int, slice], np.ndarray]
"""Reads one block (n, N) of the reservoir's pooled activations: pooling number, slice of neurons."""


class BasisName(StrEnum):
    """The two sets of components."""

    RAW = "raw"
    UNIT = "unit"


BASIS_OF = {Feature.MEAN: BasisName.RAW, Feature.DRIFT: BasisName.RAW, Feature.UNIT: BasisName.UNIT}


@dataclass(frozen=True, slots=True)
class Basis:
    """What turns feature vectors into dense signatures.

    :param components: (d, F) float32 with orthonormal rows, F the length of the vectors.
    :param variances: (d,) float32, mean square along each component over the reservoir, descending.
    :param scale: signatures are divided by it, which keeps them within float16.
    """

    components: np.ndarray
    variances: np.ndarray
    scale: float


@dataclass(frozen=True, slots=True)
class Compressor:
    """Pooled activations to the dense signatures of an index.

    :param widths: neurons of every layer; :param center: (2, D) float32, the corpus mean as the reservoir gives it.
    :param bases: empty where signatures are the whole vectors (``--pca-dim full``).
    """

    widths: tuple[int, ...]
    center: np.ndarray
    bases: dict[BasisName, Basis]

    @property
    def dtype(self) -> "np.dtype[np.floating]":
        """Signatures are float16, and float32 where nothing is compressed."""
        return np.dtype(np.float16 if self.bases else np.float32)

    def dim(self, feature: Feature) -> int:
        """Width d of the signature of a feature."""
        if self.bases:
            return len(self.bases[BASIS_OF[feature]].components)
        return sum(self.widths) * (2 if feature is Feature.UNIT else 1)

    def compress(self, pooled: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn pooled activations (n, 2, D) into signatures (n, d)."""
        blocks = feature_blocks(pooled, self.center, feature, self.widths)
        if not self.bases:
            return np.concatenate(list(blocks), axis=1)
        basis = self.bases[BASIS_OF[feature]]
        signatures = np.zeros((len(pooled), self.dim(feature)), dtype=np.float32)
        start = 0
        for block in blocks:
            end = start + block.shape[1]
            signatures += block @ basis.components[:, start:end].T
            start = end
        return (signatures / np.float32(basis.scale)).astype(self.dtype)

    def query(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction q into a vector (d,) whose inner product with a signature estimates q · x.

        Exact as far as the components span q.
        """
        direction = direction.astype(np.float32)
        if not self.bases:
            return direction
        basis = self.bases[BASIS_OF[feature]]
        return np.asarray((basis.components @ direction) * np.float32(basis.scale))


def fit(read: PooledBlock, widths: Sequence[int], dim: int | None) -> Compressor:
    """Fit the compressor of an index.

    :param read: gives the reservoir's pooled activations block by block.
    :param dim: width d of a signature; fewer where the reservoir spans fewer dimensions; ``None`` keeps whole vectors.
    """
    center = np.zeros((2, sum(widths)), dtype=np.float32)
    for pooling in (0, 1):
        for neurons in layer_slices(widths):
            center[pooling, neurons] = read(pooling, neurons).mean(axis=0, dtype=np.float64)
    if dim is None:
        return Compressor(tuple(widths), center, {})
    bases = {
        BasisName.RAW: _components(lambda: _raw_blocks(read, center, widths), dim),
        BasisName.UNIT: _components(lambda: _unit_blocks(read, center, widths), dim),
    }
    return Compressor(tuple(widths), center, bases)


def _raw_blocks(read: PooledBlock, center: np.ndarray, widths: Sequence[int]) -> Iterator[np.ndarray]:
    """Half of the rows give their means, the other half their drifts, brought to the same total variance."""

    def halves(neurons: slice) -> tuple[np.ndarray, np.ndarray]:
        return read(0, neurons)[0::2] - center[0, neurons], read(1, neurons)[1::2] - center[1, neurons]

    energy = np.zeros(2)
    for neurons in layer_slices(widths):
        energy += [float(np.mean(half.astype(np.float64) ** 2)) if half.size else 0.0 for half in halves(neurons)]
    balance = np.float32(np.sqrt(energy[0] / energy[1])) if energy.all() else np.float32(1.0)
    for neurons in layer_slices(widths):
        means, drifts = halves(neurons)
        yield np.concatenate([means, drifts * balance])


def _unit_blocks(read: PooledBlock, center: np.ndarray, widths: Sequence[int]) -> Iterator[np.ndarray]:
    for pooling in (0, 1):
        for neurons in layer_slices(widths):
            yield unit_block(read(pooling, neurons) - center[pooling, neurons], len(widths))


def _components(blocks: Callable[[], Iterator[np.ndarray]], dim: int) -> Basis:
    """Give the leading right singular vectors of the matrix whose column blocks are given (each time anew)."""
    gram: np.ndarray | float = 0.0
    for block in blocks():
        gram = gram + (block @ block.T).astype(np.float64)
    values, vectors = _top_eigenpairs(np.asarray(gram), dim)
    loadings = (vectors / np.sqrt(values)).T.astype(np.float32)
    components = np.concatenate([loadings @ block for block in blocks()], axis=1)
    variances = (values / len(vectors)).astype(np.float32)
    return Basis(components, variances, float(np.sqrt(variances[0])))


def _top_eigenpairs(gram: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the largest ``dim`` eigenvalues of a Gram matrix that are not rounding noise, descending, with vectors.

    The sign of every vector is fixed by its largest entry, so that a refit gives the same components.
    """
    from scipy.linalg import eigh

    n = len(gram)
    values, vectors = eigh(gram, subset_by_index=[max(0, n - dim), n - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = max(float(values[0]), 1e-30)
    kept = values > largest * 1e-7
    kept[0] = True
    values, vectors = np.maximum(values[kept], 1e-30), vectors[:, kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return values, vectors * signs
