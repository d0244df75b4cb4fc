"""``cover`` on more rows than fit in memory: ``python -m benchmarks.speed.cover``; writes results/cover.json.

``loss`` chooses 15 % of 300,000 made-up rows, and of the rows of an index with ``--index``, from all at once and in
blocks, and compares: what the first rows cover, how many rows cover everything, and how full the rounds are. ``shell``
makes an index of as many made-up rows as asked, runs ``nait-index cover --top 15%`` on it in a process of its own, and
reads how much memory that took. Made-up rows activate 20 neurons of each of 28 layers with 3,072, of Zipf-distributed
popularity. What the file holds of other sizes and indexes is kept.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.sparse import popular
from benchmarks.speed.models import save_shape
from nait_index.config import SignatureConfig, View
from nait_index.demo.data import corpus_rows
from nait_index.index import NaitIndex
from nait_index.selection.blocks import Division, cover_rows
from nait_index.selection.coverage import Cover, cover, row_counts
from nait_index.signatures.sparse import neuron_offsets
from nait_index.signatures.views import TOPK_NUMBERS, TOPK_VALUES
from nait_index.store.dataset import open_dataset
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish, settled, table_state
from nait_index.store.samples import SampleTable, schema, table_of

RESULT = ROOT / "benchmarks" / "results" / "cover.json"
BUDGET = 0.15
TOGETHER = 4  # blocks whose memory the proposals take that are chosen from at a time, as in the command
BLOCKS = 10, 30, 100
_REAL = 64  # rows that the model reads
_DRAWN = 20_000  # sets of each layer that made-up rows are put together from
_APPENDED = 2**17

_CHILD = """
import json, sys, time
started = time.perf_counter()
from cli.main import main
try:
    main()
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    seconds = {"seconds": round(time.perf_counter() - started, 1), "processor": round(time.process_time(), 1)}
    print(json.dumps(seconds | {"peak_memory_gib": round(int(status["VmHWM"].split()[0]) / 2**20, 2)}), file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """The model that made-up rows are of."""

    layers: int = 28
    neurons: int = 3072
    topk: int = 20

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of every layer."""
        return (self.neurons,) * self.layers


@click.group()
def main() -> None:
    """Measure ``cover`` in blocks."""


@main.command()
@click.option("--rows", default=300_000, show_default=True)
@click.option("--index", type=click.Path(exists=True, path_type=Path), help="Compare on the rows of this index.")
@click.option("--name", default="made-up", show_default=True, help="What these rows are called in the results.")
@click.option("--quick", is_flag=True, help="Only check that it runs; nothing is written.")
def loss(rows: int, index: Path | None, name: str, quick: bool) -> None:
    """Compare choosing in blocks with choosing from all rows at once."""
    shape = Shape(3, 64, 5) if quick else Shape()
    rng = np.random.default_rng(0)
    if index is None:
        sets = popular(2_000 if quick else rows, shape.widths, shape.topk, 1.0, rng).astype(np.int32)
        sets += neuron_offsets(shape.widths, shape.topk).astype(np.int32)
    else:
        sets = real_sets(index)
    neurons = int(sets.max()) + 1
    figures = {"shape": list(sets.shape), **compare(sets, neurons, round(BUDGET * len(sets)))}
    _record("loss", name, figures, quick=quick)


@main.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the index is made, and found again.")
@click.option("--top", default="15%", show_default=True, help="Share of rows to choose.")
@click.option("--rare", is_flag=True, help="Weight neurons by their rarity.")
@click.option("--quick", is_flag=True, help="Only check that it runs; nothing is written.")
def shell(rows: int, folder: Path | None, top: str, rare: bool, quick: bool) -> None:
    """Run the command on an index of made-up rows."""
    rows, shape = (300, Shape(2, 64, 5)) if quick else (rows, Shape())
    with tempfile.TemporaryDirectory() as scratch:
        path = (folder or Path(scratch)) / "made-up.nait"
        if not path.exists():
            made_up_index(path, rows, shape)
        command = ["cover", str(path), "--top", top, *(["--rare"] if rare else [])]
        child = subprocess.run([sys.executable, "-c", _CHILD, *command], cwd=ROOT, capture_output=True, text=True)
        lines = child.stderr.strip().splitlines()
        if child.returncode:
            raise click.ClickException(lines[-1])
        words = [line for line in lines[:-1] if line.startswith(("plan:", "covered"))]
    figures = {"rows": rows, "top": top, "numbers": shape.layers * shape.topk, **json.loads(lines[-1]), "said": words}
    _record("shell", f"{rows}, {top}{', rarity' if rare else ''}", figures, quick=quick)


def compare(sets: np.ndarray, neurons: int, k: int) -> dict[str, Any]:
    """Choose from all rows at once, in blocks and at random, and describe what was chosen."""
    ids = [f"{row:08d}" for row in range(len(sets))]
    rows, weights = np.arange(len(sets)), np.ones(neurons)

    def in_blocks(blocks: int) -> Cover:
        block = -(-len(sets) // blocks)
        division = Division(blocks, block, min(len(sets), TOGETHER * block))
        return cover_rows(lambda some: (sets[some], [ids[row] for row in some]), rows, k, division, weights)

    exact, seconds = _timed(partial(cover, sets, ids, k, weights))
    first = int((exact.rounds == 1).sum())
    described = _described(exact.ordinals, sets, neurons, first, exact)
    choices = {"all at once": described | {"seconds": round(seconds, 1)}}
    for blocks in BLOCKS:
        chosen, seconds = _timed(partial(in_blocks, blocks))
        described = _described(chosen.ordinals, sets, neurons, first, exact) | {"seconds": round(seconds, 1)}
        choices[f"{blocks} blocks"] = described | {
            "first proposals of a block": TOGETHER * -(-len(sets) // blocks) // blocks
        }
    drawn = np.random.default_rng(0).permutation(len(sets))[:k]
    choices |= {"random": _described(drawn, sets, neurons, first, exact)}
    return {"rows of the first round": first, "choices": choices}


def _described(ordinals: np.ndarray, sets: np.ndarray, neurons: int, first: int, exact: Cover) -> dict[str, Any]:
    """Describe what rows, in this order, cover.

    :param first: rows of the first round of the exact choice.
    """
    parts = {"a quarter": first // 4, "half": first // 2, "all": first, "everything": len(ordinals)}
    needed = np.full(neurons, len(ordinals) + 1)  # rows until a neuron is covered
    for place in range(len(ordinals) - 1, -1, -1):
        needed[sets[ordinals[place]]] = place + 1
    coverable = np.sort(needed[row_counts(sets, neurons) > 0])
    shares = {f"covered by {part}": _share(coverable, rows) for part, rows in parts.items()}
    most, every = int(coverable[int(np.ceil(0.99 * len(coverable))) - 1]), int(coverable[-1])
    return {
        **shares,
        "rows until 99 % is covered": most if most <= len(ordinals) else None,
        "rows until all is covered": every if every <= len(ordinals) else None,
        "shared with exact": round(len(np.intersect1d(ordinals, exact.ordinals)) / len(ordinals), 3),
    }


def _share(needed: np.ndarray, rows: int) -> float:
    """Return the share of the neurons that the first rows cover."""
    return round(float((needed <= rows).mean()), 4)


def real_sets(index: Path) -> np.ndarray:
    """Read the sets of an index (n, m) int32, with numbers that differ between layers."""
    table = SampleTable(Layout(index))
    fingerprint = NaitIndex(index).manifest.fingerprint
    offsets = neuron_offsets(fingerprint.widths, fingerprint.signatures.topk).astype(np.int32)
    return np.concatenate([block + offsets for block in table.signatures(TOPK_NUMBERS)])


def made_up_index(path: Path, rows: int, shape: Shape) -> None:
    """Build an index of a few rows, and fill it up with made-up ones."""
    with tempfile.TemporaryDirectory() as scratch:
        model = save_shape(Path(scratch) / "model", shape.layers, shape.neurons, 32)
        some = [dict(row) for row in corpus_rows()][:_REAL]
        signatures = SignatureConfig(views=(View.TOPK,), topk=shape.topk)
        index = NaitIndex.build(path, some, model=model, signatures=signatures)
    try:
        _fill(index.layout, rows, shape)
    except BaseException:
        shutil.rmtree(path)
        raise


def _fill(layout: Layout, rows: int, shape: Shape) -> None:
    rng = np.random.default_rng(0)
    drawn = popular(min(rows, _DRAWN), shape.widths, shape.topk, 1.0, rng).reshape(-1, shape.layers, shape.topk)
    with write_lock(layout):
        manifest, table = settled(layout), SampleTable(layout)
        open_dataset(layout, layout.samples).drop_columns([TOPK_VALUES])  # which coverage does not read
        plain = table.read([field.name for field in table.schema()]).drop_columns([TOPK_NUMBERS])
        types = table.signature_types()
        for start in range(manifest.rows, rows, _APPENDED):
            positions = np.arange(start, min(rows, start + _APPENDED))
            columns: dict[str, Any] = plain.take(positions % len(plain)).to_pydict()
            numbers = np.empty((len(positions), shape.layers, shape.topk), types[TOPK_NUMBERS][0])
            for layer in range(shape.layers):
                numbers[:, layer] = drawn[rng.integers(len(drawn), size=len(positions)), layer]
            columns |= {"id": [f"row-{number * 2654435761 % 2**32:08x}" for number in positions.tolist()]}
            columns |= {"position": positions, TOPK_NUMBERS: numbers.reshape(len(positions), -1)}
            table.append([table_of(columns, schema(types))])
            click.echo(f"{positions[-1] + 1:,} rows", err=True)
        state = table_state(SampleTable(layout))
        publish(layout, replace(manifest, next_position=rows), "made-up rows added", **state)


def _record(part: str, name: str, figures: dict[str, Any], *, quick: bool) -> None:
    result = json.loads(RESULT.read_text()) if RESULT.exists() and not quick else {}
    result["environment"] = environment()
    result.setdefault(part, {})[name] = {"environment": result["environment"]} | figures
    if not quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result[part][name], indent=1))


def _timed(work: Callable[[], Cover]) -> tuple[Cover, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


if __name__ == "__main__":
    main()
