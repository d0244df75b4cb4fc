"""What a selection holds more or less of than the corpus, with an uncertainty that keeps small groups from shouting.

The ratio of a group is its share of the chosen rows over its share of the corpus. Its interval is the middle 95 % of
what that ratio would be if the chosen rows were a draw like many others (Jeffreys' posterior of a share, and of the
corpus' share too where that was counted on a sample). Groups are ordered by the end of the interval nearer to 1: by what
is certain, so that two rows of two do not come before nine hundred of a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2_000
_MIDDLE = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Group:
    """One group of rows, in a selection and in the corpus.

    :param chosen: how many of the chosen rows that were read are of the group; :param corpus: of the corpus' rows.
    :param ratio: share among the chosen over share in the corpus; 1 is what chance gives.
    :param low: and :param high: the middle 95 % of that.
    """

    name: str
    chosen: int
    corpus: int
    ratio: float
    low: float
    high: float

    @property
    def certain(self) -> float:
        """The end of the interval nearer to 1; 1 where 1 lies within it."""
        return max(1.0, self.low) if self.ratio >= 1 else min(1.0, self.high)

    @property
    def is_told_apart(self) -> bool:
        """Whether 1 lies outside the interval."""
        return self.certain != 1


@dataclass(frozen=True, slots=True)
class Representation:
    """A selection beside the corpus, by one field.

    :param read: how many of the chosen rows were read; :param corpus_read: of the corpus' rows.
    :param is_whole: whether that is all of them. :param groups: most over-represented first.
    :param left_out: groups that are not listed since they say least.
    """

    field: str
    read: int
    corpus_read: int
    is_whole: bool
    groups: tuple[Group, ...]
    left_out: int


def represent(
    field: str, names: Sequence[str], chosen: np.ndarray, corpus: np.ndarray, *, is_whole: bool, highest: float, most: int
) -> Representation:
    """Compare the groups of a field in a selection with those in the corpus.

    :param chosen: (G,) chosen rows of each group; :param corpus: (G,) rows of each group in the corpus, or in a sample.
    :param highest: the ratio of a group that is chosen whole; none can be higher.
    :param most: how many groups to keep: those that are most certainly off, then the largest.
    """
    read, corpus_read = int(chosen.sum()), int(corpus.sum())
    shares = chosen / max(read, 1)
    expected = corpus / max(corpus_read, 1)
    rng = np.random.default_rng(0)
    drawn = rng.beta(chosen + 0.5, read - chosen + 0.5, (_DRAWS, len(chosen)))
    wanted = expected if is_whole else rng.beta(corpus + 0.5, corpus_read - corpus + 0.5, (_DRAWS, len(corpus)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, shares / expected, highest)
        low, high = np.percentile(np.where(wanted > 0, drawn / wanted, highest), _MIDDLE, axis=0)
    ratios = np.minimum(ratios, highest)
    groups = [
        Group(name, int(own), int(all_), float(ratio), float(min(below, ratio)), float(min(max(above, ratio), highest)))
        for name, own, all_, ratio, below, above in zip(names, chosen, corpus, ratios, low, high, strict=True)
        if own or all_
    ]
    kept = sorted(groups, key=lambda own: (-abs(np.log(max(own.certain, 1e-3))), -own.corpus, own.name))[:most]
    kept.sort(key=lambda own: (-own.certain, -own.ratio, own.name))
    return Representation(field, read, corpus_read, is_whole, tuple(kept), len(groups) - len(kept))
