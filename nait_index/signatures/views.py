"""The views as data: what each kind of signature needs of the model, which columns it has, and how they are made.

The columns of the view ``pca`` that need the fitted basis are made by :func:`dense_columns`, those of the view ``grad``
by a pass of its own; all others directly from what the forward pass pools.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np

from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import POOLINGS, Feature, layer_norms
from nait_index.signatures.pca import Compressor, Dims, Product
from nait_index.signatures.sparse import kept, number_dtype, top_codes, top_neurons

NORMS = "pca_norms"
TOPK_NUMBERS, TOPK_VALUES = "topk_neurons", "topk_values"
HIDDEN_MEAN, HIDDEN_WEIGHTED = "hidden_mean", "hidden_weighted"
SAE_NUMBERS, SAE_VALUES = "sae_codes", "sae_values"
GRADIENT = "grad"
"""Of unit length: the step of Adam on a row; of an example, its plain gradient."""

ColumnTypes = Mapping[str, tuple["np.dtype[Any]", int]]
"""Dtype and width of signature columns, by name."""

_HALF = np.dtype(np.float16)
_HALF_LIMIT = float(np.finfo(np.float16).max)


def dense_column(feature: str) -> str:
    """Return the name of the column of a dense signature."""
    return f"pca_{feature}"


class Need(StrEnum):
    """What a view needs of the model besides the neurons' activations."""

    IMPACT = "impact"
    HIDDEN = "hidden"
    CODES = "codes"
    GRADIENTS = "gradients"


class Activations(Protocol):
    """What one batch of b texts gives, float32; ``None`` for what no view needs."""

    @property
    def values(self) -> np.ndarray:
        """Mean and drift of every neuron (b, 2, D)."""

    @property
    def impact(self) -> np.ndarray | None:
        """Mean size of every neuron's up-projection (b, D)."""

    @property
    def hidden(self) -> np.ndarray | None:
        """Mean and position-weighted mean of the last hidden states (b, 2, H)."""

    @property
    def codes(self) -> np.ndarray | None:
        """Mean codes of the sparse autoencoder (b, F)."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes of the model: neurons of every layer, hidden states H, codes F of the autoencoder."""

    neurons: tuple[int, ...]
    hidden: int
    latents: int = 0


@dataclass(frozen=True, slots=True)
class ViewRecord:
    """One view.

    :param need: what it needs of the model besides the neurons; ``None`` for nothing.
    :param types: the dtype and width of its columns; a dense signature is as wide as in the last argument, and holds
        whole vectors where that is ``None``.
    :param make: makes the columns (b, width) that need no basis from the activations of a batch.
    """

    need: Need | None
    types: Callable[[Widths, SignatureConfig, Mapping[Feature, int] | None], ColumnTypes]
    make: Callable[[Activations, Widths, SignatureConfig], dict[str, np.ndarray]]


def _pca_types(widths: Widths, config: SignatureConfig, dims: Mapping[Feature, int] | None) -> ColumnTypes:
    whole = {feature: len(POOLINGS[feature]) * sum(widths.neurons) for feature in Feature}
    dtype = np.dtype(np.float32 if dims is None else np.int8)
    dense = {dense_column(feature): (dtype, (dims or whole)[feature]) for feature in Feature}
    return dense | {NORMS: (np.dtype(np.float32), len(widths.neurons))}


def _topk_types(widths: Widths, config: SignatureConfig, dims: Mapping[Feature, int] | None) -> ColumnTypes:
    count = kept(widths.neurons, config.topk)
    return {TOPK_NUMBERS: (number_dtype(widths.neurons), count), TOPK_VALUES: (_HALF, count)}


def _topk_columns(batch: Activations, widths: Widths, config: SignatureConfig) -> dict[str, np.ndarray]:
    assert batch.impact is not None
    numbers, values = top_neurons(batch.impact, widths.neurons, config.topk)
    return {TOPK_NUMBERS: numbers, TOPK_VALUES: values}


