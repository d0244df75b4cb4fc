"""Runs in several processes with one thread each, which is faster here than one process with two threads."""

import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality.fine_tune import FineTuner, Recipe
from benchmarks.quality.materials import Materials, load_model
from benchmarks.quality.tokens import TokenizedRows


@dataclass(frozen=True)
class Task:
    """One run.

    :param label: arm, capability and seed, for people. :param chosen: positions in the pool; none for no training.
    :param held_out: positions of the rows to measure on, by capability.
    """

    key: str
    label: str
    seed: int
    chosen: np.ndarray
    held_out: Mapping[str, Sequence[int]]


class Worker:
    """Does runs one at a time."""

    def __init__(self, tuner: FineTuner, pool: TokenizedRows, held: TokenizedRows) -> None:
        self._tuner = tuner
        self._pool = pool
        self._held = held

    def run(self, task: Task) -> dict[str, Any]:
        """Train, measure, and return the record; its seconds are CPU time, however busy the machine is."""
        started = time.process_time()
        fresh = len(task.chosen) == 0
        model = self._tuner.fresh() if fresh else self._tuner.train(self._pool, task.chosen, task.seed)
        return {
            "key": task.key,
            "label": task.label,
            "rows": len(task.chosen),
            "answer_share": None if fresh else round(self._answer_share(task.chosen), 4),
            "measured": {name: self._measure(model, rows) for name, rows in task.held_out.items()},
            "seconds": round(time.process_time() - started, 2),
        }

    def _measure(self, model: Any, rows: Sequence[int]) -> dict[str, Any]:  # noqa: ANN401 - transformers is untyped here
        losses = self._tuner.evaluate(model, self._held, rows)
        return {
            "answer": losses.answer.round(4).tolist(),
            "whole": losses.whole.round(4).tolist(),
            "exact": int(losses.exact.sum()),
            "answer_tokens": losses.answer_tokens,
        }

    def _answer_share(self, chosen: np.ndarray) -> float:
        lengths = self._pool.lengths()
        answers = np.add.reduceat(self._pool.answer, self._pool.starts[:-1], dtype=int)
        return float(answers[chosen].sum() / lengths[chosen].sum())


@dataclass(frozen=True)
class Cost:
    """CPU seconds that a run takes, and that the model takes to read a token."""

    run: float
    token: float


def estimate_cost(materials: Materials, model: str, recipe: Recipe, held_out: Mapping[str, Sequence[int]]) -> Cost:
    """Estimate from a few steps after a warm-up, and from the measurement of one capability."""
    torch.set_num_threads(1)
    tuner = FineTuner(load_model(model), replace(recipe, steps=3))
    for _ in range(2):
        started = time.process_time()
        trained = tuner.train(materials.pool, range(len(materials.pool)), 0)
        a_step = (time.process_time() - started) / 3
    lengths = materials.held.lengths()
    rows = max(held_out.values(), key=len)
    started = time.process_time()
    tuner.evaluate(trained, materials.held, rows)
    a_token = float((time.process_time() - started) / lengths[rows].sum())
    every = sum(int(lengths[places].sum()) for places in held_out.values())
    return Cost(a_step * recipe.steps + a_token * every, a_token)


def run_all(
    tasks: Sequence[Task], files: tuple[Path, Path], model: str, recipe: Recipe, processes: int
) -> Iterator[Any]:
    """Do the tasks, and yield their records as they end.

    :param files: with the tokens of the pool and of the capabilities.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _start, (files, model, recipe)) as pool:
        yield from pool.imap_unordered(_run, tasks)


_worker: Worker | None = None
"""The worker of this process; set by :func:`_start`."""


def _start(files: tuple[Path, Path], model: str, recipe: Recipe) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the processes
    torch.set_num_threads(1)
    _worker = Worker(FineTuner(load_model(model), recipe), *(TokenizedRows.load(path) for path in files))


def _run(task: Task) -> dict[str, Any]:
    assert _worker is not None
    return _worker.run(task)
