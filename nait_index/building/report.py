"""The progress of a build while it runs, and the report of what it did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nait_index.building.basis import Shift, unfaithful
from nait_index.building.encoder import IndexEncoder
from nait_index.building.intake import Counts
from nait_index.corpus.unread import unread_sentences
from nait_index.types import RejectionCause

_MANY_CUT = 0.1
"""Share of cut rows from which a build says what to do about them."""


class Stage(StrEnum):
    """The stages of a build."""

    READING = "reading"
    WARMING_UP = "warming up the gradients"
    LANDMARKS = "taking the gradients of landmarks"
    ENCODING = "encoding"
    FITTING = "fitting the basis"
    FINISHING = "finishing"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """The progress of a build.

    :param tokens: run through the model by this process; :param left: approximate number still to run.
    :param size: approximate bytes that the build will add to the index.
    :param fit: approximate seconds that the basis, which is not fitted yet, will take to fit.
    """

    stage: Stage
    rows: int
    total: int
    tokens: int
    left: int = 0
    size: int = 0
    fit: float = 0.0


ProgressCallback = Callable[[BuildProgress], None]


class ProgressMeter:
    """Counts the rows and tokens of a build, and reports every step.

    :param notify: receives the progress.
    """

    def __init__(self, notify: ProgressCallback | None) -> None:
        self.tokens = 0
        self._notify = notify or (lambda _: None)
        self._rows = self._restored = self._total = 0
        self._mean_tokens = self._fit = 0.0
        self._size = 0

    def expect(self, rows: int, mean_tokens: float, size: int, fit: float) -> None:
        """Set how many rows are to be encoded, their mean tokens, the bytes they take, and the seconds of the fit."""
        self._total, self._mean_tokens, self._size, self._fit = rows, mean_tokens, size, fit

    def begin(self, stage: Stage) -> None:
        """Report that a stage begins."""
        if stage is Stage.FITTING:
            self._fit = 0.0
        self._notify(BuildProgress(stage, self._rows, self._total, self.tokens))

    def restore(self, rows: int) -> None:
        """Count rows that an earlier start of this build ran through the model."""
        self._restored += rows
        self.advance(rows, 0)

    def advance(self, rows: int, tokens: int) -> None:
        """Count rows and tokens that have just been through the model."""
        self._rows += rows
        self.tokens += tokens
        expected = int(self._mean_tokens * (self._total - self._restored))
        left = max(0, expected - self.tokens)
        self._notify(BuildProgress(Stage.ENCODING, self._rows, self._total, self.tokens, left, self._size, self._fit))


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: ``read = indexed + present + rejected``; ``truncated`` counts among the indexed.

    :param rows: samples the index now holds; :param tokens: run through the model by this call, in ``seconds``.
    :param replaced: how many of the indexed rows replaced one of the same id.
    :param unanswered: how many of the rejected rows only lack an answer. :param media: how many of them carry images,
        video or audio. :param questions: how many rows without an
        answer were taken in by their question. :param text_only: how many that carry images, video or audio, by their
        text.
    :param fidelity: how faithful the signatures are; see :class:`~nait_index.building.basis.Fidelity`.
    :param left_out: of how many of the indexed rows the template leaves out a kind of part, by kind.
    :param template: what the template is called.
    :param unread: fields of the read rows that hold text which is not read, by file, with the number of rows.
    :param abandoned: rows in the index that an interrupted build of other rows took in before this one.
    :param max_length: tokens at which rows were cut. :param longest: most tokens that the model can read, if limited.
    """

    read: int
    indexed: int
    present: int
    truncated: int
    rejected: int
    rows: int
    tokens: int
    seconds: float
    fidelity: Mapping[str, Any] | None = None
    replaced: int = 0
    unanswered: int = 0
    media: int = 0
    questions: int = 0
    text_only: int = 0
    shift: Shift | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    template: str = ""
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    max_length: int = 0
    longest: int | None = None
    abandoned: int = 0

    @classmethod
    def of(cls, counts: Counts, encoder: IndexEncoder, unusable: int, **outcome: Any) -> "BuildReport":  # noqa: ANN401
        """Make a report of what was taken in and how it was encoded.

        :param unusable: rows that were taken in and could not be used. :param outcome: all other fields.
        """
        return cls(
            read=counts.read,
            indexed=counts.new - unusable,
            present=counts.present,
            rejected=counts.rejected + unusable,
            unanswered=counts.causes[RejectionCause.UNANSWERED],
            media=counts.causes[RejectionCause.MEDIA],
            questions=counts.questions,
            text_only=counts.text_only,
            left_out=dict(counts.left_out),
            unread=counts.unread.by_file(),
            template=encoder.template.label,
            max_length=encoder.max_length,
            longest=encoder.longest,
            abandoned=counts.abandoned,
            **outcome,
        )

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        lost = [*losses(self.left_out, self.template), *unread_sentences(self.unread)]
        shift = [] if self.shift is None else self.shift.warnings
        cut = cut_rows(self.truncated, self.indexed, self.max_length, self.longest)
        partly = not_read_whole(self.unanswered, self.media, self.text_only, self.questions)
        return [*partly, *lost, *cut, *unfaithful(self.fidelity), *shift, *abandoned_rows(self.abandoned)]


