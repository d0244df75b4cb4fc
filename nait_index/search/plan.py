"""Which way a search takes, and why."""

from dataclasses import dataclass

from nait_index.config import SearchMode
from nait_index.search.approximate import MOST, Recall


@dataclass(frozen=True, slots=True)
class Plan:
    """The way taken, and the reason in words."""

    mode: SearchMode
    why: str


def make_plan(
    wanted: SearchMode, k: int, rows: int, width: int, queries: int, *, filtered: bool, recall: Recall | None
) -> Plan:
    """Decide. An approximate search is never taken unasked.

    :param k: rows asked for; :param rows: how many there are, each of :param width: bytes that are scanned.
    :param recall: of the approximate search, where the index has one.
    """
    times = f"once for {queries} capabilities" if queries > 1 else "once"
    scan = f"exact scan: every row scored, {rows:,} x {width:,} bytes read {times}"
    if wanted is SearchMode.EXACT:
        return Plan(SearchMode.EXACT, scan)
    reason = _obstacle(k, filtered, recall)
    if reason is not None or recall is None:
        return Plan(SearchMode.EXACT, f"{scan}, since {reason}")
    return Plan(
        SearchMode.APPROXIMATE,
        f"approximate: {recall.visited} of {recall.cells:,} cells visited, candidates scored exactly; of the best 100 "
        f"it found {recall.mean:.1%} on average and {recall.lowest:.0%} at worst, measured on {recall.queries} queries "
        "when it was made",
    )


def _obstacle(k: int, filtered: bool, recall: Recall | None) -> str | None:
    if recall is None:
        return "there is no approximate search of this version ('build --approximate' and 'optimize' make one)"
    if filtered:
        return "an approximate search cannot filter or blend"
    return f"approximate search gives at most {MOST:,} rows, not {k:,}" if k > MOST else None
