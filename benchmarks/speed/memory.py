"""Peak memory of a build at several sizes of corpus: ``python -m benchmarks.speed.memory``.

Every build runs in a process of its own, which records its memory with the model loaded and at the peak after that. The
pool is repeated with new ids, so that 300,000 rows are as varied as the pool.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder
from nait_index.building.builder import Builder
from nait_index.building.report import BuildProgress
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.corpus import read_corpus
from nait_index.store.layout import Layout

_FIELDS = ("VmRSS", "VmHWM", "RssAnon", "RssFile")


@click.command()
@click.option("--size", "sizes", type=int, multiple=True, default=(3_000, 30_000, 300_000), show_default=True)
@click.option("--model", default="tiny", show_default=True, help="tiny, minilm, qwen3 or bundled.")
@click.option("--max-length", default=16, show_default=True)
@click.option("--reservoir", default=2048, show_default=True, help="Rows of the fit; no more than the smallest corpus.")
@click.option("--child", nargs=2, hidden=True, help="Model and corpus of one build to watch.")
def main(sizes: tuple[int, ...], model: str, max_length: int, reservoir: int, child: tuple[str, str] | None) -> None:
    """Measure, and write results/build-memory-MODEL.json."""
    if child is not None:
        click.echo(json.dumps(watched_build(child[0], Path(child[1]), max_length, reservoir)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = model_folder(model, Path(scratch))
        builds = {str(size): _build(folder, _corpus(Path(scratch), size), max_length, reservoir) for size in sizes}
    settings = {"model": model, "max_length": max_length, "reservoir": reservoir}
    result = {"environment": environment()} | settings | {"mebibytes": builds}
    path = ROOT / "benchmarks" / "results" / f"build-memory-{model}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def watched_build(model: str, corpus: Path, max_length: int, reservoir: int) -> dict[str, Any]:
    """Build once and return MiB: with the model loaded, at the peak, and the peaks of both kinds of memory."""
    config = ModelConfig(model, max_length=max_length)
    stages: dict[str, int] = {}

    def note(progress: BuildProgress) -> None:
        stages[progress.stage] = max(stages.get(progress.stage, 0), _status()["RssAnon"])

    with Builder(Layout(corpus.parent / "rows.nait"), config, SignatureConfig(reservoir=reservoir), note) as builder:
        loaded = _status()["VmRSS"]
        started = time.monotonic()
        with _peaks() as peaks:
            report = builder.run(read_corpus([corpus]), [corpus.name])
    peak = _status()["VmHWM"]
    return {
        "rows": report.rows,
        "seconds": round(time.monotonic() - started, 1),
        "with the model": loaded,
        "peak": peak,
        "beyond the model": peak - loaded,
        "peak of anonymous memory": peaks["RssAnon"],
        "peak of mapped files": peaks["RssFile"],
        "most anonymous memory seen at signs of progress, by stage": stages,
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


def _corpus(scratch: Path, size: int) -> Path:
    folder = scratch / str(size)
    folder.mkdir()
    with (shared_data() / "pool.jsonl").open(encoding="utf-8") as lines, (folder / "rows.jsonl").open("w") as file:
        rows = [json.loads(line) for line in lines]
        file.writelines(
            json.dumps(row | {"id": str(number)}) + "\n" for number, row in enumerate(islice(cycle(rows), size))
        )
    return folder / "rows.jsonl"


def _build(model: str, corpus: Path, max_length: int, reservoir: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.memory", "--max-length", str(max_length)]
    command += ["--reservoir", str(reservoir), "--child", model, str(corpus)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if finished.returncode:
        raise click.ClickException(finished.stderr[-2000:])
    measured: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    main()
