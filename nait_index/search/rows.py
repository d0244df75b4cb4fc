"""The rows of an index as methods and readers see them: signatures, texts, plain columns, and the dense search.

Rows are in table order; an ordinal is a row's position in that order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.config import SearchMode, SignatureConfig
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample, stored_text
from nait_index.errors import StoreError, UnknownRowError
from nait_index.search.approximate import Approximate
from nait_index.search.cell_copies import CellCopies
from nait_index.search.copies import ScanCopies
from nait_index.search.exact import ExactScan, ScanStamp, rounded
from nait_index.search.hits import Hits, best_of_each
from nait_index.search.joint import JointScan
from nait_index.search.placement import Products
from nait_index.search.scans import ColumnQueries, HeldScans, HiddenStates, Scans, TableWork
from nait_index.signatures.features import POOLINGS, Feature
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import HIDDEN_MEAN, SCANNED, VIEW_OF, dense_column
from nait_index.spelling import did_you_mean_id
from nait_index.store.cache import cached
from nait_index.store.filters import matching_rows, plain_columns, values_of
from nait_index.store.fitted import load_landmarks
from nait_index.store.fragments import Fragment, cut
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, spread
from nait_index.types import DEFAULT_READING, Reading, Sample

if TYPE_CHECKING:
    import pyarrow as pa


class IndexRows:
    """All n rows of an index. Scans are opened when first needed, and brought up to date before.

    :param signatures: the settings that the index was built with. :param landmarks_hash: as the manifest records it.
    :param products: what multiplies rows with queries; the processor by default.
    :param scans: of the table, where other processes hold them.
    """

    def __init__(
        self,
        layout: Layout,
        table: SampleTable,
        compressor: Compressor,
        signatures: SignatureConfig,
        reading: Reading = DEFAULT_READING,
        landmarks_hash: str | None = None,
        products: Products | None = None,
        scans: Scans | None = None,
    ) -> None:
        self.topk = signatures.topk
        self.views = signatures.views
        self.compressor = compressor
        #: (2, D) mean pooled activations of the corpus; and the number of neurons of every captured layer.
        self.center, self.widths = compressor.center, compressor.widths
        #: Leading numbers of a dense signature that a search scans; ``None`` for all that the table keeps.
        self._leading = signatures.pca_dim
        #: What of a row is read.
        self.reading = reading
        #: The samples of the version that is open.
        self.table = table
        self._layout = layout
        self._folder = layout.engine(table.version)
        self._held = HeldScans(ScanCopies(layout, table), products)
        self._cells = CellCopies(layout, table)
        self._scans = scans or self._held
        self._hidden = HiddenStates(table)
        self._stamps: dict[Feature, ScanStamp] = {}
        self._approximate: dict[tuple[Feature, ...], Approximate | None] = {}
        self._ids: list[str] | None = None
        self._landmarks_hash = landmarks_hash

    # ---- what is known of the rows ----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.table)

    def ids(self) -> list[str]:
        """Return the id of every row."""
        if self._ids is None:
            self._ids = self.table.read(["id"]).column(0).to_pylist()
        return self._ids

    def id_order(self) -> np.ndarray:
        """Return the ordinals of all rows in the order of their ids: (n,) int64."""
        return self.table.id_order()

    def texts(self) -> Iterator[str]:
        """Yield the text of every row, its parts joined by newlines."""
        for record in self.table.records(["row", "format"]):
            yield stored_text(record["row"], record["format"], self.reading)

    def column_names(self) -> list[str]:
        """Return the names of the plain columns, which is all but the signatures."""
        return plain_columns(self.table)

    def read(self, columns: Sequence[str]) -> "pa.Table":
        """Read plain columns of all rows (``id``, ``n_tokens``, ``file``, scores, …)."""
        return self.table.read(columns)

    def take(self, ordinals: Sequence[int] | np.ndarray, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Read plain columns of some rows, in the order given."""
        columns_of: dict[str, list[Any]] = self.table.take(ordinals, columns).to_pydict()
        return columns_of

    def take_ids(self, ordinals: np.ndarray) -> list[str]:
        """Read the ids of some rows."""
        ids: list[str] = self.take(ordinals, ["id"])["id"]
        return ids

    def numbers(self, column: str) -> np.ndarray:
        """Read one plain column of numbers (n,), NaN where there is none."""
        return self.table.numbers(column)

    def values(self, column: str, option: str) -> "pa.Array":
        """Read a plain column or a field of all rows; see :func:`values_of`."""
        return values_of(self.table, column, option, self._folder)

    def ordinal(self, sample_id: str) -> int:
        """Return the ordinal of the row with an id.

        :raises UnknownRowError: there is no such row.
        """
        return self.ordinals([sample_id])[0]

    def ordinals(self, ids: Sequence[str]) -> list[int]:
        """Return the ordinals of the rows with some ids, in that order.

        :raises UnknownRowError: there is no row with one of them.
        """
        known = self.table.ordinals(ids)
        for sample_id in ids:
            if sample_id not in known:
                near = did_you_mean_id(sample_id, self.ids())
                raise UnknownRowError(f"there is no row with id {sample_id!r} in {self._layout.name}{near}")
        return [known[sample_id] for sample_id in ids]

    def sample(self, ordinal: int) -> Sample:
        """Read one row as a sample."""
        return restore_sample(self.table.take([ordinal], SAMPLE_COLUMNS).to_pylist()[0], self.reading)

    # ---- filters ----------------------------------------------------------------------------------------------------

    def allowed(self, where: str | None) -> np.ndarray | None:
        """Return which rows (n,) bool pass a SQL filter; ``None`` without a filter."""
        return None if where is None else matching_rows(self.table, where, self._folder)

    def passing(self, where: str | None) -> np.ndarray:
        """Return the ordinals of the rows that pass a SQL filter, in the order of the corpus."""
        allowed = self.allowed(where)
        order = np.argsort(self.table.numbers("position"), kind="stable")
        return order if allowed is None else order[allowed[order]]

    def listing(
        self, columns: Sequence[str], ids: Sequence[str] | None, where: str | None, limit: int | None
    ) -> list[dict[str, Any]]:
        """Read plain columns of the rows with some ids, in that order, or of those that pass a filter, in corpus order.

        :raises UnknownRowError: an id is not in the index.
        """
        ordinals = self.passing(where) if ids is None else self.ordinals(ids)
        rows: list[dict[str, Any]] = self.table.take(ordinals[:limit], ["id", *columns]).to_pylist()
        return rows

    # ---- signatures -------------------------------------------------------------------------------------------------

    def blocks(self, column: str) -> Iterator[np.ndarray]:
        """Read one signature column in blocks of rows: (b, width)."""
        return self.table.signatures(column)

    def signatures(self, ordinals: np.ndarray, column: str) -> np.ndarray:
        """Read one signature column of some rows, as the table keeps it: (m, width)."""
        return self.table.signatures_at(ordinals, column)

    def holds(self, feature: Feature) -> bool:
        """Report whether the index has the view that a feature needs."""
        return VIEW_OF[feature] in self.views

    def sampled(self, feature: Feature, count: int) -> np.ndarray:
        """Read the scanned signatures of a random sample of the corpus: (at most ``count``, d)."""
        ordinals = spread(len(self), count)
        is_scanned = feature is not Feature.HIDDEN
        return self.scanned(feature, ordinals) if is_scanned else self.signatures(ordinals, HIDDEN_MEAN)

    def scanned(self, feature: Feature, ordinals: np.ndarray) -> np.ndarray:
        """Read the scanned signatures of some rows: (m, d)."""
        return self._scans.take(dense_column(feature), self.stamp(feature), ordinals)

    def vectors(self, signatures: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn signatures (m, d) of rows or examples into the coordinates that a query is multiplied with, float32."""
        if feature is Feature.HIDDEN:
            return self._hidden.vectors(signatures)
        return np.asarray(signatures * self.steps(feature))

    def landmarks(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the landmarks that are still rows of the index: ordinals (m,) and gradients (m, width) float16.

        :raises StoreError: the file is missing or damaged.
        """
        landmarks = load_landmarks(self._layout, self._landmarks_hash)
        known = self.table.ordinals(landmarks.ids)
        held = [number for number, sample_id in enumerate(landmarks.ids) if sample_id in known]
        ordinals = np.array([known[landmarks.ids[number]] for number in held], dtype=np.int64)
        contents = self.take(ordinals, ["content_hash"])["content_hash"] if held else []
        same = [content == landmarks.contents[number] for number, content in zip(held, contents, strict=True)]
        return ordinals[same], landmarks.gradients[np.array(held, dtype=np.int64)[same]]

    def coordinates(self, ordinals: np.ndarray, width: int) -> np.ndarray:
        """Read the leading coordinates of the vectors of some rows' neurons or else words: (m, ≤ ``width``) float32.

        :raises StoreError: the index lacks the views ``pca`` and ``words``.
        """
        feature = next(filter(self.holds, SCANNED), None)
        if feature is None:
            raise StoreError("this needs the view pca or words, which the index was built without")
        leading = self.scanned(feature, ordinals)[:, :width]
        return np.asarray(leading * self.steps(feature)[: leading.shape[1]], np.float32)

    def steps(self, feature: Feature) -> np.ndarray:
        """Return what one unit of each number of a signature is worth (d,) float32."""
        return np.ones(1, np.float32) if feature is Feature.HIDDEN else self.compressor.steps[feature]

    # ---- queries ----------------------------------------------------------------------------------------------------

    def cached(self, made_of: Iterable[np.ndarray | str], make: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the numbers (m,) float64 that were made of the same before, for these rows; see :func:`cached`."""
        return cached(self._folder, made_of, make)

    def project(self, direction: np.ndarray, feature: Feature) -> np.ndarray:
        """Turn a direction over all neurons into a query (d,), for inner products with stored signatures."""
        return self.compressor.query(direction, feature)

    def as_scored(self, query: np.ndarray, feature: Feature, *, finely: bool = True) -> np.ndarray:
        """Return a query (d,) after rounding, as actually applied.

        :param finely: whether rows near the cut are rescored with their whole signatures, where those are longer than
            what is scanned.
        """
        stamp = self.stamp(feature)
        if finely and stamp.dim < self.compressor.dim(feature):
            return query
        return rounded(query, stamp, self._scans.longest(dense_column(feature), stamp))

    def scores(self, feature: Feature, queries: np.ndarray) -> np.ndarray:
        """Compute the inner products of every row's scanned signature with queries (q, d), in one pass: (q, n)."""
        if feature is Feature.HIDDEN:
            return self._hidden.scores(queries)
        return self._scans.scores([self._asked(feature, queries)])

    def search(
        self, vectors: Mapping[Feature, np.ndarray], k: int, allowed: np.ndarray | None, mode: SearchMode
    ) -> list[Hits]:
        """Return the rows of largest sum of inner products with the queries (q, d) of one or several features.

        Near the cut, whole signatures decide where they are longer than what is scanned, of a feature alone.
        """
        approximate = self.approximate(*vectors) if mode is SearchMode.APPROXIMATE else None
        if approximate is not None:
            arranged = self._scan(*vectors)[0].arrange([*vectors.values()])
            return [approximate.search(query, k, allowed) for query in arranged]
        if Feature.HIDDEN in vectors:
            return best_of_each(self.scores(Feature.HIDDEN, vectors[Feature.HIDDEN]), k, allowed)
        asked = [self._asked(*part) for part in vectors.items()]
        if len(asked) == 1 and asked[0].stamp.dim < self.compressor.dim(*vectors):
            return self._scans.best_whole(asked[0], k, allowed)
        return self._scans.best(asked, k, allowed)

    def _asked(self, feature: Feature, queries: np.ndarray) -> ColumnQueries:
        return ColumnQueries(dense_column(feature), self.stamp(feature), queries)

    def scan_reason(self, width: int, dtype: str, queries: int) -> str:
        """Return where some queries would be multiplied with rows of so many bytes, and why; empty without a choice."""
        return self._scans.reason(len(self), width, dtype, queries)

    def count_read(self, features: Sequence[Feature], passing: int | None) -> int:
        """Return how many rows an exact search reads, of which some pass a filter; ``None`` for no filter."""
        return max(self._scans.count_read(self.stamp(feature), passing) for feature in features)

    def scored(self, score: Callable[..., np.ndarray], *columns: str) -> np.ndarray:
        """Score every row by its signatures in some columns, where the rows are scanned: (n,) float32.

        :param score: makes scores (b,) of blocks (b, width) of the columns, each row's from its own numbers alone. It
            can be sent to another process.
        """
        parts: list[Sequence[Fragment] | None] = [None]
        if self.workers > 1:
            parts = [[piece] for fragment in self.table.fragments_of(columns[0]) for piece in cut(fragment)]
        return np.concatenate([np.zeros(0, np.float32), *self.each(partial(_scored, score, columns), parts)])

    @property
    def workers(self) -> int:
        """How many processes scan the rows."""
        return self._scans.workers

    def each(self, work: TableWork, arguments: Iterable[Any]) -> Iterator[Any]:
        """Yield what is made of the table and each of some arguments, in their order, where the rows are scanned."""
        return self._scans.each(work, arguments)

    # ---- the scans --------------------------------------------------------------------------------------------------

    def approximate(self, *features: Feature) -> Approximate | None:
        """Open the approximate search of some features; ``None`` where there is none for this state of the table.

        :raises StoreError: other processes hold the rows.
        """
        if self._scans is not self._held:
            raise StoreError("--search approximate runs in one process; leave it out, or --engine ray")
        if features not in self._approximate:
            self._approximate[features] = self._cells.open([*map(dense_column, features)], *self._scan(*features))
        return self._approximate[features]

    def make_approximate(self, queries: Mapping[Feature, np.ndarray]) -> None:
        """Make the approximate search of some features.

        :param queries: (q, d) for each, like those that will be asked; the recall is measured on them.
        """
        features = tuple(queries)
        (scan, steps), columns = self._scan(*features), [*map(dense_column, features)]
        arranged = scan.arrange([*queries.values()])
        self._approximate[features] = self._cells.make(columns, scan, steps, arranged)

    def _scan(self, *features: Feature) -> tuple[JointScan, np.ndarray]:
        """Return the scans of some features side by side, and the steps of their columns."""
        scan = JointScan([self.exact(feature) for feature in features])
        return scan, scan.arrange([self.steps(feature)[: self.stamp(feature).dim] for feature in features])

    def stamp(self, feature: Feature) -> ScanStamp:
        """Return the state of the table that the scan of a feature must match."""
        if feature not in self._stamps:
            dim, is_neurons = self.compressor.dim(feature), feature in POOLINGS
            self._stamps[feature] = ScanStamp(
                table_version=self.table.version,
                rows=len(self.table),
                dim=min(dim, self._leading) if is_neurons and self._leading is not None else dim,
                dtype=str(self.compressor.dtype if is_neurons else np.dtype(np.int8)),
                files=self.table.files_hash(),
            )
        return self._stamps[feature]

    def exact(self, feature: Feature) -> ExactScan:
        """Open the exact scan of a feature in this process; make it where there is none for this state of the table."""
        return self._held.exact(dense_column(feature), self.stamp(feature))


def _scored(
    score: Callable[..., np.ndarray],
    columns: Sequence[str],
    table: SampleTable,
    fragments: Sequence[Fragment] | None,
) -> np.ndarray:
    """Score the rows of some fragments, in their order."""
    blocks = zip(*(table.signatures(column, fragments) for column in columns), strict=True)
    return np.concatenate([np.zeros(0), *(score(*block) for block in blocks)]).astype(np.float32)
