"""The fit of the components: leading right singular vectors of a sample, without its D×D covariance.

The sample is read twice, one layer at a time, and computed on the device of the model. The first pass sums two Gram
matrices n×n, of which every layer's product of its activations with themselves is a part; the second multiplies the
activations by the loadings of their eigenvectors. So memory is n² + n·N numbers, whatever the number of layers: the
components of a model with many neurons go into an unnamed file.

The products of a model with many neurons are rounded to bfloat16 on a processor that multiplies in it, which takes half
the time: each entry of a Gram matrix by up to 2⁻⁹ of itself in every layer, which averages out over the layers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.scratch import release_pages, scratch_array
from nait_index.signatures.eigen import top_eigenpairs
from nait_index.signatures.features import POOLINGS, Feature, layer_slices
from nait_index.signatures.pca import MANY_NEURONS, Basis, BasisName, Compressor, Dims, component_dtype, steps_of
from nait_index.signatures.words import Document, fit_vocabulary

if TYPE_CHECKING:
    import torch

PooledBlock = Callable[[int, slice], np.ndarray]
"""Reads one block (n, N) of the reservoir's pooled activations: pooling number, slice of neurons."""

_ROWS = 512
"""Rows multiplied at a time, so that only half of a symmetric product is computed."""

_ROUNDED = 2.0**-9
"""What rounding to bfloat16 may add to an eigenvalue, as a share of the mean of all."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Where and how matrices are multiplied.

    :param device: of torch. :param rounded: to bfloat16, with sums in float32.
    """

    device: "torch.device | str" = "cpu"
    rounded: bool = False

    def put(self, values: np.ndarray) -> "torch.Tensor":
        """Copy float32 numbers to the device."""
        import torch

        return torch.from_numpy(values).to(self.device)

    def operand(self, matrix: "torch.Tensor") -> "torch.Tensor":
        """Return a matrix in the precision in which it is multiplied."""
        return matrix.bfloat16() if self.rounded else matrix


_PLAIN = Arithmetic()


