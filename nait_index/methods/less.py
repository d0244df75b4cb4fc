"""LESS: Xia et al., Selecting Influential Data for Targeted Instruction Tuning, ICML 2024, arXiv 2402.04333.

With Γ(y) the step that Adam would take on a row y, and g_i the gradient of the loss of example i, both with respect to
low-rank adapters and randomly projected:

    s(y) = max_i cos(Γ(y), g_i)

that is, how much a training step on y would lower the loss of the example that it helps most. The paper sums the
cosines over the checkpoints of a training run, weighted by their learning rates; here there is one checkpoint, the one
after the warm-up.
"""

from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows
from nait_index.signatures.views import GRADIENT


class Less(Scored):
    """The largest cosine of a row's gradient with that of an example."""

    view: ClassVar[View | None] = View.GRAD

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row in [−1, 1]: (n,) float32.

        :raises CapabilityError: there is no example.
        """
        gradients = examples.signatures[GRADIENT].astype(np.float32)
        if not len(gradients):
            raise CapabilityError("less needs at least 1 example")
        best = [(block.astype(np.float32) @ gradients.T).max(axis=1) for block in rows.blocks(GRADIENT)]
        return np.concatenate(best) if best else np.zeros(0, np.float32)
