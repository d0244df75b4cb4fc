"""From what would be chosen to what is: without rows that must not be, refilled with the next best; and a random part.

A choice is made, and made again without those of its rows that are like an example, repeat a better row or exceed a
quota, until there are none.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from nait_index.errors import SelectionError
from nait_index.handover.contamination import Match
from nait_index.search.rows import IndexRows
from nait_index.selection.duplicates import Duplicate, check_threshold, find_duplicates
from nait_index.selection.provenance import Decontamination, Deduplication
from nait_index.selection.quota import RANDOM, Mix, Room, over_quota, within_quota
from nait_index.selection.ranking import RankingRequest, score_rows
from nait_index.selection.selection import Selection


def fill(
    request: RankingRequest, choose: Callable[[RankingRequest], Selection], rows: IndexRows
) -> tuple[Selection, RankingRequest, RankingRequest]:
    """Choose; and choose again without rows that are like an example, repeat a better one, or exceed a quota.

    :returns: the selection; the request that it answers in the end, without the rows for which the quotas left no room;
        and one without the other rows only, for whoever applies the quotas anew.
    """
    asked = {capability.name: capability.asked for capability in request.capabilities}

    def chosen_for(request: RankingRequest) -> Selection:
        return replace(choose(request), asked=asked)

    selection, answered = _within_tokens(request, chosen_for, rows)
    first, dropped = answered, np.zeros(0, np.int64)
    removed: dict[str, Match] = {}
    clean: set[str] = set()
    repeated: dict[str, Duplicate] = {}
    total = len(selection)
    quotas = [(codes, quota.rows(total)) for quota, codes in request.quotas]
    while True:
        matches, repeats = _left_out(selection, request, quotas, clean)
        removed |= matches
        repeated |= repeats
        chosen = np.array(selection.ordinals, np.int64)
        out = _ordinals_of({*matches, *repeats}, selection)
        kept = chosen[~np.isin(chosen, out)]
        dropped = np.union1d(dropped, out)
        out = np.union1d(out, over_quota(quotas, kept))
        if not np.isin(chosen, out).any():
            break
        request = request.without(out, len(rows))
        if not request.available:
            raise SelectionError(f"{request.cleaning} leaves no row: all that may be chosen are left out")
        selection, answered = _within_tokens(request, chosen_for, rows)
    provenance = selection.provenance
    if request.quotas and len(selection) < total:
        provenance = replace(provenance, wanted=total)
    if request.decontaminate:
        listed = [{"id": sample_id} | asdict(match) for sample_id, match in removed.items()]
        provenance = replace(provenance, decontaminated=Decontamination(len(listed), listed))
    if request.dedup is not None:
        provenance = replace(provenance, deduplicated=_deduplication(request.dedup, repeated))
    before_quotas = first.without(dropped, len(rows)) if request.quotas else answered
    return replace(selection, provenance=provenance), answered, before_quotas


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
    """Put rows that are drawn at random in the place of the last ones; their score is the mean of the method's.

    :param request: whose quotas have left out no row yet.
    """
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
    scores, best = score_rows(rows, request).mean(axis=0), selection.first(kept)
    clean = set(selection.ids)
    while True:
        fitting = within_quota(quotas, selection.ordinals[:kept], others)
        part = fitting[: int((np.cumsum(lengths[fitting]) <= drawn).sum())]
        mixed = replace(
            best,
            ids=(*best.ids, *rows.take_ids(part)),
            scores=(*best.scores, *scores[part].tolist()),
            ordinals=(*best.ordinals, *part.tolist()),
            details={"capability": [*names[:kept], *[RANDOM] * len(part)]},
        )
        matches, repeats = _left_out(mixed, request, quotas, clean)
        if not matches and not repeats:
            short = request.budget.tokens is None and len(mixed) < len(selection)
            return replace(mixed, provenance=replace(mixed.provenance, wanted=len(selection))) if short else mixed
        others = others[~np.isin(others, _ordinals_of({*matches, *repeats}, mixed))]


def _ordinals_of(ids: Collection[str], selection: Selection) -> np.ndarray:
    """Return the ordinals of those chosen rows that have some ids."""
    if not ids:
        return np.zeros(0, np.int64)
    return np.array([o for i, o in zip(selection.ids, selection.ordinals, strict=True) if i in ids], np.int64)


def _within_tokens(
    request: RankingRequest, choose: Callable[[RankingRequest], Selection], rows: IndexRows
) -> tuple[Selection, RankingRequest]:
    """Choose; of a budget in tokens, as many rows, best first, as it allows.

    :returns: the selection, and the request with the number of rows that it is the answer to.
    """
    budget = request.budget
    if budget.tokens is None:
        return choose(request), request
    lengths = rows.numbers("n_tokens")

    def sized(k: int) -> tuple[Selection, RankingRequest, np.ndarray]:
        asked = replace(request, budget=replace(budget, rows=k))
        selection = choose(asked)
        return selection, asked, np.cumsum(lengths[list(selection.ordinals)])

    k = request.k
    while True:
        selection, asked, total = sized(k)
        if k == request.available or not len(total) or total[-1] >= budget.tokens:
            break
        k = min(request.available, max(k + 1, int(1.05 * k * budget.tokens / total[-1])))
    kept = int((total <= budget.tokens).sum())
    if not kept and len(total):
        raise SelectionError(f"--top {budget.text} is less than the {total[0]:,.0f} tokens of the best row alone")
    if kept == len(total):
        return selection, asked
    if selection.provenance.core is None:
        return selection.first(kept), replace(asked, budget=replace(budget, rows=kept))
    # A core, and what is recorded of it, depend on how many rows each task chooses.
    return _largest(sized, lambda total: not len(total) or total[-1] <= budget.tokens, k, kept)


def _largest(
    sized: Callable[[int], tuple[Selection, RankingRequest, np.ndarray]],
    fits: Callable[[np.ndarray], bool],
    most: int,
    likely: int,
) -> tuple[Selection, RankingRequest]:
    """Return the largest core that fits, and its request.

    :param sized: returns the core of a size, its request, and the tokens of its rows, added up.
    :param most: a size that does not fit. :param likely: the size that is tried first.
    """
    least, best = 0, None
    while best is None or most - least > 1:
        size = next((size for size in (likely, likely + 1) if least < size < most), max(1, (least + most) // 2))
        tried = sized(size)
        if fits(tried[2]):
            least, best = size, tried[:2]
        else:
            most = size
            if size == 1:
                raise SelectionError(f"--top {tried[1].budget.text} is less than the tokens of the smallest core")
    return best


def _left_out(
    selection: Selection, request: RankingRequest, quotas: Sequence[tuple[np.ndarray, int]], clean: set[str]
) -> tuple[dict[str, Match], dict[str, Duplicate]]:
    """Return the chosen rows that are like an example, and those that repeat a better one which is within its quota.

    :param clean: ids of rows that are like no example, which are not compared again; those that are found are added.
    """
    matches: dict[str, Match] = {}
    if request.decontaminate:
        matches = selection.like_examples(clean)
        clean |= set(selection.ids) - matches.keys()
    if request.dedup is None:
        return matches, {}
    room, ordinals = Room(quotas), dict(zip(selection.ids, selection.ordinals, strict=True))
    rows = selection.chosen_rows(without=matches)
    return matches, find_duplicates(
        (row for row in rows if room.has(ordinals[row.id])), request.dedup, lambda row_id: room.take(ordinals[row_id])
    )


def _deduplication(threshold: float, repeated: Mapping[str, Duplicate]) -> Deduplication:
    rows = [{"id": sample_id} | asdict(repeat) for sample_id, repeat in repeated.items()]
    return Deduplication(threshold, len(rows), rows)
