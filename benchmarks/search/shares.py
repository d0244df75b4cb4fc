"""Rows scanned by the workers of a Ray cluster beside one process: ``python -m benchmarks.search.shares``.

Writes results/shares.json. The rows of a made-up table, 1,024 bytes each, are scanned here and by workers on this
machine, in turn: the best tenth by one query, and by eight. All use the cores and the memory of one machine, so this
measures what sharing costs, and the rates from which docs/scaling.md computes what many machines would gain.
"""

import json
import pickle
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.speed.renewal import COLUMN, MadeUp, peak_mib
from nait_index.config import RunnerConfig, RunnerKind
from nait_index.distributed.cluster import connected
from nait_index.distributed.scanning import scans_for
from nait_index.search.copies import ScanCopies
from nait_index.search.cut import half_of
from nait_index.search.exact import ScanStamp
from nait_index.search.hits import Hits
from nait_index.search.merged import merge_found
from nait_index.search.scans import ColumnQueries, HeldScans, Scans
from nait_index.search.shares import ShareSpans, share_out
from nait_index.store.fragments import Fragment
from nait_index.store.samples import SampleTable

_APPENDED = 20_000
_FRAGMENT = 1 << 20
"""Rows that Lance merges into one fragment."""

_WORKERS = {"one process": 0, "ray, 1 worker": 1, "ray, 2 workers": 2}
_QUERIES = {"one query": 1, "eight": 8}


