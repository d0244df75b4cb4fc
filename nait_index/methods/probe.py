"""Probe: a small classifier that tells the examples from the rest of the corpus, asked about every row.

A method of this project. Each row is its unit signature u (mean and drift of the neurons, centred, layer by layer, as
for ``contrast``), scaled to length 1. A kernel logistic regression is trained with the examples as positives and a
random sample of the corpus as negatives, and a row's score is its log-odds:

    k(u, v)  = exp(κ/σ · (u·v − 1))            σ = standard deviation of u·v over the sample
    score(u) = Σ_j α_j · k(u, z_j) + α_0       landmarks z_j: up to 128 examples and 256 rows of the sample
    α        = argmin  −½·mean_{examples} log p − ½·Σ_i w_i log(1 − p_i) + λ/2·‖f‖²    p = sigmoid(score)

The sample also holds rows that teach the skill (positive-unlabelled learning). So a first pass ranks it by a soft
maximum of the similarity to the examples, and the most similar tenth gets no weight w as negatives, the second tenth a
rising one.

Why not the mean of the examples: a skill is seldom one cloud (a benchmark's many tasks, a translation set's many
languages), and what matters is not what the examples have most of but what sets them apart from other rows like them.
"""

from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Rows, Scoring
from nait_index.methods.cosine import unit_rows
from nait_index.signatures.features import Feature
from nait_index.store.samples import dense_column

SAMPLE = 1024
"""Rows of the corpus that stand for the rest: the first of the table, which lie in random order."""

_EXAMPLE_LANDMARKS, _SAMPLE_LANDMARKS = 128, 256
_WIDTH = 0.5  # κ of the kernel
_FIRST_WIDTH = 2.0  # κ of the first pass: sharper, so that one close example is enough
_SPARED, _FULL = 0.1, 0.2  # shares of the sample: no negatives up to the first, whole ones from the second
_PENALTY = 1e-4  # λ
_COLUMN = dense_column(Feature.UNIT)


class Probe(Scoring):
    """Log-odds of being one of the examples rather than any row of the corpus."""

    view: ClassVar[View | None] = View.PCA

    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Train the classifier and ask it about every row: (n,) float32.

        :raises CapabilityError: the examples' activations are those of the corpus mean.
        """
        own = unit_rows(examples.signatures[_COLUMN])
        own = own[own.any(axis=1)]
        if not len(own):
            raise CapabilityError(
                "nothing tells these examples apart from the corpus as a whole: every row would score the same; give "
                "other examples"
            )
        sample = unit_rows(first_rows(rows, _COLUMN, SAMPLE))
        machine = KernelMachine.fit(own, sample)
        scores = np.concatenate([machine(unit_rows(block)) for block in rows.blocks(_COLUMN)])
        # Equal rows tie, whatever the order of summing was in the block that they lie in.
        return np.round(scores, 5).astype(np.float32)


class KernelMachine:
    """A fitted classifier: scores of unit rows (m, d) as (m,) float32."""

    def __init__(self, landmarks: np.ndarray, sharpness: float, weights: np.ndarray, intercept: float) -> None:
        self._landmarks = landmarks
        self._sharpness = np.float32(sharpness)
        self._weights = weights.astype(np.float32)
        self._intercept = np.float32(intercept)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Give the log-odds."""
        return np.asarray(kernel(rows, self._landmarks, self._sharpness) @ self._weights + self._intercept)

    @classmethod
    def fit(cls, examples: np.ndarray, sample: np.ndarray) -> "KernelMachine":
        """Fit it to unit rows: examples (E, d), and a sample of the corpus (m, d)."""
        spread = similarity_spread(sample)
        negatives = negative_weights(first_pass(sample, examples, _FIRST_WIDTH / spread))
        sharpness = np.float32(_WIDTH / spread)
        landmarks = np.concatenate([_thinned(examples, _EXAMPLE_LANDMARKS), sample[:_SAMPLE_LANDMARKS]])
        whitening = _whitening(kernel(landmarks, landmarks, sharpness))
        points = np.concatenate([examples, sample])
        positive = np.arange(len(points)) < len(examples)
        mass = np.concatenate([np.full(len(examples), 0.5 / len(examples)), 0.5 * negatives])
        theta = logistic_regression(kernel(points, landmarks, sharpness) @ whitening, positive, mass, _PENALTY)
        return cls(landmarks, float(sharpness), whitening @ theta[:-1], float(theta[-1]))


