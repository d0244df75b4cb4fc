"""What a condition on fields of the rows costs: ``python -m benchmarks.speed.filters``; writes results/filters.json.

A made-up table of rows of some 600 bytes of JSON. Every condition is evaluated without kept columns, then with them:
the first time, when they are made, and again, in a new object, as another command would.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.store.filters import matching_rows
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, schema, table_of

CONDITIONS = ("n_tokens < 500000", "source = 'gsm8k'", "meta.lang = 'en' AND meta.year > 2015")
_APPENDED = 50_000
_ROUNDS = 3


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs: 2,000 rows, nothing is written.")
def main(rows: int, quick: bool) -> None:
    """Measure, and write results/filters.json."""
    rows = 2_000 if quick else rows
    result: dict[str, Any] = {"environment": environment(), "rows": rows}
    with tempfile.TemporaryDirectory() as scratch:
        layout = Layout(Path(scratch) / "made-up.nait")
        fill(layout, rows)
        result["conditions"] = {where: measure(layout, where) for where in CONDITIONS}
    if not quick:
        path = ROOT / "benchmarks" / "results" / "filters.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def fill(layout: Layout, rows: int) -> None:
    """Write a table of rows with a source, a language and a year."""
    rng, made = np.random.default_rng(0), schema({"pca_unit": (np.dtype(np.int8), 8)})
    Path(layout.database).mkdir(parents=True)
    table = SampleTable(layout)
    table.create(made)
    for start in range(0, rows, _APPENDED):
        positions = np.arange(start, min(rows, start + _APPENDED))
        plain: dict[str, Any] = {field.name: [str(position) for position in positions] for field in made}
        plain |= dict.fromkeys(("position", "file_row", "n_tokens"), positions)
        plain["row"] = [_row(int(position), rng) for position in positions]
        arrays = {"truncated": np.zeros(len(positions), bool), "pca_unit": np.zeros((len(positions), 8), np.int8)}
        SampleTable(layout).append([table_of(plain | arrays, made)])
    SampleTable(layout).compact()


def _row(position: int, rng: np.random.Generator) -> str:
    source, lang = ("gsm8k", "flan", "dolly", "oasst")[position % 4], ("en", "de", "fr")[position % 3]
    text = "one of the words of this row and " * 8
    meta = {"lang": lang, "year": int(rng.integers(2010, 2026))}
    return json.dumps({"instruction": text, "output": text, "source": source, "meta": meta, "id": position})


def measure(layout: Layout, where: str) -> dict[str, Any]:
    """Time one condition: seconds without kept columns, when they are made, and with them."""
    table = SampleTable(layout, SampleTable(layout).version)
    folder = layout.engine(table.version)
    without, matching = _timed(table, where, None)
    made, _ = _timed(table, where, folder)
    kept = []
    for _ in range(_ROUNDS):
        seconds, again = _timed(SampleTable(layout, table.version), where, folder)
        assert again == matching
        kept.append(seconds)
    return {"matching": matching, "without": without, "made": made, "kept": sorted(kept)[_ROUNDS // 2]}


def _timed(table: SampleTable, where: str, folder: Path | None) -> tuple[float, int]:
    started = time.perf_counter()
    matching = int(matching_rows(table, where, folder).sum())
    return round(time.perf_counter() - started, 3), matching


if __name__ == "__main__":
    main()
