"""Numbers that take a while to make, kept beside the scans of one state of the table: a cache.

They are found again by a hash of all that they were made from. A damaged file is made anew, and a folder that cannot be
written costs nothing but time.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from nait_index.errors import NaitError
from nait_index.files import hash_bytes
from nait_index.store.sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

_MOST = 256
"""Files of one folder at most, some 6 MB; the oldest go first."""


def kept(folder: Path, made_of: Iterable[np.ndarray | str], make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what was made before of the same arrays and words, or else make it and keep it: (n,) float64.

    What another release of this package kept is not read.
    """
    digest = hash_bytes(b"".join(map(_content, (version("nait-index"), *made_of))))
    path = folder / f"kept-{digest}.json"
    record = read_sealed(path) or {}
    numbers = record.get("numbers")
    if record.get("made_of") == digest and isinstance(numbers, list) and all(isinstance(n, float) for n in numbers):
        return np.array(numbers)
    numbers = np.asarray(make(), np.float64)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _drop_oldest(folder)
        write_sealed(path, {"made_of": digest, "numbers": numbers.tolist()})
    except (OSError, NaitError) as error:
        logger.info("not kept, so it is made again next time: %s", error)
    return numbers


def _content(part: np.ndarray | str) -> bytes:
    if isinstance(part, str):
        return hash_bytes(part.encode()).encode()
    return f"{part.shape} {part.dtype} ".encode() + part.tobytes()


def _drop_oldest(folder: Path) -> None:
    """Delete the oldest, so that there is room for one more."""
    ages = {}
    for path in folder.glob("kept-*.json"):
        with suppress(FileNotFoundError):  # another process has just deleted it
            ages[path] = path.stat().st_mtime
    for path in sorted(ages, key=ages.__getitem__)[: max(0, len(ages) - _MOST + 1)]:
        path.unlink(missing_ok=True)
