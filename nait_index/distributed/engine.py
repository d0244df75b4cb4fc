"""The engine that runs a build's rows on a Ray cluster.

Shard numbers go through Ray Data: read on the builder's machine, where the spool lies, a few shards ahead of a pool of
actors that each run whole shards through a model of their own; what they make comes back in the order of the shards,
and the builder commits it. A reader or an actor that dies is started again by Ray, and its shard is run again.
"""

from array import array
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.activations.device import settled_precision, thread_count
from nait_index.building.encoding import EncodedShard, Engine, Job, LocalEngine, Room, gradient_precision
from nait_index.building.intake import Spool
from nait_index.building.running import Advance
from nait_index.config import Device, ModelConfig, RunnerConfig, RunnerKind
from nait_index.distributed.blocks import ACTIVATIONS, PIECE_BYTES, Incoming
from nait_index.distributed.cluster import Share, connected, share_of
from nait_index.distributed.foreman import Foreman, this_machine
from nait_index.distributed.worker import PLACES, SHARD, Task, Worker, measure_sae, read_shards, warm_up
from nait_index.errors import NaitError
from nait_index.signatures.pca import Compressor

_READERS = 2


def open_engine(config: RunnerConfig) -> AbstractContextManager[Engine]:
    """Make an engine ready for builds.

    :raises NaitError: Ray is not installed, or the cluster is not there or is too small.
    """
    return nullcontext(LocalEngine()) if config.kind is RunnerKind.LOCAL else _ray_engine(config)


@contextmanager
def _ray_engine(config: RunnerConfig) -> Iterator["RayEngine"]:
    with connected(config.address):
        yield RayEngine(config.workers)


class RayEngine:
    """Actors of the cluster that this process is connected to."""

    def __init__(self, workers: int | None) -> None:
        import ray

        self._machines = [own["Resources"] for own in ray.nodes() if own["Alive"]]
        self._workers = workers

    def settle(self, model: ModelConfig) -> ModelConfig:
        """Load it on the CPU, in the precision that the workers compute in.

        :raises NaitError: the cluster has not the GPUs or CPUs.
        """
        device, _, _ = self._places(model)
        dtype, gradient_dtype = settled_precision(model.dtype, device), gradient_precision(model, device)
        return replace(model, device=Device.CPU, dtype=dtype, gradient_dtype=gradient_dtype)

    def open(self, job: Job) -> "RayEncoding":
        """Settle what the workers are told."""
        device, count, share = self._places(job.model)
        own, signatures = job.encoder.config, job.signatures
        sae = None if signatures.sae is None else str(Path(signatures.sae).resolve())
        # Workers begin in folders of their own.
        name = str(Path(own.name).resolve()) if Path(own.name).is_dir() else own.name
        task = Task(
            model=replace(own, name=name, device=device),
            signatures=replace(signatures, sae=sae),
            fingerprint=job.fingerprint,
            add_special_tokens=job.add_special_tokens,
            threads=thread_count(),
        )
        return RayEncoding(task, count, share, job.advance)

    def _places(self, model: ModelConfig) -> tuple[Device, int, Share]:
        """Settle where the workers are: on GPUs unless that is not wanted or there is none."""
        gpus = any(own.get("GPU", 0) >= 1 for own in self._machines)
        if model.device is Device.CUDA and not gpus:
            raise NaitError("--device cuda was asked for, but the Ray cluster has no GPU; use --device cpu")
        device = Device.CUDA if gpus and model.device is not Device.CPU else Device.CPU
        return device, *share_of(self._workers, self._machines, use_gpus=device is Device.CUDA)


