"""What should be captured? ``python -m benchmarks.quality.capture NAME --model MODEL --corpus ROWS``; ``--quick``.

The papers leave open which activations to keep. Here a model runs once over a part of the pool, drawn evenly over its
sources, and over examples of nine capabilities; then `probe` and `contrast` rank the rows by parts of what was
captured: some layers or all, mean or drift or both, neurons or the residual stream or the last hidden states, centred
or not, with or without the token that begins every row, with few bytes or all. Precision is as in :mod:`.retrieval`. A
variant is compared with the default over the same resamples of the examples. For `probe`, a variant is what 128 leading
coordinates keep of it, not rounded, unless its name says otherwise.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.fidelity.curves import eight_bits
from benchmarks.pool import GROUPS
from benchmarks.quality.captured import Captured, CaptureSettings, CaptureSite, capture
from benchmarks.quality.draws import DrawPlan, spread
from benchmarks.quality.kernels import (
    CapturePooling,
    Kind,
    Part,
    Resamples,
    Third,
    combined,
    leading_coordinates,
    part_sums,
    unit_cosines,
)
from benchmarks.quality.run_cache import RunCache, digest
from nait_index.methods.probe import SAMPLE, train

FEW = (4, 16)
COORDINATES = 128
SIZES = (256, 1024)
DEFAULT = "neurons, all layers, mean and drift"
WITH_FEW = (
    DEFAULT,
    "neurons, all layers, mean",
    "neurons, all layers, drift",
    "residual, all layers, mean and drift",
    "last hidden states, mean",
)
"""Variants that are also measured with few examples."""

_BOTH = (CapturePooling.MEAN, CapturePooling.DRIFT)


@click.command()
@click.argument("name")
@click.option("--model", default="bundled", show_default=True, help="Folder of the model.")
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), help="Rows to draw from. Default: the pool.")
@click.option("--rows", default=3000, show_default=True, help="Rows of the part of the pool.")
@click.option("--examples", default=64, show_default=True, help="Most examples of a capability.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--draws", default=6, show_default=True, help="Resamples of the examples for the interval.")
@click.option("--few-draws", default=3, show_default=True, help="Draws of few examples.")
@click.option(
    "--cache", "folder", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / ".cache", help="For resuming."
)
@click.option("--quick", is_flag=True, help="Two capabilities, 400 rows, 2 draws; write nothing.")
def main(
    name: str,
    model: str,
    corpus: Path | None,
    rows: int,
    examples: int,
    max_length: int,
    draws: int,
    few_draws: int,
    folder: Path,
    quick: bool,
) -> None:
    """Run the measurement and write results/capture-NAME.json."""
    capabilities = ("gsm8k", "translation") if quick else tuple(GROUPS)
    rows, examples, draws, few_draws = (400, 24, 2, 1) if quick else (rows, examples, draws, few_draws)
    source = corpus or shared_data() / "pool.jsonl"
    settings = CaptureSettings(model, str(source), rows, examples, max_length)
    captured = capture(settings, folder, capabilities)
    measurement = Measurement(captured, DrawPlan(draws, FEW, few_draws), RunCache(folder / "capture.jsonl"))
    result: dict[str, Any] = {
        "environment": environment(),
        "model": name,
        "corpus": {"rows": len(captured.groups), "tokens": int(captured.lengths[: len(captured.groups)].sum())},
        "settings": asdict(settings) | {"model": name, "corpus": source.name},
        "coordinates": COORDINATES,
        "draws": draws,
        "few": {"examples": FEW, "draws": few_draws},
        "neurons": [part.stop - part.start for part in captured.columns[CaptureSite.NEURONS]],
    }
    measured: dict[str, dict[str, Precisions]] = {}
    for stage in (measure, measure_sizes):  # the second takes as long as the first
        measured |= stage(measurement)
        result["variants"] = summary(measured)
        if not quick:
            path = ROOT / "benchmarks" / "results" / f"capture-{name}.json"
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result["variants"], indent=1))


def variants() -> Iterator[tuple[str, tuple[Part, ...]]]:
    """Yield every variant's name and the parts that it is made of."""
    named = {"mean and drift": _BOTH, "mean": _BOTH[:1], "drift": _BOTH[1:]}
    layers = {"all layers": tuple(Third), **{f"{third} layers": (third,) for third in Third}}
    for site in CaptureSite:
        for where, thirds in layers.items():
            for which, poolings in named.items():
                yield (
                    f"{site}, {where}, {which}",
                    tuple(Part(site, pooling, third) for pooling in poolings for third in thirds),
                )
        for kind in (Kind.WHOLE, Kind.TEXT_ONLY):
            # Of the residual stream only the two poolings together.
            for which, poolings in list(named.items())[: 3 if site is CaptureSite.NEURONS else 1]:
                yield (
                    f"{site}, all layers, {which}, {kind}",
                    tuple(Part(site, pooling, third, kind) for pooling in poolings for third in Third),
                )
    yield (
        "neurons and residual, all layers, mean and drift",
        tuple(Part(site, pooling, third) for site in CaptureSite for pooling in _BOTH for third in Third),
    )
    hidden = {"mean": (CapturePooling.MEAN,), "weighted mean": (CapturePooling.WEIGHTED,)}
    for which, poolings in (
        hidden | {"mean and weighted mean": tuple(poolings[0] for poolings in hidden.values())}
    ).items():
        yield f"last hidden states, {which}", tuple(Part(None, pooling) for pooling in poolings)
    yield "last hidden states, mean, not centred", (Part(None, CapturePooling.MEAN, kind=Kind.WHOLE),)


