"""The bytes that a build takes on disk, known before they are written."""

from dataclasses import dataclass

from nait_index.building.basis import fitted_shards
from nait_index.building.encoder import IndexEncoder
from nait_index.building.shards import SHARD_ROWS
from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import POOLINGS, Feature
from nait_index.signatures.pca import BASIS_OF, BasisName, component_dtype
from nait_index.signatures.views import (
    GRADIENT,
    SCANNED,
    Widths,
    column_types,
    dense_column,
    dims_of,
    gradient_column,
)

_EXAMPLES = 64
"""Examples of the stored capability whose size is forecast."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on disk.

    :param per_row: of one row's signatures. :param basis: of the two files of the basis, and of the landmarks.
    :param table: of all rows with their signatures; :param shard: of those of the first shard.
    :param scan: of the copy that a search reads.
    :param staged: of whole activations, which wait on disk until the basis is fitted on them.
    :param capability: of one stored capability, of 64 examples.
    """

    per_row: int
    basis: int
    table: int
    shard: int
    scan: int
    staged: int
    capability: int

    @property
    def index(self) -> int:
        """Bytes of the finished index."""
        return self.basis + self.table + self.scan

    def peak(self, spool: int) -> int:
        """Return the most that the build takes at a time, ``spool`` bytes of waiting texts included."""
        committing = spool + self.staged + self.basis + self.shard
        encoding = spool + self.basis + self.table
        is_merged = self.table > self.shard  # then all rows are written once more, into one file
        merging = self.basis + self.table * (2 if is_merged else 1)
        return max(committing, encoding, merging, self.index)


def footprint(encoder: IndexEncoder, rows: int, row_bytes: float, *, fitted_on: int | None = None) -> Footprint:
    """Compute what a build of ``rows`` rows will take.

    :param row_bytes: mean bytes of a row's JSON. :param fitted_on: rows of the first build; ``rows`` by default.
    """
    config, widths = encoder.signatures, encoder.widths
    dims = _dims(config, rows if fitted_on is None else fitted_on) if widths.neurons else None
    types = column_types(config, widths, dims)
    sizes = {name: dtype.itemsize * width for name, (dtype, width) in types.items()}
    per_row, scanned = sum(sizes.values()), sum(sizes.get(dense_column(feature), 0) for feature in SCANNED)
    dense = {dense_column(feature) for feature in POOLINGS}
    direct = sum(size for name, size in sizes.items() if name not in dense)
    staged = min(rows, (fitted_shards(config) + 1) * SHARD_ROWS)
    summary = 4 * (3 * sum(widths.neurons) + max(widths.neurons, default=0))
    return Footprint(
        per_row=per_row,
        basis=_basis_bytes(widths, dims) + _landmark_bytes(config, rows),
        table=int(rows * (per_row + row_bytes)),
        shard=int(min(rows, SHARD_ROWS) * (per_row + row_bytes)),
        scan=rows * scanned,
        staged=staged * (8 * sum(widths.neurons) + direct),
        capability=int(_EXAMPLES * (per_row + row_bytes)) + summary,
    )


def _landmark_bytes(config: SignatureConfig, rows: int) -> int:
    """Compute the bytes of the landmarks' positions and gradients."""
    (_, width) = gradient_column(config)[GRADIENT]
    return min(rows, config.landmarks) * (8 + 2 * width) if View.LANDMARKS in config.views else 0


def _dims(config: SignatureConfig, rows: int) -> dict[Feature, int] | None:
    """Return the widths of dense signatures: a basis has no more components than the rows it was fitted on."""
    wanted, most = dims_of(config), min(config.reservoir, rows)
    return None if wanted is None else {feature: min(wanted[feature], most) for feature in POOLINGS}


def _basis_bytes(widths: Widths, dims: dict[Feature, int] | None) -> int:
    """Compute the bytes of the corpus mean, the steps, and the components of both bases."""
    total = sum(widths.neurons)
    lengths = {feature: len(POOLINGS[feature]) * total for feature in POOLINGS}
    if dims is None:
        return 4 * (2 * total + sum(lengths.values()))
    components = {name: max(dims[feature] for feature in POOLINGS if BASIS_OF[feature] is name) for name in BasisName}
    numbers = components[BasisName.RAW] * total + components[BasisName.UNIT] * 2 * total
    small = 4 * (2 * total + sum(dims.values()) + sum(components.values()))
    return small + component_dtype(total).itemsize * numbers
