"""Write the rows that the package ships: ``python -m tools.demo.generate``."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from nait_index.demo.data import CORPUS, DATA, EXAMPLES
from tools.demo.corpus import Split, generate


def write(folder: Path, sizes: Mapping[Split, int] | None = None) -> None:
    """Write the corpus and the examples, compressed without a name or time stamp, so equal rows make equal files.

    :param folder: created where missing.
    :param sizes: rows per skill of each split; by default the splits' usual sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in ((Split.CORPUS, CORPUS), (Split.EXAMPLES, EXAMPLES)):
        rows = generate(split, None if sizes is None else sizes[split])
        (folder / name).write_bytes(gzip.compress(json_lines(rows), mtime=0))


def json_lines(rows: Iterable[Mapping[str, str]]) -> bytes:
    """Write rows as UTF-8, one JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


if __name__ == "__main__":
    write(DATA)
