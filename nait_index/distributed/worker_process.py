"""A process of a build on this machine: it loads the model and answers requests, one after another."""

import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import Columns
from nait_index.building.runner import Work
from nait_index.building.shards import ShardFacts
from nait_index.building.spool import read_texts
from nait_index.distributed.seats import Seat
from nait_index.distributed.task import WorkerTask, ignore_progress
from nait_index.errors import NaitError
from nait_index.signatures.pca import Compressor
from nait_index.types import MarkedText

_PATIENCE = 5.0
"""Seconds that a process may take to end."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What a process keeps for the shards that follow; it is not answered.

    :param compressor: ``None`` where whole activations are wanted. :param warmup: of the adapters, if there are any.
    """

    compressor: Compressor | None
    warmup: bytes | None


@dataclass(frozen=True, slots=True)
class ShardRequest:
    """A shard to run.

    :param spool: the file that holds its texts; :param offsets: where they begin.
    :param room: the file of an array for its whole activations, if these are wanted.
    """

    number: int
    spool: Path
    offsets: Sequence[int]
    room: str | None = None


@dataclass(frozen=True, slots=True)
class OneRequest:
    """Texts to run a method of the encoder on."""

    work: Work[Any]
    texts: Sequence[MarkedText]


Request = Kit | ShardRequest | OneRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request: its result, the error that ended it, or the traceback of a failure."""

    result: Any = None
    error: NaitError | None = None
    failure: str = ""


# ---- the builder's side --------------------------------------------------------------------------------------------


class WorkerProcess:
    """A process as the builder sees it. One that is killed is started once more, and does again what it had begun."""

    def __init__(self, seat: Seat, task: WorkerTask) -> None:
        self.seat, self._task = seat, task
        #: The request that is repeated to a process that is started again.
        self.kit: Kit | None = None
        #: Requests that are not answered yet.
        self.asked: deque[Request] = deque()
        self._has_died = False
        self._start()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def send(self, request: Request) -> None:
        """Send a request, or keep it for the next process if this one has just died."""
        if isinstance(request, Kit):
            self.kit = request
        else:
            self.asked.append(request)
        self._write(request)

    def receive(self) -> tuple[Request, Any] | None:
        """Wait for the next answer, and return it with its request; ``None`` where the process was started again.

        :raises NaitError: the process met an error, or was killed twice without an answer in between.
        """
        try:
            reply: Reply = self.connection.recv()
        except (EOFError, OSError):
            self._start_again()
            return None
        self._has_died = False
        request = self.asked.popleft()
        if reply.error is not None:
            raise reply.error
        if reply.failure:
            raise RuntimeError(f"the process on device {self.seat.name} failed:\n{reply.failure}")
        return request, reply.result

    def close(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self._process.terminate()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, self.seat, self._task), name=f"nait-index {self.seat.name}", daemon=True
        )
        with _no_main():
            self._process.start()
        theirs.close()

    def _start_again(self) -> None:
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        self.close()
        if self._has_died:
            why = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            raise NaitError(
                f"the process on device {self.seat.name} ended twice before it finished a shard ({why}); if it ran out "
                "of memory, lower --batch-tokens or name fewer devices; the same command continues the build"
            )
        self._has_died = True
        self._start()
        for request in ([] if self.kit is None else [self.kit]) + [*self.asked]:
            self._write(request)

    def _write(self, request: Request) -> None:
        try:
            self.connection.send(request)
        except OSError:  # it has died, which the next :meth:`receive` sees
            logging.getLogger(__name__).debug("the process on device %s is gone", self.seat.name)


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep a new process from running the caller's script again, which may not expect that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


# ---- the process's side --------------------------------------------------------------------------------------------


def serve(connection: Connection, seat: Seat, task: WorkerTask) -> None:
    """Answer requests until the builder is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the builder too, which ends its processes
    threading.Thread(target=_end_with_builder, daemon=True).start()
    logging.disable()  # the builder's own instance of the model has reported it all
    seat.take()
    try:
        worker = _Worker(task)
    except NaitError as error:
        connection.recv()
        connection.send(Reply(error=error))
        return
    prepared: queue.SimpleQueue[Callable[[], Reply | None]] = queue.SimpleQueue()
    threading.Thread(target=_prepare, args=(connection, worker, prepared), daemon=True).start()
    while True:
        reply = _answered(prepared.get())
        if reply is not None:
            connection.send(reply)


def _end_with_builder() -> None:
    """End this process when the builder has ended, maybe killed, whatever is being done."""
    builder = multiprocessing.parent_process()
    assert builder is not None
    builder.join()
    os._exit(1)


def _prepare(
    connection: Connection, worker: "_Worker", prepared: "queue.SimpleQueue[Callable[[], Reply | None]]"
) -> None:
    """Tokenise the texts of one request while another runs; the builder sends no more than two ahead."""
    while True:
        try:
            prepared.put(worker.prepare(connection.recv()))
        except (EOFError, OSError):  # the builder has closed it, and will end this process
            return


def _answered(run: Callable[[], Reply | None]) -> Reply | None:
    try:
        return run()
    except NaitError as error:
        return Reply(error=error)
    except Exception:
        return Reply(failure=traceback.format_exc())


class _Worker:
    """Runs requests on the model of a process.

    :raises NaitError: the model cannot be loaded, or is not the builder's.
    """

    def __init__(self, task: WorkerTask) -> None:
        self._encoder = task.open()
        self._compressor: Compressor | None = None

    def prepare(self, request: Request) -> Callable[[], Reply | None]:
        """Do what needs no model, and return what is left to do."""
        if isinstance(request, Kit):
            return partial(self._equip, request)
        if isinstance(request, OneRequest):
            return lambda: Reply(request.work(self._encoder, request.texts))
        try:
            tokens = self._encoder.tokenize(read_texts(request.spool, request.offsets))
        except Exception as error:
            return partial(_raise, error)
        return lambda: Reply(self._run(tokens, request.room))

    def _equip(self, kit: Kit) -> None:
        self._compressor = kit.compressor
        if kit.warmup is not None:
            self._encoder.restore(kit.warmup)

    def _run(self, tokens: Sequence[Tokens], room: str | None) -> tuple[ShardFacts, Columns]:
        """Run a shard, and leave its whole activations in the builder's file if they are wanted."""
        if room is not None:
            return self._encoder.stage(tokens, np.lib.format.open_memmap(room, mode="r+"), ignore_progress)
        assert self._compressor is not None
        return self._encoder.encode(tokens, self._compressor, ignore_progress)


def _raise(error: Exception) -> None:
    raise error
