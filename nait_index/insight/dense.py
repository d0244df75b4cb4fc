"""Scores of dense signatures: ``probe``, ``contrast``, ``nait``, ``nait-drift``, ``nas``.

A signature s holds the coordinates of a row's feature vector x on the components C, so what the index knows of its
neurons is x̂ = Cᵀs, and a score w·s + b is a sum over them:

    w·s + b = b + Σ_f (Cᵀw)_f · x̂_f

The rows of C are orthonormal, so but for rounding nothing is lost or added: (Cᵀw)·(Cᵀs) = w·s. b is what a row scores
whose neurons are those of the corpus mean. NAS divides by the length of the row's own state, and so is every part of it
divided.
"""

import numpy as np

from nait_index.insight.parts import Block, Strongest
from nait_index.methods.base import Examples, Query
from nait_index.search.hits import best
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import POOLINGS, Feature, layer_slices
from nait_index.signatures.views import NORMS, dense_column

POOLING_NAMES = ("mean", "drift")
_POOLED = (Feature.MEAN, Feature.DRIFT)
_SAMPLE = 1024


class DenseParts:
    """Neurons of every pooling that the method's feature has, layer by layer."""

    unit, zero = "neuron", "an average row"

    def __init__(self, query: Query, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        self.feature = query.feature
        self._rows = rows
        self._examples = examples
        self.constant = query.constant
        self._divisor = query.layer
        vector = rows.as_scored(query.vector, self.feature, finely=self._divisor is None)
        coordinates = vector / rows.steps(self.feature)
        #: (F,) what one unit of each neuron's feature is worth.
        self.direction = rows.compressor.spread(coordinates, self.feature).astype(np.float64)
        total = sum(rows.widths)
        self.blocks = tuple(
            Block(layer, POOLING_NAMES[pooling], slice(at * total + own.start, at * total + own.stop))
            for at, pooling in enumerate(POOLINGS[self.feature])
            for layer, own in zip(layers, layer_slices(rows.widths), strict=True)
        )

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Take the score of a row apart."""
        places = np.array([ordinal])
        length = self.length(ordinal)
        if length == 0:
            return 0.0, np.zeros(len(self.direction))
        return self.constant / length, self.direction * self._known(places)[0] / length

    def length(self, ordinal: int) -> float:
        """Give what the score of a row is divided by."""
        if self._divisor is None:
            return 1.0
        return float(self._rows.signatures(np.array([ordinal]), NORMS)[0, self._divisor])

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Give the mean parts of some rows."""
        signatures = self._rows.signatures(ordinals, dense_column(self.feature))
        if self._divisor is not None:
            lengths = self._rows.signatures(ordinals, NORMS)[:, [self._divisor]]
            signatures = np.divide(signatures, lengths, out=np.zeros(signatures.shape), where=lengths > 0)
        mean = signatures.mean(axis=0, dtype=np.float64)
        return np.asarray(self.direction * self._spread(mean[None])[0])

    def firing(self, parts: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the pooled activations of a row's neurons, as far as its signature holds them."""
        values, off = np.zeros(len(parts)), np.zeros(len(parts))
        for feature, which, neurons in self._by_pooling(parts):
            queries = self._rows.compressor.neuron_queries(feature, neurons)
            own = self._rows.signatures(np.array([ordinal]), dense_column(feature))[0].astype(np.float64) @ queries.T
            sample = self._rows.signatures(np.arange(min(_SAMPLE, len(self._rows))), dense_column(feature)) @ queries.T
            spread = sample.std(axis=0)
            values[which] = own + self._rows.center[POOLINGS[feature][0], neurons]
            off[which] = np.divide(own - sample.mean(axis=0), spread, out=np.zeros_like(own), where=spread > 0)
        return values, off

    def strongest(self, parts: np.ndarray, below: np.ndarray, count: int) -> list[Strongest]:
        """Give the rows of largest, or smallest, pooled activation, as far as signatures hold it."""
        found: dict[int, Strongest] = {}
        for feature, which, neurons in self._by_pooling(parts):
            queries = self._rows.compressor.neuron_queries(feature, neurons)
            middle = self._rows.center[POOLINGS[feature][0], neurons]
            for at, scores, mean in zip(which, self._rows.scores(feature, queries), middle, strict=True):
                sign = -1 if below[at] else 1
                hits = best(sign * scores, count)
                values = sign * hits.scores[:count].astype(np.float64) + mean
                found[int(at)] = Strongest(hits.ordinals[:count], values)
        return [found[at] for at in range(len(parts))]

    def likeness(self, ordinal: int) -> np.ndarray:
        """Give the cosine of the unit vectors, centred and layer by layer, as far as signatures hold them."""
        column, steps = dense_column(Feature.UNIT), self._rows.steps(Feature.UNIT)
        own = self._rows.signatures(np.array([ordinal]), column)[0] * steps
        examples = self._examples.signatures[column] * steps
        lengths = np.linalg.norm(examples, axis=1) * np.linalg.norm(own)
        return np.asarray(np.divide(examples @ own, lengths, out=np.zeros(len(examples)), where=lengths > 0))

    def _known(self, ordinals: np.ndarray) -> np.ndarray:
        """Give x̂ of some rows: (m, F)."""
        return self._spread(self._rows.signatures(ordinals, dense_column(self.feature)))

    def _spread(self, signatures: np.ndarray) -> np.ndarray:
        return self._rows.compressor.spread(signatures * self._rows.steps(self.feature), self.feature)

    def _by_pooling(self, parts: np.ndarray) -> list[tuple[Feature, np.ndarray, np.ndarray]]:
        """Sort parts by pooling: the feature that holds it alone, which of them, and their neurons among D."""
        total = sum(self._rows.widths)
        poolings = np.array(POOLINGS[self.feature])[parts // total]
        return [
            (_POOLED[own], np.flatnonzero(poolings == own), parts[poolings == own] % total)
            for own in np.unique(poolings)
        ]
