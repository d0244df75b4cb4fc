"""The base of every method, which turns a capability's examples into a score for every row; higher is better."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from nait_index.config import SearchMode, View
from nait_index.errors import CapabilityError
from nait_index.search.hits import Hits, best
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.signatures.views import NORMS

NO_DIRECTION = (
    "these examples do not differ from the corpus as a whole, so every row would score the same; give other examples"
)

Summary = Mapping[str, np.ndarray]
"""What methods keep of a capability's examples, by name: enough to make a query later without the examples."""


@dataclass(frozen=True, slots=True)
class Examples:
    """A capability's E examples, as methods see them.

    :param texts: rendered as plain text, in order.
    :param summary: what methods keep of the examples' full activations, by name.
    :param signatures: the examples' signatures, (E, width) each, by column of the table.
    :param unlike: examples of what is not wanted, by capability. :param resampled: whether they were
        drawn from a capability's, for one purpose, so that nothing made of them is cached.
    :param queries: the query that each method made of them, with the rows it is for; a cache.
    """

    texts: Sequence[str]
    summary: Summary
    signatures: Mapping[str, np.ndarray]
    unlike: "tuple[Examples, ...]" = field(default=(), repr=False)
    resampled: bool = False
    queries: "dict[Method, tuple[weakref.ref[IndexRows], Query]]" = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class Query:
    """A score that is linear in a row's feature vector x: ``(vector · x + constant) / length``.

    :param vector: as long as x, float32; or (d,), the same in terms of the stored signature in place of x.
    :param layer: position of the captured layer whose activations, averaged over a row's tokens, have that length;
        ``None`` where nothing is divided by.
    :param beside: vectors of more features, whose inner products are added.
    """

    feature: Feature
    vector: np.ndarray
    constant: float = 0.0
    layer: int | None = None
    beside: Mapping[Feature, np.ndarray] = field(default_factory=dict)

    @property
    def parts(self) -> dict[Feature, np.ndarray]:
        """The vector of every feature."""
        return {self.feature: self.vector, **self.beside}


class Method(ABC):
    """A way from examples to ranked rows."""

    view: ClassVar[View | None] = None
    """What the index must hold; ``None`` where the rows themselves are enough."""

    instead: ClassVar[tuple[View, ...]] = ()
    """The views that do as well."""

    takes_unlike: ClassVar[bool] = False
    """Whether it heeds examples of what is not wanted."""

    feature: ClassVar[Feature | None] = None
    """The dense feature that the score is linear in, or the first of several; ``None`` where it is not linear."""

    def features(self, rows: IndexRows) -> tuple[Feature, ...]:
        """Return the dense features of an index that the score is linear in."""
        return () if self.feature is None else (self.feature,)

    def summarise(self, examples: np.ndarray, widths: Sequence[int]) -> dict[str, np.ndarray]:
        """Return what the method keeps of the examples' pooled activations (E, 2, D)."""
        return {}

    @property
    def needs_activations(self) -> bool:
        """Whether a query needs the examples' full activations, which only the model gives again."""
        return type(self).summarise is not Method.summarise

    def query(self, examples: Examples, rows: IndexRows) -> Query | None:
        """Return the score as a linear function of signatures; ``None`` where :attr:`feature` is ``None``.

        :raises CapabilityError: there are too few examples, or nothing tells them apart from the corpus.
        """
        return None

    @abstractmethod
    def rank(self, examples: Examples, rows: IndexRows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score, and all whose score equals that of the last.

        :param allowed: (n,) bool, rows that may be chosen; ``None`` for all.
        :raises CapabilityError: as for :meth:`query`.
        """

    def rank_all(
        self,
        capabilities: Sequence[Examples],
        rows: IndexRows,
        k: int,
        allowed: np.ndarray | None,
        mode: SearchMode = SearchMode.EXACT,
    ) -> list[Hits]:
        """Rank for several capabilities, in one pass over the rows where the score is linear."""
        return [self.rank(examples, rows, k, allowed) for examples in capabilities]


class Scored(Method):
    """A method that scores every row, whatever the number of rows to choose."""

    @abstractmethod
    def scores(self, examples: Examples, rows: IndexRows) -> np.ndarray:
        """Score every row: (n,) float32, finite."""

    def rank(self, examples: Examples, rows: IndexRows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score."""
        return best(self.scores(examples, rows), k, allowed)


class Linear(Method):
    """A method whose score is linear in a dense signature: one scan for any number of capabilities."""

    view: ClassVar[View | None] = View.PCA
    feature: ClassVar[Feature]

    @abstractmethod
    def make_query(self, examples: Examples, rows: IndexRows) -> Query:
        """Make the query of some examples, in terms of the stored signature.

        :raises CapabilityError: as for :meth:`query`.
        """

    def query(self, examples: Examples, rows: IndexRows) -> Query:
        """Make the query of some examples, or return the one already made of them for these rows."""
        known = examples.queries.get(self)
        if known is None or known[0]() is not rows:
            known = examples.queries[self] = weakref.ref(rows), self.make_query(examples, rows)
        return known[1]

    def rank(self, examples: Examples, rows: IndexRows, k: int, allowed: np.ndarray | None) -> Hits:
        """Return the ``k`` rows of highest score."""
        return self.rank_all([examples], rows, k, allowed)[0]

    def rank_all(
        self,
        capabilities: Sequence[Examples],
        rows: IndexRows,
        k: int,
        allowed: np.ndarray | None,
        mode: SearchMode = SearchMode.EXACT,
    ) -> list[Hits]:
        """Rank in one pass over the rows; one by one where each row's score is divided by a length."""
        queries = [self.query(examples, rows) for examples in capabilities]
        if any(query.layer is not None for query in queries):
            return [best(_quotients(query, rows), k, allowed) for query in queries]
        features = self.features(rows)
        stacked = {feature: np.stack([query.parts[feature] for query in queries]) for feature in features}
        hits = rows.search(stacked, k, allowed, mode)
        # In double precision, so that a large constant does not make neighbouring scores equal.
        return [
            Hits(ranked.scores.astype(np.float64) + query.constant, ranked.ordinals)
            for query, ranked in zip(queries, hits, strict=True)
        ]


class Directed(Linear):
    """A linear method whose query is a direction over all neurons, made of the examples alone."""

    @abstractmethod
    def direction(self, summary: Summary, center: np.ndarray, widths: Sequence[int]) -> Query:
        """Make the query in terms of the feature vector from a summary.

        :param center: (2, D) mean pooled activations of the corpus.
        :raises CapabilityError: the summary holds too little.
        """

    def make_query(self, examples: Examples, rows: IndexRows) -> Query:
        """Project the direction on the basis of the signatures."""
        direction = self.direction(examples.summary, rows.center, rows.widths)
        if not direction.vector.any() and len(rows) > 1:
            raise CapabilityError(NO_DIRECTION)
        return replace(direction, vector=rows.project(direction.vector, self.feature))


def _quotients(query: Query, rows: IndexRows) -> np.ndarray:
    """Score every row by a query that divides (n,) float32; a row of length 0 scores 0."""
    products = rows.scores(query.feature, query.vector[None])[0].astype(np.float64) + query.constant
    lengths = np.concatenate([block[:, query.layer] for block in rows.blocks(NORMS)])
    quotients = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
    return np.asarray(quotients, np.float32)
