"""MADS on more rows than fit in memory: blocks propose rows, and the proposals are chosen from again.

Sets that fit are chosen from all at once (:mod:`nait_index.selection.coverage`). Others are divided into equal blocks,
and the same greedy choice is made twice:

1. Every block proposes the rows that it would choose alone, in the order of choice.
2. As many proposals as fit are chosen from together: first the foremost of every block, then, wave after wave, what is
   left and the next ones. A wave ends with its last complete round before half of its rows are chosen.

This is RandGreeDI (Barbosa, Ene, Nguyen and Ward, ICML 2015, arXiv 1502.02606), repeated. Its bound holds for the first
r rows of the first round, r up to the number of proposals that a block has in the first wave: either these or the first
r of one block cover, in expectation, at least (1 − 1/e)/2 of what any r rows could. The expectation is over the order
of the table, a seeded hash of ids; nothing is drawn. Every complete round covers whatever the rows of its wave can.

The time grows with the number of rows, where that of one choice from all rows grows with its square.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nait_index.errors import SelectionError
from nait_index.selection.coverage import Cover, cover, row_counts

logger = logging.getLogger(__name__)

_TOGETHER = 2 << 30
"""Bytes of sets and lists up to which rows are chosen from all at once. Fixed, so that an index gives the same rows on
every machine."""

_BLOCK = 512 << 20
"""Bytes of the sets and lists of one block, where there are several. It is the number of proposals that are chosen from
together, not the size of the blocks, that decides how much is covered, and small blocks are chosen from sooner."""

_BYTES = 8  # of each number of a set: an int32 there, and one in the list of its neuron
_RUN = 1024  # rows, next to one another in the table, that go to the same block, so that they are read together

Reader = Callable[[np.ndarray], tuple[np.ndarray, Sequence[str]]]
"""Reads the sets (b, m) of the rows with some ordinals, and their ids."""

Proposal = tuple[np.ndarray, np.ndarray]
"""Ordinals that a block would choose, in that order, and which neurons (D,) any of its rows activates."""

Propose = Callable[[int, Iterable[np.ndarray]], Iterable[Proposal]]
"""Makes proposals of at most so many rows for each of some blocks, in their order, wherever their rows are read."""


@dataclass(frozen=True, slots=True)
class Division:
    """How rows are divided.

    :param blocks: how many. :param rows: in the largest. :param together: proposals that are chosen from at a time.
    """

    blocks: int
    rows: int
    together: int

    @classmethod
    def of(cls, rows: int, width: int) -> "Division":
        """Divide rows with sets of ``width`` numbers, if they do not fit."""
        size = rows * width * _BYTES
        blocks = 1 if size <= _TOGETHER else min(rows, -(-size // _BLOCK))
        return cls(blocks, -(-rows // blocks), min(rows, max(1, _TOGETHER // (width * _BYTES))))

    def why(self, workers: int) -> str:
        """Return how rows are chosen, in words.

        :param workers: processes that read them.
        """
        if self.blocks == 1:
            here = " in this process" if workers > 1 else ""
            return f"rows are chosen from all {self.rows:,} at once{here}"
        sharing = f", shared by {workers} workers," if workers > 1 else ""
        return (
            f"each of {self.blocks:,} blocks of {self.rows:,} rows{sharing} proposes some, and {self.together:,} "
            "proposals at a time are chosen from (RandGreeDI)"
        )

    def proposed(self, k: int) -> int:
        """Return how many rows a block proposes if ``k`` are chosen: in all, these and what the last wave leaves."""
        return min(k, -(-(k + self.together) // self.blocks))

    def split(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Deal rows out, a run at a time, to blocks that differ by at most one row."""
        runs = np.array_split(rows, self.blocks * max(1, self.rows // _RUN))
        yield from (np.concatenate(runs[block :: self.blocks]) for block in range(self.blocks))


def cover_rows(
    read: Reader,
    candidates: np.ndarray,
    k: int,
    division: Division,
    weights: np.ndarray,
    proposals_of: Propose | None = None,
) -> Cover:
    """Choose ``k`` rows that cover the most, from all at once or in blocks.

    :param candidates: (n,) ordinals of the rows that may be chosen. :param division: of these. :param weights: (D,).
    :param proposals_of: what makes the blocks' proposals; by default, block after block is read here.
    :returns: what was chosen, by ordinal.
    :raises SelectionError: there are fewer than ``k``.
    """
    if not 1 <= k <= len(candidates):
        raise SelectionError(f"{k} rows cannot be chosen from the {len(candidates)} there are")
    if division.blocks == 1:
        sets, ids = read(candidates)
        chosen = cover(sets, ids, k, weights)
        return replace(chosen, ordinals=candidates[chosen.ordinals])
    covered, coverable = np.zeros(len(weights), dtype=bool), np.zeros(len(weights), dtype=bool)
    asked = proposals_of or (lambda count, blocks: (propose(read, block, count, weights) for block in blocks))
    proposals = []
    for ordinals, activated in asked(division.proposed(k), division.split(candidates)):
        proposals.append(ordinals)
        coverable |= activated
        logger.info("%d of %d blocks have proposed rows", len(proposals), division.blocks)
    waves = list(_waves(read, proposals, k, division, weights, covered))
    starts = np.cumsum([0, *(wave.rounds[-1] for wave in waves)])
    rounds = [wave.rounds + start for wave, start in zip(waves, starts, strict=False)]
    ordinals, gains = (np.concatenate([getattr(wave, name) for wave in waves]) for name in ("ordinals", "gains"))
    return Cover(ordinals, gains, np.concatenate(rounds), int(covered.sum()), int(coverable.sum()))


def propose(read: Reader, block: np.ndarray, count: int, weights: np.ndarray) -> Proposal:
    """Return what a block would choose alone.

    :param block: (b,) ordinals. :param count: rows that are proposed; all of a smaller block.
    """
    sets, ids = read(block)
    chosen = cover(sets, ids, min(count, len(block)), weights).ordinals
    return block[chosen], row_counts(sets, len(weights)) > 0


def _waves(
    read: Reader, proposals: Sequence[np.ndarray], k: int, division: Division, weights: np.ndarray, covered: np.ndarray
) -> Iterator[Cover]:
    """Yield what is chosen from the proposals, ``k`` rows in all, wave after wave.

    :param covered: (D,) bool, set for every neuron that a chosen row activates.
    """
    start, longest = 0, max(map(len, proposals))
    waiting, (sets, ids) = np.zeros(0, dtype=np.int64), read(np.zeros(0, dtype=np.int64))
    while k:
        end = start + max(1, (division.together - len(waiting)) // division.blocks)
        new = np.sort(np.concatenate([block[start:end] for block in proposals]))
        start, is_last = end, end >= longest
        new_sets, new_ids = read(new)
        waiting, sets, ids = np.append(waiting, new), np.concatenate([sets, new_sets]), [*ids, *new_ids]
        del new_sets
        logger.info("choosing from %d proposals, until %d more rows are chosen", len(waiting), k)
        wave = cover(sets, ids, k if is_last else min(k, max(1, len(waiting) // 2)), weights)
        if len(wave.ordinals) < k:
            wave = _complete_rounds(wave)
        covered |= row_counts(sets[wave.ordinals], len(weights)) > 0
        yield replace(wave, ordinals=waiting[wave.ordinals])
        k -= len(wave.ordinals)
        left = np.delete(np.arange(len(waiting)), wave.ordinals)
        waiting, sets, ids = waiting[left], sets[left], [ids[place] for place in left]


def _complete_rounds(wave: Cover) -> Cover:
    """Leave out the last round, which may not be complete, unless it is the only one."""
    end = int(np.searchsorted(wave.rounds, wave.rounds[-1])) or len(wave.rounds)
    return replace(wave, ordinals=wave.ordinals[:end], gains=wave.gains[:end], rounds=wave.rounds[:end])
