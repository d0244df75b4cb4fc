"""A score taken apart: what every decomposition offers, and its parts added up over each layer."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from nait_index.search.hits import Hits


@dataclass(frozen=True, slots=True)
class Block:
    """A run of parts that belong to one layer, and to one pooling if there are several.

    :param layer: ``None`` if it is not known. :param where: the positions of the parts among all F.
    """

    layer: int | None
    pooling: str | None
    where: slice


class Parts(Protocol):
    """One capability's score of any row, as ``baseline + Σ parts``; one part for each of F neurons or features."""

    unit: str
    """What a part belongs to: ``neuron``, or ``feature`` of a sparse autoencoder."""

    zero: str
    """The row whose parts are all 0, in words."""

    blocks: tuple[Block, ...]

    def of(self, ordinal: int) -> tuple[float, np.ndarray]:
        """Return the baseline of a row's score, and what each neuron adds to it (F,) float64."""

    def mean(self, ordinals: np.ndarray) -> np.ndarray:
        """Return the mean parts of some rows: (F,) float64."""

    def activations(self, numbers: np.ndarray, ordinal: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return how strongly a row activates some neurons.

        :param numbers: (m,) positions of the neurons among all F.
        :returns: (m,) activations, and (m,) how many standard deviations of the corpus they are from its mean, ``None``
            if that is not known.
        """

    def strongest(self, numbers: np.ndarray, below: np.ndarray, count: int) -> list[Hits]:
        """Return, for each of some neurons (m,), the rows that activate it most; their scores are the activations.

        :param below: (m,) bool, whether to look for the lowest activations instead.
        """

    def similarity(self, ordinal: int) -> np.ndarray:
        """Return how similar a row is to every example: (E,), where 1 is the same."""

    def token_direction(self, ordinal: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return what makes the direction whose inner product with a row's activations is its score less the baseline.

        :returns: a function from the row's pooled activations (2, D) to the direction (2, D) float64, which is 0 for a
            pooling that is not used.
        :raises SelectionError: the score cannot be split among tokens.
        """


@dataclass(frozen=True, slots=True)
class LayerPart:
    """What one layer, in one pooling, adds to a score."""

    layer: int | None
    pooling: str | None
    contribution: float

    @property
    def name(self) -> str:
        """The layer and pooling in words."""
        layer = "features" if self.layer is None else f"layer {self.layer}"
        return layer if self.pooling is None else f"{layer} {self.pooling}"


@dataclass(frozen=True, slots=True)
class LayerShares:
    """Which layers carry a capability: the mean contribution of every layer to the scores of the chosen rows.

    :param parts: layers in order, one pooling after the other; their sum is the mean score less that of an average row.
    """

    parts: tuple[LayerPart, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each in all that is added or subtracted, negative if it counts against the chosen rows.

        The absolute values add up to 1.
        """
        total = sum(abs(part.contribution) for part in self.parts)
        return tuple(part.contribution / total if total else 0.0 for part in self.parts)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the layers as JSON can hold them."""
        return [asdict(part) | {"share": share} for part, share in zip(self.parts, self.shares, strict=True)]


def by_layer(blocks: Sequence[Block], values: np.ndarray) -> tuple[LayerPart, ...]:
    """Add up the contributions of neurons (F,) over each layer."""
    return tuple(LayerPart(block.layer, block.pooling, float(values[block.where].sum())) for block in blocks)
