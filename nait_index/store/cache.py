"""A cache of numbers that take a while to make, beside the scans of one state of the table.

They are found again by a hash of all that they were made from. A damaged file is made anew, and a folder that cannot be
written costs nothing but time.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from nait_index.errors import NaitError
from nait_index.store.sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

_MOST = 256
"""Files of one folder at most; those that were not used for the longest time go first."""


def cached(folder: Path, made_of: Iterable[np.ndarray | str], make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what was made before of the same arrays and words, or else make it and keep it: (n,) float64."""
    digest = _digest(made_of)
    path = folder / f"cached-{digest}.json"
    record = read_sealed(path) or {}
    numbers = record.get("numbers")
    if record.get("made_of") == digest and isinstance(numbers, list) and all(isinstance(n, float) for n in numbers):
        with suppress(OSError):
            os.utime(path)
        return np.array(numbers)
    made = np.asarray(make(), np.float64)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder)
        write_sealed(path, {"made_of": digest, "numbers": made.tolist()})
    except (OSError, NaitError) as error:
        logger.info("not kept, so it is made again next time: %s", error)
    return made


def _digest(made_of: Iterable[np.ndarray | str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in made_of:
        if isinstance(part, str):
            digest.update(f"{len(part)} {part} ".encode())
        else:
            digest.update(f"{part.shape} {part.dtype} ".encode())
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _make_room(folder: Path) -> None:
    """Delete what was not used for the longest time, so that there is room for one more."""
    used = {}
    for path in folder.glob("cached-*.json"):
        with suppress(FileNotFoundError):  # another process has just deleted it
            used[path] = path.stat().st_mtime_ns
    for path in sorted(used, key=used.__getitem__)[: max(0, len(used) - _MOST + 1)]:
        path.unlink(missing_ok=True)
