"""Work that may not fit into memory: a batch that does not is halved, and its halves are tried in turn."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out; on a CPU torch says so in words only."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "cannot allocate memory" in text
    )


def run_halving(
    rows: np.ndarray,
    run: Callable[[np.ndarray], Result],
    alone: Callable[[int, Exception], Result],
    halves: Callable[[Exception], bool] = is_out_of_memory,
) -> Iterator[Result]:
    """Run a batch (b,) of row numbers, whole where it runs and in parts where it does not.

    :param run: has no effect where it fails.
    :param alone: given a row that fails by itself, and how: says what its result is, or raises.
    :param halves: tells which errors halve a batch; others come through at once.
    """
    failure: Result | None = None
    try:
        result = run(rows)
    except Exception as error:
        if not halves(error):
            raise
        if len(rows) == 1:
            failure = alone(int(rows[0]), error)
    else:
        yield result
        return
    # Outside the handler, so that the failed batch's tensors are no longer held by the traceback.
    _free_memory()
    if failure is not None:
        yield failure
        return
    for half in np.array_split(rows, 2):
        yield from run_halving(half, run, alone, halves)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
