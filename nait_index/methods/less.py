"""LESS: Xia et al., Selecting Influential Data for Targeted Instruction Tuning, ICML 2024, arXiv 2402.04333.

With Γ_c(y) the step that Adam would take on a row y at checkpoint c of the warm-up, g_ci the gradient of the loss of
example i there, both with respect to low-rank adapters and randomly projected, and η_c the share of the learning rate:

    less       s(y) = mean_i Σ_c η_c · cos(Γ_c(y), g_ci)
    less-max   s(y) = max_i  Σ_c η_c · cos(Γ_c(y), g_ci)

that is, how much a training step on y would lower the examples' loss, or that of the one it helps most. The paper takes
the largest over the subtasks of a target and the mean over the examples of each (equation 4, and ``matching.py`` in the
authors' code). A capability does not say which subtasks it has: ``less`` takes it as one, ``less-max`` every example as
one.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows
from nait_index.signatures.views import GRADIENT


class GradientCosine(Scored):
    """A score made of the cosines of a row's gradient with those of the examples."""

    view: ClassVar[View | None] = View.GRAD

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row in [−1, 1]: (n,) float32.

        :raises CapabilityError: there is no example.
        """
        gradients = examples.signatures[GRADIENT].astype(np.float32)
        if not len(gradients):
            raise CapabilityError("less needs at least 1 example")
        targets = self.targets(gradients)
        best = [(block.astype(np.float32) @ targets.T).max(axis=1) for block in rows.blocks(GRADIENT)]
        return np.concatenate(best) if best else np.zeros(0, np.float32)

    @abstractmethod
    def targets(self, gradients: np.ndarray) -> np.ndarray:
        """Return what a row is compared with (t, d), of the examples' gradients (E, d)."""


class Less(GradientCosine):
    """The mean cosine of a row's gradient with those of the examples."""

    def targets(self, gradients: np.ndarray) -> np.ndarray:
        """Average the gradients: the mean of inner products is that with the mean."""
        return np.asarray(gradients.mean(axis=0, keepdims=True))


class LessMax(GradientCosine):
    """The largest cosine of a row's gradient with that of an example."""

    def targets(self, gradients: np.ndarray) -> np.ndarray:
        """Return every gradient."""
        return gradients
