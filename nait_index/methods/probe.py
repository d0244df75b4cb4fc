"""Probe: a small classifier that tells the examples from the rest of the corpus, applied to every row.

A method of this project. Each row is a unit vector u: of its neurons (mean and drift, centred, layer by layer, as for
``contrast``), of its words (:mod:`nait_index.signatures.words`), or, where the index has several views, of all of them,

    u = (u₁, …, u_V)/√V

A logistic regression is trained with the examples as positives and a random sample of the corpus as negatives, and a
row's score is its log-odds:

    score(u) = w · u + b
    w, b     = argmin  −½·mean_{examples} log p − ½·Σ_i ν_i log(1 − p_i) + λ/2·‖w‖²    p = sigmoid(score)

The sample also holds rows that teach the skill (positive-unlabelled learning). So a first pass ranks it by a soft
maximum of the similarity to the examples, Σ_e exp(κ/σ · u·e), σ the standard deviation of u·v over the sample; the most
similar tenth gets no weight ν as negatives, the second tenth a rising one.

Examples of what is not wanted are negatives as well and have half of the negatives' weight; rows of the sample that are
more like them than like the examples are not spared.

Of u only the signature s is stored, its leading coordinates. The remainders of two rows are almost orthogonal, and
their lengths are known, since ‖u‖ = 1: so each training vector is s with one more coordinate on an axis of its own,
√(1 − ‖s‖²). Without it the regression would be overconfident and rely on faint components.

``probe-neurons``, ``probe-words`` and ``probe-hidden`` are the same with one view alone: what the classifier gives and
what a view gives can be told apart. The vector of ``probe-hidden`` is the mean of the last hidden states less that of
the corpus, scaled to length 1.

Why not the mean of the examples: a skill is seldom one cloud (a benchmark's many tasks, a translation set's many
languages), and what matters is not what the examples have most of but what sets them apart from other rows like them.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import NO_DIRECTION, Examples, Linear, Query
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.views import dense_column

SAMPLE = 1024
"""Rows that represent the rest of the corpus: a random sample of it."""

_WIDTH = 2.0  # κ
_SPARED, _FULL = 0.1, 0.2  # shares of the sample: no negatives up to the first, whole ones from the second
_PENALTY = 1e-3  # λ
_QUERIES, _NEIGHBOURS = 16, 16

_TRAINING = f"1 {_WIDTH} {_SPARED} {_FULL} {_PENALTY}"
"""How a query is trained. Its first number goes up with every change to that, so that none cached before is used."""

_WIDEST = 4096  # numbers of a trained query that is cached


class Probe(Linear):
    """Log-odds of being one of the examples rather than any row of the corpus, by neurons and words together."""

    feature: ClassVar[Feature] = Feature.UNIT
    instead: ClassVar[tuple[View, ...]] = (View.WORDS,)
    joined: ClassVar[tuple[Feature, ...]] = (Feature.UNIT, Feature.WORDS)
    takes_unlike: ClassVar[bool] = True

    def features(self, rows: IndexRows) -> tuple[Feature, ...]:
        """Return those of the joined features that the index holds."""
        return tuple(feature for feature in self.joined if rows.holds(feature))

    def make_query(self, examples: Examples, rows: IndexRows) -> Query:
        """Train the classifier.

        :raises CapabilityError: nothing tells the examples apart from the corpus mean.
        """
        features = self.features(rows)
        wanted = _vectors(rows, features, examples)
        if not len(wanted):
            raise CapabilityError(NO_DIRECTION)
        sample = _sample(rows, features)
        unlike = np.concatenate([sample[:0], *(_vectors(rows, features, unwanted) for unwanted in examples.unlike)])
        points = wanted, sample, unlike
        classifier = train(*points) if examples.resampled else _trained(rows, *points)
        vectors = _split(rows, features, classifier.vector)
        beside = {feature: vectors[feature] for feature in features[1:]}
        return Query(features[0], vectors[features[0]], classifier.constant, beside=beside)


class ProbeNeurons(Probe):
    """The same log-odds by neurons alone."""

    instead: ClassVar[tuple[View, ...]] = ()
    joined: ClassVar[tuple[Feature, ...]] = (Feature.UNIT,)


class ProbeWords(Probe):
    """The same log-odds by words alone."""

    view: ClassVar[View | None] = View.WORDS
    feature: ClassVar[Feature] = Feature.WORDS
    instead: ClassVar[tuple[View, ...]] = ()
    joined: ClassVar[tuple[Feature, ...]] = (Feature.WORDS,)


class ProbeHidden(Probe):
    """The same log-odds by the mean last hidden state alone."""

    view: ClassVar[View | None] = View.HIDDEN
    feature: ClassVar[Feature] = Feature.HIDDEN
    instead: ClassVar[tuple[View, ...]] = ()
    joined: ClassVar[tuple[Feature, ...]] = (Feature.HIDDEN,)


def sample_queries(rows: IndexRows, features: Sequence[Feature]) -> dict[Feature, np.ndarray]:
    """Make realistic queries from the corpus alone, (q, d) for each of some features joined.

    The neighbours of random rows serve as examples.
    """
    sample = _sample(rows, features)
    near = np.argsort(-(sample[:_QUERIES] @ sample.T), axis=1, kind="stable")[:, :_NEIGHBOURS]
    return _split(rows, features, np.stack([train(sample[examples], sample).vector for examples in near]))


def _joined(rows: IndexRows, features: Sequence[Feature], stored: Sequence[np.ndarray]) -> np.ndarray:
    """Put the vectors of several features side by side, scaled to length 1 together: (m, d) from signatures."""
    share = np.float32(len(features) ** -0.5)
    parts = [rows.vectors(signatures, feature) for signatures, feature in zip(stored, features, strict=True)]
    return np.concatenate(parts, axis=1) * share


def _vectors(rows: IndexRows, features: Sequence[Feature], examples: Examples) -> np.ndarray:
    """Return the joined vectors of those examples that have any: (E, d)."""
    stored = [examples.signatures[dense_column(feature)] for feature in features]
    known = np.any([signatures.any(axis=1) for signatures in stored], axis=0)
    return _joined(rows, features, stored)[known]


def _sample(rows: IndexRows, features: Sequence[Feature]) -> np.ndarray:
    """Return the joined vectors of a random sample of the corpus."""
    return _joined(rows, features, [rows.sampled(feature, SAMPLE) for feature in features])


def _split(rows: IndexRows, features: Sequence[Feature], vectors: np.ndarray) -> dict[Feature, np.ndarray]:
    """Split queries of joined vectors (…, d) into those of each feature's signature."""
    widths = [rows.sampled(feature, 1).shape[1] for feature in features]
    share = np.float32(len(features) ** -0.5)
    parts = np.split(vectors, np.cumsum(widths)[:-1], axis=-1)
    return {feature: part * share * rows.steps(feature) for feature, part in zip(features, parts, strict=True)}


