"""Other ways to make signatures: ``python -m benchmarks.fidelity.alternatives NAME --model M``; results/alternatives-*.

What was tried to choose more of the rows that whole activations choose, measured like the curves: training ``probe`` on
more coordinates than are scanned, other samples for the basis of ``nait``, the capabilities' own directions in it, and
two bases instead of one, of which rows are projected on the one and directions on the other. Those are the factors of
the product of means M (n, D) with drifts R (n, D), M Rᵀ = U S Vᵀ, so that m · d ≈ (S^-½ Vᵀ R m) · (S^-½ Uᵀ M d) for
directions d among the drifts.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.fidelity.activations import encode_all
from benchmarks.fidelity.curves import (
    Activations,
    eight_bits,
    nait_direction,
    nait_whole,
    overlap,
    probe_whole,
    summary,
    top_tenth,
    widths_of,
)
from benchmarks.pool import GROUPS
from nait_index.methods.probe import SAMPLE, train
from nait_index.signatures.eigen import top_eigenpairs
from nait_index.signatures.features import Feature
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Dims

_SCANNED, _FINE, _ALL = 1024, 2048, 4096

Scores = Callable[[str], np.ndarray]
"""Scores the rows for a capability: (n,)."""


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, or 'bundled'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=8_192, show_default=True, help="Rows of the pool, the reservoir among them.")
@click.option("--reservoir", default=4096, show_default=True)
def main(name: str, model: str, max_length: int, rows: int, reservoir: int) -> None:
    """Encode, fit in every way, rank and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        arrays = encode_all(model, max_length, rows, Path(scratch))
        result = {"environment": environment(), "model": name} | measure(arrays, widths_of(model), reservoir)
    path = ROOT / "benchmarks" / "results" / f"alternatives-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def measure(arrays: dict[str, np.ndarray], widths: tuple[int, ...], reservoir: int) -> dict[str, Any]:
    """Return the overlaps of every way."""
    pool = arrays.pop("pool")
    sample = pool[:reservoir].astype(np.float32)
    compressor = fit(lambda pooling, neurons: sample[:, pooling, neurons], widths, Dims(_ALL, _ALL))
    data = Activations(pool[reservoir:], sample, arrays, compressor)
    return {
        "probe": _compare(data, probe_whole, _probe_ways(data)),
        "nait": _compare(data, nait_whole, _nait_ways(data)),
    }


def _compare(
    data: Activations, whole: Callable[[Activations, str], np.ndarray], ways: Mapping[str, Scores]
) -> dict[str, Any]:
    expected = {name: top_tenth(whole(data, name)) for name in GROUPS}
    measured = {}
    for way, scores in ways.items():
        measured[way] = summary({name: overlap(rows, scores(name)) for name, rows in expected.items()})
        click.echo(f"{way}: {measured[way]}", err=True)
    return measured


def _probe_ways(data: Activations) -> dict[str, Scores]:
    def way(trained: int, scanned: int, *, rounded: bool = True) -> Scores:
        sample, rows = (data.coordinates(Feature.UNIT, part) for part in ("sample", "rows"))
        codes = eight_bits(sample[:, :scanned], rows[:, :scanned]) if rounded else rows[:, :scanned]

        def scores(name: str) -> np.ndarray:
            examples = data.coordinates(Feature.UNIT, name)[:, :trained]
            return np.asarray(codes @ train(examples, sample[:SAMPLE, :trained]).vector[:scanned])

        return scores

    return {
        "trained on and scored by 1,024 bytes": way(_SCANNED, _SCANNED),
        "trained on 4,096 coordinates, scored by 1,024 bytes": way(_ALL, _SCANNED),
        "trained on and scored by 2,048 bytes": way(_FINE, _FINE),
        "trained on and scored by 4,096 coordinates in float32": way(_ALL, _ALL, rounded=False),
    }


def _nait_ways(data: Activations) -> dict[str, Scores]:
    center = data.compressor.center
    means, drifts = data.sample[:, 0] - center[0], data.sample[:, 1] - center[1]
    drifts *= np.float32(np.sqrt((means**2).sum() / (drifts**2).sum()))
    today = data.compressor.components(Feature.MEAN)
    known = np.linalg.qr(np.stack([nait_direction(data, name) for name in GROUPS]).T)[0].T
    with_known = np.linalg.qr(np.concatenate([known, today[: _FINE - len(known)]]).T)[0].T
    left, sizes, right = np.linalg.svd(means @ drifts.T)
    factors = [np.sqrt(sizes)[:_FINE, None] ** -1 * part for part in (right[:_FINE] @ drifts, left.T[:_FINE] @ means)]

    def way(components: np.ndarray, of_directions: np.ndarray | None = None, *, rounded: bool = True) -> Scores:
        sample, rows = (
            np.concatenate([block @ components.T for block in data.vectors(part, Feature.MEAN)])
            for part in (data.sample, data.rows)
        )
        codes = eight_bits(sample, rows) if rounded else rows
        projection = components if of_directions is None else of_directions
        return lambda name: np.asarray(codes @ (projection @ nait_direction(data, name)))

    return {
        "2,048 bytes, basis of 2,048 means and 2,048 drifts": way(today[:_FINE]),
        "the same in float32": way(today[:_FINE], rounded=False),
        "2,048 bytes, of 4,096 drifts": way(_basis(drifts)),
        "2,048 bytes, of 4,096 means": way(_basis(means)),
        "2,048 bytes, of 4,096 means and 4,096 drifts": way(_basis(np.concatenate([means, drifts]))),
        "2,048 bytes, the nine directions and 2,039 components": way(with_known),
        "1,024 bytes, a basis for rows and one for directions": way(*(part[:_SCANNED] for part in factors)),
        "2,048 bytes, a basis for rows and one for directions": way(*factors),
        "4,096 coordinates in float32": way(today, rounded=False),
    }


def _basis(sample: np.ndarray) -> np.ndarray:
    """Return the leading components (2,048, D) of a sample (n, D)."""
    values, vectors = top_eigenpairs((sample @ sample.T).astype(np.float64), _FINE)
    return np.asarray((vectors / np.sqrt(values)).T @ sample, np.float32)


if __name__ == "__main__":
    main()
