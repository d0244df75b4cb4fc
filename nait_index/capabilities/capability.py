"""A capability: examples of a target skill, and what the methods need to know about them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nait_index.files import hash_bytes
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.types import Sample

FEW, ENOUGH = 8, 16
"""Fewer examples than ``FEW`` get a warning; ``ENOUGH`` are enough to start with."""


@dataclass(frozen=True, slots=True)
class Capability:
    """A target skill, ready for any method whose view the index has. Its length is the number of examples.

    :param examples: what the methods know about the examples. :param truncated: how many examples were cut.
    :param rejected: how many more could not be used. :param asked: what each example asks, whatever is read.
    :param made_for: identifies the model and the basis that the examples were encoded with; :param digest: the
        examples.
    :param pooled: (E, 2, D) pooled activations of the examples; ``None`` for a stored capability.
    :param samples: the examples themselves; empty for a stored capability.
    :param losses: sentences on what the model does not read of the examples; empty for a stored capability.
    :param reasons: why the rejected ones could not be used; empty for a stored capability.
    """

    name: str
    examples: Examples = field(repr=False)
    truncated: int
    rejected: int
    made_for: str = field(repr=False)
    digest: str = field(default="", repr=False)
    asked: tuple[str, ...] = field(default=(), repr=False)
    pooled: np.ndarray | None = field(default=None, repr=False)
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    reasons: tuple[str, ...] = field(default=(), repr=False)
    losses: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def warnings(self) -> list[str]:
        """What the user should know of the examples, one line each."""
        few = [] if len(self) >= FEW else [f"so few examples say little of a skill; give {ENOUGH} to 64"]
        return [*few, *self.losses]

    @property
    def questions(self) -> int:
        """How many examples have no answer, and so are used by their question; 0 for a stored capability."""
        return sum(not sample.answered for sample in self.samples)


def digest_of(rows: Iterable[str], formats: Iterable[str]) -> str:
    """Return a hash of examples.

    :param rows: as JSON text. :param formats: the row format of each.
    """
    return hash_bytes(json.dumps([*zip(rows, formats, strict=True)]).encode())


def summarise(
    pooled: np.ndarray, widths: Sequence[int], methods: Iterable[MethodName] = MethodName
) -> dict[str, np.ndarray]:
    """Collect what methods keep of the examples' pooled activations (E, 2, D)."""
    summaries = [method_of(name).summarise(pooled, widths) for name in methods] if widths else []
    return {name: values for summary in summaries for name, values in summary.items()}


def resampled(
    capability: Capability,
    pooled: np.ndarray | None,
    widths: Sequence[int],
    drawn: np.ndarray,
    methods: Iterable[MethodName] = MethodName,
) -> Examples:
    """Return some of a capability's examples, drawn with replacement.

    :param pooled: (E, 2, D) pooled activations of all examples; ``None`` for methods that do not need them.
    :param drawn: (E,) numbers of the drawn ones. :param methods: which the examples are for.
    """
    examples = capability.examples
    return Examples(
        tuple(examples.texts[i] for i in drawn),
        {} if pooled is None else summarise(pooled[drawn], widths, methods),
        {name: values[drawn] for name, values in examples.signatures.items()},
        examples.unlike,
        resampled=True,
    )
