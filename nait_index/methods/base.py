"""What every method is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from nait_index.signatures.features import Feature

Summary = Mapping[str, np.ndarray]
"""What a method keeps of a capability's examples, by name; enough to make its query later without the examples."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A query before compression: the score of a sample is ``vector · x + constant``, x its feature vector.

    :param vector: float32, as long as the method's feature vectors.
    """

    vector: np.ndarray
    constant: float = 0.0


class Method(Protocol):
    """A way from examples to scores, linear in one of the features."""

    feature: ClassVar[Feature]

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep of the examples' pooled activations (n, 2, D) what the query needs."""

    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Direction:
        """Make the query from a summary.

        :param center: (2, D) mean pooled activations of the corpus.
        :raises CapabilityError: the summary holds too little.
        """