Precisions = dict[str, dict[str, float]]
"""By capability and draw."""

Scorer = Callable[[str, str, np.ndarray], np.ndarray]
"""Returns the score of every row of the sub-pool, by capability, draw, and the numbers of the examples drawn."""


@dataclass(frozen=True)
class Measurement:
    """Everything that a variant is measured with; what was measured before is read from the records."""

    captured: Captured
    plan: DrawPlan
    records: RunCache

    def precisions(self, variant: str, method: str, scores: Scorer) -> Precisions:
        """Measure a variant for every draw of every capability."""
        has_few = variant in WITH_FEW or variant.endswith(tuple(f"{size:,} bytes" for size in SIZES))
        plan, measured = self.plan if has_few else replace(self.plan, few=()), {}
        for name, numbers in self.captured.examples.items():
            key = digest(self.captured.identity, variant, method, name, [str(draw) for draw in plan])
            if key not in self.records:
                right = np.array(self.captured.groups) == GROUPS[name]
                by_draw = {
                    str(draw): precision(scores(name, str(draw), draw.rows(len(numbers))), right) for draw in plan
                }
                self.records.add({"key": key, "precisions": by_draw})
            measured[name] = self.records[key]["precisions"]
        return measured


def precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Return the share of right rows among the first min(size of the group, a tenth)."""
    k = min(int(right.sum()), len(right) // 10)
    return float(right[np.argsort(-scores, kind="stable")[:k]].mean())


def measure(measurement: Measurement) -> dict[str, dict[str, Precisions]]:
    """Measure every variant, by method."""
    captured = measurement.captured
    click.echo("computing the similarities of all parts", err=True)
    resamples = _resamples(measurement)
    sums = part_sums(captured, resamples)
    measured = {}
    for variant, parts in variants():
        if all(part in sums for part in parts):  # not where no token begins every row
            cosines, contrasts = combined(sums, parts)
            probe = TrainedOnCoordinates(captured, partial(leading_coordinates, cosines, COORDINATES))
            measured[variant] = {
                "probe": measurement.precisions(variant, "probe", probe.scores),
                "contrast": measurement.precisions(variant, "contrast", resamples.scores_of(contrasts)),
            }
            _report(variant, measured[variant]["probe"])
    return measured


def measure_sizes(measurement: Measurement) -> dict[str, dict[str, Precisions]]:
    """Measure what the bytes of a signature are worth."""
    captured, measured = measurement.captured, {}
    cosines, pool = unit_cosines(captured), len(captured.groups)
    coordinates = leading_coordinates(cosines[:, :pool], max(SIZES))
    scorers: dict[str, Scorer] = {
        f"{size:,} bytes": TrainedOnCoordinates(
            captured, partial(eight_bits, coordinates[:pool, :size], coordinates[:, :size])
        ).scores
        for size in SIZES
    }
    for size, scores in (scorers | {"all bytes": TrainedOnSimilarities(captured, cosines).scores}).items():
        variant = f"{DEFAULT}, {size}"
        measured[variant] = {"probe": measurement.precisions(variant, "probe", scores)}
        _report(variant, measured[variant]["probe"])
    return measured


def _report(variant: str, precisions: Precisions) -> None:
    click.echo(f"{variant}: {np.mean([by_draw['all'] for by_draw in precisions.values()]):.3f}", err=True)


def _resamples(measurement: Measurement) -> Resamples:
    names, weights = [], []
    for capability, numbers in measurement.captured.examples.items():
        for draw in measurement.plan:
            names.append((capability, str(draw)))
            chosen = numbers[draw.rows(len(numbers))]
            counts = np.bincount(chosen, minlength=len(measurement.captured.pooled))
            weights.append(counts.astype(np.float32) / np.float32(len(chosen)))
    return Resamples(names, np.stack(weights))


class TrainedOnSimilarities:
    """The classifier of `probe` on whole vectors, of which only the inner products (n, n) are known."""

    def __init__(self, captured: Captured, cosines: np.ndarray) -> None:
        self._captured, self._cosines = captured, cosines
        self._space = lru_cache(maxsize=1)(self._coordinates)

    def scores(self, name: str, draw: str, chosen: np.ndarray) -> np.ndarray:
        """Train on some examples of a capability, and score the rows of the sub-pool."""
        rows, points, back = self._space(name)
        sample = len(rows) - len(self._captured.examples[name])
        weights = train(points[sample + chosen], points[:sample]).vector
        return np.asarray(self._cosines[: len(self._captured.groups)][:, rows] @ (back @ weights))

    def _coordinates(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows trained on, coordinates with the same inner products, and what maps weights back."""
        from scipy.linalg import eigh

        sample = np.arange(min(SAMPLE, len(self._captured.groups)))
        rows = np.concatenate([sample, self._captured.examples[name]])
        values, vectors = eigh(self._cosines[np.ix_(rows, rows)].astype(np.float64))
        kept = values > values[-1] * 1e-9
        values, vectors = values[kept], vectors[:, kept]
        points, back = vectors * np.sqrt(values), vectors / np.sqrt(values)
        return rows, points.astype(np.float32), back.astype(np.float32)