class _CentredBlocks:
    """Blocks of the sample less their mean, one of each pooling at a time, in memory that is used again.

    To take fresh memory for every layer would cost more time than everything else but the products.
    """

    def __init__(self, arithmetic: Arithmetic) -> None:
        self._arithmetic = arithmetic
        self._rooms: dict[Any, torch.Tensor] = {}

    def centred(self, block: np.ndarray, center: np.ndarray, pooling: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return a block (n, N) as it is multiplied, and the length (n,) of every row; valid until the next layer."""
        import torch

        values, mean = self._arithmetic.put(block), self._arithmetic.put(center)
        rounded = self._arithmetic.rounded
        exact = self._room(0 if rounded else pooling, values.shape, torch.float32)
        torch.sub(values, mean, out=exact)
        operand = self._room(pooling, values.shape, torch.bfloat16).copy_(exact) if rounded else exact
        return operand, torch.linalg.vector_norm(exact, dim=1)

    def _room(self, number: int, shape: "torch.Size", dtype: "torch.dtype") -> "torch.Tensor":
        import torch

        known, wanted = self._rooms.get((number, dtype)), shape.numel()
        if known is None or len(known) < wanted:
            known = self._rooms[number, dtype] = torch.empty(wanted, dtype=dtype, device=self._arithmetic.device)
        return known[:wanted].view(shape)


def fit(read: PooledBlock, widths: Sequence[int], dims: Dims | None, arithmetic: Arithmetic = _PLAIN) -> Compressor:
    """Fit the compressor of an index.

    :param read: reads the reservoir's pooled activations block by block.
    :param dims: widths of the signatures; ``None`` keeps whole vectors.
    """
    if dims is None:
        center = np.zeros((2, sum(widths)), dtype=np.float32)
        for neurons in layer_slices(widths):
            for pooling in (0, 1):
                center[pooling, neurons] = read(pooling, neurons).mean(axis=0, dtype=np.float64)
        ones = {feature: np.ones(len(POOLINGS[feature]) * sum(widths), np.float32) for feature in POOLINGS}
        return Compressor(tuple(widths), center, {}, ones)
    moments = _Moments.of(read, widths, arithmetic)
    # Beside the rounding of the products, that of a decomposition in single precision is nothing.
    noise, precision = (_ROUNDED, np.float32) if arithmetic.rounded else (0.0, np.float64)
    pairs = {
        BasisName.RAW: top_eigenpairs(moments.raw.astype(precision), dims[Feature.MEAN], noise),
        BasisName.UNIT: top_eigenpairs(moments.unit.astype(precision), dims[Feature.UNIT], noise),
    }
    bases = _components(read, widths, moments, pairs, arithmetic)
    along = {name: (vectors * np.sqrt(values)).astype(np.float32) for name, (values, vectors) in pairs.items()}
    # The first half of the raw sample are means, the second are drifts.
    means, drifts = np.split(along[BasisName.RAW], [_first_half(moments.rows)])
    steps = {
        Feature.MEAN: steps_of(means),
        Feature.DRIFT: steps_of(drifts[:, : dims[Feature.DRIFT]] / np.float32(moments.balance)),
        Feature.UNIT: steps_of(along[BasisName.UNIT]),
    }
    return Compressor(tuple(widths), moments.center, bases, steps)


def with_words(compressor: Compressor, documents: Sequence[Document], dim: int) -> Compressor:
    """Add what makes signatures of words, fitted to the terms of the reservoir's rows.

    :param dim: width of the signatures.
    """
    vocabulary, along = fit_vocabulary(documents, dim)
    return replace(
        compressor, steps={**compressor.steps, Feature.WORDS: steps_of(along)}, vocabulary=lambda: vocabulary
    )


# ---- first pass -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Moments:
    """What the first pass collects of n rows.

    :param center: (2, D) their mean. :param lengths: (2, L, n) of the centred activations of a row and layer.
    :param raw: Gram matrix (n, n) of the means of the even rows and then the drifts of the odd ones, these scaled by
        ``balance`` to the total variance of the means.
    :param unit: Gram matrix (n, n) of the unit vectors.
    """

    center: np.ndarray
    lengths: np.ndarray
    raw: np.ndarray
    unit: np.ndarray
    balance: float

    @property
    def rows(self) -> int:
        return len(self.unit)

    @classmethod
    def of(cls, read: PooledBlock, widths: Sequence[int], arithmetic: Arithmetic) -> "_Moments":
        """Walk over the sample."""
        import torch

        blocks, slices = _CentredBlocks(arithmetic), layer_slices(widths)
        center = np.zeros((2, sum(widths)), dtype=np.float32)
        lengths: list[list[np.ndarray]] = [[], []]
        unit: Any = 0.0
        squares: list[Any] = [0.0, 0.0]
        crossed: Any = 0.0
        product: torch.Tensor | None = None
        energy = np.zeros(2)
        for neurons in slices:
            halves = []
            for pooling in (0, 1):
                block = read(pooling, neurons)
                center[pooling, neurons] = block.mean(axis=0, dtype=np.float64)
                operand, length = blocks.centred(block, center[pooling, neurons], pooling)
                lengths[pooling].append(length.cpu().numpy())
                product = lower_product(operand, product)
                half = product[pooling::2, pooling::2]
                energy[pooling] += float(half.diagonal().double().mean()) / block.shape[1] if len(half) else 0.0
                squares[pooling] += half
                halves.append(operand[pooling::2])
                inverse = torch.where(length > 0, 1 / length, 0)
                unit += product.mul_(inverse[:, None]).mul_(inverse / (2 * len(slices)))
            crossed += (halves[1] @ halves[0].T).float()
        balance = float(np.sqrt(energy[0] / energy[1])) if energy.all() else 1.0
        above = torch.zeros(len(squares[0]), len(squares[1]), device=arithmetic.device)
        top, bottom = (squares[0], above), (crossed * balance, squares[1] * balance**2)
        raw = torch.cat([torch.cat(top, dim=1), torch.cat(bottom, dim=1)])
        return cls(center, np.array(lengths), _mirrored(raw), _mirrored(unit), balance)


def _first_half(rows: int) -> int:
    """Return how many of the rows are even."""
    return (rows + 1) // 2


def lower_product(matrix: "torch.Tensor", room: "torch.Tensor | None" = None) -> "torch.Tensor":
    """Multiply a matrix (n, N) by its transpose: (n, n) float32, of which nothing above the diagonal may be read.

    :param room: what an earlier call returned, to be overwritten.
    """
    import torch

    product = torch.zeros(len(matrix), len(matrix), device=matrix.device) if room is None else room
    for start in range(0, len(matrix), _ROWS):
        end = min(start + _ROWS, len(matrix))
        product[start:end, :end] = matrix[start:end] @ matrix[:end].T
    return product


def _mirrored(lower: "torch.Tensor") -> np.ndarray:
    """Complete a symmetric matrix: (n, n) float64."""
    import torch

    whole = torch.tril(lower)
    return np.asarray((whole + torch.tril(lower, -1).T).double().cpu().numpy())


# ---- second pass ----------------------------------------------------------------------------------------------------


def _components(
    read: PooledBlock,
    widths: Sequence[int],
    moments: _Moments,
    pairs: dict[BasisName, tuple[np.ndarray, np.ndarray]],
    arithmetic: Arithmetic,
) -> dict[BasisName, Basis]:
    """Multiply the sample by the loadings of its eigenvectors."""
    import torch

    blocks, total, layers = _CentredBlocks(arithmetic), sum(widths), layer_slices(widths)
    kept = torch.float16 if component_dtype(total) == np.float16 else torch.float32
    raw, unit = (
        arithmetic.put(np.ascontiguousarray((vectors / np.sqrt(values)).T, np.float32))
        for values, vectors in (pairs[BasisName.RAW], pairs[BasisName.UNIT])
    )
    raw_parts = raw[:, : _first_half(moments.rows)], raw[:, _first_half(moments.rows) :] * moments.balance
    room = scratch_array if total >= MANY_NEURONS else np.empty
    components = {
        BasisName.RAW: room((len(raw), total), component_dtype(total)),
        BasisName.UNIT: room((len(unit), 2 * total), component_dtype(total)),
    }
    for layer, neurons in enumerate(layers):
        raw_sum: Any = 0.0
        for pooling in (0, 1):
            block, _ = blocks.centred(read(pooling, neurons), moments.center[pooling, neurons], pooling)
            raw_sum = raw_sum + (arithmetic.operand(raw_parts[pooling]) @ block[pooling::2]).float()
            length = arithmetic.put(moments.lengths[pooling, layer])
            scaled = unit * torch.where(length > 0, 1 / (length * float(np.sqrt(2 * len(layers)))), 0)
            columns = slice(pooling * total + neurons.start, pooling * total + neurons.stop)
            components[BasisName.UNIT][:, columns] = (arithmetic.operand(scaled) @ block).to(kept).cpu().numpy()
        components[BasisName.RAW][:, neurons] = raw_sum.to(kept).cpu().numpy()
        for part in components.values():
            release_pages(part)
    return {
        name: Basis(np.asarray(components[name]), (values / len(vectors)).astype(np.float32))
        for name, (values, vectors) in pairs.items()
    }
