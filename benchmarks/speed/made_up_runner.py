"""Made-up rows and signatures, for builds of more rows than a model could run here; all else of the builds is real."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from nait_index.building.encoder import Advance
from nait_index.building.runner import EncodedShards, LocalRunner, Room, ahead
from nait_index.building.shards import EncodedShard, ShardFacts
from nait_index.building.spool import RowOffsets, Spool, WorkRow
from nait_index.corpus.read import SeenIds
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import column_types, empty_columns
from nait_index.types import Origin, Part, Role, RowFormat, Sample


class MadeUpRunner(LocalRunner):
    """Loads the model, and leaves it idle. A row's tokens are its words."""

    def stage(self, spool: Spool, shards: Sequence[RowOffsets], room: Room, advance: Advance) -> EncodedShards:
        """Fill the room with random numbers."""
        types = column_types(self.encoder.signatures, self.encoder.widths, None)
        for number, rows in enumerate(_read(spool, shards)):
            activations, rng = room(number), np.random.default_rng(number)
            activations[...] = rng.random(activations.shape, dtype=np.float32)
            yield _encoded(rows, empty_columns(len(rows), types, dense=False), advance)

    def encode(
        self, spool: Spool, shards: Sequence[RowOffsets], compressor: Compressor, advance: Advance
    ) -> EncodedShards:
        """Return random signatures."""
        types = column_types(self.encoder.signatures, self.encoder.widths, compressor.dims)
        for rows in _read(spool, shards):
            yield _encoded(rows, empty_columns(len(rows), types, dense=True), advance)


def _read(spool: Spool, shards: Sequence[RowOffsets]) -> Iterator[Sequence[WorkRow]]:
    with ahead(partial(Spool.read, spool), shards) as read:
        yield from read


def _encoded(rows: Sequence[WorkRow], columns: dict[str, np.ndarray], advance: Advance) -> EncodedShard:
    rng = np.random.default_rng(rows[0].position)
    for values in columns.values():
        values[...] = rng.integers(0, 100, values.shape)
    words = np.array([row.marked.text.count(" ") + 1 for row in rows], dtype=np.int32)
    facts = ShardFacts(words, np.zeros(len(rows), dtype=bool), {})
    advance(len(rows), int(words.sum()))
    return EncodedShard(rows, facts, columns)


def write_range(path: Path, size: int, first: int = 0) -> None:
    """Note how many rows to make up, and the number of the first, for :func:`made_up_rows`."""
    path.write_text(f"{first} {first + size}", encoding="utf-8")


def made_up_rows(path: Path) -> Iterator[Sample]:
    """Yield short rows, each with an id, which is looked up among those before as that of a row of a file is."""
    first, end = map(int, path.read_text(encoding="utf-8").split())
    with closing(SeenIds()) as ids:
        for number in range(first, end):
            origin, text = Origin(path.name, number + 1), f"Seven times {number} is {7 * number}."
            ids.claim(str(number), origin)
            row = f'{{"id": "{number}", "text": "{text}"}}'
            yield Sample(str(number), row, (Part(Role.TEXT, text),), origin, RowFormat.TEXT)
