"""The measurement: ``python -m benchmarks.fidelity.curves NAME --model MODEL``; writes results/fidelity-NAME.json.

A basis is fitted on a reservoir of rows; the other rows are ranked by whole activations and by signatures, for nine
capabilities, and the figures are the overlaps of the two top tenths. The model ``shape`` is a randomly initialised
Qwen3 with 100,352 neurons.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from benchmarks.fidelity.activations import encode_all
from benchmarks.pool import GROUPS
from benchmarks.speed.models import save_shape
from nait_index.methods.nait import Nait
from nait_index.methods.probe import SAMPLE, train
from nait_index.search.hits import rescored
from nait_index.signatures.features import Feature, feature_vectors
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Compressor, Dims

SCANNED = 1024
MAX_ROTATED = 2048  # a random rotation costs its width cubed


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, 'bundled', or 'shape'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=8_192, show_default=True, help="Rows of the pool, the reservoir among them.")
@click.option("--reservoir", default=4096, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs; write nothing.")
def main(name: str, model: str, max_length: int, rows: int, reservoir: int, quick: bool) -> None:
    """Encode, fit, rank and compare."""
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
    """Return the neurons of every layer."""
    from nait_index.activations.encoder import Encoder
    from nait_index.config import ModelConfig

    with Encoder(ModelConfig(name=model)) as encoder:
        return encoder.widths


def measure(arrays: dict[str, np.ndarray], widths: tuple[int, ...], reservoir: int) -> dict[str, Any]:
    """Return the curves of the default method and of NAIT."""
    pool = arrays.pop("pool")
    sample = pool[:reservoir].astype(np.float32)
    compressor = fit(lambda pooling, neurons: sample[:, pooling, neurons], widths, Dims(2 * max(SIZES), max(SIZES)))
    data = Activations(pool[reservoir:], sample, arrays, compressor)
    return {
        "neurons": sum(widths),
        "rows": len(data.rows),
        "reservoir": reservoir,
        "probe": _curves(data, Feature.UNIT, probe_whole, _probe),
        "nait": _curves(data, Feature.MEAN, nait_whole, _nait) | {"8 bits, rescored": _rescored(data)},
    }


Squeeze = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Returns compressed and restored coordinates; the first argument is a sample to learn ranges from."""


@dataclass(frozen=True, slots=True)
class Compression:
    """One compression and its bits per coordinate."""

    name: str
    bits: int
    squeeze: Squeeze


