"""How capabilities relate: what they choose in common, how alike they rank everything, and which say the same twice."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nait_index.errors import SelectionError
from nait_index.methods.registry import method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.ranking import RankingRequest, rank, score_rows

RANKED = 100_000
"""Rows whose order is compared: all of a smaller index, evenly spread ones of a larger."""

_SAME = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """Capabilities × capabilities, C of each; matrices are symmetric.

    :param sizes: (C,) rows that each chooses of :param available: rows.
    :param overlap: (C, C) int64, rows that two choose alike; on the diagonal, what one chooses.
    :param chance: (C, C) how many two random choices of these sizes would have in common.
    :param correlation: (C, C) Spearman's rank correlation of the scores of :param ranked: rows.
    :param cosine: (C, C) of the directions that are searched for; ``None`` where a method has none.
    """

    names: tuple[str, ...]
    method: str
    budget: str
    available: int
    ranked: int
    sizes: tuple[int, ...]
    overlap: np.ndarray
    chance: np.ndarray
    correlation: np.ndarray
    cosine: np.ndarray | None

    @property
    def lift(self) -> np.ndarray:
        """(C, C): how many times as likely as any row a row that one chooses is to be chosen by the other."""
        return np.asarray(self.overlap / self.chance)

    @property
    def shared(self) -> np.ndarray:
        """(C, C): what two have in common, as a share of the smaller choice."""
        sizes = np.array(self.sizes)
        return np.asarray(self.overlap / np.minimum(sizes[:, None], sizes[None, :]))

    @property
    def merges(self) -> tuple[tuple[str, ...], ...]:
        """Groups that may as well be one capability: linked by pairs that share more than half of the smaller choice.

        None where half and more is what chance gives.
        """
        alike = (self.shared > _SAME) & (self.chance < _SAME * np.minimum.outer(self.sizes, self.sizes))
        groups: list[set[int]] = []
        for i, row in enumerate(alike):
            own = {i, *np.flatnonzero(row).tolist()}
            linked = [group for group in groups if group & own]
            groups = [group for group in groups if not group & own] + [own.union(*linked)]
        return tuple(tuple(self.names[i] for i in sorted(group)) for group in groups if len(group) > 1)

    @property
    def readings(self) -> tuple[str, ...]:
        """Say of every capability which other one its choice serves most."""
        if len(self.names) < 2:
            return ()
        lift = self.lift.copy()
        np.fill_diagonal(lift, -1)
        said = []
        for i, j in enumerate(lift.argmax(axis=1)):
            counts = f"({int(self.overlap[i, j]):,} in common, {self.chance[i, j]:,.1f} by chance)"
            if lift[i, j] < 1.05:
                said.append(
                    f"no other choice holds more rows of {self.names[i]} than chance would; {self.names[j]} comes "
                    f"nearest {counts}"
                )
            else:
                said.append(
                    f"a row chosen for {self.names[i]} is {lift[i, j]:.1f} times as likely as any row to be chosen for "
                    f"{self.names[j]} too {counts}"
                )
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it; matrices in the order of ``names``."""
        return {
            "names": list(self.names),
            "method": self.method,
            "budget": self.budget,
            "available": self.available,
            "ranked": self.ranked,
            "sizes": list(self.sizes),
            "overlap": self.overlap.tolist(),
            "chance": self.chance.round(2).tolist(),
            "lift": self.lift.round(4).tolist(),
            "correlation": self.correlation.round(6).tolist(),
            "cosine": None if self.cosine is None else self.cosine.round(6).tolist(),
            "merges": [list(group) for group in self.merges],
            "readings": list(self.readings),
        }


def compare(rows: IndexRows, request: RankingRequest) -> Comparison:
    """Compare what the capabilities of a request choose and how they rank.

    :raises SelectionError: there are fewer than two.
    """
    if len(request.capabilities) < 2:
        raise SelectionError(
            f"a comparison needs at least two capabilities, not {len(request.capabilities)}; give another -c, or store "
            "more with 'nait-index capability add'"
        )
    chosen = [set(ranked.ordinals) for ranked in rank(rows, request.examples, request)]
    sizes = np.array([len(ordinals) for ordinals in chosen])
    sampled = _spread(len(rows), request.allowed)
    scores = score_rows(rows, replace(request, allowed=sampled, available=int(sampled.sum())))[:, sampled]
    return Comparison(
        names=tuple(capability.name for capability in request.capabilities),
        method=str(request.method),
        budget=request.budget.text,
        available=request.available,
        ranked=int(sampled.sum()),
        sizes=tuple(sizes.tolist()),
        overlap=np.array([[len(first & second) for second in chosen] for first in chosen]),
        chance=np.outer(sizes, sizes) / request.available,
        correlation=spearman(scores),
        cosine=_cosines(rows, request),
    )


def spearman(scores: np.ndarray) -> np.ndarray:
    """Give the rank correlation of every two rows of some scores (C, m): (C, C). Ties share their mean rank.

    0 where one of the two is the same throughout, which orders nothing; 1 with itself.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1)
    ranks = np.divide(ranks, lengths[:, None], out=np.zeros_like(ranks), where=lengths[:, None] > 0)
    found = ranks @ ranks.T
    np.fill_diagonal(found, 1)
    return np.asarray(np.clip(found, -1, 1))


def _spread(total: int, allowed: np.ndarray | None) -> np.ndarray:
    """Tell which rows (n,) bool have their order compared."""
    candidates = np.arange(total) if allowed is None else np.flatnonzero(allowed)
    looked = np.zeros(total, dtype=bool)
    looked[candidates[_evenly(len(candidates), RANKED)]] = True
    return looked


def _evenly(total: int, most: int) -> np.ndarray:
    """Give places spread evenly over ``total`` ones, at most ``most``: all of them where there are no more."""
    return np.arange(0, total, -(-total // most)) if total else np.zeros(0, np.int64)


def _cosines(rows: IndexRows, request: RankingRequest) -> np.ndarray | None:
    method = method_of(request.method)
    queries = [method.query(examples, rows) for examples in request.examples]
    # A query counts in units of the signature; divided by them it is the direction itself.
    vectors = [query.vector / rows.steps(query.feature) for query in queries if query is not None]
    if not vectors:
        return None
    directions = np.stack(vectors).astype(np.float64)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30)
    return np.asarray(np.clip(directions @ directions.T, -1, 1))
