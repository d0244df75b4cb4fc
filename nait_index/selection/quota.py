"""Quotas: at most so many of the chosen rows with the same value in a column, such as of one source; and a random part.

A quota leaves out what ranks lowest of a value that has more than its part, and the next best rows of other values take
the places.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nait_index.errors import SelectionError
from nait_index.selection.budget import Budget

if TYPE_CHECKING:
    import pyarrow as pa

RANDOM = "random"
"""What the capability of a row is called that was drawn at random."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Most rows with the same value. :param column: of the table, or a field of the rows."""

    column: str
    most: Budget

    @classmethod
    def parse(cls, text: str) -> "Quota":
        """Parse ``source=20%`` or ``source=500``.

        :raises SelectionError: it is neither.
        """
        column, _, most = text.rpartition("=")
        return cls(column.strip(), _part(most, f"--at-most '{text}'", "COLUMN=SHARE, such as source=20%", column))

    def rows(self, chosen: int) -> int:
        """Return how many of ``chosen`` rows may have the same value, at least one."""
        if self.most.share is None:
            return min(chosen, self.most.rows or chosen)
        return max(1, int(chosen * self.most.share))

    def __str__(self) -> str:
        return f"{self.column}={self.most.text}"


@dataclass(frozen=True, slots=True)
class Mix:
    """The part of the chosen rows that is drawn at random from all others."""

    part: Budget

    @classmethod
    def parse(cls, text: str) -> "Mix":
        """Parse ``random=30%`` or ``random=500``.

        :raises SelectionError: it is neither.
        """
        source, _, part = text.rpartition("=")
        budget = _part(part, f"--mix '{text}'", f"{RANDOM}=SHARE, such as {RANDOM}=30%", source)
        if source.strip() != RANDOM:
            raise SelectionError(f"--mix '{text}': only rows drawn at random can be mixed in, as in {RANDOM}=30%")
        if budget.share == 1:
            raise SelectionError(f"--mix '{text}' leaves nothing to choose; give less than 100%")
        return cls(budget)

    def of(self, total: int, what: str) -> int:
        """Return how much of a total is drawn at random.

        :raises SelectionError: nothing would be left to choose.
        """
        drawn = int(total * self.part.share) if self.part.share is not None else self.part.rows or 0
        if drawn >= total:
            raise SelectionError(f"--mix {self} leaves none of the {total:,} {what} to choose; give less")
        return drawn

    def __str__(self) -> str:
        return f"{RANDOM}={self.part.text}"


def _part(text: str, given: str, form: str, name: str) -> Budget:
    try:
        budget = Budget.parse(text)
    except SelectionError:
        budget = Budget("")
    if not name.strip() or (budget.rows is None and budget.share is None):
        raise SelectionError(f"{given} is not of the form {form}")
    return budget


def value_codes(values: "pa.Array") -> np.ndarray:
    """Return the values of a column as numbers, equal ones alike; rows without a value have one in common.

    :returns: (n,) int32 from 0.
    """
    coded = values.dictionary_encode()
    return np.asarray(coded.indices.fill_null(len(coded.dictionary)).to_numpy())


def over_quota(quotas: Sequence[tuple[np.ndarray, int]], chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the ordinals of rows that must not be chosen, so that all quotas hold together.

    :param quotas: of each, (n,) codes of the values of all rows, and how many rows may have the same one.
    :param chosen: ordinals, best first.
    :returns: those of chosen rows beyond a quota of theirs, and with them every other row of that value.
    """
    rows = np.asarray(chosen, np.int64)
    fits = _fitting(quotas, rows)
    out = np.zeros(len(quotas[0][0]) if quotas else 0, bool)
    for codes, most in quotas:
        values, counts = np.unique(codes[rows[fits]], return_counts=True)
        out |= np.isin(codes, np.intersect1d(values[counts >= most], codes[rows[~fits]]))
    if quotas:
        out[rows[fits]] = False
    return np.flatnonzero(out)


def within_quota(quotas: Sequence[tuple[np.ndarray, int]], chosen: Sequence[int], others: np.ndarray) -> np.ndarray:
    """Return those of other rows, in their order, that can be added to the chosen ones so that all quotas hold.

    :param quotas: as for :func:`over_quota`. :param chosen: ordinals; :param others: (m,) ordinals.
    """
    fits = _fitting(quotas, np.concatenate([np.asarray(chosen, np.int64), others]))
    return np.asarray(others[fits[len(chosen) :]])


class Room:
    """The room that rows leave in some quotas, taken one by one.

    :param quotas: as for :func:`over_quota`.
    """

    def __init__(self, quotas: Sequence[tuple[np.ndarray, int]]) -> None:
        self._quotas = [(codes, most, Counter[int]()) for codes, most in quotas]

    def has(self, ordinal: int) -> bool:
        """Report whether every quota has room for a row."""
        return all(used[int(codes[ordinal])] < most for codes, most, used in self._quotas)

    def take(self, ordinal: int) -> None:
        """Take a row."""
        for codes, _, used in self._quotas:
            used[int(codes[ordinal])] += 1


def _fitting(quotas: Sequence[tuple[np.ndarray, int]], rows: np.ndarray) -> np.ndarray:
    """Take rows in their order wherever every quota has room, and return which are taken (m,) bool.

    A row that is not taken uses up no quota.
    """
    fits = np.ones(len(rows), bool)
    if len(quotas) == 1:  # all at once: the first rows of each value
        [(codes, most)] = quotas
        values = codes[rows]
        order = np.argsort(values, kind="stable")
        grouped = values[order]
        starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])[: len(rows)]
        fits[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)])) < most
    elif quotas:
        room = Room(quotas)
        for place, ordinal in enumerate(rows.tolist()):
            fits[place] = room.has(ordinal)
            if fits[place]:
                room.take(ordinal)
    return fits
