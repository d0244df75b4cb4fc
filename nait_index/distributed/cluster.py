"""A Ray cluster: one that is running, or one of this machine alone, started for a build and stopped after it."""

import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from nait_index.errors import NaitError

_STORE_BYTES = 512 << 20
"""Of an own cluster's object store: some shards on their way. Ray's default is a third of the memory."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What goes wrong is raised; what Ray's core prints besides, as errors, are remarks on how Ray Data uses it.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # It prints news of lost workers on standard output, where data goes: no line passes.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Actors without a GPU are told so by their settings; Ray need neither hide the GPUs from them nor warn about it.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@dataclass(frozen=True, slots=True)
class Share:
    """What one encoder takes of a cluster. CPUs are what Ray counts, so that encoders spread over the machines."""

    cpus: int
    gpus: int


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one; let go of it in the end.

    Where this process is connected already, that cluster is taken, and left connected.

    :raises NaitError: Ray is not installed, or no cluster is there.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment(_QUIET if address else _QUIET | _own_token()))
        ray = import_ray()
        if not ray.is_initialized():
            _init(address)
            stack.callback(ray.shutdown)
        stack.enter_context(_quiet_data())
        yield


def import_ray() -> Any:  # noqa: ANN401 - Ray is not there for everyone
    """Import Ray with Ray Data.

    :raises NaitError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise NaitError(f"Ray is not installed ({error}): pip install 'nait-index[ray]'") from error
    return ray


def share_of(workers: int | None, machines: Sequence[Mapping[str, float]], *, use_gpus: bool) -> tuple[int, Share]:
    """Settle how many encoders there are, and what each takes.

    :param workers: as asked for; ``None`` is one for each GPU, else one for each machine with a CPU.
    :param machines: the resources of each, as Ray counts them.
    :raises NaitError: the cluster has not enough.
    """
    gpus = int(sum(own.get("GPU", 0) for own in machines)) if use_gpus else 0
    cpus = [int(own.get("CPU", 0)) for own in machines]
    count = workers or gpus or sum(own > 0 for own in cpus)
    most, what = (gpus, "GPUs") if gpus else (sum(cpus), "CPUs")
    if not 1 <= count <= most:
        raise NaitError(f"--workers {count} is more than the {most} {what} of the Ray cluster; ask for fewer")
    if gpus:
        return count, Share(0, 1)
    # As large a share as there is room for so many times.
    return count, next(Share(own, 0) for own in range(max(cpus), 0, -1) if sum(all_ // own for all_ in cpus) >= count)


def _init(address: str | None) -> None:
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    # "local": an address in RAY_ADDRESS, or a cluster that someone left running, is not what was asked for.
    own = {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        _knock(address)
        with _no_standard_error():
            ray.init(**({"address": address} if address else own), **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        raise NaitError(f"no Ray cluster at --address {address}: {reason}" if address else f"Ray: {reason}") from error


def _knock(address: str | None) -> None:
    """Ask whether anyone is there at all; Ray itself goes on asking for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _own_token() -> dict[str, str]:
    """Give a cluster of our own a token of its own, where nothing else was said.

    Its ports are open to the network, so Ray's authentication stays on; but by itself Ray would leave a token in the
    user's home, and from then on every later cluster of that user would take it.
    """
    if any(name in os.environ for name in _AUTH):
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set what is not set, until the end."""
    own = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


@contextmanager
def _no_standard_error() -> Iterator[None]:
    """Let what is written to the standard error stream, in whatever language, come to nothing.

    Ray's core reports there at its start that it was told to be quiet.
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


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Keep Ray Data's reports off our streams, until the end; what goes wrong is raised."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
