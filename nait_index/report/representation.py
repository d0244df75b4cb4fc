"""What a selection holds more or less of than the corpus, with an uncertainty that keeps small groups from shouting.

The ratio of a group is its share of the chosen rows over its share of the corpus. Its interval is the middle 95 % of
what that ratio would be if the chosen rows were a draw like many others (Jeffreys' posterior of a share, and of the
corpus' share too where that was counted on a sample). Of what there is more of, that counts most which is most certain,
by the end of the interval nearer to 1, so that two rows of two do not come before nine hundred of a thousand; of what
there is less of, that of which most rows are missing, so that a large source comes before fifty small ones.
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

    def missing(self, rate: float) -> float:
        """How many chosen rows there would be more, if ``rate`` of the group's rows were chosen."""
        return self.corpus * rate - self.chosen

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
    """Compare the groups of a field in a selection with those in the corpus.

    :param chosen: (G,) chosen rows of each group; :param corpus: (G,) rows of each group in the corpus, or in a sample.
    :param is_ordered: whether the groups have an order of their own, such as lengths, that is to be kept.
    :param highest: the ratio of a group that is chosen whole; none can be higher.
    :param most: how many groups to keep.
    """
    read, corpus_read = int(chosen.sum()), int(corpus.sum())
    ratios, low, high = _ratios(chosen, corpus, is_whole, highest)
    groups = [
        Group(name, int(own), int(every), float(ratio), float(min(below, ratio)), float(max(above, ratio)))
        for name, own, every, ratio, below, above in zip(names, chosen, corpus, ratios, low, high, strict=True)
        if own or every
    ]
    kept = _most_telling(groups, read / max(corpus_read, 1), most)
    if is_ordered:
        kept.sort(key=groups.index)
    return Representation(field, read, corpus_read, is_whole, tuple(kept), len(groups) - len(kept))


def _ratios(
    chosen: np.ndarray, corpus: np.ndarray, is_whole: bool, highest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the ratio of every group, and the middle 95 % of what it might be: (G,) each."""
    read, corpus_read = chosen.sum(), corpus.sum()
    expected = corpus / max(corpus_read, 1)
    rng = np.random.default_rng(0)
    drawn = rng.beta(chosen + 0.5, read - chosen + 0.5, (_DRAWS, len(chosen)))
    wanted = expected if is_whole else rng.beta(corpus + 0.5, corpus_read - corpus + 0.5, (_DRAWS, len(corpus)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, chosen / max(read, 1) / expected, highest)
        low, high = np.percentile(np.where(wanted > 0, drawn / wanted, highest), _MIDDLE, axis=0)
    return np.minimum(ratios, highest), low, np.minimum(high, highest)


def _most_telling(groups: Sequence[Group], rate: float, most: int) -> list[Group]:
    """Keep what says most of both sides: more first, what cannot be told apart from chance between them."""
    more = sorted((own for own in groups if own.is_told_apart and own.ratio > 1), key=lambda own: -own.certain)
    less = sorted((own for own in groups if own.is_told_apart and own.ratio < 1), key=lambda own: own.missing(rate))
    same = sorted((own for own in groups if not own.is_told_apart), key=lambda own: -own.corpus)
    more, less = more[: most // 2], less[-(most // 2) :]
    same = same[: most - len(more) - len(less)]
    return [*more, *sorted(same, key=lambda own: -own.ratio), *less]
