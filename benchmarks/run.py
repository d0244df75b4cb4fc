"""Run the measurements of costs one after the other: ``python -m benchmarks.run``; writes results/durations.json.

The file says how long each part took. ``--resume`` goes on after the parts that it names.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from benchmarks.environment import ROOT, environment, shared_data
from benchmarks.speed.models import model_folder

RESULT = ROOT / "benchmarks" / "results" / "durations.json"
_INDEX = ROOT / "benchmarks" / ".cache" / "pool-bundled.nait"

PARTS = (
    "speed.build minilm --rounds 3",
    "speed.build qwen3 --rows 128 --rounds 3 --script-rows 16",
    "speed.fit",
    "search.engines",
    "speed.large",
    "speed.cover loss",
    "speed.cover shell",
    "search.speed --huge",
    "search.shares",
    "speed.renewal",
    "speed.filters",
    "speed.workers",
    "pool bundled --model bundled --keep {index}",
    "sparse --index {index}",
    "pool minilm --model {minilm}",
    "speed.forecast demo",
    "speed.forecast minilm --model {minilm} --corpus {data}/pool.jsonl --rows 400 --max-length 128",
    "speed.precision minilm",
    "speed.memory",
    "fidelity.explanations bundled --model bundled --index {index}",
    "fidelity.curves minilm --model {minilm}",
    "fidelity.curves bundled --model bundled",
    "fidelity.corpus_shift bundled --model bundled",
)
"""Modules of this package with their options, first those that compare seconds."""

ON_A_GPU = ("speed.gpu",)

TRIALS = (
    "search.speed --quick",
    "search.engines --quick",
    "search.shares --quick",
    "speed.fit --quick",
    "speed.renewal --quick",
    "speed.memory --quick",
    "speed.filters --quick",
    "speed.large --quick",
    "sparse --quick",
    "speed.gpu --quick",
    "speed.cover loss --quick",
    "speed.cover shell --quick",
)

TRIALS_ON_DATA = (
    "quality.retrieval quick --quick",
    "quality.capture quick --quick",
    "quality.teaching --quick",
    "fidelity.curves quick --quick --model bundled --rows 700 --reservoir 400 --max-length 48",
)


@click.command()
@click.option("--resume", is_flag=True, help="Leave out what results/durations.json names.")
@click.option("--quick", is_flag=True, help="Only check that the measurements run, on little; nothing is written.")
def main(resume: bool, quick: bool) -> None:
    """Run every part; end with 1 if one failed."""
    sys.exit("\n".join(f"failed: {part}" for part in (_try_all() if quick else _measure_all(resume))) or 0)


def _measure_all(resume: bool) -> list[str]:
    names = {"minilm": model_folder("minilm", ROOT), "data": shared_data(), "index": _INDEX}
    begun = resume and RESULT.is_file()
    result: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if begun else {"parts": {}}
    failed = []
    for part in (*PARTS, *(ON_A_GPU if _has_gpu() else ())):
        if part in result["parts"]:
            continue
        click.echo(part, err=True)
        if "--keep" in part:
            shutil.rmtree(_INDEX, ignore_errors=True)
        seconds = _run(part, names)
        if seconds is None:
            failed.append(part)
            continue
        result["environment"] = environment()
        result["parts"][part] = {"seconds": round(seconds, 1), "commit": result["environment"]["commit"]}
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return failed


def _try_all() -> list[str]:
    trials = list(TRIALS)
    try:
        shared_data()
        trials += TRIALS_ON_DATA
    except SystemExit as missing:
        click.echo(f"measurements on real data are not tried: {missing}", err=True)
    return [part for part in trials if _run(part) is None]


def _run(part: str, names: Mapping[str, object] = MappingProxyType({})) -> float | None:
    """Run a part, and return its seconds; if it fails, print what it printed and return None.

    :param names: what stands for the words in braces.
    """
    module, *options = (word.format(**names) for word in part.split())
    started = time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        click.echo(done.stdout, err=True)
        return None
    return time.perf_counter() - started


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()
