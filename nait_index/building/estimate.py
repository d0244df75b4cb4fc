"""The cost of a build, estimated before it is spent."""

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nait_index.activations.gradients.adapters import GradientSettings
from nait_index.building.duration import measure_pace, seconds_to_compress, seconds_to_fit
from nait_index.building.encoder import IndexEncoder
from nait_index.building.footprint import footprint
from nait_index.building.intake import Counts, Intake
from nait_index.building.known import KnownRows
from nait_index.building.report import cut_rows, losses, not_read_whole
from nait_index.building.shards import SHARD_ROWS
from nait_index.building.spool import Spool, WorkRow
from nait_index.config import View
from nait_index.corpus import rejected_writer
from nait_index.corpus.unread import unread_sentences
from nait_index.scratch import not_written, temporary_folder
from nait_index.store.manifest import Manifest
from nait_index.types import Rejected, RejectionCause, Sample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a build.

    :param rows: to index; :param tokens: to run, and :param truncated: rows that will be cut, both extrapolated from a
        random sample; :param tokens_per_second: as measured on part of that sample.
    :param left_out: of how many rows the template leaves out a kind of part; :param template: what it is called.
    :param unread: fields of the rows that hold text which is not read, by file, with the number of rows.
    :param max_length: tokens at which rows are cut; :param longest: most tokens that the model can read, if limited.
    :param minutes: of the whole build on this machine, once the model is loaded.
    :param bytes_per_row: of signatures; :param basis_bytes: of the basis, whatever the number of rows.
    :param index_bytes: all files of the index; :param peak_bytes: most on disk at a time, while it is built.
    :param unanswered: of the rejected rows, those that only lack an answer, and :param media: those that carry images,
        video or audio. :param questions: of the others, those to be indexed by their question, and :param text_only: by
        their text.
    :param capability_bytes: of one stored capability of 64 examples, which comes on top.
    """

    rows: int
    rejected: int
    tokens: int
    truncated: int
    tokens_per_second: float
    minutes: float
    bytes_per_row: int
    basis_bytes: int
    index_bytes: int
    peak_bytes: int
    capability_bytes: int
    left_out: Mapping[str, int]
    template: str
    unread: Mapping[str, Mapping[str, int]]
    max_length: int
    longest: int | None
    unanswered: int
    media: int
    questions: int
    text_only: int

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        cut = cut_rows(self.truncated, self.rows, self.max_length, self.longest)
        partly = not_read_whole(self.unanswered, self.media, self.text_only, self.questions)
        return [*partly, *losses(self.left_out, self.template), *unread_sentences(self.unread), *cut]


def estimate(items: Iterable[Sample | Rejected], encoder: IndexEncoder) -> Estimate:
    """Read the whole corpus, tokenise a random sample of it and run a part of that. Leaves no files behind."""
    started = time.monotonic()
    counts, sample, spooled = _read(items, encoder)
    logger.info("tokenising a sample of %d rows", len(sample))
    tokens = encoder.tokenize([row.marked for row in sample])
    share = counts.new / max(len(sample), 1)
    total = int(sum(len(text.ids) for text in tokens) * share)
    seconds = time.monotonic() - started
    logger.info("running part of the sample, to measure the speed")
    seconds += _prepare_gradients(encoder, sample, counts.new)
    pace = measure_pace(encoder, [text for text in tokens if len(text.ids)])
    seconds += pace.seconds * share
    seconds += seconds_to_fit(counts.new, encoder)
    seconds += seconds_to_compress(counts.new, encoder)
    size = footprint(encoder, counts.new, _mean_bytes(sample))
    return Estimate(
        rows=counts.new,
        rejected=counts.rejected,
        tokens=total,
        truncated=int(sum(text.truncated for text in tokens) * share),
        tokens_per_second=pace.tokens_per_second,
        minutes=seconds / 60,
        bytes_per_row=size.per_row,
        basis_bytes=size.basis,
        index_bytes=size.index,
        peak_bytes=size.peak(spooled),
        capability_bytes=size.capability,
        left_out=dict(counts.left_out),
        template=encoder.template.label,
        unread=counts.unread.by_file(),
        max_length=encoder.max_length,
        longest=encoder.longest,
        unanswered=counts.causes[RejectionCause.UNANSWERED],
        media=counts.causes[RejectionCause.MEDIA],
        questions=counts.questions,
        text_only=counts.text_only,
    )


def outlook(
    encoder: IndexEncoder, sample: Sequence[WorkRow], rows: int, manifest: Manifest
) -> tuple[float, int, float]:
    """Forecast what the encoding of new rows takes.

    :param sample: some of them, at random; :param rows: how many there are.
    :returns: the mean tokens of a row, the bytes that are added to the index, and the seconds of a fit that is due.
    """
    tokens = sum(len(text.ids) for text in encoder.tokenize([row.marked for row in sample])) / len(sample)
    size = footprint(encoder, rows, _mean_bytes(sample), fitted_on=manifest.first_rows or None)
    if manifest.basis_hash is not None:
        return tokens, size.index - size.basis, 0.0
    return tokens, size.index, seconds_to_fit(rows, encoder)


def _mean_bytes(sample: Sequence[WorkRow]) -> float:
    """Return the mean bytes of a row's JSON."""
    return sum(len(row.row.encode()) for row in sample) / max(len(sample), 1)


def _read(items: Iterable[Sample | Rejected], encoder: IndexEncoder) -> tuple[Counts, list[WorkRow], int]:
    """Read the corpus as a build does: count its rows, and return a random shard of them and the bytes that wait."""
    with _temporary_files() as folder:
        spool = Spool(Path(folder) / "rows.jsonl", encoder.signatures.seed)
        with rejected_writer(Path(folder) / "rejected.jsonl") as rejects:
            logger.info("reading the corpus")
            with closing(KnownRows()) as known:
                intake = Intake(encoder.template, known, 0, most_characters=encoder.most_characters)
                counts = intake.run(items, spool, rejects)
        sample = spool.read(spool.shards(SHARD_ROWS)[0]) if counts.new else []
        spooled = spool.path.stat().st_size
        spool.remove()
    return counts, sample, spooled


@contextmanager
def _temporary_files() -> Iterator[str]:
    """Make a folder for temporary files.

    :raises NaitError: there is no room for them.
    """
    try:
        with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder:
            yield folder
    except OSError as error:
        raise not_written(error) from error


def _prepare_gradients(encoder: IndexEncoder, sample: Sequence[WorkRow], rows: int) -> float:
    """Warm up the gradients on few texts, and forecast how long that takes on many, and the landmarks after it."""
    if not encoder.has_gradients or not sample:
        return 0.0
    encoder.load_gradients()
    middle = len(sample) // 2
    by_length = sorted((row.marked for row in sample), key=lambda marked: len(marked.text))
    few = by_length[middle : middle + 2]  # of typical length
    started = time.monotonic()
    encoder.warm_up(few)
    settings = GradientSettings()
    per_text = (time.monotonic() - started) / (settings.warmup_steps * len(few))
    landmarks = encoder.signatures.landmarks if View.LANDMARKS in encoder.signatures.views else 0
    return per_text * (settings.warmup_steps * min(len(sample), settings.warmup_batch) + min(landmarks, rows))
