"""What every way of taking a score apart gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What one layer, in one pooling, adds to a score."""

    layer: int | None
    pooling: str | None
    value: float

    @property
    def name(self) -> str:
        """Give it a name for people."""
        place = "features" if self.layer is None else f"layer {self.layer}"
        return place if self.pooling is None else f"{place} {self.pooling}"


@dataclass(frozen=True, slots=True)
class LayerShares:
    """The mean contribution of every layer to the scores of the chosen rows.

    :param parts: layers in order, pooling after pooling; they add up to the mean score less what an average row scores.
    """

    parts: tuple[LayerPart, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Give the layers' names."""
        return tuple(part.name for part in self.parts)

    @property
    def shares(self) -> tuple[float, ...]:
        """Give what share of all that is added or taken each one is; negative where it speaks against the chosen rows.

        Their sizes add up to 1.
        """
        total = sum(abs(part.value) for part in self.parts)
        return tuple(part.value / total if total else 0.0 for part in self.parts)

    def to_dict(self) -> list[dict[str, Any]]:
        """Give them as JSON can hold them."""
        return [
            {"layer": part.layer, "pooling": part.pooling, "contribution": part.value, "share": share}
            for part, share in zip(self.parts, self.shares, strict=True)
        ]


def by_layer(blocks: Sequence[Block], parts: np.ndarray) -> tuple[LayerPart, ...]:
    """Add up what neurons contribute (F,) over each layer."""
    return tuple(LayerPart(own.layer, own.pooling, float(parts[own.where].sum())) for own in blocks)


def layer_shares(parts: Parts, ordinals: np.ndarray) -> LayerShares:
    """Take the mean score of some rows apart.

    :param ordinals: (k,) the chosen rows' places in table order.
    """
    return LayerShares(by_layer(parts.blocks, parts.mean(ordinals)))
