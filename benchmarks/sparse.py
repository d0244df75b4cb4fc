"""The sparse views at 300,000 rows: ``python -m benchmarks.sparse``; ``--quick`` is a trial that writes nothing.

Coverage (MADS) chooses 15 % of rows that activate 20 neurons of each of 28 layers with 3,072; NAG scores the same rows,
and MONA scores rows of 192 autoencoder codes. The rows are generated, once with neurons of Zipf-distributed popularity
and once with all neurons equally popular; ``--index`` adds the real rows of an index, repeated with noise. Each time is
reported with that of reading the same arrays once, a lower bound for anything that looks at all of them; coverage also
with the least time for changing one gain per number and round, which is what it does.
"""

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.index import NaitIndex
from nait_index.methods.mona import jaccard, mean_of
from nait_index.methods.nag import shares
from nait_index.selection.coverage import cover, rarity, row_counts
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import SAE_NUMBERS, SAE_VALUES, TOPK_NUMBERS
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, schema, table_of

BUDGET = 0.15
EXAMPLES = 400
NOISE = 0.15
"""Share of a real row's neurons that are replaced when it is repeated."""
REPEATS = 3
"""How often scans are timed; the least time counts."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of the measurement."""

    rows: int
    layers: int
    width: int
    topk: int
    latents: int
    codes: int


FULL = Scale(rows=300_000, layers=28, width=3072, topk=20, latents=16_384, codes=192)
QUICK = Scale(rows=2_000, layers=3, width=64, topk=5, latents=256, codes=12)


@click.command()
@click.option("--index", type=click.Path(exists=True, path_type=Path), help="Cover the rows of this index as well.")
@click.option("--quick", is_flag=True, help="A few rows, only to check that it runs.")
def main(index: Path | None, quick: bool) -> None:
    """Run the measurement and write results/sparse.json."""
    scale = QUICK if quick else FULL
    result = {"environment": environment(), "rows": scale.rows} | measure(scale, index)
    if not quick:
        path = ROOT / "benchmarks" / "results" / "sparse.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def measure(scale: Scale, index: Path | None) -> dict[str, Any]:
    """Time coverage, NAG and MONA."""
    rng = np.random.default_rng(0)
    widths = (scale.width,) * scale.layers
    offsets = neuron_offsets(widths, scale.topk).astype(np.int32)
    numbers = popular(scale.rows, widths, scale.topk, 1.0, rng)
    nag = nag_times(numbers, widths, scale.topk)
    sets = numbers + offsets
    covers = {
        "zipf": cover_times(sets),
        "zipf, rarity": cover_times(sets, rarity(row_counts(sets, sum(widths)), len(sets))),
    }
    del numbers, sets
    covers["uniform"] = cover_times(popular(scale.rows, widths, scale.topk, 0.0, rng) + offsets)
    if index is not None:
        covers["real"] = cover_times(repeated(index, scale.rows, rng))
    return {"cover": covers, "nag": nag, "mona": mona_times(scale, rng)}


