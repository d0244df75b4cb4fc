"""From what would be chosen to what is: without rows that must not be, refilled with the next best; and a random part.

A choice is made, and made again without those of its rows that are like an example, repeat a better row or exceed a
quota, until there are none.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace

import numpy as np

from nait_index.errors import SelectionError
from nait_index.handover.contamination import Match
from nait_index.search.rows import IndexRows
from nait_index.selection.duplicates import Duplicate, check_threshold, find_duplicates
from nait_index.selection.provenance import Decontamination, Deduplication
from nait_index.selection.quota import RANDOM, Mix, over_quota, within_quota
from nait_index.selection.ranking import RankingRequest, score_rows
from nait_index.selection.selection import Selection


def fill(
    request: RankingRequest, choose: Callable[[RankingRequest], Selection], rows: IndexRows
) -> tuple[Selection, RankingRequest]:
    """Choose; and choose again without rows that are like an example, repeat a better one, or exceed a quota.

    :returns: the selection, and the request that it answers in the end.
    """
    asked = {capability.name: capability.asked for capability in request.capabilities}
    selection = replace(_within_tokens(request, choose, rows), asked=asked)
    removed: dict[str, Match] = {}
    repeated: dict[str, Duplicate] = {}
    total = len(selection)
    while True:
        matches, repeats = _left_out(selection, request)
        removed |= matches
        repeated |= repeats
        chosen = np.array(selection.ordinals, np.int64)
        out = _ordinals_of({*matches, *repeats}, selection)
        kept = chosen[~np.isin(chosen, out)]
        out = np.union1d(out, over_quota([(codes, quota.rows(total)) for quota, codes in request.quotas], kept))
        if not np.isin(chosen, out).any():
            break
        request = request.without(out, len(rows))
        if not request.available:
            raise SelectionError(f"{request.cleaning} leaves no row: all that may be chosen are left out")
        selection = replace(_within_tokens(request, choose, rows), asked=asked)
    provenance = selection.provenance
    if request.quotas and len(selection) < total:
        provenance = replace(provenance, wanted=total)
    if request.decontaminate:
        listed = [{"id": sample_id} | asdict(match) for sample_id, match in removed.items()]
        provenance = replace(provenance, decontaminated=Decontamination(len(listed), listed))
    if request.dedup is not None:
        provenance = replace(provenance, deduplicated=_deduplication(request.dedup, repeated))
    return replace(selection, provenance=provenance), request


def fill_without_duplicates(
    choose: Callable[[np.ndarray | None], Selection], allowed: np.ndarray | None, dedup: float | None, count: int
) -> Selection:
    """Choose, and choose again without rows that repeat an earlier one, until there are none.

    :param choose: from the rows that are allowed. :param dedup: likeness of near-duplicates; ``None`` to keep them.
    :param count: number of rows of the index.
    """
    if dedup is None:
        return choose(allowed)
    threshold, repeated = check_threshold(dedup), dict[str, Duplicate]()
    selection = choose(allowed)
    while repeats := find_duplicates(selection.chosen_rows(), threshold):
        repeated |= repeats
        allowed = np.ones(count, bool) if allowed is None else allowed.copy()
        allowed[_ordinals_of(repeats, selection)] = False
        selection = choose(allowed)
    provenance = replace(selection.provenance, deduplicated=_deduplication(threshold, repeated))
    return replace(selection, provenance=provenance)


def mix_in(selection: Selection, request: RankingRequest, mix: Mix, rows: IndexRows, seed: int) -> Selection:
    """Put rows that are drawn at random in the place of the last ones; their score is the mean of the method's."""
    names = selection.details.get("capability", [request.capabilities[0].name] * len(selection))
    lengths = rows.numbers("n_tokens") if request.budget.tokens else np.ones(len(rows))
    total = request.budget.tokens or len(selection)
    drawn = mix.of(total, "tokens" if request.budget.tokens else "rows")
    kept = int((np.cumsum(lengths[list(selection.ordinals)]) <= total - drawn).sum())
    if not kept:
        raise SelectionError(f"--mix {mix} leaves less than the best row alone; give less")
    may = np.ones(len(rows), bool) if request.allowed is None else request.allowed.copy()
    may[list(selection.ordinals[:kept])] = False
    others = np.random.default_rng(seed).permutation(np.flatnonzero(may))
    quotas = [(codes, quota.rows(len(selection))) for quota, codes in request.quotas]
    others = within_quota(quotas, selection.ordinals[:kept], others)
    scores, best = score_rows(rows, request).mean(axis=0), selection.first(kept)
    while True:
        part = others[: int((np.cumsum(lengths[others]) <= drawn).sum())]
        mixed = replace(
            best,
            ids=(*best.ids, *rows.take_ids(part)),
            scores=(*best.scores, *scores[part].tolist()),
            ordinals=(*best.ordinals, *part.tolist()),
            details={"capability": [*names[:kept], *[RANDOM] * len(part)]},
        )
        matches, repeats = _left_out(mixed, request)
        if not matches and not repeats:
            return mixed
        others = others[~np.isin(others, _ordinals_of({*matches, *repeats}, mixed))]


def _ordinals_of(ids: Collection[str], selection: Selection) -> np.ndarray:
    """Return the ordinals of those chosen rows that have some ids."""
    if not ids:
        return np.zeros(0, np.int64)
    return np.array([o for i, o in zip(selection.ids, selection.ordinals, strict=True) if i in ids], np.int64)


def _within_tokens(
    request: RankingRequest, choose: Callable[[RankingRequest], Selection], rows: IndexRows
) -> Selection:
    """Choose; of a budget in tokens, as many rows, best first, as it allows."""
    budget = request.budget
    if budget.tokens is None:
        return choose(request)
    lengths, k = rows.numbers("n_tokens"), request.k
    while True:
        selection = choose(replace(request, budget=replace(budget, rows=k)))
        total = np.cumsum(lengths[list(selection.ordinals)])
        if k == request.available or not len(total) or total[-1] >= budget.tokens:
            break
        k = min(request.available, max(k + 1, int(1.05 * k * budget.tokens / total[-1])))
    kept = int((total <= budget.tokens).sum())
    if not kept and len(total):
        raise SelectionError(f"--top {budget.text} is less than the {total[0]:,.0f} tokens of the best row alone")
    return selection.first(kept)


def _left_out(selection: Selection, request: RankingRequest) -> tuple[dict[str, Match], dict[str, Duplicate]]:
    """Return the chosen rows that are like an example, and those that repeat a better one."""
    matches = selection.like_examples() if request.decontaminate else {}
    if request.dedup is None:
        return matches, {}
    return matches, find_duplicates(selection.chosen_rows(without=matches), request.dedup)


def _deduplication(threshold: float, repeated: Mapping[str, Duplicate]) -> Deduplication:
    rows = [{"id": sample_id} | asdict(repeat) for sample_id, repeat in repeated.items()]
    return Deduplication(threshold, len(rows), rows)
