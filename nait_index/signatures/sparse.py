"""Sparse signatures: the strongest neurons of every layer, and the largest codes of a sparse autoencoder.

Values are never negative, and stored in float16, largest first: what exceeds 65,504 becomes 65,504, and what is below
3·10⁻⁸ becomes zero, which is not a code any more. Codes are not scaled, so that rows stay comparable with one another;
below 6·10⁻⁵ they are exact to 3·10⁻⁸ only, which is negligible in any sum with larger codes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nait_index.signatures.features import layer_slices

if TYPE_CHECKING:
    import torch

_BITS = 32
_LOW = (1 << _BITS) - 1
HALF_LIMIT = float(np.finfo(np.float16).max)


def number_dtype(widths: Sequence[int]) -> "np.dtype[np.unsignedinteger]":
    """Return the smallest dtype that numbers the neurons of every layer, or the latents of one autoencoder."""
    return np.dtype(np.uint16 if max(widths, default=0) <= 2**16 else np.uint32)


def kept(widths: Sequence[int], k: int) -> int:
    """Return the number of neurons kept in all: k of every layer, or all of a layer that has fewer."""
    return sum(min(k, width) for width in widths)


def neuron_offsets(widths: Sequence[int], k: int) -> np.ndarray:
    """Return what to add to each column of neuron numbers (L·k,) int64 so that numbers differ between layers."""
    starts = np.cumsum([0, *widths[:-1]])
    return np.repeat(starts, [min(k, width) for width in widths]).astype(np.int64)


def top_neurons(impact: "torch.Tensor", widths: Sequence[int], k: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Keep the k strongest neurons of every layer, strongest first, ties to the lower number.

    :param impact: (n, D) mean size of the neurons' up-projections, none negative.
    :returns: numbers within their layer (n, L·k), unsigned; their impacts (n, L·k) float16, clipped to what float16
        holds; layer after layer.
    """
    import torch

    numbers, values = [], []
    for neurons in layer_slices(widths):
        layer = impact[:, neurons].float()
        chosen = strongest(layer, min(k, layer.shape[1]))
        numbers.append(_numbered(chosen, widths))
        values.append(layer.gather(1, chosen))
    clipped = torch.cat(values, dim=1).clamp(-HALF_LIMIT, HALF_LIMIT)
    return torch.cat(numbers, dim=1), clipped.half()


def top_codes(codes: "torch.Tensor", keep: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Keep the largest codes of every row, largest first, ties to the lower number.

    :param codes: (n, F) float32, none negative.
    :returns: numbers of the latents (n, min(keep, F)), unsigned, and their values, float16. A row with fewer codes that
        are not zero ends in number 0 with value 0.
    """
    numbers = strongest(codes.float(), min(keep, codes.shape[1]))
    values = codes.gather(1, numbers).clamp(max=HALF_LIMIT).half()
    return _numbered(numbers * (values > 0), (codes.shape[1],)), values


def strongest(size: "torch.Tensor", k: int) -> "torch.Tensor":
    """Return the columns (n, k) of the k largest of each row of ``size`` (n, N) float32, none negative, in order.

    The bits of a non-negative float32 sort like the number itself; with the column counted down below them, every key
    is different and one selection settles order and ties at once. The keys are selected as float64, whose bits sort
    alike, since that is quicker.
    """
    import torch

    # Adding zero turns −0, whose bits are those of a negative number, into 0.
    bits = (size.contiguous() + 0.0).view(torch.int32).long() << _BITS
    down = torch.arange(size.shape[1] - 1, -1, -1, device=size.device)
    keys = torch.topk((bits | down).view(torch.float64), k, dim=1).values.view(torch.int64)
    return size.shape[1] - 1 - (keys & _LOW)


def _numbered(numbers: "torch.Tensor", widths: Sequence[int]) -> "torch.Tensor":
    """Return numbers of neurons in the dtype in which they are stored."""
    import torch

    return numbers.to(getattr(torch, number_dtype(widths).name))
