"""The examples of a capability, split for a seed: half are shown, half measure what was learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nait_index.activations.batches import AnswerTokens
from nait_index.errors import CapabilityError
from nait_index.files import hash_bytes
from nait_index.proving.lessons import LessonMaker
from nait_index.types import Part, Role, Sample

MOST_OPTIONS = 8
"""Distinct answers of a capability above which its questions are open."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What a model is measured on.

    :param lessons: the held-out examples. :param options: of closed questions, each with every possible answer.
    :param question: (o,) which lesson an option belongs to; :param right: (o,) whether it is the right answer.
    :param generate: whether answers are generated too, and compared with the right ones.
    """

    lessons: tuple[AnswerTokens, ...]
    options: tuple[AnswerTokens, ...] = ()
    question: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    right: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    generate: bool = False

    @property
    def digest(self) -> str:
        """Hash of everything."""
        parts = [lesson.ids.tobytes() + lesson.counts.tobytes() for lesson in (*self.lessons, *self.options)]
        parts += [self.question.tobytes(), self.right.tobytes(), b"generate" * self.generate]
        return hash_bytes(b"".join(parts))


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split examples into shown and held-out ones, half each and shuffled; of an odd number, one more is held out.

    :raises CapabilityError: there are fewer than two.
    """
    if count < 2:
        raise CapabilityError("one example cannot be both shown and held out; give at least 2, better 64")
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def hold_out(
    samples: Sequence[Sample], rows: np.ndarray, maker: LessonMaker, kinds: Sequence[str] | None = None
) -> HeldOut:
    """Prepare the held-out examples of a capability.

    :param rows: numbers of the held-out samples. :param kinds: of every sample, where those of one kind have the same
        possible answers; by default all are of one kind.
    """
    lessons = tuple(maker.lessons([samples[row] for row in rows]))
    options = closed_answers(samples, kinds)
    texts: list[Sample] = []
    question: list[int] = []
    right: list[bool] = []
    for number, row in enumerate(rows.tolist()):
        kind = "" if kinds is None else kinds[row]
        for answer in options.get(kind, ()):
            texts.append(with_answer(samples[row], answer))
            question.append(number)
            right.append(answer == answer_of(samples[row]))
    return HeldOut(
        lessons, tuple(maker.lessons(texts)) if texts else (), np.array(question, int), np.array(right, bool)
    )


def closed_answers(samples: Sequence[Sample], kinds: Sequence[str] | None = None) -> Mapping[str, tuple[str, ...]]:
    """Return the possible answers of every kind of question that has few, and each of them several times."""
    answers: dict[str, list[str]] = {}
    for row, sample in enumerate(samples):
        answers.setdefault("" if kinds is None else kinds[row], []).append(answer_of(sample))
    return {
        kind: tuple(sorted(set(given)))
        for kind, given in answers.items()
        if 2 <= len(set(given)) <= MOST_OPTIONS and len(given) >= 4 * len(set(given))
    }


def answer_of(sample: Sample) -> str:
    """Return the text of a sample's last answer."""
    return next((part.text for part in reversed(sample.parts) if part.role is Role.ASSISTANT), "")


def with_answer(sample: Sample, answer: str) -> Sample:
    """Return a sample with another last answer."""
    last = max(number for number, part in enumerate(sample.parts) if part.role is Role.ASSISTANT)
    parts = list(sample.parts)
    parts[last] = Part(Role.ASSISTANT, answer)
    return replace(sample, parts=tuple(parts))
