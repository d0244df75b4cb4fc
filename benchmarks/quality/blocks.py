"""Rows packed end to end into blocks of equal width, so that no step computes on padding; each sees only itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.tokens import TokenizedRows


@dataclass(frozen=True)
class Blocks:
    """A batch of blocks, (b, width) each.

    :param answer: whether a token is part of an answer.
    :param rows: number of the row that a token belongs to; :param positions: its position in that row. Where a position
        does not follow the previous one, the model starts a new text; padding has position 0 throughout.
    """

    ids: np.ndarray
    answer: np.ndarray
    rows: np.ndarray
    positions: np.ndarray


def training_blocks(
    tokens: TokenizedRows, chosen: Sequence[int] | np.ndarray, shape: tuple[int, int], seed: int
) -> Iterator[Blocks]:
    """Yield full blocks of the chosen rows, shuffled, endlessly; the last row of a block is cut at its end.

    :param chosen: numbers of rows, repeated in another order once they are used up.
    :param shape: blocks of a batch, tokens of a block.
    """
    order = _endless(chosen, seed)
    while True:
        yield _lay(tokens, [_fill(tokens, order, shape[1]) for _ in range(shape[0])], shape[1])


def whole_blocks(tokens: TokenizedRows, chosen: Sequence[int], shape: tuple[int, int]) -> Iterator[Blocks]:
    """Yield blocks, possibly not full, that hold each chosen row once and uncut."""
    blocks: list[list[int]] = []
    room = 0
    for row in chosen:
        if tokens.length(row) > room:
            blocks.append([])
            room = shape[1]
        blocks[-1].append(row)
        room -= tokens.length(row)
    for first in range(0, len(blocks), shape[0]):
        yield _lay(tokens, blocks[first : first + shape[0]], shape[1])


def _endless(chosen: Sequence[int] | np.ndarray, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(np.asarray(chosen)).tolist()


def _fill(tokens: TokenizedRows, order: Iterator[int], width: int) -> list[int]:
    rows: list[int] = []
    while width > 0:
        rows.append(next(order))
        width -= tokens.length(rows[-1])
    return rows


def _lay(tokens: TokenizedRows, blocks: Sequence[Sequence[int]], width: int) -> Blocks:
    shape = (len(blocks), width)
    batch = Blocks(np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape, np.int64), np.zeros(shape, int))
    for block, rows in enumerate(blocks):
        start = 0
        for row in rows:
            length = min(tokens.length(row), width - start)
            source = slice(int(tokens.starts[row]), int(tokens.starts[row]) + length)
            target = slice(start, start + length)
            batch.ids[block, target] = tokens.ids[source]
            batch.answer[block, target] = tokens.answer[source]
            batch.rows[block, target] = row
            batch.positions[block, target] = np.arange(length)
            start += length
    return batch
