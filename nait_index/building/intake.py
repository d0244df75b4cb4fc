"""From the rows of a corpus to the work of a build: what is new.

Sources are read once, and new rows go into a spool file: so standard input works as well as a file, a source that
changes during a build does no harm, and memory does not grow with the rows.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from nait_index.building.known import KnownRows, RejectedBefore
from nait_index.building.spool import Spool, WorkRow
from nait_index.corpus import RejectedWriter, RowTemplateError, Template, stored_text
from nait_index.corpus.unread import UnreadFields
from nait_index.corpus.words import terms
from nait_index.errors import CorpusError
from nait_index.store.samples import LEFT_OUT_SEPARATOR
from nait_index.types import MarkedText, Reading, Rejected, RejectionCause, Sample

_SHIFTS = 2  # that are noted: more than one means that rows were moved


def documents_of(rows: Iterable[WorkRow], reading: Reading) -> list[list[str]]:
    """Return the terms of some rows, of the same text that ``bm25`` and ``dsir`` read."""
    return [terms(stored_text(row.row, row.format, reading)) for row in rows]


@dataclass(slots=True)
class Counts:
    """How many rows were read, and what happened to them: ``read = new + present + rejected``.

    :param causes: of the rejected, those with causes that are counted on their own.
    :param questions: of the others, those that have no answer. :param text_only: those that carry more than text.
    :param last_rows: number of the last row read of each file. :param edited: files of the same name as one that an
        earlier build has read, with a row of the index in both, so that it is the same file, edited since.
    :param left_out: new rows of which the template leaves out some kind of part, by kind.
    :param unread: fields of the usable rows that hold text which is not read.
    :param superseding: whether some rows take the place of others that the table holds.
    :param abandoned: rows that an earlier, interrupted start took in and this one has not read.
    """

    read: int = 0
    new: int = 0
    present: int = 0
    rejected: int = 0
    causes: Counter[RejectionCause] = field(default_factory=Counter)
    questions: int = 0
    text_only: int = 0
    last_rows: dict[str, int] = field(default_factory=dict)
    edited: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: UnreadFields = field(default_factory=UnreadFields)
    superseding: bool = False
    abandoned: int = 0


class Intake:
    """Sorts the rows of a corpus into new, present and rejected ones.

    :param known: the rows that the index already has, by id.
    :param first_position: first position of this run; a row known with this position or a later one was taken in by an
        earlier, interrupted start of the same run.
    :param before: the rows that earlier runs rejected.
    :param replace: whether a row replaces one that has the same id and other content.
    :param most_characters: of a text, that are kept for the model.
    """

    def __init__(
        self,
        template: Template,
        known: KnownRows,
        first_position: int,
        before: RejectedBefore | None = None,
        *,
        replace: bool = False,
        most_characters: int | None = None,
    ) -> None:
        self._replace = replace
        self._most_characters = most_characters
        self._template = template
        self._known = known
        self._before = before
        self._first_position = first_position
        self._taken = 0
        self._shifts: set[int | None] = set()  # of rows that an earlier start took in; None for one that is replaced

    def run(self, items: Iterable[Sample | Rejected], spool: Spool, rejects: RejectedWriter) -> Counts:
        """Write new rows to the spool and unusable ones to the rejects.

        :raises CorpusError: no row is usable, or an id is known with other content.
        """
        counts = Counts()
        first_reject: Rejected | None = None
        for item in items:
            counts.read += 1
            counts.last_rows[item.origin.file] = item.origin.row
            if self._before is not None:
                self._before.meet(item)
            rejected = item if isinstance(item, Rejected) else self._take(item, spool, counts)
            if rejected is not None:
                rejects.add(rejected)
                counts.rejected += 1
                if rejected.cause is not None:
                    counts.causes[rejected.cause] += 1
                first_reject = first_reject or rejected
        if first_reject is not None and counts.read == counts.rejected:
            reason = f"the first, {first_reject.origin}: {first_reject.reason}"
            if first_reject.cause is RejectionCause.UNANSWERED:
                reason += "; rename the field that holds it, or index questions alone with --unanswered index"
            raise CorpusError(f"none of the {counts.read} rows can be used; {reason}")
        counts.abandoned = self._known.count_unmet(self._first_position)
        spool.skip_positions(self._later())
        counts.superseding |= self._known.has_repeats()
        return counts

    def _take(self, sample: Sample, spool: Spool, counts: Counts) -> Rejected | None:
        try:
            read = self._template.read(sample.parts)
        except RowTemplateError as error:
            return Rejected(sample.origin, str(error), sample.row)
        counts.unread.add(sample)
        digest = sample.content_hash
        known = self._known.get(sample.id)
        if known is not None and known.position < self._first_position and known.file == sample.origin.file:
            counts.edited.add(sample.origin.file)
        if known is not None and known.content_hash != digest:
            if not self._replace:
                raise CorpusError(
                    f"{sample.origin}: id {sample.id!r} is in the index with other content; replace that row with "
                    "--replace, or use another id for this one"
                )
            if known.position >= self._first_position:
                self._known.meet(sample.id, known.position)
                self._shifts.add(None)
            known, counts.superseding = None, True
        counts.questions += not sample.answered
        counts.text_only += sample.text_only
        counts.present += known is not None
        counts.new += known is None
        position = self._first_position + self._taken
        if known is None:
            lost = LEFT_OUT_SEPARATOR.join(read.left_out)
            text = MarkedText(read.text[: self._most_characters], read.marked.answers)
            spool.add(WorkRow(sample.id, sample.row, sample.format, digest, sample.origin, position, text, lost))
            counts.left_out.update(read.left_out)
        elif known.position >= self._first_position:
            spool.mark_done(sample.id)
            if len(self._shifts) < _SHIFTS:
                self._shifts.add(known.position - position)
            self._known.meet(sample.id, known.position)
        else:
            return None
        self._taken += 1
        return None

    def _later(self) -> int:
        """Return by how many positions the new rows come later, so that none has the place of another row.

        Rows that an earlier start took in keep their places. The new ones join them where all of these are shifted
        alike, beyond those of abandoned rows; else they come after all.
        """
        first = self._first_position
        least = max(0, self._known.last_unmet(first) + 1 - first)
        (shift, *others) = self._shifts or {least}
        if others or shift is None or shift < least:
            return self._known.end(first) - first
        return shift
