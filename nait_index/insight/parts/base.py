"""What every way of taking a score apart gives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Block:
    """A run of parts that belong to one layer, and one pooling where there are several.

    :param layer: ``None`` where it is not known. :param where: their places among all parts.
    """

    layer: int | None
    pooling: str | None
    where: slice


@dataclass(frozen=True, slots=True)
class Strongest:
    """The rows that fire a neuron hardest.

    :param ordinals: (k,) their places in table order; :param values: (k,) how hard.
    """

    ordinals: np.ndarray
    values: np.ndarray


class Parts(Protocol):
    """One capability's score of any row, as ``baseline + Σ parts``."""

    unit: str
    """What a part stands for: ``neuron``, or ``feature`` of a sparse autoencoder."""

    zero: str
    """The row whose parts are all 0, in words."""

    blocks: tuple[Block, ...]

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Take the score of a row apart: the baseline, and what each of F neurons adds to it (F,) float64."""

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Give the mean parts of some rows: (F,) float64."""

    def firing(self, parts: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Tell how hard a row fires some neurons.

        :param parts: (m,) their places among all parts.
        :returns: (m,) how hard, and (m,) how many of the corpus's standard deviations off its mean that is, ``None``
            where it is not known.
        """

    def strongest(self, parts: np.ndarray, below: np.ndarray, count: int) -> list[Strongest]:
        """Give the rows that fire each of some neurons (m,) hardest.

        :param below: (m,) bool, whether that is as far as can be below the corpus mean, and not above it.
        """

    def likeness(self, ordinal: int) -> np.ndarray:
        """Give how alike a row is to every example: (E,), 1 is the same."""
