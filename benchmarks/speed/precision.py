"""Does bfloat16 choose the rows that float32 chooses? ``python -m benchmarks.speed.precision MODEL``.

A sample of the pool is indexed in both, and the best tenths for nine capabilities are compared.
"""

import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.config import ModelConfig, Precision
from nait_index.index import NaitIndex

METHODS = ("probe", "contrast")


@click.command()
@click.argument("model")
@click.option("--rows", default=6000, show_default=True)
@click.option("--examples", default=100, show_default=True, help="Examples of each capability.")
def main(model: str, rows: int, examples: int) -> None:
    """Measure, and write results/build-precision-MODEL.json; MODEL is minilm, qwen3 or bundled."""
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(Path(scratch), model_folder(model, Path(scratch)), rows, examples)
    result = {"environment": environment(), "model": model, "threads": torch.get_num_threads()} | measured
    path = ROOT / "benchmarks" / "results" / f"build-precision-{model}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def measure(scratch: Path, folder: str, rows: int, examples: int) -> dict[str, Any]:
    """Build twice, query every capability, and compare."""
    lines = (shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    corpus = scratch / "corpus.jsonl"
    corpus.write_text("".join(random.Random(0).sample(lines, rows)), encoding="utf-8")
    files = {path.stem: _head(path, scratch, examples) for path in (shared_data() / "capabilities").glob("*.jsonl")}
    chosen: dict[str, dict[str, dict[str, set[str]]]] = {}
    seconds = {}
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        started = time.monotonic()
        config = ModelConfig(folder, max_length=256, dtype=precision)
        index = NaitIndex.build(scratch / f"{precision}.nait", corpus, model=config)
        seconds[str(precision)] = round(time.monotonic() - started, 1)
        chosen[precision] = {name: _chosen(index, path) for name, path in sorted(files.items())}
    overlap = {
        method: {
            name: round(_share(ids[method], chosen["bfloat16"][name][method]), 4)
            for name, ids in chosen["float32"].items()
        }
        for method in METHODS
    }
    mean = {method: round(sum(shares.values()) / len(shares), 4) for method, shares in overlap.items()}
    return {"rows": rows, "examples": examples, "build_seconds": seconds, "overlap": overlap, "mean": mean}


def _head(path: Path, scratch: Path, count: int) -> Path:
    with path.open(encoding="utf-8") as lines:
        (scratch / path.name).write_text("".join(line for line, _ in zip(lines, range(count), strict=False)))
    return scratch / path.name


def _chosen(index: NaitIndex, path: Path) -> dict[str, set[str]]:
    examples = index.make_capability(path)
    return {method: set(index.query(examples, top="10%", method=method).ids) for method in METHODS}


def _share(chosen: set[str], other: set[str]) -> float:
    return len(chosen & other) / len(chosen)


if __name__ == "__main__":
    main()
