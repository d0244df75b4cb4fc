"""Signatures of words: a row's terms weighted by how rare they are, projected on the leading directions of the corpus.

With tf the count of a term t in a row, and df the number of the reservoir's n rows that hold it:

    x[t] = (1 + ln tf) · (1 + ln((1 + n)/(1 + df)))        u = Cx/‖Cx‖

The rows of C are the leading components of the reservoir's vectors x/‖x‖ (latent semantic analysis: Deerwester et al.
1990), and the signature holds u at 8 bits a number like those of neurons. Only terms that several rows of the reservoir
share have a place in x; a row without any is a row of zeros. Scaling to length 1 after the projection makes an inner
product a cosine of what the components know of two rows, however many of their words are rare.

Terms are words, marks such as ``).``, and beginnings of lines; in scripts without spaces, characters and pairs of them.
A text's form says as much of what it teaches as its words: code, a dialogue, a list, a translation.

Few components are better than many: the mean precision over nine capabilities on a pool of 29,581 rows, of ``probe`` on
words alone and beside neurons, is 0.819 and 0.812 with 64 numbers, 0.810 and 0.806 with 128, 0.804 and 0.801 with 256.
128 leave room for finer skills than those.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nait_index.signatures.eigen import top_eigenpairs
from nait_index.signatures.features import unit_rows

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
    :param components: (V, d) float16, columns orthonormal.
    """

    terms: tuple[str, ...]
    rarity: np.ndarray
    components: np.ndarray

    def project(self, documents: Sequence[Document]) -> np.ndarray:
        """Return the coordinates of documents (n, d) float32, of length 1; zeros where no term is known."""
        return unit_rows(np.asarray(self.vectors(documents) @ self._components, dtype=np.float32))

    def vectors(self, documents: Sequence[Document]) -> "csr_matrix":
        """Return the unit vectors of documents (n, V) float32, sparse."""
        from scipy.sparse import csr_matrix

        columns, weights, starts = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)], [0]
        for document in documents:
            counts = Counter(term for term in document if term in self._numbers)
            numbers = np.fromiter((self._numbers[term] for term in counts), np.int32, len(counts))
            values = (1 + np.log(np.fromiter(counts.values(), np.float64, len(counts)))) * self.rarity[numbers]
            columns.append(numbers)
            weights.append((values / max(float(np.linalg.norm(values)), 1e-30)).astype(np.float32))
            starts.append(starts[-1] + len(counts))
        return csr_matrix((np.concatenate(weights), np.concatenate(columns), starts), (len(documents), len(self.terms)))

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
    vocabulary = Vocabulary(terms, rarity, np.zeros((len(terms), dim), np.float16))
    if not terms:
        return vocabulary, np.zeros((n, dim), np.float32)
    vectors = vocabulary.vectors(documents)
    values, loadings = top_eigenpairs((vectors @ vectors.T).toarray().astype(np.float64), dim)
    vocabulary.components[:, : len(values)] = vectors.T @ (loadings / np.sqrt(values))
    return vocabulary, vocabulary.project(documents)
