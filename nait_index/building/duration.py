"""How long a build takes, forecast from a few batches and a few small products that are timed on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.activations.batches import plan_batches
from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import IndexEncoder
from nait_index.signatures.features import POOLINGS, Feature
from nait_index.signatures.fit import lower_product
from nait_index.signatures.views import dims_of

_TIMED_SECONDS, _LEAST_BATCHES = 2.0, 4
_SIDE, _LENGTH = 768, 2048
"""Shape of the matrices that are timed."""

_SQUARES = 2.5
"""Products of a layer's activations with themselves: of means, of drifts, and of half of each with one another."""


@dataclass(frozen=True, slots=True)
class ModelPace:
    """How fast the model runs. :param seconds: that all texts of the sample would take."""

    seconds: float
    tokens_per_second: float


def measure_pace(encoder: IndexEncoder, tokens: Sequence[Tokens]) -> ModelPace:
    """Run a few of the batches that a build makes of a sample of texts, spread over short and long ones.

    :param tokens: of texts that have any.
    """
    if not tokens:
        return ModelPace(0.0, 0.0)
    rule = encoder.model_encoder.rule
    batches = list(plan_batches(np.array([len(text.ids) for text in tokens]), rule.tokens, rule.sharing))
    _run(encoder, [tokens[int(batches[-1][-1])]])  # the first call of a model takes longer
    seconds, timed, run = 0.0, 0, 0
    for number in _spread(len(batches)):
        batch = [tokens[row] for row in batches[number]]
        seconds += _run(encoder, batch)
        run, timed = run + sum(len(text.ids) for text in batch), timed + 1
        if seconds > _TIMED_SECONDS and timed >= _LEAST_BATCHES:
            break
    # By padded tokens, which batches have about alike, and not by texts: long ones fill more batches.
    return ModelPace(seconds * len(batches) / timed, run / max(seconds, 1e-9))


def _spread(count: int) -> list[int]:
    """Return the numbers below ``count`` in an order whose beginnings are spread evenly."""
    bits = max(1, (count - 1).bit_length())
    return [number for number in (int(f"{n:0{bits}b}"[::-1], 2) for n in range(2**bits)) if number < count]


def _run(encoder: IndexEncoder, batch: Sequence[Tokens]) -> float:
    activations = np.empty((len(batch), 2, sum(encoder.widths.neurons)), dtype=np.float32)
    return _seconds(lambda: encoder.stage(batch, activations, lambda rows, tokens: None))


def _seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def seconds_to_fit(rows: int, encoder: IndexEncoder) -> float:
    """Forecast how long the basis takes to fit: two Gram matrices, their eigenvectors, and two sets of components.

    :param rows: of the build; the basis is fitted on some of them.
    """
    from scipy.linalg import eigh

    dims, neurons = dims_of(encoder.signatures), sum(encoder.widths.neurons)
    fitted = min(rows, encoder.signatures.reservoir)
    if dims is None or fitted < 2 or not neurons:
        return 0.0
    arithmetic, side = encoder.arithmetic, min(fitted, _SIDE)
    noise = _noise(side, _LENGTH)
    block, loadings = (arithmetic.operand(arithmetic.put(matrix)) for matrix in (noise, noise[:, :side]))
    layers = neurons / _LENGTH
    squares = _seconds(lambda: lower_product(block)) * (fitted / side) ** 2 * _SQUARES * layers
    gram = (noise @ noise.T).astype(np.float64)
    eigenpairs = 2 * _seconds(lambda: eigh(gram)) * (fitted / side) ** 3
    raw, unit = (min(fitted, dims[feature]) for feature in (Feature.MEAN, Feature.UNIT))
    components = _seconds(lambda: loadings @ block) * fitted / side * (raw + 2 * unit) / side * layers
    return squares + eigenpairs + components


def seconds_to_compress(rows: int, encoder: IndexEncoder) -> float:
    """Forecast how long it takes to project the activations of all rows on the basis."""
    config, neurons = encoder.signatures, sum(encoder.widths.neurons)
    dims, fitted = dims_of(config), min(rows, config.reservoir)
    if dims is None or not neurons:
        return 0.0
    block = encoder.arithmetic.put(_noise(_SIDE, _LENGTH))
    width = sum(min(dims[feature], fitted) * (2 if feature is Feature.UNIT else 1) for feature in POOLINGS)
    return _seconds(lambda: block @ block.T) * rows / _SIDE * width / _SIDE * neurons / _LENGTH


def _noise(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
