"""Sentence embedding: the baseline of every retrieval system.

A sample's embedding is the mean of its last hidden states, as sentence encoders pool them; the score is the cosine to
the centroid of the examples' unit embeddings. The hidden states are those of the index's model: for a sentence
embedding, build the index with a sentence encoder.
"""

from typing import ClassVar

import numpy as np

from nait_index.config import View
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import unit_rows
from nait_index.signatures.views import HIDDEN_MEAN


class Embedding(Scored):
    """Cosine to the centroid of the examples."""

    view: ClassVar[View | None] = View.HIDDEN

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row: (n,) float32, in [−1, 1]."""
        centroid = unit_rows(unit_rows(examples.signatures[HIDDEN_MEAN]).mean(axis=0, keepdims=True))[0]
        return rounded(np.concatenate([unit_rows(block) @ centroid for block in rows.blocks(HIDDEN_MEAN)]))


def rounded(cosines: np.ndarray) -> np.ndarray:
    """Round cosines to six digits, so that equal rows tie whichever block of a product they are in."""
    return np.asarray(np.round(cosines, 6).clip(-1, 1))
