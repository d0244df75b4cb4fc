"""What a choice holds more or less of than the corpus, with intervals that keep small groups from standing out.

The ratio of a group is its share of the chosen rows divided by its share of the corpus. Its interval is the middle 95 %
of the ratios that choices like this one would give (Jeffreys' posterior of a share, and of the corpus' share too if
that was counted on a sample). Groups with more than their share are ranked by the end of the interval nearer to 1, so
that two rows of two do not come before nine hundred of a thousand; groups with less, by the number of rows missing, so
that a large source comes before fifty small ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2_000
_MANY_ABSENT = 3
_MIDDLE = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Group:
    """One group of rows, among the chosen rows and in the corpus.

    :param chosen: how many of the chosen rows that were read are in the group; :param corpus: of the corpus' rows.
    :param ratio: share of the chosen divided by share of the corpus; 1 is what chance gives.
    :param low: and :param high: the middle 95 % of it.
    """

    name: str
    chosen: int
    corpus: int
    ratio: float
    low: float
    high: float

    @property
    def bound(self) -> float:
        """The end of the interval nearer to 1; 1 if the interval contains it."""
        return max(1.0, self.low) if self.ratio >= 1 else min(1.0, self.high)

    def missing(self, rate: float) -> float:
        """Return how many more rows would be chosen if ``rate`` of the group's rows were."""
        return self.corpus * rate - self.chosen

    @property
    def is_significant(self) -> bool:
        """Whether 1 lies outside the interval."""
        return self.bound != 1


@dataclass(frozen=True, slots=True)
class Representation:
    """A choice compared with the corpus by one field.

    :param read: how many of the chosen rows were read; :param corpus_read: of the corpus' rows.
    :param is_whole: whether those are all. :param groups: most over-represented first.
    :param left_out: how many less informative groups are not listed.
    """

    field: str
    read: int
    corpus_read: int
    is_whole: bool
    groups: tuple[Group, ...]
    left_out: int

    @property
    def absent(self) -> tuple[Group, ...]:
        """The groups that no row is chosen from, where there are so many that one sentence serves better than lines."""
        absent = tuple(group for group in self.groups if not group.chosen)
        return absent if len(absent) >= _MANY_ABSENT else ()

    @property
    def drawn(self) -> tuple[Group, ...]:
        """The groups that get a line each."""
        absent = {group.name for group in self.absent}
        return tuple(group for group in self.groups if group.name not in absent)


def represent(
    field: str,
    names: Sequence[str],
    chosen: np.ndarray,
    corpus: np.ndarray,
    *,
    is_whole: bool,
    is_ordered: bool,
    highest: float,
    most: int,
) -> Representation:
    """Compare the groups of a field among the chosen rows with those in the corpus.

    :param chosen: (G,) chosen rows of each group; :param corpus: (G,) rows of each group in the corpus, or in a sample.
    :param is_ordered: whether the groups have an order, such as lengths, that is kept.
    :param highest: the ratio of a group that is chosen whole, which no ratio exceeds. :param most: groups to keep.
    """
    read, corpus_read = int(chosen.sum()), int(corpus.sum())
    ratios, low, high = _ratios(chosen, corpus, is_whole, highest)
    groups = [
        Group(name, int(picked), int(total), float(ratio), float(min(below, ratio)), float(max(above, ratio)))
        for name, picked, total, ratio, below, above in zip(names, chosen, corpus, ratios, low, high, strict=True)
        if picked or total
    ]
    kept = _most_informative(groups, read / max(corpus_read, 1), most)
    if is_ordered:
        kept.sort(key=groups.index)
    return Representation(field, read, corpus_read, is_whole, tuple(kept), len(groups) - len(kept))


def _ratios(
    chosen: np.ndarray, corpus: np.ndarray, is_whole: bool, highest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ratio of each group, and the lower and upper end of its 95 % interval: (G,) each."""
    read, corpus_read = chosen.sum(), corpus.sum()
    expected = corpus / max(corpus_read, 1)
    rng = np.random.default_rng(0)
    drawn = rng.beta(chosen + 0.5, read - chosen + 0.5, (_DRAWS, len(chosen)))
    base = expected if is_whole else rng.beta(corpus + 0.5, corpus_read - corpus + 0.5, (_DRAWS, len(corpus)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, chosen / max(read, 1) / expected, highest)
        low, high = np.percentile(np.where(base > 0, drawn / base, highest), _MIDDLE, axis=0)
    return np.minimum(ratios, highest), low, np.minimum(high, highest)


def _most_informative(groups: Sequence[Group], rate: float, most: int) -> list[Group]:
    """Keep the most informative groups: over-represented first, then those near chance, then under-represented."""
    same, other = ([group for group in groups if group.is_significant is is_other] for is_other in (False, True))
    more = sorted((group for group in other if group.ratio > 1), key=lambda group: -group.bound)[: most // 2]
    less = sorted((group for group in other if group.ratio < 1), key=lambda group: group.missing(rate))[-(most // 2) :]
    same = sorted(same, key=lambda group: -group.corpus)[: most - len(more) - len(less)]
    return [*more, *sorted(same, key=lambda group: -group.ratio), *less]
