"""The basis of an index: fitted on the first shards, measured on the next one, compared with rows that come later."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nait_index.building.encoder import IndexEncoder
from nait_index.building.shards import SHARD_ROWS, Reservoir, StagedShard
from nait_index.config import SignatureConfig, View
from nait_index.methods.nait import calibrated_direction
from nait_index.methods.probe import train
from nait_index.signatures.features import Feature, layer_slices, unit_block
from nait_index.signatures.fit import PooledBlock, fit, with_words
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import dense_column, dims_of
from nait_index.signatures.words import Document
from nait_index.store.samples import SampleTable

logger = logging.getLogger(__name__)

_CAPABILITIES, _EXAMPLES, _SHARE = 8, 16, 0.1
_FIDELITY_ROWS = 100
"""Fewest rows that fidelity is measured on: a tenth of fewer is too coarse a measure."""

_FAITHFUL = 0.97
_STALE = 1.5
_SHIFT_SAMPLE, _SHIFT_ROWS = 4096, 16
"""Most and fewest rows of each kind that a shift is measured on."""


# ---- fit ----------------------------------------------------------------------------------------------------------


def fitted_shards(config: SignatureConfig) -> int:
    """Return how many shards the basis is fitted on."""
    return -(-config.reservoir // SHARD_ROWS)


def fit_basis(
    staged: Sequence[StagedShard],
    encoder: IndexEncoder,
    documents: Callable[[int], Sequence[Document]],
) -> Compressor | None:
    """Fit the basis on the first of the staged shards; ``None`` where none of their rows can be used.

    :param documents: returns the terms of the usable rows of one of the staged shards, by its number.
    """
    config, widths = encoder.signatures, encoder.widths.neurons
    shards = staged[: fitted_shards(config)]
    reservoir = Reservoir(shards)
    if not len(reservoir):
        return None
    dims = dims_of(config) if widths else None
    compressor = fit(reservoir.read, widths, dims, encoder.arithmetic)
    if View.WORDS in config.views:
        logger.info("fitting the words of %d rows", len(reservoir))
        fitted = [document for number in range(len(shards)) for document in documents(number)]
        compressor = with_words(compressor, fitted, config.words_dim)
    return compressor


# ---- fidelity -----------------------------------------------------------------------------------------------------
#
# How faithful signatures are: of the rows that whole activations choose, the share that signatures choose as well.
#
# No capability is known when an index is built, so capabilities are made from its own rows: a random row and its
# nearest neighbours serve as the examples, and every row of a sample is scored for them, by whole vectors and by
# signatures.
#
# Whole vectors are never held in memory. The scores need only their inner products, summed layer by layer, and
# coordinates that have the same inner products.


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Overlap of the chosen tenths, lowest and mean over the capabilities.

    :param rows: of the sample; :param held_out: whether the basis was fitted without them.
    """

    probe: tuple[float, float]
    nait: tuple[float, float]
    rows: int
    held_out: bool


def fidelity_of(
    staged: Sequence[StagedShard], compressor: Compressor, encoder: IndexEncoder
) -> Mapping[str, Any] | None:
    """Measure how faithful the signatures of one staged shard are; ``None`` where there is nothing to measure.

    It is the last shard with enough rows: where there is one, a shard that the basis was not fitted on.
    """
    config = encoder.signatures
    if not compressor.bases or View.PCA not in config.views:
        return None
    large = [number for number, shard in enumerate(staged) if len(Reservoir([shard])) >= _FIDELITY_ROWS]
    if not large:
        return None
    last = staged[large[-1]]
    sample, facts = Reservoir([last]), last.facts()
    assert facts is not None
    columns = encoder.compress(last.pooled(), compressor)
    unit, mean = (columns[dense_column(feature)][facts.usable] for feature in (Feature.UNIT, Feature.MEAN))
    held_out = large[-1] >= fitted_shards(config)
    return asdict(measure_fidelity(sample.read, unit, mean, compressor, seed=config.seed, held_out=held_out))


def measure_fidelity(
    read: PooledBlock, unit: np.ndarray, mean: np.ndarray, compressor: Compressor, *, seed: int, held_out: bool
) -> Fidelity:
    """Measure the fidelity of signatures on a sample of rows.

    :param read: reads their pooled activations block by block; :param unit: their signatures of unit vectors (n, d).
    :param mean: their signatures of mean activations (n, d').
    """
    products = _products(read, compressor)
    sets = _example_sets(products, seed)
    whole, stored = _coordinates(products), compressor.restore(unit, Feature.UNIT)
    probe = [overlap(_probe(whole, examples), _probe(stored, examples)) for examples in sets]
    nait = _nait(read, compressor.restore(mean, Feature.MEAN), compressor, sets)
    return Fidelity(_summary(probe), _summary(nait), len(unit), held_out)


