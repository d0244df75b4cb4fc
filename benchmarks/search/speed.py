"""The measurement: ``python -m benchmarks.search.speed``; writes results/search.json.

Every size is measured in one process, in turn, each figure the best of several; peers get the same rows, as float32
where they accept nothing else. ``read`` is the time to read the codes once without using them.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.methods.probe import SAMPLE, train
from nait_index.search.approximate import Approximate
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import best, best_of_each


@click.command()
@click.option("--size", "sizes", multiple=True, type=int, default=(30_000, 300_000, 1_000_000), show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--huge", is_flag=True, help="Also 10 million rows of 512 bytes; takes 5 GB of memory and disk.")
@click.option("--quick", is_flag=True, help="Only check that it runs: 12,000 rows, nothing is written.")
def main(sizes: tuple[int, ...], dim: int, huge: bool, quick: bool) -> None:
    """Measure every size."""
    wanted = [(12_000, 256)] if quick else [(size, dim) for size in sizes] + [(10_000_000, 512)] * huge
    result: dict[str, Any] = {"environment": environment(), "sizes": []}
    for rows, width in wanted:
        with tempfile.TemporaryDirectory() as scratch:
            result["sizes"].append(measure(Path(scratch), rows, width))
        click.echo(json.dumps(result["sizes"][-1]), err=True)
    if not quick:
        path = ROOT / "benchmarks" / "results" / "search.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


_SKILLS = 1000
_BLOCK = 20_000


def make_rows(path: Path, rows: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Write rows (n, d) int8, each near one of 1,000 skills, to a file; return them, mapped, and their steps (d,)."""
    rng = np.random.default_rng(0)
    spread = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    spread /= np.linalg.norm(spread)
    skills = rng.standard_normal((_SKILLS, dim), dtype=np.float32) * spread
    steps = spread * np.float32(5 / 127)
    codes = np.lib.format.open_memmap(path, mode="w+", dtype=np.int8, shape=(rows, dim))
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        vectors = 0.8 * skills[rng.integers(_SKILLS, size=count)]
        vectors += 0.6 * spread * rng.standard_normal((count, dim), dtype=np.float32)
        codes[start : start + count] = np.rint(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) / steps).clip(
            -127, 127
        )
    codes.flush()
    return np.load(path, mmap_mode="r"), steps


def make_queries(codes: np.ndarray, steps: np.ndarray, count: int) -> np.ndarray:
    """Train the default method on rows near some rows: (q, d) float32, in the units of the codes."""
    sample = codes[:SAMPLE] * steps
    near = np.argsort(-(sample[-count:] @ sample.T), axis=1)[:, :16]
    return np.stack([train(sample[rows], sample).vector * steps for rows in near])


