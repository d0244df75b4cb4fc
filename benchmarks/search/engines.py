"""Cells beside FAISS's inverted lists and LanceDB's own vector indexes: ``python -m benchmarks.search.engines``.

All get the same rows, are asked for candidates by their leading coordinates, and have these scored exactly by the
whole codes. Each is tuned in the same way: the fewest candidates, then the fewest cells, with which it finds 99 % of
the exact hundred best of 16 queries. It is measured with eight others. Results go to results/engines.json after every
engine, and a run that was interrupted goes on with ``--resume``.
"""

import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.search.indexes import Engine, Faiss, Lance, MadeUp, Ours
from benchmarks.search.speed import resident_mib
from nait_index.search.exact import ExactScan
from nait_index.search.hits import best

RESULT = ROOT / "benchmarks" / "results" / "engines.json"
K = 100
_DEPTHS = (1, 2, 4, 8, 16, 32)
_WANTED = 0.99
_SHARES = {"1 %": 100, "10 %": 10}  # of the rows that pass a filter: one of so many
_KINDS = ("cells", "FAISS", "IVF_SQ-256", "IVF_RQ-256", "IVF_RQ4-256")
_OTHERS = ("IVF_SQ-128", "IVF_FLAT-256", "IVF_HNSW_SQ-256")


