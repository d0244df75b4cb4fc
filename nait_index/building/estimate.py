"""The cost of a build, estimated before it is spent."""

import logging
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nait_index.activations.encoder import Encoder, Tokens
from nait_index.building.encoder import IndexEncoder
from nait_index.building.intake import Intake, Spool, WorkRow
from nait_index.building.report import losses
from nait_index.building.shards import SHARD_ROWS
from nait_index.corpus import rejected_writer
from nait_index.signatures.features import Feature
from nait_index.signatures.views import column_types, dims_of
from nait_index.types import Rejected, Sample

logger = logging.getLogger(__name__)

_TIMED_SECONDS, _TIMED_ROWS = 5.0, 128


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a build.

    :param rows: to index; :param tokens: to run, and :param truncated: rows that will be cut, both extrapolated from a
        random sample; :param tokens_per_second: as measured on part of that sample.
    :param left_out: of how many rows the template leaves out a kind of part; :param template: what it is called.
    :param bytes_per_row: of signatures; :param index_bytes: signatures and rows together.
    """

    rows: int
    rejected: int
    tokens: int
    truncated: int
    tokens_per_second: float
    minutes: float
    bytes_per_row: int
    index_bytes: int
    left_out: Mapping[str, int]
    template: str

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one line each."""
        return losses(self.left_out, self.template)


def estimate(items: Iterable[Sample | Rejected], encoder: IndexEncoder) -> Estimate:
    """Read the whole corpus, tokenise a random sample of it and run a part of that. Leaves no files behind."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "rows.jsonl", encoder.signatures.seed)
        with rejected_writer(Path(folder) / "rejected.jsonl") as rejects:
            logger.info("reading the corpus")
            counts = Intake(encoder.template, {}, 0).run(items, spool, rejects)
        sample = spool.read(spool.shards(SHARD_ROWS)[0]) if counts.new else []
        spool.remove()
    logger.info("tokenising a sample of %d rows", len(sample))
    tokens = encoder.tokenize([row.text for row in sample])
    share = counts.new / max(len(sample), 1)
    total = int(sum(len(text.ids) for text in tokens) * share)
    logger.info("running part of the sample, to measure the speed")
    speed = _speed(encoder.model_encoder, [text for text in tokens if len(text.ids)])
    per_row = _signature_bytes(encoder, counts.new)
    return Estimate(
        rows=counts.new,
        rejected=counts.rejected,
        tokens=total,
        truncated=int(sum(text.truncated for text in tokens) * share),
        tokens_per_second=speed,
        minutes=total / speed / 60 if speed else 0.0,
        bytes_per_row=per_row,
        index_bytes=int(counts.new * (per_row + _row_bytes(sample))),
        left_out=dict(counts.left_out),
        template=encoder.template.label,
    )


def row_average(sample: Sequence[WorkRow], rows: int, encoder: IndexEncoder) -> tuple[float, float]:
    """Estimate from a random sample the mean tokens of a row, and its mean bytes in the index.

    :param rows: of the whole build.
    """
    if not sample:
        return 0.0, 0.0
    mean = sum(len(text.ids) for text in encoder.tokenize([row.text for row in sample])) / len(sample)
    return mean, _signature_bytes(encoder, rows) + _row_bytes(sample)


def _signature_bytes(encoder: IndexEncoder, rows: int) -> int:
    """Compute the bytes of one row's signatures in a build of this many rows."""
    config = encoder.signatures
    wanted = dims_of(config)
    most = min(config.reservoir, rows)
    dims = None if wanted is None else {feature: min(wanted[feature], most) for feature in Feature}
    return sum(dtype.itemsize * width for dtype, width in column_types(config, encoder.widths, dims).values())


def _row_bytes(sample: Sequence[WorkRow]) -> float:
    return sum(len(row.row.encode()) for row in sample) / max(len(sample), 1)


def _speed(encoder: Encoder, tokens: Sequence[Tokens]) -> float:
    """Measure tokens per second for some seconds, on a few random texts at a time, after one text as a warm-up."""
    for _ in encoder.encode(tokens[:1]):
        pass
    run = 0
    started = time.monotonic()
    for start in range(0, len(tokens), _TIMED_ROWS):
        for batch in encoder.encode(tokens[start : start + _TIMED_ROWS]):
            run += sum(len(tokens[start + row].ids) for row in batch.rows)
        if time.monotonic() - started > _TIMED_SECONDS:
            break
    return run / max(time.monotonic() - started, 1e-9)
