"""Workers of a Ray cluster compared with the local runner: ``python -m benchmarks.speed.workers``.

Every build is a process of its own, as from the command line, on a cluster of this machine alone. All build the same
index, so their rates are comparable; the seconds before the first shard is committed, in which processes start and load
the model, are reported separately from the rate after. On one machine without a GPU, workers share its cores: there
this measures what Ray costs, not what it gains.
"""

import json
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.building.builder import Builder
from nait_index.building.report import BuildProgress, Stage
from nait_index.config import ModelConfig, RunnerConfig, RunnerKind, SignatureConfig
from nait_index.corpus import read_corpus
from nait_index.distributed.runner import runner_for
from nait_index.store.layout import Layout


@click.command()
@click.option("--model", default="minilm", show_default=True, help="minilm, qwen3, tiny or bundled.")
@click.option("--rows", default=12_288, show_default=True)
@click.option("--reservoir", default=1024, show_default=True, help="Rows of the fit.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--workers", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--child", nargs=2, hidden=True, help="Corpus and number of workers of a build; 0 for the local runner.")
def main(
    model: str,
    rows: int,
    reservoir: int,
    max_length: int,
    workers: tuple[int, ...],
    rounds: int,
    child: tuple[str, str] | None,
) -> None:
    """Measure, and write results/workers-MODEL.json."""
    if child is not None:
        click.echo(json.dumps(timed_build(model, Path(child[0]), int(child[1]), reservoir, max_length)))
        return
    names = {0: "local"} | {count: f"ray, {count} worker{'s' * (count > 1)}" for count in workers}
    builds: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(model, Path(scratch))
        corpus = Path(scratch) / "corpus.jsonl"
        lines = (shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        corpus.write_text("".join(lines[:rows]), encoding="utf-8")
        for _ in range(rounds):
            for count, name in names.items():
                builds[name].append(_build(folder, corpus, count, reservoir, max_length))
    settings = {"model": model, "rows": rows, "reservoir": reservoir, "max_length": max_length}
    result = {"environment": environment(), "ray": version("ray"), "threads": torch.get_num_threads()}
    result |= settings | {"builds": builds}
    path = ROOT / "benchmarks" / "results" / f"workers-{model}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def timed_build(model: str, corpus: Path, workers: int, reservoir: int, max_length: int) -> dict[str, Any]:
    """Build once, and return seconds and rates."""
    config = RunnerConfig(RunnerKind.RAY, workers) if workers else RunnerConfig()
    seen: list[tuple[float, int]] = []

    def note(progress: BuildProgress) -> None:
        if progress.stage is Stage.ENCODING:
            seen.append((time.perf_counter(), progress.rows))

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        model_config, signatures = ModelConfig(model, max_length=max_length), SignatureConfig(reservoir=reservoir)
        with Builder(
            Layout(Path(scratch) / "rows.nait"), model_config, signatures, note, runner_for(config)
        ) as builder:
            report = builder.run(read_corpus([corpus]), [corpus.name])
    seconds = time.perf_counter() - started
    # The staged shards come before the fit, after which a Ray cluster's actors start again.
    staged = min(report.rows, 2 * 1024)
    after = [(moment, rows) for moment, rows in seen if rows > staged]
    (first_at, first), (last_at, last) = after[0], after[-1]
    return {
        "seconds": round(seconds, 1),
        "rows per second": round(report.rows / seconds, 1),
        "rows per second once under way": round((last - first) / max(last_at - first_at, 1e-9), 1),
        "seconds until under way": round(first_at - started, 1),
    }


def _build(model: str, corpus: Path, workers: int, reservoir: int, max_length: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.workers", "--model", model, "--reservoir", str(reservoir)]
    command += ["--max-length", str(max_length), "--child", str(corpus), str(workers)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise click.ClickException(finished.stderr[-2000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
