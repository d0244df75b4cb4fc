"""The neurons that each row of an index activates most, read a part at a time: what coverage chooses by."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from nait_index.selection.blocks import Proposal, propose
from nait_index.selection.coverage import row_counts
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import TOPK_NUMBERS

if TYPE_CHECKING:
    from nait_index.store.samples import SampleTable

_PART = 2**16
"""Rows that are read at a time: a copy of theirs lies beside what is kept."""


@dataclass(frozen=True, slots=True)
class NeuronSets:
    """The sets of a table's rows, m numbers a row, with numbers that differ between layers.

    It holds no rows, so that it can be sent to where they are read.

    :param widths: neurons of each layer. :param topk: numbers that a row has of each, or all if there are fewer.
    """

    widths: tuple[int, ...]
    topk: int

    @property
    def width(self) -> int:
        """m, how many numbers each set has."""
        return sum(min(self.topk, width) for width in self.widths)

    @property
    def neurons(self) -> int:
        """D, how many neurons there are."""
        return sum(self.widths)

    def sets(self, table: "SampleTable", ordinals: np.ndarray) -> np.ndarray:
        """Read the sets of some rows: (b, m) int32."""
        offsets = neuron_offsets(self.widths, self.topk).astype(np.int32)
        sets = np.empty((len(ordinals), self.width), dtype=np.int32)
        for start in range(0, len(ordinals), _PART):
            part = slice(start, start + _PART)
            np.add(table.signatures_at(ordinals[part], TOPK_NUMBERS), offsets, out=sets[part])
        return sets

    def read(self, table: "SampleTable", ordinals: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Read the sets of some rows, and their ids."""
        return self.sets(table, ordinals), table.take(ordinals, ["id"]).column(0).to_pylist()

    def count(self, table: "SampleTable", ordinals: np.ndarray) -> np.ndarray:
        """Count the rows, of some, that activate each neuron: (D,) int64."""
        return row_counts(self.sets(table, ordinals), self.neurons)

    def propose(self, count: int, weights: np.ndarray, table: "SampleTable", block: np.ndarray) -> Proposal:
        """Propose rows of a block."""
        return propose(partial(self.read, table), block, count, weights)


def parts(rows: int) -> Iterator[np.ndarray]:
    """Yield the ordinals of all rows, a part at a time."""
    for start in range(0, rows, _PART):
        yield np.arange(start, min(start + _PART, rows))
