"""The measurement: ``python -m benchmarks.search.speed``; writes results/search.json.

Every size is measured in one process, by turns, each figure the best of several; peers get the same rows, as float32
where they take nothing else. ``read`` is the time to read the codes once and do nothing with them.
"""

import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.search.rows import make_queries, make_rows, resident_mib, threads
from nait_index.search.approximate import Approximate
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import best, best_of_each

LANCE_INDEXED = 30_000  # rows that LanceDB's own index is made of; of more it takes many minutes


@click.command()
@click.option("--size", "sizes", multiple=True, type=int, default=(30_000, 300_000, 1_000_000), show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--huge", is_flag=True, help="Also 10 million rows of 512 bytes; takes 5 GB of memory and disk.")
@click.option("--quick", is_flag=True, help="Only whether it runs: 12,000 rows, nothing is written.")
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


def measure(scratch: Path, rows: int, dim: int) -> dict[str, Any]:
    """Measure one size."""
    codes, steps = make_rows(scratch / "rows.npy", rows, dim)
    stamp = ScanStamp(1, rows, dim, "int8")
    ExactScan.write(scratch, "x", (codes[at : at + 65_536] for at in range(0, rows, 65_536)), stamp)
    before = resident_mib()
    opening = _best(lambda: ExactScan.open(scratch, "x", stamp), 5)
    engine = ExactScan.open(scratch, "x", stamp)
    assert engine is not None
    queries, tenth = make_queries(codes, steps, 8), rows // 10
    read = _best(lambda: _read(engine.rows), 5)
    found = {
        "rows": rows,
        "bytes_per_row": dim,
        "open": opening,
        "read": read,
        "one, top 10%": _best(lambda: _ours(engine, queries[:1], tenth), 5),
        "one, top 100": _best(lambda: _ours(engine, queries[:1], 100), 5),
        "eight, top 10%": _best(lambda: _ours(engine, queries, tenth), 3),
        "own_memory_mib": round(resident_mib() - before, 1),
    }
    found["one over read"] = round(found["one, top 10%"] / read, 2)
    found["eight over one"] = round(found["eight, top 10%"] / found["one, top 10%"], 2)
    if rows <= 1_000_000:
        found["approximate"] = _approximate(engine, steps, queries, found["one, top 100"])
        found["peers"] = _peers(scratch, engine.rows, steps, queries, tenth)
    return found


def _ours(engine: ExactScan, queries: np.ndarray, k: int) -> None:
    best_of_each(engine.scores(queries), k)


def _approximate(engine: ExactScan, steps: np.ndarray, queries: np.ndarray, exact: float) -> dict[str, Any]:
    """Build it on other queries than it is measured with."""
    started = time.monotonic()
    made = Approximate.build(engine, steps, make_queries(engine.rows[1024:], steps, 16))
    built = time.monotonic() - started
    exactly = [set(best(own, 100).ordinals[:100].tolist()) for own in engine.scores(queries)]
    found = [set(made.search(query, 100).ordinals.tolist()) for query in queries]
    recalls = [len(own & other) / 100 for own, other in zip(exactly, found, strict=True)]
    seconds = float(np.mean([_best(lambda q=query: made.search(q, 100), 3) for query in queries]))
    return {
        "build": round(built, 1),
        "cells": made.recall.cells,
        "visited": made.recall.visited,
        "recall stored": made.recall.mean,
        "recall": round(float(np.mean(recalls)), 4),
        "lowest recall": min(recalls),
        "one, top 100": seconds,
        "times faster": round(exact / seconds, 1),
    }


def _peers(scratch: Path, codes: np.ndarray, steps: np.ndarray, queries: np.ndarray, k: int) -> dict[str, Any]:
    import faiss

    rows = np.empty(codes.shape, dtype=np.float32)
    for at in range(0, len(codes), 65_536):
        rows[at : at + 65_536] = codes[at : at + 65_536] * steps
    directions = np.ascontiguousarray(queries / steps, dtype=np.float32)
    found: dict[str, Any] = {}
    for name, own, repeat in (("one", directions[:1], 3), ("eight", directions, 1)):
        found[f"NumPy float32, {name}"] = _best(lambda q=own: [best(s, k) for s in q @ rows.T], repeat)
    quantised = faiss.IndexScalarQuantizer(codes.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    quantised.train(rows[:4096])
    flat = faiss.IndexFlatIP(codes.shape[1])
    for name, index in (("FAISS 8 bits", quantised), ("FAISS Flat", flat)):
        index.add(rows)
        found[f"{name}, one"] = _best(lambda i=index: i.search(directions[:1], k), 2)
        found[f"{name}, eight"] = _best(lambda i=index: i.search(directions, k), 1)
        found[f"{name}, one, top 100"] = _best(lambda i=index: i.search(directions[:1], 100), 3)
        index.reset()
    if len(codes) <= 300_000:
        found |= _lancedb(scratch, rows, directions[0], k)
    return found


def _lancedb(scratch: Path, rows: np.ndarray, query: np.ndarray, k: int) -> dict[str, Any]:
    import lancedb
    import pyarrow as pa

    def batches() -> Any:  # noqa: ANN401 - a generator of record batches
        for at in range(0, len(rows), 8192):
            part = rows[at : at + 8192].astype(np.float16)
            own = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), part.shape[1])
            yield pa.RecordBatch.from_arrays([own], names=["vector"])

    schema = pa.schema([pa.field("vector", pa.list_(pa.float16(), rows.shape[1]))])
    table = lancedb.connect(str(scratch / "lance")).create_table("x", data=batches(), schema=schema)

    def search(count: int) -> Callable[[], Any]:
        return lambda: (
            table.search(query.astype(np.float16)).distance_type("dot").select(["_rowid"]).limit(count).to_arrow()
        )

    found = {"LanceDB, no index, one": _best(search(k), 1), "LanceDB, no index, one, top 100": _best(search(100), 2)}
    if len(rows) > LANCE_INDEXED:
        return found
    cells = round(len(rows) ** 0.5)
    table.create_index(metric="dot", num_partitions=cells, vector_column_name="vector", index_type="IVF_FLAT")
    return found | {"LanceDB, IVF-Flat, one, top 100": _best(search(100), 3)}


def _read(codes: np.ndarray) -> None:
    words = codes.reshape(-1)[: codes.size // 8 * 8].view(np.uint64)
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(lambda part: part.max(), np.array_split(words, threads())))


def _best(work: Callable[[], Any], repeat: int) -> float:
    """Give the least seconds of some runs, after one to warm up where there are several."""
    if repeat > 1:
        work()
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return round(min(found), 5)


if __name__ == "__main__":
    main()
