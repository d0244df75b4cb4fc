"""Work that may not fit into memory: a batch that does not is halved, and its halves are tried in turn."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from nait_index.activations.encoder import _is_out_of_memory
from nait_index.errors import ModelError

Result = TypeVar("Result")


def run_halving(rows: np.ndarray, run: Callable[[np.ndarray], Result]) -> Iterator[Result]:
    """Run a batch (b,) of row numbers, whole where it fits and in parts where it does not.

    :param run: has no effect where it fails.
    :raises ModelError: a single row does not fit.
    """
    try:
        yield run(rows)
        return
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        if len(rows) == 1:
            raise ModelError("out of memory on the gradient of a single text; lower --max-length") from error
    # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
    _free_memory()
    for half in np.array_split(rows, 2):
        yield from run_halving(half, run)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