@click.command()
@click.option("--size", "sizes", multiple=True, type=int, default=(300_000, 1_000_000), show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--engine", "kinds", multiple=True, type=click.Choice(_KINDS + _OTHERS), default=_KINDS)
@click.option("--huge", is_flag=True, help="Also 10 million rows of 512 bytes, which take 20 GB of disk.")
@click.option("--scratch", type=click.Path(path_type=Path), help="Folder for made-up rows; by default the system's.")
@click.option("--output", type=click.Path(path_type=Path), default=RESULT, help="File of the results.")
@click.option("--resume", is_flag=True, help="Keep what the file of the results has, and measure what it lacks.")
@click.option("--quick", is_flag=True, help="Only check that it runs: 12,000 rows, nothing is written.")
def main(
    sizes: tuple[int, ...],
    dim: int,
    kinds: tuple[str, ...],
    huge: bool,
    scratch: Path | None,
    output: Path,
    resume: bool,
    quick: bool,
) -> None:
    """Measure every engine on every size."""
    wanted = [(12_000, 256)] if quick else [(size, dim) for size in sizes] + [(10_000_000, 512)] * huge
    result: dict[str, Any] = {"sizes": {}}
    if resume and output.is_file():
        result = json.loads(output.read_text(encoding="utf-8"))
    result["environment"] = environment()
    for rows, width in wanted:
        known = result["sizes"].setdefault(str(rows), {"bytes_per_row": width, "engines": {}})["engines"]
        if {"exact", *kinds} <= known.keys():
            continue
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            made = MadeUp(Path(folder), rows, width)
            for kind in ("exact", *kinds):
                if kind in known:
                    continue
                known[kind] = measure_exact(made) if kind == "exact" else measure(made, kind)
                click.echo(json.dumps({f"{kind}, {rows:,}": known[kind]}), err=True)
                if not quick:
                    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def measure_exact(made: MadeUp) -> dict[str, Any]:
    """Time the exact scan, of all rows and of those that pass a filter."""
    exact = made.exact(made.rows)
    seconds = {
        name: _mean(lambda query: best(exact.scores(query[None])[0], K), made.queries, clock)
        for name, clock in (("query", time.perf_counter), ("query, of processor time", time.process_time))
    }
    for name, one_of in _SHARES.items():
        passing = made.passing(one_of, made.rows)
        seconds[f"query, {name} pass"] = _mean(partial(_among, exact, passing), made.queries)
        seconds[f"query, {name} pass, only these read"] = _mean(partial(_of_these, exact, passing), made.queries)
    return seconds


def _among(exact: ExactScan, passing: np.ndarray, query: np.ndarray) -> None:
    best(exact.scores(query[None])[0], K, passing)


def _of_these(exact: ExactScan, passing: np.ndarray, query: np.ndarray) -> None:
    best(exact.scores_at(np.flatnonzero(passing), query[None])[0], K)


def measure(made: MadeUp, kind: str) -> dict[str, Any]:
    """Build one engine, tune it, and measure it."""
    before, started, processor = resident_mib(), time.monotonic(), time.process_time()
    with Peak() as peak:
        made_by: dict[str, Callable[[MadeUp, str], Engine]] = {"cells": Ours, "FAISS": Faiss}
        engine = made_by.get(kind, Lance)(made, kind)
    figures: dict[str, Any] = {"build": round(time.monotonic() - started, 1)}
    figures["build, of processor time"] = round(time.process_time() - processor, 1)
    if isinstance(engine, Lance):
        figures["of which the column"] = round(engine.written - started, 1)
    figures |= {"memory_mib": round(peak.mib - before), "bytes": engine.size(), "cells": engine.cells}
    depth, visited = tune(made, engine)
    figures |= {"depth": depth, "visited": visited}
    figures |= _searched(made, engine, depth, visited, made.rows, None)
    figures["first query"] = _first(made, engine, (depth, visited, None))
    for name, one_of in _SHARES.items():
        figures[f"{name} pass"] = _searched(made, engine, depth, visited, made.rows, one_of)
    started = time.monotonic()
    engine.add(made.rows, made.rows + made.added)
    figures["add 1 %"] = round(time.monotonic() - started, 2)
    figures["after it"] = _searched(made, engine, depth, visited, made.rows + made.added, None)
    figures["bytes after it"] = engine.size()
    if isinstance(engine, Lance):
        started = time.monotonic()
        engine.merge()
        figures["merge"] = round(time.monotonic() - started, 2)
        shutil.rmtree(engine.path)
    return figures


def tune(made: MadeUp, engine: Engine) -> tuple[int, int]:
    """Return the fewest candidates per row asked for, and then the fewest cells, that find what is wanted."""
    exact = made.exact(made.rows)
    expected = _expected(exact, made.tuning, None)
    steps = [min(2**power, engine.cells) for power in range(1, engine.cells.bit_length() + 1)]
    if engine.cells < 100:  # of a graph: not cells, but how far it is walked
        steps = [100, 200, 400, 800, 1600, 3200]

    def recall(depth: int, visited: int) -> float:
        return float(np.mean(_recalls(made, engine, exact, made.tuning, expected, (depth, visited, None))))

    depth = next((depth for depth in _DEPTHS if recall(depth, steps[-1]) >= _WANTED), _DEPTHS[-1])
    return depth, next((visited for visited in steps if recall(depth, visited) >= _WANTED), steps[-1])


def _searched(
    made: MadeUp, engine: Engine, depth: int, visited: int, rows: int, one_of: int | None
) -> dict[str, float]:
    exact = made.exact(rows)
    expected = _expected(exact, made.queries, None if one_of is None else made.passing(one_of, rows))
    recalls = _recalls(made, engine, exact, made.queries, expected, (depth, visited, one_of))
    how = depth, visited, one_of
    seconds = _mean(lambda query: _search(made, engine, exact, query, how), made.queries)
    processor = _mean(lambda query: _search(made, engine, exact, query, how), made.queries, time.process_time)
    found = {"recall": round(float(np.mean(recalls)), 4), "lowest recall": min(recalls)}
    return found | {"query": seconds, "query, of processor time": processor}


def _first(made: MadeUp, engine: Engine, how: "_How") -> float:
    """Return the seconds from opening the files, which are in the system's cache, to the answer: the least of three."""
    exact, seconds = made.exact(made.rows), []
    for query in made.queries[:3]:
        started = time.perf_counter()
        engine.reopen()
        _search(made, engine, exact, query, how)
        seconds.append(time.perf_counter() - started)
    return round(min(seconds), 5)


def _expected(exact: ExactScan, queries: np.ndarray, passing: np.ndarray | None) -> list[set[int]]:
    return [set(best(scores, K, passing).ordinals[:K].tolist()) for scores in exact.scores(queries)]


_How = tuple[int, int, int | None]


def _recalls(
    made: MadeUp, engine: Engine, exact: ExactScan, queries: np.ndarray, expected: Sequence[set[int]], how: _How
) -> list[float]:
    return [
        len(right & set(_search(made, engine, exact, query, how).tolist())) / K
        for right, query in zip(expected, queries, strict=True)
    ]


def _search(made: MadeUp, engine: Engine, exact: ExactScan, query: np.ndarray, how: _How) -> np.ndarray:
    depth, visited, one_of = how
    ordinals = np.sort(engine.candidates(query, depth * K, visited, one_of))
    if not len(ordinals):
        return ordinals
    return np.asarray(ordinals[best(exact.scores_at(ordinals, query[None])[0], K).ordinals])


class Peak:
    """The most memory of this process while it is open, without mapped files."""

    def __enter__(self) -> "Peak":
        self.mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.mib = max(self.mib, resident_mib())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _mean(
    work: Callable[[np.ndarray], object], queries: np.ndarray, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the mean over some queries of the least seconds of three runs."""
    least = []
    for query in queries:
        seconds = []
        for _ in range(3):
            started = clock()
            work(query)
            seconds.append(clock() - started)
        least.append(min(seconds))
    return round(float(np.mean(least)), 5)


if __name__ == "__main__":
    main()
