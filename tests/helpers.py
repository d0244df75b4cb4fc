"""Small corpora, builds, and runs of the command line, shared by the tests."""

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nait_index import NaitIndex, SignatureConfig
    from nait_index.handover.convert import Refused
    from nait_index.handover.rows import ChosenRow, OutRow
    from nait_index.store.manifest import Manifest
    from nait_index.types import RowFormat

SHARD = 8
"""Rows of a shard in the tests, so that a few rows make several."""

COMMITTED_SHARDS = 1
"""Shards of a commit in the tests, so that few rows make several commits."""

NOT_FINITE = "☠"
"""A row with this sign gets activations that are not finite, under :func:`planted_infinity`."""


def small_rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Make short, different rows of two kinds, always the same."""
    rows = []
    for number in range(first, first + count):
        if number % 2:
            question, answer = f"Add {number} and {number * 7 % 13}.", str(number + number * 7 % 13)
        else:
            letter = chr(ord("a") + number * 5 % 26)
            question, answer = f"Name {1 + number % 4} words that begin with {letter}.", f"{letter}nd, {letter}lso"
        rows.append({"id": f"row-{number:03}", "instruction": question, "input": "", "output": answer})
    return rows


def write_lines(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    """Write rows as JSON lines; a row that is text already is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    return path


def hand_over_lines(path: Path, rows: Sequence[str], **options: Any) -> None:
    """Write rows, given as JSON text, as a selection is written."""
    from nait_index.handover.handover import OutputOptions, hand_over
    from nait_index.handover.rows import ChosenRow
    from nait_index.types import RowFormat

    chosen = [ChosenRow(str(number), row, RowFormat.TEXT, 1, False) for number, row in enumerate(rows)]
    records = [{"rank": rank, "id": row.id, "score": 1.0} for rank, row in enumerate(chosen, start=1)]
    hand_over(chosen, records, {}, OutputOptions(path, **options))


def convert_rows(
    rows: Sequence["ChosenRow"], target: "RowFormat | None"
) -> tuple[list["OutRow"], list["Refused"], dict[str, int]]:
    """Convert rows as a selection does: the converted ones, those refused, and what fields of turns were left out."""
    from nait_index.handover.taken import Taken

    taken = Taken(None)
    return list(taken.convert(rows, target, None)), taken.refused, taken.lost


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def small_shards(size: int = SHARD) -> Iterator[None]:
    """Cut shards of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("builder", "basis"):
            patch.setattr(f"nait_index.building.{module}.SHARD_ROWS", size)
        patch.setattr("nait_index.building.commit._MOST_SHARDS", COMMITTED_SHARDS)
        yield


def small_signatures(**changes: Any) -> "SignatureConfig":
    """Return the settings that the builds of the tests share: a basis fitted on two small shards."""
    from nait_index import SignatureConfig

    return SignatureConfig(**({"reservoir": 2 * SHARD} | changes))


def build_small(root: Path | str, corpus: Path | Sequence[Path], **options: Any) -> "NaitIndex":
    """Build an index in small shards, with the model that comes with the package unless another is named.

    :param options: of the model, of the build, and ``shard``, the rows of a shard.
    """
    from nait_index import NaitIndex
    from nait_index.config import BUNDLED_MODEL, Device, ModelConfig

    name, length = str(options.pop("model", BUNDLED_MODEL)), options.pop("max_length", 512)
    options.setdefault("signatures", small_signatures())
    with small_shards(options.pop("shard", SHARD)):
        return NaitIndex.build(
            root, corpus, model=ModelConfig(name=name, device=Device.CPU, max_length=length), **options
        )


@contextmanager
def planted_infinity() -> Iterator[None]:
    """Make the model produce an infinite activation for every text that holds :data:`NOT_FINITE`."""
    from nait_index.activations.encoder import Encoder

    run = Encoder._forward

    def poisoned(self: Encoder, batch: list[Any]) -> Any:
        captured = run(self, batch)
        neurons = captured.neurons.clone()
        for row, ids in enumerate(batch):
            if NOT_FINITE in self.model.tokenizer.decode(ids):
                neurons[row, 0, 3] = float("inf")
        return replace(captured, neurons=neurons)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "_forward", poisoned)
        yield


def samples_of(root: Path | str, storage: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Read every column of every sample that readers of an index see, by id; signatures as bytes."""
    import lance

    from nait_index.store.layout import Layout
    from nait_index.store.manifest import load_manifest

    layout = Layout(root, storage)
    version = load_manifest(layout).table_version
    table = lance.dataset(layout.samples, version=version, storage_options=layout.storage).to_table()
    columns: dict[str, list[Any]] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if hasattr(column.type, "list_size"):
            width = column.type.list_size
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)
            columns[name] = [value.tobytes() for value in values]
        else:
            columns[name] = column.to_pylist()
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows), "an id is in the table twice"
    return by_id