def cover_times(sets: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Any]:
    """Time coverage of the budget, and compare with reading the sets once and with changing a gain for each number."""
    ids = [f"{row:08d}" for row in range(len(sets))]
    chosen = round(BUDGET * len(sets))
    seconds, coverage = _timed(lambda: cover(sets, ids, chosen, weights))
    first, _ = _timed(lambda: cover(sets, ids, 1, weights))
    rounds = int(coverage.rounds.max())
    read, change = _least(sets.max), change_seconds(len(sets))
    return {
        "shape": list(sets.shape),
        "neurons": coverage.coverable,
        "chosen": chosen,
        "rounds": rounds,
        "seconds": round(seconds, 2),
        "first_choice_seconds": round(first, 2),
        "changes_seconds": round(change * sets.size * rounds, 2),
        "read_seconds": round(read, 4),
        "times_read_per_round": round(seconds / read / rounds, 1),
        "nanoseconds_per_number_and_round": round(seconds * 1e9 / sets.size / rounds, 2),
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def change_seconds(rows: int) -> float:
    """Return the seconds to change one of ``rows`` gains, in many short lists of rows at once, the usual case."""
    rng = np.random.default_rng(0)
    lists = [np.sort(rng.choice(rows, min(rows, 2**11), replace=False)) for _ in range(2**5)]
    places = np.concatenate(lists).astype(np.int32)
    gains, ones = np.zeros(rows, dtype=np.int32), np.ones(len(places), dtype=np.int32)
    return min(_timed(lambda: np.subtract.at(gains, places, ones))[0] for _ in range(50)) / len(places)


def nag_times(numbers: np.ndarray, widths: Sequence[int], topk: int) -> dict[str, Any]:
    """Time scoring rows by a profile of some of them, in memory and from a table."""
    offsets = neuron_offsets(widths, topk)
    drawn = numbers[:: max(1, len(numbers) // EXAMPLES)] + offsets
    profile = np.bincount(drawn.ravel(), minlength=sum(widths)) / drawn.size
    return _scan_times({TOPK_NUMBERS: numbers}, lambda block: shares(block, offsets, profile))


def mona_times(scale: Scale, rng: np.random.Generator) -> dict[str, Any]:
    """Time scoring rows of codes by the mean of some of them, in memory and from a table."""
    numbers = popular(scale.rows, (scale.latents,), scale.codes, 0.8, rng)
    values = rng.standard_gamma(0.5, size=numbers.shape, dtype=np.float32).astype(np.float16)
    values = np.sort(values, axis=1)[:, ::-1]
    columns = {SAE_NUMBERS: numbers, SAE_VALUES: np.ascontiguousarray(values)}
    some = slice(None, None, max(1, scale.rows // EXAMPLES))
    prototype = mean_of(numbers[some], values[some])
    return _scan_times(columns, lambda numbers, values: jaccard(numbers, values, prototype))


def popular(rows: int, widths: Sequence[int], keep: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Draw distinct numbers within each layer (rows, L·keep) uint16, the r-th most popular with weight r^−exponent."""
    numbers = np.empty((rows, keep * len(widths)), dtype=np.uint16)
    for layer, width in enumerate(widths):
        share = np.cumsum(np.arange(1, width + 1) ** -exponent)
        share /= share[-1]
        drawn_numbers = np.empty((rows, keep), dtype=np.uint16)
        again = np.ones(drawn_numbers.shape, dtype=bool)
        while again.any():
            drawn = np.searchsorted(share, rng.random(int(again.sum())))
            drawn_numbers[again] = np.minimum(drawn, width - 1)
            drawn_numbers.sort(axis=1)
            again[:, 0] = False
            again[:, 1:] = drawn_numbers[:, 1:] == drawn_numbers[:, :-1]
        names = rng.permutation(width).astype(np.uint16)
        numbers[:, layer * keep : (layer + 1) * keep] = names[drawn_numbers]
    return numbers


def repeated(index: Path, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return the sets of an index (rows, L·k) int32, repeated with some neurons swapped between rows."""
    opened = NaitIndex(index)
    numbers = np.concatenate(list(SampleTable(Layout(index)).signatures(TOPK_NUMBERS)))
    widths, topk = opened.manifest.fingerprint.widths, opened.manifest.fingerprint.signatures.topk
    sets = np.resize(numbers, (rows, numbers.shape[1])).astype(np.int32) + neuron_offsets(widths, topk).astype(np.int32)
    for start in range(len(numbers), rows, len(numbers)):
        part = sets[start : start + len(numbers)]
        others = part[rng.permutation(len(part))]
        swapped = (rng.random(part.shape) < NOISE) & ~np.array(
            [np.isin(new, old) for new, old in zip(others, part, strict=True)]
        )
        part[swapped] = others[swapped]
    return sets


def _scan_times(columns: Mapping[str, np.ndarray], score: Callable[..., np.ndarray]) -> dict[str, Any]:
    """Time one scan over arrays in memory and over a table that holds them, and reading either of them alone."""
    arrays = list(columns.values())
    memory, read = _least(lambda: score(*arrays)), _least(lambda: [array.view(np.uint16).max() for array in arrays])
    with tempfile.TemporaryDirectory() as scratch:
        table = stored(columns, Path(scratch))

        def blocks() -> Iterator[tuple[np.ndarray, ...]]:
            streams = [table.signatures(name) for name in columns]
            return zip(*streams, strict=True)

        from_table = _least(lambda: np.concatenate([score(*some) for some in blocks()]))
        table_read = _least(lambda: sum(len(some) for some in blocks()))
        same = np.array_equal(np.concatenate([score(*some) for some in blocks()]), score(*arrays))
    if not same:
        raise click.ClickException("the scores from the table differ from those in memory")
    return {
        "shape": list(arrays[0].shape),
        "bytes_per_row": sum(array[0].nbytes for array in arrays),
        "seconds": round(memory, 3),
        "read_seconds": round(read, 4),
        "times_read": round(memory / read, 1),
        "table_seconds": round(from_table, 3),
        "table_read_seconds": round(table_read, 3),
    }


def stored(columns: Mapping[str, np.ndarray], folder: Path) -> SampleTable:
    """Write columns of signatures to a table of samples."""
    table_schema = schema({name: (array.dtype, array.shape[1]) for name, array in columns.items()})
    table = SampleTable(Layout(folder))
    table.create(table_schema)
    for start in range(0, len(next(iter(columns.values()))), 2**16):
        parts = {name: array[start : start + 2**16] for name, array in columns.items()}
        table.append([table_of(_plain(start, len(next(iter(parts.values())))) | parts, table_schema)])
    table.compact()
    return table


def _plain(start: int, count: int) -> dict[str, Any]:
    """Make up the other columns of a table of samples."""
    names = [f"{row:08d}" for row in range(start, start + count)]
    zeros = np.zeros(count, dtype=np.int64)
    words = ("row", "format", "content_hash", "file")
    return {
        "id": names,
        "position": np.arange(start, start + count),
        **{word: names for word in words},
        "file_row": zeros,
        "n_tokens": zeros.astype(np.int32),
        "truncated": zeros.astype(bool),
        "left_out": [""] * count,
    }


def _least(work: Callable[[], object]) -> float:
    return min(_timed(work)[0] for _ in range(REPEATS))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
