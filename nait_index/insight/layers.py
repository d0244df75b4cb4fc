"""Which layers carry a capability: what sets its choice apart from the average row, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.insight.parts import Block, Parts


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
