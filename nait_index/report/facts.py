"""What a report shows, as plain facts: no HTML."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.report.representation import Representation
from nait_index.report.request import ReportRequest
from nait_index.report.rows import ShownRow

if TYPE_CHECKING:
    from nait_index.insight.compare import Comparison


GroupCounts = tuple[tuple[str, int], ...]
"""Rows by group: the largest first, or in the order of the groups."""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What the index holds.

    :param source_field: the field that ``sources`` are counted by. :param sources_read: how many rows were counted.
    :param lengths: rows by length in tokens. :param quantiles: 5, 50 and 95 % of the lengths in tokens.
    :param reasons: why rows were rejected, with counts. :param left_out: kinds of parts that the template leaves out of
        rows. :param unread: a sentence on each file with fields of text that are not read.
    :param duplicates: a sentence on near-duplicates.
    """

    rows: int
    tokens: int
    truncated: int
    rejected: int
    source_field: str
    sources: GroupCounts
    sources_read: int
    lengths: GroupCounts
    quantiles: tuple[int, int, int]
    formats: GroupCounts
    reasons: GroupCounts
    left_out: GroupCounts
    unread: tuple[str, ...]
    duplicates: str


@dataclass(frozen=True, slots=True)
class ScoreHistogram:
    """Scores in bins: (b + 1,) edges, (b,) counts of the chosen rows, (b,) of the others."""

    edges: np.ndarray
    chosen: np.ndarray
    others: np.ndarray


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """How much each layer contributes to what distinguishes the chosen rows.

    :param shares: of every layer, by pooling; they add up to 1, and a layer that speaks against the rows is negative.
    """

    names: tuple[str, ...]
    shares: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class CapabilityFacts:
    """One capability and what it chooses.

    :param examples: how many it was made from. :param cut: the lowest chosen score.
    :param layers: ``None`` where the method has none.
    """

    name: str
    examples: int
    chosen: int
    cut: float
    scores: ScoreHistogram
    groups: tuple[Representation, ...]
    layers: LayerFacts | None
    top: tuple[ShownRow, ...]
    just_in: tuple[ShownRow, ...]
    just_out: tuple[ShownRow, ...]
    bottom: tuple[ShownRow, ...]


@dataclass(frozen=True, slots=True)
class CoreRow:
    """One row of the core; ``stability`` is the share of resamples in which it stays, ``None`` if there were none."""

    votes: int
    stability: float | None
    shown: ShownRow


@dataclass(frozen=True, slots=True)
class CoreFacts:
    """What several capabilities agree on.

    :param sizes: (C,) rows that at least 1, 2, … C of them choose; :param chance: (C,) what random choices would give.
    :param votes: how many must agree for the listed rows. :param stability: of every one of these rows.
    :param no_stability: why it was not measured; empty where it was.
    """

    sizes: tuple[int, ...]
    chance: tuple[float, ...]
    votes: int
    size: int
    rows: tuple[CoreRow, ...]
    stability: tuple[float, ...]
    redraws: int
    no_stability: str


@dataclass(frozen=True, slots=True)
class RowMap:
    """Some rows in two dimensions.

    :param coordinates: (m, 2) within -1 … 1. :param evenly: how many were drawn uniformly from all rows, the first
        ones; :param added: how many more from the choices.
    :param chosen: for each capability, the numbers of the points that it chooses, best first.
    :param percentiles: (C, m) of the scores, 0 … 100.
    :param sources: (m,) int, into ``source_names``. :param texts: (m,) the beginning of each.
    """

    coordinates: np.ndarray
    method: str
    evenly: int
    added: int
    ids: tuple[str, ...]
    tokens: tuple[int, ...]
    sources: np.ndarray
    source_names: tuple[str, ...]
    chosen: tuple[np.ndarray, ...]
    percentiles: np.ndarray
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report shows.

    :param info: as :meth:`NaitIndex.info` returns it. :param available: rows that could be chosen.
    :param budget: how many each capability chooses. :param notes: what was left out, and why.
    """

    request: ReportRequest
    info: Mapping[str, Any]
    available: int
    budget: int
    corpus: CorpusFacts
    capabilities: tuple[CapabilityFacts, ...]
    comparison: "Comparison | None"
    core: CoreFacts | None
    map: RowMap | None
    notes: tuple[str, ...]
