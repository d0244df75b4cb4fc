"""An index of very many rows in minutes: ``python -m benchmarks.made_up PATH ROWS``.

A real index is built of some rows of the pool. Its table is then filled up with the same rows under new ids, each with
signatures made up near its own: of the own codes 0.8, of those of another row 0.6, so that lengths and spectrum stay.
Manifest, basis, capabilities and hashes are those of a normal index, and every command opens it as one; only what
``verify`` encodes again differs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import shared_data
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.demo.data import corpus_rows, example_rows
from nait_index.index import NaitIndex
from nait_index.signatures.views import TOPK_NUMBERS, TOPK_VALUES
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish, settled, table_state
from nait_index.store.samples import SampleTable, schema, table_of

CAPABILITIES = ("gsm8k", "humaneval", "knowledge")
_EXAMPLES = 100
_BLOCK_BYTES = 1 << 28  # of signatures that are appended at once
_MIXED = 8192  # rows whose signatures are made up at a time
_SHORT = 300  # bytes of a short row at most


class Width(StrEnum):
    """What is stored of a row: all that is by default, or what one query needs."""

    FULL = "full"
    NARROW = "narrow"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("rows", type=int)
@click.option("--width", type=click.Choice([width.value for width in Width]), default="full", show_default=True)
def main(path: Path, rows: int, width: str) -> None:
    """Make an index of ROWS rows at PATH."""
    make(path, rows, Width(width))


def make(path: Path, rows: int, width: Width, base: int = 3000, *, demo: bool = False) -> None:
    """Make an index.

    :param width: ``full`` reads rows with the bundled model; ``narrow`` stores 512 bytes of short rows' words.
    :param base: how many real rows it begins with. :param demo: use the demo's rows, not the pool's.
    """
    short = _SHORT if width is Width.NARROW else None
    corpus, examples = demo_rows() if demo else pool_rows(base, short)
    signatures = SignatureConfig(views=(View.WORDS,), words_dim=512) if short else SignatureConfig()
    model = ModelConfig(max_length=64)
    index = NaitIndex.build(path, corpus[:base], model=model, signatures=signatures)
    for name, rows_of_skill in examples.items():
        index.store_capability(index.make_capability_from(rows_of_skill, name))
    fill(index.layout, rows, signatures.topk)


def pool_rows(count: int, short: int | None) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Read random rows of the pool, without the ids in them, and examples of some capabilities."""
    folder = shared_data()
    lines = (folder / "pool.jsonl").read_text(encoding="utf-8").splitlines()
    fitting = [line for line in lines if short is None or len(line) <= short]
    picked = np.random.default_rng(0).permutation(len(fitting))[:count]
    corpus = [_without_id(fitting[number]) for number in picked]
    examples = {name: _first(folder / "capabilities" / f"{name}.jsonl") for name in CAPABILITIES}
    return corpus, examples


def demo_rows() -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Return the demo's rows and examples of two skills."""
    corpus: list[dict[str, Any]] = [dict(row) for row in corpus_rows()]
    skills = sorted({row["skill"] for row in corpus})[: len(CAPABILITIES)]
    examples = {
        name: [dict(row) for row in example_rows(skill)] for name, skill in zip(CAPABILITIES, skills, strict=True)
    }
    return [{key: value for key, value in row.items() if key != "id"} for row in corpus], examples


def _first(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [_without_id(line) for line in islice(file, _EXAMPLES)]


def _without_id(line: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line)
    row.pop("id", None)
    return row


def fill(layout: Layout, rows: int, topk: int) -> None:
    """Append made-up rows to an index until it has as many as asked, as one new version."""
    with write_lock(layout):
        manifest = settled(layout)
        table = SampleTable(layout)
        types = table.signature_types()
        real = table.read([field.name for field in table.schema()])
        block = max(_MIXED, _BLOCK_BYTES // sum(dtype.itemsize * width for dtype, width in types.values()))
        maker = _Maker(real, types, topk)
        for start in range(len(real), rows, block):
            columns = maker.columns(np.arange(start, min(rows, start + block)), rows)
            table.append([table_of(columns, schema(types))])
            click.echo(f"{min(rows, start + block):,} rows", err=True)
        publish(
            layout,
            replace(manifest, next_position=rows),
            f"{rows - len(real):,} made-up rows added",
            **table_state(SampleTable(layout)),
        )


class _Maker:
    """Makes rows of those of a real table.

    :param real: all of its columns.
    """

    def __init__(self, real: Any, types: Mapping[str, Any], topk: int) -> None:  # noqa: ANN401 - a pyarrow table
        self._plain = real.drop_columns([*types])
        self._signatures = {
            name: real[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            for name, (_, width) in types.items()
        }
        self._topk = topk
        self._rng = np.random.default_rng(0)

    def columns(self, ordinals: np.ndarray, rows: int) -> dict[str, Any]:
        """Make the columns of the rows with some ordinals, of ``rows`` in all."""
        real = len(self._plain)
        first, second = self._rng.integers(real, size=(2, len(ordinals)))
        plain = self._plain.take(first)
        columns: dict[str, Any] = {name: plain[name].combine_chunks() for name in plain.column_names}
        # Neither ids nor positions are in the order of the table; each comes once.
        columns["id"] = [f"row-{number:08x}" for number in (ordinals * 2654435761 % 2**32).tolist()]
        columns["position"] = real + (ordinals - real) * _coprime(rows - real) % (rows - real)
        for name, codes in self._signatures.items():
            columns[name] = np.concatenate([*_mixed(name, codes, first, second, self._topk)])
        return columns


def _coprime(number: int) -> int:
    factor = 7919
    while np.gcd(factor, number) > 1:
        factor += 2
    return factor


def _mixed(name: str, codes: np.ndarray, first: np.ndarray, second: np.ndarray, topk: int) -> Iterator[np.ndarray]:
    """Yield signatures near those of the first rows, in blocks."""
    for start in range(0, len(first), _MIXED):
        ours, theirs = codes[first[start : start + _MIXED]], codes[second[start : start + _MIXED]]
        if name in (TOPK_NUMBERS, TOPK_VALUES):
            layers = codes.shape[1] // topk // 2 * topk  # whole layers of the other row
            ours[:, :layers] = theirs[:, :layers]
        elif codes.dtype == np.int8:
            mixed = np.float32(0.8) * ours + np.float32(0.6) * theirs
            ours = np.rint(mixed, out=mixed).clip(-127, 127).astype(np.int8)
        yield ours


if __name__ == "__main__":
    main()
