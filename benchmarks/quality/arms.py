"""The arms that are compared, and the rows of the pool that each one trains on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

SHARE = 0.1
CORE_SHARE = 0.3
Ranker = Callable[[str], np.ndarray]
"""Returns all rows of the pool for one capability, best first."""


class ArmKind(StrEnum):
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
    :param examples: how many examples of a capability it sees; ``None`` for all.
    """

    kind: ArmKind
    method: str | None = None
    examples: int | None = None

    @property
    def targeted(self) -> bool:
        """Whether it chooses for one capability alone."""
        return self.kind in (ArmKind.TOP, ArmKind.LOW)

    def __str__(self) -> str:
        name = f"{self.kind}:{self.method}" if self.method else str(self.kind)
        return name if self.examples is None else f"{name}@{self.examples}"


def make_arms(methods: Sequence[str], low: Sequence[str], few: Sequence[int], kinds: Sequence[ArmKind]) -> list[Arm]:
    """List the arms; the first method is the one for few examples and for several capabilities at once."""
    first = methods[0]
    several = (ArmKind.CORE, ArmKind.ROUND_ROBIN)
    return [
        *(Arm(kind) for kind in (ArmKind.UNTRAINED, ArmKind.RANDOM)),
        *(Arm(kind) for kind in kinds if kind is ArmKind.FULL),
        *(Arm(kind, first) for kind in several if kind in kinds),
        *(Arm(ArmKind.TOP, method) for method in methods),
        *(Arm(ArmKind.LOW, method) for method in low),
        *(Arm(ArmKind.TOP, first, count) for count in few),
    ]


def choose(arm: Arm, capability: str | None, every: Sequence[str], ranked: Ranker, rows: int, seed: int) -> np.ndarray:
    """Return the positions in a pool of ``rows`` rows that an arm trains on, sorted so that choices compare.

    :param every: all capabilities, for the arms that choose for several.
    """
    size = max(1, int(rows * SHARE))
    match arm.kind:
        case ArmKind.TOP | ArmKind.LOW:
            assert capability is not None
            ranking = ranked(capability)
            chosen = ranking[:size] if arm.kind is ArmKind.TOP else ranking[-size:]
        case ArmKind.CORE:
            chosen = core([ranked(name)[: max(1, int(rows * CORE_SHARE))] for name in every], size)
        case ArmKind.ROUND_ROBIN:
            chosen = take_turns([ranked(name) for name in every], size)
        case ArmKind.RANDOM:
            chosen = np.random.default_rng([seed, 7]).choice(rows, size, replace=False)
        case ArmKind.FULL:
            chosen = np.arange(rows)
        case ArmKind.UNTRAINED:
            chosen = np.arange(0)
    return np.sort(chosen)


def core(tops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Return the rows in more than half of the choices, at most ``size``: most votes first, then best rank.

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
    """Take from every ranking in turn its best row not yet taken, until there are ``size``."""
    taken: dict[int, None] = {}
    turns = [iter(ranking.tolist()) for ranking in rankings]
    while len(taken) < size:
        for turn in turns:
            row = next((row for row in turn if row not in taken), None)
            if row is not None and len(taken) < size:
                taken[row] = None
    return np.array(list(taken))
