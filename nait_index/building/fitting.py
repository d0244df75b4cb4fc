"""The basis of an index: fitted on its first shards, and measured on the one after them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nait_index.building.columns import dense_columns, dims_of
from nait_index.building.fidelity import measure_fidelity
from nait_index.building.shards import SHARD_ROWS
from nait_index.building.staging import Reservoir, StagedShard
from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor, fit
from nait_index.store.samples import dense_column

_LEAST_ROWS = 100
"""A tenth of fewer says little."""

_FAITHFUL = 0.97


def fitted_shards(config: SignatureConfig) -> int:
    """Give how many shards the basis is fitted on."""
    return -(-config.reservoir // SHARD_ROWS)


def fit_basis(staged: Sequence[StagedShard], widths: Sequence[int], config: SignatureConfig) -> Compressor | None:
    """Fit it on the first of the staged shards; ``None`` where none of their rows can be used."""
    reservoir = Reservoir(staged[: fitted_shards(config)])
    return fit(reservoir.read, widths, dims_of(config)) if len(reservoir) else None


def fidelity_of(
    staged: Sequence[StagedShard], compressor: Compressor, config: SignatureConfig
) -> Mapping[str, Any] | None:
    """Measure how faithful the signatures of one staged shard are; ``None`` where there is nothing to measure.

    It is the last that has rows enough: the one that the basis was not fitted on, where there is one.
    """
    if not compressor.bases or View.PCA not in config.views:
        return None
    large = [at for at, own in enumerate(staged) if len(Reservoir([own])) >= _LEAST_ROWS]
    if not large:
        return None
    last = staged[large[-1]]
    sample, facts = Reservoir([last]), last.facts()
    assert facts is not None
    columns = dense_columns(last.pooled(), config, compressor)
    unit, mean = (columns[dense_column(own)][facts.usable] for own in (Feature.UNIT, Feature.MEAN))
    held_out = large[-1] >= fitted_shards(config)
    return asdict(measure_fidelity(sample.read, unit, mean, compressor, seed=config.seed, held_out=held_out))


def unfaithful(fidelity: Mapping[str, Any] | None) -> list[str]:
    """Give one line for every method whose rows the signatures do not choose well."""
    options = {"probe": "--pca-dim", "nait": "--fine-dim"}
    return [
        f"the signatures choose {fidelity[method][1]:.0%} of the rows that whole activations choose for {method}; a "
        f"larger {option} chooses more of them"
        for method, option in options.items()
        if fidelity is not None and fidelity[method][1] < _FAITHFUL
    ]
