"""Dense signatures: feature vectors projected on the principal components of a sample of the corpus, at 8 bits each.

There are two sets of components. ``raw`` spans means and drifts alike and serves both: NAIT projects means on a
direction found among drifts, which a basis fitted to means alone represents badly. ``unit`` spans the unit vectors.

A signature is a row of whole numbers from −127 to 127; times the step of its component, each is a coordinate. Steps
differ, so that a component of small variance is as finely resolved as one of large; since a score is an inner product,
they go into the query, and rows are compared as they are stored.

Components of models with many neurons are kept in float16, which halves their memory: the rounding of a component is
spread over all its neurons, and so changes a coordinate by far less than a step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nait_index.signatures.features import POOLINGS, Feature
from nait_index.signatures.words import Document, Vocabulary

LEVELS = 127
"""Largest size of a code."""

MANY_NEURONS = 1 << 16
"""Those of a model of some 500 million parameters, whose components take 0.8 GB in float32."""

_COLUMNS = 1 << 14
"""Columns of components that are in float32 at a time."""

_HEADROOM = 1.1  # rows outside the sample may lie a little further out than any in it


def component_dtype(neurons: int) -> "np.dtype[np.floating]":
    """Return the dtype in which the components of a model with some neurons are kept."""
    return np.dtype(np.float16 if neurons >= MANY_NEURONS else np.float32)


class BasisName(StrEnum):
    """The two sets of components."""

    RAW = "raw"
    UNIT = "unit"


BASIS_OF = {Feature.MEAN: BasisName.RAW, Feature.DRIFT: BasisName.RAW, Feature.UNIT: BasisName.UNIT}


@dataclass(frozen=True, slots=True)
class Basis:
    """Directions that feature vectors are projected on.

    :param components: (d, F) float32, or float16 from ``MANY_NEURONS`` on, with orthonormal rows; F is the length of
        the vectors.
    :param variances: (d,) float32, mean square along each component over the reservoir, descending.
    """

    components: np.ndarray
    variances: np.ndarray

    def coordinates(self, vectors: np.ndarray, dim: int) -> np.ndarray:
        """Return the leading coordinates (..., dim) float32 of vectors (..., F)."""
        parts = (vectors[..., part] @ self.components[:dim, part].astype(np.float32).T for part in self._parts())
        return np.asarray(sum(parts), dtype=np.float32)

    def spread(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the vectors (..., F) float32 that leading coordinates (..., d) stand for."""
        dim = coordinates.shape[-1]
        parts = [coordinates @ self.components[:dim, part].astype(np.float32) for part in self._parts()]
        return np.concatenate(parts, axis=-1)

    def _parts(self) -> Iterator[slice]:
        """Divide the columns, since float32 takes twice the memory."""
        length = self.components.shape[1]
        return (slice(start, min(start + _COLUMNS, length)) for start in range(0, length, _COLUMNS))


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
        coordinates = self.bases[BASIS_OF[feature]].coordinates(direction, self.dim(feature))
        return np.asarray(coordinates * self.steps[feature])

    def spread(self, coordinates: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn coordinates (n, d) back into the feature vectors (n, F) that they represent."""
        return self.bases[BASIS_OF[feature]].spread(coordinates) if self.bases else coordinates

    def neuron_queries(self, feature: Feature, neurons: np.ndarray) -> np.ndarray:
        """Return vectors (m, d) whose inner products with a signature are the values of some neurons of its feature."""
        if self.bases:
            return np.asarray(self.components(feature)[:, neurons].T.astype(np.float32) * self.steps[feature])
        queries = np.zeros((len(neurons), self.dim(feature)), dtype=np.float32)
        queries[np.arange(len(neurons)), neurons] = 1
        return queries


def steps_of(along: np.ndarray) -> np.ndarray:
    """Return the steps (d,) that cover the coordinates (n, d) of a sample."""
    reach = np.abs(along).max(axis=0, initial=0) * _HEADROOM / LEVELS
    return np.where(reach > 0, reach, 1).astype(np.float32)
