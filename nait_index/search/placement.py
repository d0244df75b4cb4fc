"""Where a scan is multiplied: on the processor, or on a GPU where that is sooner. Both return the same bits.

Sums of whole numbers below 2^24 are exact in float32 in whatever order a GPU adds them. It is checked all the same, on
the first rows of every scan, since a GPU can be set to multiply in fewer digits.
"""

import logging
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nait_index.config import Device
from nait_index.search.row_products import scan

logger = logging.getLogger(__name__)

_PER_THREAD = 1e10
"""Products a second of one thread: measured with eight queries at once."""

_GPU_STARTS, _TRANSFER, _PER_GPU = 5.0, 5e9, 5e12
"""Seconds until a process can use its GPU, bytes a second that reach it, and its products a second: assumed, and lower
than what GPUs of data centres are sold for, so that a GPU is used only where it is far ahead."""

_CHECKED = 64
"""First rows that are multiplied on the processor too."""


class Products(Protocol):
    """Multiplies the rows of one index with queries."""

    def multiply(self, rows: np.ndarray, queries: np.ndarray, threads: int) -> np.ndarray:
        """Multiply all rows with all queries, as :func:`~nait_index.search.row_products.scan` does."""

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return where a scan would be multiplied and why; empty where there is no choice."""


class Gpu(Protocol):
    """A GPU, which is not touched before it multiplies."""

    def is_started(self) -> bool:
        """Report whether this process uses it already."""

    def holds(self, size: int) -> bool:
        """Report whether codes of this size in bytes are on it already."""

    def multiply(self, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """Multiply all rows (n, d) int8 with all queries (q, d): (q, n) float32.

        :raises RuntimeError: it cannot, for want of memory or otherwise. :raises AssertionError: torch has no CUDA.
        """


class OnProcessor:
    """Multiplies on the processor."""

    def multiply(self, rows: np.ndarray, queries: np.ndarray, threads: int) -> np.ndarray:
        """Multiply all rows with all queries."""
        return scan(rows, queries, threads)

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return nothing: there is no choice."""
        return ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a scan is multiplied, and the reason in words."""

    on_gpu: bool
    why: str


class Placed:
    """Multiplies each scan where it is done sooner.

    :param wanted: ``CPU`` and ``CUDA`` leave no choice.
    """

    def __init__(self, gpu: Gpu, wanted: Device) -> None:
        self._gpu, self._wanted = gpu, wanted

    def multiply(self, rows: np.ndarray, queries: np.ndarray, threads: int) -> np.ndarray:
        """Multiply all rows with all queries; on the processor too where the GPU fails or is not exact."""
        placement = self._place(len(rows), rows.shape[1], str(rows.dtype), len(queries), threads)
        logger.info("multiplying %s", placement.why)
        if placement.on_gpu and len(rows):
            try:
                scores = self._gpu.multiply(rows, queries)
            except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
                logger.warning("the GPU did not multiply the rows (%s), so the processor does", str(error)[:200])
            else:
                if np.array_equal(scores[:, :_CHECKED], scan(rows[:_CHECKED], queries, 1)):
                    return scores
                logger.warning("the GPU multiplies in fewer digits than float32 has, so the processor does it instead")
        return scan(rows, queries, threads)

    def reason(self, rows: int, width: int, dtype: str, queries: int) -> str:
        """Return where a scan would be multiplied and why."""
        return self._place(rows, width, dtype, queries, os.cpu_count() or 1).why

    def _place(self, rows: int, width: int, dtype: str, queries: int, threads: int) -> Placement:
        if self._wanted is Device.CPU:
            return Placement(False, "on the processor, as --device cpu says")
        if dtype != "int8":
            return Placement(False, f"on the processor, since sums of {dtype} depend on the order in which a GPU adds")
        if self._wanted is Device.CUDA:
            return Placement(True, "on the GPU, as --device cuda says")
        size, work = rows * width, float(rows) * width * queries
        starts = 0.0 if self._gpu.is_started() else _GPU_STARTS
        moves = 0.0 if self._gpu.holds(size) else size / _TRANSFER
        here, there = work / (_PER_THREAD * threads), starts + moves + work / _PER_GPU
        parts = f"{starts:.1f} s until it can be used, {moves:.1f} s to move the codes"
        if there < here:
            return Placement(True, f"on the GPU: about {there:.1f} s ({parts}), and {here:.1f} s on {threads} threads")
        return Placement(False, f"on the processor: about {here:.1f} s, and {there:.1f} s on the GPU ({parts})")


def products_for(gpu: Gpu, wanted: Device) -> Products:
    """Choose for this machine. Without a GPU's driver there is no choice, which is seen without loading torch."""
    has_driver = any(map(os.path.exists, ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")))
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return Placed(gpu, wanted) if has_driver and not is_hidden else OnProcessor()
