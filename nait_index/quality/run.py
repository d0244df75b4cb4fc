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
from nait_index.quality.imported import Imported, write_set_aside
from nait_index.quality.journal import Journal
from nait_index.quality.judge import Judge, JudgeCost
from nait_index.quality.score import Quality, QualityRow, QualitySpec, Score, Status
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.manifest import load_finished
from nait_index.store.samples import SampleTable
from nait_index.store.scores import check_name, publish_scores

logger = logging.getLogger(__name__)

ScoreProgress = Callable[[int, int], None]
"""Called with the number of rows that are done, and of all rows."""

Confirm = Callable[[JudgeCost], bool]
"""Asked before a judge is paid."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The outcome of a run.

    :param name: of the column. :param rows: of the index.
    :param computed: rows that this run scored, or found to have no score. :param reused: those of earlier runs.
    :param statuses: the number of rows by status; rows that were never scored are in none.
    :param set_aside: lines of an imported file that could not be used; they are listed in ``scores/`` in the index.
    """

    name: str
    rows: int
    computed: int
    reused: int
    statuses: Mapping[str, int]
    set_aside: int
    seconds: float


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

    An interrupted run continues where it stopped; rows that failed are tried again.

    :param model: the current path of the index's model. :param force: start again, whatever the earlier settings.
    :param confirm: asked with the cost of a judge; nothing is sent if it returns ``False``.
    :raises NaitError: a name, model, file or setting cannot be used, or no row can be scored; of the subclass for that.
    """
    started = time.monotonic()
    manifest = load_finished(layout)
    check_files(layout, manifest.head)
    table = SampleTable(layout, manifest.table_version)
    name = name or spec.default_name
    check_name(table, name)
    settings = manifest.model
    quality = spec.open(
        ModelConfig(
            name=model or settings["name"],
            template=settings["template"],
            max_length=settings["max_length"],
            device=device,
        )
    )
    path = layout.journal(name)
    layout.pull(path)
    with Journal(path, quality.settings, force=force) as journal:
        if isinstance(spec, Judge):
            _confirm(spec.estimate(_pending_rows(table, journal)), confirm)
        run = _Run(table, journal, manifest.rows, progress)
        logger.info("scoring the %d rows of %s", manifest.rows, layout.name)
        run.score(quality)
        logger.info("writing the columns of %s", name)
        publish_scores(layout, name, journal.lookup)
        layout.push(path)
        set_aside = _write_set_aside(layout, name, quality, table)
        return run.report(name, set_aside, time.monotonic() - started)


def _confirm(cost: JudgeCost, confirm: Confirm | None) -> None:
    if cost.rows and confirm is not None and not confirm(cost):
        raise NaitError("not confirmed, so nothing was sent")


def _write_set_aside(layout: Layout, name: str, quality: Quality, table: SampleTable) -> int:
    """Write the lines of an imported file that could not be used, and return how many there are."""
    if not isinstance(quality, Imported):
        return 0
    quality.set_aside_unknown(record["id"] for record in table.records(["id"]))
    write_set_aside(layout.journal(name).with_suffix(".rejected.jsonl"), quality.set_aside)
    return len(quality.set_aside)


def _pending_rows(
    table: SampleTable, journal: Journal, on_failure: Callable[[Score], None] = lambda score: None
) -> Iterator[QualityRow]:
    """Yield the rows that need work, in the order of the table.

    :param on_failure: called with the score of each row that cannot be restored.
    """
    for record in table.records([*SAMPLE_COLUMNS, "content_hash"]):
        row_id, content = record["id"], record["content_hash"]
        if journal.is_done(row_id, content):
            continue
        try:
            parts = restore_sample(record).parts
        except CorpusError as error:
            on_failure(Score(QualityRow(row_id, content, ()), None, Status.FAILED, str(error)))
        else:
            yield QualityRow(row_id, content, parts)


class _Run:
    """One run over the rows of an index."""

    def __init__(self, table: SampleTable, journal: Journal, rows: int, progress: ScoreProgress | None) -> None:
        self._table, self._journal, self._rows, self._progress = table, journal, rows, progress
        self._before = self._count_done()
        self._computed = self._failed = 0
        self._reason = ""

    def score(self, quality: Quality) -> None:
        """Score the rows that need it.

        :raises NaitError: no row could be scored.
        """
        self._journal.begin()
        with closing(quality.score(_pending_rows(self._table, self._journal, self._add))) as scores:
            for score in scores:
                self._add(score)
        if self._computed and self._failed == self._computed and not self._before:
            raise NaitError(f"no row could be scored, the first because: {self._reason}")

    def report(self, name: str, set_aside: int, seconds: float) -> ScoreReport:
        """Return the outcome, with the current statuses of all rows."""
        counts: Counter[str] = Counter()
        for record in self._table.records(["id", "content_hash"]):
            if entry := self._journal.entry(record["id"], record["content_hash"]):
                counts[str(entry.status)] += 1
        return ScoreReport(name, self._rows, self._computed, self._before, dict(counts), set_aside, seconds)

    def _add(self, score: Score) -> None:
        self._journal.add(score)
        self._computed += 1
        if score.status is Status.FAILED:
            self._failed += 1
            self._reason = self._reason or score.reason
        if self._progress is not None:
            self._progress(self._before + self._computed, self._rows)

    def _count_done(self) -> int:
        records = self._table.records(["id", "content_hash"])
        return sum(self._journal.is_done(row["id"], row["content_hash"]) for row in records)
