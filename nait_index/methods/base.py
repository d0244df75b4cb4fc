"""What every method is: a way from a capability's examples to a score of every row, higher is better."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from nait_index.config import SearchMode, View
from nait_index.errors import CapabilityError
from nait_index.search.hits import Hits, best
from nait_index.signatures.features import Feature
from nait_index.signatures.views import NORMS

NO_DIRECTION = (
    "nothing tells these examples apart from the corpus as a whole: every row would score the same; give other examples"
)

Summary = Mapping[str, np.ndarray]
"""What methods keep of a capability's examples, by name: enough to make a query later without the examples."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known of a capability's examples, E of them.

    :param texts: rendered as plain text, in order.
    :param summary: what methods keep of the examples' full activations, by name.
    :param signatures: the examples' signatures, (E, width) each, by column of the table.
    :param queries: the query that each method made of them, and the rows it was made for, since it is asked repeatedly.
    """

    texts: Sequence[str]
    summary: Summary
    signatures: Mapping[str, np.ndarray]
    queries: "dict[Method, tuple[Rows, Query]]" = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.texts)


class Rows(Protocol):
    """All rows of an index, always in table order."""

    @property
    def center(self) -> np.ndarray:
        """Mean pooled activations of the corpus (2, D) float32."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of neurons of every captured layer."""

    @property
    def topk(self) -> int:
        """Neurons kept of each layer by the ``topk`` view."""

    def __len__(self) -> int: ...

    def ids(self) -> list[str]:
        """Return the id of every row."""

    def texts(self) -> Iterator[str]:
        """Yield the text of every row, its parts joined by newlines."""

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers (n,)."""

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Read one signature column in blocks of rows: (b, width)."""

    def project(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction over all neurons into a query (d,), for inner products with stored signatures."""

    def steps(self, feature: Feature) -> np.ndarray:
        """Return what one unit of each number of a signature is worth (d,) float32."""

    def first(self, feature: Feature, count: int) -> np.ndarray:
        """Read the scanned signatures of the first rows, a random sample of the corpus: (at most ``count``, d)."""

    def scores(self, feature: Feature, queries: np.ndarray) -> np.ndarray:
        """Compute the inner products of every row's scanned signature with queries (q, d), in one pass: (q, n)."""

    def search(
        self, feature: Feature, queries: np.ndarray, k: int, allowed: np.ndarray | None, mode: SearchMode
    ) -> list[Hits]:
        """Return the rows of largest inner product with each query (q, d); near the cut, whole signatures decide."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A score linear in a feature vector x over all neurons: ``(vector · x + constant) / length``.

    :param vector: float32, as long as x.
    :param layer: position of the captured layer whose activations, averaged over a row's tokens, have that length;
        ``None`` where nothing is divided by.
    """

    vector: np.ndarray
    constant: float = 0.0
    layer: int | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """The same score in terms of the stored signature s of the feature: ``(vector · s + constant) / length``.

    :param vector: (d,) float32. :param layer: as for :class:`Direction`.
    """

    feature: Feature
    vector: np.ndarray
    constant: float = 0.0
    layer: int | None = None


class Method(ABC):
    """A way from examples to ranked rows."""

    view: ClassVar[View | None] = None
    """What the index must hold; ``None`` where the rows themselves are enough."""

    feature: ClassVar[Feature | None] = None
    """The dense feature that the score is linear in; ``None`` where it is not linear."""

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Return what the method keeps of the examples' pooled activations (E, 2, D)."""
        return {}

    def query(self, examples: Examples, rows: Rows) -> Query | None:
        """Return the score as a linear function of signatures; ``None`` where :attr:`feature` is ``None``.

        :raises CapabilityError: there are too few examples, or nothing tells them apart from the corpus.
        """
        return None

    @abstractmethod
    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score, and all whose score equals that of the last.

        :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
        :raises CapabilityError: as for :meth:`query`.
        """

    def rank_all(
        self,
        capabilities: Sequence[Examples],
        rows: Rows,
        k: int,
        allowed: np.ndarray | None,
        mode: SearchMode = SearchMode.EXACT,
    ) -> list[Hits]:
        """Rank for several capabilities: where the score is linear, in one pass over the rows."""
        queries = [query for examples in capabilities if (query := self.query(examples, rows)) is not None]
        if queries:
            return _rank_by(queries, rows, k, allowed, mode)
        return [self.rank(examples, rows, k, allowed) for examples in capabilities]


class Scored(Method):
    """A method that scores every row, whatever the number of rows to choose."""

    @abstractmethod
    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Score every row: (n,) float32, finite."""

    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score."""
        return best(self.scores(examples, rows), k, allowed)


class Linear(Method):
    """A method whose score is linear in a dense signature: one scan for any number of capabilities."""

    view: ClassVar[View | None] = View.PCA
    feature: ClassVar[Feature]

    @abstractmethod
    def make_query(self, examples: Examples, rows: Rows) -> Query:
        """Make the query, as described by :meth:`query`."""

    def query(self, examples: Examples, rows: Rows) -> Query:
        """Make the query of some examples, or return the one already made of them for these rows."""
        known = examples.queries.get(self)
        if known is None or known[0] is not rows:
            known = examples.queries[self] = rows, self.make_query(examples, rows)
        return known[1]

    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score."""
        return self.rank_all([examples], rows, k, allowed)[0]


class Directed(Linear):
    """A linear method whose query is a direction over all neurons, made of the examples alone."""

    @abstractmethod
    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Direction:
        """Make the direction from a summary.

        :param center: (2, D) mean pooled activations of the corpus.
        :raises CapabilityError: the summary holds too little.
        """

    def make_query(self, examples: Examples, rows: Rows) -> Query:
        """Project the direction on the basis of the signatures."""
        direction = self.direction(examples.summary, rows.center, rows.widths)
        if not direction.vector.any() and len(rows) > 1:
            raise CapabilityError(NO_DIRECTION)
        vector = rows.project(direction.vector, self.feature)
        return Query(self.feature, vector, direction.constant, direction.layer)


def _rank_by(queries: Sequence[Query], rows: Rows, k: int, allowed: np.ndarray | None, mode: SearchMode) -> list[Hits]:
    """Rank by queries of one feature: in one pass, or one by one where each row's score is divided by a length."""
    if any(query.layer is not None for query in queries):
        return [best(_quotients(query, rows), k, allowed) for query in queries]
    hits = rows.search(queries[0].feature, np.stack([query.vector for query in queries]), k, allowed, mode)
    # In double precision, so that a large constant does not make neighbouring scores equal.
    return [
        Hits(ranked.scores.astype(np.float64) + query.constant, ranked.ordinals)
        for query, ranked in zip(queries, hits, strict=True)
    ]


def _quotients(query: Query, rows: Rows) -> np.ndarray:
    """Score every row by a query that divides (n,) float32; a row of length 0 scores 0."""
    products = rows.scores(query.feature, query.vector[None])[0].astype(np.float64) + query.constant
    lengths = np.concatenate([block[:, query.layer] for block in rows.blocks(NORMS)])
    quotients = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
    return np.asarray(quotients, np.float32)
