"""Dense signatures: feature vectors projected on the principal components of a sample of the corpus, at 8 bits each.

There are two sets of components. ``raw`` spans means and drifts alike and serves both: NAIT projects means on a
direction found among drifts, which a basis fitted to means alone represents badly. ``unit`` spans the unit vectors.

A signature is a row of whole numbers from −127 to 127; times the step of its component, each is a coordinate. Steps
differ, so that a component of small variance is as finely resolved as one of large; since a score is an inner product,
they go into the query, and rows are compared as they are stored.

The fit works on the n×n Gram matrix of the sample, never on a D×D covariance, and walks over the sample one layer at a
time: its memory is n² + n·N numbers beside the components themselves, whatever the number of layers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from nait_index.signatures.eigen import top_eigenpairs
from nait_index.signatures.features import POOLINGS, Feature, feature_blocks, layer_slices, unit_block
from nait_index.signatures.words import Document, Vocabulary, fit_vocabulary

PooledBlock = Callable[[int, slice], np.ndarray]
"""Reads one block (n, N) of the reservoir's pooled activations: pooling number, slice of neurons."""

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

LEVELS = 127
"""Largest size of a code."""

_HEADROOM = 1.1  # rows outside the sample may lie a little further out than any in it


class BasisName(StrEnum):
    """The two sets of components."""

    RAW = "raw"
    UNIT = "unit"


BASIS_OF = {Feature.MEAN: BasisName.RAW, Feature.DRIFT: BasisName.RAW, Feature.UNIT: BasisName.UNIT}


@dataclass(frozen=True, slots=True)
class Basis:
    """Directions that feature vectors are projected on.

    :param components: (d, F) float32 with orthonormal rows, F the length of the vectors.
    :param variances: (d,) float32, mean square along each component over the reservoir, descending.
    """

    components: np.ndarray
    variances: np.ndarray


@dataclass(frozen=True, slots=True)
class Dims:
    """Widths of the signatures; fewer where the reservoir spans fewer dimensions.

    :param scanned: of ``unit`` and ``drift``, and what a search for ``mean`` scans of it.
    :param fine: of ``mean``, by which the rows near the cut are scored again.
    """

    scanned: int
    fine: int

    def __getitem__(self, feature: Feature) -> int:
        """Return the width of one feature's signature."""
        return max(self.fine, self.scanned) if feature is Feature.MEAN else self.scanned


