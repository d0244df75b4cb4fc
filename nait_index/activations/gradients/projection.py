"""Random projection of very long vectors, block by block, so that neither vector nor matrix ever exists in full.

Sparse Johnson-Lindenstrauss (Kane & Nelson, Sparser Johnson-Lindenstrauss Transforms, JACM 2014, the block
construction): the output has s parts of d/s numbers. In each part, every coordinate of the input is added to one
number with a random sign, scaled by 1/√s:

    y[r·d/s + h_r(j)] += σ_r(j) · x[j] / √s        r < s, j < P

Inner products are preserved without bias, ⟨y, y'⟩ = ⟨x, x'⟩ + O(‖x‖‖x'‖/√d), as by a dense matrix of random signs, with
P·s operations instead of P·d. The hashes h_r are made from permutations, so that every output is the sum of equally
many coordinates, in a fixed order: the result is reproducible on a GPU as well.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_PARTS = 1
_COORDINATES_KEPT = 2**22
"""The hashes of at most this many coordinates are cached (84 MB); those of further blocks are made anew each time."""


@dataclass(frozen=True, slots=True)
class _Hashes:
    """The hashes of one block of p coordinates.

    :param slots: (s, m) int32, the coordinate in each position; numbers from p on mean none.
    :param signs: (s, p) int8.
    """

    slots: "torch.Tensor"
    signs: "torch.Tensor"


class Projection:
    """Projects vectors of any length P to ``width`` numbers; the same for the same seed, on every device.

    :param width: d, numbers of a projected vector. :param seed: of the hashes.
    """

    def __init__(self, width: int, seed: int, device: "torch.device | str" = "cpu") -> None:
        self.width = width
        self._parts = math.gcd(width, _PARTS)
        self._seed = seed
        self._device = device
        self._kept: dict[tuple[int, int], _Hashes] = {}

    def add(self, block: int, values: "torch.Tensor", out: "torch.Tensor") -> None:
        """Add the contribution of one block of coordinates to the projection.

        :param block: number of the block; each has different hashes. :param values: (B, p) float32.
        :param out: (B, d) float32, added to.
        """
        from torch.nn.functional import pad

        hashes = self._hashes(block, values.shape[1])
        parts = out.view(len(out), self._parts, -1)
        surplus = hashes.slots.shape[1] - values.shape[1]
        for part in range(self._parts):
            signed = pad(values * hashes.signs[part], (0, surplus)).index_select(1, hashes.slots[part])
            parts[:, part] += signed.view(len(out), -1, parts.shape[2]).sum(dim=1) / math.sqrt(self._parts)

    def _hashes(self, block: int, size: int) -> _Hashes:
        key = (block, size)
        if key in self._kept:
            return self._kept[key]
        hashes = self._make_hashes(block, size)
        if size + sum(kept for _, kept in self._kept) <= _COORDINATES_KEPT:
            self._kept[key] = hashes
        return hashes

    def _make_hashes(self, block: int, size: int) -> _Hashes:
        """Draw hashes with NumPy, whose random numbers are the same on every machine."""
        import torch

        rng = np.random.default_rng((self._seed, block))
        bucket_count = self.width // self._parts
        order = np.arange(-(-size // bucket_count) * bucket_count, dtype=np.int32)
        slots = np.stack([rng.permutation(order) for _ in range(self._parts)])
        signs = rng.integers(0, 2, (self._parts, size), dtype=np.int8) * 2 - 1
        return _Hashes(torch.from_numpy(slots).to(self._device), torch.from_numpy(signs).to(self._device))
