"""The rows that an index could not use, over all its builds."""

import os
from collections.abc import Iterable, Iterator, Mapping

from nait_index.corpus import STDIN_NAME, read_rejected, rejected_writer
from nait_index.store.integrity import check_rejected, seal_rejected
from nait_index.store.layout import Layout
from nait_index.types import Rejected


class RejectedRows:
    """Brings what a run rejected together with what earlier ones did.

    :meth:`prepare` does the work; :meth:`publish`, called just before the run's outcome is made visible, moves a file.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._final = layout.rejected
        self._own = layout.staging / "rejected.jsonl"
        self._merged = layout.staging / "rejected-merged.jsonl"

    def prepare(self, unusable: Iterable[Rejected], last_rows: Mapping[str, int]) -> None:
        """Write all of them, each once. A row that this run has read again counts by what became of it now.

        :param unusable: rows that turned out to be unusable after they had been taken in.
        :param last_rows: number of the last row that this run has read of each file. Standard input is another stream
            every time, so it supersedes nothing.
        """
        with rejected_writer(self._merged) as rejects:
            for own in dict.fromkeys([*self._earlier(last_rows), *read_rejected(self._own), *unusable]):
                rejects.add(own)

    def publish(self) -> None:
        """Put the file where it belongs."""
        seal_rejected(self._layout, self._merged)
        os.replace(self._merged, self._final)
        self._layout.push(self._final)

    def _earlier(self, last_rows: Mapping[str, int]) -> Iterator[Rejected]:
        self._layout.pull(self._final)
        if self._final.is_file():
            check_rejected(self._layout)
            for own in read_rejected(self._final):
                name = own.origin.file
                if name == STDIN_NAME or own.origin.row > last_rows.get(name, 0):
                    yield own
