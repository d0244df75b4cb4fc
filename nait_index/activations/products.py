"""Products of whole numbers on a GPU: a scan's codes stay bytes there, and become float32 one block at a time."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

_BLOCK_BYTES = 64 << 20
"""Codes converted at a time; in float32 they take four times as much."""

_HELD_SHARE = 0.5
"""Of the free memory of the GPU, what codes may take for the next query to find them there."""


class TorchProducts:
    """Multiplies codes with whole queries on a device of torch.

    Codes that fit are kept there for the next query; others are moved block by block each time.

    :param device: in torch's words; the CPU does for tests.
    """

    def __init__(self, device: str = "cuda") -> None:
        self._device = device
        # With the rows themselves, so that no other array takes their address.
        self._held: dict[int, tuple[np.ndarray, list[torch.Tensor]]] = {}

    def is_started(self) -> bool:
        """Report whether this process uses the device already."""
        torch = sys.modules.get("torch")
        return torch is not None and (self._device == "cpu" or torch.cuda.is_initialized())

    def holds(self, size: int) -> bool:
        """Report whether codes of this size in bytes are there already."""
        return any(rows.nbytes == size for rows, _ in self._held.values())

    def multiply(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Multiply all rows (n, d) int8 with all queries (q, d): (q, n) float32.

        :raises RuntimeError: torch sees no such device, or it has too little memory.
        """
        import torch

        scores = np.empty((len(queries), len(rows)), dtype=np.float32)
        with torch.inference_mode():
            whole = torch.from_numpy(queries).to(self._device)
            start = 0
            for block in self._blocks(rows):
                end = start + len(block)
                scores[:, start:end] = (whole @ block.float().T).cpu().numpy()
                start = end
        return scores

    def _blocks(self, rows: np.ndarray) -> "Iterator[torch.Tensor]":
        """Yield the rows on the device, block by block."""
        if id(rows) in self._held:
            yield from self._held[id(rows)][1]
            return
        kept: list[torch.Tensor] | None = [] if rows.nbytes <= _HELD_SHARE * self._free_bytes() else None
        for block in self._moved(rows):
            if kept is not None:
                kept.append(block)
            yield block
        if kept is not None:
            self._held[id(rows)] = rows, kept

    def _moved(self, rows: np.ndarray) -> "Iterator[torch.Tensor]":
        """Move the rows block by block, through memory that the device reads directly."""
        import torch

        size = max(1, _BLOCK_BYTES // max(rows.shape[1], 1))
        shape = min(size, len(rows)), rows.shape[1]
        staging = torch.empty(shape, dtype=torch.int8, pin_memory=self._device != "cpu")
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            np.copyto(staging.numpy()[: len(part)], part)
            yield staging[: len(part)].to(self._device, copy=True)

    def _free_bytes(self) -> int:
        """Return how many bytes of the device are free."""
        import torch

        return 1 << 30 if self._device == "cpu" else torch.cuda.mem_get_info(self._device)[0]
