"""One shard through the model: run, pool, compress."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nait_index.activations.encoder import Encoder, Pooled, Tokens
from nait_index.building.columns import (
    Widths,
    all_column_types,
    column_types,
    dense_columns,
    direct_columns,
    empty_columns,
)
from nait_index.building.intake import WorkRow
from nait_index.building.staging import ShardFacts
from nait_index.config import SignatureConfig
from nait_index.signatures.pca import Compressor
from nait_index.store.samples import GRADIENT

if TYPE_CHECKING:
    from nait_index.activations.gradients.encoder import Gradients

SHARD_ROWS = 1024
"""Rows committed at a time. Batches are made within a shard, so the numbers depend on it: it never changes."""

_AT_ONCE = 32 << 20
"""Bytes of pooled activations that are projected at a time."""

GradientSource = Callable[[Sequence[Tokens]], Iterable["Gradients"]]
"""Makes the projected gradients of tokenised texts, batch by batch."""


class ShardSink(Protocol):
    """Takes the pooled activations of a shard, batch by batch, as they come from the model."""

    columns: dict[str, np.ndarray]
    """Signature columns (n, width), filled as batches come."""

    def put(self, pooled: Pooled) -> None:
        """Take some rows of the shard."""

    def finish(self) -> None:
        """Do what is left to do when all rows were taken."""


class ArraySink:
    """Keeps the neurons' activations themselves (n, 2, D), and the columns that need no basis."""

    def __init__(self, array: np.ndarray, widths: Widths, config: SignatureConfig) -> None:
        self._array, self._widths, self._config = array, widths, config
        types = {name: own for view in config.views for name, own in column_types(view, widths, config, None).items()}
        self.columns = empty_columns(len(array), types, dense=False)

    def put(self, pooled: Pooled) -> None:
        """Copy them into place."""
        self._array[pooled.rows] = pooled.values
        for name, values in direct_columns(pooled, self._widths, self._config).items():
            self.columns[name][pooled.rows] = values

    def finish(self) -> None:
        """Everything is in place already."""


class SignatureSink:
    """Keeps signatures only."""

    def __init__(self, size: int, widths: Widths, config: SignatureConfig, compressor: Compressor) -> None:
        self._widths, self._config, self._compressor = widths, config, compressor
        self.columns = empty_columns(size, all_column_types(widths, config, compressor), dense=True)
        self._waiting: list[Pooled] = []
        self._waiting_bytes = 0

    def put(self, pooled: Pooled) -> None:
        """Keep what needs no basis, and the rest until there is enough of it: a product reads the whole basis."""
        for name, values in direct_columns(pooled, self._widths, self._config).items():
            self.columns[name][pooled.rows] = values
        self._waiting.append(pooled)
        self._waiting_bytes += pooled.values.nbytes
        if self._waiting_bytes >= _AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Compress what waits, and copy the signatures into place."""
        if self._waiting:
            rows = np.concatenate([own.rows for own in self._waiting])
            pooled = np.concatenate([own.values for own in self._waiting])
            self._waiting, self._waiting_bytes = [], 0
            for name, values in dense_columns(pooled, self._config, self._compressor).items():
                self.columns[name][rows] = values


def run_shard(
    encoder: Encoder,
    tokens: Sequence[Tokens],
    sink: ShardSink,
    advance: Callable[[int, int], None] = lambda rows, tokens: None,
    gradients: GradientSource | None = None,
) -> ShardFacts:
    """Run the tokenised texts of one shard through the model into a sink.

    A text without tokens, or whose activations are not finite, gets a reason instead.

    :param advance: told the number of rows and tokens of every batch that is done.
    :param gradients: makes the projected gradients of tokenised texts, where they are kept.
    """
    n_tokens = np.array([len(own.ids) for own in tokens], dtype=np.int32)
    reasons = {row: "its text has no tokens" for row, own in enumerate(tokens) if len(own.ids) == 0}
    usable = np.array([row for row in range(len(tokens)) if row not in reasons], dtype=np.int64)
    untokenised = len(tokens) - len(usable)
    for batch in encoder.encode([tokens[row] for row in usable]):
        rows = usable[batch.rows]
        finite = batch.finite
        reasons |= {int(row): "the model's activations for it are not finite" for row in rows[~finite]}
        batch = replace(batch, rows=rows)
        sink.put(batch if finite.all() else batch.take(finite))
        advance(len(rows), int(n_tokens[rows].sum()))
    sink.finish()
    if gradients is not None:
        usable = np.array([row for row in usable if row not in reasons], dtype=np.int64)
        for made in gradients([tokens[row] for row in usable]):
            sink.columns[GRADIENT][usable[made.rows]] = made.values
            reasons |= {int(usable[row]): reason for row, reason in made.reasons.items()}
    advance(untokenised, 0)
    return ShardFacts(n_tokens, np.array([own.truncated for own in tokens], dtype=bool), reasons)


def table_columns(rows: Sequence[WorkRow], facts: ShardFacts, signatures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Put rows, facts and signatures together as columns of the table, usable rows only."""
    usable = facts.usable
    own = [rows[i] for i in usable]
    return {
        "id": [row.id for row in own],
        "position": [row.position for row in own],
        "row": [row.row for row in own],
        "format": [str(row.format) for row in own],
        "content_hash": [row.content_hash for row in own],
        "file": [row.origin.file for row in own],
        "file_row": [row.origin.row for row in own],
        "n_tokens": facts.n_tokens[usable],
        "truncated": facts.truncated[usable],
    } | {name: values[usable] for name, values in signatures.items()}
