"""Rows laid end to end into blocks of equal width, so that no step computes on padding. They do not see one another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.tokens import Tokens


@dataclass(frozen=True)
class Blocks:
    """A batch of blocks, (b, width) each.

    :param answer: whether a token is part of an answer.
    :param rows: number of the row that a token belongs to; :param positions: its place in that row. Where a position
        does not follow the one before it, the model begins a new text; what fills a block up has position 0 throughout.
    """

    ids: np.ndarray
    answer: np.ndarray
    rows: np.ndarray
    positions: np.ndarray


def training_blocks(
    tokens: Tokens, chosen: Sequence[int] | np.ndarray, shape: tuple[int, int], seed: int
) -> Iterator[Blocks]:
    """Lay the chosen rows, shuffled, into full blocks, without end; the last row of a block is cut where it ends.

    :param chosen: numbers of rows; where they are used up, they come again in another order.
    :param shape: blocks of a batch, tokens of a block.
    """
    order = _endless(chosen, seed)
    while True:
        yield _lay(tokens, [_fill(tokens, order, shape[1]) for _ in range(shape[0])], shape[1])


def whole_blocks(tokens: Tokens, chosen: Sequence[int], shape: tuple[int, int]) -> Iterator[Blocks]:
    """Lay the chosen rows, each once and none cut, into blocks that may not be full."""
    blocks: list[list[int]] = []
    room = 0
    for at in chosen:
        if tokens.length(at) > room:
            blocks.append([])
            room = shape[1]
        blocks[-1].append(at)
        room -= tokens.length(at)
    for first in range(0, len(blocks), shape[0]):
        yield _lay(tokens, blocks[first : first + shape[0]], shape[1])


def _endless(chosen: Sequence[int] | np.ndarray, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(np.asarray(chosen)).tolist()


def _fill(tokens: Tokens, order: Iterator[int], width: int) -> list[int]:
    own: list[int] = []
    while width > 0:
        own.append(next(order))
        width -= tokens.length(own[-1])
    return own


def _lay(tokens: Tokens, blocks: Sequence[Sequence[int]], width: int) -> Blocks:
    shape = (len(blocks), width)
    batch = Blocks(np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape, np.int64), np.zeros(shape, int))
    for at, rows in enumerate(blocks):
        start = 0
        for row in rows:
            length = min(tokens.length(row), width - start)
            source = slice(int(tokens.starts[row]), int(tokens.starts[row]) + length)
            target = slice(start, start + length)
            batch.ids[at, target] = tokens.ids[source]
            batch.answer[at, target] = tokens.answer[source]
            batch.rows[at, target] = row
            batch.positions[at, target] = np.arange(length)
            start += length
    return batch