class TrainedOnCoordinates:
    """The classifier of `probe` on coordinates (n, d), which are computed when they are first needed."""

    def __init__(self, captured: Captured, coordinates: Callable[[], np.ndarray]) -> None:
        self._captured, self._make = captured, coordinates

    @cached_property
    def _coordinates(self) -> np.ndarray:
        return self._make()

    def scores(self, name: str, draw: str, chosen: np.ndarray) -> np.ndarray:
        """Train on some examples of a capability, and score the rows of the sub-pool."""
        pool = len(self._captured.groups)
        examples = self._coordinates[self._captured.examples[name][chosen]]
        return np.asarray(self._coordinates[:pool] @ train(examples, self._coordinates[: min(SAMPLE, pool)]).vector)


def summary(measured: Mapping[str, Mapping[str, Precisions]]) -> dict[str, Any]:
    """Return means over the capabilities, and differences to the default of the same method over the same resamples."""
    return {
        variant: {method: _figures(by_method[method], measured[DEFAULT][method]) for method in by_method}
        for variant, by_method in measured.items()
    }


def _figures(precisions: Precisions, default: Precisions) -> dict[str, Any]:
    means, default_means = (
        {draw: float(np.mean([by_draw[draw] for by_draw in each.values()])) for draw in next(iter(each.values()))}
        for each in (precisions, default)
    )
    redraws = [draw for draw in means if draw.startswith("redraw")]
    differences = {draw: mean - default_means[draw] for draw, mean in means.items()}
    few = {few: [mean for draw, mean in means.items() if draw.startswith(f"few {few} ")] for few in FEW}
    return {
        "precision": round(means["all"], 4),
        "interval": spread([means[draw] for draw in redraws]),
        "difference": round(differences["all"], 4),
        "difference_interval": spread([differences[draw] for draw in redraws]),
        "few": {str(number): round(float(np.mean(values)), 4) for number, values in few.items() if values},
        "capabilities": {name: round(by_draw["all"], 4) for name, by_draw in precisions.items()},
    }


if __name__ == "__main__":
    main()
