"""The measurement: ``python -m benchmarks.fidelity.curves NAME --model MODEL``; writes results/fidelity-NAME.json.

A basis is fitted on a reservoir of rows; the other rows are ranked by whole activations and by signatures, for nine
capabilities, and the figures are the overlaps of the two top tenths. ``shape`` as the model makes a randomly
initialised Qwen3 with 100,352 neurons.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.fidelity.activations import encode_all
from benchmarks.fidelity.kinds import KINDS, SIZES
from benchmarks.fidelity.shape import save_shape
from benchmarks.pool import GROUPS
from nait_index.methods.nait import Nait
from nait_index.methods.probe import SAMPLE, train
from nait_index.search.hits import FineScores
from nait_index.signatures.features import Feature, feature_vectors
from nait_index.signatures.pca import Compressor, Dims, fit

SCANNED = 1024
WIDEST_TURNED = 2048  # a random rotation is as costly as its width cubed


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, 'bundled', or 'shape'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=8_192, show_default=True, help="Rows of the pool, the reservoir among them.")
@click.option("--reservoir", default=4096, show_default=True)
@click.option("--quick", is_flag=True, help="Only whether it runs: nothing is written.")
def main(name: str, model: str, max_length: int, rows: int, reservoir: int, quick: bool) -> None:
    """Encode, fit, rank, compare."""
    with tempfile.TemporaryDirectory() as scratch:
        if model == "shape":
            model = save_shape(Path(scratch) / "model")
        result = {"environment": environment(), "model": name, "max_length": max_length}
        result |= measure(encode_all(model, max_length, rows, Path(scratch)), widths_of(model), reservoir)
    if not quick:
        path = ROOT / "benchmarks" / "results" / f"fidelity-{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def widths_of(model: str) -> tuple[int, ...]:
    """Give the neurons of every layer."""
    from nait_index.activations.encoder import Encoder
    from nait_index.config import ModelConfig

    with Encoder(ModelConfig(name=model)) as encoder:
        return encoder.widths


def measure(arrays: dict[str, np.ndarray], widths: tuple[int, ...], reservoir: int) -> dict[str, Any]:
    """Give the curves of the default method and of NAIT."""
    pool = arrays.pop("pool")
    sample = pool[:reservoir].astype(np.float32)
    compressor = fit(lambda pooling, neurons: sample[:, pooling, neurons], widths, Dims(2 * max(SIZES), max(SIZES)))
    data = _Data(pool[reservoir:], sample, arrays, compressor)
    return {
        "neurons": sum(widths),
        "rows": len(data.rows),
        "reservoir": reservoir,
        "probe": _curves(data, Feature.UNIT, _probe_whole, _probe),
        "nait": _curves(data, Feature.MEAN, _nait_whole, _nait) | {"8 bits, rescored": _rescored(data)},
    }


class _Data:
    """Rows, reservoir and examples, whole and as coordinates."""

    def __init__(
        self, rows: np.ndarray, sample: np.ndarray, examples: dict[str, np.ndarray], compressor: Compressor
    ) -> None:
        self.rows, self.sample, self.examples, self.compressor = rows, sample, examples, compressor
        self._coordinates: dict[tuple[Feature, str], np.ndarray] = {}

    def coordinates(self, feature: Feature, what: str) -> np.ndarray:
        """Project rows, sample or a capability on the components."""
        key = (feature, what)
        if key not in self._coordinates:
            values = {"rows": self.rows, "sample": self.sample}.get(what, self.examples.get(what))
            assert values is not None
            components = self.compressor.components(feature)
            self._coordinates[key] = np.concatenate([own @ components.T for own in self.vectors(values, feature)])
        return self._coordinates[key]

    def vectors(self, values: np.ndarray, feature: Feature) -> Any:  # noqa: ANN401 - an iterator of arrays
        """Give whole feature vectors, some rows at a time."""
        center, widths = self.compressor.center, self.compressor.widths
        for at in range(0, len(values), 256):
            yield feature_vectors(values[at : at + 256], center, feature, widths)


def _probe_whole(data: _Data, name: str) -> np.ndarray:
    """Train on whole unit vectors, in coordinates that have their inner products, and score every row."""
    from scipy.linalg import eigh

    parts = (data.examples[name], data.sample[:SAMPLE])
    points = np.concatenate([block for own in parts for block in data.vectors(own, Feature.UNIT)])
    values, vectors = eigh((points @ points.T).astype(np.float64))
    kept = values > values[-1] * 1e-9
    values, vectors = values[kept], vectors[:, kept]
    whole = (vectors * np.sqrt(values)).astype(np.float32)
    weights = train(whole[: len(parts[0])], whole[len(parts[0]) :]).weights
    direction = points.T @ (vectors @ (weights / np.sqrt(values))).astype(np.float32)
    return np.concatenate([block @ direction for block in data.vectors(data.rows, Feature.UNIT)])


def _probe(data: _Data, name: str, squeeze: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
    parts = [data.coordinates(Feature.UNIT, what)[:, :dim] for what in (name, "sample", "rows")]
    examples, sample, rows = (squeeze(own) for own in parts)
    return np.asarray(rows @ train(examples, sample[:SAMPLE]).weights)


def _direction(data: _Data, name: str) -> np.ndarray:
    pooled, widths = data.examples[name].astype(np.float32), data.compressor.widths
    return Nait().direction(Nait().summarise(pooled, widths), data.compressor.center, widths).vector


def _nait_whole(data: _Data, name: str) -> np.ndarray:
    direction = _direction(data, name)
    return np.concatenate([block @ direction for block in data.vectors(data.rows, Feature.MEAN)])


def _nait(data: _Data, name: str, squeeze: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
    query = data.compressor.components(Feature.MEAN)[:dim] @ _direction(data, name)
    return np.asarray(squeeze(data.coordinates(Feature.MEAN, "rows")[:, :dim]) @ query)


def _curves(data: _Data, feature: Feature, whole: Any, scores: Any) -> dict[str, Any]:  # noqa: ANN401
    """Give the overlaps of every kind of compression, by bytes a row."""
    expected = {name: _top(whole(data, name)) for name in GROUPS}
    widest = data.coordinates(feature, "sample").shape[1]
    curves: dict[str, Any] = {}
    for kind in KINDS:
        for size in SIZES:
            dim = min(size * 8 // kind.bits, widest)
            if dim > WIDEST_TURNED and "rotated" in kind.name:
                break
            learned = data.coordinates(feature, "sample")[:, :dim]
            found = {
                name: _overlap(own, scores(data, name, lambda values, k=kind, s=learned: k.squeeze(s, values), dim))
                for name, own in expected.items()
            }
            curves.setdefault(kind.name, {})[str(size)] = _summary(found, dim)
            click.echo(f"{feature} {kind.name} {size}: {_summary(found, dim)}", err=True)
            if dim == widest:
                break
    return curves


def _rescored(data: _Data) -> dict[str, Any]:
    """1,024 bytes a row are scanned, and the rows near the cut scored again by more."""
    curve, rows = {}, data.coordinates(Feature.MEAN, "rows")
    expected = {name: _top(_nait_whole(data, name)) for name in GROUPS}
    for size in SIZES:
        dim = min(size, rows.shape[1])
        if size <= SCANNED:
            continue
        codes = KINDS[1].squeeze(data.coordinates(Feature.MEAN, "sample")[:, :dim], rows[:, :dim])
        found, read = {}, []
        for name, own in expected.items():
            query = data.compressor.components(Feature.MEAN)[:dim] @ _direction(data, name)
            coarse = (codes[:, :SCANNED] @ query[:SCANNED]).astype(np.float32)
            fine = FineScores(lambda at, c=codes, r=read: (r.append(len(at)), c[at])[1], len(codes))
            hits = fine.best(coarse, query, len(own), None)
            found[name] = len(own & set(hits.ordinals.tolist())) / len(own)
        curve[str(size)] = _summary(found, dim) | {"share_rescored": round(max(read) / len(codes), 3)}
    return curve


def _top(scores: np.ndarray) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[: len(scores) // 10].tolist())


def _overlap(expected: set[int], scores: np.ndarray) -> float:
    return len(expected & _top(scores)) / len(expected)


def _summary(found: dict[str, float], dim: int) -> dict[str, Any]:
    values = list(found.values())
    return {
        "dim": dim,
        "lowest": round(min(values), 4),
        "mean": round(sum(values) / len(values), 4),
        "capabilities": {name: round(own, 4) for name, own in found.items()},
    }


if __name__ == "__main__":
    main()
