"""What a quality score is: a number with a status, or a status without a number; never a default number."""

import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol

from nait_index.activations.loading import LoadedModel
from nait_index.types import Part


class Status(StrEnum):
    """What became of a row. ``OK`` and ``TRUNCATED`` come with a number, the others never do.

    ``TRUNCATED``: computed on the beginning, which is what the model can read. ``ANSWER_CUT``: nothing of the answer
    was in that beginning. ``FAILED`` is the only one that is tried again by the next run.
    """

    OK = "ok"
    TRUNCATED = "truncated"
    NO_QUESTION = "no_question"
    NO_ANSWER = "no_answer"
    SHORT_ANSWER = "short_answer"
    ANSWER_CUT = "answer_cut"
    NO_PROMPT = "no_prompt"
    NOT_FINITE = "not_finite"
    UNPARSABLE = "unparsable"
    FAILED = "failed"


WITH_NUMBER = frozenset({Status.OK, Status.TRUNCATED})


@dataclass(frozen=True, slots=True)
class Row:
    """A row to score.

    :param content: its content hash; :param parts: its text, in reading order.
    """

    id: str
    content: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What one row got; :param reason: what went wrong, in one line."""

    row: Row = field(repr=False)
    value: float | None
    status: Status
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is not None) != (self.status in WITH_NUMBER):
            raise ValueError(f"status {self.status} with value {self.value}")

    @classmethod
    def of(cls, row: Row, value: float, status: Status = Status.OK) -> "Score":
        """Give a row its number, unless it is none."""
        if not math.isfinite(value):
            return cls(row, None, Status.NOT_FINITE, f"the score is {value}")
        return cls(row, value, status)


class Scorer(Protocol):
    """Computes one kind of score."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a number, as JSON values."""

    def score(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        """Score rows, each exactly once, in whatever order they are done.

        :raises NaitError: nothing can be scored, for a reason that has nothing to do with a single row.
        """


def chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Cut rows into lists of at most ``size``."""
    own = iter(rows)
    while chunk := list(islice(own, size)):
        yield chunk


def model_settings(loaded: LoadedModel) -> dict[str, str]:
    """Give what of a model changes a number."""
    return {
        "weights": loaded.weights_hash,
        "config": loaded.config_hash,
        "tokenizer": loaded.tokenizer_hash,
        "dtype": str(loaded.dtype).removeprefix("torch."),
    }
