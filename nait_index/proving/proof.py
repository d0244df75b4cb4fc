"""A proof that training on the chosen rows helps a model more than training on others, or that it does not.

Every arm is a way to choose rows. For each seed, half of a capability's examples are shown to the arms, a copy of the
model is fine-tuned on what each of them chooses, and its loss is measured on the other half. Runs of one seed are
compared pairwise, so that what differs between them is the choice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nait_index.errors import SelectionError
from nait_index.proving.heldout import HeldOut, hold_out, split
from nait_index.proving.lessons import LessonMaker, Read, plan_course
from nait_index.proving.recipe import Recipe
from nait_index.proving.runs import Bench, Outcome, Run
from nait_index.proving.statistics import Interval, LogRatio, RunPair, average, relative_loss
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
    """

    arms: tuple[Arm, ...]
    capabilities: Mapping[str, Sequence[Sample]]
    seeds: int = 3
    held_out: int = 32
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)


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


def plan_runs(plan: ProofPlan, rows: int, recipe: Recipe, maker: LessonMaker, read: Read) -> Planned:
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
                course = None if chosen is None else plan_course(chosen, rows, seed, recipe, read)
                runs.append(Run(arm.name, target, seed, course, held if target is None else {target: held[target]}))
    return Planned(tuple(runs), {name: float(np.mean(times)) for name, times in seconds.items()})


def _held_out(plan: ProofPlan, name: str, seed: int, maker: LessonMaker) -> HeldOut:
    samples = plan.capabilities[name]
    rows = split(len(samples), seed)[1][: plan.held_out]
    held = hold_out(samples, rows, maker, plan.kinds.get(name))
    if not any(lesson.answer_length for lesson in held.lessons):
        raise SelectionError(f"no held-out example of '{name}' has an answer within --max-length; give a larger one")
    return held


class Results:
    """The outcomes of a plan's runs.

    :param outcomes: one for every run, in order.
    """

    def __init__(self, plan: ProofPlan, planned: Planned, outcomes: Sequence[Outcome]) -> None:
        self.plan = plan
        self.planned = planned
        self.capabilities = list(plan.capabilities)
        self._outcomes = {
            (run.arm, run.target, run.seed): outcome for run, outcome in zip(planned.runs, outcomes, strict=True)
        }
        self._targeted = {arm.name: arm.targeted for arm in plan.arms}

    @property
    def arms(self) -> list[str]:
        """The names of all arms."""
        return list(self._targeted)

    def of(self, arm: str, capability: str) -> list[Outcome]:
        """Return the outcomes of an arm for a capability, one for every seed."""
        target = capability if self._targeted[arm] else None
        return [self._outcomes[arm, target, seed] for seed in range(self.plan.seeds)]

    def compare(self, arm: str, capability: str, base: str = RANDOM) -> LogRatio:
        """Estimate the loss of an arm on a capability relative to another's."""
        pairs = [
            RunPair(run.measured[capability].losses, other.measured[capability].losses)
            for run, other in zip(self.of(arm, capability), self.of(base, capability), strict=True)
        ]
        return relative_loss(pairs, self.capabilities.index(capability))

    def mean(self, arm: str, base: str = RANDOM) -> LogRatio:
        """Estimate the mean over the capabilities."""
        return average([self.compare(arm, capability, base) for capability in self.capabilities])

    def accuracy(self, arm: str, capability: str) -> dict[str, float]:
        """Return the mean loss per token, and the shares of exact answers and, for closed questions, of right ones."""
        measured = [outcome.measured[capability] for outcome in self.of(arm, capability)]
        shares = {
            "loss": float(np.mean([one.loss for one in measured])),
            "exact": float(np.mean([one.exact.mean() for one in measured])),
        }
        if all(len(one.options) for one in measured):
            shares["options"] = float(np.mean([one.options.mean() for one in measured]))
        return {name: round(share, 4) for name, share in shares.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return every comparison, against random rows and against BM25, as JSON can hold it."""
        others = [arm for arm in self.arms if arm != RANDOM]
        comparisons = max(1, len(others))
        bases = [base for base in (RANDOM, BM25) if base in self.arms]
        return {
            "arms": self.arms,
            "capabilities": self.capabilities,
            "seeds": self.plan.seeds,
            "comparisons": comparisons,
            **{
                f"against_{base}": {arm: self._row(arm, base, comparisons) for arm in self.arms if arm != base}
                for base in bases
            },
            "measured": {
                arm: {capability: self.accuracy(arm, capability) for capability in self.capabilities}
                for arm in self.arms
            },
            "read": {arm: self._read(arm) for arm in self.arms},
        }

    def _row(self, arm: str, base: str, comparisons: int) -> dict[str, Any]:
        each = {capability: self.compare(arm, capability, base) for capability in self.capabilities}
        return {
            **{capability: ratio.interval(comparisons).to_dict() for capability, ratio in each.items()},
            "mean": average(list(each.values())).interval(comparisons).to_dict(),
            "mean_alone": average(list(each.values())).interval().to_dict(),
        }

    def _read(self, arm: str) -> dict[str, float]:
        outcomes = [outcome for capability in self.capabilities for outcome in self.of(arm, capability)]
        return {
            "rows": round(float(np.mean([outcome.rows for outcome in outcomes])), 1),
            "tokens": round(float(np.mean([outcome.tokens for outcome in outcomes]))),
            "train_seconds": round(float(np.mean([outcome.train_seconds for outcome in outcomes])), 2),
            "select_seconds": round(self.planned.select_seconds[arm], 3),
        }


def verdict(results: Results, arm: str) -> str:
    """Return in one sentence whether an arm's choice helps this model."""
    against: Interval = results.mean(arm).interval()
    words = results.mean(arm, BM25).interval() if BM25 in results.arms and arm != BM25 else None
    if against.high < 0:
        help_ = f"rows chosen by {arm} teach this model more than random rows: answer loss {against}"
    elif against.low > 0:
        help_ = f"rows chosen by {arm} teach this model less than random rows: answer loss {against}"
    else:
        help_ = f"no difference from random rows is shown for {arm}: answer loss {against}"
    if words is None:
        return help_
    compared = "more than" if words.high < 0 else "less than" if words.low > 0 else "no provable more or less than"
    return f"{help_}; {compared} word overlap (bm25): {words}"


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
