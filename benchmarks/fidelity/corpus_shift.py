"""A basis on rows of another kind: ``python -m benchmarks.fidelity.corpus_shift NAME --model MODEL``.

Writes results/shift-NAME.json.

Each group of the pool in turn is kept out of the fit, as if it were added later. Measured are the share of the rows
that signatures leave out, as ``add`` measures it, and what that costs: the overlap of the rows that signatures choose
with those that whole activations choose, before and after the basis is fitted to all groups.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.fidelity.activations import encode_all
from benchmarks.fidelity.curves import widths_of
from nait_index.building.basis import measure_fidelity
from nait_index.signatures.features import Feature
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Compressor, Dims
from nait_index.signatures.projection import Projector
from nait_index.signatures.views import dense_column

_MEASURED = 1000
_LEAST = 2 * _MEASURED


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, or 'bundled'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=29_581, show_default=True, help="Rows of the pool.")
@click.option("--reservoir", default=4096, show_default=True)
def main(name: str, model: str, max_length: int, rows: int, reservoir: int) -> None:
    """Encode once, then fit and measure for every group."""
    with tempfile.TemporaryDirectory() as scratch:
        pool = encode_all(model, max_length, rows, Path(scratch))["pool"]
        groups = _groups(rows)
        names = [group for group in sorted(set(groups)) if group != "other" and (groups == group).sum() >= _LEAST]
        measured = {}
        for group in names:
            measured[group] = _measure(pool, groups == group, widths_of(model), reservoir)
            click.echo(f"{group}: {measured[group]}", err=True)
    result = {"environment": environment(), "model": name, "reservoir": reservoir, "groups": measured}
    path = ROOT / "benchmarks" / "results" / f"shift-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _groups(rows: int) -> np.ndarray:
    """Return the group of every row, in the order in which they are encoded."""
    with (shared_data() / "pool.jsonl").open(encoding="utf-8") as file:
        groups = np.array([json.loads(line)["group"] for line in file])
    return groups[np.random.default_rng(0).permutation(len(groups))[:rows]]


def _measure(pool: np.ndarray, new: np.ndarray, widths: tuple[int, ...], reservoir: int) -> dict[str, Any]:
    known, later = np.flatnonzero(~new), np.flatnonzero(new)
    old_rows, new_rows = known[reservoir : reservoir + _MEASURED], later[:_MEASURED]
    before = _fitted(pool, known[:reservoir], widths)
    # All groups, in their shares of the pool.
    share = round(reservoir * new.mean())
    after = _fitted(pool, np.concatenate([known[: reservoir - share], later[-share:]]), widths)
    return {
        "old rows": _figures(pool, old_rows, before),
        "new rows": _figures(pool, new_rows, before),
        "new rows, basis of all": _figures(pool, new_rows, after),
    }


def _fitted(pool: np.ndarray, rows: np.ndarray, widths: tuple[int, ...]) -> Compressor:
    return fit(_reader(pool[np.sort(rows)].astype(np.float32)), widths, Dims(1024, 2048))


def _reader(pooled: np.ndarray) -> Callable[[int, slice], np.ndarray]:
    return lambda pooling, neurons: pooled[:, pooling, neurons]


def _figures(pool: np.ndarray, rows: np.ndarray, compressor: Compressor) -> dict[str, float]:
    pooled = pool[np.sort(rows)].astype(np.float32)
    columns = Projector(compressor).columns_of(pooled)
    unit, mean = (columns[dense_column(feature)] for feature in (Feature.UNIT, Feature.MEAN))
    coordinates = compressor.restore(unit, Feature.UNIT).astype(np.float64)
    fidelity = measure_fidelity(_reader(pooled), unit, mean, compressor, seed=0, held_out=True)
    left_out = float(np.mean(1 - np.einsum("nd,nd->n", coordinates, coordinates)))
    return {"left out": round(left_out, 4), "probe": fidelity.probe[1], "nait": fidelity.nait[1]}


if __name__ == "__main__":
    main()
