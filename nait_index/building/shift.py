"""How well the basis of an index fits rows that came later.

A vector of the feature ``unit`` has length 1, so what a signature s leaves out of it is 1 − ‖s‖²: the reconstruction
error of every row can be told from its signature alone. Rows of another kind than those of the first build lie outside
what its principal components span, and have more of it.
"""

from dataclasses import dataclass

import numpy as np

from nait_index.signatures.features import Feature
from nait_index.signatures.pca import Compressor
from nait_index.store.samples import SampleTable, dense_column

_STALE = 1.5
_SAMPLE = 4096
_LEAST_ROWS = 16


@dataclass(frozen=True, slots=True)
class Shift:
    """Mean reconstruction error, as a share of 1, of the rows of the first build and of those that came now.

    :param rows: how many of each it was measured on.
    """

    first: float
    new: float
    rows: tuple[int, int]

    @property
    def is_stale(self) -> bool:
        """Tell whether the basis should be fitted anew."""
        return self.new > _STALE * self.first

    @property
    def warnings(self) -> list[str]:
        """Say so, in a line."""
        if not self.is_stale:
            return []
        return [
            f"the corpus has shifted: signatures leave out {self.new:.0%} of the new rows, but {self.first:.0%} of "
            "those that the basis was fitted for; 'nait-index rebuild INDEX NEW' fits one to all rows"
        ]


def measure_shift(
    table: SampleTable, compressor: Compressor, fitted: int, first_rows: int, first_new: int
) -> Shift | None:
    """Compare the rows from position ``first_new`` on with those of the first build, before ``first_rows``.

    :param fitted: how many rows the basis was fitted on, the first of the table. A basis leaves less out of these than
        of any others, so they tell nothing.
    :returns: ``None`` where there are too few of either, or signatures leave nothing out.
    """
    column = dense_column(Feature.UNIT)
    if not compressor.bases or column not in table.schema().names:
        return None
    positions = table.numbers("position")
    old, new = np.flatnonzero(positions < first_rows)[fitted:], np.flatnonzero(positions >= first_new)
    if min(len(old), len(new)) < _LEAST_ROWS:
        return None
    samples = old[-_SAMPLE:], new[-_SAMPLE:]
    first, now = (_error(table.signatures_at(own, column), compressor) for own in samples)
    return Shift(first, now, (len(samples[0]), len(samples[1])))


def _error(signatures: np.ndarray, compressor: Compressor) -> float:
    coordinates = compressor.restore(signatures, Feature.UNIT).astype(np.float64)
    return float(np.mean(1 - np.einsum("nd,nd->n", coordinates, coordinates)))
