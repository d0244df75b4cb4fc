"""Signatures of words: a row's words weighted by how rare they are, projected on the leading directions of the corpus.

With tf the count of a term t in a row, and df the number of the reservoir's n rows that hold it:

    x[t] = (1 + ln tf) · (1 + ln((1 + n)/(1 + df)))        u = x / ‖x‖

The signature holds the coordinates of u on the leading components of the reservoir (latent semantic analysis:
Deerwester et al. 1990), at 8 bits each like those of neurons. Only terms that several rows of the reservoir share have
a place among the components. All others count in ‖x‖, so that a row of rare words has a short signature: what is left
out of u is as long as √(1 − ‖s‖²), which methods may use.

Terms are words and, in scripts without spaces, characters and pairs of them; see :mod:`nait_index.corpus.words`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nait_index.signatures.eigen import top_eigenpairs

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Document = Sequence[str]
"""The terms of a row, as often as they occur."""

_SHARED = 2  # rows of the reservoir that hold a term of the vocabulary
_MOST_TERMS = 1 << 15
"""Terms of the vocabulary, the most frequent ones: more would make the basis large, and hardly change any signature."""


@dataclass(frozen=True)
class Vocabulary:
    """The terms that signatures know, and the components that documents are projected on.

    :param terms: V terms; :param rarity: (V,) float32, the weight of each.
    :param unseen: the weight of all other terms. :param components: (V, d) float16, columns orthonormal.
    """

    terms: tuple[str, ...]
    rarity: np.ndarray
    unseen: float
    components: np.ndarray

    def project(self, documents: Sequence[Document]) -> np.ndarray:
        """Return the coordinates of documents (n, d) float32."""
        return np.asarray(self.vectors(documents) @ self._components, dtype=np.float32)

    def vectors(self, documents: Sequence[Document]) -> "csr_matrix":
        """Return the unit vectors of documents (n, V) float32, sparse; shorter by what the vocabulary does not know."""
        from scipy.sparse import csr_matrix

        columns, weights, starts = [], [], [0]
        for document in documents:
            counts = Counter(document)
            known = [(self._numbers[term], count) for term, count in counts.items() if term in self._numbers]
            numbers = np.fromiter((number for number, _ in known), np.int32, len(known))
            rare = np.fromiter((count for term, count in counts.items() if term not in self._numbers), np.float64)
            values = (1 + np.log([count for _, count in known])) * self.rarity[numbers]
            length = np.sqrt(values @ values + np.square((1 + np.log(rare)) * self.unseen).sum())
            columns.append(numbers)
            weights.append((values / max(length, 1e-30)).astype(np.float32))
            starts.append(starts[-1] + len(known))
        shape = (len(documents), len(self.terms))
        if not documents:
            return csr_matrix(shape, dtype=np.float32)
        return csr_matrix((np.concatenate(weights), np.concatenate(columns), starts), shape)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {term: number for number, term in enumerate(self.terms)}

    @cached_property
    def _components(self) -> np.ndarray:
        return self.components.astype(np.float32)


def fit_vocabulary(documents: Sequence[Document], dim: int) -> tuple[Vocabulary, np.ndarray]:
    """Fit vocabulary and components to the reservoir.

    :returns: also the coordinates (n, d) of its documents. Where they span fewer dimensions, the last ones are 0.
    """
    n, frequencies = len(documents), Counter(term for document in documents for term in set(document))
    shared = [term for term, count in frequencies.items() if count >= _SHARED]
    terms = tuple(sorted(shared, key=lambda term: (-frequencies[term], term))[:_MOST_TERMS])
    held = np.array([frequencies[term] for term in terms])
    rarity = (1 + np.log((1 + n) / (1 + held))).astype(np.float32)
    empty = Vocabulary(terms, rarity, float(1 + np.log((1 + n) / 2)), np.zeros((len(terms), dim), np.float16))
    if not terms:
        return empty, np.zeros((n, dim), np.float32)
    vectors = empty.vectors(documents)
    values, loadings = top_eigenpairs((vectors @ vectors.T).toarray().astype(np.float64), dim)
    empty.components[:, : len(values)] = vectors.T @ (loadings / np.sqrt(values))
    return empty, empty.project(documents)
