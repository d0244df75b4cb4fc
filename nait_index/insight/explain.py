"""Why a row is ranked where it is: its score as a sum, its rank, and what would have to change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nait_index.capabilities.examples import ExampleEncoder
from nait_index.errors import SelectionError
from nait_index.insight.dense import DenseParts
from nait_index.insight.explanation import Explanation, FiringRow, NearestExample, NeuronPart, RankPosition
from nait_index.insight.parts import LayerShares, by_layer
from nait_index.insight.sparse import MonaParts, NagParts
from nait_index.insight.words import words_of
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.ranking import RankingRequest, score_rows
from nait_index.signatures.features import POOLINGS

Parts = DenseParts | NagParts | MonaParts

_SPARSE: Mapping[MethodName, type[NagParts | MonaParts]] = {MethodName.NAG: NagParts, MethodName.MONA: MonaParts}
"""Methods whose scores are sums over what a sparse signature lists."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much an explanation lists: neurons, rows that activate each of them most, nearest examples."""

    neurons: int = 10
    rows: int = 3
    examples: int = 3


def explainable() -> list[str]:
    """Return the names of the methods whose scores are sums over neurons or features."""
    return [str(name) for name in MethodName if method_of(name).feature in POOLINGS or name in _SPARSE]


def parts_of(rows: IndexRows, request: RankingRequest, layers: tuple[int, ...]) -> Parts:
    """Return the decomposition of the scores for the request's only capability.

    :param layers: numbers of the captured layers.
    :raises SelectionError: the method's score is not a sum over neurons.
    """
    (examples,) = request.examples
    query = method_of(request.method).query(examples, rows)
    if query is not None and query.feature in POOLINGS:
        return DenseParts(query, examples, rows, layers)
    if request.method in _SPARSE:
        return _SPARSE[request.method](examples, rows, layers)
    raise SelectionError(
        f"the score of {request.method} is not a sum over neurons, so it cannot be taken apart; explain with --method "
        + ", ".join(explainable())
    )


def layer_shares(
    rows: IndexRows, request: RankingRequest, layers: tuple[int, ...], ordinals: np.ndarray
) -> LayerShares:
    """Decompose the mean score of some rows (k,) by layer, and by the views beside the neurons.

    :raises SelectionError: as for :func:`parts_of`.
    """
    parts = parts_of(rows, request, layers)
    return LayerShares((*by_layer(parts.blocks, parts.mean(ordinals)), *parts.beside(ordinals)))


def explain(
    rows: IndexRows,
    request: RankingRequest,
    layers: tuple[int, ...],
    row_id: str,
    depth: Depth,
    encoder: Callable[[], ExampleEncoder] | None,
) -> Explanation:
    """Decompose the score of one row for the request's only capability.

    :param encoder: loads the model, which splits the score among words; ``None`` leaves the words out.
    :raises SelectionError: there is no such row, it does not pass the filter, or the score cannot be decomposed.
    """
    request.budget.refuse_tokens()
    parts = parts_of(rows, request, layers)
    ordinal = rows.ordinal(row_id)
    (capability,) = request.capabilities
    scores = score_rows(rows, request)[0]
    if not np.isfinite(scores[ordinal]):
        raise SelectionError(f"row {row_id!r} does not pass --where, so it has no rank; leave out --where")
    position = position_of(rows, scores, ordinal, request.k)
    baseline, values = parts.of(ordinal)
    neurons, views = _neurons(rows, parts, values, ordinal, depth), parts.beside(np.array([ordinal]))
    return Explanation(
        id=row_id,
        row=rows.take([ordinal], ["row"])["row"][0],
        capability=capability.name,
        method=str(request.method),
        score=baseline + float(values.sum()) + sum(part.contribution for part in views),
        baseline=baseline,
        zero=parts.zero,
        unit=parts.unit,
        layers=by_layer(parts.blocks, values),
        views=views,
        neurons=neurons,
        rest=float(values.sum()) - sum(part.contribution for part in neurons),
        nearest=_nearest(parts, capability.examples, ordinal, depth.examples),
        position=position,
        flips=flips(values, position),
        movable=bool((values > 0).any() if position.is_in else (values < 0).any()),
        words=None if encoder is None else words_of(rows, ordinal, parts.token_direction(ordinal), encoder()),
    )


def position_of(rows: IndexRows, scores: np.ndarray, ordinal: int, chosen: int) -> RankPosition:
    """Return a row's rank, with ties in the order of ids.

    :param scores: (n,) of all rows, NaN for those that may not be chosen.
    """
    score = scores[ordinal]
    row_id, *tied = rows.take_ids(np.array([ordinal, *np.flatnonzero(scores == score)]))
    rank = int((scores > score).sum()) + sum(other < row_id for other in tied) + 1
    ordered = np.sort(scores[np.isfinite(scores)])[::-1]
    after = float(ordered[chosen]) if chosen < len(ordered) else None
    return RankPosition(rank, len(ordered), chosen, float(score), float(ordered[chosen - 1]), after)


def flips(values: np.ndarray, position: RankPosition) -> int | None:
    """Count the neurons that must stop contributing for the row to change sides; ``None`` if even all are too few.

    A chosen row must fall below the first row not chosen: just below the last chosen one, it would still be chosen.

    :param values: (F,) what each adds.
    """
    border = position.after if position.is_in else position.cut
    if border is None:
        return None
    ordered = np.sort(values[values > 0])[::-1] if position.is_in else np.sort(values[values < 0])
    left = position.score - np.cumsum(ordered)
    enough = np.flatnonzero(left < border if position.is_in else left > border)
    return int(enough[0]) + 1 if len(enough) else None


def _neurons(rows: IndexRows, parts: Parts, values: np.ndarray, ordinal: int, depth: Depth) -> tuple[NeuronPart, ...]:
    """Describe the neurons that add or subtract most, largest first; ties in their order."""
    order = np.argsort(-np.abs(values), kind="stable")[: depth.neurons]
    order = order[values[order] != 0]
    activations, deviations = parts.activations(order, ordinal)
    below = np.zeros(len(order), bool) if deviations is None else deviations < 0
    strongest = parts.strongest(order, below, depth.rows)
    ordinals = np.unique(np.concatenate([np.zeros(0, np.int64), *(hits.ordinals for hits in strongest)]))
    described = dict(
        zip(ordinals.tolist(), zip(*rows.take(ordinals, ["id", "row"]).values(), strict=True), strict=True)
    )
    neurons = []
    for i, number in enumerate(order.tolist()):
        block = next(block for block in parts.blocks if block.where.start <= number < block.where.stop)
        firing = zip(strongest[i].ordinals.tolist(), strongest[i].scores.tolist(), strict=True)
        neurons.append(
            NeuronPart(
                layer=block.layer,
                pooling=block.pooling,
                number=number - block.where.start,
                contribution=float(values[number]),
                activation=float(activations[i]),
                deviation=None if deviations is None else float(deviations[i]),
                rows=tuple(FiringRow(described[row][0], activation, described[row][1]) for row, activation in firing),
            )
        )
    return tuple(neurons)


def _nearest(parts: Parts, examples: Examples, ordinal: int, count: int) -> tuple[NearestExample, ...]:
    similarity = parts.similarity(ordinal)
    order = np.argsort(-similarity, kind="stable")[:count].tolist()
    return tuple(NearestExample(i + 1, float(similarity[i]), examples.texts[i]) for i in order)
