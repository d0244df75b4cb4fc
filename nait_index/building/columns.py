"""The signature columns of an index: which each view has, and how they are made of pooled activations.

Columns of the view ``pca`` need the fitted basis; all others are made at once of what comes from the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.activations.device import multiply
from nait_index.activations.encoder import Encoder, Pooled
from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import POOLINGS, Feature, layer_norms
from nait_index.signatures.pca import Compressor, Dims
from nait_index.signatures.topk import kept, number_dtype, top_neurons
from nait_index.store.samples import (
    GRADIENT,
    HIDDEN_MEAN,
    HIDDEN_WEIGHTED,
    NORMS,
    SAE_NUMBERS,
    SAE_VALUES,
    TOPK_NUMBERS,
    TOPK_VALUES,
    dense_column,
)

ColumnTypes = Mapping[str, tuple["np.dtype[Any]", int]]
"""Dtype and width of signature columns, by name."""

_HALF_LIMIT = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class Widths:
    """How wide what comes from the model is: neurons of every layer, hidden states H, codes F."""

    neurons: tuple[int, ...]
    hidden: int
    latents: int = 0

    @classmethod
    def of(cls, encoder: Encoder) -> "Widths":
        """Read them off an encoder."""
        sae = encoder.probes.sae
        return cls(encoder.widths, encoder.hidden_size, 0 if sae is None else sae.latents)


def dims_of(config: SignatureConfig) -> Dims | None:
    """Give the widths of dense signatures that were asked for; ``None`` for whole vectors."""
    return None if config.pca_dim is None else Dims(config.pca_dim, config.fine_dim)


def column_types(
    view: View, widths: Widths, config: SignatureConfig, dims: Mapping[Feature, int] | None
) -> ColumnTypes:
    """Give the columns of one view.

    :param dims: width d of each dense signature as the basis has it; ``None`` where they are whole.
    """
    half = np.dtype(np.float16)
    if view is View.PCA:
        whole = {feature: len(POOLINGS[feature]) * sum(widths.neurons) for feature in Feature}
        dtype = np.dtype(np.float32 if dims is None else np.int8)
        dense = {dense_column(feature): (dtype, (dims or whole)[feature]) for feature in Feature}
        return dense | {NORMS: (np.dtype(np.float32), len(widths.neurons))}
    if view is View.TOPK:
        count = kept(widths.neurons, config.topk)
        return {TOPK_NUMBERS: (number_dtype(widths.neurons), count), TOPK_VALUES: (half, count)}
    if view is View.HIDDEN:
        return {HIDDEN_MEAN: (half, widths.hidden), HIDDEN_WEIGHTED: (half, widths.hidden)}
    if view is View.SAE:
        from nait_index.signatures.codes import code_dtype

        count = min(config.sae_keep, widths.latents)
        return {SAE_NUMBERS: (code_dtype(widths.latents), count), SAE_VALUES: (half, count)}
    return {GRADIENT: (half, config.grad_dim)}


def all_column_types(widths: Widths, config: SignatureConfig, compressor: Compressor) -> ColumnTypes:
    """Give all signature columns of an index."""
    dims = {feature: compressor.dim(feature) for feature in Feature}
    types: dict[str, tuple[np.dtype[Any], int]] = {}
    for view in config.views:
        types |= column_types(view, widths, config, dims if compressor.bases else None)
    return types


def direct_columns(pooled: Pooled, widths: Widths, config: SignatureConfig) -> dict[str, np.ndarray]:
    """Make the columns that need no basis of one batch: (b, width) each."""
    columns: dict[str, np.ndarray] = {}
    if View.PCA in config.views:
        columns[NORMS] = layer_norms(pooled.values[:, 0], widths.neurons)
    if pooled.impact is not None:
        columns[TOPK_NUMBERS], columns[TOPK_VALUES] = top_neurons(pooled.impact, widths.neurons, config.topk)
    if pooled.hidden is not None:
        states = np.clip(pooled.hidden, -_HALF_LIMIT, _HALF_LIMIT).astype(np.float16)
        columns[HIDDEN_MEAN], columns[HIDDEN_WEIGHTED] = states[:, 0], states[:, 1]
    if pooled.codes is not None:
        from nait_index.signatures.codes import top_codes

        columns[SAE_NUMBERS], columns[SAE_VALUES] = top_codes(pooled.codes, config.sae_keep)
    return columns


def dense_columns(
    pooled: np.ndarray, config: SignatureConfig, compressor: Compressor, rows: int = 256
) -> dict[str, np.ndarray]:
    """Make the columns that need the basis of pooled activations (n, 2, D), which may lie on disk."""
    if View.PCA not in config.views:
        return {}
    starts = range(0, max(len(pooled), 1), rows)
    return {
        dense_column(feature): np.concatenate(
            [compressor.compress(pooled[at : at + rows], feature, multiply) for at in starts]
        )
        for feature in Feature
    }


def empty_columns(size: int, types: ColumnTypes, *, dense: bool) -> dict[str, np.ndarray]:
    """Make room for ``size`` rows of the columns that need no basis, and with ``dense`` of all."""
    needing = {dense_column(feature) for feature in Feature}
    return {
        name: np.zeros((size, width), dtype) for name, (dtype, width) in types.items() if dense or name not in needing
    }
