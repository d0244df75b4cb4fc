"""DSIR: Xie et al., Data Selection for Language Models via Importance Resampling, NeurIPS 2023, arXiv 2302.03169.

A text's features are the counts of its words and pairs of neighbouring words, hashed into 10,000 buckets. With p and q
the share of every bucket among all n-grams of the examples and of the rows:

    w(x) = Σ_{n-gram g of x} log((p[g] + ε)/(q[g] + ε))        ε = 10⁻⁸

Words (runs of letters and digits, runs of punctuation), hash and ε are those of the authors' package
``data-selection``, so that w is its number. The paper draws rows with chances proportional to exp(w), by adding Gumbel
noise and taking the highest; here the rows are ranked by w itself, without noise, and short rows are not left out.

As a sum, w grows with length where a row is like the examples and falls with it where it is not, so that a row's length
weighs as much as its content. ``dsir-mean`` divides by the number of n-grams.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows

BUCKETS = 10_000
EPSILON = 1e-8
_WORD = re.compile(r"\w+|[^\w\s]+")


class Dsir(Scored):
    """Log importance weight of a row, as published."""

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row (n,) float32; 0 where a row has no words.

        :raises CapabilityError: the examples have no words.
        """
        target = _shares(buckets(text) for text in examples.texts)
        if not target.any():
            raise CapabilityError("dsir needs examples with words in them; give other examples")
        features = [buckets(text) for text in rows.texts()]
        ratio = np.log(target + EPSILON) - np.log(_shares(features) + EPSILON)
        sums = np.array([ratio[ngrams].sum() for ngrams in features])
        return self.weigh(sums, np.array([len(ngrams) for ngrams in features])).astype(np.float32)

    def weigh(self, sums: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Turn summed log ratios (n,) float64 and numbers of n-grams (n,) into scores (n,)."""
        return sums


class DsirMean(Dsir):
    """Log importance weight per n-gram: no length, long or short, is favoured."""

    def weigh(self, sums: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Divide by the number of n-grams."""
        return np.asarray(sums / np.maximum(lengths, 1))


def buckets(text: str) -> np.ndarray:
    """Return the buckets (g,) uint16 of all n-grams of a text: its words, then its pairs of words."""
    words = _WORD.findall(text.lower())
    ngrams = [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    return np.fromiter(map(_bucket, ngrams), dtype=np.uint16, count=len(ngrams))


@lru_cache(maxsize=1 << 18)
def _bucket(ngram: str) -> int:
    """Hash an n-gram; the cache keeps the frequent ones."""
    return int.from_bytes(hashlib.sha256(ngram.encode(errors="surrogatepass")).digest()) % BUCKETS


def _shares(features: Iterable[np.ndarray]) -> np.ndarray:
    """Return the share (10,000,) float64 of every bucket among all n-grams; zeros where there are none."""
    counts = np.zeros(BUCKETS, dtype=np.int64)
    for ngrams in features:
        counts += np.bincount(ngrams, minlength=BUCKETS)
    return counts / max(1, int(counts.sum()))
