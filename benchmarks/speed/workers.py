"""Processes of this machine and workers of a Ray cluster compared: ``python -m benchmarks.speed.workers``.

Every build is a process of its own, as from the command line; a cluster is one of this machine alone. All build one
index, so their rates are comparable; the seconds before the first shard is committed, in which processes start and load
the model, are reported separately from the rate after. On one machine without a GPU, workers share its cores: there
this measures what they cost, not what they gain.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.building.builder import Builder
from nait_index.building.report import BuildProgress, Stage
from nait_index.config import ModelConfig, RunnerConfig, RunnerKind, SignatureConfig
from nait_index.corpus import read_corpus
from nait_index.distributed.runner import runner_for
from nait_index.store.layout import Layout

ENGINES = {
    "one process": RunnerConfig(),
    "--devices cpu": RunnerConfig(devices=("cpu",)),
    "--devices cpu,cpu": RunnerConfig(devices=("cpu", "cpu")),
    "ray, 1 worker": RunnerConfig(RunnerKind.RAY, 1),
    "ray, 2 workers": RunnerConfig(RunnerKind.RAY, 2),
}

_THREADS = 1
"""Of torch in every process, so that two share two cores."""


@click.command()
@click.option("--model", default="bundled", show_default=True, help="minilm, qwen3, tiny or bundled.")
@click.option("--rows", default=8192, show_default=True)
@click.option("--reservoir", default=1024, show_default=True, help="Rows of the fit.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--rounds", default=1, show_default=True)
@click.option("--at-most", type=int, help="Builds of this run; the next run goes on where it ends.")
@click.option("--child", nargs=2, hidden=True, help="Corpus and engine of a build.")
def main(
    model: str,
    rows: int,
    reservoir: int,
    max_length: int,
    rounds: int,
    at_most: int | None,
    child: tuple[str, str] | None,
) -> None:
    """Measure, and write results/workers-MODEL.json after every build."""
    if child is not None:
        click.echo(json.dumps(timed_build(model, Path(child[0]), ENGINES[child[1]], reservoir, max_length)))
        return
    settings = {"threads": _THREADS, "model": model, "rows": rows, "reservoir": reservoir}
    settings |= {"max_length": max_length, "rounds": rounds}
    path = ROOT / "benchmarks" / "results" / f"workers-{model}.json"
    result = begun(path, settings)
    left = [name for number in range(rounds) for name in ENGINES if len(result["builds"][name]) == number]
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(model, Path(scratch))
        corpus = Path(scratch) / "corpus.jsonl"
        lines = (shared_data() / "pool.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        corpus.write_text("".join(lines[:rows]), encoding="utf-8")
        for name in left[:at_most]:
            result["builds"][name].append(_build(folder, corpus, name, reservoir, max_length))
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def begun(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier run of the same settings has measured, unless it has finished; else an empty result."""
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = all(known.get(name) == value for name, value in settings.items()) and [*known["builds"]] == [*ENGINES]
    if same and any(len(builds) < settings["rounds"] for builds in known["builds"].values()):
        return known
    builds: dict[str, list[Any]] = {name: [] for name in ENGINES}
    return {"environment": environment(), "ray": version("ray")} | settings | {"builds": builds}


def timed_build(model: str, corpus: Path, config: RunnerConfig, reservoir: int, max_length: int) -> dict[str, Any]:
    """Build once, and return seconds and rates."""
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


def _build(model: str, corpus: Path, engine: str, reservoir: int, max_length: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.workers", "--model", model, "--reservoir", str(reservoir)]
    command += ["--max-length", str(max_length), "--child", str(corpus), engine]
    threads = os.environ | {"OMP_NUM_THREADS": str(_THREADS)}
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=threads, check=False)
    if finished.returncode:
        raise click.ClickException(finished.stderr[-2000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