def eight_bits(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Round as the index does, with a step for every coordinate."""
    steps = np.abs(sample).max(axis=0) * 1.1 / 127
    rounded: np.ndarray = (np.rint(values / steps).clip(-127, 127) * steps).astype(np.float32)
    return rounded


def half(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Round to float16, scaled by the largest coordinate."""
    scale = np.abs(sample).max()
    rounded: np.ndarray = (values / scale).astype(np.float16).astype(np.float32) * scale
    return rounded


def four_bits(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Apply FAISS's scalar quantiser at 4 bits, with a range for every coordinate."""
    import faiss

    quantiser = faiss.IndexScalarQuantizer(values.shape[1], faiss.ScalarQuantizer.QT_4bit)
    quantiser.train(np.ascontiguousarray(sample))
    return np.asarray(quantiser.sa_decode(quantiser.sa_encode(np.ascontiguousarray(values))))


def four_bits_rotated(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rotate at random first, which spreads the variance evenly over the coordinates, then use 4 bits."""
    rotation = _rotation(values.shape[1])
    rotated = [rotation.apply(np.ascontiguousarray(array)) for array in (sample, values)]
    return np.asarray(rotation.reverse_transform(four_bits(*rotated)))


@cache
def _rotation(dim: int) -> Any:  # noqa: ANN401 - faiss is untyped
    import faiss

    rotation = faiss.RandomRotationMatrix(dim, dim)
    rotation.init(0)
    return rotation


COMPRESSIONS = (
    Compression("float16", 16, half),
    Compression("8 bits", 8, eight_bits),
    Compression("4 bits", 4, four_bits),
    Compression("4 bits, rotated", 4, four_bits_rotated),
)
SIZES = (256, 512, 1024, 2048, 4096)
"""Bytes per row."""


class Activations:
    """Rows, reservoir and examples, as whole activations and as coordinates."""

    def __init__(
        self, rows: np.ndarray, sample: np.ndarray, examples: dict[str, np.ndarray], compressor: Compressor
    ) -> None:
        self.rows, self.sample, self.examples, self.compressor = rows, sample, examples, compressor
        self._coordinates: dict[tuple[Feature, str], np.ndarray] = {}

    def coordinates(self, feature: Feature, part: str) -> np.ndarray:
        """Project rows, sample or a capability onto the components."""
        key = (feature, part)
        if key not in self._coordinates:
            values = {"rows": self.rows, "sample": self.sample}.get(part, self.examples.get(part))
            assert values is not None
            components = self.compressor.components(feature)
            self._coordinates[key] = np.concatenate([block @ components.T for block in self.vectors(values, feature)])
        return self._coordinates[key]

    def vectors(self, values: np.ndarray, feature: Feature) -> Any:  # noqa: ANN401 - an iterator of arrays
        """Yield whole feature vectors, some rows at a time."""
        center, widths = self.compressor.center, self.compressor.widths
        for start in range(0, len(values), 256):
            yield feature_vectors(values[start : start + 256], center, feature, widths)


def probe_whole(data: Activations, name: str) -> np.ndarray:
    """Train on whole unit vectors, in coordinates with the same inner products, and score every row."""
    from scipy.linalg import eigh

    parts = (data.examples[name], data.sample[:SAMPLE])
    points = np.concatenate([block for part in parts for block in data.vectors(part, Feature.UNIT)])
    values, vectors = eigh((points @ points.T).astype(np.float64))
    kept = values > values[-1] * 1e-9
    values, vectors = values[kept], vectors[:, kept]
    whole = (vectors * np.sqrt(values)).astype(np.float32)
    weights = train(whole[: len(parts[0])], whole[len(parts[0]) :]).vector
    direction = points.T @ (vectors @ (weights / np.sqrt(values))).astype(np.float32)
    return np.concatenate([block @ direction for block in data.vectors(data.rows, Feature.UNIT)])


def _probe(data: Activations, name: str, squeeze: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
    parts = [data.coordinates(Feature.UNIT, key)[:, :dim] for key in (name, "sample", "rows")]
    examples, sample, rows = (squeeze(part) for part in parts)
    return np.asarray(rows @ train(examples, sample[:SAMPLE]).vector)


def nait_direction(data: Activations, name: str) -> np.ndarray:
    """Return NAIT's direction of a capability (D,)."""
    pooled, widths = data.examples[name].astype(np.float32), data.compressor.widths
    return Nait().direction(Nait().summarise(pooled, widths), data.compressor.center, widths).vector


def nait_whole(data: Activations, name: str) -> np.ndarray:
    """Score every row by whole activations."""
    direction = nait_direction(data, name)
    return np.concatenate([block @ direction for block in data.vectors(data.rows, Feature.MEAN)])


def _nait(data: Activations, name: str, squeeze: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
    query = data.compressor.components(Feature.MEAN)[:dim] @ nait_direction(data, name)
    return np.asarray(squeeze(data.coordinates(Feature.MEAN, "rows")[:, :dim]) @ query)


def _curves(data: Activations, feature: Feature, whole: Any, scores: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the overlaps of every compression, by bytes per row."""
    expected = {name: top_tenth(whole(data, name)) for name in GROUPS}
    widest = data.coordinates(feature, "sample").shape[1]
    curves: dict[str, Any] = {}
    for kind in COMPRESSIONS:
        for size in SIZES:
            dim = min(size * 8 // kind.bits, widest)
            if dim > MAX_ROTATED and "rotated" in kind.name:
                break
            learned = data.coordinates(feature, "sample")[:, :dim]
            overlaps = {
                name: overlap(top, scores(data, name, lambda values, k=kind, s=learned: k.squeeze(s, values), dim))
                for name, top in expected.items()
            }
            curves.setdefault(kind.name, {})[str(size)] = measured = {"dim": dim} | summary(overlaps)
            click.echo(f"{feature} {kind.name} {size}: {measured}", err=True)
            if dim == widest:
                break
    return curves


def _rescored(data: Activations) -> dict[str, Any]:
    """Return the overlaps if 1,024 bytes per row are scanned and rows near the cut are rescored from more."""
    curve, rows = {}, data.coordinates(Feature.MEAN, "rows")
    expected = {name: top_tenth(nait_whole(data, name)) for name in GROUPS}
    for size in SIZES:
        dim = min(size, rows.shape[1])
        if size <= SCANNED:
            continue
        codes = COMPRESSIONS[1].squeeze(data.coordinates(Feature.MEAN, "sample")[:, :dim], rows[:, :dim])
        overlaps: dict[str, Any] = {}
        read: list[int] = []
        for name, top in expected.items():
            query = data.compressor.components(Feature.MEAN)[:dim] @ nait_direction(data, name)
            coarse = (codes[:, :SCANNED] @ query[:SCANNED]).astype(np.float32)

            def whole(ordinals: np.ndarray, codes: np.ndarray = codes, read: list[int] = read) -> np.ndarray:
                read.append(len(ordinals))
                rows_read: np.ndarray = codes[ordinals]
                return rows_read

            (hits,) = rescored(whole, coarse[None], query[None], len(top), None)
            overlaps[name] = len(top & set(hits.ordinals.tolist())) / len(top)
        curve[str(size)] = {"dim": dim} | summary(overlaps) | {"share_rescored": round(max(read) / len(codes), 3)}
    return curve


def top_tenth(scores: np.ndarray) -> set[int]:
    """Return the positions of the highest tenth of some scores."""
    return set(np.argsort(-scores, kind="stable")[: len(scores) // 10].tolist())


def overlap(expected: set[int], scores: np.ndarray) -> float:
    """Return the share of expected rows that are in the highest tenth of some scores."""
    return len(expected & top_tenth(scores)) / len(expected)


def summary(overlaps: dict[str, float]) -> dict[str, Any]:
    """Return the lowest and the mean of the capabilities' overlaps, and each."""
    values = list(overlaps.values())
    return {
        "lowest": round(min(values), 4),
        "mean": round(sum(values) / len(values), 4),
        "capabilities": {name: round(overlap, 4) for name, overlap in overlaps.items()},
    }


if __name__ == "__main__":
    main()
