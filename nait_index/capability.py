"""A capability: examples of a target skill, and what every method keeps of their activations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nait_index.building.examples import Examples
from nait_index.methods.registry import METHODS


@dataclass(frozen=True, slots=True)
class Capability:
    """A target skill, ready to be asked for by any method.

    :param summary: what the methods keep of the examples, by name.
    :param examples: how many were used; :param truncated: of these, how many were cut; :param rejected: how many more
        could not be used.
    :param pooled: (n, 2, D) the examples' pooled activations where they were just encoded; ``None`` for a stored one.
    """

    name: str
    summary: Mapping[str, np.ndarray]
    examples: int
    truncated: int
    rejected: int
    pooled: np.ndarray | None = field(repr=False)


def summarise(pooled: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
    """Collect what every method keeps of the examples' pooled activations (n, 2, D)."""
    summary: dict[str, np.ndarray] = {}
    for method in METHODS.values():
        summary |= method.summarise(pooled, widths)
    return summary


def capability_of(name: str, examples: Examples, widths: Sequence[int]) -> Capability:
    """Make a capability of encoded examples."""
    return Capability(
        name=name,
        summary=summarise(examples.pooled, widths),
        examples=len(examples.samples),
        truncated=examples.truncated,
        rejected=len(examples.rejected),
        pooled=examples.pooled,
    )
