"""A worker on some machine of a cluster: loads the model, checks that it is the builder's, and runs whole shards."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nait_index.building.runner import Result, Work
from nait_index.building.spool import read_texts
from nait_index.distributed.cluster import Foreman, require_same_libraries
from nait_index.distributed.pieces import ACTIVATIONS, SHARD, error_piece, to_pieces
from nait_index.distributed.task import WorkerTask, ignore_progress
from nait_index.errors import NaitError
from nait_index.scratch import scratch_array
from nait_index.signatures.pca import Compressor
from nait_index.types import MarkedText

if TYPE_CHECKING:
    import pyarrow as pa

OFFSETS, TEXTS = "offsets", "texts"
"""Columns beside ``SHARD`` of what readers take, and of what they send to the workers: a line for each shard."""


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
    :param libraries: versions on the builder's machine; compared first, since with others a task may be misread.
    """

    def __init__(self, task: WorkerTask, foreman: Foreman, libraries: Mapping[str, str]) -> None:
        self._foreman = foreman
        self._compressor: Compressor | None = None
        self._error: NaitError | None = None
        try:
            require_same_libraries(libraries)
            self._compressor, warmup = foreman.begin()
            self._encoder = task.open()
            self._width = sum(task.fingerprint.widths)
            if warmup is not None:
                self._encoder.restore(warmup)
        except NaitError as error:
            # Raised for the first shard: for an actor that cannot start, Ray has an error of its own.
            self._error = error

    def __call__(self, shards: "pa.Table") -> Iterator["pa.Table"]:
        """Encode some shards, in pieces."""
        try:
            for number, texts in zip(shards[SHARD].to_pylist(), shards[TEXTS].to_pylist(), strict=True):
                yield from self._run(number, [MarkedText.parsed(text) for text in json.loads(texts)])
                self._foreman.finish()
        except NaitError as error:
            yield error_piece(error)

    def _run(self, number: int, texts: Sequence[MarkedText]) -> Iterator["pa.Table"]:
        if self._error is not None:
            raise self._error
        tokens = self._encoder.tokenize(texts)
        if self._compressor is not None:
            yield from to_pieces(number, *self._encoder.encode(tokens, self._compressor, ignore_progress))
            return
        whole = scratch_array((len(texts), 2, self._width), np.dtype(np.float32))
        facts, columns = self._encoder.stage(tokens, whole, ignore_progress)
        yield from to_pieces(number, facts, columns | {ACTIVATIONS: whole})


def run_once(task: WorkerTask, work: Work[Result], texts: Sequence[MarkedText], libraries: Mapping[str, str]) -> Result:
    """Load the models for one piece of work alone."""
    require_same_libraries(libraries)
    return work(task.open(), texts)
