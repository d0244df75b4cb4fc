"""Similarities of captured rows, layer by layer: enough for `probe` and `contrast` on any part of the activations.

`probe` needs inner products alone, and those of a unit vector are the mean of its layers' cosines. So every variant's
similarities are sums of a few parts, and each part is computed once: (site, pooling, third of the layers, centring).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from benchmarks.quality.captured import Captured, CaptureSite
from nait_index.methods.probe import SAMPLE


class Third(StrEnum):
    """A third of the layers, from the input to the output."""

    EARLY = "early"
    MIDDLE = "middle"
    LATE = "late"


class CapturePooling(StrEnum):
    """What is kept of a row's tokens; the position-weighted mean is known of the last hidden states alone."""

    MEAN = "mean"
    DRIFT = "drift"
    WEIGHTED = "weighted"


_STORED = (CapturePooling.MEAN, CapturePooling.DRIFT)


class Kind(StrEnum):
    """How a part is treated: the corpus mean subtracted, not, or over the tokens of the text alone."""

    CENTRED = "centred"
    WHOLE = "not centred"
    TEXT_ONLY = "without the first token"


@dataclass(frozen=True)
class Part:
    """A part of the activations; ``third`` is ``None`` for the last hidden states, which belong to no layer."""

    site: CaptureSite | None
    pooling: CapturePooling
    third: Third | None = None
    kind: Kind = Kind.CENTRED


@dataclass
class PartSums:
    """Sums over a part's layers.

    :param cosines: (n, m) between all n rows and the m rows that represent the corpus.
    :param contrasts: (resamples, pool) cosine to each resample's mean. :param layers: how many were added up.
    """

    cosines: np.ndarray
    contrasts: np.ndarray
    layers: int = 0


@dataclass(frozen=True)
class Resamples:
    """Every draw of every capability's examples as weights over the captured rows.

    :param names: capability and draw, in order. :param weights: (resamples, n), each summing to 1.
    """

    names: list[tuple[str, str]]
    weights: np.ndarray
    position: dict[tuple[str, str], int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", {name: number for number, name in enumerate(self.names)})

    def scores_of(self, contrasts: np.ndarray) -> Callable[[str, str, np.ndarray], np.ndarray]:
        """Return what looks up a draw among the scores (resamples, pool) of all draws."""
        return lambda capability, draw, chosen: contrasts[self.position[capability, draw]]


def part_sums(captured: Captured, resamples: Resamples) -> dict[Part, PartSums]:
    """Compute every part."""
    sums: dict[Part, PartSums] = {}
    pool = len(captured.groups)
    sample = min(SAMPLE, pool)
    for part, block in _blocks(captured):
        unit, means = _unit(block), _unit(resamples.weights @ block)
        if part not in sums:
            cosines = np.zeros((len(block), sample), np.float32)
            sums[part] = PartSums(cosines, np.zeros((len(means), pool), np.float32))
        sums[part].cosines += unit @ unit[:sample].T
        sums[part].contrasts += means @ unit[:pool].T
        sums[part].layers += 1
    return sums


def _unit(block: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(block, axis=1, keepdims=True)
    unit: np.ndarray = np.divide(block, lengths, out=np.zeros_like(block), where=lengths > 0)
    return unit


def _blocks(captured: Captured, sites: Sequence[CaptureSite] = tuple(CaptureSite)) -> Iterator[tuple[Part, np.ndarray]]:
    """Yield each part's layers, (n, N) float32."""
    pool, everything = slice(0, len(captured.groups)), slice(None)
    for site in sites:
        layers = captured.columns[site]
        for layer, neurons in enumerate(layers):
            third = tuple(Third)[layer * len(Third) // len(layers)]
            text_only = captured.without_start(everything, neurons) if captured.start.any() else ()
            for number, pooling in enumerate(_STORED):
                block = captured.pooled[:, number, neurons].astype(np.float32)
                yield Part(site, pooling, third), block - block[pool].mean(axis=0)
                yield Part(site, pooling, third, Kind.WHOLE), block
                if text_only:
                    block = text_only[number]
                    yield Part(site, pooling, third, Kind.TEXT_ONLY), block - block[pool].mean(axis=0)
    for number, pooling in enumerate((CapturePooling.MEAN, CapturePooling.WEIGHTED)):
        block = captured.hidden[:, number].astype(np.float32)
        yield Part(None, pooling), block - block[pool].mean(axis=0)
        yield Part(None, pooling, kind=Kind.WHOLE), block


def combined(sums: Mapping[Part, PartSums], parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cosines (n, m) and contrasts (resamples, pool) of a variant, averaged over all its layers."""
    layers = sum(sums[part].layers for part in parts)
    cosines = sum((sums[part].cosines for part in parts[1:]), sums[parts[0]].cosines) / np.float32(layers)
    contrasts = sum((sums[part].contrasts for part in parts[1:]), sums[parts[0]].contrasts) / np.float32(layers)
    return np.asarray(cosines), np.asarray(contrasts)


def unit_cosines(captured: Captured) -> np.ndarray:
    """Return the inner products (n, n) of all rows' unit vectors, as an index's signatures are made of them."""
    wanted = {Part(CaptureSite.NEURONS, pooling, third) for pooling in _STORED for third in Third}
    total, layers = np.zeros((len(captured.pooled),) * 2, np.float32), 0
    for part, block in _blocks(captured, (CaptureSite.NEURONS,)):
        if part in wanted:
            unit = _unit(block)
            total += unit @ unit.T
            layers += 1
    return total / np.float32(layers)


def leading_coordinates(cosines: np.ndarray, dim: int) -> np.ndarray:
    """Project all rows on the leading principal components of the first m rows: from (n, m), (n, at most ``dim``)."""
    from scipy.linalg import eigh

    m = cosines.shape[1]
    values, vectors = eigh(cosines[:m].astype(np.float64), subset_by_index=[max(0, m - dim), m - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > values[0] * 1e-7
    return np.asarray(cosines @ (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32))
