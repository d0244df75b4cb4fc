"""Pooled activations on their way from the model's device to the host."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

Arrived = TypeVar("Arrived", covariant=True)


class HostCopy:
    """Copies tensors to the host, from a GPU without waiting for it: into pinned memory, behind what makes them."""

    def __init__(self, parts: "Sequence[torch.Tensor | None]") -> None:
        import torch

        self._event: torch.cuda.Event | None = None
        self._parts = [None if part is None else self._begin(part) for part in parts]
        if any(part is not None and part.is_cuda for part in parts):
            self._event = torch.cuda.Event()
            self._event.record()

    @staticmethod
    def _begin(part: "torch.Tensor") -> "torch.Tensor":
        import torch

        if not part.is_cuda:
            return part.cpu()
        # The GPU's memory is not given to another tensor before the copy is done: both go through the same stream.
        return torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)

    def arrays(self) -> list[np.ndarray | None]:
        """Wait for the copies, and give them in order."""
        if self._event is not None:
            self._event.synchronize()
        return [None if part is None else part.numpy() for part in self._parts]


class Underway(Protocol[Arrived]):
    """Something that was begun and can be waited for."""

    def wait(self) -> Arrived:
        """Give what comes of it."""


def late(begun: Iterable[Underway[Arrived]], depth: int) -> Iterator[Arrived]:
    """Wait for each thing only after ``depth`` more were begun, so that the device has work meanwhile."""
    waiting: list[Underway[Arrived]] = []
    for own in begun:
        waiting.append(own)
        if len(waiting) > depth:
            yield waiting.pop(0).wait()
    for own in waiting:
        yield own.wait()
