"""The rows of an index as methods see them: signatures, texts, numbers, and the dense search; always in table order."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nait_index.config import SearchMode
from nait_index.corpus import SAMPLE_COLUMNS, plain_text, restore_sample
from nait_index.errors import NaitError, StoreError
from nait_index.search.approximate import Approximate
from nait_index.search.engine import Engine, EngineStamp
from nait_index.search.fine import FineScores
from nait_index.search.hits import Hits, best_of_each
from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.store.filters import matching_rows
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, dense_column
from nait_index.store.seals import Looks
from nait_index.types import Sample

logger = logging.getLogger(__name__)


class IndexRows:
    """All rows of an index. Engines are opened when first needed, or made where they are out of date.

    :param topk: neurons kept of each layer by the ``topk`` view.
    :param scanned: how much of a dense signature a search scans, whatever more the table keeps; ``None`` for all.
    """

    def __init__(
        self, layout: Layout, table: SampleTable, compressor: Compressor, topk: int, scanned: int | None
    ) -> None:
        self.topk = topk
        self._scanned = scanned
        self._layout = layout
        self._table = table
        self._compressor = compressor
        self._folder = layout.engine(table.version)
        self._engines: dict[Feature, Engine] = {}
        self._approximate: dict[Feature, Approximate | None] = {}
        self._ids: list[str] | None = None

    @property
    def center(self) -> np.ndarray:
        """Mean pooled activations of the corpus (2, D) float32."""
        return self._compressor.center

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of every captured layer."""
        return self._compressor.widths

    def __len__(self) -> int:
        return len(self._table)

    def ids(self) -> list[str]:
        """Give the id of every row."""
        if self._ids is None:
            self._ids = [record["id"] for record in self._table.records(["id"])]
        return self._ids

    def texts(self) -> Iterator[str]:
        """Give the text of every row, its parts joined by newlines."""
        for record in self._table.records(["id", "row", "format"]):
            yield plain_text(restore_sample(record).parts)

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers (n,); NaN where there is none."""
        return self._table.numbers(column)

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Read one signature column, some rows at a time: (b, width)."""
        for _, values in self._table.signatures(column):
            yield values

    def project(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction over all neurons into a query (d,), for inner products with stored signatures."""
        return self._compressor.query(direction, feature)

    def steps(self, feature: Feature) -> np.ndarray:
        """Give what one unit of each number of a signature is worth (d,) float32."""
        return self._compressor.steps[feature]

    def first(self, feature: Feature, count: int) -> np.ndarray:
        """Read the scanned signatures of the first rows, a random sample of the corpus: (at most ``count``, d)."""
        return np.array(self.engine(feature).rows[:count])

    def scores(self, feature: Feature, queries: np.ndarray) -> np.ndarray:
        """Give the inner products of every row's scanned signature with queries (q, d), in one pass: (q, n)."""
        return self.engine(feature).scores(queries)

    def at(self, ordinals: np.ndarray, column: str) -> np.ndarray:
        """Read one signature column of some rows, by their places, as the table keeps it: (m, width)."""
        return self._table.signatures_at(ordinals, column)

    def spread(self, coordinates: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn coordinates (…, d) into the feature vectors over all neurons that they stand for, (…, F)."""
        return self._compressor.spread(coordinates, feature)

    def as_scored(self, query: np.ndarray, feature: Feature, *, finely: bool = True) -> np.ndarray:
        """Give a query (d,) as rows are scored by it in the end.

        :param finely: rows near the cut are scored again by all of their signature, where more is kept than scanned.
        """
        engine = self.engine(feature)
        return query if finely and engine.stamp.dim < self._compressor.dim(feature) else engine.rounded(query)

    def neuron_queries(self, feature: Feature, neurons: np.ndarray) -> np.ndarray:
        """Give vectors (m, d) whose inner products with a signature are the values of some neurons of its feature."""
        return self._compressor.neuron_queries(feature, neurons)

    def search(
        self, feature: Feature, queries: np.ndarray, k: int, allowed: np.ndarray | None, mode: SearchMode
    ) -> list[Hits]:
        """Give the largest inner products of each query (q, d), near the cut by all that is stored of a row."""
        approximate = self.approximate(feature) if mode is SearchMode.APPROXIMATE else None
        if approximate is not None:
            return [approximate.search(query, k) for query in queries]
        coarse = self.scores(feature, queries)
        if self._compressor.dim(feature) == self.engine(feature).stamp.dim:
            return best_of_each(coarse, k, allowed)
        column = dense_column(feature)
        fine = FineScores(lambda ordinals: self._table.signatures_at(ordinals, column), len(self))
        return [fine.best(own, query, k, allowed) for own, query in zip(coarse, queries, strict=True)]

    def approximate(self, feature: Feature) -> Approximate | None:
        """Open the approximate search of a feature; ``None`` where there is none of this state of the table."""
        if feature not in self._approximate:
            column, steps = dense_column(feature), self.steps(feature)
            self._approximate[feature] = Approximate.load(self._folder, column, self.engine(feature), steps)
        return self._approximate[feature]

    def make_approximate(self, feature: Feature, queries: np.ndarray) -> None:
        """Make the approximate search of a feature.

        :param queries: (q, d) queries such as will be asked; the recall is measured on them.
        """
        made = Approximate.build(self.engine(feature), self.steps(feature), queries)
        made.save(self._folder, dense_column(feature))
        self._approximate[feature] = made

    def allowed(self, where: str | None) -> np.ndarray | None:
        """Give which rows (n,) bool pass a SQL filter; ``None`` without one."""
        return None if where is None else matching_rows(self._table, where)

    def passing(self, where: str | None) -> np.ndarray:
        """Give the places in the table of the rows that pass a SQL filter, in the order of the corpus."""
        allowed = self.allowed(where)
        order = np.argsort(self._table.numbers("position"), kind="stable")
        return order if allowed is None else order[allowed[order]]

    def listing(self, columns: Sequence[str], where: str | None, limit: int | None) -> list[dict[str, Any]]:
        """Read plain columns of the rows that a SQL filter holds for, in the order of the corpus."""
        taken = self._table.take(self.passing(where)[:limit], ["id", *columns])
        return [dict(zip(taken, values, strict=True)) for values in zip(*taken.values(), strict=True)]

    def describe(self, ordinals: np.ndarray) -> dict[int, tuple[str, str]]:
        """Give id and original row, as JSON text, of the rows at some places."""
        taken = self._table.take(ordinals, ["id", "row"])
        return dict(zip(ordinals.tolist(), zip(taken["id"], taken["row"], strict=True), strict=True))

    def place(self, sample_id: str) -> int | None:
        """Find the place of a row in table order."""
        return self._table.place(sample_id)

    def sample(self, ordinal: int) -> Sample:
        """Read the row at some place as a sample."""
        taken = self._table.take([ordinal], SAMPLE_COLUMNS)
        return restore_sample({name: values[0] for name, values in taken.items()})

    def take_ids(self, ordinals: np.ndarray) -> list[str]:
        """Give the ids at some places."""
        ids: list[str] = self._table.take(ordinals, ["id"])["id"]
        return ids

    def engine(self, feature: Feature) -> Engine:
        """Open the engine of a feature."""
        if feature not in self._engines:
            self._engines[feature] = self._load(feature)
        return self._engines[feature]

    def stamp(self, feature: Feature) -> EngineStamp:
        """Give the state of the table that an engine of this feature must be of."""
        dim = self._compressor.dim(feature)
        return EngineStamp(
            table_version=self._table.version,
            rows=len(self._table),
            dim=dim if self._scanned is None else min(dim, self._scanned),
            dtype=str(self._compressor.dtype),
        )

    def _load(self, feature: Feature) -> Engine:
        column, stamp = dense_column(feature), self.stamp(feature)
        engine = self._open(column, stamp)
        if engine is not None:
            logger.info("engine %s mapped: %d rows of %d numbers", column, stamp.rows, stamp.dim)
            return engine
        logger.info("making the engine %s of %d rows", column, stamp.rows)
        try:
            Engine.write(self._folder, column, self.blocks(column), stamp)
        except StoreError:
            raise
        except NaitError as error:  # a cache: without it the next start takes longer, and that is all
            logger.warning("the engine is made anew at every start: %s", error)
            return Engine.build(self.blocks(column), stamp)
        engine = self._open(column, stamp)
        return Engine.build(self.blocks(column), stamp) if engine is None else engine

    def _open(self, column: str, stamp: EngineStamp) -> Engine | None:
        """Open the files of an engine; a damaged one is none."""
        engine = Engine.open(self._folder, column, stamp)
        path, looks = self._folder / f"{column}.npy", Looks(self._layout)
        if engine is None or looks.same(path):
            return engine
        if not engine.is_whole(self._folder, column):
            return None
        looks.remember(path)
        looks.save()
        return engine
