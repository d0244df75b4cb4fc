"""Peak memory of a build at several sizes of corpus: ``python -m benchmarks.speed.memory``.

Every build runs in a process of its own, which records its memory with the model loaded and at the peak after that. The
pool is repeated with new ids for a size beyond its own. The builds of many rows are made up: short
rows, and signatures that no model computed; all else of those builds is real.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.made_up_runner import MadeUpRunner, made_up_rows, write_range
from benchmarks.speed.models import model_folder
from nait_index.building.builder import Builder
from nait_index.building.report import BuildProgress, Stage
from nait_index.building.runner import LocalRunner, OpenRunner
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.corpus import read_corpus
from nait_index.store.layout import Layout
from nait_index.types import Rejected, Sample

_ADDED = 1_000
"""Rows that are added to each index of made-up rows."""

_FIELDS = ("VmRSS", "VmHWM", "RssAnon", "RssFile", "RssShmem")


@click.command()
@click.option("--size", "sizes", type=int, multiple=True, default=(3_000, 30_000), show_default=True)
@click.option("--made-up", type=int, multiple=True, default=(3_000, 30_000, 300_000, 10_000_000), show_default=True)
@click.option("--model", default="tiny", show_default=True, help="tiny, minilm, qwen3 or bundled.")
@click.option("--max-length", default=16, show_default=True)
@click.option("--reservoir", default=2048, show_default=True, help="Rows of the fit; no more than the smallest corpus.")
@click.option("--quick", is_flag=True, help="Only check that it runs: 3,000 made-up rows, nothing is written.")
@click.option("--child", nargs=2, hidden=True, help="Model and corpus of one build to watch.")
@click.option("--child-made-up", is_flag=True, hidden=True)
def main(
    sizes: tuple[int, ...],
    made_up: tuple[int, ...],
    model: str,
    max_length: int,
    reservoir: int,
    quick: bool,
    child: tuple[str, str] | None,
    child_made_up: bool,
) -> None:
    """Measure, and write results/build-memory-MODEL.json, and of made-up rows results/build-growth.json."""
    if child is not None:
        plan = _MADE_UP if child_made_up else Plan(SignatureConfig(reservoir=reservoir), LocalRunner, read_file)
        click.echo(json.dumps(watched_build(child[0], Path(child[1]), max_length, plan)))
        return
    if quick:
        sizes, made_up = (), (3_000,)
    options = ["--max-length", str(max_length), "--reservoir", str(reservoir)]
    with tempfile.TemporaryDirectory(dir=os.environ.get("NAIT_SCRATCH")) as scratch:
        folder = model_folder(model, Path(scratch))

        def measure(wanted: Sequence[int], write: Callable[[Path, int], None], *more: str) -> dict[str, Any]:
            return {str(size): _build(folder, Path(scratch), size, write, [*options, *more]) for size in wanted}

        if sizes:
            settings = {"model": model, "max_length": max_length, "reservoir": reservoir}
            _write(f"build-memory-{model}", settings | {"mebibytes": measure(sizes, _repeat_pool)}, quick=quick)
        if made_up:
            grown = measure(made_up, write_range, "--child-made-up")
            _write("build-growth", {"model": model, "mebibytes": grown}, quick=quick)


def _write(name: str, measured: dict[str, Any], *, quick: bool) -> None:
    result = {"environment": environment()} | measured
    if not quick:
        path = ROOT / "benchmarks" / "results" / f"{name}.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


@dataclass(frozen=True, slots=True)
class Plan:
    """How a watched build is done."""

    signatures: SignatureConfig
    open_runner: OpenRunner
    read: Callable[[Path], Iterable[Sample | Rejected]]


_MADE_UP = Plan(SignatureConfig(views=(View.PCA,), pca_dim=32, fine_dim=32, reservoir=1024), MadeUpRunner, made_up_rows)
"""Few numbers per row, so that ten million fit on a disk and take minutes."""


def watched_build(model: str, corpus: Path, max_length: int, plan: Plan) -> dict[str, Any]:
    """Build once and return MiB: with the model loaded, at the peak, and the peaks of both kinds of memory."""
    config = ModelConfig(model, max_length=max_length)
    stages: dict[str, int] = {}
    seconds: dict[str, float] = {}
    latest = [(Stage.READING, time.monotonic())]

    def note(progress: BuildProgress) -> None:
        stage, began = latest.pop()
        latest.append((progress.stage, time.monotonic()))
        seconds[stage] = seconds.get(stage, 0.0) + latest[0][1] - began
        stages[progress.stage] = max(stages.get(progress.stage, 0), _status()["RssAnon"])

    layout = Layout(corpus.parent / "rows.nait")
    with Builder(layout, config, plan.signatures, note, plan.open_runner) as builder:
        loaded = _status()["VmRSS"]
        started = time.monotonic()
        latest[0] = Stage.READING, started
        with _peaks() as peaks:
            report = builder.run(plan.read(corpus), [corpus.name])
            note(BuildProgress(Stage.FINISHING, 0, 0, 0))
    peak = _status()["VmHWM"]
    return {
        "rows": report.rows,
        "seconds": round(latest[0][1] - started, 1),
        "processor seconds": round(sum(os.times()[:2]), 1),
        "with the model": loaded,
        "peak": peak,
        "beyond the model": peak - loaded,
        "peak of anonymous memory": peaks["RssAnon"],
        "peak of mapped files": peaks["RssFile"],
        "most anonymous memory seen at signs of progress, by stage": stages,
        "seconds by stage": {stage: round(spent, 1) for stage, spent in seconds.items()},
    }


@contextmanager
def _peaks() -> Iterator[dict[str, int]]:
    """Sample the memory of this process every 50 ms."""
    peaks = dict.fromkeys(_FIELDS, 0)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for name, value in _status().items():
                peaks[name] = max(peaks[name], value)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _status() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) // 1024 for name in _FIELDS}


def read_file(path: Path) -> Iterator[Sample | Rejected]:
    """Read a file as a build does."""
    return read_corpus([path])


def _repeat_pool(path: Path, size: int) -> None:
    with (shared_data() / "pool.jsonl").open(encoding="utf-8") as lines, path.open("w") as file:
        rows = [json.loads(line) for line in lines]
        file.writelines(
            json.dumps(row | {"id": str(number)}) + "\n" for number, row in enumerate(islice(cycle(rows), size))
        )


def _build(
    model: str, scratch: Path, size: int, write: Callable[[Path, int], None], options: Sequence[str]
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        corpus = Path(folder) / "rows.jsonl"
        write(corpus, size)
        built = _run(model, corpus, options)
        if write is write_range:
            write_range(corpus, _ADDED, size)
            built["addition"] = _run(model, corpus, options)
    return built


def _run(model: str, corpus: Path, options: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.memory", *options, "--child", model, str(corpus)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise click.ClickException(finished.stderr[-2000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
