"""Searches on a Ray cluster: every worker scans its share of the rows, and this process merges what they find.

A worker reads the table itself, and keeps the copy that it scans on the machine it runs on. Worker number i of n is put
on the same machine every time, as long as the cluster has the same machines, so that it finds its copy again.
"""

import logging
import socket
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from nait_index.config import RunnerConfig, RunnerKind
from nait_index.distributed.cluster import connected, plain_errors, require_same_libraries, share_of
from nait_index.errors import StoreError
from nait_index.search.copies import RowShare, ScanCopies
from nait_index.search.merged import MergedScans
from nait_index.search.scans import HeldScans, Scans, TableWork
from nait_index.search.shares import SharedRows, ShareSpans, share_out
from nait_index.store.layout import Layout
from nait_index.store.manifest import library_versions
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)

_COMPARED = ("nait-index", "numpy")
"""Libraries that compute scores."""

_RESTARTS = 4
"""How often each worker is started again, as long as the index is open; more would not help where memory is short."""


@dataclass(frozen=True, slots=True)
class ShareTask:
    """What a worker must know to scan its share of a table.

    :param index: its name, which means the same on every machine. :param storage: options of the object store.
    :param files_hash: of the table that the search reads. :param threads: that scan.
    """

    index: str
    storage: Mapping[str, str] | None
    version: int
    files_hash: str
    share: RowShare
    spans: ShareSpans
    threads: int


def scans_for(config: RunnerConfig, layout: Layout, table: SampleTable) -> Scans | None:
    """Start the workers that scan a table; ``None`` where this process scans it.

    They end, and this process disconnects from the cluster, when the scans are no longer referred to.

    :raises NaitError: Ray is not installed, or the cluster is unreachable or too small.
    """
    if config.kind is RunnerKind.LOCAL:
        return None
    with ExitStack() as stack:
        ray = stack.enter_context(connected(config.address))
        machines = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeManagerAddress"])
        count, share = share_of(config.workers, [machine["Resources"] for machine in machines], use_gpus=False)
        logger.info("starting %d workers that scan the rows", count)
        shared = share_out(table.fragments_of("id"), count)
        name, digest = _absolute(layout), table.files_hash()
        tasks = [ShareTask(name, layout.storage, table.version, digest, *held, share.cpus) for held in shared]
        actors = [_start(*each) for each in zip(tasks, _hosts(machines, share.cpus, count), strict=True)]
        scans = MergedScans(
            partial(_ask, actors), partial(_spread, actors), table.signatures_at, [spans for _, spans in shared]
        )
        weakref.finalize(scans, stack.pop_all().close)
    return scans


class ScanWorker:
    """One share of the rows; lives in an actor. The table is opened for the first request, whose error is raised.

    :param libraries: versions on the machine that searches.
    """

    def __init__(self, task: ShareTask, libraries: Mapping[str, str]) -> None:
        self._task, self._libraries = task, libraries

    def answer(self, request: str, arguments: Sequence[Any]) -> Any:  # noqa: ANN401 - what the request returns
        """Call a method of the rows."""
        return getattr(self._rows, request)(*arguments)

    def do(self, work: TableWork, argument: Any) -> Any:  # noqa: ANN401 - what is made of it
        """Do some work with the table."""
        return work(self._table, argument)

    @cached_property
    def _table(self) -> SampleTable:
        require_same_libraries(self._libraries, _COMPARED)
        return _open(self._task)

    @cached_property
    def _rows(self) -> SharedRows:
        task, table = self._task, self._table
        copies = ScanCopies(Layout(task.index, task.storage), table, task.share)
        return SharedRows(HeldScans(copies, threads=task.threads), task.spans)


def _open(task: ShareTask) -> SampleTable:
    """Open the table on the worker's machine.

    :raises StoreError: the table is not there, or is another one.
    """
    layout = Layout(task.index, task.storage)
    table = SampleTable(layout, task.version)
    try:
        problem = None if table.files_hash() == task.files_hash else "finds another index there"
    except StoreError as error:
        problem = f"cannot read it ({str(error).split(';')[0]})"
    if problem is not None:
        raise StoreError(
            f"{task.index}: the worker on {socket.gethostname()} {problem}; keep the index in an object store, or "
            "where all machines of the cluster see it under the same path"
        )
    return table


def _ask(actors: Sequence[Any], request: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Make a request of every worker, and wait for all answers."""
    import ray

    with plain_errors("scan with more --workers, or on machines with more memory"):
        answers: list[Any] = ray.get(
            [actor.answer.remote(request, given) for actor, given in zip(actors, arguments, strict=True)]
        )
    return answers


def _spread(actors: Sequence[Any], work: TableWork, arguments: Iterable[Any]) -> Iterator[Any]:
    """Yield what is made of each argument, in their order; each is sent to a worker that has nothing to do.

    Nobody begins with an argument that is far ahead of the next result, so that few results wait.
    """
    import ray

    free, running, done = deque(actors), dict[Any, tuple[int, Any]](), dict[int, Any]()
    left, due = enumerate(arguments), 0
    with plain_errors("use machines with more memory, or fewer --workers on each"):
        sent = ray.put(work)
        while True:
            while free and len(running) + len(done) < 2 * len(actors) and (taken := next(left, None)) is not None:
                actor, (number, argument) = free.popleft(), taken
                running[actor.do.remote(sent, argument)] = number, actor
            if due in done:
                yield ray.get(done.pop(due))
                due += 1
            elif running:
                (ended,), _ = ray.wait([*running])
                number, actor = running.pop(ended)
                free.append(actor)
                done[number] = ended
            else:
                return


def _start(task: ShareTask, host: str) -> Any:  # noqa: ANN401 - Ray's handle
    """Start a worker on a machine, or on another one once that has gone.

    It reserves no CPU, since it is idle between searches, as long as somebody has the index open.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    worker = ray.remote(ScanWorker).options(
        num_cpus=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(host, soft=True),
        max_restarts=_RESTARTS,
        max_task_retries=_RESTARTS,
    )
    return worker.remote(task, library_versions())


def _hosts(machines: Sequence[Mapping[str, Any]], cpus: int, count: int) -> list[str]:
    """Return the machine of each worker, in turn as far as each has room."""
    room = {machine["NodeID"]: int(machine["Resources"].get("CPU", 0)) // cpus for machine in machines}
    return [node for turn in range(max(room.values())) for node, fits in room.items() if fits > turn][:count]


def _absolute(layout: Layout) -> str:
    """Return the index's name for workers, which start in folders of their own."""
    return str(Path(layout.name).resolve()) if layout.remote is None else layout.name
