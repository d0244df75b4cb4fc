"""What of a row is the question and what the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from nait_index.quality.score import Status
from nait_index.types import Part, Role

_ASKING = frozenset({Role.USER, Role.INPUT, Role.TOOL})


@dataclass(frozen=True, slots=True)
class Exchange:
    """The last answer of a row, and all that comes before it; what comes after it is not looked at."""

    question: tuple[Part, ...]
    answer: str


def exchange_of(parts: Sequence[Part]) -> Exchange | Status:
    """Split a row, or say what it lacks.

    A question needs someone who asks: a system message alone is none, and plain text has neither part.
    """
    answers = [place for place, part in enumerate(parts) if part.role is Role.ASSISTANT]
    if not any(part.role in _ASKING for part in parts[: answers[-1] if answers else None]):
        return Status.NO_QUESTION
    if not answers:
        return Status.NO_ANSWER
    return Exchange(tuple(parts[: answers[-1]]), parts[answers[-1]].text)


def question_text(question: Sequence[Part]) -> str:
    """Write a question without a template: its parts, a blank line between them."""
    return "\n\n".join(part.text for part in question)
