"""What a build needs of a runner, which runs its rows through the model shard by shard, and the local runner."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise
from typing import Protocol, TypeVar

import numpy as np

from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import Advance, IndexEncoder
from nait_index.building.shards import EncodedShard
from nait_index.building.spool import RowOffsets, Spool, WorkRow
from nait_index.building.without_model import open_encoder
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.signatures.pca import Compressor
from nait_index.types import MarkedText

Room = Callable[[int], np.ndarray]
"""Creates the array (n, 2, D) float32 for the activations of one of the given shards, by its number."""

EncodedShards = Generator[EncodedShard, None, None]
"""Encoded shards in the order in which they were given, each as soon as it is done; closing it ends the work."""

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[IndexEncoder, Sequence[MarkedText]], Result]
"""A method of :class:`IndexEncoder` that takes texts; a plain function, so that it can be sent to another machine."""


class Runner(Protocol):
    """Runs the rows of one build through its model.

    :param encoder: the builder's own instance of the model, for its tokenizer, template, shape and fingerprint.
    """

    encoder: IndexEncoder

    def stage(self, spool: Spool, shards: Sequence[RowOffsets], room: Room, advance: Advance) -> EncodedShards:
        """Run shards and keep their whole activations, before there is a basis."""

    def encode(
        self, spool: Spool, shards: Sequence[RowOffsets], compressor: Compressor, advance: Advance
    ) -> EncodedShards:
        """Run shards and keep their signatures."""

    def once(self, work: Work[Result], texts: Sequence[MarkedText]) -> Result:
        """Run a method of :class:`IndexEncoder` on some texts, and return its result."""

    def restore(self, warmup: bytes) -> None:
        """Return the adapters to the state in which a warm-up left them."""

    def close(self) -> None:
        """Release the models."""


OpenRunner = Callable[[ModelConfig, SignatureConfig], Runner]
"""Loads the model of a build and returns its runner.

:raises NaitError: the model cannot be loaded or run.
"""


class LocalRunner:
    """Runs one shard after another in this process, and tokenises the next one meanwhile."""

    def __init__(self, model: ModelConfig, signatures: SignatureConfig) -> None:
        self.encoder = open_encoder(model, signatures)
        self.encoder.load_gradients()

    def stage(self, spool: Spool, shards: Sequence[RowOffsets], room: Room, advance: Advance) -> EncodedShards:
        """Fill the room as batches come."""
        with ahead(partial(self._prepare, spool), shards) as prepared:
            for number, (rows, tokens) in enumerate(prepared):
                yield EncodedShard(rows, *self.encoder.stage(tokens, room(number), advance))

    def encode(
        self, spool: Spool, shards: Sequence[RowOffsets], compressor: Compressor, advance: Advance
    ) -> EncodedShards:
        """Compress as batches come."""
        with ahead(partial(self._prepare, spool), shards) as prepared:
            for rows, tokens in prepared:
                yield EncodedShard(rows, *self.encoder.encode(tokens, compressor, advance))

    def _prepare(self, spool: Spool, shard: RowOffsets) -> tuple[Sequence[WorkRow], Sequence[Tokens]]:
        rows = spool.read(shard)
        return rows, self.encoder.tokenize([row.marked for row in rows])

    def once(self, work: Work[Result], texts: Sequence[MarkedText]) -> Result:
        """Run it on the one model that there is."""
        return work(self.encoder, texts)

    def restore(self, warmup: bytes) -> None:
        """Restore the adapters of the one model that there is."""
        self.encoder.restore(warmup)

    def close(self) -> None:
        """Remove the hooks from the model."""
        self.encoder.close()


@contextmanager
def ahead(make: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Iterator[Result]]:
    """Call ``make`` for each item in a thread, the next one while the caller uses the last result.

    An error is raised where its result would be. Only one result waits, so memory stays bounded.
    """
    with ThreadPoolExecutor(1, "ahead") as thread:
        begun = (thread.submit(make, item) for item in items)
        unused: Future[Result] = Future()
        # In a pair, the second is begun before the first is waited for.
        yield (current.result() for current, _ in pairwise(chain(begun, [unused])))