def kernel(rows: np.ndarray, landmarks: np.ndarray, sharpness: np.float32) -> np.ndarray:
    """Give exp(sharpness · (u·z − 1)) of unit rows (m, d) and landmarks (q, d): (m, q) float32."""
    return np.asarray(np.exp(sharpness * (rows @ landmarks.T - np.float32(1))))


def similarity_spread(sample: np.ndarray) -> float:
    """Give σ: the standard deviation of the similarity of two different rows; 1 where all are alike."""
    similarities = (sample @ sample.T)[np.triu_indices(len(sample), k=1)]
    spread = float(similarities.std()) if similarities.size else 0.0
    return spread if spread > 1e-3 else 1.0


def first_pass(sample: np.ndarray, examples: np.ndarray, sharpness: float) -> np.ndarray:
    """Rank the sample by a soft maximum of its similarity to the examples, log mean exp: (m,)."""
    return np.asarray(np.log(kernel(sample, examples, np.float32(sharpness)).mean(axis=1) + 1e-30))


def negative_weights(likeness: np.ndarray) -> np.ndarray:
    """Give every row of the sample its weight as a negative, (m,), adding up to 1: none for the likest tenth."""
    places = (-likeness).argsort(kind="stable").argsort(kind="stable") / len(likeness)
    weights = np.clip((places - _SPARED) / (_FULL - _SPARED), 0, 1)
    total = weights.sum()
    return np.asarray(weights / total if total > 0 else np.full(len(likeness), 1 / len(likeness)))


def logistic_regression(x: np.ndarray, positive: np.ndarray, mass: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise Σ_i mass_i · log-loss_i + penalty/2 · ‖θ‖² over weights and an intercept that is not penalised.

    :param x: (m, q); :param positive: (m,) bool; :param mass: (m,). :returns: (q + 1,) float64, the intercept last.
    """
    from scipy.optimize import minimize

    x, sign = x.astype(np.float64), np.where(positive, 1.0, -1.0)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ theta[:-1] + theta[-1])
        pull = -mass * sign / (1 + np.exp(np.minimum(margin, 500)))
        value = mass @ np.logaddexp(0, -margin) + penalty / 2 * theta[:-1] @ theta[:-1]
        return float(value), np.append(x.T @ pull + penalty * theta[:-1], pull.sum())

    # The default tolerances are coarse beside so small a penalty.
    options = {"maxiter": 500, "gtol": 1e-7, "ftol": 1e-14}
    return np.asarray(minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options=options).x)


def first_rows(rows: Rows, column: str, count: int) -> np.ndarray:
    """Read the first rows of the table, (at most ``count``, width)."""
    parts: list[np.ndarray] = []
    for block in rows.blocks(column):
        parts.append(block[: count - sum(map(len, parts))])
        if sum(map(len, parts)) == count:
            break
    return np.asarray(np.concatenate(parts))


def _thinned(examples: np.ndarray, count: int) -> np.ndarray:
    """Keep at most ``count`` examples, evenly over their order."""
    if len(examples) <= count:
        return examples
    return np.asarray(examples[np.linspace(0, len(examples) - 1, count).round().astype(int)])


def _whitening(gram: np.ndarray) -> np.ndarray:
    """Give T (q, r) with k(·)·T the coordinates in which the norm of a function is that of its weights (Nyström)."""
    from scipy.linalg import eigh

    values, vectors = eigh(gram.astype(np.float64))
    kept = values > values[-1] * 1e-4
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))
