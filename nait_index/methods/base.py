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

NOTHING_SAID = (
    "nothing tells these examples apart from the corpus as a whole: every row would score the same; give other examples"
)

Summary = Mapping[str, np.ndarray]
"""What a method keeps of a capability's examples, by name; enough to make its query later without the examples."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What is known of a capability's examples, E of them.

    :param texts: rendered as plain text, in their order.
    :param summary: what linear methods keep of the examples' full activations, by name.
    :param signatures: the examples' own signatures, (E, width) each, in the columns of the table.
    :param made: the queries that methods have made of them, and of which rows: the same is asked again and again.
    """

    texts: Sequence[str]
    summary: Summary
    signatures: Mapping[str, np.ndarray]
    made: "dict[Scanned, tuple[Rows, Query]]" = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.texts)


class Rows(Protocol):
    """All rows of an index, always in table order."""

    @property
    def center(self) -> np.ndarray:
        """Mean pooled activations of the corpus (2, D) float32."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of every captured layer."""

    @property
    def topk(self) -> int:
        """Neurons kept of each layer by the ``topk`` view."""

    def __len__(self) -> int: ...

    def ids(self) -> list[str]:
        """Give the id of every row."""

    def texts(self) -> Iterator[str]:
        """Give the text of every row, its parts joined by newlines."""

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers (n,)."""

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Read one signature column, some rows at a time: (b, width)."""

    def project(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction over all neurons into a query (d,), for inner products with stored signatures."""

    def steps(self, feature: Feature) -> np.ndarray:
        """Give what one unit of each number of a signature is worth (d,) float32."""

    def first(self, feature: Feature, count: int) -> np.ndarray:
        """Read the scanned signatures of the first rows, a random sample of the corpus: (at most ``count``, d)."""

    def scores(self, feature: Feature, queries: np.ndarray) -> np.ndarray:
        """Give the inner products of every row's scanned signature with queries (q, d), in one pass: (q, n)."""

    def search(
        self, feature: Feature, queries: np.ndarray, k: int, allowed: np.ndarray | None, mode: SearchMode
    ) -> list[Hits]:
        """Give the largest inner products of each query (q, d), near the cut by all that is stored of a row."""


class Method(Protocol):
    """A way from examples to ranked rows."""

    view: ClassVar[View | None]
    """What the index must hold for it; ``None`` where the rows themselves are enough."""

    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Give the ``k`` rows of highest score, and with them all whose score equals that of the last.

        :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
        :raises CapabilityError: there are too few examples, or they say nothing.
        """


class Scoring(ABC):
    """A method that scores every row and takes the best."""

    view: ClassVar[View | None] = None

    @abstractmethod
    def scores(self, examples: Examples, rows: Rows) -> np.ndarray:
        """Score every row: (n,) float32, finite."""

    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Give the ``k`` rows of highest score."""
        return best(self.scores(examples, rows), k, allowed)


@dataclass(frozen=True, slots=True)
class Direction:
    """A query before compression: the score of a sample is ``vector · x + constant``, x its feature vector.

    :param vector: float32, as long as the method's feature vectors.
    """

    vector: np.ndarray
    constant: float = 0.0


@dataclass(frozen=True, slots=True)
class Query:
    """What a scan needs: the score of a row is ``vector · signature + constant``.

    :param vector: (d,) float32.
    """

    vector: np.ndarray
    constant: float = 0.0


class Scanned(ABC):
    """A method whose score is an inner product with a dense signature: one scan, for any number of capabilities."""

    view: ClassVar[View | None] = View.PCA
    feature: ClassVar[Feature]

    @abstractmethod
    def query(self, examples: Examples, rows: Rows) -> Query:
        """Make the query of some examples.

        :raises CapabilityError: there are too few of them, or they say nothing.
        """

    def query_of(self, examples: Examples, rows: Rows) -> Query:
        """Make the query of some examples, or give the one that was made of them before."""
        known = examples.made.get(self)
        if known is None or known[0] is not rows:
            known = examples.made[self] = rows, self.query(examples, rows)
        return known[1]

    def rank(self, examples: Examples, rows: Rows, k: int, allowed: np.ndarray | None) -> Hits:
        """Give the ``k`` rows of highest score."""
        return self.rank_all([examples], rows, k, allowed)[0]

    def rank_all(
        self,
        capabilities: Sequence[Examples],
        rows: Rows,
        k: int,
        allowed: np.ndarray | None,
        mode: SearchMode = SearchMode.EXACT,
    ) -> list[Hits]:
        """Rank for several capabilities in one pass over the rows."""
        queries = [self.query_of(examples, rows) for examples in capabilities]
        found = rows.search(self.feature, np.stack([query.vector for query in queries]), k, allowed, mode)
        # In double precision, lest a large constant make neighbouring scores equal.
        return [
            Hits(hits.scores.astype(np.float64) + query.constant, hits.ordinals)
            for query, hits in zip(queries, found, strict=True)
        ]


class Linear(Scanned):
    """A method whose query is a direction over all neurons, made of the examples alone."""

    @abstractmethod
    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Keep of the examples' pooled activations (E, 2, D) what the query needs."""

    @abstractmethod
    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Direction:
        """Make the query from a summary.

        :param center: (2, D) mean pooled activations of the corpus.
        :raises CapabilityError: the summary holds too little.
        """

    def query(self, examples: Examples, rows: Rows) -> Query:
        """Project the direction on the basis of the signatures."""
        direction = self.direction(examples.summary, rows.center, rows.widths)
        if not direction.vector.any() and len(rows) > 1:
            raise CapabilityError(NOTHING_SAID)
        return Query(rows.project(direction.vector, self.feature), direction.constant)
