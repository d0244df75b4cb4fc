"""Scores of dense signatures: ``probe``, ``contrast``, ``nait``, ``nait-drift``, ``nas``.

A signature s holds the coordinates of a row's feature vector x on the components C, so the index knows its neurons as
x̂ = Cᵀs, and a score w·s + b is a sum over them:

    w·s + b = b + Σ_f (Cᵀw)_f · x̂_f

The rows of C are orthonormal, so nothing is lost or added but by rounding: (Cᵀw)·(Cᵀs) = w·s. b is the score of a row
whose neurons are those of the corpus mean. NAS divides the score by the length of the row's activations, and with it
every part. What ``probe`` adds by the words of a row is one more part, which is not split among neurons.
"""

from collections.abc import Callable, Iterator

import numpy as np

from nait_index.config import SearchMode
from nait_index.insight.parts import Block, LayerPart
from nait_index.methods.base import Examples, Query
from nait_index.search.hits import Hits
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import POOLINGS, Feature, layer_slices
from nait_index.signatures.views import NORMS, dense_column
from nait_index.store.samples import spread

POOLING_NAMES = ("mean", "drift")
_POOLED = (Feature.MEAN, Feature.DRIFT)
_SAMPLE = 1024


class DenseParts:
    """Neurons of every pooling of the method's feature, layer by layer.

    ``unit`` names what a part belongs to, ``zero`` is the row whose parts are all 0, in words.
    """

    unit, zero = "neuron", "an average row"

    def __init__(self, query: Query, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        self.feature = query.feature
        self._rows = rows
        self._examples = examples
        self._constant = query.constant
        self._divisor = query.layer
        self._beside = {feature: rows.as_scored(vector, feature) for feature, vector in query.beside.items()}
        vector = rows.as_scored(query.vector, self.feature, finely=self._divisor is None)
        coordinates = vector / rows.steps(self.feature)
        #: (F,) what one unit of each neuron's feature adds.
        self.direction = rows.compressor.spread(coordinates, self.feature).astype(np.float64)
        total = sum(rows.widths)
        self.blocks = tuple(
            Block(layer, POOLING_NAMES[pooling], slice(i * total + where.start, i * total + where.stop))
            for i, pooling in enumerate(POOLINGS[self.feature])
            for layer, where in zip(layers, layer_slices(rows.widths), strict=True)
        )

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Return the baseline of a row's score, and what each neuron adds to it (F,) float64."""
        length = self._length(ordinal)
        if length == 0:
            return 0.0, np.zeros(len(self.direction))
        signatures = self._rows.signatures(np.array([ordinal]), dense_column(self.feature))
        return self._constant / length, self.direction * self._spread(signatures)[0] / length

    def beside(self, ordinals: np.ndarray) -> tuple[LayerPart, ...]:
        """Return what other views add to the scores of some rows, on average."""
        means = {
            feature: self._rows.signatures(ordinals, dense_column(feature)).mean(axis=0, dtype=np.float64) @ vector
            for feature, vector in self._beside.items()
        }
        return tuple(LayerPart(None, str(feature), float(mean)) for feature, mean in means.items())

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the mean parts of some rows: (F,) float64."""
        signatures = self._rows.signatures(ordinals, dense_column(self.feature))
        if self._divisor is not None:
            lengths = self._rows.signatures(ordinals, NORMS)[:, [self._divisor]]
            signatures = np.divide(signatures, lengths, out=np.zeros(signatures.shape), where=lengths > 0)
        mean = signatures.mean(axis=0, dtype=np.float64)
        return np.asarray(self.direction * self._spread(mean[None])[0])

    def activations(self, numbers: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return how strongly a row activates some neurons, as far as its signature holds that.

        :param numbers: (m,) positions of the neurons among all F.
        :returns: (m,) pooled activations, and (m,) how many standard deviations of the corpus they are from its mean;
            ``None`` if that is not known.
        """
        activations, deviations = np.zeros(len(numbers)), np.zeros(len(numbers))
        for feature, which, queries, means in self._by_pooling(numbers):
            column = dense_column(feature)
            centred = self._rows.signatures(np.array([ordinal]), column)[0].astype(np.float64) @ queries.T
            sample = self._rows.signatures(spread(len(self._rows), _SAMPLE), column) @ queries.T
            deviation, off = sample.std(axis=0), centred - sample.mean(axis=0)
            activations[which] = centred + means
            deviations[which] = np.divide(off, deviation, out=np.zeros_like(centred), where=deviation > 0)
        return activations, deviations

    def strongest(self, numbers: np.ndarray, below: np.ndarray, count: int) -> list[Hits]:
        """Return, for each of some neurons (m,), the rows that activate it most; their scores are the activations.

        :param below: (m,) bool, whether to look for the lowest activations instead.
        """
        hits: dict[int, Hits] = {}
        for feature, which, queries, means in self._by_pooling(numbers):
            signs = np.where(below[which], -1, 1).astype(np.float32)
            highest = self._rows.search({feature: queries * signs[:, None]}, count, None, SearchMode.EXACT)
            for i, sign, query, first, mean in zip(which.tolist(), signs, queries, highest, means, strict=True):
                ordinals = first.ordinals[:count]
                centred = self._rows.signatures(ordinals, dense_column(feature)).astype(np.float64) @ query
                order = np.argsort(-sign * centred, kind="stable")
                hits[i] = Hits(centred[order] + mean, ordinals[order])
        return [hits[i] for i in range(len(numbers))]

    def similarity(self, ordinal: int) -> np.ndarray:
        """Return how similar a row is to every example (E,): the cosine of the unit vectors, where 1 is the same."""
        column, steps = dense_column(Feature.UNIT), self._rows.steps(Feature.UNIT)
        row = self._rows.signatures(np.array([ordinal]), column)[0] * steps
        examples = self._examples.signatures[column] * steps
        lengths = np.linalg.norm(examples, axis=1) * np.linalg.norm(row)
        return np.asarray(np.divide(examples @ row, lengths, out=np.zeros(len(examples)), where=lengths > 0))

    def token_direction(self, ordinal: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from a row's pooled activations (2, D) to a direction (2, D) float64.

        The inner product of the two is the row's score less the baseline. The direction is 0 for an unused pooling.
        """
        divisor, center = self._length(ordinal) or 1.0, self._rows.center

        def direction_of(pooled: np.ndarray) -> np.ndarray:
            direction, total = np.zeros(pooled.shape), pooled.shape[1]
            layers = len(self.blocks) // len(POOLINGS[self.feature])
            for block in self.blocks:
                pooling, start = POOLINGS[self.feature][block.where.start // total], block.where.start % total
                neurons = slice(start, start + block.where.stop - block.where.start)
                off = pooled[pooling, neurons] - center[pooling, neurons]
                length = float(np.linalg.norm(off)) * np.sqrt(2 * layers) if self.feature is Feature.UNIT else 1.0
                direction[pooling, neurons] = self.direction[block.where] / (length or 1.0) / divisor
            return direction

        return direction_of

    def _length(self, ordinal: int) -> float:
        """Return the divisor of a row's score."""
        if self._divisor is None:
            return 1.0
        return float(self._rows.signatures(np.array([ordinal]), NORMS)[0, self._divisor])

    def _spread(self, signatures: np.ndarray) -> np.ndarray:
        """Return x̂ for some signatures (m, d): (m, F)."""
        return self._rows.compressor.spread(signatures * self._rows.steps(self.feature), self.feature)

    def _by_pooling(self, numbers: np.ndarray) -> Iterator[tuple[Feature, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, by pooling: its feature, which parts belong to it, their neurons' queries and mean activations."""
        total = sum(self._rows.widths)
        poolings = np.array(POOLINGS[self.feature])[numbers // total]
        for pooling in np.unique(poolings):
            feature, which = _POOLED[pooling], np.flatnonzero(poolings == pooling)
            neurons = numbers[which] % total
            queries = self._rows.compressor.neuron_queries(feature, neurons)
            yield feature, which, queries, self._rows.center[pooling, neurons]
