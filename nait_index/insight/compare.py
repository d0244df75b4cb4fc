"""How capabilities relate: what they choose in common, how similarly they rank all rows, and which are redundant."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.errors import NaitError, SelectionError
from nait_index.files import atomic_write, check_writable
from nait_index.methods.registry import method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.ranking import RankingRequest, rank, score_rows

RANKED = 100_000
"""Rows whose order is compared: all of a smaller index, evenly spaced ones of a larger."""

_SAME = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """C capabilities compared pairwise; the matrices are symmetric.

    :param sizes: (C,) rows that each chooses of :param available: rows.
    :param overlap: (C, C) int64, rows that two choose in common; on the diagonal, what one chooses.
    :param chance: (C, C) how many two random choices of these sizes would have in common.
    :param correlation: (C, C) Spearman's rank correlation of the scores of :param ranked: rows.
    :param cosine: (C, C) of the query directions; ``None`` if the method has none.
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
        """(C, C): how many times more often two choose the same row than they would by chance."""
        return np.asarray(self.overlap / self.chance)

    @property
    def shared(self) -> np.ndarray:
        """(C, C): the rows in common, as a share of the smaller choice."""
        return np.asarray(self.overlap / np.minimum.outer(self.sizes, self.sizes))

    @property
    def merges(self) -> tuple[tuple[str, ...], ...]:
        """Groups that could be merged, linked by pairs that share over half of the smaller choice, not by chance."""
        linked_by = (self.shared > _SAME) & (self.chance < _SAME * np.minimum.outer(self.sizes, self.sizes))
        groups: list[set[int]] = []
        for i, row in enumerate(linked_by):
            members = {i, *np.flatnonzero(row).tolist()}
            linked = [group for group in groups if group & members]
            groups = [group for group in groups if not group & members] + [members.union(*linked)]
        return tuple(tuple(self.names[i] for i in sorted(group)) for group in groups if len(group) > 1)

    @property
    def readings(self) -> tuple[str, ...]:
        """One sentence per capability: which other one would choose most of the same rows."""
        if len(self.names) < 2:
            return ()
        lift, readings = self.lift.copy(), []
        np.fill_diagonal(lift, -1)
        for i, j in enumerate(lift.argmax(axis=1).tolist()):
            name, other, times = self.names[i], self.names[j], float(lift[i, j])
            counts = f"({int(self.overlap[i, j]):,} in common, {self.chance[i, j]:,.1f} by chance)"
            if times < 1.05:
                reading = f"no other choice holds more rows of {name} than chance would; {other} comes nearest"
            else:
                reading = (
                    f"a row chosen for {name} is {times:.1f} times as likely as any row to be chosen for {other} too"
                )
            readings.append(f"{reading} {counts}")
        return tuple(readings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; matrices in the order of ``names``."""
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

    :raises SelectionError: there are fewer than two, or the budget is in tokens.
    """
    if len(request.capabilities) < 2:
        raise SelectionError(
            f"a comparison needs at least two capabilities, not {len(request.capabilities)}; give another -c, or store "
            "more with 'nait-index capability add'"
        )
    request.budget.refuse_tokens()
    chosen = np.zeros((len(request.capabilities), len(rows)), bool)
    for of_capability, ranked in zip(chosen, rank(rows, request.examples, request), strict=True):
        of_capability[list(ranked.ordinals)] = True
    overlap = np.array([[np.count_nonzero(first & second) for second in chosen] for first in chosen])
    sizes = overlap.diagonal()
    sampled = _sample(len(rows), request.allowed)
    scores = score_rows(rows, replace(request, allowed=sampled, available=int(sampled.sum())))[:, sampled]
    return Comparison(
        names=tuple(capability.name for capability in request.capabilities),
        method=str(request.method),
        budget=request.budget.text,
        available=request.available,
        ranked=int(sampled.sum()),
        sizes=tuple(sizes.tolist()),
        overlap=overlap,
        chance=np.outer(sizes, sizes) / request.available,
        correlation=spearman(scores),
        cosine=_cosines(rows, request),
    )


def spearman(scores: np.ndarray) -> np.ndarray:
    """Return the rank correlation (C, C) of every two rows of some scores (C, m); ties share their mean rank.

    It is 1 on the diagonal, and 0 where one of the two is constant.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(ranks, axis=1)
    ranks = np.divide(ranks, lengths[:, None], out=np.zeros_like(ranks), where=lengths[:, None] > 0)
    correlation = ranks @ ranks.T
    np.fill_diagonal(correlation, 1)
    return np.asarray(np.clip(correlation, -1, 1))


def _sample(total: int, allowed: np.ndarray | None) -> np.ndarray:
    """Return which rows (n,) bool have their order compared: evenly spaced, at most :data:`RANKED`."""
    candidates = np.arange(total) if allowed is None else np.flatnonzero(allowed)
    sampled = np.zeros(total, dtype=bool)
    if len(candidates):
        sampled[candidates[:: -(-len(candidates) // RANKED)]] = True
    return sampled


def _cosines(rows: IndexRows, request: RankingRequest) -> np.ndarray | None:
    method = method_of(request.method)
    queries = [method.query(examples, rows) for examples in request.examples]
    # Queries are in units of the stored signatures; dividing by these gives the direction itself.
    vectors = [
        np.concatenate([vector / rows.steps(feature) for feature, vector in query.parts.items()])
        for query in queries
        if query is not None
    ]
    if not vectors:
        return None
    directions = np.stack(vectors).astype(np.float64)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30)
    return np.asarray(np.clip(directions @ directions.T, -1, 1))


# ---- the comparison as a picture ------------------------------------------------------------------------------------


def check_plot(path: Path, *, force: bool) -> None:
    """Check that a picture can be drawn and written, before any work is done.

    :raises NaitError: the name ends in neither ``.png`` nor ``.svg``, or matplotlib is not installed.
    :raises OutputExistsError: the file exists and ``force`` is not set.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise NaitError(f"{path}: a picture is written as .png or .svg; choose a name that ends in one of them")
    check_writable(path, force=force)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise NaitError("a picture needs matplotlib: pip install 'nait-index[report]'") from error


def plot(comparison: Comparison, path: Path, *, force: bool = False) -> None:
    """Draw the shared rows, the rank correlation and, if there is one, the cosine of the directions.

    :raises NaitError: as for :func:`check_plot`, or the file cannot be written.
    """
    check_plot(path, force=force)
    from matplotlib import rc_context

    figure, form = _figure(comparison), path.suffix.lower().lstrip(".")
    # Without a date, and with fixed names inside an SVG, the same comparison gives the same file.
    metadata = {"Date": None} if form == "svg" else None
    with rc_context({"svg.hashsalt": "nait-index"}), atomic_write(path) as file:
        figure.savefig(file, format=form, dpi=150, bbox_inches="tight", metadata=metadata)


def _figure(comparison: Comparison) -> Any:  # noqa: ANN401 - matplotlib's figure
    from matplotlib.figure import Figure

    names, count = comparison.names, len(comparison.names)
    panels = [
        ("rows in common, share of the smaller choice", comparison.shared, (0, 1), "Blues"),
        ("rank correlation of the scores", comparison.correlation, (-1, 1), "RdBu"),
    ]
    if comparison.cosine is not None:
        panels.append(("cosine of the directions", comparison.cosine, (-1, 1), "RdBu"))
    side = 2.6 + 0.5 * count
    figure = Figure(figsize=(side * len(panels), side + 0.8), layout="constrained")
    pairs = ~np.eye(count, dtype=bool)
    by_chance = (comparison.chance / np.minimum.outer(comparison.sizes, comparison.sizes))[pairs].mean()
    budget = f"top {comparison.budget} of {comparison.available:,} rows"
    figure.suptitle(f"{comparison.method}, {budget}; by chance, {by_chance:.0%} in common")
    for i, (title, values, (low, high), colours) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        axes.imshow(values, vmin=low, vmax=high, cmap=colours)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(count), names, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(count), names if i == 0 else [""] * count, fontsize=8)
        for (row, column), value in np.ndenumerate(values):
            # White on the dark ends of the colour scale.
            dark = abs(value - (low + high) / 2) > 0.35 * (high - low) if low < 0 else value > 0.6
            color = "white" if dark else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
    return figure
