"""The views: which columns each kind of signature has, and how they are made.

The columns of the view ``pca`` that need the fitted basis are made by :mod:`nait_index.signatures.projection`, those of
the view ``words`` by :func:`word_columns`, those of the view ``grad`` by a pass of its own; all others directly from
what the forward pass pools.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import POOLINGS, Feature, layer_norms
from nait_index.signatures.pca import Compressor, Dims
from nait_index.signatures.sparse import HALF_LIMIT, kept, number_dtype, top_codes, top_neurons
from nait_index.signatures.words import Document

if TYPE_CHECKING:
    import torch

NORMS = "pca_norms"
TOPK_NUMBERS, TOPK_VALUES = "topk_neurons", "topk_values"
HIDDEN_MEAN, HIDDEN_WEIGHTED = "hidden_mean", "hidden_weighted"
SAE_NUMBERS, SAE_VALUES = "sae_codes", "sae_values"
GRADIENT = "grad"
"""Of unit length: the step of Adam on a row; of an example, its plain gradient, of length 0 where it has none."""
WORDS = "words_lsa"

VIEW_OF = dict.fromkeys(POOLINGS, View.PCA) | {Feature.WORDS: View.WORDS, Feature.HIDDEN: View.HIDDEN}
"""The view that holds each feature."""

SCANNED = (Feature.UNIT, Feature.WORDS)
"""The features that a copy is made of when an index is built, for searches to scan."""

ColumnTypes = Mapping[str, tuple["np.dtype[Any]", int]]
"""Dtype and width of signature columns, by name."""

_HALF = np.dtype(np.float16)


_ELSEWHERE = {Feature.WORDS: WORDS, Feature.HIDDEN: HIDDEN_MEAN}


def dense_column(feature: Feature) -> str:
    """Return the name of the column that a feature is compared by."""
    return _ELSEWHERE.get(feature, f"pca_{feature}")


@dataclass(frozen=True, slots=True)
class Widths:
    """Sizes of the model: neurons of every layer, hidden states H, codes F of the autoencoder."""

    neurons: tuple[int, ...]
    hidden: int
    latents: int = 0


def dims_of(config: SignatureConfig) -> Dims | None:
    """Return the requested widths of dense signatures; ``None`` for whole vectors, and for none without their view."""
    if config.pca_dim is None or View.PCA not in config.views:
        return None
    return Dims(config.pca_dim, config.fine_dim)


def column_types(config: SignatureConfig, widths: Widths, dims: Mapping[Feature, int] | None) -> ColumnTypes:
    """Return all signature columns of an index.

    :param dims: width d of each dense signature; ``None`` where they are whole vectors.
    """
    whole = {feature: len(POOLINGS[feature]) * sum(widths.neurons) for feature in POOLINGS}
    dense = np.dtype(np.float32 if dims is None else np.int8)
    neurons, codes = kept(widths.neurons, config.topk), min(config.sae_keep, widths.latents)
    types: Mapping[View, ColumnTypes] = {
        View.PCA: {dense_column(feature): (dense, (dims or whole)[feature]) for feature in POOLINGS}
        | {NORMS: (np.dtype(np.float32), len(widths.neurons))},
        View.TOPK: {TOPK_NUMBERS: (number_dtype(widths.neurons), neurons), TOPK_VALUES: (_HALF, neurons)},
        View.HIDDEN: dict.fromkeys((HIDDEN_MEAN, HIDDEN_WEIGHTED), (_HALF, widths.hidden)),
        View.SAE: {SAE_NUMBERS: (number_dtype((widths.latents,)), codes), SAE_VALUES: (_HALF, codes)},
        View.GRAD: gradient_column(config),
        View.LANDMARKS: {},  # in a file of their own
        View.WORDS: {WORDS: (np.dtype(np.int8), config.words_dim)},
    }
    return {name: column for view in config.views for name, column in types[view].items()}


def gradient_column(config: SignatureConfig) -> ColumnTypes:
    """Return the column of gradients, which examples have where an index has either view of them."""
    return {GRADIENT: (_HALF, config.grad_dim * config.grad_checkpoints)}


def example_types(config: SignatureConfig, table: ColumnTypes) -> ColumnTypes:
    """Return the columns that examples have in an index with the given columns of its table."""
    return {**table, **gradient_column(config)} if View.LANDMARKS in config.views else table


def direct_columns(
    mean: "torch.Tensor",
    impact: "torch.Tensor | None",
    hidden: "torch.Tensor | None",
    codes: "torch.Tensor | None",
    widths: Widths,
    config: SignatureConfig,
) -> "dict[str, torch.Tensor]":
    """Make the columns of b texts that need no basis, (b, width) each, from float32; ``None`` for what no view needs.

    They are computed on the device that the numbers are on.

    :param mean: (b, D) mean of every neuron; :param impact: (b, D) mean size of every neuron's up-projection.
    :param hidden: (b, 2, H) mean and position-weighted mean of the last hidden states.
    :param codes: (b, F) mean codes of the sparse autoencoder.
    """
    columns: dict[str, torch.Tensor] = {}
    if View.PCA in config.views:
        columns[NORMS] = layer_norms(mean, widths.neurons)
    if View.TOPK in config.views:
        assert impact is not None
        columns[TOPK_NUMBERS], columns[TOPK_VALUES] = top_neurons(impact, widths.neurons, config.topk)
    if View.HIDDEN in config.views:
        assert hidden is not None
        states = hidden.clamp(-HALF_LIMIT, HALF_LIMIT).half()
        columns[HIDDEN_MEAN], columns[HIDDEN_WEIGHTED] = states[:, 0], states[:, 1]
    if View.SAE in config.views:
        assert codes is not None
        columns[SAE_NUMBERS], columns[SAE_VALUES] = top_codes(codes, config.sae_keep)
    return columns


def word_columns(
    documents: Sequence[Document], config: SignatureConfig, compressor: Compressor
) -> dict[str, np.ndarray]:
    """Make the columns of the view ``words`` from the terms of n rows, each (n, width)."""
    return {WORDS: compressor.compress_words(documents)} if View.WORDS in config.views else {}


def empty_columns(size: int, types: ColumnTypes, *, dense: bool) -> dict[str, np.ndarray]:
    """Allocate ``size`` rows of zeros for what the model fills; with ``dense``, for what needs the basis too."""
    left_out = {WORDS} if dense else {WORDS, *(dense_column(feature) for feature in POOLINGS)}
    return {name: np.zeros((size, width), dtype) for name, (dtype, width) in types.items() if name not in left_out}
