"""Several rankings to one, as NAIT does for several capabilities: the union of what each selects."""

from collections.abc import Mapping, Sequence


def unite(rankings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Give every id that any ranking holds, with the name of the ranking in which it stands highest.

    Ordered by that best rank; equal ranks in the order of the rankings given, so that they take turns.
    """
    best: dict[str, tuple[int, int, str]] = {}
    for turn, (name, ids) in enumerate(rankings.items()):
        for rank, sample_id in enumerate(ids):
            place = (rank, turn, name)
            if sample_id not in best or place < best[sample_id]:
                best[sample_id] = place
    ordered = sorted(best, key=lambda sample_id: (best[sample_id][:2], sample_id))
    return [(sample_id, best[sample_id][2]) for sample_id in ordered]
