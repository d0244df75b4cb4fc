"""Which of the chosen rows a run reads, in which order, and how they are divided into steps.

For a seed there is one random order of the whole corpus. A run takes its chosen rows in that order, until their answers
have as many tokens as the recipe says. So rows that two choices share come at the same places in both, and what differs
between two runs of a seed is the choice alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from nait_index.errors import SelectionError
from nait_index.proving.recipe import Recipe
from nait_index.proving.tokens import Lesson

Read = Callable[[Sequence[int]], Sequence[Lesson]]
"""Reads the rows of the corpus with some ordinals as lessons."""

_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Course:
    """All that one run reads.

    :param steps: the lessons of every step. :param rows: how many different rows they are.
    """

    steps: tuple[tuple[Lesson, ...], ...]
    rows: int

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads, prompts included."""
        return sum(len(lesson.ids) for step in self.steps for lesson in step)


def plan_course(chosen: np.ndarray, rows: int, seed: int, recipe: Recipe, read: Read) -> Course:
    """Draw the lessons of a run and divide them into steps.

    :param chosen: ordinals of the rows to choose from; :param rows: number of rows of the corpus.
    :raises SelectionError: none of the first rows has an answer within the longest length.
    """
    drawn: list[Lesson] = []
    seen: set[int] = set()
    left, without = recipe.answer_tokens, 0
    for ordinal, lesson in _read_in_chunks(_order(chosen, rows, seed), read):
        if lesson.answer_tokens == 0:
            without += 1
            if without > 10 * _CHUNK + 2 * len(drawn):
                raise SelectionError("the chosen rows have no answers to train on, or their prompts fill --max-length")
            continue
        lesson = _shortened(lesson, left)
        drawn.append(lesson)
        seen.add(ordinal)
        left -= lesson.answer_tokens
        if left == 0:
            break
    return Course(_in_steps(drawn, recipe), len(seen))


def _order(chosen: np.ndarray, rows: int, seed: int) -> Iterator[int]:
    """Yield the chosen rows in the seed's order of the corpus, and again in other orders, endlessly."""
    rng = np.random.default_rng([seed, 7])
    while True:
        place = rng.permutation(rows)
        yield from chosen[np.argsort(place[chosen], kind="stable")].tolist()


def _read_in_chunks(order: Iterator[int], read: Read) -> Iterator[tuple[int, Lesson]]:
    while chunk := list(islice(order, _CHUNK)):
        yield from zip(chunk, read(chunk), strict=True)


def _shortened(lesson: Lesson, left: int) -> Lesson:
    """Return a lesson of at most ``left`` tokens to predict."""
    if lesson.answer_tokens <= left:
        return lesson
    end = int(np.flatnonzero(lesson.answer)[left - 1]) + 1
    return replace(lesson, ids=lesson.ids[:end], answer=lesson.answer[:end], is_cut=True)


def _in_steps(drawn: Sequence[Lesson], recipe: Recipe) -> tuple[tuple[Lesson, ...], ...]:
    """Divide lessons into steps of about equally many tokens to predict, by where the middle of each answer falls."""
    counts = np.array([lesson.answer_tokens for lesson in drawn])
    middles = np.cumsum(counts) - counts / 2
    numbers = np.floor(middles / recipe.answer_tokens * recipe.steps).astype(int)
    steps = (tuple(drawn[i] for i in np.flatnonzero(numbers == number).tolist()) for number in range(recipe.steps))
    return tuple(step for step in steps if step)
