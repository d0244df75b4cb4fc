"""Why a row stands where it stands: its score as a sum, its rank, and what would have to change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.errors import SelectionError
from nait_index.insight.dense import DenseParts
from nait_index.insight.parts import Block, LayerPart, Parts, by_layer
from nait_index.insight.sparse import MonaParts, NagParts
from nait_index.insight.words import Word, direction_of, words_of
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.ranking import RankingRequest, score_rows


@dataclass(frozen=True, slots=True)
class FiringRow:
    """A row of the corpus that fires a neuron hard.

    :param activation: how hard. :param row: the row itself, as JSON text.
    """

    id: str
    activation: float
    row: str


@dataclass(frozen=True, slots=True)
class NeuronPart:
    """What one neuron, or one feature of a sparse autoencoder, adds to a score.

    :param number: within its layer. :param activation: of the row.
    :param deviation: how many of the corpus's standard deviations off its mean that is; ``None`` where not known.
    :param rows: those of the corpus that fire it hardest, hardest first; where the row's own activation lies below the
        corpus mean, those furthest below it.
    """

    layer: int | None
    pooling: str | None
    number: int
    value: float
    activation: float
    deviation: float | None
    rows: tuple[FiringRow, ...]


@dataclass(frozen=True, slots=True)
class NearestExample:
    """An example that is like the row.

    :param number: which of the capability's examples, from 1. :param likeness: 1 is the same.
    """

    number: int
    likeness: float
    text: str


@dataclass(frozen=True, slots=True)
class RankPosition:
    """Where a row stands among those that may be chosen.

    :param rank: from 1; :param available: of how many. :param chosen: how many the budget takes.
    :param score: that ranks it; :param cut: that of the last row that is chosen, and :param after: of the first that is
        not, ``None`` where all are.
    """

    rank: int
    available: int
    chosen: int
    score: float
    cut: float
    after: float | None

    @property
    def is_in(self) -> bool:
        """Tell whether the row is chosen."""
        return self.rank <= self.chosen

    @property
    def percentile(self) -> float:
        """Give the share of the rows that stand below it, in per cent."""
        return 100 * (self.available - self.rank) / self.available


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row's score for one capability: ``score = baseline + Σ layers``, and ``Σ layers = Σ neurons + rest``.

    :param baseline: what a row scores whose parts are all 0; :param zero: that row, in words.
    :param unit: ``neuron``, or ``feature`` of a sparse autoencoder.
    :param neurons: those that add or take most; :param rest: what all others add up to.
    :param nearest: the examples that are most like the row.
    :param flips: how many of the neurons that count most for the row (against it, where it is out) would have to be as
        in that row for it to change sides; ``None`` where no number of them would do.
    :param movable: whether any neuron counts so.
    :param words: what each word of the row adds, in their order; ``None`` where that was not asked for.
    """

    id: str
    row: str
    capability: str
    method: str
    score: float
    baseline: float
    zero: str
    unit: str
    layers: tuple[LayerPart, ...]
    neurons: tuple[NeuronPart, ...]
    rest: float
    nearest: tuple[NearestExample, ...]
    position: RankPosition
    flips: int | None
    movable: bool = True
    words: tuple[Word, ...] | None = None

    @property
    def words_rest(self) -> float | None:
        """What words do not tell, since signatures are compressed: the score less baseline and words."""
        return None if self.words is None else self.score - self.baseline - sum(word.value for word in self.words)

    @property
    def changes(self) -> tuple[str, ...]:
        """Say what would have to change for the row to be in, or out."""
        own = self.position
        share = f"--top {own.rank} ({100 * own.rank / own.available:.3g}% of {own.available:,})"
        gap = abs(own.score - own.cut)
        if own.is_in:
            less = "any budget takes it" if own.rank == 1 else f"a budget below --top {own.rank} would leave it out"
            budget = f"{less}; it lies {gap:.4g} above the cut"
            kind, there = "for", "it would be out"
        else:
            budget = f"{share} would take it in; it lies {gap:.4g} below the cut"
            kind, there = "against", "it would be in"
        if self.flips is None and not self.movable:
            return budget, f"no {self.unit} counts {kind} it"
        if self.flips is None:
            stays = "in" if own.is_in else "out"
            return budget, f"were all {self.unit}s that count {kind} it as in {self.zero}, it would still be {stays}"
        those = f"{self.unit} that counts" if self.flips == 1 else f"{self.flips:,} {self.unit}s that count"
        return budget, f"were the {those} most {kind} it as in {self.zero}, {there}"

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON can hold it."""
        return {
            "id": self.id,
            "capability": self.capability,
            "method": self.method,
            "score": self.score,
            "baseline": self.baseline,
            "rank": self.position.rank,
            "available": self.position.available,
            "percentile": round(self.position.percentile, 4),
            "chosen": self.position.chosen,
            "cut": self.position.cut,
            "in": self.position.is_in,
            "flips": self.flips,
            "changes": list(self.changes),
            "layers": [{"layer": own.layer, "pooling": own.pooling, "contribution": own.value} for own in self.layers],
            f"{self.unit}s": [_neuron(own) for own in self.neurons],
            "rest": self.rest,
            "nearest": [{"example": own.number, "likeness": own.likeness, "text": own.text} for own in self.nearest],
            "words": None
            if self.words is None
            else [{"text": own.text, "contribution": own.value} for own in self.words],
            "words_rest": self.words_rest,
        }


def _neuron(own: NeuronPart) -> dict[str, Any]:
    return {
        "layer": own.layer,
        "pooling": own.pooling,
        "number": own.number,
        "contribution": own.value,
        "activation": own.activation,
        "deviation": own.deviation,
        "rows": [{"id": row.id, "activation": row.activation} for row in own.rows],
    }


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is told: neurons, rows that fire each of them, examples."""

    neurons: int = 10
    rows: int = 3
    examples: int = 3


