"""What runs the rows of a build through the model, shard by shard in their order: here, in this process.

A shard is run as a whole, so its numbers do not depend on who runs it, nor on how many there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from nait_index.activations.device import settled_precision
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.building.intake import Spool, WorkRow
from nait_index.building.overlap import ahead
from nait_index.building.running import Advance, Runner
from nait_index.building.staging import ShardFacts
from nait_index.config import Device, ModelConfig, Precision, SignatureConfig
from nait_index.signatures.pca import Compressor
from nait_index.store.manifest import Fingerprint

Room = Callable[[int], np.ndarray]
"""Makes room (n, 2, D) float32 for the activations of one of the shards given, by its number."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all shards of a build have in common.

    :param model: as it was asked for; :param encoder: as the builder has it, loaded as :meth:`Engine.settle` said.
    """

    model: ModelConfig
    signatures: SignatureConfig
    encoder: Encoder
    fingerprint: Fingerprint
    add_special_tokens: bool
    advance: Advance


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """A shard that has been through the model.

    :param columns: (n, width) each: all signature columns, or those that need no basis beside ``activations``.
    :param activations: (n, 2, D) float32, where room was made for them.
    """

    rows: Sequence[WorkRow]
    facts: ShardFacts
    columns: Mapping[str, np.ndarray]
    activations: np.ndarray | None = None


Shards = AbstractContextManager[Iterator[EncodedShard]]
"""Shards in the order in which they were given, as they get done, while the context lasts."""


class Encoding(Protocol):
    """Runs the rows of one build through the model."""

    def stage(self, spool: Spool, shards: Sequence[Sequence[int]], room: Room) -> Shards:
        """Keep whole activations, before there is a basis."""

    def encode(self, spool: Spool, shards: Sequence[Sequence[int]], compressor: Compressor) -> Shards:
        """Keep signatures."""

    def measure_sae(self, texts: Sequence[str]) -> float | None:
        """Give the share of the texts' activations that the sparse autoencoder leaves unexplained, if there is one."""

    def warm_up(self, texts: Sequence[str]) -> bytes:
        """Train the adapters of the view ``grad`` on some texts, and give what :meth:`restore` takes."""

    def restore(self, warmup: bytes) -> None:
        """Put the adapters where a warm-up left them."""

    def close(self) -> None:
        """Let the models go."""


def gradient_precision(model: ModelConfig, device: Device) -> Precision:
    """Settle what gradients are computed in, on the device that they are computed on."""
    return model.gradient_dtype or settled_precision(model.dtype, device, on_cpu=False)


class Engine(Protocol):
    """Where builds run their rows through the model."""

    def settle(self, model: ModelConfig) -> ModelConfig:
        """Give how the builder itself loads the model, for its tokenizer, its shape and its fingerprint."""

    def open(self, job: Job) -> Encoding:
        """Make ready for one build.

        :raises NaitError: this model cannot be run there.
        """


class LocalEngine:
    """Runs rows through the builder's own model, in this process."""

    def settle(self, model: ModelConfig) -> ModelConfig:
        """Load it where it will run."""
        return replace(model, gradient_dtype=gradient_precision(model, model.device))

    def open(self, job: Job) -> "LocalEncoding":
        """Take the builder's model."""
        runner = Runner(job.encoder, job.model, job.signatures, add_special_tokens=job.add_special_tokens)
        return LocalEncoding(runner, job.advance)


class LocalEncoding:
    """Runs one shard after another, and prepares the next one meanwhile."""

    def __init__(self, runner: Runner, advance: Advance) -> None:
        self._runner = runner
        self._advance = advance
        # What is not done shard by shard is the runner's own affair.
        self.measure_sae = runner.measure_sae
        self.warm_up = runner.warm_up
        self.restore = runner.restore
        self.close = runner.close

    @contextmanager
    def stage(self, spool: Spool, shards: Sequence[Sequence[int]], room: Room) -> Iterator[Iterator[EncodedShard]]:
        """Fill the room as batches come."""

        def staged(number: int, rows: Sequence[WorkRow], tokens: Sequence[Tokens]) -> EncodedShard:
            array = room(number)
            return EncodedShard(rows, *self._runner.stage(tokens, array, self._advance), array)

        with ahead(partial(self._prepare, spool), shards) as works:
            yield (staged(number, *work) for number, work in enumerate(works))

    @contextmanager
    def encode(
        self, spool: Spool, shards: Sequence[Sequence[int]], compressor: Compressor
    ) -> Iterator[Iterator[EncodedShard]]:
        """Compress as batches come."""
        with ahead(partial(self._prepare, spool), shards) as works:
            yield (
                EncodedShard(rows, *self._runner.encode(tokens, compressor, self._advance)) for rows, tokens in works
            )

    def _prepare(self, spool: Spool, shard: Sequence[int]) -> tuple[Sequence[WorkRow], Sequence[Tokens]]:
        rows = spool.read(shard)
        return rows, self._runner.tokenize([row.text for row in rows])