def not_read_whole(unanswered: int, media: int, text_only: int, questions: int) -> list[str]:
    """Return a sentence on each kind of row that was rejected for what it lacks or carries, or indexed in part."""
    notes = []
    if unanswered:
        notes.append(f"{_rows(unanswered)} no answer; '--unanswered index' takes them in by their question")
    if media:
        notes.append(f"{_carrying(media)} are not read; '--media text' takes rows in by their text")
    if text_only:
        notes.append(f"{_carrying(text_only)} are not read: indexed by the text alone")
    if questions:
        notes.append(f"{_rows(questions)} no answer: indexed by the question alone, and never exported")
    return notes


def _carrying(count: int) -> str:
    return f"{count:,} row{' carries' if count == 1 else 's carry'} images, video or audio, which"


def _rows(count: int) -> str:
    return f"{count:,} row{' has' if count == 1 else 's have'}"


def abandoned_rows(count: int) -> list[str]:
    """Return a sentence on the rows that only an earlier, interrupted build has read, if there are any."""
    rows = f"{count:,} row{' is' if count == 1 else 's are'}"
    sentence = f"{rows} in the index that only an interrupted build before this one has read; 'remove' deletes rows"
    return [sentence] if count else []


def cut_rows(cut: int, rows: int, max_length: int, longest: int | None) -> list[str]:
    """Return a sentence on the rows that were cut, if there are any, and what to do if there are many.

    :param rows: how many there are. :param longest: most tokens that the model can read, if limited.
    """
    if not cut:
        return []
    if cut < _MANY_CUT * rows:
        return [f"truncated rows were cut at {max_length:,} tokens"]
    if longest is not None and longest <= max_length:
        remedy = f"the model reads no more; choose one that reads longer inputs than {longest:,} tokens"
    else:
        most = "" if longest is None else f", of up to {longest:,}"
        remedy = f"build with a larger --max-length{most}"
    share = f"{cut:,} of {rows:,} rows ({cut / rows:.0%})"
    return [f"{share} were cut at {max_length:,} tokens, so their answers are read in part or not at all; {remedy}"]


def losses(left_out: Mapping[str, int], template: str, noun: str = "row") -> list[str]:
    """Return a sentence on each kind of part that a template leaves out of rows.

    :param left_out: of how many rows, by kind. :param template: what it is called. :param noun: what the rows are.
    """
    return [
        f"{count:,} {noun}{'' if count == 1 else 's'}: {template} leaves out {kind}"
        for kind, count in sorted(left_out.items())
    ]
