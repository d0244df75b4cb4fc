"""Quality scores of an index: score its rows in the order of the table, keep a journal, publish the columns."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from nait_index.config import Device
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import CorpusError, NaitError
from nait_index.quality.imported import ImportedScorer, write_set_aside
from nait_index.quality.journal import Journal, journal_path
from nait_index.quality.judge import JudgeCost, estimate_cost
from nait_index.quality.score import Row, Score, Scorer, Status
from nait_index.quality.specs import Home, Ifd, Imported, Judge, QualitySpec, SelectIt, default_name, open_scorer
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_finished
from nait_index.store.samples import SampleTable
from nait_index.store.scores import check_name, publish_scores

__all__ = [
    "Confirm",
    "Ifd",
    "Imported",
    "Judge",
    "QualitySpec",
    "ScoreProgress",
    "ScoreReport",
    "SelectIt",
    "score_index",
]

logger = logging.getLogger(__name__)

ScoreProgress = Callable[[int, int], None]
"""Told how many rows are done, of how many."""

Confirm = Callable[[JudgeCost], bool]
"""Asked before a judge is paid."""


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """What a run did.

    :param name: of the column; :param rows: of the index.
    :param computed: rows that were scored, or found to have no score, by this run; :param reused: by earlier ones.
    :param statuses: rows of every status; the rows they leave out were never scored.
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

    An interrupted run goes on where it was; rows that failed are tried again.

    :param model: where the index's model lies now; :param force: begin anew, whatever settings came before.
    :param confirm: asked what a judge will cost; nothing is sent where it says no.
    :raises NaitError: of the kind that says what is wrong.
    """
    started = time.monotonic()
    manifest = load_finished(layout)
    check_files(layout, manifest.head)
    table = SampleTable(layout, manifest.table_version)
    own_name = name or default_name(spec)
    check_name(table, own_name)
    scorer = open_scorer(spec, _home(manifest, model, device))
    path = journal_path(layout, own_name)
    layout.pull(path)
    with Journal(path, scorer.settings, force=force) as journal:
        if isinstance(spec, Judge):
            _agree(estimate_cost(_Work(table, journal), spec.price_in, spec.price_out), confirm)
        run = _Run(table, journal, manifest.rows, progress)
        logger.info("scoring the %d rows of %s", manifest.rows, layout.name)
        run.score(scorer)
        logger.info("writing the columns of %s", own_name)
        publish_scores(layout, own_name, lambda row_id, content: _looked_up(journal, row_id, content))
        layout.push(path)
        set_aside = _set_aside(layout, own_name, scorer, table)
        return run.report(own_name, set_aside, time.monotonic() - started)


def _home(manifest: Manifest, model: str | None, device: Device) -> Home:
    own = manifest.model
    return Home(model or own["name"], own["template"], own["max_length"], device)


def _agree(cost: JudgeCost, confirm: Confirm | None) -> None:
    if cost.rows and confirm is not None and not confirm(cost):
        raise NaitError("not confirmed, so nothing was sent")


def _looked_up(journal: Journal, row_id: str, content: str) -> tuple[float | None, str | None]:
    entry = journal.entry(row_id, content)
    return (None, None) if entry is None else (entry.value, str(entry.status))


def _set_aside(layout: Layout, name: str, scorer: Scorer, table: SampleTable) -> int:
    """Write down the lines of an imported file that came to nothing."""
    if not isinstance(scorer, ImportedScorer):
        return 0
    scorer.set_aside_unknown(record["id"] for record in table.records(["id"]))
    write_set_aside(journal_path(layout, name).with_suffix(".rejected.jsonl"), scorer.set_aside)
    return len(scorer.set_aside)


class _Work:
    """The rows that need work, restored one by one in the order of the table; may be gone through many times.

    :param spoiled: told the rows that cannot be restored, and why.
    """

    def __init__(
        self, table: SampleTable, journal: Journal, spoiled: Callable[[Score], None] = lambda score: None
    ) -> None:
        self._table, self._journal, self._spoiled = table, journal, spoiled

    def __iter__(self) -> Iterator[Row]:
        for record in self._table.records([*SAMPLE_COLUMNS, "content_hash"]):
            bare = Row(record["id"], record["content_hash"], ())
            if self._journal.is_done(bare):
                continue
            try:
                sample = restore_sample(record)
            except CorpusError as error:
                self._spoiled(Score(bare, None, Status.FAILED, str(error)))
                continue
            yield Row(bare.id, bare.content, sample.parts)


class _Run:
    """One run over the rows of an index."""

    def __init__(self, table: SampleTable, journal: Journal, rows: int, progress: ScoreProgress | None) -> None:
        self._table, self._journal, self._rows, self._progress = table, journal, rows, progress
        self._before = self._count_done()
        self._computed = self._failed = 0
        self._reason = ""

    def score(self, scorer: Scorer) -> None:
        """Score what needs it.

        :raises NaitError: nothing could be scored at all.
        """
        self._journal.begin()
        with closing(scorer.score(_Work(self._table, self._journal, self._add))) as scores:
            for score in scores:
                self._add(score)
        if self._computed and self._failed == self._computed and not self._before:
            raise NaitError(f"not one row could be scored, the first because: {self._reason}")

    def report(self, name: str, set_aside: int, seconds: float) -> ScoreReport:
        """Count what the rows have now."""
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
        return sum(self._journal.is_done(Row(own["id"], own["content_hash"], ())) for own in records)
