"""Searches by the workers of a cluster compared with those of one process, in a process of its own: see test_ray.py.

python ray_searches.py HERE THERE [KEY=VALUE...]
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nait_index import NaitIndex
from nait_index.config import RunnerConfig, RunnerKind
from nait_index.selection import blocks

NAMES = ("one", "other")


def descendants(process: int, title: str = "") -> list[int]:
    """Return the processes that one started, directly or indirectly."""
    parents, titles = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:
                continue
    tree = {process}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return [pid for pid in tree - {process} if title in titles[pid]]


def results_of(index: NaitIndex) -> dict[str, Any]:
    """Search in every way that goes through scans."""
    results: dict[str, Any] = {}
    for method in ("probe", "nait", "nas"):  # of several columns, rescored near the cut, and divided row by row
        for top, where in (("10%", None), ("7", "position % 3 < 2")):
            chosen = index.query("one", method=method, top=top, where=where)
            results[f"{method} {top}"] = (chosen.ids, np.array(chosen.scores).tobytes())
    active = index.query("one", method="nag")  # of sparse signatures
    results["nag"] = (active.ids, active.scores)
    diverse = index.cover(top="20%", rare=True)
    assert diverse.provenance.coverage is not None
    assert diverse.provenance.coverage.blocks > 4
    results["cover"] = (diverse.ids, diverse.scores, diverse.details)
    cleaned = index.query("one", decontaminate=True, dedup=0.9)
    core = index.core(NAMES, top="5", bootstrap=2)
    results |= {"cleaned": (cleaned.ids, cleaned.scores), "core": (core.ids, core.scores, core.details)}
    return results | {"compared": index.compare(NAMES).to_dict()}


def main(here: str, there: str, *options: str) -> None:
    """Search an earlier version and the last one with two workers, lose them, and search elsewhere with four."""
    import ray

    blocks._TOGETHER, blocks._BLOCK = 8000, 2000
    storage = dict(option.split("=", 1) for option in options)
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error")
    two, four = (RunnerConfig(RunnerKind.RAY, workers) for workers in (2, 4))
    before, wanted = results_of(NaitIndex(here, version="before")), results_of(NaitIndex(here))
    assert before != wanted
    assert results_of(NaitIndex(here, version="before", runner=two)) == before
    index = NaitIndex(here, runner=two)
    assert results_of(index) == wanted
    workers = descendants(os.getpid(), "ray::ScanWorker")
    for process in workers:
        os.kill(process, signal.SIGKILL)
    assert results_of(index) == wanted
    assert not {*workers} & {*descendants(os.getpid(), "ray::ScanWorker")}
    index = NaitIndex(there, storage=storage, runner=four)
    assert results_of(index) == wanted
    plan = index.query("one").provenance.plan
    assert plan is not None
    assert plan.endswith("by 4 workers, each its share of the rows"), plan
    assert len([*index.layout.engines.glob("*-of-4")]) == 4


if __name__ == "__main__":
    main(*sys.argv[1:])