@click.command()
@click.option("--rows", default=300_000, show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--changed", default=1_000, show_default=True, help="Rows added.")
@click.option("--rounds", default=9, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs: 3,000 rows, nothing is written.")
def main(rows: int, dim: int, changed: int, rounds: int, quick: bool) -> None:
    """Measure, and write results/shares.json."""
    if quick:
        rows, dim, changed, rounds = 3_000, 64, 100, 1
    result: dict[str, Any] = {"environment": environment(), "ray": version("ray"), "rows": rows, "dim": dim}
    result |= {"changed": changed, "rounds": rounds}
    with tempfile.TemporaryDirectory() as scratch:
        made_up = MadeUp(Path(scratch), dim)
        for start in range(0, rows, _APPENDED):
            made_up.add(min(_APPENDED, rows - start))
        SampleTable(made_up.layout).compact()
        started = time.perf_counter()
        with connected(None):
            result["cluster, seconds"] = round(time.perf_counter() - started, 1)
            result |= first_searches(made_up, changed) | searches(made_up, rounds)
        result["ids, seconds"] = _read_ids(made_up)
    result["billion"] = simulated(1_000_000 if quick else 1_000_000_000, 64)
    if not quick:
        path = ROOT / "benchmarks" / "results" / "shares.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def first_searches(made_up: MadeUp, changed: int) -> dict[str, Any]:
    """Time the first search, which reads the table, the first of another process, and the first after an addition."""
    seconds: dict[str, dict[str, float]] = {"anew": {}, "again": {}, "after an addition": {}}
    for name, workers in _WORKERS.items():
        for case, times in seconds.items():
            if case == "after an addition":
                made_up.add(changed)
            started = time.perf_counter()
            _search(_open(made_up, workers), made_up, 1)
            times[name] = round(time.perf_counter() - started, 2)
    return {"first search, seconds": seconds}


def searches(made_up: MadeUp, rounds: int) -> dict[str, Any]:
    """Search in every way, in turn, and check that all find the same."""
    opened = {name: _open(made_up, workers) for name, workers in _WORKERS.items()}
    watched = Watched(opened[max(_WORKERS, key=_WORKERS.__getitem__)])
    result: dict[str, Any] = {"seconds": {}, "requests": {}}
    for queries, count in _QUERIES.items():
        seconds: dict[str, list[float]] = defaultdict(list)
        for turn in range(-1, rounds):  # the first opens what is scanned
            hits = {}
            for name in sorted(opened, reverse=bool(turn % 2)):
                started = time.perf_counter()
                hits[name] = _search(opened[name], made_up, count)
                seconds[name].append(time.perf_counter() - started)
            _check([*hits.values()])
        result["seconds"][queries] = {name: _summary(values[1:]) for name, values in seconds.items()}
        result["requests"][queries] = watched.summary(rounds)
    return result


class Watched:
    """Seconds and bytes of every request that workers answer."""

    def __init__(self, scans: Any) -> None:  # noqa: ANN401 - its requests are nobody else's to see
        self._seconds: dict[str, list[float]] = defaultdict(list)
        self._bytes: dict[str, list[int]] = defaultdict(list)
        self._ask, scans._ask = scans._ask, self._watch

    def summary(self, searches: int) -> dict[str, dict[str, float]]:
        """Return the median seconds of every kind of request, and begin anew.

        :param searches: that were made after the first one, which is left out.
        """
        kinds = {
            kind: {
                "a search": len(seconds) // (searches + 1),
                "seconds": round(median(seconds[len(seconds) // (searches + 1) :]), 4),
                "bytes": int(median(self._bytes[kind])),
            }
            for kind, seconds in self._seconds.items()
        }
        self._seconds.clear()
        self._bytes.clear()
        return kinds

    def _watch(self, request: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        started = time.perf_counter()
        answers: list[Any] = self._ask(request, arguments)
        is_first = request == "count" and arguments[0][-1][0] is None
        kind = "scan and count" if is_first else request
        self._seconds[kind].append(time.perf_counter() - started)
        self._bytes[kind].append(_size(answers))
        return answers


def simulated(rows: int, workers: int) -> dict[str, Any]:
    """Do what the command does for a search of a billion rows, with made-up answers of the workers.

    A hundredth of the rows is found, by one query and under a filter.
    """
    rng = np.random.default_rng(3)
    runs = np.array([[0, _FRAGMENT]])
    fragments = [Fragment(number, f"{number}.lance:9:9", runs) for number in range(-(-rows // _FRAGMENT))]
    seconds, started = {}, time.perf_counter()
    shared = share_out(fragments, workers)
    seconds["sharing out the rows"] = time.perf_counter() - started
    rows = sum(spans.rows for _, spans in shared)
    allowed, started = np.ones(rows, bool), time.perf_counter()
    masks = [np.packbits(spans.gather(allowed)) for _, spans in shared]
    seconds["masks of a filter"] = time.perf_counter() - started
    del allowed
    counted = [(np.arange(1 << 16, dtype=np.uint16), rng.integers(0, 500, 1 << 16).astype(np.uint32)) for _ in shared]
    started = time.perf_counter()
    half_of(counted, rows // 100)
    seconds["adding up counts"] = time.perf_counter() - started
    answers = [[_made_up_answer(spans, rng)] for _, spans in shared]
    started = time.perf_counter()
    (hits,) = merge_found(answers, rows // 100)
    seconds["merging"] = time.perf_counter() - started
    return {
        "rows": rows,
        "workers": workers,
        "found": len(hits.ordinals),
        "largest share": max(spans.rows for _, spans in shared),
        "seconds": {name: round(figure, 3) for name, figure in seconds.items()},
        "bytes": {"task of a worker": len(pickle.dumps(shared[0])), "masks": sum(mask.nbytes for mask in masks)}
        | {"counts, at most": 2 * _size(counted), "found rows": _size(answers)},
        "memory, MiB": peak_mib(),
    }


def _made_up_answer(spans: ShareSpans, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make the answer of a worker of whose rows every hundredth is found."""
    ordinals = spans.in_table(np.arange(0, spans.rows, 100)).astype(np.uint32)
    return ordinals, rng.standard_normal(len(ordinals), np.float32)


def _open(made_up: MadeUp, workers: int) -> Scans:
    table = _newest(made_up)
    here = HeldScans(ScanCopies(made_up.layout, table))
    return scans_for(RunnerConfig(RunnerKind.RAY, workers), made_up.layout, table) or here if workers else here


def _newest(made_up: MadeUp) -> SampleTable:
    return SampleTable(made_up.layout, SampleTable(made_up.layout).version)


def _search(scans: Scans, made_up: MadeUp, count: int) -> list[Hits]:
    """Find the best tenth of the rows."""
    table = _newest(made_up)
    rows, (_, dim) = len(table), table.signature_types()[COLUMN]
    queries = np.random.default_rng(1).standard_normal((count, dim)).astype(np.float32)
    return scans.best([ColumnQueries(COLUMN, ScanStamp(table.version, rows, dim, "int8"), queries)], rows // 10, None)


def _read_ids(made_up: MadeUp) -> float:
    """Read the ids of a tenth of the rows, as a selection does, and return the seconds."""
    table = _newest(made_up)
    ordinals = np.random.default_rng(2).permutation(len(table))[: len(table) // 10]
    started = time.perf_counter()
    table.take(ordinals, ["id"]).to_pydict()
    return round(time.perf_counter() - started, 3)


def _check(results: Sequence[Sequence[Hits]]) -> None:
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert np.array_equal(one.ordinals, other.ordinals)
            assert np.array_equal(one.scores, other.scores)


def _size(answer: Any) -> int:  # noqa: ANN401
    """Return the bytes of the arrays in an answer."""
    return sum(map(_size, answer)) if isinstance(answer, list | tuple) else int(np.asarray(answer).nbytes)


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    figures = {"median": median(seconds), "lowest": min(seconds), "highest": max(seconds)}
    return {name: round(figure, 4) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
