"""A capability and a method to ranked rows."""

from dataclasses import dataclass

import numpy as np

from nait_index.index_rows import IndexRows
from nait_index.methods.base import Examples
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows of one capability, best first, ties in the order of their ids.

    :param ordinals: their places in table order.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]


def rank(rows: IndexRows, examples: Examples, method: MethodName, k: int, allowed: np.ndarray | None) -> Ranked:
    """Choose the ``k`` rows that a method scores highest.

    :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    :raises CapabilityError: the method needs more examples.
    """
    hits = METHODS[method].rank(examples, rows, k, allowed)
    ids = rows.take_ids(hits.ordinals)
    order = sorted(range(len(ids)), key=lambda i: (-float(hits.scores[i]), ids[i]))[:k]
    return Ranked(
        tuple(ids[i] for i in order),
        tuple(float(hits.scores[i]) for i in order),
        tuple(int(hits.ordinals[i]) for i in order),
    )