def _hidden_columns(batch: Activations, widths: Widths, config: SignatureConfig) -> dict[str, np.ndarray]:
    assert batch.hidden is not None
    states = np.clip(batch.hidden, -_HALF_LIMIT, _HALF_LIMIT).astype(np.float16)
    return {HIDDEN_MEAN: states[:, 0], HIDDEN_WEIGHTED: states[:, 1]}


def _sae_types(widths: Widths, config: SignatureConfig, dims: Mapping[Feature, int] | None) -> ColumnTypes:
    count = min(config.sae_keep, widths.latents)
    return {SAE_NUMBERS: (number_dtype((widths.latents,)), count), SAE_VALUES: (_HALF, count)}


def _sae_columns(batch: Activations, widths: Widths, config: SignatureConfig) -> dict[str, np.ndarray]:
    assert batch.codes is not None
    numbers, values = top_codes(batch.codes, config.sae_keep)
    return {SAE_NUMBERS: numbers, SAE_VALUES: values}


VIEWS: Mapping[View, ViewRecord] = {
    View.PCA: ViewRecord(
        need=None,
        types=_pca_types,
        make=lambda batch, widths, config: {NORMS: layer_norms(batch.values[:, 0], widths.neurons)},
    ),
    View.TOPK: ViewRecord(need=Need.IMPACT, types=_topk_types, make=_topk_columns),
    View.HIDDEN: ViewRecord(
        need=Need.HIDDEN,
        types=lambda widths, config, dims: dict.fromkeys((HIDDEN_MEAN, HIDDEN_WEIGHTED), (_HALF, widths.hidden)),
        make=_hidden_columns,
    ),
    View.SAE: ViewRecord(need=Need.CODES, types=_sae_types, make=_sae_columns),
    View.GRAD: ViewRecord(
        need=Need.GRADIENTS,
        types=lambda widths, config, dims: {GRADIENT: (_HALF, config.grad_dim)},
        make=lambda batch, widths, config: {},
    ),
}


def needs_of(config: SignatureConfig) -> set[Need]:
    """Return what the views of an index need of the model."""
    return {need for view in config.views if (need := VIEWS[view].need) is not None}


def dims_of(config: SignatureConfig) -> Dims | None:
    """Return the requested widths of dense signatures; ``None`` for whole vectors."""
    return None if config.pca_dim is None else Dims(config.pca_dim, config.fine_dim)


def column_types(config: SignatureConfig, widths: Widths, dims: Mapping[Feature, int] | None) -> ColumnTypes:
    """Return all signature columns of an index.

    :param dims: width d of each dense signature; ``None`` where they are whole vectors.
    """
    types: dict[str, tuple[np.dtype[Any], int]] = {}
    for view in config.views:
        types |= VIEWS[view].types(widths, config, dims)
    return types


def direct_columns(batch: Activations, widths: Widths, config: SignatureConfig) -> dict[str, np.ndarray]:
    """Make the columns of one batch that need no basis: (b, width) each."""
    columns: dict[str, np.ndarray] = {}
    for view in config.views:
        columns |= VIEWS[view].make(batch, widths, config)
    return columns


def dense_columns(
    pooled: np.ndarray, config: SignatureConfig, compressor: Compressor, multiply: Product, rows: int = 256
) -> dict[str, np.ndarray]:
    """Make the columns that need the basis from pooled activations (n, 2, D), which may be on disk.

    :param multiply: multiplies two matrices. :param rows: how many are read at once.
    """
    if View.PCA not in config.views:
        return {}
    starts = range(0, max(len(pooled), 1), rows)
    return {
        dense_column(feature): np.concatenate(
            [compressor.compress(pooled[start : start + rows], feature, multiply) for start in starts]
        )
        for feature in Feature
    }


def empty_columns(size: int, types: ColumnTypes, *, dense: bool) -> dict[str, np.ndarray]:
    """Allocate ``size`` rows of zeros for the columns that need no basis, and with ``dense`` for all."""
    needing = {dense_column(feature) for feature in Feature}
    return {
        name: np.zeros((size, width), dtype) for name, (dtype, width) in types.items() if dense or name not in needing
    }
