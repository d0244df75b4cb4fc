"""What a report says, as plain facts; no word of HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.report.asked import Asked
from nait_index.report.reading import Words
from nait_index.report.representation import Representation

if TYPE_CHECKING:
    from nait_index.insight.compare import Comparison


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts by name, largest first, or by the edges of bins."""

    names: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the index holds.

    :param source_field: the field that ``sources`` are of. :param sources_read: how many rows they were counted on.
    :param lengths: rows by length band, in tokens. :param quantiles: 5, 50 and 95 % of the lengths in tokens.
    :param reasons: why rows were rejected, with counts.
    """

    rows: int
    tokens: int
    truncated: int
    rejected: int
    source_field: str
    sources: Bars
    sources_read: int
    lengths: Bars
    quantiles: tuple[int, int, int]
    formats: Bars
    reasons: Bars


@dataclass(frozen=True, slots=True)
class Shown:
    """One row, to be read.

    :param rank: its place among the rows that could be chosen, from 1. :param is_cut: whether its words were cut.
    """

    id: str
    rank: int
    score: float
    source: str
    tokens: int
    place: str
    words: Words
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Histogram:
    """Scores in bins: (b + 1,) edges, (b,) counts of the rows that are chosen, (b,) of those that are not."""

    edges: np.ndarray
    chosen: np.ndarray
    others: np.ndarray


@dataclass(frozen=True, slots=True)
class Layers:
    """What each layer carries of what sets the chosen rows apart.

    :param shares: of every layer, by pooling; they add up to 1, and one is negative that speaks against the rows.
    """

    names: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class CapabilityFacts:
    """One capability and what it chooses.

    :param examples: how many it was made of. :param cut: the lowest score that is chosen.
    :param layers: ``None`` where the method has none.
    """

    name: str
    examples: int
    chosen: int
    cut: float
    scores: Histogram
    groups: tuple[Representation, ...]
    layers: Layers | None
    top: tuple[Shown, ...]
    just_in: tuple[Shown, ...]
    just_out: tuple[Shown, ...]
    bottom: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class StableRow:
    """One row of the core; ``stability`` is the share of the redraws in which it stays, ``None`` if none was made."""

    votes: int
    stability: float | None
    shown: Shown


@dataclass(frozen=True, slots=True)
class Core:
    """What several capabilities agree on.

    :param found: (C,) rows that at least 1, 2, … C of them choose; :param chance: (C,) what random choices would give.
    :param votes: how many must agree for the rows that are listed. :param stability: of every one of these rows.
    :param not_redrawn: why there is no stability; empty where there is.
    """

    found: tuple[int, ...]
    chance: tuple[float, ...]
    votes: int
    size: int
    rows: tuple[StableRow, ...]
    stability: tuple[float, ...]
    redraws: int
    not_redrawn: str


@dataclass(frozen=True, slots=True)
class Map:
    """Some rows in two dimensions.

    :param places: (m, 2) within -1 … 1. :param evenly: how many were drawn evenly from all rows, the first ones;
        :param added: how many more of the selections.
    :param chosen: (C, m) bool. :param percentiles: (C, m) of the scores, 0 … 100.
    :param sources: (m,) int, into ``source_names``. :param texts: (m,) the beginning of each.
    """

    places: np.ndarray
    method: str
    evenly: int
    added: int
    ids: tuple[str, ...]
    tokens: tuple[int, ...]
    sources: np.ndarray
    source_names: tuple[str, ...]
    chosen: np.ndarray
    percentiles: np.ndarray
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All of a report.

    :param available: rows that could be chosen. :param budget: how many each capability chooses.
    :param info: what :meth:`NaitIndex.info` says. :param notes: what was left out, and why.
    """

    asked: Asked
    info: Mapping[str, Any]
    available: int
    budget: int
    corpus: Corpus
    capabilities: tuple[CapabilityFacts, ...]
    between: "Comparison | None"
    core: Core | None
    map: Map | None
    notes: tuple[str, ...]
