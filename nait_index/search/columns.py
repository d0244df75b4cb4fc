"""What is known of every row, as columns in table order: for who looks at an index as a whole."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.errors import StoreError
from nait_index.search.rows import IndexRows
from nait_index.signatures.features import Feature
from nait_index.store.filters import plain_columns
from nait_index.store.samples import SampleTable, dense_column

if TYPE_CHECKING:
    import pyarrow as pa


class Columns:
    """The columns of one index, n rows."""

    def __init__(self, table: SampleTable, rows: IndexRows) -> None:
        self._table = table
        self._rows = rows

    def names(self) -> list[str]:
        """Name the plain ones: what is known of a row besides its signatures."""
        return plain_columns(self._table)

    def read(self, names: Sequence[str]) -> "pa.Table":
        """Give plain columns of all rows (``id``, ``n_tokens``, ``file``, scores, …)."""
        return self._table.plain(names)

    def at(self, ordinals: Sequence[int] | np.ndarray, names: Sequence[str]) -> dict[str, list[Any]]:
        """Give plain columns of the rows at some places, in the order given."""
        return self._table.take(ordinals, names)

    def allowed(self, where: str | None) -> np.ndarray | None:
        """Give which rows (n,) bool a SQL filter holds for; ``None`` without one."""
        return self._rows.allowed(where)

    def signatures(self, ordinals: np.ndarray, width: int) -> np.ndarray:
        """Give the beginning of the normalised signatures of some rows: (m, at most ``width``) float32.

        :raises StoreError: the index lacks the view ``pca``.
        """
        if dense_column(Feature.UNIT) not in self._table.schema().names:
            raise StoreError("this needs the view pca, which the index was built without")
        rows, steps = self._rows.engine(Feature.UNIT).rows, self._rows.steps(Feature.UNIT)
        return np.asarray(rows[ordinals, :width] * steps[: rows.shape[1]][:width], np.float32)
