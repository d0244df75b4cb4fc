"""Scores of sparse signatures: ``nag``, whose parts are the most active neurons, and ``mona``, whose parts are codes.

nag:   score = Σ_l Σ_{i in S_l(y)} p_l(i) / L            a row that shares no neuron scores 0
mona:  score = Σ_k min(z_k, p_k) / Σ_k max(z_k, p_k)     every part is divided by what either has
"""

import numpy as np

from nait_index.insight.parts import Block, Strongest
from nait_index.methods.base import Examples
from nait_index.methods.mona import jaccard, mean_of
from nait_index.methods.nag import profile_of
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import layer_slices
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import SAE_NUMBERS, SAE_VALUES, TOPK_NUMBERS, TOPK_VALUES


class NagParts:
    """The neurons of largest impact of every layer."""

    unit, zero = "neuron", "a row that shares no neuron"

    def __init__(self, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        self._rows = rows
        self._offsets = neuron_offsets(rows.widths, rows.topk)
        self._profile = profile_of(examples, rows)
        self._examples = examples.signatures[TOPK_NUMBERS] + self._offsets
        self.blocks = tuple(
            Block(layer, None, own) for layer, own in zip(layers, layer_slices(rows.widths), strict=True)
        )

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Give the weights of the row's neurons."""
        parts = np.zeros(len(self._profile))
        own = self._neurons(np.array([ordinal]))[0]
        parts[own] = self._profile[own]
        return 0.0, parts

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Give the weights of the neurons by how many of the rows have them."""
        counts = np.bincount(self._neurons(ordinals).ravel(), minlength=len(self._profile))
        return np.asarray(counts / len(ordinals) * self._profile)

    def firing(self, parts: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the impacts of a row's neurons, 0 for those that are not among its strongest."""
        own, values = self._neurons(np.array([ordinal]))[0], self._rows.signatures(np.array([ordinal]), TOPK_VALUES)[0]
        known = dict(zip(own.tolist(), values.astype(float).tolist(), strict=True))
        return np.array([known.get(int(part), 0.0) for part in parts]), None

    def strongest(self, parts: np.ndarray, below: np.ndarray, count: int) -> list[Strongest]:
        """Give the rows of largest impact."""
        return _strongest(self._rows, TOPK_NUMBERS, TOPK_VALUES, parts, count, self._offsets)

    def likeness(self, ordinal: int) -> np.ndarray:
        """Give the share of the row's neurons that each example has too."""
        own = self._neurons(np.array([ordinal]))[0]
        return np.asarray(np.isin(self._examples, own).mean(axis=1))

    def _neurons(self, ordinals: np.ndarray) -> np.ndarray:
        return np.asarray(self._rows.signatures(ordinals, TOPK_NUMBERS) + self._offsets)


class MonaParts:
    """The features of a sparse autoencoder."""

    unit, zero = "feature", "a row that shares no feature"

    def __init__(self, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> None:
        self._rows = rows
        self._numbers, self._values = examples.signatures[SAE_NUMBERS], examples.signatures[SAE_VALUES]
        self._prototype = mean_of(self._numbers, self._values)
        self.blocks: tuple[Block, ...] = (Block(None, None, slice(0, len(self._prototype) - 1)),)

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Give what row and examples share of every feature, divided by what either has in all."""
        numbers, values = self._codes(np.array([ordinal]))
        return 0.0, self._parts(numbers[0], values[0])

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Give the mean parts of some rows."""
        parts = [self._parts(*own) for own in zip(*self._codes(ordinals), strict=True)]
        return np.asarray(np.mean(parts, axis=0))

    def firing(self, parts: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the row's mean codes, 0 for those that are not among its largest."""
        numbers, values = self._codes(np.array([ordinal]))
        known = dict(zip(numbers[0].tolist(), values[0].tolist(), strict=True))
        return np.array([known.get(int(part), 0.0) for part in parts]), None

    def strongest(self, parts: np.ndarray, below: np.ndarray, count: int) -> list[Strongest]:
        """Give the rows of largest mean code."""
        return _strongest(self._rows, SAE_NUMBERS, SAE_VALUES, parts, count, np.zeros(1, np.int64))

    def likeness(self, ordinal: int) -> np.ndarray:
        """Give the generalised Jaccard similarity to each example."""
        numbers, values = self._codes(np.array([ordinal]))
        own = np.bincount(numbers[0], weights=values[0])
        return jaccard(self._numbers, self._values, np.append(own, 0.0))

    def _codes(self, ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers, values = self._rows.signatures(ordinals, SAE_NUMBERS), self._rows.signatures(ordinals, SAE_VALUES)
        return numbers.astype(np.int64), values.astype(np.float64)

    def _parts(self, numbers: np.ndarray, values: np.ndarray) -> np.ndarray:
        parts = np.zeros(len(self._prototype) - 1)
        there = numbers < len(parts)
        np.add.at(parts, numbers[there], np.minimum(values[there], self._prototype[numbers[there]]))
        most = values.sum() + self._prototype.sum() - parts.sum()
        return parts / most if most > 0 else parts


def _strongest(
    rows: IndexRows, numbers: str, values: str, parts: np.ndarray, count: int, offsets: np.ndarray
) -> list[Strongest]:
    """Read sparse signatures once, and keep for each of some neurons the rows of largest value."""
    kept = [(np.zeros(0, np.int64), np.zeros(0)) for _ in parts]
    start = 0
    for own, sizes in zip(rows.blocks(numbers), rows.blocks(values), strict=True):
        placed = own + offsets
        for at, part in enumerate(parts):
            which, column = np.nonzero(placed == part)
            places = np.concatenate([kept[at][0], which + start])
            found = np.concatenate([kept[at][1], sizes[which, column].astype(np.float64)])
            order = np.argsort(-found, kind="stable")[:count]
            kept[at] = places[order], found[order]
        start += len(own)
    return [Strongest(*own) for own in kept]
