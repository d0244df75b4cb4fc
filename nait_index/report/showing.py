"""Rows that are shown to be read."""

import numpy as np

from nait_index.index import NaitIndex
from nait_index.report.facts import Shown
from nait_index.report.ground import Choice
from nait_index.report.reading import Grouping, Words, clean, fit, words_of

_LONGEST = 30_000  # bytes of one row


class Shower:
    """Reads rows in full, or as far as there is room for.

    :param sources: where rows are from. :param room: bytes for all rows; :param rows: how many there will be.
    """

    def __init__(self, index: NaitIndex, sources: Grouping, room: int, rows: int) -> None:
        self._index = index
        self._sources = sources
        self._longest = min(_LONGEST, room // max(rows, 1))

    def ranks(self, choice: Choice, first: int, last: int) -> tuple[Shown, ...]:
        """Show the rows of some ranks, counted from 0; ``last`` is not among them."""
        places = choice.order[first:last].tolist()
        return tuple(self.show(place, rank, choice.scores[place]) for rank, place in enumerate(places, first + 1))

    def show(self, place: int, rank: int, score: float) -> Shown:
        """Show the row at a place of the table."""
        taken = self._index.columns.take([place], ["id", "file", "file_row", "n_tokens"])
        words, is_cut = _cut(words_of(self._index, np.array([place]))[0], self._longest)
        return Shown(
            id=clean(taken["id"][0]),
            rank=rank,
            score=float(score),
            source=self._sources.name_of(place),
            tokens=taken["n_tokens"][0],
            place=clean(f"{taken['file'][0]}, row {taken['file_row'][0]:,}"),
            words=words,
            is_cut=is_cut,
        )


def _cut(words: Words, room: int) -> tuple[Words, bool]:
    """Keep as much of what a row says as there is room for."""
    kept: list[tuple[str, str]] = []
    for role, text in words.parts:
        own = fit(text, room)
        kept.append((role, own))
        if len(own) < len(text):
            return Words(tuple(kept)), True
        room -= len(own.encode())
    return Words(tuple(kept)), False
