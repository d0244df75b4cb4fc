"""BM25: the words that a sample shares with the examples. Robertson and Zaragoza 2009; here as Lucene computes it.

Every example is a query q, the set of its words, and every row a document d of length |d|, c̄ the mean length:

    bm25(q, d) = Σ_{w ∈ q} ln(1 + (n − df(w) + ½)/(df(w) + ½)) · tf(w, d) / (tf(w, d) + k₁·(1 − b + b·|d|/c̄))

with k₁ = 1.5 and b = 0.75. The examples' scores become one by reciprocal rank fusion (Cormack, Clarke and Büttcher,
SIGIR 2009), where r_q(d) is 1 + the number of rows that q scores higher than d:

    score(d) = 1/E · Σ_q 1/(60 + r_q(d))        in (0, 1/61]

Mean precision over nine capabilities on a pool of 29,581 rows: fused ranks 0.74, mean of the scores 0.70, mean where a
word counts as often as the example has it 0.69, maximum over the examples 0.68, all examples as one query 0.43. The
scores of different queries are on different scales, so that the longest examples would decide a sum.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nait_index.corpus.words import words
from nait_index.errors import CapabilityError
from nait_index.methods.base import Examples, Scored
from nait_index.search.rows import IndexRows

K1 = 1.5
B = 0.75
FUSION = 60
"""The constant of rank fusion as published; the larger, the less it matters whether a row is first or second."""


class Bm25(Scored):
    """Examples as lexical queries, their rankings fused."""

    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row (n,) float32.

        :raises CapabilityError: the examples share no word with the rows.
        """
        queries = [sorted(set(words(text))) for text in examples.texts]
        vocabulary = {word: number for number, word in enumerate(sorted(set().union(*queries)))}
        other = len(vocabulary)  # of all words of no example, which count for the length of a row only
        documents = [[vocabulary.get(word, other) for word in words(text)] for text in rows.texts()]
        if not any(number < other for document in documents for number in document):
            raise CapabilityError("bm25 finds no word of these examples in the index; give other examples")
        total = np.zeros(len(documents))
        for scores in _searches(documents, vocabulary, queries):
            total += 1 / (FUSION + ranks(scores))
        return (total / len(queries)).astype(np.float32)


def ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of every score (n,), 1 for the highest; equal scores share the best of their ranks."""
    order = np.argsort(-scores)
    ordered = -scores[order]
    ranked = np.empty(len(scores), dtype=np.int64)
    ranked[order] = np.searchsorted(ordered, ordered, side="left") + 1
    return ranked


def _searches(
    documents: Sequence[list[int]], vocabulary: dict[str, int], queries: Sequence[Sequence[str]]
) -> Iterator[np.ndarray]:
    """Yield the BM25 scores (n,) float32 of all rows, query by query."""
    import bm25s

    index: Any = bm25s.BM25(k1=K1, b=B, method="lucene")
    # Numbered here in sorted order: the library numbers words in the order of a Python set, which varies between runs.
    index.index((documents, vocabulary | {"": len(vocabulary)}), show_progress=False)
    for query in queries:
        yield index.get_scores_from_ids([vocabulary[word] for word in query])
