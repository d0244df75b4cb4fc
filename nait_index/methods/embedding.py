"""Sentence embedding: the baseline of every retrieval system.

A sample's embedding is the mean of its last hidden states, as sentence encoders pool them; the score is the cosine to
the centroid of the examples' unit embeddings. The embedding is the index's own model's: for a sentence embedding, build
the index with a sentence encoder.
"""

from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.methods.base import Examples, Rows, Scoring
from nait_index.methods.cosine import rounded, unit_rows
from nait_index.store.samples import HIDDEN_MEAN


class Embedding(Scoring):
    """Cosine to the centroid of the examples."""

    view: ClassVar[View | None] = View.HIDDEN

    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Score every row: (n,) float32, in [−1, 1]."""
        centroid = unit_rows(unit_rows(examples.signatures[HIDDEN_MEAN]).mean(axis=0, keepdims=True))[0]
        return rounded(np.concatenate([unit_rows(block) @ centroid for block in rows.blocks(HIDDEN_MEAN)]))
