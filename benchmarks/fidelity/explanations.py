"""Are explanations true? ``python -m benchmarks.fidelity.explanations NAME --model MODEL``.

Writes results/explanations-NAME.json.

``explain`` reads neurons from a row's signature, without a model. Here rows of the real pool are encoded again, and the
explanation is compared with their whole activations: each neuron's part in the score, the ten largest, each layer's
part, and how strongly the named neurons fire.
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
from nait_index.methods.registry import MethodName, method_of
from nait_index.signatures.features import feature_vectors

_METHODS = (MethodName.PROBE, MethodName.CONTRAST, MethodName.NAIT, MethodName.NAIT_DRIFT)
_NAMED = 10


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of a model, or 'bundled'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rows", default=29_581, show_default=True, help="Rows of the pool.")
@click.option("--sample", default=200, show_default=True, help="Rows to encode again, for each capability.")
@click.option("--index", type=click.Path(exists=True), help="An existing index of the pool.")
def main(name: str, model: str, max_length: int, rows: int, sample: int, index: str | None) -> None:
    """Build an index of the pool, unless one is given, and compare."""
    with tempfile.TemporaryDirectory() as scratch:
        if index is None:
            root, config = Path(scratch) / "pool.nait", ModelConfig(name=model, max_length=max_length)
            opened = NaitIndex.build(root, shared_data() / "pool.jsonl", model=config, limit=rows)
        else:
            opened = NaitIndex(index)
        folder = shared_data() / "capabilities"
        measured = {
            str(method): {
                capability: _compare(opened, folder / f"{capability}.jsonl", method, sample)
                for capability in ("gsm8k", "humaneval", "translation")
            }
            for method in _METHODS
        }
    result = {"environment": environment(), "model": name, "rows": len(opened), "sample": sample, "methods": measured}
    path = ROOT / "benchmarks" / "results" / f"explanations-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _compare(index: NaitIndex, examples: Path, method: MethodName, sample: int) -> dict[str, float]:
    """Compare explanations from signatures with the model's activations, for chosen and for random rows, half each."""
    rng = np.random.default_rng(0)
    capability = index.make_capability(examples)
    chosen = np.array(index.query(capability, method=method).ordinals)
    ordinals = np.concatenate([rng.choice(chosen, sample // 2, False), rng.choice(len(index), sample // 2, False)])
    rows = index.columns
    query = method_of(method).query(capability.examples, rows)
    assert query is not None
    parts = DenseParts(query, capability.examples, rows, index.manifest.fingerprint.layers)
    pooled = index._encoder().encode_again([rows.sample(int(ordinal)) for ordinal in ordinals]).pooled
    assert pooled is not None
    real = feature_vectors(pooled, rows.center, parts.feature, rows.widths).astype(np.float64) * parts.direction
    figures: dict[str, list[float]] = {"correlation": [], "named": [], "layers": [], "firing": []}
    for number, ordinal in enumerate(ordinals):
        explained = parts.of(int(ordinal))[1]
        named = np.argsort(-np.abs(explained), kind="stable")[:_NAMED]
        figures["correlation"].append(float(np.corrcoef(explained, real[number])[0, 1]))
        figures["named"].append(len({*named} & {*np.argsort(-np.abs(real[number]), kind="stable")[:_NAMED]}) / _NAMED)
        layers = np.array(
            [[values[block.where].sum() for block in parts.blocks] for values in (explained, real[number])]
        )
        figures["layers"].append(float(np.abs(layers[0] - layers[1]).max() / np.abs(layers[1]).sum()))
        fired = _fired(parts, pooled[number], named)
        figures["firing"].append(
            float(np.abs(parts.activations(named, int(ordinal))[0] - fired).sum() / np.abs(fired).sum())
        )
    return {key: round(float(np.mean(values)), 4) for key, values in figures.items()}


def _fired(parts: DenseParts, pooled: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Return the pooled activations of some of the parts."""
    fired = []
    for part in named:
        block = next(block for block in parts.blocks if block.where.start <= part < block.where.stop)
        fired.append(pooled[POOLING_NAMES.index(str(block.pooling)), part % pooled.shape[1]])
    return np.array(fired)


if __name__ == "__main__":
    main()
