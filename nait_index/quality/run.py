"""A quality run: score the rows of an index in the order of its table, keep a journal, and publish the columns."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from nait_index.config import Device, ModelConfig
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import CorpusError, NaitError
from nait_index.quality.imported import Imported
from nait_index.quality.journal import Journal
from nait_index.quality.judge import Judge, JudgeCost
from nait_index.quality.score import GaveUpError, Quality, QualityRow, QualitySpec, Score, Status
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_finished
from nait_index.store.samples import SampleTable
from nait_index.store.scores import check_name, publish_scores
from nait_index.types import Reading

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScoreStep:
    """The progress of a run.

    :param rows: that are done; :param total: of the index.
    :param tokens: of the rows that this run has done, as the index counts them; :param left: of those still to do.
    """

    rows: int
    total: int
    tokens: int
    left: int


ScoreProgress = Callable[[ScoreStep], None]

Confirm = Callable[[JudgeCost], bool]
"""Decides from its cost whether a judge is asked."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The outcome of a run.

    :param name: of the column. :param rows: of the index.
    :param computed: rows that this run scored, or found to have no score. :param reused: those of earlier runs.
    :param statuses: the number of rows by status; rows that were never scored have none.
    :param set_aside: lines of an imported file that could not be used; they are listed in ``scores/`` in the index.
    """

    name: str
    rows: int
    computed: int
    reused: int
    statuses: Mapping[str, int]
    set_aside: int
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        cut = self.statuses.get(Status.ANSWER_CUT, 0)
        if not cut:
            return []
        return [
            f"{cut:,} of {self.rows:,} rows ({cut / self.rows:.0%}) have no score, since nothing of their answers is "
            "within the maximum length; score with a larger --max-length, or by a model that reads more"
        ]


def score_index(
    layout: Layout,
    spec: QualitySpec,
    *,
    name: str | None = None,
    model: str | None = None,
    device: Device = Device.AUTO,
    force: bool = False,
    progress: ScoreProgress | None = None,
    confirm: Confirm | None = None,
) -> ScoreReport:
    """Score every row of an index that has no score yet, then publish the columns NAME and NAME_status.

    An interrupted run continues where it stopped; rows that failed are tried again, after those that never were.

    :param model: the current path of the index's model. :param force: start again, whatever the earlier settings.
    :param confirm: called with the cost of a judge; nothing is sent if it returns ``False``.
    :raises NaitError: a name, model, file or setting cannot be used, or no row can be scored; of the subclass for that.
    """
    started = time.monotonic()
    manifest = load_finished(layout)
    check_files(layout, manifest.head)
    table = SampleTable(layout, manifest.table_version)
    name = name or spec.default_name
    check_name(table, name)
    settings = manifest.model
    defaults = {key: settings[key] for key in ("name", "template", "max_length")} | ({"name": model} if model else {})
    quality = spec.open(ModelConfig(**defaults, device=device))
    path = layout.journal(name)
    layout.pull(path)
    with Journal(path, quality.settings, force=force) as journal:
        if isinstance(spec, Judge) and confirm is not None:
            cost = spec.estimate(
                _pending_rows(table, journal, manifest.reading.for_training, on_failure=lambda score: None)
            )
            if cost.rows and not confirm(cost):
                raise NaitError("not confirmed, so nothing was sent")
        run = _Run(table, journal, manifest, progress)
        logger.info("scoring the %d rows of %s", manifest.rows, layout.name)
        run.score(quality)
        logger.info("writing the columns of %s", name)
        publish_scores(layout, name, journal.lookup)
        layout.push(path)
        set_aside = 0
        if isinstance(quality, Imported):
            known = (record["id"] for record in table.records(["id"]))
            set_aside = quality.write_set_aside(path.with_suffix(".rejected.jsonl"), known)
        seconds = time.monotonic() - started
        return ScoreReport(name, manifest.rows, run.computed, run.reused, run.statuses(), set_aside, seconds)


def _pending_rows(
    table: SampleTable, journal: Journal, reading: Reading, on_failure: Callable[[Score], None]
) -> Iterator[QualityRow]:
    """Yield the rows that need work: those never tried, in the order of the table, then the failed, then the refused.

    :param reading: what of a row is read.
    :param on_failure: called with the score of each row that cannot be restored.
    """
    # As it is now, since it grows while the rows are scored.
    again = {(key, entry.content): entry.status for key, entry in journal.entries.items() if not entry.status.is_final}
    for status in (None, *(status for status in Status if status in again.values())):
        for record in table.records([*SAMPLE_COLUMNS, "content_hash", "n_tokens"]):
            row_id, content, tokens = record["id"], record["content_hash"], record["n_tokens"]
            if status is None and journal.entry(row_id, content) is not None:
                continue
            if again.get((row_id, content)) is not status:
                continue
            try:
                parts = restore_sample(record, reading).parts
            except CorpusError as error:
                on_failure(Score(QualityRow(row_id, content, (), tokens), None, Status.FAILED, str(error)))
            else:
                yield QualityRow(row_id, content, parts, tokens)


class _Run:
    """One run over the rows of an index."""

    def __init__(
        self, table: SampleTable, journal: Journal, manifest: Manifest, progress: ScoreProgress | None
    ) -> None:
        self._table, self._journal, self._progress = table, journal, progress
        self._rows, self._reading = manifest.rows, manifest.reading.for_training
        self.reused = self.computed = self._failed = self._scored = self._tokens = self._left = 0
        for row in table.records(["id", "content_hash", "n_tokens"]):
            is_done = journal.is_done(row["id"], row["content_hash"])
            self.reused += is_done
            self._left += 0 if is_done else row["n_tokens"]
        self._reason = ""

    def score(self, quality: Quality) -> None:
        """Score the rows that need it.

        :raises NaitError: no row could be scored, or the quality gave up before it had tried every row.
        """
        self._journal.begin()
        with closing(quality.score(_pending_rows(self._table, self._journal, self._reading, self._add))) as scores:
            try:
                for score in scores:
                    self._add(score)
            except GaveUpError as error:
                if sum(self.statuses().values()) < self._rows:
                    raise
                logger.warning("%s", error)
        if self._failed and not self._scored and not self.reused:
            raise NaitError(f"no row could be scored, the first because: {self._reason}")

    def statuses(self) -> dict[str, int]:
        """Count the rows by their current status."""
        records = self._table.records(["id", "content_hash"])
        entries = (self._journal.entry(row["id"], row["content_hash"]) for row in records)
        return dict(Counter(str(entry.status) for entry in entries if entry is not None))

    def _add(self, score: Score) -> None:
        self._journal.add(score)
        self.computed += 1
        self._scored += score.value is not None
        self._tokens += score.row.tokens
        self._left -= score.row.tokens
        if not score.status.is_final:
            self._failed += 1
            self._reason = self._reason or score.reason
        if self._progress is not None:
            self._progress(ScoreStep(self.reused + self.computed, self._rows, self._tokens, self._left))
