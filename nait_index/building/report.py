"""What a build is doing, and what it did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nait_index.building.fitting import unfaithful
from nait_index.building.shift import Shift


class Stage(StrEnum):
    """What a build is doing."""

    READING = "reading"
    ENCODING = "encoding"
    FITTING = "fitting the basis"
    FINISHING = "finishing"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is.

    :param tokens: what this process has run through the model; :param left: about how many are left to run.
    :param size: about how many bytes the index will take, or will take more.
    """

    stage: Stage
    rows: int
    total: int
    tokens: int
    left: int = 0
    size: int = 0


ProgressCallback = Callable[[BuildProgress], None]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: ``read = indexed + present + rejected``; ``truncated`` of the indexed ones.

    :param rows: samples the index now holds; :param tokens: run through the model by this call, in ``seconds``.
    :param replaced: how many of the indexed ones took the place of a row of the same id.
    :param fidelity: how faithful the signatures are; see :class:`~nait_index.building.fidelity.Fidelity`.
    """

    read: int
    indexed: int
    present: int
    truncated: int
    rejected: int
    rows: int
    tokens: int
    seconds: float
    fidelity: Mapping[str, Any] | None = None
    replaced: int = 0
    shift: Shift | None = None

    @property
    def warnings(self) -> list[str]:
        """What the user should know, a line each."""
        stale = [] if self.shift is None else self.shift.warnings
        return [*unfaithful(self.fidelity), *stale]