def unfaithful(fidelity: Mapping[str, Any] | None) -> list[str]:
    """Return one warning for every method whose rows the signatures do not choose well."""
    options = {"probe": "--pca-dim", "nait": "--fine-dim"}
    return [
        f"the signatures choose {fidelity[method][1]:.0%} of the rows that whole activations choose for {method}; a "
        f"larger {option} chooses more of them"
        for method, option in options.items()
        if fidelity is not None and fidelity[method][1] < _FAITHFUL
    ]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of the tenth with the highest scores that two arrays of scores (n,) agree on."""
    k = max(1, int(len(first) * _SHARE))
    best = [set(np.argsort(-scores, kind="stable")[:k].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / k


def _summary(overlaps: Sequence[float]) -> tuple[float, float]:
    return round(min(overlaps), 4), round(sum(overlaps) / len(overlaps), 4)


def _products(read: PooledBlock, compressor: Compressor) -> np.ndarray:
    """Sum the inner products (n, n) of whole unit vectors."""
    total: np.ndarray | float = 0.0
    for pooling in (0, 1):
        for neurons in layer_slices(compressor.widths):
            block = unit_block(read(pooling, neurons) - compressor.center[pooling, neurons], len(compressor.widths))
            total = total + block @ block.T
    return np.asarray(total)


def _coordinates(products: np.ndarray) -> np.ndarray:
    """Return vectors (n, n) that have these inner products."""
    from scipy.linalg import eigh

    values, vectors = eigh(products.astype(np.float64))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32))


def _example_sets(products: np.ndarray, seed: int) -> list[np.ndarray]:
    """Return the rows nearest to each of some random rows, themselves included."""
    n = len(products)
    chosen = np.random.default_rng(seed).permutation(n)[:_CAPABILITIES]
    return [np.argsort(-products[row], kind="stable")[: min(_EXAMPLES, max(2, n // 4))] for row in chosen]


def _probe(vectors: np.ndarray, examples: np.ndarray) -> np.ndarray:
    return np.asarray(vectors @ train(vectors[examples], vectors).vector)


def _nait(read: PooledBlock, means: np.ndarray, compressor: Compressor, sets: Sequence[np.ndarray]) -> list[float]:
    """Score by NAIT's directions, whole and projected on the components."""
    components = compressor.components(Feature.MEAN)
    whole = np.zeros((len(sets), len(means)))
    queries = np.zeros((len(sets), len(components)), dtype=np.float32)
    for neurons in layer_slices(compressor.widths):
        layer, drifts = read(0, neurons) - compressor.center[0, neurons], read(1, neurons)
        directions = np.stack([calibrated_direction(drifts[examples]) for examples in sets]).astype(np.float32)
        whole += directions @ layer.T
        queries += directions @ components[:, neurons].T.astype(np.float32)
    return [overlap(exact, stored) for exact, stored in zip(whole, queries @ means.T, strict=True)]


# ---- shift --------------------------------------------------------------------------------------------------------
#
# How well the basis fits rows that came later. A vector of the feature ``unit`` has length 1, so a signature s loses
# 1 − ‖s‖² of it: the reconstruction error of every row follows from its signature alone. Rows unlike those of the first
# build lie outside the span of its principal components, and their error is larger.


@dataclass(frozen=True, slots=True)
class Shift:
    """Mean reconstruction error, as a share of 1, of the rows of the first build and of the new ones.

    :param rows: how many of each it was measured on.
    """

    first: float
    new: float
    rows: tuple[int, int]

    @property
    def warnings(self) -> list[str]:
        """A warning if a new basis should be fitted."""
        if self.new <= _STALE * self.first:
            return []
        return [
            f"the corpus has shifted: signatures leave out {self.new:.0%} of the new rows, but {self.first:.0%} of "
            "those that the basis was fitted for; 'nait-index rebuild INDEX NEW' fits one to all rows"
        ]


def measure_shift(
    table: SampleTable, compressor: Compressor, fitted: int, first_rows: int, first_new: int
) -> Shift | None:
    """Compare the rows from position ``first_new`` on with those of the first build, before ``first_rows``.

    :param fitted: how many rows, the first of the table, the basis was fitted on. They are left out of the comparison,
        since a basis fits them better than any other rows.
    :returns: ``None`` where there are too few of either, or signatures are exact.
    """
    column = dense_column(Feature.UNIT)
    if not compressor.bases or column not in table.schema().names:
        return None
    count, old = table.last_between(0, first_rows, _SHIFT_SAMPLE)
    _, new = table.last_between(first_new, None, _SHIFT_SAMPLE)
    unfitted = max(0, count - fitted)
    if min(unfitted, len(new)) < _SHIFT_ROWS:
        return None
    samples = old[-unfitted:], new
    first, now = (_error(table.signatures_at(rows, column), compressor) for rows in samples)
    return Shift(first, now, (len(samples[0]), len(samples[1])))


def _error(signatures: np.ndarray, compressor: Compressor) -> float:
    coordinates = compressor.restore(signatures, Feature.UNIT).astype(np.float64)
    return float(np.mean(1 - np.einsum("nd,nd->n", coordinates, coordinates)))
