"""An encoder on some machine of a cluster: loads the model, checks that it is the builder's, and runs whole shards."""

import json
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nait_index.activations.device import use_threads
from nait_index.building.intake import read_texts
from nait_index.building.opening import open_encoder
from nait_index.building.running import Runner
from nait_index.building.settings import fingerprint_of
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.corpus import make_template
from nait_index.corpus.templates import TemplateName
from nait_index.distributed.blocks import ACTIVATIONS, error_piece, to_pieces
from nait_index.distributed.foreman import Foreman
from nait_index.errors import ModelError, NaitError
from nait_index.signatures.pca import Compressor
from nait_index.store.manifest import Fingerprint

if TYPE_CHECKING:
    import pyarrow as pa

SHARD, PLACES, TEXTS = "shard", "places", "texts"
"""Columns of what goes to the readers, and from them to the workers: a line for each shard."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker must know.

    :param model: with a name that means the same on every machine, and a precision that does not depend on it.
    :param fingerprint: of the builder's own model.
    :param threads: that the builder would compute with; as many here, or the last bit may differ.
    """

    model: ModelConfig
    signatures: SignatureConfig
    fingerprint: Fingerprint
    add_special_tokens: bool
    threads: int


def open_runner(task: Task) -> Runner:
    """Load the model.

    :raises NaitError: it cannot be loaded here, or is not the builder's.
    """
    use_threads(task.threads)
    encoder = open_encoder(task.model, task.signatures)
    # The texts come rendered, so the template is the builder's.
    own = fingerprint_of(encoder, make_template(TemplateName.TEXT), task.signatures)
    own = replace(own, template=task.fingerprint.template)
    if own != task.fingerprint:
        wrong = [
            name for name in (own.name for own in fields(own)) if getattr(own, name) != getattr(task.fingerprint, name)
        ]
        raise ModelError(
            f"the model '{task.model.name}' on {socket.gethostname()} is another one than where the build was started: "
            f"they differ in {', '.join(wrong)}; put the same files there"
        )
    return Runner(encoder, task.model, task.signatures, add_special_tokens=task.add_special_tokens)


def read_shards(shards: "pa.Table", spool: str) -> "pa.Table":
    """Read the texts of shards from the spool; runs where that lies."""
    import pyarrow as pa

    # As JSON: a text may hold what UTF-8 cannot, and one value is never cut in two.
    texts = [
        json.dumps(read_texts(Path(spool), np.frombuffer(places, np.uint64).tolist()))
        for places in shards[PLACES].to_pylist()
    ]
    return pa.table({SHARD: shards[SHARD], TEXTS: pa.array(texts, pa.large_string())})


class Worker:
    """Runs whole shards; one lives in each actor.

    :param foreman: gives the compressor, or ``None`` where whole activations are asked for, and the warmed-up adapters
        of the view ``grad``, if there is one.
    """

    def __init__(self, task: Task, foreman: Foreman) -> None:
        self._foreman = foreman
        self._width = sum(task.fingerprint.widths)
        self._runner: Runner | NaitError
        self._compressor: Compressor | None = None
        try:
            self._compressor, warmup = foreman.begin()
            self._runner = open_runner(task)
            if warmup is not None:
                self._runner.restore(warmup)
        except NaitError as error:
            # Told when the first shard comes: Ray has words of its own for an actor that cannot begin.
            self._runner = error

    def __call__(self, shards: "pa.Table") -> Iterator["pa.Table"]:
        """Encode some shards, in pieces."""
        try:
            for number, texts in zip(shards[SHARD].to_pylist(), shards[TEXTS].to_pylist(), strict=True):
                yield from self._run(number, json.loads(texts))
                self._foreman.finish()
        except NaitError as error:
            yield error_piece(error)

    def _run(self, number: int, texts: Sequence[str]) -> Iterator["pa.Table"]:
        if isinstance(self._runner, NaitError):
            raise self._runner
        tokens = self._runner.tokenize(texts)
        if self._compressor is not None:
            yield from to_pieces(number, *self._runner.encode(tokens, self._compressor, _unheard))
            return
        with tempfile.TemporaryFile() as file:
            whole = np.memmap(file, np.float32, "w+", shape=(len(texts), 2, self._width))
            facts, columns = self._runner.stage(tokens, whole, _unheard)
            yield from to_pieces(number, facts, columns | {ACTIVATIONS: whole})


def measure_sae(task: Task, texts: Sequence[str]) -> float | None:
    """Do it with a model loaded for that alone, like :meth:`Runner.measure_sae`."""
    return open_runner(task).measure_sae(texts)


def warm_up(task: Task, texts: Sequence[str]) -> bytes:
    """Do it with models loaded for that alone, like :meth:`Runner.warm_up`."""
    return open_runner(task).warm_up(texts)


def _unheard(rows: int, tokens: int) -> None:
    """Tell nobody: the builder sees how far it is by the shards that come in."""
