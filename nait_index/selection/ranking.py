"""Capabilities and a method to ranked rows."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nait_index.config import SearchMode
from nait_index.methods.base import Examples, Scanned
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.search.hits import Hits, best
from nait_index.search.rows import IndexRows
from nait_index.selection.blend import blend

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows of one capability, best first, ties in the order of their ids.

    :param ordinals: their places in table order.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """How rows are ranked.

    :param k: how many. :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
    :param blending: weight of every quality score that is blended in; :param quality: (n,) each, those scores.
    """

    method: MethodName
    k: int
    allowed: np.ndarray | None = None
    blending: Mapping[str, float] = field(default_factory=dict)
    quality: Mapping[str, np.ndarray] = field(default_factory=dict)
    mode: SearchMode = SearchMode.EXACT

    def without(self, ordinals: Sequence[int], rows: int) -> "Terms":
        """Give the same with some of all ``rows`` rows left out, and no more asked for than are left."""
        allowed = np.ones(rows, bool) if self.allowed is None else self.allowed.copy()
        allowed[list(ordinals)] = False
        return replace(self, allowed=allowed, k=min(self.k, int(allowed.sum())), mode=SearchMode.EXACT)


def rank(rows: IndexRows, capabilities: Sequence[Examples], terms: Terms, k: int | None = None) -> list[Ranked]:
    """Choose the rows that a method scores highest, for each of some capabilities.

    :param k: how many, if not as the terms say.
    :raises CapabilityError: the method needs more examples.
    """
    k = terms.k if k is None else k
    started = time.monotonic()
    if terms.blending:
        found = [_blended(rows, hits, terms, k) for hits in _hits(rows, capabilities, terms, len(rows))]
    else:
        found = _hits(rows, capabilities, terms, k)
    ranked = [_ranked(rows, hits, k) for hits in found]
    logger.info("%d rows scored in %.1f s for %d queries", len(rows), time.monotonic() - started, len(capabilities))
    return ranked


def _ranked(rows: IndexRows, hits: Hits, k: int) -> Ranked:
    ids = rows.take_ids(hits.ordinals)
    order = sorted(range(len(ids)), key=lambda i: (-float(hits.scores[i]), ids[i]))[:k]
    return Ranked(
        tuple(ids[i] for i in order),
        tuple(float(hits.scores[i]) for i in order),
        tuple(int(hits.ordinals[i]) for i in order),
    )


def _hits(rows: IndexRows, capabilities: Sequence[Examples], terms: Terms, k: int) -> list[Hits]:
    method = METHODS[terms.method]
    if isinstance(method, Scanned):
        return method.rank_all(capabilities, rows, k, terms.allowed, terms.mode)
    return [method.rank(examples, rows, k, terms.allowed) for examples in capabilities]


def _blended(rows: IndexRows, whole: Hits, terms: Terms, k: int) -> Hits:
    """Blend the method's ranks of all rows that may be chosen with those of their quality."""
    scores = np.full(len(rows), np.nan)
    scores[whole.ordinals] = whole.scores
    mixed = blend(scores, terms.quality, terms.blending)
    # Sums of ranks are often equal but for the rounding of their parts: such rows are ties, in the order of their ids.
    rounded = np.round(mixed.scores, 12)
    ordinals = best(rounded, k, mixed.has_all).ordinals
    return Hits(rounded[ordinals], ordinals)


def score_rows(
    rows: IndexRows, capabilities: Sequence[Examples], method: MethodName, allowed: np.ndarray | None = None
) -> np.ndarray:
    """Score rows for several capabilities: (C, n) float64, NaN for rows that may not be chosen.

    :param allowed: (n,) bool; ``None`` for all.
    """
    count = len(rows) if allowed is None else int(allowed.sum())
    scores = np.full((len(capabilities), len(rows)), np.nan)
    for own, examples in zip(scores, capabilities, strict=True):
        hits = METHODS[method].rank(examples, rows, count, allowed)
        own[hits.ordinals] = hits.scores
    return scores
