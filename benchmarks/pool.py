"""The main job on the real pool, through the command line: ``python -m benchmarks.pool NAME --model MODEL``.

Builds an index of 29,581 instruction rows, stores nine capabilities, queries one, and computes the core of three. How
well each method finds the right rows is measured in :mod:`benchmarks.quality`. ``--corpus`` names other rows;
``--built`` measures an index that exists, such as that of a large model, with what its build printed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT, environment, shared_data
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.index import NaitIndex

GROUPS = {
    "gsm8k": "math",
    "humaneval": "code",
    "bbh": "reasoning",
    "general": "general",
    "translation": "translation",
    "multilingual_qa": "multilingual_qa",
    "knowledge": "knowledge",
    "tool_use": "tool_use",
    "roleplay": "dialogue",
}
CORE = ("gsm8k", "humaneval", "knowledge")
VIEWS = (View.PCA, View.TOPK, View.HIDDEN, View.WORDS)


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Folder of the model, or 'bundled'.")
@click.option("--max-length", default=256, show_default=True)
@click.option("--limit", type=int, help="Only the first rows of the pool, to try it out.")
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), help="The rows. Default: the pool.")
@click.option("--keep", type=click.Path(path_type=Path), help="Build the index here and keep it.")
@click.option(
    "--built",
    type=click.Path(path_type=Path, exists=True),
    nargs=3,
    metavar="INDEX JSON LOG",
    help="An index, what its build printed with --json, and what /usr/bin/time -v printed of it.",
)
@click.option("--build-only", is_flag=True, help="Store and query no capability, which takes long with a large model.")
def main(
    name: str,
    model: str,
    max_length: int,
    limit: int | None,
    corpus: Path | None,
    keep: Path | None,
    built: tuple[Path, Path, Path] | None,
    build_only: bool,
) -> None:
    """Run the measurement and write results/pool-NAME.json."""
    with tempfile.TemporaryDirectory() as scratch:
        index = keep or Path(scratch) / "pool.nait"
        result = {"environment": environment(), "model": name, "max_length": max_length}
        if built:
            index, build = built[0], FinishedProcess.read(*built[1:])
        else:
            source = corpus or shared_data() / "pool.jsonl"
            arguments = ["--model", model, "--max-length", str(max_length)] + (["--limit", str(limit)] if limit else [])
            build = _run("build", str(index), str(source), *arguments)
        result |= build_facts(index, build)
        if not build_only:
            result |= measure(index, Path(scratch))
    path = ROOT / "benchmarks" / "results" / f"pool-{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    click.echo(json.dumps(result, indent=1))


def build_facts(index: Path, build: "FinishedProcess") -> dict[str, Any]:
    """Return what a build took and made."""
    built, facts = json.loads(build.output), NaitIndex(index).info()
    return {
        "build": built
        | {
            "wall_seconds": round(build.seconds, 1),
            "tokens_per_second": round(built["tokens"] / built["seconds"]),
            "tokens_per_cpu_second": round(built["tokens"] / build.cpu_seconds),
            "peak_memory_gib": round(build.peak_mib / 1024, 2),
        },
        "bytes_per_row": {name: view["bytes_per_row"] for name, view in facts["views"].items()},
        "size_on_disk": facts["size_on_disk"],
    }


def measure(index: Path, scratch: Path) -> dict[str, Any]:
    """Store the capabilities in an index, query one, and compute the core."""
    data = shared_data()
    stored_before = {summary["name"] for summary in NaitIndex(index).capabilities()}
    for capability in GROUPS:
        if capability not in stored_before:
            file = data / "capabilities" / f"{capability}.jsonl"
            _run("capability", "add", str(index), capability, str(file), machine=False)
    output = ["--force", "-o", str(scratch / "out.jsonl")]
    from_file = _run("query", str(index), "-e", str(data / "capabilities" / "gsm8k.jsonl"), *output)
    stored = [_run("query", str(index), "-c", "gsm8k", *output) for _ in range(5)]
    return {
        "query_seconds": {
            "file of 400 examples": round(from_file.seconds, 2),
            "stored": round(min(run.seconds for run in stored), 2),
        },
        "query_memory_mib": {
            "peak": round(max(run.peak_mib for run in stored)),
            "engine file": round(next((index / "engine").glob("*/pca_unit.npy")).stat().st_size / 2**20),
        },
        "core": core(NaitIndex(index)),
    }


def core(index: NaitIndex) -> dict[str, Any]:
    """Return the size of the core, the size expected by chance, and the groups of its rows."""
    selection = index.core(CORE)
    groups = Counter(_group(row) for row in selection.rows())
    figures: dict[str, Any] = selection.provenance.to_dict()["core"]
    return figures | {"capabilities": list(CORE), "groups": dict(groups.most_common())}


def _group(row: str) -> str:
    group: str = json.loads(row)["group"]
    return group


@dataclass(frozen=True)
class FinishedProcess:
    """A finished process: seconds from start to end and of computing, peak resident memory, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str

    @classmethod
    def read(cls, output: Path, log: Path) -> "FinishedProcess":
        """Read what an earlier process printed, and what ``/usr/bin/time -v`` printed of it."""
        text = log.read_text(encoding="utf-8")
        elapsed = re.search(r"Elapsed \(wall clock\).*: ([\d:.]+)$", text, re.MULTILINE)
        peak = re.search(r"Maximum resident set size \(kbytes\): (\d+)", text)
        computing = re.findall(r"(?:User|System) time \(seconds\): ([\d.]+)", text)
        if elapsed is None or peak is None:
            raise click.ClickException(f"{log} does not hold what /usr/bin/time -v prints")
        seconds = 0.0
        for part in elapsed[1].split(":"):
            seconds = 60 * seconds + float(part)
        return cls(seconds, sum(map(float, computing)), int(peak[1]) / 1024, output.read_text(encoding="utf-8"))


def _run(*words: str, machine: bool = True) -> FinishedProcess:
    """Run the command line."""
    started = time.monotonic()
    command = [str(Path(sys.executable).parent / "nait-index"), *words, *(["--json"] if machine else [])]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise click.ClickException(errors.read().strip())
    computing = usage.ru_utime + usage.ru_stime
    return FinishedProcess(time.monotonic() - started, computing, usage.ru_maxrss / 1024, output)


def build_index(path: Path, model: str, limit: int | None) -> NaitIndex:
    """Build an index of the pool's first rows for the measurements of quality, or open it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    config, signatures = ModelConfig(model, max_length=256), SignatureConfig(views=VIEWS)
    return NaitIndex.build(path, shared_data() / "pool.jsonl", model=config, signatures=signatures, limit=limit)


if __name__ == "__main__":
    main()
