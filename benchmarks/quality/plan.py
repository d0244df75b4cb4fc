"""The runs of a measurement: each arm, for each capability that it chooses for, with each seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.quality.arms import Arm, choose
from benchmarks.quality.fine_tune import Recipe
from benchmarks.quality.materials import Materials
from benchmarks.quality.rankings import Rankings
from benchmarks.quality.run_cache import digest
from benchmarks.quality.work import Task


@dataclass(frozen=True)
class RunSpec:
    """One run of the measurement.

    :param capability: the one that rows are chosen for, if the arm chooses for one.
    """

    arm: Arm
    capability: str | None
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} {self.capability or 'all'} seed {self.seed}"


def run_specs(arms: Sequence[Arm], capabilities: Sequence[str], seeds: int) -> list[RunSpec]:
    """List the runs seed by seed, so that an early stop leaves whole seeds."""
    return [
        RunSpec(arm, capability, seed)
        for seed in range(seeds)
        for arm in arms
        for capability in (capabilities if arm.targeted else [None])
    ]


class Planner:
    """Makes the tasks of runs.

    :param held_out: how many rows of each capability to measure on.
    """

    def __init__(self, materials: Materials, rankings: Rankings, recipe: Recipe, held_out: int) -> None:
        self._materials = materials
        self._rankings = rankings
        self._recipe = recipe
        self._held_out = held_out

    def task(self, spec: RunSpec) -> Task:
        """Choose the rows of a run; equal rows, seed and recipe give the same key, however they were chosen."""
        chosen = self._chosen(spec)
        held_out = self._materials.held_out(spec.seed, self._held_out)
        key = digest(asdict(self._recipe), self._materials.sources, spec.seed, chosen.tobytes(), held_out)
        return Task(key, str(spec), spec.seed, chosen, held_out)

    def _chosen(self, spec: RunSpec) -> np.ndarray:
        def ranked(capability: str) -> np.ndarray:
            examples = self._materials.examples(capability, spec.seed, spec.arm.examples)
            return self._rankings.ranking(str(spec.arm.method), capability, examples)

        every = list(self._materials.rows)
        return choose(spec.arm, spec.capability, every, ranked, len(self._materials.ids), spec.seed).astype(np.int32)
