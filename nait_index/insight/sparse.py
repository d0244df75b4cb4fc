"""Scores of sparse signatures: ``nag``, whose parts are the most active neurons, and ``mona``, whose parts are codes.

nag:   score = Σ_l Σ_{i in S_l(y)} p_l(i) / L            a row that shares no neuron scores 0
mona:  score = Σ_k min(z_k, p_k) / Σ_k max(z_k, p_k)     every part is divided by the whole denominator
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from nait_index.errors import SelectionError
from nait_index.insight.parts import Block, LayerPart
from nait_index.methods.base import Examples
from nait_index.methods.mona import jaccard, mean_of
from nait_index.methods.nag import profile_of
from nait_index.search.hits import Hits
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import layer_slices
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import SAE_NUMBERS, SAE_VALUES, TOPK_NUMBERS, TOPK_VALUES

_BLOCK = 4096
"""Rows whose signatures are held at a time."""


class _SparseParts:
    """Parts that a signature lists by their numbers, with a value each; the methods are those of ``DenseParts``.

    :param offsets: added to the numbers, to count over all layers.
    """

    columns: ClassVar[tuple[str, str]]
    """The columns of the numbers and of the values."""

    def __init__(self, rows: IndexRows, offsets: np.ndarray) -> None:
        self._rows = rows
        self._offsets = offsets

    def activations(self, numbers: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the values of a row's signature, 0 for the numbers that it does not list."""
        known = dict(zip(*self._listed_by(ordinal), strict=True))
        return np.array([known.get(number, 0.0) for number in numbers]), None

    def strongest(self, numbers: np.ndarray, below: np.ndarray, count: int) -> list[Hits]:
        """Return the rows of largest value, reading the signatures of all rows once."""
        hits = [Hits(np.zeros(0), np.zeros(0, np.int64)) for _ in numbers]
        start = 0
        for listed, values in zip(*map(self._rows.blocks, self.columns), strict=True):
            for i, number in enumerate(numbers):
                rows, columns = np.nonzero(listed + self._offsets == number)
                ordinals = np.concatenate([hits[i].ordinals, rows + start])
                scores = np.concatenate([hits[i].scores, values[rows, columns].astype(np.float64)])
                order = np.argsort(-scores, kind="stable")[:count]
                hits[i] = Hits(scores[order], ordinals[order])
            start += len(listed)
        return hits

    def beside(self, ordinals: np.ndarray) -> tuple[LayerPart, ...]:
        """Return nothing: no other view adds to these scores."""
        return ()

    def token_direction(self, ordinal: int) -> Callable[[np.ndarray], np.ndarray]:
        """Refuse, since the score is not linear in the activations.

        :raises SelectionError: always.
        """
        raise SelectionError(
            "this method compares sets of neurons, so its score cannot be split among words; leave --tokens out"
        )

    def _listed(self, ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read the numbers (m, k) int64 and values (m, k) float64 that the signatures of some rows list."""
        numbers, values = (self._rows.signatures(ordinals, column) for column in self.columns)
        return numbers.astype(np.int64) + self._offsets, values.astype(np.float64)

    def _listed_by(self, ordinal: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the numbers (k,) and values (k,) of one row."""
        (numbers,), (values,) = self._listed(np.array([ordinal]))
        return numbers, values


class NagParts(_SparseParts):
    """The neurons of largest impact in every layer."""

    unit, zero = "neuron", "a row that shares no neuron"
    columns = (TOPK_NUMBERS, TOPK_VALUES)

    def __init__(self, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        super().__init__(rows, neuron_offsets(rows.widths, rows.topk))
        self._profile = profile_of(examples, rows)
        self._examples = examples.signatures[TOPK_NUMBERS] + self._offsets
        self.blocks = tuple(
            Block(layer, None, where) for layer, where in zip(layers, layer_slices(rows.widths), strict=True)
        )

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Return the weights of the row's neurons."""
        parts = np.zeros(len(self._profile))
        neurons, _ = self._listed_by(ordinal)
        parts[neurons] = self._profile[neurons]
        return 0.0, parts

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the weight of each neuron times the share of the rows that have it."""
        counts = np.bincount(self._listed(ordinals)[0].ravel(), minlength=len(self._profile))
        return np.asarray(counts / len(ordinals) * self._profile)

    def similarity(self, ordinal: int) -> np.ndarray:
        """Return the share of the row's neurons that each example has too."""
        return np.asarray(np.isin(self._examples, self._listed_by(ordinal)[0]).mean(axis=1))


class MonaParts(_SparseParts):
    """The features of a sparse autoencoder."""

    unit, zero = "feature", "a row that shares no feature"
    columns = (SAE_NUMBERS, SAE_VALUES)

    def __init__(self, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        super().__init__(rows, np.zeros(1, np.int64))
        self._numbers, self._values = (examples.signatures[column] for column in self.columns)
        self._prototype = mean_of(self._numbers, self._values)
        self.blocks: tuple[Block, ...] = (Block(None, None, slice(0, len(self._prototype) - 1)),)

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Return what row and examples share of every feature, divided by the denominator of the score."""
        return 0.0, self._parts(*self._listed_by(ordinal))

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the mean parts of some rows."""
        total = np.zeros(len(self._prototype) - 1)
        for start in range(0, len(ordinals), _BLOCK):
            for signature in zip(*self._listed(ordinals[start : start + _BLOCK]), strict=True):
                total += self._parts(*signature)
        return total / len(ordinals)

    def similarity(self, ordinal: int) -> np.ndarray:
        """Return the generalised Jaccard similarity to each example."""
        numbers, values = self._listed_by(ordinal)
        codes = np.bincount(numbers, weights=values)
        return jaccard(self._numbers, self._values, np.append(codes, 0.0))

    def _parts(self, numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
        parts = np.zeros(len(self._prototype) - 1)
        shared = numbers < len(parts)
        np.add.at(parts, numbers[shared], np.minimum(values[shared], self._prototype[numbers[shared]]))
        denominator = values.sum() + self._prototype.sum() - parts.sum()
        return parts / denominator if denominator > 0 else parts