def _trained(rows: IndexRows, *points: np.ndarray) -> Query:
    """Train on some points, as :func:`train` does, or return what was trained on them before.

    To import the optimiser and to train takes almost half of the time of a query of 30,000 rows.
    """

    def numbers() -> np.ndarray:
        made = train(*points)
        return np.append(made.vector, made.constant)

    if points[0].shape[1] > _WIDEST:
        return train(*points)
    *weights, intercept = rows.cached((_TRAINING, *points), numbers)
    return Query(Feature.UNIT, np.array(weights, np.float32), float(intercept))


def train(examples: np.ndarray, sample: np.ndarray, unlike: np.ndarray | None = None) -> Query:
    """Train on leading coordinates of unit vectors: examples (E, d) and a sample of the corpus (m, d), float32.

    :param unlike: (u, d) examples of what is not wanted.
    :returns: the log-odds in terms of such coordinates.
    """
    like, unlike = likeness(sample, examples), sample[:0] if unlike is None else unlike
    contested = likeness(sample, unlike) > like if len(unlike) else None
    points = np.concatenate([examples, sample, unlike]).astype(np.float32)
    positive = np.arange(len(points)) < len(examples)
    mass = np.concatenate(
        [
            np.full(len(examples), 0.5 / len(examples)),
            (0.25 if len(unlike) else 0.5) * negative_weights(like, contested),
            np.full(len(unlike), 0.25 / max(1, len(unlike))),
        ]
    )
    left_out = np.sqrt(np.maximum(0, 1 - np.einsum("nd,nd->n", points, points)))
    theta = logistic_regression(points, left_out, positive, mass, _PENALTY)
    return Query(Feature.UNIT, theta[:-1].astype(np.float32), float(theta[-1]))


def likeness(sample: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Rank the sample by a soft maximum of its similarity to the examples, log mean exp: (m,)."""
    sharpness = np.float32(_WIDTH / similarity_spread(sample))
    return np.asarray(np.log(np.exp(sharpness * (sample @ examples.T - np.float32(1))).mean(axis=1) + 1e-30))


def similarity_spread(sample: np.ndarray) -> float:
    """Return σ, the standard deviation of the similarity of two different rows; 1 where all are alike."""
    similarities = (sample @ sample.T)[np.triu_indices(len(sample), k=1)]
    spread = float(similarities.std()) if similarities.size else 0.0
    return spread if spread > 1e-3 else 1.0


def negative_weights(likeness: np.ndarray, contested: np.ndarray | None = None) -> np.ndarray:
    """Compute the weight of every row of the sample as a negative: (m,), summing to 1, 0 for the most similar tenth.

    :param contested: (m,) bool, rows that have their whole weight all the same.
    """
    quantiles = (-likeness).argsort(kind="stable").argsort(kind="stable") / len(likeness)
    weights = np.clip((quantiles - _SPARED) / (_FULL - _SPARED), 0, 1)
    if contested is not None:
        weights[contested] = 1
    total = weights.sum()
    return np.asarray(weights / total if total > 0 else np.full(len(likeness), 1 / len(likeness)))


def logistic_regression(
    x: np.ndarray, private: np.ndarray, positive: np.ndarray, mass: np.ndarray, penalty: float
) -> np.ndarray:
    """Minimise Σ_i mass_i · log-loss_i + penalty/2 · ‖θ‖² over weights and an intercept that is not penalised.

    :param x: (m, d) points, float32; :param private: (m,) one more coordinate of each point, on an axis of its own.
    :param positive: (m,) bool; :param mass: (m,).
    :returns: (d + 1,) float64: the weights of the shared coordinates, and the intercept.
    """
    from scipy.optimize import minimize

    d, sign = x.shape[1], np.where(positive, 1.0, -1.0)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weights, alone, intercept = theta[:d], theta[d:-1], theta[-1]
        margin = sign * (x @ weights.astype(np.float32) + private * alone + intercept)
        pull = -mass * sign / (1 + np.exp(np.minimum(margin, 500)))
        value = mass @ np.logaddexp(0, -margin) + penalty / 2 * theta[:-1] @ theta[:-1]
        slope = np.concatenate([pull.astype(np.float32) @ x, private * pull]) + penalty * theta[:-1]
        return float(value), np.append(slope, pull.sum())

    # The default tolerances are coarse beside so small a penalty.
    options = {"maxiter": 500, "gtol": 1e-6, "ftol": 1e-12}
    start = np.zeros(d + len(x) + 1)
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return np.append(theta[:d], theta[-1])