@dataclass(frozen=True, slots=True)
class Compressor:
    """Pooled activations to the dense signatures of an index.

    :param widths: neurons of every layer; :param center: (2, D) float32, the corpus mean as the reservoir gives it.
    :param bases: empty where signatures are the whole vectors (``--pca-dim full``), in float32.
    :param steps: (d,) float32 for each feature: what one unit of each code is worth.
    :param vocabulary: returns what signatures of words are made with, where the index has them.
    """

    widths: tuple[int, ...]
    center: np.ndarray
    bases: Mapping[BasisName, Basis]
    steps: Mapping[Feature, np.ndarray]
    vocabulary: Callable[[], Vocabulary] | None = None

    @property
    def dtype(self) -> "np.dtype[np.signedinteger | np.floating]":
        """The dtype of signatures of neurons."""
        return np.dtype(np.int8) if self.bases else np.dtype(np.float32)

    def dim(self, feature: Feature) -> int:
        """Return the width d of a feature's signature."""
        return len(self.steps[feature])

    @property
    def dims(self) -> dict[Feature, int] | None:
        """The width of every feature's signature; ``None`` where signatures are whole vectors."""
        return {feature: self.dim(feature) for feature in POOLINGS} if self.bases else None

    def compress(self, pooled: np.ndarray, feature: Feature, multiply: Product = np.matmul) -> np.ndarray:
        """Turn pooled activations (n, 2, D) into signatures (n, d).

        :param multiply: multiplies two matrices.
        """
        blocks = feature_blocks(pooled, self.center, feature, self.widths)
        if not self.bases:
            return np.concatenate(list(blocks), axis=1)
        components = self.components(feature)
        projected = np.zeros((len(pooled), self.dim(feature)), dtype=np.float32)
        start = 0
        for block in blocks:
            end = start + block.shape[1]
            projected += multiply(block, components[:, start:end].T)
            start = end
        return self.round(projected, feature)

    def compress_words(self, documents: Sequence[Document]) -> np.ndarray:
        """Turn the terms of n rows into signatures (n, d)."""
        assert self.vocabulary is not None
        return self.round(self.vocabulary().project(documents), Feature.WORDS)

    def components(self, feature: Feature) -> np.ndarray:
        """Return the directions (d, F) that a feature is projected on."""
        return self.bases[BASIS_OF[feature]].components[: self.dim(feature)]

    def round(self, projected: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn coordinates (n, d) into signatures."""
        codes = np.rint(projected / self.steps[feature])
        return np.asarray(np.clip(codes, -LEVELS, LEVELS).astype(np.int8))

    def restore(self, signatures: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn signatures (n, d), or the first columns of them, into coordinates, float32."""
        return np.asarray(signatures * self.steps[feature][: signatures.shape[1]])

    def query(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction q into a vector (d,) whose inner product with a signature estimates q · x.

        Exact as far as the components span q, apart from the rounding of the signature.
        """
        direction = direction.astype(np.float32)
        if not self.bases:
            return direction
        return np.asarray((self.components(feature) @ direction) * self.steps[feature])

    def spread(self, coordinates: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn coordinates (n, d) back into the feature vectors (n, F) that they represent."""
        return np.asarray(coordinates @ self.components(feature) if self.bases else coordinates)

    def neuron_queries(self, feature: Feature, neurons: np.ndarray) -> np.ndarray:
        """Return vectors (m, d) whose inner products with a signature are the values of some neurons of its feature."""
        if self.bases:
            return np.asarray(self.components(feature)[:, neurons].T * self.steps[feature])
        queries = np.zeros((len(neurons), self.dim(feature)), dtype=np.float32)
        queries[np.arange(len(neurons)), neurons] = 1
        return queries


def fit(read: PooledBlock, widths: Sequence[int], dims: Dims | None) -> Compressor:
    """Fit the compressor of an index.

    :param read: reads the reservoir's pooled activations block by block.
    :param dims: widths of the signatures; ``None`` keeps whole vectors.
    """
    center = np.zeros((2, sum(widths)), dtype=np.float32)
    for pooling in (0, 1):
        for neurons in layer_slices(widths):
            center[pooling, neurons] = read(pooling, neurons).mean(axis=0, dtype=np.float64)
    if dims is None:
        ones = {feature: np.ones(len(POOLINGS[feature]) * sum(widths), np.float32) for feature in POOLINGS}
        return Compressor(tuple(widths), center, {}, ones)
    total = sum(widths)
    balance = _balance(read, center, widths)
    raw, along = _components(lambda: _raw_blocks(read, center, widths, balance), total, dims[Feature.MEAN])
    unit, unit_along = _components(lambda: _unit_blocks(read, center, widths), 2 * total, dims[Feature.UNIT])
    # The first half of the raw sample are means, the second are drifts; see _raw_blocks.
    means = (len(along) + 1) // 2
    steps = {
        Feature.MEAN: steps_of(along[:means]),
        Feature.DRIFT: steps_of(along[means:, : dims[Feature.DRIFT]] / balance),
        Feature.UNIT: steps_of(unit_along),
    }
    return Compressor(tuple(widths), center, {BasisName.RAW: raw, BasisName.UNIT: unit}, steps)


def with_words(compressor: Compressor, documents: Sequence[Document], dim: int) -> Compressor:
    """Add what makes signatures of words, fitted to the terms of the reservoir's rows.

    :param dim: width of the signatures.
    """
    vocabulary, along = fit_vocabulary(documents, dim)
    return replace(
        compressor, steps={**compressor.steps, Feature.WORDS: steps_of(along)}, vocabulary=lambda: vocabulary
    )


def steps_of(along: np.ndarray) -> np.ndarray:
    """Return the steps (d,) that cover the coordinates (n, d) of a sample."""
    reach = np.abs(along).max(axis=0, initial=0) * _HEADROOM / LEVELS
    return np.where(reach > 0, reach, 1).astype(np.float32)


def _halves(read: PooledBlock, center: np.ndarray, neurons: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return one layer's centred means of the even rows, and its centred drifts of the odd ones."""
    return read(0, neurons)[0::2] - center[0, neurons], read(1, neurons)[1::2] - center[1, neurons]


def _balance(read: PooledBlock, center: np.ndarray, widths: Sequence[int]) -> np.float32:
    """Return the factor that scales the drifts to the total variance of the means."""
    energy = np.zeros(2)
    for neurons in layer_slices(widths):
        halves = _halves(read, center, neurons)
        energy += [float(np.vdot(half, half)) / half.size if half.size else 0.0 for half in halves]
    return np.float32(np.sqrt(energy[0] / energy[1])) if energy.all() else np.float32(1.0)


def _raw_blocks(
    read: PooledBlock, center: np.ndarray, widths: Sequence[int], balance: np.float32
) -> Iterator[np.ndarray]:
    """Yield the means of half of the rows and the drifts of the other half, scaled to the same total variance."""
    for neurons in layer_slices(widths):
        means, drifts = _halves(read, center, neurons)
        yield np.concatenate([means, drifts * balance])


def _unit_blocks(read: PooledBlock, center: np.ndarray, widths: Sequence[int]) -> Iterator[np.ndarray]:
    for pooling in (0, 1):
        for neurons in layer_slices(widths):
            yield unit_block(read(pooling, neurons) - center[pooling, neurons], len(widths))


def _components(blocks: Callable[[], Iterator[np.ndarray]], length: int, dim: int) -> tuple[Basis, np.ndarray]:
    """Compute the leading right singular vectors of a matrix (n, length), and the coordinates (n, d) of its rows.

    :param blocks: iterates over the column blocks of the matrix, from the start at every call.
    """
    gram: np.ndarray | float = 0.0
    for block in blocks():
        gram = gram + (block @ block.T).astype(np.float64)
    values, vectors = top_eigenpairs(np.asarray(gram), dim)
    loadings = (vectors / np.sqrt(values)).T.astype(np.float32)
    components = np.empty((len(loadings), length), dtype=np.float32)
    start = 0
    for block in blocks():
        end = start + block.shape[1]
        np.matmul(loadings, block, out=components[:, start:end])
        start = end
    variances = (values / len(vectors)).astype(np.float32)
    return Basis(components, variances), (vectors * np.sqrt(values)).astype(np.float32)
