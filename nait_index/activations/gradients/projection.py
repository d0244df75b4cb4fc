"""Random projection of very long vectors, block by block, so that neither vector nor matrix ever exists in full.

The sparsest Johnson-Lindenstrauss projection (Charikar, Chen & Farach-Colton, Finding Frequent Items in Data Streams,
ICALP 2002; Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009): every coordinate of the
input is added to one of the d numbers of the output with a random sign:

    y[h(j)] += σ(j) · x[j]        j < P

Inner products are preserved without bias, ⟨y, y'⟩ = ⟨x, x'⟩ + O(‖x‖‖x'‖/√d), as by a dense matrix of random signs, with
P operations instead of P·d. The hash h is made from a permutation, so that every output is the sum of equally many
coordinates, in a fixed order: the result is reproducible on a GPU as well.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_COORDINATES_KEPT = 2**22
"""The hashes of at most this many coordinates are cached (21 MB); those of further blocks are made anew each time."""


@dataclass(frozen=True, slots=True)
class _Hashes:
    """The hashes of one block of p coordinates.

    :param slots: (m,) int32, the coordinate in each position; numbers from p on mean none.
    :param signs: (p,) int8.
    """

    slots: "torch.Tensor"
    signs: "torch.Tensor"


class Projection:
    """Projects vectors of any length P to ``width`` numbers; the same for the same seed, on every device.

    :param width: d, numbers of a projected vector. :param seed: of the hashes.
    """

    def __init__(self, width: int, seed: int, device: "torch.device | str" = "cpu") -> None:
        self.width = width
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
        surplus = len(hashes.slots) - values.shape[1]
        signed = pad(values * hashes.signs, (0, surplus)).index_select(1, hashes.slots)
        out += signed.view(len(out), -1, self.width).sum(dim=1)

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
        slots = rng.permutation(np.arange(-(-size // self.width) * self.width, dtype=np.int32))
        signs = rng.integers(0, 2, size, dtype=np.int8) * 2 - 1
        return _Hashes(torch.from_numpy(slots).to(self._device), torch.from_numpy(signs).to(self._device))
