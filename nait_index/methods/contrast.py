"""Contrast: how much a sample moves the neurons away from the corpus mean in the way the examples do.

For every pooling p (mean, drift) and layer l, with x the sample's pooled activation, m the mean of the examples' and c
the corpus mean of both kinds:

    score = 1/(2L) · Σ_p Σ_l cos(x[p,l] − c[p,l], m[p,l] − c[p,l])        in [−1, 1]

For examples of what is not wanted, with means m′, the same score of theirs is subtracted.

A method of this project. Subtracting the corpus mean removes the component that all text shares; taking cosines layer
by layer keeps the few layers with the largest activations from deciding alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from nait_index.methods.base import Directed, Examples, Query, Summary
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature, feature_vectors


class Contrast(Directed):
    """Centred cosine, layer by layer, mean and drift together."""

    feature: ClassVar[Feature] = Feature.UNIT
    takes_unlike: ClassVar[bool] = True

    def make_query(self, examples: Examples, rows: IndexRows) -> Query:
        """Subtract the queries of what is not wanted, their mean, from that of the examples."""
        query = super().make_query(examples, rows)
        if not examples.unlike:
            return query
        unwanted = [super(Contrast, self).make_query(unlike, rows).vector for unlike in examples.unlike]
        return replace(query, vector=query.vector - np.mean(unwanted, axis=0, dtype=np.float32))

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep the mean of the examples' pooled activations (2, D)."""
        return {"contrast.mean": examples.mean(axis=0, dtype=np.float64).astype(np.float32)}

    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Query:
        """Point from the corpus mean to the mean of the examples, every block normalised."""
        return Query(self.feature, feature_vectors(summary["contrast.mean"][None], center, Feature.UNIT, widths)[0])
