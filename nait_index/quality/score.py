"""What a quality is: it gives each row a number, or a status that says why it has none; never a default number."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Any, Protocol, TypeVar

from nait_index.config import ModelConfig
from nait_index.errors import NaitError
from nait_index.types import Part, Role

_ASKING = frozenset({Role.USER, Role.INPUT, Role.TOOL})
Prepared = TypeVar("Prepared")


class Status(StrEnum):
    """The outcome for a row. ``OK`` and ``TRUNCATED`` come with a number, the others never do.

    ``TRUNCATED``: computed from the beginning of the row, as much as the model can read. ``ANSWER_CUT``: that beginning
    holds nothing of the answer. ``REFUSED``: by the endpoint of a judge, such as a text that is too long for it. Only
    ``FAILED`` and ``REFUSED`` rows are tried again by the next run.
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
    REFUSED = "refused"

    @property
    def is_final(self) -> bool:
        """Whether the next run leaves such a row alone."""
        return self not in (Status.FAILED, Status.REFUSED)


@dataclass(frozen=True, slots=True)
class QualityRow:
    """A row to score.

    :param content: its content hash. :param parts: its text, in reading order.
    :param tokens: of the row as it was indexed.
    """

    id: str
    content: str
    parts: tuple[Part, ...]
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome for one row. :param reason: what went wrong, in one line."""

    row: QualityRow = field(repr=False)
    value: float | None
    status: Status
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is not None) != (self.status in (Status.OK, Status.TRUNCATED)):
            raise ValueError(f"status {self.status} with value {self.value}")

    @classmethod
    def of(cls, row: QualityRow, value: float, status: Status = Status.OK) -> "Score":
        """Make the score of a row from a number; one that is not finite becomes ``NOT_FINITE``."""
        if not math.isfinite(value):
            return cls(row, None, Status.NOT_FINITE, f"the score is {value}")
        return cls(row, value, status)


class UnscorableError(Exception):
    """A row that has no score.

    :param reason: what went wrong, in one line, if the status does not say it.
    """

    def __init__(self, status: Status, reason: str = "") -> None:
        super().__init__(reason)
        self.status = status

    def score(self, row: QualityRow) -> Score:
        """Return the outcome for the row."""
        return Score(row, None, self.status, str(self))


class GaveUpError(NaitError):
    """So many rows failed in a row that a run does not try the others; what was scored is kept."""


class Quality(Protocol):
    """Computes one kind of score."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that affects the numbers, as JSON values."""

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        """Score rows, each exactly once, in any order.

        :raises NaitError: no row can be scored, for a reason that does not lie in a single row.
        """


class QualitySpec(Protocol):
    """A request for one kind of score."""

    @property
    def default_name(self) -> str:
        """The name of the column if none is given.

        :raises NaitError: no valid name can be derived.
        """

    def open(self, defaults: ModelConfig) -> Quality:
        """Return the quality that computes the scores; models are loaded here.

        :param defaults: the index's model, and where to run it.
        :raises NaitError: a model, file or setting is unusable; of the subclass for that.
        """


@dataclass(frozen=True, slots=True)
class Exchange:
    """The last answer of a row and everything before it; what follows the answer is ignored."""

    question: tuple[Part, ...]
    answer: str


def exchange_of(row: QualityRow) -> Exchange:
    """Split a row into question and answer.

    A question needs a turn by a user or a tool: a system message alone is not one. Plain text has neither part.

    :raises UnscorableError: the question or the answer is missing.
    """
    parts = row.parts
    answers = [position for position, part in enumerate(parts) if part.role is Role.ASSISTANT]
    if not any(part.role in _ASKING for part in parts[: answers[-1] if answers else None]):
        raise UnscorableError(Status.NO_QUESTION)
    if not answers:
        raise UnscorableError(Status.NO_ANSWER)
    return Exchange(parts[: answers[-1]], parts[answers[-1]].text)


def question_text(question: Sequence[Part]) -> str:
    """Join the parts of a question by blank lines, without a template."""
    return "\n\n".join(part.text for part in question)


def score_in_chunks(
    rows: Iterable[QualityRow],
    size: int,
    prepare: Callable[[QualityRow], Prepared],
    score: Callable[[list[Prepared]], Iterator[Score]],
) -> Generator[Score, None, None]:
    """Score rows in chunks, so that batches can be made from rows of similar length.

    :param prepare: turns a row into the model's input, or raises :class:`UnscorableError`.
    :param score: scores all prepared rows of a chunk.
    """
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        prepared = []
        for row in chunk:
            try:
                prepared.append(prepare(row))
            except UnscorableError as error:
                yield error.score(row)
        yield from score(prepared)


def override(defaults: ModelConfig, **settings: str | int | None) -> ModelConfig:
    """Return a configuration with some settings changed; those that are ``None`` or empty keep the default."""
    changed: dict[str, Any] = {name: value for name, value in settings.items() if value not in (None, "")}
    return replace(defaults, **changed)
