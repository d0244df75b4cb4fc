"""Runs: one copy of the model, fine-tuned on one choice with one seed, and measured. Finished ones are kept."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.activations.loaded import LoadedModel
from nait_index.files import hash_bytes
from nait_index.proving.heldout import HeldOut
from nait_index.proving.lessons import Course
from nait_index.proving.measures import chrf, likeliest, measure
from nait_index.proving.recipe import TuningRecipe
from nait_index.proving.tuning import tuned, words_of


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    :param arm: name of what made the choice; :param target: the capability that it chose for, if for one alone.
    :param course: what is read; ``None`` for the model as it is. :param held_out: what is measured, by capability.
    """

    arm: str
    target: str | None
    seed: int
    course: Course | None
    held_out: Mapping[str, HeldOut]

    def __str__(self) -> str:
        return f"{self.arm} for {self.target or 'all'}, seed {self.seed}"


RunProgress = Callable[[Run, int, int], None]
"""Called before a run that has to be done, with its number and how many there are in all."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run made of one capability, (n,) each: summed loss and tokens of every held-out answer, exact or not.

    :param options: (n,) whether the right one of the possible answers was the likeliest; empty for open questions.
    :param chrf: (n,) how near generated answers come to the right ones, 0 to 100; empty where none were generated.
    """

    losses: np.ndarray
    tokens: np.ndarray
    exact: np.ndarray
    options: np.ndarray
    chrf: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def loss(self) -> float:
        """Loss per token."""
        return float(self.losses.sum() / self.tokens.sum())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    :param rows: different rows that were read; :param tokens: tokens read, prompts included.
    :param train_seconds: wall time of the fine-tuning; :param measure_seconds: of the measuring.
    """

    rows: int
    tokens: int
    train_seconds: float
    measure_seconds: float
    measured: Mapping[str, Measured]


class RunStore:
    """Finished runs in a file of JSON lines, so that an interrupted proof can be resumed.

    Several processes may append to one file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[str, Outcome] = {}
        self._read = 0
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # another process is writing it, or was killed doing so
                    break
                self._read += len(line)
                with suppress(ValueError, LookupError, TypeError):  # a run that cannot be read is done again
                    record = json.loads(line)
                    self._outcomes[record["key"]] = _outcome(record)

    def get(self, key: str) -> Outcome | None:
        """Return the outcome of a run, ``None`` if it was not done yet."""
        return self._outcomes.get(key)

    def add(self, key: str, run: Run, outcome: Outcome) -> None:
        """Append the outcome of a run."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "run": str(run)} | _record(outcome)).encode()
        with self._path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = size > 0 and file.read() != b"\n"  # by a process that was killed
            file.write((b"\n" if torn else b"") + line + b"\n")
        self._outcomes[key] = outcome


class Bench:
    """Does runs on one model, with one recipe.

    :param loaded: a causal model.
    :param vocabulary: (W,) int64 sorted, the words that tokens are predicted among, so that a large vocabulary costs no
        more than the words that occur; all where it is ``None``, or the model's head is not a plain product.
    """

    def __init__(
        self, loaded: LoadedModel, recipe: TuningRecipe, store: RunStore, vocabulary: np.ndarray | None = None
    ) -> None:
        self.loaded = loaded
        self.recipe = recipe
        self.store = store
        self._words = None if vocabulary is None else words_of(loaded, vocabulary)
        self._vocabulary = "all" if self._words is None else hash_bytes(self._words.cpu().numpy().tobytes())

    def key(self, run: Run) -> str:
        """Return the hash of everything that decides a run's outcome."""
        course = b"" if run.course is None else _bytes_of(run.course)
        model = [self.loaded.weights_hash, self.loaded.config_hash, str(self.loaded.dtype), self._vocabulary]
        settings = [asdict(self.recipe), model, run.seed, {name: held.digest for name, held in run.held_out.items()}]
        return hash_bytes(json.dumps(settings, sort_keys=True).encode() + course)

    def run_all(self, runs: Sequence[Run], progress: RunProgress | None = None) -> Iterator[Outcome]:
        """Do the runs that were not done yet, and yield the outcome of each, in order.

        :param progress: called before a run that has to be done, with its number and how many there are in all.
        """
        for number, run in enumerate(runs):
            key = self.key(run)
            self.store.refresh()
            outcome = self.store.get(key)
            if outcome is None:
                if progress is not None:
                    progress(run, number, len(runs))
                outcome = self.do(run)
                self.store.add(key, run, outcome)
            yield outcome

    def do(self, run: Run) -> Outcome:
        """Fine-tune, and measure."""
        started = time.monotonic()
        with tuned(self.loaded, run.course, self.recipe, run.seed, self._words) as model:
            trained = time.monotonic()
            measured = {name: self._measure(model, held) for name, held in run.held_out.items()}
        rows, tokens = (0, 0) if run.course is None else (run.course.rows, run.course.tokens)
        return Outcome(rows, tokens, trained - started, time.monotonic() - trained, measured)

    def _measure(self, model: Any, held: HeldOut) -> Measured:  # noqa: ANN401 - a model of transformers
        rows = measure(model, held.lessons, self.loaded.device, self._words)
        options = np.zeros(0, bool)
        if held.options:
            losses = measure(model, held.options, self.loaded.device, self._words).losses
            options = likeliest(losses, held.question, held.right)
        near = np.zeros(0)
        if held.generate:
            near = chrf(model, self.loaded.tokenizer, held.lessons, self.loaded.device)
        return Measured(rows.losses, rows.tokens, rows.exact, options, near)


def _bytes_of(course: Course) -> bytes:
    parts = [lesson.ids.tobytes() + lesson.counts.tobytes() for step in course.steps for lesson in step]
    return b"".join([*parts, json.dumps([len(step) for step in course.steps]).encode()])


def _record(outcome: Outcome) -> dict[str, Any]:
    measured = {
        name: {
            "losses": values.losses.round(4).tolist(),
            "tokens": values.tokens.tolist(),
            "exact": values.exact.astype(int).tolist(),
            "options": values.options.astype(int).tolist(),
            "chrf": values.chrf.round(4).tolist(),
        }
        for name, values in outcome.measured.items()
    }
    seconds = {"train_seconds": round(outcome.train_seconds, 2), "measure_seconds": round(outcome.measure_seconds, 2)}
    return {"rows": outcome.rows, "tokens": outcome.tokens, **seconds, "measured": measured}


def _outcome(record: Mapping[str, Any]) -> Outcome:
    measured = {
        name: Measured(
            np.array(values["losses"]),
            np.array(values["tokens"]),
            np.array(values["exact"], bool),
            np.array(values["options"], bool),
            np.array(values.get("chrf", [])),
        )
        for name, values in record["measured"].items()
    }
    return Outcome(record["rows"], record["tokens"], record["train_seconds"], record["measure_seconds"], measured)
