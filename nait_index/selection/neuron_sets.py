"""The neurons that each row of an index activates most, read a part at a time: what coverage chooses by."""

from collections.abc import Iterator

import numpy as np

from nait_index.search.rows import IndexRows
from nait_index.selection.coverage import rarity
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import TOPK_NUMBERS

_PART = 2**16
"""Rows that are read at a time: a copy of theirs lies beside what is kept."""


class NeuronSets:
    """The sets of an index, m numbers a row, with numbers that differ between layers."""

    def __init__(self, rows: IndexRows) -> None:
        self._rows = rows
        self._offsets = neuron_offsets(rows.widths, rows.topk).astype(np.int32)
        #: m, how many numbers each set has; and D, how many neurons there are.
        self.width, self.neurons = len(self._offsets), sum(rows.widths)

    def sets(self, ordinals: np.ndarray) -> np.ndarray:
        """Read the sets of some rows: (b, m) int32."""
        sets = np.empty((len(ordinals), self.width), dtype=np.int32)
        for start in range(0, len(ordinals), _PART):
            part = slice(start, start + _PART)
            np.add(self._rows.signatures(ordinals[part], TOPK_NUMBERS), self._offsets, out=sets[part])
        return sets

    def read(self, ordinals: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Read the sets of some rows, and their ids."""
        return self.sets(ordinals), self._rows.take_ids(ordinals)

    def rarity(self) -> np.ndarray:
        """Return the weight of every neuron (D,) by how many rows of the index activate it."""
        return rarity(self._parts(), self.neurons)

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._rows), _PART):
            yield self.sets(np.arange(start, min(start + _PART, len(self._rows))))
