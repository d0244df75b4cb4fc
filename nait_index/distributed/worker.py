"""A worker on some machine of a cluster: loads the model, checks that it is the builder's, and runs whole shards.

Encoded shards return through Ray as Arrow tables with a line for each row: the facts about it, and its signatures or,
before there is a basis, its activations. A shard travels in pieces, since the whole activations of a large model are
gigabytes per shard; Ray may cut and join them.
"""

import json
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nait_index import errors
from nait_index.activations.device import use_threads
from nait_index.building.encoder import IndexEncoder
from nait_index.building.intake import read_texts
from nait_index.building.runner import Result, Work
from nait_index.building.shards import ShardFacts
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.distributed.cluster import Foreman
from nait_index.errors import ModelError, NaitError
from nait_index.signatures.pca import Compressor
from nait_index.store.manifest import Fingerprint
from nait_index.types import Part

if TYPE_CHECKING:
    import pyarrow as pa

SHARD, OFFSETS, TEXTS = "shard", "offsets", "texts"
"""Columns of the input of readers, and of what they send to the workers: a line for each shard."""

ACTIVATIONS = "activations"
"""Column of whole activations (n, 2, D)."""

PIECE_BYTES = 16 << 20

_TOKENS, _TRUNCATED, _REASON = "n_tokens", "truncated", "reason"
_FACTS = {SHARD, _TOKENS, _TRUNCATED, _REASON}
_ERROR, _MESSAGE = "error", "message"


# ---- what runs in a worker ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RenderedTexts:
    """Stands in for the builder's template in a worker, which receives rendered texts."""

    adds_special_tokens: bool
    content_hash: str

    def render(self, parts: Sequence[Part]) -> str:
        """Refuse: rows are rendered by the builder."""
        raise NotImplementedError("a worker receives rendered texts")


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """What a worker must know.

    :param model: with a name that means the same on every machine, and a precision that does not depend on it.
    :param fingerprint: of the builder's model.
    :param threads: of the builder's computations; a worker uses as many, or the last bit may differ.
    """

    model: ModelConfig
    signatures: SignatureConfig
    template: RenderedTexts
    fingerprint: Fingerprint
    threads: int


def read_shards(shards: "pa.Table", spool: str) -> "pa.Table":
    """Read the texts of shards from the spool, on the machine where it is."""
    import pyarrow as pa

    # As JSON: a text may hold what UTF-8 cannot, and one value is never cut in two.
    texts = [
        json.dumps(read_texts(Path(spool), np.frombuffer(offsets, np.uint64).tolist()))
        for offsets in shards[OFFSETS].to_pylist()
    ]
    return pa.table({SHARD: shards[SHARD], TEXTS: pa.array(texts, pa.large_string())})


class ShardWorker:
    """Runs whole shards; one lives in each actor.

    :param foreman: provides the compressor, or ``None`` where whole activations are wanted, and the warm-up of the
        adapters for the view ``grad``, if there is one.
    """

    def __init__(self, task: WorkerTask, foreman: Foreman) -> None:
        self._foreman = foreman
        self._width = sum(task.fingerprint.widths)
        self._compressor: Compressor | None = None
        self._error: NaitError | None = None
        try:
            self._compressor, warmup = foreman.begin()
            self._encoder = _open_encoder(task)
            if warmup is not None:
                self._encoder.restore(warmup)
        except NaitError as error:
            # Raised for the first shard: for an actor that cannot start, Ray has an error of its own.
            self._error = error

    def __call__(self, shards: "pa.Table") -> Iterator["pa.Table"]:
        """Encode some shards, in pieces."""
        try:
            for number, texts in zip(shards[SHARD].to_pylist(), shards[TEXTS].to_pylist(), strict=True):
                yield from self._run(number, json.loads(texts))
                self._foreman.finish()
        except NaitError as error:
            yield error_piece(error)

    def _run(self, number: int, texts: Sequence[str]) -> Iterator["pa.Table"]:
        if self._error is not None:
            raise self._error
        tokens = self._encoder.tokenize(texts)
        if self._compressor is not None:
            yield from to_pieces(number, *self._encoder.encode(tokens, self._compressor, _ignore))
            return
        with tempfile.TemporaryFile() as file:
            whole = np.memmap(file, np.float32, "w+", shape=(len(texts), 2, self._width))
            facts, columns = self._encoder.stage(tokens, whole, _ignore)
            yield from to_pieces(number, facts, columns | {ACTIVATIONS: whole})


def run_once(task: WorkerTask, work: Work[Result], texts: Sequence[str]) -> Result:
    """Load the models for one piece of work alone."""
    return work(_open_encoder(task), texts)


def _open_encoder(task: WorkerTask) -> IndexEncoder:
    """Load the model.

    :raises NaitError: it cannot be loaded here, or is not the builder's.
    """
    use_threads(task.threads)
    encoder = IndexEncoder(task.model, task.signatures, task.template)
    ours, theirs = encoder.fingerprint, task.fingerprint
    different = [field.name for field in fields(ours) if getattr(ours, field.name) != getattr(theirs, field.name)]
    if different:
        raise ModelError(
            f"the model '{task.model.name}' on {socket.gethostname()} is not the one that the build was started with: "
            f"they differ in {', '.join(different)}; put the same files there"
        )
    encoder.load_gradients()
    return encoder


def _ignore(rows: int, tokens: int) -> None:
    """Report no progress: the builder follows it by the shards that arrive."""


# ---- shards on their way ------------------------------------------------------------------------------------------


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
            _raise_error(self._piece)
        piece, rest = self._piece.slice(0, most), self._piece.slice(most)
        self._piece = rest if rest.num_rows else None
        numbers = set(piece[SHARD].to_pylist())
        if numbers != {number}:
            raise RuntimeError(f"Ray returned rows of shards {sorted(numbers)} where those of shard {number} were due")
        return piece


def _raise_error(piece: "pa.Table") -> None:
    if _ERROR in piece.column_names:
        kind, message = piece[_ERROR][0].as_py(), piece[_MESSAGE][0].as_py()
        raise getattr(errors, kind)(message)


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
