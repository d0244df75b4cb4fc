"""The arms of a proof that an index chooses for: a method's best rows, random rows, and BM25's."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from nait_index.capabilities.capability import Capability
from nait_index.index import NaitIndex
from nait_index.methods.registry import MethodName
from nait_index.proving.heldout import split
from nait_index.proving.plan import RANDOM, Arm, Choose
from nait_index.selection.budget import Budget, Top
from nait_index.types import Sample


class Choices:
    """Lets methods choose from one index, by the half of the examples that a seed shows them.

    :param samples: the examples of every capability. :param where: a SQL condition that rows must pass.
    """

    def __init__(
        self, index: NaitIndex, samples: Mapping[str, Sequence[Sample]], top: Top, where: str | None = None
    ) -> None:
        self._index = index
        self._samples = samples
        self._top = top
        self._where = where
        self.shown = cache(self._shown)

    def _shown(self, capability: str, seed: int) -> Capability:
        """Return a capability as a seed shows it."""
        samples = self._samples[capability]
        return self._index.make_capability_of([samples[row] for row in split(len(samples), seed)[0]], capability)

    def method(self, method: MethodName | str, name: str | None = None) -> Arm:
        """Return the arm of a method."""

        def choose(capability: str | None, seed: int) -> np.ndarray:
            assert capability is not None
            chosen = self._index.query(self.shown(capability, seed), top=self._top, method=method, where=self._where)
            return np.array(chosen.ordinals)

        return Arm(name or str(method), choose)

    def random(self) -> Arm:
        """Return the arm of random rows, as many as the methods choose, the same for every capability."""

        def choose(_: str | None, seed: int) -> np.ndarray:
            ordinals = self._index.columns.passing(self._where)
            size = Budget.parse(self._top).resolve(len(ordinals))
            return np.random.default_rng([seed, 11]).choice(ordinals, size, replace=False)

        return Arm(RANDOM, choose, targeted=False)


def untrained() -> Arm:
    """Return the arm of the model as it is."""
    return Arm("untrained", None, targeted=False)


def fixed(name: str, choose: Choose) -> Arm:
    """Return an arm that chooses the same rows for all capabilities."""
    return Arm(name, choose, targeted=False)
