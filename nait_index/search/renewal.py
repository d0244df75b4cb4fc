"""A scan copy of one version of the table from that of another: rows that both hold are copied, the others are read."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.search.exact import Copied, ExactScan, longest_of
from nait_index.store.fragments import Fragment

_MEASURED = 8192
"""Rows of which the longest is looked for at a time."""

Read = Callable[[Sequence[Fragment]], Iterator[np.ndarray]]
"""Reads the rows of some fragments in table order: (b, ≥ d)."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """How the rows of a new copy come together.

    :param parts: in table order: runs (r, 2) int64 of ordinals of the old copy, each with the one after its last; or
        fragments to be read.
    """

    parts: tuple[np.ndarray | tuple[Fragment, ...], ...]

    @property
    def kept(self) -> np.ndarray:
        """(r, 2) int64 runs of the rows that are copied."""
        runs = [part for part in self.parts if isinstance(part, np.ndarray)]
        return np.concatenate([np.empty((0, 2), dtype=np.int64), *runs])

    @property
    def copied(self) -> int:
        """How many rows are copied."""
        return int((self.kept[:, 1] - self.kept[:, 0]).sum())

    def batches(self, source: ExactScan, read: Read) -> Iterator[np.ndarray | Copied]:
        """Yield all rows of the new copy, in table order."""
        longest_is_kept = self._longest_is_kept(source)
        for part in self.parts:
            if not isinstance(part, np.ndarray):
                yield from read(part)
                continue
            for start, end in part.tolist():
                if longest_is_kept:
                    yield Copied(source, start, end)
                else:
                    yield from (source.rows[at : min(at + _MEASURED, end)] for at in range(start, end, _MEASURED))

    def moves(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where the rows of the old copy are in the new one, -1 for none, and which of the new one are read.

        :param rows: of the old copy. :returns: (n,) int64 and (m,) int64 ordinals of the new copy.
        """
        new_of_old, fresh, position = np.full(rows, -1, np.int64), [np.empty(0, np.int64)], 0
        for part in self.parts:
            if isinstance(part, np.ndarray):
                old = ranges(part[:, 0], part[:, 1])
                new_of_old[old] = np.arange(position, position + len(old))
                position += len(old)
            else:
                count = sum(fragment.rows for fragment in part)
                fresh.append(np.arange(position, position + count))
                position += count
        return new_of_old, np.concatenate(fresh)

    def _longest_is_kept(self, source: ExactScan) -> bool:
        """Return whether the longest row of the old copy is certainly among those that are copied."""
        kept = self.kept[np.argsort(self.kept[:, 0])]
        starts, ends = np.r_[0, kept[:, 1]], np.r_[kept[:, 0], source.stamp.rows]
        dropped = ranges(starts, ends)
        longest = 0.0
        for at in range(0, len(dropped), _MEASURED):
            longest = max(longest, longest_of(source.rows[dropped[at : at + _MEASURED]]))
        return longest < source.longest * (1 - 1e-6)


def plan_renewal(old: Sequence[Fragment], new: Sequence[Fragment]) -> Renewal:
    """Compare the fragments of two versions.

    A fragment is copied if the same file holds it and none of its rows was deleted in the old version alone.
    """
    starts = np.cumsum([0, *(fragment.rows for fragment in old)]).tolist()
    known = {
        fragment.values: (fragment, start) for fragment, start in zip(old, starts, strict=False) if fragment.values
    }
    parts: list[np.ndarray | tuple[Fragment, ...]] = []
    for fragment in new:
        before = known.pop(fragment.values, None)
        runs = None if before is None else _ordinals(*before, fragment)
        last = parts[-1] if parts else None
        if runs is None:
            parts[-1:] = [(*last, fragment)] if isinstance(last, tuple) else [*parts[-1:], (fragment,)]
        else:
            parts[-1:] = [_joined(last, runs)] if isinstance(last, np.ndarray) else [*parts[-1:], runs]
    return Renewal(tuple(parts))


def ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return all positions of some ranges, one range after another."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.asarray(np.arange(lengths.sum()) + np.repeat(starts - before, lengths))


def _ordinals(old: Fragment, start: int, new: Fragment) -> np.ndarray | None:
    """Return the runs of a fragment's rows as ordinals of the old copy; ``None`` if it lacks some of them.

    :param start: ordinal of the fragment's first row.
    """
    if not len(new.runs):
        return new.runs
    if not len(old.runs):
        return None
    holding = np.searchsorted(old.runs[:, 0], new.runs[:, 0], side="right") - 1
    if (holding < 0).any() or (new.runs[:, 1] > old.runs[holding, 1]).any():
        return None
    lengths = old.runs[:, 1] - old.runs[:, 0]
    first = start + (np.cumsum(lengths) - lengths)[holding] + new.runs[:, 0] - old.runs[holding, 0]
    return np.stack([first, first + new.runs[:, 1] - new.runs[:, 0]], axis=1)


def _joined(runs: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Append runs, as one with the last where they go on from it."""
    if len(runs) and len(following) and runs[-1, 1] == following[0, 0]:
        joint = np.array([[runs[-1, 0], following[0, 1]]])
        return np.concatenate([runs[:-1], joint, following[1:]])
    return np.concatenate([runs, following])
