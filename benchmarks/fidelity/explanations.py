"""Are explanations true? ``python -m benchmarks.fidelity.explanations NAME --model MODEL``.

Writes results/explanations-NAME.json.

``explain`` reads neurons out of a row's signature, with no model. Here rows of the real pool are encoded again, and
what was told of them is compared with what their whole activations say: each neuron's part in the score, the ten that
count most, each layer's part, and how hard the neurons that are named fire.
"""

import json
import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.environment import ROOT, environment, shared_data
from nait_index import NaitIndex
from nait_index.config import ModelConfig
from nait_index.insight.dense import POOLING_NAMES, DenseParts
from nait_index.insight.explain import parts_of
from nait_index.methods.registry import MethodName
from nait_index.signatures.features import feature_vectors

_METHODS = (MethodName.PROBE, MethodName.CONTRAST, MethodName.NAIT, MethodName.NAIT_DRIFT)
_NAMED = 10


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, or 'bundled'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=29_581, show_default=True, help="Rows of the pool.")
@click.option("--sample", default=200, show_default=True, help="Rows that are encoded again, for each capability.")
@click.option("--index", type=click.Path(exists=True), help="An index of the pool that is there already.")
def main(name: str, model: str, max_length: int, rows: int, sample: int, index: str | None) -> None:
    """Build an index of the pool, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        if index is None:
            root, config = Path(scratch) / "pool.nait", ModelConfig(name=model, max_length=max_length)
            own = NaitIndex.build(root, shared_data() / "pool.jsonl", model=config, limit=rows)
        else:
            own = NaitIndex(index)
        folder = shared_data() / "capabilities"
        found = {
            str(method): {
                capability: _compare(own, folder / f"{capability}.jsonl", method, sample)
                for capability in ("gsm8k", "humaneval", "translation")
            }
            for method in _METHODS
        }
    result = {"environment": environment(), "model": name, "rows": len(own), "sample": sample, "methods": found}
    path = ROOT / "benchmarks" / "results" / f"explanations-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _compare(index: NaitIndex, examples: Path, method: MethodName, sample: int) -> dict[str, float]:
    """Compare what signatures tell of chosen rows and of any rows, half each, with what the model says."""
    rng = np.random.default_rng(0)
    capability = index.make_capability(examples)
    chosen = np.array(index.query(capability, method=method).ordinals)
    ordinals = np.concatenate([rng.choice(chosen, sample // 2, False), rng.choice(len(index), sample // 2, False)])
    rows = index._rows
    parts = parts_of(method, capability.examples, rows, index.manifest.fingerprint.layers)
    assert isinstance(parts, DenseParts)
    pooled = index._encoder().encode_again([rows.sample(int(own)) for own in ordinals]).pooled
    real = feature_vectors(pooled, rows.center, parts.feature, rows.widths).astype(np.float64) * parts.direction
    figures: dict[str, list[float]] = {"correlation": [], "named": [], "layers": [], "firing": []}
    for at, ordinal in enumerate(ordinals):
        told = parts.of(int(ordinal))[1]
        named = np.argsort(-np.abs(told), kind="stable")[:_NAMED]
        figures["correlation"].append(float(np.corrcoef(told, real[at])[0, 1]))
        figures["named"].append(len({*named} & {*np.argsort(-np.abs(real[at]), kind="stable")[:_NAMED]}) / _NAMED)
        layers = np.array([[own[block.where].sum() for block in parts.blocks] for own in (told, real[at])])
        figures["layers"].append(float(np.abs(layers[0] - layers[1]).max() / np.abs(layers[1]).sum()))
        fired = _fired(parts, pooled[at], named)
        figures["firing"].append(
            float(np.abs(parts.activations(named, int(ordinal))[0] - fired).sum() / np.abs(fired).sum())
        )
    return {key: round(float(np.mean(values)), 4) for key, values in figures.items()}


def _fired(parts: DenseParts, pooled: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Give the pooled activations (2, D) of some of the parts."""
    found = []
    for part in named:
        block = next(own for own in parts.blocks if own.where.start <= part < own.where.stop)
        found.append(pooled[POOLING_NAMES.index(str(block.pooling)), part % pooled.shape[1]])
    return np.array(found)


if __name__ == "__main__":
    main()
