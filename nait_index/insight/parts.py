"""The parts of a score, added up over each layer.

A score of any row is ``baseline + Σ parts``, with one part for each of F neurons, or of F features of an autoencoder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Block:
    """A run of parts that belong to one layer, and to one pooling if there are several.

    :param layer: ``None`` if it is not known. :param where: the positions of the parts among all F.
    """

    layer: int | None
    pooling: str | None
    where: slice


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What one layer, in one pooling, adds to a score; or another view than neurons, named in place of a pooling."""

    layer: int | None
    pooling: str | None
    contribution: float

    @property
    def name(self) -> str:
        """The layer and pooling in words."""
        if self.layer is None:
            return self.pooling or "features"
        return f"layer {self.layer}" if self.pooling is None else f"layer {self.layer} {self.pooling}"


@dataclass(frozen=True, slots=True)
class LayerShares:
    """Which layers carry a capability: the mean contribution of every layer to the scores of the chosen rows.

    :param parts: layers in order, one pooling after the other; their sum is the mean score less that of an average row.
    """

    parts: tuple[LayerPart, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each in the sum of absolute contributions, negative if it counts against the chosen rows."""
        total = sum(abs(part.contribution) for part in self.parts)
        return tuple(part.contribution / total if total else 0.0 for part in self.parts)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the layers as JSON can hold them."""
        return [asdict(part) | {"share": share} for part, share in zip(self.parts, self.shares, strict=True)]


def by_layer(blocks: Sequence[Block], values: np.ndarray) -> tuple[LayerPart, ...]:
    """Add up the contributions of neurons (F,) over each layer."""
    return tuple(LayerPart(block.layer, block.pooling, float(values[block.where].sum())) for block in blocks)
