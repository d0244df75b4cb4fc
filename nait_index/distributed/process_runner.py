"""The runner that runs a build's rows on several devices of this machine, one process for each.

Processes read texts from the spool themselves, and write whole activations into the builder's files, so that only
numbers of rows go to them, and only signatures come back. A process gets its next shard while it runs one; shards
return in their order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from nait_index.activations.device import gpu_count, settled_precision, thread_count
from nait_index.building.encoder import Advance, Columns, IndexEncoder, gradient_precision
from nait_index.building.runner import EncodedShards, Result, Room, Work
from nait_index.building.shards import EncodedShard, ShardFacts
from nait_index.building.spool import RowOffsets, Spool
from nait_index.config import Device, ModelConfig, SignatureConfig
from nait_index.distributed.seats import Seat, seats_of
from nait_index.distributed.task import WorkerTask, portable, require_model
from nait_index.distributed.worker_process import Kit, OneRequest, ShardRequest, WorkerProcess
from nait_index.errors import NaitError
from nait_index.signatures.pca import Compressor
from nait_index.types import MarkedText

_AHEAD = 2
"""Shards that a process has been asked for: the one that it runs, and the next."""

_WAITING = 2
"""Shards for each process that may be done before the one that is due, and wait in memory."""


Encoded = tuple[ShardFacts, Columns]


class ProcessRunner:
    """Runs shards in processes of this machine, which start when there is work and end when it is closed.

    :param devices: see :class:`~nait_index.config.RunnerConfig`.
    :raises NaitError: there is no model to run, no such device, or it is not the one that the model is to run on.
    """

    def __init__(self, devices: Sequence[str], model: ModelConfig, signatures: SignatureConfig) -> None:
        require_model(signatures, "--devices")
        self._seats = seats_of(devices, gpu_count() if "cpu" not in devices else 0)
        device = Device.CPU if self._seats[0].device is Device.CPU else Device.CUDA
        if model.device not in (Device.AUTO, device):
            raise NaitError(f"--devices says where the model runs; leave out --device {model.device}")
        with ExitStack() as stack:
            # The builder's own instance is on the CPU, in the precision that the processes compute in.
            dtype, gradient_dtype = settled_precision(model.dtype, device), gradient_precision(model, device)
            model = replace(model, device=Device.CPU, dtype=dtype, gradient_dtype=gradient_dtype)
            self.encoder = IndexEncoder(model, signatures)
            stack.callback(self.encoder.close)
            self._workers: list[WorkerProcess] = []
            self._warmup: bytes | None = None
            self._stack = stack.pop_all()

    def stage(self, spool: Spool, shards: Sequence[RowOffsets], room: Room, advance: Advance) -> EncodedShards:
        """Return when the rooms are filled: files that the processes map into memory too."""
        return self._run(spool, shards, None, lambda number: _file_of(room(number)), advance)

    def encode(
        self, spool: Spool, shards: Sequence[RowOffsets], compressor: Compressor, advance: Advance
    ) -> EncodedShards:
        """Receive signatures."""
        return self._run(spool, shards, portable(compressor), lambda _: None, advance)

    def once(self, work: Work[Result], texts: Sequence[MarkedText]) -> Result:
        """Run it in the first process."""
        first = self._started()[0]
        first.send(OneRequest(work, list(texts)))
        while True:
            answer = first.receive()
            if answer is not None:
                result: Result = answer[1]
                return result

    def restore(self, warmup: bytes) -> None:
        """Keep the warm-up for the processes, which get it with their next shards."""
        self._warmup = warmup

    def close(self) -> None:
        """End the processes and release the model."""
        self._end()
        self._stack.close()

    def _run(
        self,
        spool: Spool,
        shards: Sequence[RowOffsets],
        compressor: Compressor | None,
        room: Callable[[int], str | None],
        advance: Advance,
    ) -> EncodedShards:
        if not shards:
            return
        spool.flush()
        path = spool.path.resolve()
        requests = (ShardRequest(number, path, shard, room(number)) for number, shard in enumerate(shards))
        workers = self._started()
        try:
            for worker in workers:
                worker.send(Kit(compressor, self._warmup))
            schedule = _Schedule(workers, requests, len(shards), advance)
            for number, shard in enumerate(shards):
                facts, columns = schedule.result(number)
                yield EncodedShard(spool.read(shard), facts, columns)
        except BaseException:
            self._end()  # rather than wait for what nobody wants any more
            raise

    def _started(self) -> Sequence[WorkerProcess]:
        if not self._workers:
            self._workers = [WorkerProcess(seat, self._task_on(seat)) for seat in self._seats]
        return self._workers

    def _task_on(self, seat: Seat) -> WorkerTask:
        """Describe the builder's model, with a share of the threads that the builder computes with."""
        return WorkerTask.of(self.encoder, seat.device, max(1, thread_count() // len(self._seats)))

    def _end(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers = []


class _Schedule:
    """Hands the shards of one run to processes, and keeps what is done until it is due.

    :param requests: for every shard, in order; each is made when it is sent. :param count: how many there are.
    """

    def __init__(
        self, workers: Sequence[WorkerProcess], requests: Iterator[ShardRequest], count: int, advance: Advance
    ) -> None:
        self._workers, self._requests, self._count, self._advance = workers, requests, count, advance
        self._sent = 0
        self._done: dict[int, Encoded] = {}

    def result(self, number: int) -> Encoded:
        """Wait for a shard, and leave the processes with work for the time until the next is asked for."""
        while number not in self._done:
            self._hand_out(number)
            self._collect()
        self._hand_out(number + 1)
        return self._done.pop(number)

    def _hand_out(self, due: int) -> None:
        """Send shards to the processes that have least to do, but none that would wait for long for the one due."""
        latest = min(self._count, due + (_AHEAD + _WAITING) * len(self._workers))
        while self._sent < latest:
            idlest = min(self._workers, key=lambda worker: len(worker.asked))
            if len(idlest.asked) >= _AHEAD:
                return
            idlest.send(next(self._requests))
            self._sent += 1

    def _collect(self) -> None:
        """Wait for some answers."""
        busy = {worker.connection: worker for worker in self._workers if worker.asked}
        for connection in wait([*busy]):
            answer = busy[connection].receive()  # type: ignore[index]
            if answer is not None:
                request, (facts, columns) = answer
                assert isinstance(request, ShardRequest)
                self._done[request.number] = facts, columns
                self._advance(len(facts.n_tokens), int(facts.n_tokens.sum()))


def _file_of(room: np.ndarray) -> str:
    """Return the file that an array lies in."""
    assert isinstance(room, np.memmap)
    return str(Path(str(room.filename)).resolve())