def manifest_of(root: Path) -> "Manifest":
    """Read the manifest of an index."""
    from nait_index.store.layout import Layout
    from nait_index.store.manifest import load_manifest

    return load_manifest(Layout(root))


def counts_of(root: Path) -> dict[str, Any]:
    """Return what the manifest says of rows and model, without what depends on how often the build was started."""
    manifest = manifest_of(root)
    left_out = ("history", "basis_hash", "next_position", "first_rows")
    counts = {field.name: getattr(manifest, field.name) for field in fields(manifest) if field.name not in left_out}
    assert manifest.history
    head = {name: getattr(manifest.head, name) for name in ("rows", "truncated", "tokens")}
    return counts | head | {"rejected": len(read_lines(root / "rejected.jsonl"))}


def engine_of(root: Path) -> Path:
    """Return the folder that searches scan, of the version that readers see."""
    return root / "engine" / str(manifest_of(root).table_version)


def announce(root: Path, **state: Any) -> None:
    """Publish what was written into the table of samples behind the index's back."""
    from nait_index.store.layout import Layout
    from nait_index.store.publish import publish
    from nait_index.store.samples import SampleTable

    publish(Layout(root), manifest_of(root), "altered", table_version=SampleTable(Layout(root)).version, **state)


def basis_of(root: Path) -> dict[str, bytes]:
    """Read the arrays of the fitted basis, as bytes."""
    from safetensors.numpy import load_file

    files = [root / "basis.safetensors", root / "components.safetensors"]
    return {name: array.tobytes() for file in files if file.is_file() for name, array in load_file(file).items()}


_NOTES = re.compile(r"^using the (small bundled )?model|^\S+: \d+ examples|^about \d+ \w+ left")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run of the command line: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on the error stream that are not notes of progress."""
        return [line for line in self.err.splitlines() if not _NOTES.search(line)]

    @property
    def json(self) -> Any:
        """The data, which must be one JSON value."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def nait_index(*arguments: str | Path, stdin: bytes = b"") -> Outcome:
    """Run the command line in this process, through the entry point that turns errors into exit codes.

    The streams are real UTF-8 streams, which refuse what cannot be encoded.
    """
    from nait_index_cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["nait-index", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        with pytest.raises(SystemExit) as ended:
            main()
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]  # a BytesIO
    code = ended.value.code
    return Outcome(code if isinstance(code, int) else 0 if code is None else 1, *texts)


def refusal(*arguments: str | Path, code: int = 1, stdin: bytes = b"") -> str:
    """Run a command that must fail, and return its one line of error.

    :param code: the exit code it must end with; usage errors (2) have click's two lines of usage before theirs.
    """
    outcome = nait_index(*arguments, stdin=stdin)
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = [line for line in outcome.errors if line and not (code == 2 and line.startswith(("Usage:", "Try ")))]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


def interrupt_call(patch: pytest.MonkeyPatch, place: str, *, call: int = 1, after: bool = False) -> None:
    """Raise KeyboardInterrupt at a call of a function, before or after it does its work.

    :param place: dotted name of the function, or of a class's method.
    :param call: which call, counted from 1.
    """
    owner, _, name = place.rpartition(".")
    target = _resolved(owner)
    original = getattr(target, name)
    seen = {"calls": 0}

    def interrupted(*args: Any, **options: Any) -> Any:
        seen["calls"] += 1
        if seen["calls"] == call and not after:
            raise KeyboardInterrupt
        result = original(*args, **options)
        if seen["calls"] == call:
            raise KeyboardInterrupt
        return result

    patch.setattr(target, name, interrupted)


def _resolved(dotted: str) -> Any:
    from importlib import import_module

    try:
        return import_module(dotted)
    except ModuleNotFoundError:
        owner, _, name = dotted.rpartition(".")
        return getattr(import_module(owner), name)
