"""What a build will cost, told before anything is spent."""

import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nait_index.activations.encoder import Encoder, Tokens
from nait_index.building.columns import Widths, column_types, dims_of
from nait_index.building.intake import Intake, Spool, WorkRow
from nait_index.building.shards import SHARD_ROWS
from nait_index.config import SignatureConfig
from nait_index.corpus import Template, rejected_writer
from nait_index.signatures.features import Feature
from nait_index.types import Rejected, Sample

logger = logging.getLogger(__name__)

_TIMED_SECONDS, _TIMED_ROWS = 5.0, 128


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a build.

    :param rows: to index; :param tokens: to run, and :param truncated: rows that will be cut, both extrapolated from a
        random sample; :param tokens_per_second: as measured on part of that sample.
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


def estimate(
    items: Iterable[Sample | Rejected], encoder: Encoder, template: Template, signatures: SignatureConfig
) -> Estimate:
    """Read the whole corpus, tokenise a random sample of it and run some of that. Writes nothing that stays."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "rows.jsonl", signatures.seed)
        with rejected_writer(Path(folder) / "rejected.jsonl") as rejects:
            logger.info("reading the corpus")
            counts = Intake(template, {}, 0).run(items, spool, rejects)
        sample = spool.read(spool.shards(SHARD_ROWS)[0]) if counts.new else []
        spool.remove()
    logger.info("tokenising a sample of %d rows", len(sample))
    tokens = encoder.tokenize([row.text for row in sample], add_special_tokens=template.adds_special_tokens)
    lengths = np.array([len(own.ids) for own in tokens]) if tokens else np.zeros(1)
    share = counts.new / max(len(sample), 1)
    total = int(lengths.sum() * share)
    logger.info("running some of the sample, to measure the speed")
    speed = _speed(encoder, [own for own in tokens if len(own.ids)])
    per_row = _signature_bytes(encoder, signatures, counts.new)
    return Estimate(
        rows=counts.new,
        rejected=counts.rejected,
        tokens=total,
        truncated=int(sum(own.truncated for own in tokens) * share),
        tokens_per_second=speed,
        minutes=total / speed / 60 if speed else 0.0,
        bytes_per_row=per_row,
        index_bytes=int(counts.new * (per_row + _row_bytes(sample))),
    )


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a row of a corpus comes to on average.

    :param tokens: to run; :param size: bytes in the index, signatures and row.
    """

    tokens: float = 0.0
    size: float = 0.0


def look_ahead(
    sample: Sequence[WorkRow], rows: int, encoder: Encoder, template: Template, signatures: SignatureConfig
) -> Outlook:
    """Tell from a small random sample what the rows of a build come to.

    :param rows: of the whole build.
    """
    if not sample:
        return Outlook()
    tokens = encoder.tokenize([row.text for row in sample], add_special_tokens=template.adds_special_tokens)
    mean = sum(len(own.ids) for own in tokens) / len(sample)
    return Outlook(mean, _signature_bytes(encoder, signatures, rows) + _row_bytes(sample))


def _signature_bytes(encoder: Encoder, signatures: SignatureConfig, rows: int) -> int:
    """Give the bytes of the signatures of one of so many rows."""
    widths = Widths.of(encoder)
    asked = dims_of(signatures)
    most = min(signatures.reservoir, rows)
    dims = None if asked is None else {feature: min(asked[feature], most) for feature in Feature}
    columns = [own for view in signatures.views for own in column_types(view, widths, signatures, dims).values()]
    return sum(dtype.itemsize * width for dtype, width in columns)


def _row_bytes(sample: Sequence[WorkRow]) -> float:
    return sum(len(row.row.encode()) for row in sample) / max(len(sample), 1)


def _speed(encoder: Encoder, tokens: Sequence[Tokens]) -> float:
    """Measure tokens per second for some seconds, a random few texts at a time after one to warm up."""
    for _ in encoder.encode(tokens[:1]):
        pass
    run = 0
    started = time.monotonic()
    for at in range(0, len(tokens), _TIMED_ROWS):
        for batch in encoder.encode(tokens[at : at + _TIMED_ROWS]):
            run += sum(len(tokens[at + row].ids) for row in batch.rows)
        if time.monotonic() - started > _TIMED_SECONDS:
            break
    return run / max(time.monotonic() - started, 1e-9)
