"""A capability: examples of a target skill, and what the methods need of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nait_index.capabilities.examples import Encoded
from nait_index.corpus import asked_text, plain_text
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.types import Sample


@dataclass(frozen=True, slots=True)
class Capability:
    """A target skill, ready to be asked for by any method that its index has the views for.

    :param examples: what the methods know of them. :param truncated: how many were cut.
    :param rejected: how many more could not be used. :param asked: what each example asks.
    :param made_for: the state of the index whose model and basis the examples were encoded with.
    :param pooled: (E, 2, D) the examples' pooled activations where they were just encoded; ``None`` for a stored one.
    :param samples: the examples themselves where it was just made; none of a stored one.
    :param reasons: why the rejected ones could not be used, where it was just made.
    """

    name: str
    examples: Examples = field(repr=False)
    truncated: int
    rejected: int
    made_for: str = field(repr=False)
    asked: tuple[str, ...] = field(default=(), repr=False)
    pooled: np.ndarray | None = field(default=None, repr=False)
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    reasons: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.examples)


def summarise(pooled: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
    """Collect what the methods keep of the examples' pooled activations (E, 2, D)."""
    summary: dict[str, np.ndarray] = {}
    for name in MethodName:
        summary |= method_of(name).summarise(pooled, widths)
    return summary


def capability_of(name: str, encoded: Encoded, widths: Sequence[int], made_for: str) -> Capability:
    """Make a capability of encoded examples."""
    texts = tuple(plain_text(sample.parts) for sample in encoded.samples)
    return Capability(
        name=name,
        examples=Examples(texts, summarise(encoded.pooled, widths), encoded.signatures),
        truncated=encoded.truncated,
        rejected=len(encoded.rejected),
        made_for=made_for,
        asked=tuple(asked_text(sample.parts) for sample in encoded.samples),
        pooled=encoded.pooled,
        samples=encoded.samples,
        reasons=tuple(f"{own.origin}: {own.reason}" for own in encoded.rejected),
    )


def resampled(capability: Capability, pooled: np.ndarray, widths: Sequence[int], drawn: np.ndarray) -> Examples:
    """Give a capability's examples drawn anew.

    :param pooled: (E, 2, D) their pooled activations; :param drawn: (E,) numbers of the drawn ones.
    """
    own = capability.examples
    return Examples(
        tuple(own.texts[i] for i in drawn),
        summarise(pooled[drawn], widths),
        {name: values[drawn] for name, values in own.signatures.items()},
    )
