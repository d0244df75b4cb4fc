"""Influence: what a step of training on a row would do for the examples, measured on few rows and carried to all.

A method of this project, after Influence Distillation (Nikdan et al., arXiv 2505.19051), which propagates the influence
of landmark rows to others by their embeddings. With Γ(y) the step that Adam would take on a row y, and g_i the gradient
of example i, both of unit length as in LESS, the influence of a row is

    t(y) = Γ(y) · mean_i g_i

to first order the mean fall of the examples' loss, by a step on y of length 1. Gradients cost several forward passes
each, so they are taken of the examples and of a random sample of the corpus alone, the landmarks. A ridge regression
carries t to every row, from the signature u of its neurons (as for ``probe``), which the index has anyway:

    score(u) = w · u + b        w, b = argmin  Σ_{landmarks} (t − w · u − b)² + λ‖w‖²

The penalty λ is the one that predicts landmarks best that are left out of the fit, one at a time (Allen's PRESS): with
U the centred signatures of the landmarks, H = U(UᵀU + λ)⁻¹Uᵀ + 1/m and t̂ = Ht, the error on a landmark without itself
is (t − t̂) / (1 − h), h its entry on the diagonal of H. One decomposition U = AΣBᵀ serves all penalties and
capabilities.

Why the mean over the examples and not LESS's largest cosine: a mean of gradients is less noisy than any of them, and
linear, as is the regression.
"""

from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Linear, Query
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.views import GRADIENT

_PENALTIES = np.logspace(-4, 4, 33)
"""λ, as multiples of the mean squared length of the landmarks' centred signatures."""

_FEWEST = 8


@dataclass(frozen=True, slots=True)
class LandmarkFit:
    """A ridge regression on the landmarks, ready for any targets.

    :param gradients: (m, width) of the landmarks. :param mean: (d,) of their signatures.
    :param left: A (m, r), :param sizes: Σ (r,), :param right: B (d, r) of the centred signatures.
    """

    gradients: np.ndarray
    mean: np.ndarray
    left: np.ndarray
    sizes: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, signatures: np.ndarray, gradients: np.ndarray) -> "LandmarkFit":
        """Decompose the signatures (m, d) of the landmarks."""
        from scipy.linalg import eigh

        mean = signatures.mean(axis=0, dtype=np.float64)
        centred = (signatures - mean).astype(np.float32)
        squares, right = eigh((centred.T @ centred).astype(np.float64))
        kept = squares > max(squares[-1], 0) * 1e-7
        sizes, right = np.sqrt(squares[kept]), right[:, kept]
        return cls(gradients, mean, centred @ right / sizes, sizes, right)

    def fit(self, targets: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Fit targets (m,) by the penalty of smallest error on landmarks that are left out.

        :returns: w (d,), b, and the share of the targets' variance that is predicted of landmarks left out.
        """
        m, centre = len(targets), targets.mean()
        along = self.left.T @ (targets - centre)
        errors = [self._error(targets - centre, along, shrink) for shrink in self._shrinkages(m)]
        best = int(np.argmin(errors))
        weights = self.right @ (self._shrinkages(m)[best] * along / self.sizes)
        variance = float(np.square(targets - centre).sum()) * (m / (m - 1)) ** 2
        explained = 1 - errors[best] / variance if variance > 0 else 0.0
        return weights, float(centre - weights @ self.mean), explained

    def _shrinkages(self, m: int) -> np.ndarray:
        """Return σ²/(σ² + λ) of every direction for every penalty: (p, r)."""
        squares = self.sizes**2
        scale = squares.sum() / m
        return np.asarray(squares / (squares + _PENALTIES[:, None] * scale))

    def _error(self, targets: np.ndarray, along: np.ndarray, shrink: np.ndarray) -> float:
        """Return the sum of squared errors on landmarks, each left out of the fit that predicts it."""
        leverage = np.square(self.left) @ shrink + 1 / len(targets)
        missed = (targets - self.left @ (shrink * along)) / np.maximum(1 - leverage, 1e-6)
        return float(np.square(missed).sum())


class Influence(Linear):
    """The predicted fall of the examples' loss by a step of training on a row."""

    view: ClassVar[View | None] = View.LANDMARKS
    feature: ClassVar[Feature] = Feature.UNIT

    def __init__(self) -> None:
        self._fits: WeakKeyDictionary[IndexRows, LandmarkFit] = WeakKeyDictionary()

    def make_query(self, examples: Examples, rows: IndexRows) -> Query:
        """Regress the landmarks' influence on their signatures.

        :raises CapabilityError: no example has a gradient, or too few landmarks are left in the index.
        """
        if GRADIENT not in examples.signatures:
            raise CapabilityError(
                "influence needs the gradients of the examples, which were stored before the landmarks were added; add "
                "the capability again from its examples, to the newest version"
            )
        fit, steps = self._fit(rows), rows.steps(self.feature)
        gradients = examples.signatures[GRADIENT].astype(np.float32)
        gradients = gradients[gradients.any(axis=1)]
        if not len(gradients):
            raise CapabilityError("influence needs at least 1 example whose answer the model reads")
        weights, constant, _ = fit.fit(fit.gradients @ gradients.mean(axis=0))
        return Query(self.feature, (weights * steps).astype(np.float32), constant)

    def _fit(self, rows: IndexRows) -> LandmarkFit:
        """Prepare the regression on the landmarks of an index, once."""
        fit = self._fits.get(rows)
        if fit is None:
            ordinals, gradients = rows.landmarks()
            if len(ordinals) < _FEWEST:
                raise CapabilityError(
                    f"only {len(ordinals)} landmarks are left in the index, too few for influence; rebuild it"
                )
            signatures = rows.scanned(self.feature, ordinals) * rows.steps(self.feature)
            fit = self._fits[rows] = LandmarkFit.of(signatures, gradients.astype(np.float32))
        return fit