Split = Callable[[int, Callable[[np.ndarray], np.ndarray]], tuple[list[str], np.ndarray, np.ndarray]]
"""Encodes the row at a place again, and splits an inner product with its pooled activations (2, D) into its T tokens,
the direction (2, D) being made of them: the tokens' pieces of text, what each adds (T,), and the direction."""


_SPARSE: Mapping[MethodName, type[NagParts | MonaParts]] = {MethodName.NAG: NagParts, MethodName.MONA: MonaParts}
"""Methods whose scores are sums over what a sparse signature holds."""


def explainable() -> list[str]:
    """Return the names of the methods whose scores are sums over neurons or features."""
    return [str(name) for name in MethodName if method_of(name).feature is not None or name in _SPARSE]


def parts_of(method: MethodName, examples: Examples, rows: IndexRows, layers: tuple[int, ...]) -> Parts:
    """Make what takes a capability's scores apart.

    :param layers: numbers of the captured layers.
    :raises SelectionError: the method's score is no sum over neurons.
    """
    query = method_of(method).query(examples, rows)
    if query is not None:
        return DenseParts(query, examples, rows, layers)
    if method in _SPARSE:
        return _SPARSE[method](examples, rows, layers)
    raise SelectionError(
        f"a score of {method} is no sum over neurons, so there is nothing to take apart; explain with --method "
        + ", ".join(explainable())
    )


def explain(
    rows: IndexRows, request: RankingRequest, parts: Parts, ordinal: int, depth: Depth, split: Split | None
) -> Explanation:
    """Take the score of one row apart.

    :param ordinal: the row's place in table order. :param split: ``None`` leaves the words out.
    :raises SelectionError: the row may not be chosen at all, or the method's score is no sum over words.
    """
    sample_id, row = rows.describe(np.array([ordinal]))[ordinal]
    (capability,) = request.capabilities
    scores = score_rows(rows, request)[0]
    if not np.isfinite(scores[ordinal]):
        raise SelectionError(f"row {sample_id!r} does not pass --where, so it has no rank there; leave --where out")
    position = position_of(rows, scores, ordinal, request.k)
    baseline, values = parts.of(ordinal)
    score = baseline + float(values.sum())
    neurons = neurons_of(rows, parts, values, ordinal, depth)
    return Explanation(
        id=sample_id,
        row=row,
        capability=capability.name,
        method=str(request.method),
        score=score,
        baseline=baseline,
        zero=parts.zero,
        unit=parts.unit,
        layers=by_layer(parts.blocks, values),
        neurons=neurons,
        rest=float(values.sum()) - sum(own.value for own in neurons),
        nearest=nearest_of(parts, capability.examples, ordinal, depth.examples),
        position=position,
        flips=flips(values, position),
        movable=bool((values > 0).any() if position.is_in else (values < 0).any()),
        words=None if split is None else _words(rows, parts, ordinal, split),
    )


