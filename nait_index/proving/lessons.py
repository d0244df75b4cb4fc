"""Rows as lessons: which of the chosen ones a run reads, in which order, and how they are divided into steps.

A lesson is what a training step reads of a row: the text that the index reads (same template), of which the tokens of
the answer count in the loss, given the prompt; a row without a prompt counts whole.

For a seed there is one random order of the whole corpus. A run takes its chosen rows in that order, until their answers
have as many tokens as the recipe says. So rows that two choices share come at the same places in both, and what differs
between two runs of a seed is the choice alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from nait_index.activations.answer_tokens import answer_tokens
from nait_index.activations.batches import AnswerTokens
from nait_index.corpus import Template
from nait_index.errors import ModelError, SelectionError
from nait_index.proving.recipe import TuningRecipe
from nait_index.types import Sample

Read = Callable[[Sequence[int]], Sequence[AnswerTokens]]
"""Reads the rows of the corpus with some ordinals as lessons."""

_CHUNK = 64
_NOTHING_TO_LEARN = (
    "the chosen rows have no answers to train on, their prompts fill --max-length, or they repeat the examples"
)


@dataclass(frozen=True, slots=True)
class LessonMaker:
    """Turns samples into lessons.

    :param tokenizer: of transformers. :param longest: most tokens of a lesson; the end of its prompt is cut first.
    :raises ModelError: the tokenizer cannot tell answers from prompts.
    """

    tokenizer: Any
    template: Template
    longest: int

    def __post_init__(self) -> None:
        if not self.tokenizer.is_fast:
            raise ModelError(
                "the model's tokenizer does not report which characters a token covers, so that answers cannot be told "
                "from prompts; name a model with a fast tokenizer"
            )

    def lessons(self, samples: Sequence[Sample]) -> list[AnswerTokens]:
        """Tokenise samples.

        Nothing counts of a row without an answer, and never the first token of a text, since nothing before it could
        predict it.
        """
        texts = [self.template.read(sample.parts).marked for sample in samples]
        special = self.template.adds_special_tokens
        lessons = answer_tokens(self.tokenizer, texts, self.longest, add_special_tokens=special) if texts else []
        for sample, lesson in zip(samples, lessons, strict=True):
            lesson.counts[: 1 if sample.answered else None] = False
        return lessons


@dataclass(frozen=True, slots=True)
class Course:
    """All that one run reads.

    :param steps: the lessons of every step. :param rows: how many different rows they are.
    """

    steps: tuple[tuple[AnswerTokens, ...], ...]
    rows: int

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads, prompts included."""
        return sum(len(lesson.ids) for step in self.steps for lesson in step)


def plan_course(chosen: np.ndarray, rows: int, seed: int, recipe: TuningRecipe, read: Read) -> Course:
    """Draw the lessons of a run and divide them into steps.

    :param chosen: ordinals of the rows to choose from; :param rows: number of rows of the corpus.
    :raises SelectionError: none of the first rows has an answer within the longest length.
    """
    drawn: list[AnswerTokens] = []
    seen: set[int] = set()
    left, without = recipe.answer_tokens, 0
    for ordinal, lesson in _read_in_chunks(_order(chosen, rows, seed), read):
        if lesson.answer_length == 0:
            without += 1
            if without > 10 * _CHUNK + 2 * len(drawn):
                raise SelectionError(_NOTHING_TO_LEARN)
            continue
        lesson = _shortened(lesson, left)
        drawn.append(lesson)
        seen.add(ordinal)
        left -= lesson.answer_length
        if left == 0:
            break
    return Course(_in_steps(drawn, recipe), len(seen))


def plan_epoch(chosen: np.ndarray, rows: int, seed: int, recipe: TuningRecipe, read: Read) -> Course:
    """Let a run read every chosen row once, in steps as large as the recipe's.

    :raises SelectionError: none of the rows has an answer within the longest length.
    """
    once = islice(_order(chosen, rows, seed), len(chosen))
    drawn = [lesson for _, lesson in _read_in_chunks(once, read) if lesson.answer_length]
    if not drawn:
        raise SelectionError(_NOTHING_TO_LEARN)
    return Course(_in_steps(drawn, recipe), len(drawn))


CoursePlanner = Callable[[np.ndarray, int, int, TuningRecipe, Read], Course]
"""As :func:`plan_course`."""


def _order(chosen: np.ndarray, rows: int, seed: int) -> Iterator[int]:
    """Yield the chosen rows in the seed's order of the corpus, and again in other orders, endlessly."""
    rng = np.random.default_rng([seed, 7])
    while True:
        place = rng.permutation(rows)
        yield from chosen[np.argsort(place[chosen], kind="stable")].tolist()


def _read_in_chunks(order: Iterator[int], read: Read) -> Iterator[tuple[int, AnswerTokens]]:
    while chunk := list(islice(order, _CHUNK)):
        yield from zip(chunk, read(chunk), strict=True)


def _shortened(lesson: AnswerTokens, left: int) -> AnswerTokens:
    """Return a lesson of at most ``left`` tokens to predict."""
    if lesson.answer_length <= left:
        return lesson
    end = int(np.flatnonzero(lesson.counts)[left - 1]) + 1
    return replace(lesson, ids=lesson.ids[:end], counts=lesson.counts[:end], is_cut=True)


def _in_steps(drawn: Sequence[AnswerTokens], recipe: TuningRecipe) -> tuple[tuple[AnswerTokens, ...], ...]:
    """Divide lessons into steps of about equally many tokens to predict, by where the middle of each answer falls."""
    counts = np.array([lesson.answer_length for lesson in drawn])
    middles = np.cumsum(counts) - counts / 2
    numbers = np.floor(middles / recipe.answer_tokens * recipe.steps).astype(int)
    count = int(numbers.max()) + 1
    steps = (tuple(drawn[i] for i in np.flatnonzero(numbers == number).tolist()) for number in range(count))
    return tuple(step for step in steps if step)
