"""From a request to ranked rows: which rows score highest for each of some capabilities."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nait_index.capabilities.capability import Capability
from nait_index.config import SearchMode, Selector
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.hits import Hits, best
from nait_index.search.rows import IndexRows
from nait_index.selection.blend import blend
from nait_index.selection.budget import Budget
from nait_index.selection.quota import Mix, Quota

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """Which rows are ranked for which capabilities, how, and how many are chosen.

    :param available: how many rows may be chosen; :param allowed: (n,) bool, which they are, ``None`` for all.
    :param where: the SQL filter that ``allowed`` comes from.
    :param blend: weights of the quality scores that are blended in, by column; :param quality: (n,) each, those scores.
    :param search: how dense signatures are searched.
    :param decontaminate: whether rows that are like an example are left out, and the next best chosen instead.
    :param unlike: capabilities that are not wanted, whose examples those of ``capabilities`` know.
    :param dedup: likeness from which on rows are near-duplicates, of which the best is kept.
    :param quotas: how many of the chosen rows may have the same value, with the values of all rows (n,) as numbers.
    :param select: which of the best rows are taken. :param mix: the part that is drawn at random.
    """

    capabilities: Sequence[Capability]
    method: MethodName
    budget: Budget
    available: int
    allowed: np.ndarray | None = None
    where: str | None = None
    blend: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)
    search: SearchMode = SearchMode.EXACT
    decontaminate: bool = False
    unlike: Sequence[Capability] = ()
    dedup: float | None = None
    quotas: Sequence[tuple[Quota, np.ndarray]] = ()
    select: Selector = Selector.TOP
    mix: Mix | None = None

    @property
    def k(self) -> int:
        """How many rows each capability chooses.

        :raises SelectionError: the budget cannot be met, or is ``auto``.
        """
        return self.budget.resolve(self.available)

    @property
    def cleaning(self) -> str:
        """The options that leave rows out of what was chosen; empty if there are none."""
        given = {
            "--decontaminate": self.decontaminate,
            "--dedup": self.dedup is not None,
            "--at-most": bool(self.quotas),
        }
        return " with ".join(option for option, is_given in given.items() if is_given)

    @property
    def examples(self) -> list[Examples]:
        """The examples of each capability."""
        return [capability.examples for capability in self.capabilities]

    def without(self, ordinals: np.ndarray, rows: int) -> "RankingRequest":
        """Return the request with some rows left out, asking for no more rows than are left.

        :param rows: of the whole index.
        """
        allowed = np.ones(rows, bool) if self.allowed is None else self.allowed.copy()
        allowed[ordinals] = False
        left = int(allowed.sum())
        k = min(self.k, left)
        return replace(
            self,
            allowed=allowed,
            available=left,
            budget=replace(self.budget, rows=k, share=None),
            search=SearchMode.EXACT,
        )


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows for one capability, best first, ties in the order of their ids.

    :param ordinals: their positions in table order.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]


def rank(
    rows: IndexRows, capabilities: Sequence[Examples], request: RankingRequest, k: int | None = None
) -> list[Ranked]:
    """Return the rows that score highest, for each of some capabilities.

    :param capabilities: the examples of each; those of the request, or resampled ones.
    :param k: how many rows, if not as many as requested.
    :raises CapabilityError: the method needs more examples.
    """
    logger.info("scoring %d rows by %s", len(rows), request.method)
    k = request.k if k is None else k
    started = time.monotonic()
    deep = len(rows) if request.blend else k
    best_rows = method_of(request.method).rank_all(capabilities, rows, deep, request.allowed, request.search)
    if request.blend:
        best_rows = [_blended(rows, hits, request, k) for hits in best_rows]
    ranked = [_ranked(rows, hits, k) for hits in best_rows]
    logger.info("%d rows scored in %.1f s for %d queries", len(rows), time.monotonic() - started, len(capabilities))
    return ranked


def _ranked(rows: IndexRows, hits: Hits, k: int) -> Ranked:
    ids = rows.take_ids(hits.ordinals)
    order = best_first(hits.scores, ids)[:k]
    return Ranked(
        tuple(map(ids.__getitem__, order.tolist())),
        tuple(hits.scores[order].tolist()),
        tuple(hits.ordinals[order].tolist()),
    )


def best_first(scores: np.ndarray, ids: Sequence[str]) -> np.ndarray:
    """Return the order of scores (k,) from the highest; ties in the order of their ids, which alone are compared."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    ends = np.r_[starts[1:], len(order)]
    tied = ends - starts > 1
    for start, end in zip(starts[tied].tolist(), ends[tied].tolist(), strict=True):
        order[start:end] = sorted(order[start:end].tolist(), key=ids.__getitem__)
    return order


def _blended(rows: IndexRows, hits: Hits, request: RankingRequest, k: int) -> Hits:
    """Blend the method's ranks of all rows that may be chosen with those of their quality."""
    scores = np.full(len(rows), np.nan)
    scores[hits.ordinals] = hits.scores
    blended = _rounded_blend(scores, request)
    ordinals = best(blended, k, np.isfinite(blended)).ordinals
    return Hits(blended[ordinals], ordinals)


def _rounded_blend(scores: np.ndarray, request: RankingRequest) -> np.ndarray:
    # Sums of ranks are often equal but for rounding: such rows are ties, in the order of their ids.
    return np.round(blend(scores, request.quality, request.blend), 12)


def score_rows(rows: IndexRows, request: RankingRequest, capabilities: Sequence[Examples] | None = None) -> np.ndarray:
    """Score all rows as a request asks: (C, n) float64.

    :param capabilities: the examples of each; those of the request, or resampled ones.
    :returns: NaN for rows that may not be chosen.
    """
    capabilities = request.examples if capabilities is None else capabilities
    scores = np.full((len(capabilities), len(rows)), np.nan)
    every_row = method_of(request.method).rank_all(capabilities, rows, request.available, request.allowed)
    for of_capability, hits in zip(scores, every_row, strict=True):
        of_capability[hits.ordinals] = hits.scores
    if request.blend:
        return np.stack([_rounded_blend(of_capability, request) for of_capability in scores])
    return scores
