"""Encoded shards on their way through Ray, as Arrow tables with a line for each row.

A line holds the facts about its row, and its signatures or, before there is a basis, its activations. A shard travels
in pieces, since the whole activations of a large model are gigabytes per shard; Ray may cut and join them.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from nait_index import errors
from nait_index.building.shards import ShardFacts
from nait_index.errors import NaitError

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = "shard"
"""Column of a shard's number."""

ACTIVATIONS = "activations"
"""Column of whole activations (n, 2, D)."""

PIECE_BYTES = 16 << 20

_TOKENS, _TRUNCATED, _REASON = "n_tokens", "truncated", "reason"
_FACTS = {SHARD, _TOKENS, _TRUNCATED, _REASON}
_ERROR, _MESSAGE = "error", "message"


def to_pieces(shard: int, facts: ShardFacts, columns: Mapping[str, np.ndarray]) -> Iterator["pa.Table"]:
    """Cut an encoded shard into tables.

    :param columns: (n, ...) each.
    """
    import pyarrow as pa

    n = len(facts.n_tokens)
    step = max(1, PIECE_BYTES * n // sum(values.nbytes for values in columns.values()))
    for start in range(0, n, step):
        rows = range(start, min(start + step, n))
        cut = slice(rows.start, rows.stop)
        plain = {
            SHARD: pa.array([shard] * len(rows), pa.int64()),
            _TOKENS: pa.array(facts.n_tokens[cut]),
            _TRUNCATED: pa.array(facts.truncated[cut]),
            _REASON: pa.array([facts.reasons.get(row) for row in rows], pa.string()),
        }
        yield pa.table(plain | {name: _to_arrow(values[cut]) for name, values in columns.items()})


def error_piece(error: NaitError) -> "pa.Table":
    """Make a table of an error: if a worker raised it, the user would see it inside a traceback of Ray's."""
    import pyarrow as pa

    return pa.table({_ERROR: [type(error).__name__], _MESSAGE: [str(error)]})


class Incoming:
    """Assembles encoded shards from their pieces, in order."""

    def __init__(self, pieces: Iterator["pa.Table"]) -> None:
        self._pieces = pieces
        self._piece: pa.Table | None = None

    def shard(self, number: int, size: int, room: Mapping[str, np.ndarray]) -> tuple[ShardFacts, dict[str, np.ndarray]]:
        """Wait for one shard, and assemble it.

        :param size: its rows; :param room: arrays (n, ...) to put some of its columns into.
        :raises NaitError: one that a worker raised.
        """
        facts, columns = ShardFacts(np.zeros(size, np.int32), np.zeros(size, bool), {}), dict(room)
        start = 0
        while start < size:
            piece = self._take(number, size - start)
            rows = slice(start, start + piece.num_rows)
            facts.n_tokens[rows] = piece[_TOKENS].to_numpy()
            facts.truncated[rows] = piece[_TRUNCATED].to_numpy()
            reasons = enumerate(piece[_REASON].to_pylist(), start)
            facts.reasons.update((row, reason) for row, reason in reasons if reason is not None)
            for name in set(piece.column_names) - _FACTS:
                values = _to_numpy(piece[name])
                column = columns.setdefault(name, np.empty((size, values.shape[1]), values.dtype))
                column[rows] = values.reshape(-1, *column.shape[1:])
            start = rows.stop
        return facts, columns

    def _take(self, number: int, most: int) -> "pa.Table":
        """Take the next rows, which must belong to this shard."""
        if self._piece is None:
            self._piece = next(self._pieces)
            if _ERROR in self._piece.column_names:
                kind, message = self._piece[_ERROR][0].as_py(), self._piece[_MESSAGE][0].as_py()
                raise getattr(errors, kind)(message)
        piece, rest = self._piece.slice(0, most), self._piece.slice(most)
        self._piece = rest if rest.num_rows else None
        numbers = set(piece[SHARD].to_pylist())
        if numbers != {number}:
            raise RuntimeError(f"Ray returned rows of shards {sorted(numbers)} where those of shard {number} were due")
        return piece


def _to_arrow(values: np.ndarray) -> "pa.Array":
    """Make a column of lists of one length; Ray would make a type of its own of a plain (n, width) array."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))


def _to_numpy(column: "pa.ChunkedArray") -> np.ndarray:
    """Return the array (n, width) of a column of lists of one length."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    values: np.ndarray = flat.reshape(len(column), column.type.list_size)
    return values
