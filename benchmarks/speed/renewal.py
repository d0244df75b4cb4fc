"""What the first query after a change costs: ``python -m benchmarks.speed.renewal``; writes results/renewal.json.

Rows are added to a made-up table and removed from it. After each change, what searches scan is made for the new
version, in turn anew from the table, as where there is no older copy, and from the copy of the version before; then one
query is scored. The files are in the system's cache, and the older copy was opened, and so checked, before the change.
"""

import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.search.copies import ScanCopies
from nait_index.search.exact import ScanStamp
from nait_index.search.hits import best
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, schema, table_of

COLUMN = "pca_unit"
_APPENDED = 20_000
_SETTLED = 1.2  # seconds after which a check of a file is remembered


@click.command()
@click.option("--rows", default=300_000, show_default=True)
@click.option("--dim", default=1024, show_default=True)
@click.option("--changed", default=1_000, show_default=True, help="Rows added, and rows removed.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs: 2,000 rows, nothing is written.")
def main(rows: int, dim: int, changed: int, rounds: int, quick: bool) -> None:
    """Measure, and write results/renewal.json."""
    if quick:
        rows, dim, changed, rounds = 2_000, 64, 100, 1
    result: dict[str, Any] = {"environment": environment(), "rows": rows, "dim": dim, "changed": changed}
    with tempfile.TemporaryDirectory() as scratch:
        result |= measure(Path(scratch), rows, dim, changed, rounds)
    if not quick:
        path = ROOT / "benchmarks" / "results" / "renewal.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


class MadeUp:
    """An index's table of made-up rows (n, ``dim``) int8, and what searches scan of it."""

    def __init__(self, folder: Path, dim: int) -> None:
        self.layout = Layout(folder / "made-up.nait")
        self._dim = dim
        self._schema = schema({COLUMN: (np.dtype(np.int8), dim)})
        self._rng = np.random.default_rng(0)
        self._next = 0
        Path(self.layout.database).mkdir(parents=True)
        SampleTable(self.layout).create(self._schema)

    def add(self, count: int) -> None:
        """Append rows of random codes."""
        positions = np.arange(self._next, self._next + count)
        self._next += count
        plain: dict[str, Any] = {field.name: [str(position) for position in positions] for field in self._schema}
        plain |= dict.fromkeys(("position", "file_row", "n_tokens"), positions)
        codes = np.rint(30 * self._rng.standard_normal((count, self._dim), dtype=np.float32)).clip(-127, 127)
        arrays = {"truncated": np.zeros(count, bool), COLUMN: codes.astype(np.int8)}
        SampleTable(self.layout).append([table_of(plain | arrays, self._schema)])

    def remove(self, count: int) -> None:
        """Delete random rows."""
        table = SampleTable(self.layout)
        positions = table.numbers("position").astype(np.int64)
        table.delete(np.sort(self._rng.choice(positions, count, replace=False)).tolist())

    def first_query(self) -> tuple[float, float]:
        """Open the last version, score every row by one query, and return the seconds and processor seconds it took."""
        query = np.random.default_rng(1).standard_normal((1, self._dim)).astype(np.float32)
        started, processor = time.perf_counter(), time.process_time()
        version = SampleTable(self.layout).version
        table = SampleTable(self.layout, version)
        scan = ScanCopies(self.layout, table).open(COLUMN, ScanStamp(version, len(table), self._dim, "int8"))
        best(scan.scores(query)[0], len(table) // 10)
        return time.perf_counter() - started, time.process_time() - processor

    def check(self) -> None:
        """Compare what was scanned with the table, number by number."""
        scanned, start = np.load(self.copy / f"{COLUMN}.npy", mmap_mode="r"), 0
        for codes in SampleTable(self.layout).signatures(COLUMN):
            assert np.array_equal(scanned[start : start + len(codes)], codes)
            start += len(codes)
        assert start == len(scanned)

    @property
    def copy(self) -> Path:
        """The folder of the copy of the last version."""
        return self.layout.engine(SampleTable(self.layout).version)


def measure(scratch: Path, rows: int, dim: int, changed: int, rounds: int) -> dict[str, Any]:
    """Change the table again and again, and time the first query after each change, with the old copy and without."""
    made_up = MadeUp(scratch, dim)
    for start in range(0, rows, _APPENDED):
        made_up.add(min(_APPENDED, rows - start))
    SampleTable(made_up.layout).compact()
    made_up.first_query()
    changes: dict[str, Callable[[int], None]] = {"add": made_up.add, "remove": made_up.remove}
    seconds: dict[str, dict[str, list[tuple[float, float]]]] = {name: {"anew": [], "renewed": []} for name in changes}
    opened = []
    for turn in range(rounds):
        for way in ("anew", "renewed") if turn % 2 else ("renewed", "anew"):
            for name, change in changes.items():
                time.sleep(_SETTLED)
                opened.append(made_up.first_query())
                old = made_up.copy
                change(changed)
                if way == "anew":
                    shutil.rmtree(old)
                os.sync()  # so that none waits for what was written before
                seconds[name][way].append(made_up.first_query())
                made_up.check()
    summary = {name: {way: _summary(values) for way, values in ways.items()} for name, ways in seconds.items()}
    return {"rounds": rounds, "first query": summary, "unchanged": _summary(opened), "memory_mib": peak_mib()}


def peak_mib() -> float:
    """Return the most memory that this process had, in MiB, with the parts of mapped files that it read."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _summary(values: Sequence[tuple[float, float]]) -> dict[str, float]:
    seconds, processor = zip(*values, strict=True)
    figures = {"median": statistics.median(seconds), "lowest": min(seconds), "highest": max(seconds)}
    figures["processor, median"] = statistics.median(processor)
    return {name: round(figure, 3) for name, figure in figures.items()}


if __name__ == "__main__":
    main()
