"""How faithful is ``influence`` to exact gradients? ``python -m benchmarks.quality.influence NAME --index INDEX``.

The index has the view ``landmarks``. Of its landmarks, the last are kept apart: their influence is known exactly, from
their gradients, and is predicted from the others, by number of landmarks and kind of regression. Figures are the rank
correlation of the two, and how many of the tenth with the largest influence are in the tenth with the largest
prediction. ``probe`` and ``random`` order the same rows without a gradient.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index import NaitIndex
from nait_index.building.basis import overlap
from nait_index.capabilities.capability import Capability
from nait_index.methods.influence import LandmarkFit
from nait_index.methods.probe import Probe
from nait_index.signatures.features import Feature
from nait_index.signatures.views import GRADIENT

Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Predicts the targets of some points, from other points (m, d) and their targets (m,)."""


@click.command()
@click.argument("name")
@click.option("--index", type=click.Path(path_type=Path), required=True, help="An index with the view landmarks.")
@click.option("--kept", default=1024, show_default=True, help="Landmarks that are predicted.")
@click.option("--counts", default="256,512,1024,2048", show_default=True, help="Landmarks to predict from.")
def main(name: str, index: Path, kept: int, counts: str) -> None:
    """Measure the faithfulness of influence on an index, for every stored capability."""
    opened = NaitIndex(index)
    signatures, gradients, ordinals = _landmarks(opened)
    if len(ordinals) < 2 * kept:
        raise click.ClickException(f"{index} has {len(ordinals)} landmarks; {2 * kept} or more are needed")
    numbers = [count for count in map(int, counts.split(",")) if count <= len(ordinals) - kept]
    figures = {
        capability: _figures(opened, opened.capability(capability), signatures, gradients, ordinals, kept, numbers)
        for capability in opened.manifest.head.capability_names
    }
    result = {
        "model": name,
        "kept": kept,
        "rows": len(opened),
        "settings": _settings(opened),
        "figures": figures,
        "environment": environment(),
    }
    path = ROOT / "benchmarks" / "results" / f"influence-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(f"{path} written")


def _landmarks(index: NaitIndex) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signatures (m, d), gradients (m, width) and ordinals (m,) of the landmarks, in the order of the table."""
    rows = index.columns
    ordinals, gradients = rows.landmarks()
    order = np.argsort(ordinals)
    signatures = rows.exact(Feature.UNIT).rows[ordinals[order]] * rows.steps(Feature.UNIT)
    return signatures, gradients[order].astype(np.float32), ordinals[order]


def _figures(
    index: NaitIndex,
    capability: Capability,
    signatures: np.ndarray,
    gradients: np.ndarray,
    ordinals: np.ndarray,
    kept: int,
    counts: list[int],
) -> dict[str, Any]:
    examples = capability.examples.signatures[GRADIENT].astype(np.float32)
    truth = gradients @ examples[examples.any(axis=1)].mean(axis=0)
    known, asked = truth[:-kept], truth[-kept:]
    rows = index.columns
    query = Probe().make_query(capability.examples, rows)
    orders = {
        "probe": rows.exact(Feature.UNIT).rows[ordinals[-kept:]] @ query.vector,
        "random": np.random.default_rng(0).random(kept),
    }
    orders |= {
        f"{kind} {count}": predict(signatures[:count], known[:count], signatures[-kept:])
        for count in counts
        for kind, predict in REGRESSIONS.items()
    }
    return {"examples": len(examples), **{name: _agreement(asked, scores) for name, scores in orders.items()}}


def _agreement(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    from scipy.stats import spearmanr

    return {
        "rank correlation": round(float(spearmanr(truth, scores).statistic), 4),
        "overlap": round(overlap(truth, np.asarray(scores)), 4),
    }


def _settings(index: NaitIndex) -> Mapping[str, int]:
    signatures = index.manifest.fingerprint.signatures
    names = "grad_dim", "grad_layers", "grad_checkpoints", "landmarks"
    return {name: getattr(signatures, name) for name in names}


# ---- regressions -----------------------------------------------------------------------------------------------------


def ridge(points: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predict as the method does: a linear ridge regression."""
    weights, constant, _ = LandmarkFit.of(points, np.zeros((len(points), 1), np.float32)).fit(targets)
    return np.asarray(asked @ weights + constant)


def kernel(points: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predict by a ridge regression with the kernel exp(−‖x − y‖² / mean), with the same rule for its penalty."""
    squares = _squares(points, points)
    scale = float(squares.mean())
    gram, across = np.exp(-squares / scale), np.exp(-_squares(asked, points) / scale)
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    values = np.maximum(values, 0)
    centre = float(targets.mean())
    along = vectors.T @ (targets - centre)
    best: tuple[float, np.ndarray] = (np.inf, along)
    for penalty in np.logspace(-6, 3, 37):
        shrink = values / (values + penalty)
        leverage = np.square(vectors) @ shrink
        missed = (targets - centre - vectors @ (shrink * along)) / np.maximum(1 - leverage, 1e-6)
        best = min(best, (float(np.square(missed).sum()), along / (values + penalty)), key=lambda pair: pair[0])
    return np.asarray(across @ (vectors @ best[1]) + centre)


def neighbours(points: np.ndarray, targets: np.ndarray, asked: np.ndarray, count: int = 16) -> np.ndarray:
    """Predict the mean over the nearest landmarks."""
    nearest = np.argpartition(_squares(asked, points), count, axis=1)[:, :count]
    return np.asarray(targets[nearest].mean(axis=1))


def _squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distances (a, b) of two sets of points."""
    lengths = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None]
    return np.asarray(np.maximum(lengths - 2 * first @ second.T, 0))


REGRESSIONS: Mapping[str, Predict] = {"ridge": ridge, "kernel": kernel, "neighbours": neighbours}


if __name__ == "__main__":
    main()
