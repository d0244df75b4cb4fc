"""One shard through the model: tokenise, run, pool, compress."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nait_index.activations.encoder import Encoder
from nait_index.building.intake import WorkRow
from nait_index.building.staging import ShardFacts
from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.signatures.topk import kept, number_dtype, top_neurons
from nait_index.store.samples import TOPK_NUMBERS, TOPK_VALUES, dense_column

SHARD_ROWS = 1024
"""Rows committed at a time. Batches are made within a shard, so the numbers depend on it: it never changes."""


def signature_columns(config: SignatureConfig, compressor: Compressor) -> dict[str, tuple["np.dtype[Any]", int]]:
    """Give dtype and width of every signature column of an index."""
    columns: dict[str, tuple[np.dtype[Any], int]] = {}
    if View.PCA in config.views:
        columns |= {dense_column(feature): (compressor.dtype, compressor.dim(feature)) for feature in Feature}
    if View.TOPK in config.views:
        width = kept(compressor.widths, config.topk)
        columns[TOPK_NUMBERS] = (number_dtype(compressor.widths), width)
        columns[TOPK_VALUES] = (np.dtype(np.float16), width)
    return columns


def compress(pooled: np.ndarray, config: SignatureConfig, compressor: Compressor) -> dict[str, np.ndarray]:
    """Turn pooled activations (n, 2, D) into the signature columns, (n, width) each."""
    columns: dict[str, np.ndarray] = {}
    if View.PCA in config.views:
        columns |= {dense_column(feature): compressor.compress(pooled, feature) for feature in Feature}
    if View.TOPK in config.views:
        columns[TOPK_NUMBERS], columns[TOPK_VALUES] = top_neurons(pooled[:, 0], compressor.widths, config.topk)
    return columns


def compress_in_chunks(
    pooled: np.ndarray, config: SignatureConfig, compressor: Compressor, rows: int = 256
) -> dict[str, np.ndarray]:
    """Do the same for activations that lie on disk, some rows at a time."""
    parts = [compress(pooled[at : at + rows], config, compressor) for at in range(0, len(pooled), rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class ShardSink(Protocol):
    """Takes the pooled activations of a shard, batch by batch, as they come from the model."""

    def put(self, rows: np.ndarray, pooled: np.ndarray) -> None:
        """Take rows (b,) of the shard with their pooled activations (b, 2, D)."""


class ArraySink:
    """Keeps the activations themselves."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def put(self, rows: np.ndarray, pooled: np.ndarray) -> None:
        """Copy them into place."""
        self._array[rows] = pooled


class SignatureSink:
    """Keeps signatures only."""

    def __init__(self, size: int, config: SignatureConfig, compressor: Compressor) -> None:
        self._config, self._compressor = config, compressor
        self.columns = {
            name: np.zeros((size, width), dtype)
            for name, (dtype, width) in signature_columns(config, compressor).items()
        }

    def put(self, rows: np.ndarray, pooled: np.ndarray) -> None:
        """Compress them and copy the signatures into place."""
        for name, values in compress(pooled, self._config, self._compressor).items():
            self.columns[name][rows] = values


def run_shard(
    encoder: Encoder,
    texts: Sequence[str],
    add_special_tokens: bool,
    sink: ShardSink,
    advance: Callable[[int, int], None] = lambda rows, tokens: None,
) -> ShardFacts:
    """Run the texts of one shard through the model into a sink.

    A text without tokens, or whose activations are not finite, gets a reason instead.

    :param advance: told the number of rows and tokens of every batch that is done.
    """
    tokens = encoder.tokenize(texts, add_special_tokens=add_special_tokens)
    n_tokens = np.array([len(own.ids) for own in tokens], dtype=np.int32)
    reasons = {row: "its text has no tokens" for row, own in enumerate(tokens) if len(own.ids) == 0}
    usable = np.array([row for row in range(len(tokens)) if row not in reasons], dtype=np.int64)
    for batch in encoder.encode([tokens[row] for row in usable]):
        rows = usable[batch.rows]
        finite = np.isfinite(batch.values).all(axis=(1, 2))
        reasons |= {int(row): "the model's activations for it are not finite" for row in rows[~finite]}
        if finite.all():
            sink.put(rows, batch.values)
        else:
            sink.put(rows[finite], batch.values[finite])
        advance(len(rows), int(n_tokens[rows].sum()))
    advance(len(tokens) - len(usable), 0)
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
