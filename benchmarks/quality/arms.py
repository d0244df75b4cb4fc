"""What is compared: which rows of the pool each arm trains on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

SHARE = 0.1
CORE_SHARE = 0.3
Ranker = Callable[[str], np.ndarray]
"""Gives all rows of the pool for one capability, best first."""


class Kind(StrEnum):
    """Kinds of arms: ``TOP`` and ``LOW`` take rows for one capability, the others the same for all of them."""

    TOP = "top"
    LOW = "low"
    CORE = "core"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"
    FULL = "full"
    UNTRAINED = "untrained"


@dataclass(frozen=True)
class Arm:
    """One way to choose rows.

    :param method: ranks the pool, for kinds that need a ranking.
    :param examples: how many examples of a capability it is given; ``None`` is all of them.
    """

    kind: Kind
    method: str | None = None
    examples: int | None = None

    @property
    def targeted(self) -> bool:
        """Whether it chooses for one capability."""
        return self.kind in (Kind.TOP, Kind.LOW)

    def __str__(self) -> str:
        name = f"{self.kind}:{self.method}" if self.method else str(self.kind)
        return name if self.examples is None else f"{name}@{self.examples}"


def make_arms(methods: Sequence[str], low: Sequence[str], few: Sequence[int], kinds: Sequence[Kind]) -> list[Arm]:
    """List the arms; the first method is the one that gets few examples, what several choose."""
    first = methods[0]
    several = (Kind.CORE, Kind.ROUND_ROBIN)
    return [
        *(Arm(kind) for kind in (Kind.UNTRAINED, Kind.RANDOM)),
        *(Arm(kind) for kind in kinds if kind is Kind.FULL),
        *(Arm(kind, first) for kind in several if kind in kinds),
        *(Arm(Kind.TOP, method) for method in methods),
        *(Arm(Kind.LOW, method) for method in low),
        *(Arm(Kind.TOP, first, count) for count in few),
    ]


def choose(arm: Arm, capability: str | None, every: Sequence[str], ranked: Ranker, rows: int, seed: int) -> np.ndarray:
    """Give the places in the pool, of ``rows`` rows, that an arm trains on; sorted, so that equal choices are equal.

    :param every: all capabilities, for what several of them choose.
    """
    size = max(1, int(rows * SHARE))
    match arm.kind:
        case Kind.TOP | Kind.LOW:
            assert capability is not None
            ranking = ranked(capability)
            chosen = ranking[:size] if arm.kind is Kind.TOP else ranking[-size:]
        case Kind.CORE:
            chosen = core([ranked(name)[: max(1, int(rows * CORE_SHARE))] for name in every], size)
        case Kind.ROUND_ROBIN:
            chosen = take_turns([ranked(name) for name in every], size)
        case Kind.RANDOM:
            chosen = np.random.default_rng([seed, 7]).choice(rows, size, replace=False)
        case Kind.FULL:
            chosen = np.arange(rows)
        case Kind.UNTRAINED:
            chosen = np.arange(0)
    return np.sort(chosen)


def core(tops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Give the rows that more than half of the choices hold, at most ``size``: most votes first, then best rank.

    There may be fewer; the core is not filled up.
    """
    places = np.concatenate(tops)
    ranks = np.concatenate([np.arange(len(top)) / len(top) for top in tops])
    rows, where, votes = np.unique(places, return_inverse=True, return_counts=True)
    points = np.bincount(where, weights=1 - ranks)
    order = np.lexsort((rows, -points, -votes))
    agreed: np.ndarray = rows[order][votes[order] > len(tops) / 2]
    return agreed[:size]


def take_turns(rankings: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Let every ranking in turn add its best row that is not there yet, until there are ``size``."""
    taken: dict[int, None] = {}
    turns = [iter(ranking.tolist()) for ranking in rankings]
    while len(taken) < size:
        for turn in turns:
            row = next((row for row in turn if row not in taken), None)
            if row is not None and len(taken) < size:
                taken[row] = None
    return np.array(list(taken))
