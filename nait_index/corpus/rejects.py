"""``rejected.jsonl``: the rows that could not be used, each with its place and the reason."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nait_index.corpus.rows import to_json
from nait_index.files import atomic_write
from nait_index.types import Origin, Rejected


class RejectedWriter:
    """Writes rejected rows, one JSON object a line, and counts them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def add(self, rejected: Rejected) -> None:
        """Write one row."""
        origin = rejected.origin
        line = {"file": origin.file, "row": origin.row, "reason": rejected.reason, "content": rejected.row}
        self._file.write(to_json(line).encode() + b"\n")
        self.count += 1


@contextmanager
def rejected_writer(path: Path) -> Iterator[RejectedWriter]:
    """Open a writer whose file appears, whole, when the block ends without an error.

    :raises NaitError: the file cannot be written.
    """
    with atomic_write(path) as file:
        yield RejectedWriter(file)


def read_rejected(path: Path) -> Iterator[Rejected]:
    """Read the rows back."""
    with path.open("rb") as lines:
        for line in lines:
            fields = json.loads(line)
            yield Rejected(Origin(fields["file"], fields["row"]), fields["reason"], fields["content"])