def _words(rows: IndexRows, parts: Parts, ordinal: int, split: Split) -> tuple[Word, ...]:
    if not isinstance(parts, DenseParts):
        raise SelectionError("this method counts sets of neurons, which no word has a share in; leave --tokens out")
    center, divisor = rows.center, parts.length(ordinal) or 1.0
    pieces, added, direction = split(ordinal, lambda pooled: direction_of(parts, pooled, center, divisor))
    return words_of(pieces, added, direction, center)


def position_of(rows: IndexRows, scores: np.ndarray, ordinal: int, chosen: int) -> RankPosition:
    """Find where a row stands, ties in the order of ids.

    :param scores: (n,) of all rows, NaN for those that may not be chosen.
    """
    own = scores[ordinal]
    ids = rows.take_ids(np.array([ordinal, *np.flatnonzero(scores == own)]))
    before = sum(other < ids[0] for other in ids[1:])
    available = int(np.isfinite(scores).sum())
    rank = int((scores > own).sum()) + before + 1
    ordered = np.sort(scores[np.isfinite(scores)])[::-1]
    after = float(ordered[chosen]) if chosen < available else None
    return RankPosition(rank, available, chosen, float(own), float(ordered[chosen - 1]), after)


def flips(parts: np.ndarray, position: RankPosition) -> int | None:
    """Count the neurons that would have to add nothing for the row to change sides.

    A row that is in has to fall below the first that is out: below the last that is in, it would be the last itself.

    :param parts: (F,) what each adds.
    """
    border = position.after if position.is_in else position.cut
    if border is None:
        return None
    ordered = np.sort(parts[parts > 0])[::-1] if position.is_in else np.sort(parts[parts < 0])
    left = position.score - np.cumsum(ordered)
    enough = np.flatnonzero(left < border if position.is_in else left > border)
    return int(enough[0]) + 1 if len(enough) else None


def neurons_of(rows: IndexRows, parts: Parts, values: np.ndarray, ordinal: int, depth: Depth) -> tuple[NeuronPart, ...]:
    """Describe the neurons that add or take most, largest first; ties in their order."""
    order = np.argsort(-np.abs(values), kind="stable")[: depth.neurons]
    order = order[values[order] != 0]
    activations, deviations = parts.firing(order, ordinal)
    below = np.zeros(len(order), bool) if deviations is None else deviations < 0
    hardest = parts.strongest(order, below, depth.rows)
    texts = rows.describe(np.unique(np.concatenate([np.zeros(0, np.int64), *(own.ordinals for own in hardest)])))
    found = []
    for at, part in enumerate(order):
        block = _block_of(parts.blocks, int(part))
        firing = zip(hardest[at].ordinals, hardest[at].values, strict=True)
        found.append(
            NeuronPart(
                layer=block.layer,
                pooling=block.pooling,
                number=int(part) - block.where.start,
                value=float(values[part]),
                activation=float(activations[at]),
                deviation=None if deviations is None else float(deviations[at]),
                rows=tuple(_firing(texts, int(where), float(value)) for where, value in firing),
            )
        )
    return tuple(found)


def _firing(texts: Mapping[int, tuple[str, str]], ordinal: int, activation: float) -> FiringRow:
    sample_id, row = texts[ordinal]
    return FiringRow(sample_id, activation, row)


def _block_of(blocks: Sequence[Block], part: int) -> Block:
    return next(block for block in blocks if block.where.start <= part < block.where.stop)


def nearest_of(parts: Parts, examples: Examples, ordinal: int, count: int) -> tuple[NearestExample, ...]:
    """Find the examples that are most like a row."""
    likeness = parts.likeness(ordinal)
    order = np.argsort(-likeness, kind="stable")[:count]
    return tuple(NearestExample(int(at) + 1, float(likeness[at]), examples.texts[at]) for at in order)
