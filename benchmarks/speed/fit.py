"""The fit of the basis at the size of a large model: ``python -m benchmarks.speed.fit``; writes results/fit.json.

The data are random, since the cost does not depend on them.
"""

import json
import resource
import time

import click
import numpy as np

from benchmarks.environment import ROOT, environment
from nait_index.config import SignatureConfig
from nait_index.signatures.fit import fit
from nait_index.signatures.pca import Dims


@click.command()
@click.option("--layers", default=28, show_default=True)
@click.option("--neurons", default=12_500, show_default=True, help="Neurons per layer.")
@click.option("--reservoir", default=4096, show_default=True)
@click.option("--quick", is_flag=True, help="Only check that it runs; write nothing.")
def main(layers: int, neurons: int, reservoir: int, quick: bool) -> None:
    """Fit once, and report seconds and peak memory."""
    if quick:
        layers, neurons, reservoir = 2, 300, 256
    random = np.random.default_rng(0).standard_normal((reservoir, 2 * neurons), dtype=np.float32)

    def read(pooling: int, where: slice) -> np.ndarray:
        start = (where.start * 7919 + pooling * 104_729) % neurons
        return random[:, start : start + where.stop - where.start]

    config = SignatureConfig()
    assert config.pca_dim is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    started = time.perf_counter()
    compressor = fit(read, (neurons,) * layers, Dims(config.pca_dim, config.fine_dim))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {
        "environment": environment(),
        "neurons": layers * neurons,
        "reservoir": reservoir,
        "components": {str(name): len(basis.components) for name, basis in compressor.bases.items()},
        "seconds": round(seconds, 1),
        "peak_gib": round(peak, 2),
        "peak_gib_before": round(before, 2),
        "products_seconds": round(_products(random[:, :neurons], config, layers), 1),
    }
    if not quick:
        path = ROOT / "benchmarks" / "results" / "fit.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def _products(block: np.ndarray, config: SignatureConfig, layers: int) -> float:
    """Time the matrix products, which bound the fit: two Gram matrices and both sets of components."""
    loadings = np.ones((max(config.fine_dim, config.pca_dim or 0), len(block)), dtype=np.float32)
    block = np.ascontiguousarray(block)
    started = time.perf_counter()
    block @ block.T
    loadings[: config.fine_dim] @ block
    for _ in range(2):
        block @ block.T
        loadings[: config.pca_dim] @ block
    return (time.perf_counter() - started) * layers


if __name__ == "__main__":
    main()
