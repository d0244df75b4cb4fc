"""The fit of the basis at the size of a large model: ``python -m benchmarks.speed.fit``; writes results/fit.json.

The data are random, since the cost does not depend on them. Products are measured in float32 and, where the processor
multiplies in bfloat16, rounded to it, each in a process of its own.
"""

import json
import resource
import subprocess
import sys
import time
from typing import Any

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.activations.device import cpu_multiplies_bfloat16
from nait_index.config import SignatureConfig
from nait_index.signatures.fit import Arithmetic, fit, lower_product
from nait_index.signatures.pca import Dims


@click.command()
@click.option("--layers", default=28, show_default=True)
@click.option("--neurons", default=12_500, show_default=True, help="Neurons per layer.")
@click.option("--reservoir", default=4096, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs; write nothing.")
@click.option("--child", type=click.Choice(["float32", "bfloat16"]), hidden=True, help="Measure this one here.")
def main(layers: int, neurons: int, reservoir: int, quick: bool, child: str | None) -> None:
    """Fit once in each precision, and report seconds and peak memory."""
    if quick:
        layers, neurons, reservoir = 2, 300, 256
    if child is not None:
        arithmetic = Arithmetic(rounded=child == "bfloat16")
        click.echo(json.dumps(measure(layers, neurons, reservoir, arithmetic)))
        return
    precisions = ["float32"] + ["bfloat16"] * cpu_multiplies_bfloat16()
    command = [sys.executable, "-m", "benchmarks.speed.fit", "--layers", str(layers), "--neurons", str(neurons)]
    command += ["--reservoir", str(reservoir), "--child"]
    measured = {name: _in_process([*command, name]) for name in precisions}
    sizes = {"neurons": layers * neurons, "reservoir": reservoir}
    result = {"environment": environment()} | sizes | {"precisions": measured}
    if not quick:
        path = ROOT / "benchmarks" / "results" / "fit.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def _in_process(command: list[str]) -> dict[str, Any]:
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise click.ClickException(finished.stderr[-2000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


def measure(layers: int, neurons: int, reservoir: int, arithmetic: Arithmetic) -> dict[str, Any]:
    """Fit once, and time the products and decompositions alone, which bound it."""
    random = np.random.default_rng(0).standard_normal((reservoir, 2 * neurons), dtype=np.float32)

    def read(pooling: int, where: slice) -> np.ndarray:
        start = (where.start * 7919 + pooling * 104_729) % neurons
        return random[:, start : start + where.stop - where.start]

    config = SignatureConfig()
    assert config.pca_dim is not None
    before = _peak_gib()
    started = time.perf_counter()
    compressor = fit(read, (neurons,) * layers, Dims(config.pca_dim, config.fine_dim), arithmetic)
    seconds = time.perf_counter() - started
    return {
        "components": {str(name): len(basis.components) for name, basis in compressor.bases.items()},
        "seconds": round(seconds, 1),
        "peak_gib": round(_peak_gib(), 2),
        "peak_gib_before": round(before, 2),
        "products_seconds": round(_products(random[:, :neurons], config, arithmetic) * layers, 1),
        "eigenpairs_seconds": round(_eigenpairs(random[:, :neurons]), 1),
    }


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _products(block: np.ndarray, config: SignatureConfig, arithmetic: Arithmetic) -> float:
    """Time the matrix products of one layer: of activations with themselves, and of both sets of loadings with them."""
    operand = arithmetic.operand(arithmetic.put(block))
    most = max(config.fine_dim, config.pca_dim or 0)
    loadings = arithmetic.operand(arithmetic.put(np.ones((most, len(block)), dtype=np.float32)))
    started = time.perf_counter()
    for _ in range(2):
        lower_product(operand)
        loadings[: config.pca_dim] @ operand
    operand[1::2] @ operand[0::2].T
    loadings[: config.fine_dim] @ operand
    return time.perf_counter() - started


def _eigenpairs(block: np.ndarray) -> float:
    """Time the decomposition of both Gram matrices, one after the other."""
    from nait_index.signatures.eigen import top_eigenpairs

    gram = (block @ block.T).astype(np.float64)
    started = time.perf_counter()
    top_eigenpairs(gram, len(gram) // 2)
    top_eigenpairs(gram, len(gram) // 4)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
