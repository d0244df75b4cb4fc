"""The runner that runs a build's rows on a Ray cluster.

Shard numbers go through Ray Data: their texts are read on the builder's machine, where the spool is, a few shards ahead
of a pool of actors that each run whole shards through a model of their own; the results return in the order of the
shards, and the builder commits them. Ray restarts a reader or an actor that dies, and its shard is run again.
"""

from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from nait_index.activations.device import settled_precision, thread_count
from nait_index.building.encoder import Advance, IndexEncoder, gradient_precision
from nait_index.building.runner import EncodedShards, LocalRunner, OpenRunner, Result, Room, Work
from nait_index.building.shards import EncodedShard
from nait_index.building.spool import RowOffsets, Spool
from nait_index.config import Device, ModelConfig, RunnerConfig, RunnerKind, SignatureConfig
from nait_index.distributed.cluster import Foreman, connected, plain_errors, quiet_data, share_of, this_machine
from nait_index.distributed.pieces import ACTIVATIONS, PIECE_BYTES, SHARD, Incoming
from nait_index.distributed.process_runner import ProcessRunner
from nait_index.distributed.task import WorkerTask, portable, require_model
from nait_index.distributed.worker import OFFSETS, ShardWorker, read_shards, run_once
from nait_index.errors import NaitError
from nait_index.signatures.pca import Compressor
from nait_index.store.manifest import library_versions
from nait_index.types import MarkedText

_READERS = 2

MEMORY = "lower --batch-tokens"
"""What helps where workers run out of memory."""


def runner_for(config: RunnerConfig) -> OpenRunner:
    """Choose the runner of a build."""
    if config.devices:
        return partial(ProcessRunner, config.devices)
    return LocalRunner if config.kind is RunnerKind.LOCAL else partial(RayRunner, config)


class RayRunner:
    """Runs shards on a pool of actors of a Ray cluster, and keeps this process connected to it until it is closed.

    :raises NaitError: there is no model to run, Ray is not installed, or the cluster is unreachable or too small.
    """

    def __init__(self, config: RunnerConfig, model: ModelConfig, signatures: SignatureConfig) -> None:
        require_model(signatures, "--engine ray")
        with ExitStack() as stack:
            ray = stack.enter_context(connected(config.address))
            stack.enter_context(quiet_data())
            machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            device = _worker_device(model.device, machines)
            self._workers, self._share = share_of(config.workers, machines, use_gpus=device is Device.CUDA)
            # The builder's own instance is on the CPU, in the precision that the workers compute in.
            dtype, gradient_dtype = settled_precision(model.dtype, device), gradient_precision(model, device)
            model = replace(model, device=Device.CPU, dtype=dtype, gradient_dtype=gradient_dtype)
            self.encoder = IndexEncoder(model, signatures)
            stack.callback(self.encoder.close)
            self._task = WorkerTask.of(self.encoder, device, thread_count())
            self._warmup: Any = None
            self._stack = stack.pop_all()

    def stage(self, spool: Spool, shards: Sequence[RowOffsets], room: Room, advance: Advance) -> EncodedShards:
        """Receive whole activations in pieces, into the room created for them."""
        return self._run(spool, shards, None, lambda number: {ACTIVATIONS: room(number)}, advance)

    def encode(
        self, spool: Spool, shards: Sequence[RowOffsets], compressor: Compressor, advance: Advance
    ) -> EncodedShards:
        """Receive signatures."""
        return self._run(spool, shards, compressor, lambda _: {}, advance)

    def once(self, work: Work[Result], texts: Sequence[MarkedText]) -> Result:
        """Run it on one worker, which loads the model for this alone."""
        import ray

        remote = ray.remote(num_cpus=self._share.cpus, num_gpus=self._share.gpus)(run_once)
        with plain_errors(MEMORY):
            result: Result = ray.get(remote.remote(self._task, work, list(texts), library_versions()))
        return result

    def restore(self, warmup: bytes) -> None:
        """Store the warm-up in the cluster, for the actors to start from."""
        import ray

        self._warmup = ray.put(warmup)

    def close(self) -> None:
        """Release the model and the warm-up, and disconnect from the cluster; actors end with their work."""
        self._warmup = None
        self._stack.close()

    def _run(
        self,
        spool: Spool,
        shards: Sequence[RowOffsets],
        compressor: Compressor | None,
        room: Callable[[int], Mapping[str, np.ndarray]],
        advance: Advance,
    ) -> EncodedShards:
        import ray

        if not shards:
            return
        # Put once: each machine gets one copy, which its workers share.
        whole = None if compressor is None else ray.put(portable(compressor))
        # Closing the pieces ends the actors, while there is still a cluster to end them on.
        with plain_errors(MEMORY), closing(self._pieces(spool, shards, (whole, self._warmup))) as pieces:
            incoming = Incoming(pieces)
            for number, shard in enumerate(shards):
                facts, columns = incoming.shard(number, len(shard), room(number))
                advance(len(shard), int(facts.n_tokens.sum()))
                columns.pop(ACTIVATIONS, None)
                yield EncodedShard(spool.read(shard), facts, columns)

    def _pieces(self, spool: Spool, shards: Sequence[RowOffsets], kit: tuple[Any, ...]) -> Generator[Any, None, None]:
        """Start the readers and actors, and yield their output in order.

        :param kit: references to what each actor needs.
        """
        import ray.data

        # One line per shard and one block per line, so that a shard is one piece of work.
        spool.flush()
        lines = [{SHARD: number, OFFSETS: array("Q", shard).tobytes()} for number, shard in enumerate(shards)]
        data = ray.data.from_items(lines, override_num_blocks=len(lines))
        settings: Any = data.context
        settings.execution_options.preserve_order = True
        settings.execution_options.verbose_progress = False
        settings.enable_progress_bars = settings.print_on_execution_start = False
        settings.target_max_block_size = 4 * PIECE_BYTES
        # A large model on a CPU may take longer for a shard than the half hour that Ray Data allows.
        settings.execution_no_progress_timeout_s = -1
        data = data.map_batches(
            read_shards,
            fn_args=(str(spool.path.resolve()),),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.TaskPoolStrategy(size=min(_READERS, len(lines))),
            num_cpus=0,  # so that they run even where encoders have taken all CPUs
            resources=this_machine(),  # no other has the file
        )
        data = data.map_batches(
            ShardWorker,
            fn_constructor_args=(self._task, Foreman(self._workers, kit), library_versions()),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
        )
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def _worker_device(wanted: Device, machines: Sequence[Mapping[str, float]]) -> Device:
    """Decide where the workers run: on GPUs, unless they are not wanted or there are none."""
    if wanted is Device.SPLIT:
        raise NaitError("--device split is for the GPUs of one machine; leave out --engine ray, or use --devices 0+1")
    gpus = any(machine.get("GPU", 0) >= 1 for machine in machines)
    if wanted is Device.CUDA and not gpus:
        raise NaitError("--device cuda was requested, but the Ray cluster has no GPU; use --device cpu")
    return Device.CUDA if gpus and wanted is not Device.CPU else Device.CPU