def resident_mib() -> float:
    """Return the memory of this process in MiB, without memory-mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def threads() -> int:
    """Return the number of threads that read."""
    return os.cpu_count() or 1


def measure(scratch: Path, rows: int, dim: int) -> dict[str, Any]:
    """Measure one size."""
    codes, steps = make_rows(scratch / "rows.npy", rows, dim)
    stamp = ScanStamp(1, rows, dim, "int8")
    ExactScan.write(scratch, "x", (codes[start : start + 65_536] for start in range(0, rows, 65_536)), stamp)
    before = resident_mib()
    opening = _best(lambda: ExactScan.open(scratch, "x", stamp), 5)
    engine = ExactScan.open(scratch, "x", stamp)
    assert engine is not None
    queries, tenth = make_queries(codes, steps, 8), rows // 10
    read = _best(lambda: _read(engine.rows), 5)
    measured: dict[str, Any] = {
        "rows": rows,
        "bytes_per_row": dim,
        "open": opening,
        "read": read,
        "one, top 10%": _best(lambda: _ours(engine, queries[:1], tenth), 5),
        "one, top 100": _best(lambda: _ours(engine, queries[:1], 100), 5),
        "eight, top 10%": _best(lambda: _ours(engine, queries, tenth), 3),
        "own_memory_mib": round(resident_mib() - before, 1),
    }
    measured["one over read"] = round(measured["one, top 10%"] / read, 2)
    measured["eight over one"] = round(measured["eight, top 10%"] / measured["one, top 10%"], 2)
    if rows <= 1_000_000:
        measured["approximate"] = _approximate(engine, steps, queries, measured["one, top 100"])
        measured["peers"] = _peers(scratch, engine.rows, steps, queries, tenth)
    return measured


def _ours(engine: ExactScan, queries: np.ndarray, k: int) -> None:
    best_of_each(engine.scores(queries), k)


def _approximate(engine: ExactScan, steps: np.ndarray, queries: np.ndarray, exact: float) -> dict[str, Any]:
    """Build on other queries than those that it is measured with."""
    started = time.monotonic()
    approximate = Approximate.build(engine, steps, make_queries(engine.rows[1024:], steps, 16))
    built = time.monotonic() - started
    expected = [set(best(scores, 100).ordinals[:100].tolist()) for scores in engine.scores(queries)]
    approximated = [set(approximate.search(query, 100).ordinals.tolist()) for query in queries]
    recalls = [
        len(exact_top & approximate_top) / 100
        for exact_top, approximate_top in zip(expected, approximated, strict=True)
    ]
    seconds = float(np.mean([_best(partial(approximate.search, query, 100), 3) for query in queries]))
    return {
        "build": round(built, 1),
        "cells": approximate.recall.cells,
        "visited": approximate.recall.visited,
        "recall stored": approximate.recall.mean,
        "recall": round(float(np.mean(recalls)), 4),
        "lowest recall": min(recalls),
        "one, top 100": seconds,
        "times faster": round(exact / seconds, 1),
    }


def _by_numpy(rows: np.ndarray, directions: np.ndarray, k: int) -> None:
    for scores in directions @ rows.T:
        best(scores, k)


def _peers(scratch: Path, codes: np.ndarray, steps: np.ndarray, queries: np.ndarray, k: int) -> dict[str, Any]:
    import faiss

    rows = np.empty(codes.shape, dtype=np.float32)
    for start in range(0, len(codes), 65_536):
        rows[start : start + 65_536] = codes[start : start + 65_536] * steps
    directions = np.ascontiguousarray(queries / steps, dtype=np.float32)
    seconds: dict[str, Any] = {}
    for name, vectors, repeat in (("one", directions[:1], 3), ("eight", directions, 1)):
        seconds[f"NumPy float32, {name}"] = _best(partial(_by_numpy, rows, vectors, k), repeat)
    quantised = faiss.IndexScalarQuantizer(codes.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    quantised.train(rows[:4096])
    flat = faiss.IndexFlatIP(codes.shape[1])
    for name, index in (("FAISS 8 bits", quantised), ("FAISS Flat", flat)):
        index.add(rows)
        seconds[f"{name}, one"] = _best(partial(index.search, directions[:1], k), 2)
        seconds[f"{name}, eight"] = _best(partial(index.search, directions, k), 1)
        seconds[f"{name}, one, top 100"] = _best(partial(index.search, directions[:1], 100), 3)
        index.reset()
    if len(codes) <= 300_000:
        seconds |= _lancedb(scratch, rows, directions[0], k)
    return seconds


def _lancedb(scratch: Path, rows: np.ndarray, query: np.ndarray, k: int) -> dict[str, Any]:
    import lancedb
    import pyarrow as pa

    def batches() -> Any:  # noqa: ANN401 - a generator of record batches
        for start in range(0, len(rows), 8192):
            part = rows[start : start + 8192].astype(np.float16)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), part.shape[1])
            yield pa.RecordBatch.from_arrays([vectors], names=["vector"])

    schema = pa.schema([pa.field("vector", pa.list_(pa.float16(), rows.shape[1]))])
    table = lancedb.connect(str(scratch / "lance")).create_table("x", data=batches(), schema=schema)

    def search(count: int) -> Callable[[], Any]:
        return lambda: (
            table.search(query.astype(np.float16)).distance_type("dot").select(["_rowid"]).limit(count).to_arrow()
        )

    return {"LanceDB, no index, one": _best(search(k), 1), "LanceDB, no index, one, top 100": _best(search(100), 2)}


def _read(codes: np.ndarray) -> None:
    words = codes.reshape(-1)[: codes.size // 8 * 8].view(np.uint64)
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(lambda part: part.max(), np.array_split(words, threads())))


def _best(work: Callable[[], Any], repeat: int) -> float:
    """Return the least seconds of some runs, after a warm-up if there are several."""
    if repeat > 1:
        work()
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return round(min(seconds), 5)


if __name__ == "__main__":
    main()
