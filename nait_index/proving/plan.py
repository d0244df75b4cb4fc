"""The plan of a proof: which arms choose rows, for which capabilities, with which seeds; and what its runs cost.

Every arm is a way to choose rows. For each seed, half of a capability's examples are shown to the arms, and a copy of
the model is fine-tuned on what each of them chooses. Runs of one seed differ in the choice alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nait_index.errors import SelectionError
from nait_index.proving.heldout import HeldOut, hold_out, split
from nait_index.proving.lessons import CoursePlanner, LessonMaker, Read, plan_course
from nait_index.proving.recipe import TuningRecipe
from nait_index.proving.runs import Bench, Run
from nait_index.types import Sample

RANDOM, BM25 = "random", "bm25"

Choose = Callable[[str | None, int], np.ndarray]
"""Returns the ordinals of the rows chosen for a capability, or for all of them, with a seed."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to choose rows.

    :param choose: ``None`` for no training at all. :param targeted: whether it chooses for one capability at a time.
    """

    name: str
    choose: Choose | None = None
    targeted: bool = True


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """What is run.

    :param capabilities: the examples of each. :param held_out: measure on at most this many of the held-out ones.
    :param kinds: of every example, by capability, where those of one kind have the same possible answers.
    :param generate: capabilities whose answers are generated too, and compared with the right ones.
    :param course: draws what a run reads of its choice.
    """

    arms: tuple[Arm, ...]
    capabilities: Mapping[str, Sequence[Sample]]
    seeds: int = 3
    held_out: int = 32
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    generate: frozenset[str] = frozenset()
    course: CoursePlanner = plan_course


@dataclass(frozen=True, slots=True)
class Planned:
    """The runs of a plan, seed by seed, so that an early stop leaves whole seeds.

    :param select_seconds: how long each arm took to choose, on average, by its name.
    """

    runs: tuple[Run, ...]
    select_seconds: Mapping[str, float]

    @property
    def train_tokens(self) -> int:
        """Tokens that all runs are trained on, prompts included."""
        return sum(run.course.tokens for run in self.runs if run.course is not None)


def plan_runs(plan: ProofPlan, rows: int, recipe: TuningRecipe, maker: LessonMaker, read: Read) -> Planned:
    """Let every arm choose, and draw what each run reads.

    :param rows: number of rows of the corpus; :param read: reads some of them as lessons.
    """
    runs: list[Run] = []
    seconds: dict[str, list[float]] = {}
    for seed in range(plan.seeds):
        held = {name: _held_out(plan, name, seed, maker) for name in plan.capabilities}
        for arm in plan.arms:
            for target in plan.capabilities if arm.targeted else [None]:
                started = time.monotonic()
                chosen = None if arm.choose is None else arm.choose(target, seed)
                seconds.setdefault(arm.name, []).append(time.monotonic() - started)
                course = None if chosen is None else plan.course(chosen, rows, seed, recipe, read)
                runs.append(Run(arm.name, target, seed, course, held if target is None else {target: held[target]}))
    return Planned(tuple(runs), {name: float(np.mean(times)) for name, times in seconds.items()})


def _held_out(plan: ProofPlan, name: str, seed: int, maker: LessonMaker) -> HeldOut:
    samples = plan.capabilities[name]
    rows = split(len(samples), seed)[1][: plan.held_out]
    held = replace(hold_out(samples, rows, maker, plan.kinds.get(name)), generate=name in plan.generate)
    if not any(lesson.answer_length for lesson in held.lessons):
        raise SelectionError(f"no held-out example of '{name}' has an answer within --max-length; give a larger one")
    return held


@dataclass(frozen=True, slots=True)
class Cost:
    """The estimated cost of the runs that are missing: how many they are, and seconds in all."""

    runs: int
    seconds: float


def estimate_cost(bench: Bench, planned: Planned) -> Cost:
    """Estimate from one step of one run, and from measuring one capability."""
    missing = [run for run in planned.runs if bench.store.get(bench.key(run)) is None]
    trained = [run for run in missing if run.course is not None]
    if not missing:
        return Cost(0, 0.0)
    sample = max(trained or missing, key=lambda run: 0 if run.course is None else run.course.tokens)
    first = None if sample.course is None else replace(sample.course, steps=sample.course.steps[:1])
    name = next(iter(sample.held_out))
    held = replace(sample.held_out[name], options=())
    few = replace(held, lessons=held.lessons[:8])
    tried = bench.do(replace(sample, course=first, held_out={name: few}))
    read = sum(len(lesson.ids) for lesson in few.lessons)
    a_measured = tried.measure_seconds / max(1, read)
    a_trained = 0.0 if first is None else tried.train_seconds / max(1, first.tokens)
    seconds = 0.0
    for run in missing:
        lessons = [lesson for of_one in run.held_out.values() for lesson in (*of_one.lessons, *of_one.options)]
        seconds += a_measured * sum(len(lesson.ids) for lesson in lessons)
        seconds += 0.0 if run.course is None else a_trained * run.course.tokens
    return Cost(len(missing), seconds)
