"""A method's ranking and quality scores, blended by rank.

For weights w₁…w_c on quality columns q₁…q_c and a method's scores s, each over the n rows that have all of them::

    blended = (1 − Σ|w_j|) · rank(s) + Σ |w_j| · rank(sign(w_j) · q_j)

rank(x) is the share of the other rows that a row is not worse than, with ties sharing the mean of their ranks: 1 for
the best, 0 for the worst. Ranks are blended instead of values, because a cosine and a perplexity have no common scale.
A negative weight prefers low values. A row that lacks one of the scores is left out, and never gets a default.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from nait_index.errors import SelectionError


def parse_weights(specs: Sequence[str]) -> dict[str, float]:
    """Parse weights, each in the form ``ifd=0.3``.

    :raises SelectionError: one has another form, a column is given twice, or their sizes add up to more than 1.
    """
    weights: dict[str, float] = {}
    for spec in specs:
        match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*", spec)
        if not match:
            raise SelectionError(f"--blend '{spec}' is not of the form COLUMN=WEIGHT, such as ifd=0.3")
        name, weight = match[1], float(match[2])
        if name in weights:
            raise SelectionError(f"--blend names the column {name} twice")
        weights[name] = weight
    _check(weights)
    return weights


def blend(method: np.ndarray, columns: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Blend a method's scores with quality scores.

    :param method: (n,) higher is better; :param columns: (n,) each; NaN is a missing score.
    :returns: (n,) float64 from 0 to 1, higher is better; NaN for rows that lack a score.
    :raises SelectionError: the weights cannot be used, a column is missing, or no row has all scores.
    """
    _check(weights)
    for name in weights:
        if name not in columns:
            raise SelectionError(f"--blend: there is no column {name}; there are: {', '.join(columns) or 'none'}")
    signed = [(abs(weight), math.copysign(1, weight) * columns[name]) for name, weight in weights.items()]
    parts = [(1 - math.fsum(weight for weight, _ in signed), method), *signed]
    has_all = np.all([np.isfinite(values) for _, values in parts], axis=0)
    if not has_all.any():
        raise SelectionError(f"--blend: no row has all of {', '.join(weights)}; compute them with nait-index score")
    scores = np.full(len(method), np.nan)
    scores[has_all] = np.sum([weight * relative_ranks(values[has_all]) for weight, values in parts], axis=0)
    return scores


def relative_ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks (n,) from 0 for the lowest value to 1 for the highest; ties share their mean, a single row is 1."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(values) < 2:
        return np.ones(len(values))
    below = np.cumsum(counts) - counts
    ranks: np.ndarray = (below + (counts - 1) / 2)[inverse] / (len(values) - 1)
    return ranks


def _check(weights: Mapping[str, float]) -> None:
    total = math.fsum(abs(weight) for weight in weights.values())
    if not weights or any(weight == 0 or not math.isfinite(weight) for weight in weights.values()):
        raise SelectionError("--blend needs weights other than 0, such as ifd=0.3")
    if total > 1 + 1e-9:
        raise SelectionError(f"the weights of --blend add up to {total:g}, more than 1")