class RayEncoding:
    """Runs the shards of one build through a pool of actors."""

    def __init__(self, task: Task, workers: int, share: Share, advance: Advance) -> None:
        self._task = task
        self._workers = workers
        self._share = share
        self._advance = advance
        self._warmup: Any = None

    @contextmanager
    def stage(self, spool: Spool, shards: Sequence[Sequence[int]], room: Room) -> Iterator[Iterator[EncodedShard]]:
        """Let whole activations come in pieces, into the room made for them."""
        with closing(self._run(spool, shards, None, lambda number: {ACTIVATIONS: room(number)})) as staged:
            yield staged

    @contextmanager
    def encode(
        self, spool: Spool, shards: Sequence[Sequence[int]], compressor: Compressor
    ) -> Iterator[Iterator[EncodedShard]]:
        """Let signatures come in."""
        import ray

        if not shards:
            yield iter(())
            return
        # Once for all: each machine gets one copy, which its workers share. Bases may be such as are read from a file.
        whole = ray.put(replace(compressor, bases=dict(compressor.bases)))
        with closing(self._run(spool, shards, whole, lambda _: {})) as encoded:
            yield encoded

    def measure_sae(self, texts: Sequence[str]) -> float | None:
        """Have one worker do it."""
        unexplained: float | None = self._once(measure_sae, texts)
        return unexplained

    def warm_up(self, texts: Sequence[str]) -> bytes:
        """Have one worker do it."""
        warmup: bytes = self._once(warm_up, texts)
        return warmup

    def restore(self, warmup: bytes) -> None:
        """Have the actors begin with it."""
        import ray

        self._warmup = ray.put(warmup)

    def close(self) -> None:
        """Let go of the warm-up; actors end with their work."""
        self._warmup = None

    def _run(
        self,
        spool: Spool,
        shards: Sequence[Sequence[int]],
        compressor: Any,  # noqa: ANN401 - a reference of Ray's
        room: Callable[[int], Mapping[str, np.ndarray]],
    ) -> Generator[EncodedShard, None, None]:
        if not shards:
            return
        # Closed, the pieces end the actors, while there is still a cluster to end them on.
        with plain_errors(), closing(self._pieces(spool, shards, compressor)) as pieces:
            incoming = Incoming(pieces)
            for number, shard in enumerate(shards):
                facts, columns = incoming.shard(number, len(shard), room(number))
                self._advance(len(shard), int(facts.n_tokens.sum()))
                activations = columns.pop(ACTIVATIONS, None)
                yield EncodedShard(spool.read(shard), facts, columns, activations)

    def _pieces(
        self,
        spool: Spool,
        shards: Sequence[Sequence[int]],
        compressor: Any,  # noqa: ANN401
    ) -> Generator[Any, None, None]:
        """Set the readers and actors to work, and give what comes of it, in order."""
        import ray

        # A line is a block, so that a shard is one piece of work.
        lines = [
            {SHARD: number, PLACES: array("Q", spool.places(shard)).tobytes()} for number, shard in enumerate(shards)
        ]
        data = ray.data.from_items(lines, override_num_blocks=len(lines))
        configure(data.context)
        data = data.map_batches(
            read_shards,
            fn_args=(str(spool.path.resolve()),),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.TaskPoolStrategy(size=min(_READERS, len(lines))),
            num_cpus=0,  # so that they run where encoders have taken all
            resources=this_machine(),  # no other has the file
        )
        data = data.map_batches(
            Worker,
            fn_constructor_args=(self._task, Foreman(self._workers, (compressor, self._warmup))),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
        )
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

    def _once(self, work: Callable[[Task, Sequence[str]], Any], texts: Sequence[str]) -> Any:  # noqa: ANN401
        """Have something done by a worker of its own."""
        import ray

        remote = ray.remote(num_cpus=self._share.cpus, num_gpus=self._share.gpus)(work)
        with plain_errors():
            return ray.get(remote.remote(self._task, list(texts)))


def configure(context: Any) -> None:  # noqa: ANN401
    """Set Ray Data up for one dataset."""
    context.execution_options.preserve_order = True
    context.execution_options.verbose_progress = False
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 4 * PIECE_BYTES
    # A shard may take a large model on a CPU longer than the half hour that Ray Data grants.
    context.execution_no_progress_timeout_s = -1


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise what a user can act on as the one line that it is."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, NaitError):
            raise error.cause from None
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise NaitError("a worker of the Ray cluster ended; if it ran out of memory, lower --batch-tokens") from error
