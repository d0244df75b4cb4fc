"""The runs of a measurement: every arm, for every capability it chooses for, with every seed."""

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
class Place:
    """Which run of the measurement: :param capability: that rows were chosen for, if the arm chooses for one."""

    arm: Arm
    capability: str | None
    seed: int

    def __str__(self) -> str:
        return f"{self.arm} {self.capability or 'all'} seed {self.seed}"


def places(arms: Sequence[Arm], capabilities: Sequence[str], seeds: int) -> list[Place]:
    """List the runs, seed after seed, so that what is done when one stops early is whole seeds."""
    return [
        Place(arm, capability, seed)
        for seed in range(seeds)
        for arm in arms
        for capability in (capabilities if arm.targeted else [None])
    ]


class Planner:
    """Makes tasks of places.

    :param held_out: how many rows of each capability to measure on.
    """

    def __init__(self, materials: Materials, rankings: Rankings, recipe: Recipe, held_out: int) -> None:
        self._materials = materials
        self._rankings = rankings
        self._recipe = recipe
        self._held_out = held_out

    def task(self, place: Place) -> Task:
        """Choose the rows of a run; equal rows, seed and recipe make an equal key, whatever chose them."""
        chosen = self._chosen(place)
        held_out = self._materials.held_out(place.seed, self._held_out)
        key = digest(asdict(self._recipe), self._materials.sources, place.seed, chosen.tobytes(), held_out)
        return Task(key, str(place), place.seed, chosen, held_out)

    def _chosen(self, place: Place) -> np.ndarray:
        def ranked(capability: str) -> np.ndarray:
            examples = self._materials.examples(capability, place.seed, place.arm.examples)
            return self._rankings.ranking(str(place.arm.method), capability, examples)

        every = list(self._materials.rows)
        return choose(place.arm, place.capability, every, ranked, len(self._materials.ids), place.seed).astype(np.int32)
