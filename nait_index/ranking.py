"""A capability and a method to ranked rows: the method's direction, compressed, scanned by the engine."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nait_index.errors import CapabilityError, NaitError
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.search.engine import Engine, EngineStamp
from nait_index.selection.budget import Budget
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, dense_column

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The best rows of one capability, best first, ties in the order of their ids.

    :param ordinals: their places in table order.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    ordinals: tuple[int, ...]


class Ranker:
    """Scores all samples of an index. Engines are opened when first needed, or made where they are out of date."""

    def __init__(self, layout: Layout, table: SampleTable, compressor: Compressor) -> None:
        self._layout = layout
        self._table = table
        self._compressor = compressor
        self._engines: dict[Feature, Engine] = {}

    def engine(self, feature: Feature) -> Engine:
        """Open the engine of a feature."""
        if feature not in self._engines:
            self._engines[feature] = self._load(feature)
        return self._engines[feature]

    def allowed(self, where: str | None) -> np.ndarray | None:
        """Give which rows (n,) bool, in table order, pass a SQL filter; ``None`` without one."""
        if where is None:
            return None
        some_engine = next(iter(self._engines.values()), None) or self.engine(Feature.UNIT)
        return np.isin(some_engine.row_ids, self._table.matching(where))

    def rank(
        self, summary: Mapping[str, np.ndarray], method: MethodName, budget: Budget, allowed: np.ndarray | None
    ) -> Ranked:
        """Choose the budget's number of rows.

        :param summary: what the methods kept of the capability's examples.
        :param allowed: which rows may be chosen; shares of the budget are of these.
        :raises CapabilityError: the method needs more examples. :raises SelectionError: there are too few rows.
        """
        scorer = METHODS[method]
        direction = scorer.direction(summary, self._compressor.center, self._compressor.widths)
        if not direction.vector.any() and len(self._table) > 1:
            raise CapabilityError(
                "nothing tells these examples apart from the corpus as a whole: every row would score the same; give "
                "other examples"
            )
        engine = self.engine(scorer.feature)
        k = budget.resolve(engine.stamp.rows if allowed is None else int(allowed.sum()))
        hits = engine.search(self._compressor.query(direction.vector, scorer.feature), k, allowed)
        ids = self._table.take(hits.ordinals, ["id"])["id"]
        order = sorted(range(len(ids)), key=lambda i: (-float(hits.scores[i]), ids[i]))[:k]
        return Ranked(
            tuple(ids[i] for i in order),
            tuple(float(hits.scores[i]) + direction.constant for i in order),
            tuple(int(hits.ordinals[i]) for i in order),
        )

    def stamp(self, feature: Feature) -> EngineStamp:
        """Give the state of the table that an engine of this feature must be of."""
        return EngineStamp(
            table_version=self._table.version,
            rows=len(self._table),
            dim=self._compressor.dim(feature),
            dtype=str(self._compressor.dtype),
        )

    def _load(self, feature: Feature) -> Engine:
        column, stamp = dense_column(feature), self.stamp(feature)
        engine = Engine.load(self._layout.engine, column, stamp)
        if engine is None:
            engine = Engine.build(self._table.signatures(column), stamp)
            try:
                engine.save(self._layout.engine, column)
            except NaitError as error:  # a cache: without it the next start takes longer, and that is all
                logger.warning("the engine is made anew at every start: %s", error)
        return engine
