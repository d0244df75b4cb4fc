"""A Ray cluster: one that is running, or one of this machine alone, started for a command and stopped after it.

Ray restarts workers without limit, whatever ended them. Losing one now and then costs only time; if all of them keep
ending, say because the model does not fit into memory, the :class:`Foreman` ends the build.
"""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from nait_index.errors import ModelError, NaitError
from nait_index.store.manifest import library_versions

_STORE_BYTES = 512 << 20
"""Object store of a cluster started here: room for some shards in transit. Ray's default is a third of the memory."""

_STARTS = 5
"""Starts per worker without one finished shard, after which a build gives up."""

_ENCODING = ("nait-index", "torch", "transformers", "tokenizers", "numpy")
"""Libraries that compute what is stored of a row."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Real errors are raised; the other "errors" that Ray's core logs are remarks on how Ray Data uses it.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Ray reports lost workers on standard output, which is for data: drop every line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # The settings keep actors off the GPUs; Ray need neither hide the GPUs from them nor warn about it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")

_USERS: set[object] = set()
"""Who uses the connection of this process, if it was made here."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one encoder takes of a cluster. Ray counts CPUs only to spread the encoders over the machines."""

    cpus: int
    gpus: int


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Connect to a cluster, or start one, and yield the module of Ray; disconnect at the end.

    Where this process is connected already, it uses that cluster and leaves the connection open.

    :raises NaitError: Ray is not installed, or there is no cluster.
    """
    settings = _QUIET if address else _QUIET | _own_token()
    added = {name: value for name, value in settings.items() if name not in os.environ}
    with ExitStack() as stack:
        os.environ.update(added)
        for name in added:
            stack.callback(os.environ.pop, name, None)
        try:
            import ray
        except ImportError as error:
            raise NaitError(f"Ray is not installed ({error}): pip install 'nait-index[ray]'") from error
        user = object()
        if not ray.is_initialized():
            _init(address)
            _USERS.clear()
            _USERS.add(user)
        elif _USERS:
            _USERS.add(user)
        stack.callback(_leave, user)
        yield ray


@contextmanager
def quiet_data() -> Iterator[None]:
    """Load Ray Data, and keep it from logging to our streams; its errors are raised.

    :raises NaitError: it is not installed.
    """
    try:
        import ray.data  # noqa: F401 - it makes the logger
    except ImportError as error:
        raise NaitError(f"Ray Data is not installed ({error}): pip install 'nait-index[ray]'") from error
    logger = logging.getLogger("ray.data")  # whose level the import sets
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _leave(user: object) -> None:
    """Disconnect from the cluster when the last one leaves that uses a connection made here."""
    import ray

    if user in _USERS:
        _USERS.remove(user)
        if not _USERS:
            ray.shutdown()


def share_of(workers: int | None, machines: Sequence[Mapping[str, float]], *, use_gpus: bool) -> tuple[int, Share]:
    """Decide how many encoders there are, and what each takes.

    :param workers: as requested; ``None`` is one per GPU, else as many as there are machines with a CPU. All take
        equal shares, so a large machine may get several, and a small one none.
    :param machines: the resources of each, as Ray counts them.
    :raises NaitError: the cluster does not have enough.
    """
    gpus = int(sum(machine.get("GPU", 0) for machine in machines)) if use_gpus else 0
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    count = workers or gpus or sum(cores > 0 for cores in cpus)
    most, units = (gpus, "GPUs") if gpus else (sum(cpus), "CPUs")
    if not 1 <= count <= most:
        raise NaitError(f"--workers {count} is more than the {most} {units} of the Ray cluster; request fewer")
    if gpus:
        return count, Share(0, 1)
    # The largest share that fits this many times.
    sizes = range(max(cpus), 0, -1)
    return count, next(Share(size, 0) for size in sizes if sum(cores // size for cores in cpus) >= count)


class Foreman:
    """Hands the workers of one pool what they need, and gives up when they keep starting without finishing a shard.

    It is sent to each worker, and represents an actor on the builder's machine.

    :param workers: size of the pool.
    :param kit: references to what each worker needs. As arguments of the workers, Ray could not restart a worker once
        it had released them.
    """

    def __init__(self, workers: int, kit: tuple[Any, ...]) -> None:
        import ray

        self._most = workers * _STARTS
        self._actor: Any = ray.remote(num_cpus=0, resources=this_machine())(_Desk).remote(kit)

    def begin(self) -> tuple[Any, ...]:
        """Count a worker that starts, and return what it needs.

        :raises NaitError: there were too many starts.
        """
        import ray

        begun, kit = ray.get(self._actor.begin.remote())
        if begun > self._most:
            raise NaitError(
                f"workers of the Ray cluster started {self._most} times and none finished a shard; if they run out of "
                "memory, lower --workers or --batch-tokens; the same command continues the build"
            )
        return tuple(None if reference is None else ray.get(reference) for reference in kit)

    def finish(self) -> None:
        """Note a finished shard."""
        self._actor.finish.remote()


class _Desk:
    """Holds the references and the count of starts since a shard was last finished."""

    def __init__(self, kit: tuple[Any, ...]) -> None:
        self._kit = kit
        self._begun = 0

    def begin(self) -> tuple[int, tuple[Any, ...]]:
        self._begun += 1
        return self._begun, self._kit

    def finish(self) -> None:
        self._begun = 0


def require_same_libraries(builders: Mapping[str, str], compared: Sequence[str] = _ENCODING) -> None:
    """Refuse a machine whose libraries may give other numbers than those of the machine that sent the work.

    Builds of one version for other devices, such as ``2.8.0+cpu``, are alike.

    :param builders: versions there, as :func:`~nait_index.store.manifest.library_versions` returns them.
    :raises ModelError: a library has another version here.
    """
    here = library_versions()
    pairs = {name: (here.get(name, "none"), builders.get(name, "none")) for name in compared}
    differing = [
        f"{name} {ours} instead of {theirs}"
        for name, (ours, theirs) in pairs.items()
        if ours.partition("+")[0] != theirs.partition("+")[0]
    ]
    if differing:
        raise ModelError(
            f"the worker on {socket.gethostname()} has {', '.join(differing)}, which the machine that started the "
            "command has; install the same versions on all machines"
        )


def this_machine() -> dict[str, float]:
    """Require the builder's machine, by the resource that Ray gives each machine."""
    import ray

    return {f"node:{ray.util.get_node_ip_address()}": 0.001}


@contextmanager
def plain_errors(remedy: str) -> Iterator[None]:
    """Raise errors that a user can act on without Ray's traceback around them.

    :param remedy: what helps if a worker ran out of memory.
    """
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, NaitError):
            raise error.cause from None
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.RayActorError) as error:
        raise NaitError(f"a worker of the Ray cluster ended; if it ran out of memory, {remedy}") from error


def _init(address: str | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    # "local": not the address in RAY_ADDRESS, nor a cluster that someone left running.
    new = {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        host, _, port = (address or "").rpartition(":")
        if host and port.isdecimal():  # where nothing listens, Ray itself would keep trying for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        with _no_standard_error():
            ray.init(**({"address": address} if address else new), **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        raise NaitError(f"no Ray cluster at --address {address}: {reason}" if address else f"Ray: {reason}") from error


def _own_token() -> dict[str, str]:
    """Make a token for a cluster started here, unless the environment configures authentication.

    Its ports are open to the network, so Ray's authentication stays on; but by default Ray would leave a token in the
    user's home, and every later cluster of that user would use it.
    """
    if any(name in os.environ for name in _AUTH):
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Discard the standard error stream of this process, C++ code included.

    Ray's core reports there at its start that it was configured to be quiet.
    """
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
