"""Fixtures of the tests of faults; the counts are printed at the end."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import NOT_FINITE, small_rows, write_lines

pytest.register_assert_rewrite("faults.states", "faults.trials", "faults.setting")

from faults.setting import (  # noqa: E402
    ADDED,
    COUNTS,
    LONG,
    MOMENTS,
    ROWS,
    Counts,
    Files,
    command,
    messy,
    poison,
    run_here,
)
from faults.trials import Zygote  # noqa: E402


@pytest.fixture(scope="session")
def counts() -> Counts:
    return COUNTS


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the counts of the long form, and write them where they are asked for."""
    path = os.environ.get("NAIT_FAULTS_REPORT")
    if not COUNTS.values or not (LONG or path):
        return
    from benchmarks.environment import environment

    failed = len(terminalreporter.stats.get("failed", [])) + len(terminalreporter.stats.get("error", []))
    for is_moments in (False, True):
        counted = {kind: counts for kind, counts in COUNTS.values.items() if kind.startswith(MOMENTS) is is_moments}
        report = {"failed": failed, "environment": environment()}
        report |= {"counts": {kind: dict(sorted(outcomes.items())) for kind, outcomes in counted.items()}}
        text = json.dumps(report, indent=1)
        terminalreporter.write_line(text)
        if path and counted:  # kills between writes are counted in a file of their own
            target = Path(path).with_name("moments.json") if is_moments else Path(path)
            target.write_text(text + "\n", encoding="utf-8")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Draw the same each time, in the long form differently; a failing draw is shown, for ``NAIT_FAULTS_SEED``."""
    seed = int(os.environ.get("NAIT_FAULTS_SEED") or (random.SystemRandom().randrange(10**6) if LONG else 0))
    print(f"NAIT_FAULTS_SEED={seed}")  # noqa: T201  # pytest shows it where the test fails
    return random.Random(seed)


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Compile ``moments.c``; ``None`` where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library, source = tmp_path_factory.mktemp("moments") / "moments.so", Path(__file__).parent / "moments.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def zygote(moments: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    started = Zygote(tmp_path_factory.mktemp("zygote"), moments)
    yield started
    started.close()


# ---- a model and corpora ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def model(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a model whose embeddings of some rare tokens are NaN or infinite, as damaged weights may be."""
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path_factory.mktemp("poisoned") / "model"))
    poison(folder, NOT_FINITE)
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("files")
    changed = [row | {"output": f"Something else: {row['output']}"} for row in small_rows(20)]
    scores = [{"id": f"row-{number:03}", "value": number / 7} for number in range(ROWS)]
    return Files(
        write_lines(folder / "corpus.jsonl", messy(small_rows(ROWS))),
        write_lines(folder / "more.jsonl", messy(small_rows(ADDED, first=ROWS))),
        write_lines(folder / "changed.jsonl", [*changed, *small_rows(4, first=ROWS)]),
        write_lines(folder / "examples.jsonl", small_rows(6, first=500)),
        write_lines(folder / "scores.jsonl", scores),
    )


# ---- commands, and indexes that nothing happened to ---------------------------------------------------------------


@pytest.fixture(scope="session")
def wholes(files: Files, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the outcome of each kind of change without a fault; ``base`` is what additions start from."""
    folder = tmp_path_factory.mktemp("wholes")
    built = folder / "build.nait"
    run_here(command("build", built, files, model))
    base = Path(shutil.copytree(built, folder / "base.nait"))
    run_here(["capability", "add", str(base), "own", str(files.examples)])
    made = {"build": built, "base": base}
    for kind in ("add", "add --replace", "remove", "capability"):
        made[kind] = Path(shutil.copytree(base, folder / f"{kind.replace(' ', '')}.nait"))
        run_here(command(kind, made[kind], files, model), fragments=2)
    return made
