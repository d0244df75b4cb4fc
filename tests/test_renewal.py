"""A scan copy made from that of another version has the bytes of one made anew, and only new rows are read for it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import interrupt_call

from nait_index.errors import NaitError
from nait_index.search.approximate import Stored
from nait_index.search.cell_copies import CellCopies
from nait_index.search.copies import ScanCopies
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.joint import JointScan
from nait_index.search.renewal import plan_renewal
from nait_index.search.row_sums import row_sums
from nait_index.store.dataset import open_dataset
from nait_index.store.engines import CELLS, KINDS, prune
from nait_index.store.fragments import Fragment
from nait_index.store.integrity import Looks
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable, schema, table_of
from nait_index.store.sealed import read_sealed, write_sealed

WIDTH, SCANNED = 12, 8
SCHEMA_ARRAYS = {"pca_unit": (np.dtype(np.int8), WIDTH), "words_lsa": (np.dtype(np.float32), SCANNED)}


class Corpus:
    """A table of made-up rows, changed as the commands change it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root / "some.nait")
        self.table = SampleTable(self.layout)
        self.schema = schema(SCHEMA_ARRAYS)
        self.rng = np.random.default_rng(0)
        self.next = 0
        self.columns = 0
        Path(self.layout.database).mkdir(parents=True)
        self.table.create(self.schema)

    def add(self, count: int) -> None:
        positions = np.arange(self.next, self.next + count)
        self.next += count
        plain: dict[str, Any] = {
            field.name: [f"{field.name} {position}" for position in positions] for field in self.schema
        }
        plain |= {"position": positions, "file_row": positions, "n_tokens": positions, "truncated": positions < 0}
        # Rows of very different lengths, so that now and then the longest one goes.
        codes = self.rng.integers(-40, 41, (count, WIDTH)) * self.rng.integers(1, 4, (count, 1))
        words = self.rng.standard_normal((count, SCANNED)).astype(np.float32)
        columns = plain | {"pca_unit": codes.astype(np.int8), "words_lsa": words}
        self.table.append([table_of(columns, self.schema)])

    def remove(self, count: int) -> None:
        positions = self.table.numbers("position").astype(int)
        self.table.delete(self.rng.permutation(positions)[: min(count, len(positions) - 1)].tolist())

    def replace(self, count: int) -> None:
        self.add(count)
        self.remove(count)

    def restore(self, back: int) -> None:
        SampleTable(self.layout, max(2, self.table.version - back)).restore()

    def score(self, _: int) -> None:
        import lance
        import pyarrow as pa

        self.columns += 1
        scored = pa.schema([pa.field(f"score_{self.columns}", pa.float64())])

        @lance.batch_udf(output_schema=scored)
        def score(batch: "pa.RecordBatch") -> "pa.RecordBatch":
            return pa.RecordBatch.from_arrays([pa.array([1.5] * len(batch))], schema=scored)

        open_dataset(self.layout, self.layout.samples).add_columns(score, read_columns=["id"])

    def optimize(self, _: int) -> None:
        self.table.compact()

    def at(self, version: int | None = None) -> SampleTable:
        return SampleTable(self.layout, version or self.table.version)

    def folder(self, version: int | None = None) -> Path:
        return self.layout.engine(version or self.table.version)

    def open(self, version: int | None = None, column: str = "pca_unit") -> ExactScan:
        table = self.at(version)
        return ScanCopies(self.layout, table).open(column, stamp_of(table, column))


def stamp_of(table: SampleTable, column: str = "pca_unit") -> ScanStamp:
    return ScanStamp(table.version, len(table), SCANNED, str(SCHEMA_ARRAYS[column][0]), table.files_hash())


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Thirty rows in three fragments, with a scan copy."""
    made = Corpus(tmp_path)
    for _ in range(3):
        made.add(10)
    made.open()
    return made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many signatures every read of the table returns."""
    counts: list[int] = []
    signatures = SampleTable.signatures

    def counted(self: SampleTable, column: str, fragments: Sequence[Fragment] | None = None) -> Iterator[np.ndarray]:
        for batch in signatures(self, column, fragments):
            counts.append(len(batch))
            yield batch

    monkeypatch.setattr(SampleTable, "signatures", counted)
    return counts


def assert_as_made_anew(corpus: Corpus, tmp_path: Path, column: str = "pca_unit") -> None:
    """Compare all files of the present copy with those made from the table alone."""
    table, anew = corpus.at(), tmp_path / "anew"
    signatures = [batch for batch in SampleTable.signatures(table, column)]
    ExactScan.write(anew, column, signatures, stamp_of(table, column), table.fragments_of(column))
    for kind in KINDS:
        made, wanted = ((folder / f"{column}{kind}").read_bytes() for folder in (corpus.folder(), anew))
        assert made == wanted, kind
    opened = ExactScan.open(corpus.folder(), column, stamp_of(table, column))
    assert opened is not None
    assert opened.is_whole()
    np.testing.assert_array_equal(opened.rows, np.concatenate(signatures)[:, :SCANNED])


# ---- the same bytes ---------------------------------------------------------------------------------------------

CHANGES = ("add", "remove", "replace", "restore", "optimize", "score")


@pytest.mark.parametrize("seed", range(24))
def test_any_changes_end_in_the_bytes_of_a_copy_made_anew(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    corpus = Corpus(tmp_path)
    corpus.add(25)
    for _ in range(10):
        change = str(rng.choice(CHANGES, p=(0.3, 0.25, 0.15, 0.15, 0.05, 0.1)))
        getattr(corpus, change)(int(rng.integers(1, 9)))
        if rng.random() < 0.7:  # sometimes nobody searches between two changes
            prune(corpus.layout, corpus.table.version)
            for column in SCHEMA_ARRAYS:
                corpus.open(column=column)
                assert_as_made_anew(corpus, tmp_path, column)


def test_of_an_addition_only_the_new_rows_are_read(corpus: Corpus, reads: list[int], tmp_path: Path) -> None:
    corpus.add(4)
    corpus.add(3)
    corpus.open()
    assert sum(reads) == 7
    assert_as_made_anew(corpus, tmp_path)


@pytest.mark.parametrize("change", ["remove", "score"])
def test_of_a_removal_or_a_new_score_no_row_is_read(
    change: str, corpus: Corpus, reads: list[int], tmp_path: Path
) -> None:
    getattr(corpus, change)(4)
    corpus.open()
    assert reads == []
    assert_as_made_anew(corpus, tmp_path)


def test_of_a_replacement_only_the_new_rows_are_read(corpus: Corpus, reads: list[int], tmp_path: Path) -> None:
    corpus.replace(5)
    corpus.open()
    assert sum(reads) == 5
    assert_as_made_anew(corpus, tmp_path)


def test_merged_files_are_read_again(corpus: Corpus, reads: list[int], tmp_path: Path) -> None:
    corpus.remove(2)
    corpus.optimize(0)
    corpus.open()
    assert sum(reads) == 28
    assert_as_made_anew(corpus, tmp_path)


def test_the_longest_row_is_found_again_where_it_was_removed(corpus: Corpus, tmp_path: Path) -> None:
    codes, positions = np.concatenate([*corpus.table.signatures("pca_unit")]), corpus.table.numbers("position")
    lengths = np.linalg.norm(codes[:, :SCANNED].astype(float), axis=1)
    corpus.table.delete([int(positions[lengths.argmax()])])
    before, after = corpus.folder(), corpus.open()
    assert after.longest == pytest.approx(np.sort(lengths)[-2])
    assert before == corpus.folder()
    assert_as_made_anew(corpus, tmp_path)


# ---- any doubt --------------------------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-SCANNED * 12] ^= 4
    path.write_bytes(data)


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        record = read_sealed(path)
        assert record is not None
        change(record)
        write_sealed(path, record)

    return edit


DOUBTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a flipped bit": (".npy", _flip),
    "rows cut off": (".npy", lambda path: path.write_bytes(path.read_bytes()[:-3])),
    "rows missing": (".npy", lambda path: path.unlink()),
    "a damaged stamp": (".json", lambda path: path.write_bytes(path.read_bytes()[:-3])),
    "checksums cut off": (".sums", lambda path: path.write_bytes(path.read_bytes()[:-8])),
    "checksums missing": (".sums", lambda path: path.unlink()),
    "a damaged record": (".rows.json", lambda path: path.write_bytes(b"{}")),
    "a record of another version": (".rows.json", _edit(lambda record: record["stamp"].update(table_version=1))),
    "a record of other columns": (".rows.json", _edit(lambda record: record["stamp"].update(dim=5))),
    "a record of fewer rows": (".rows.json", _edit(lambda record: record["fragments"].pop())),
    "runs out of order": (".rows.json", _edit(lambda record: record["fragments"][0].update(runs=[[5, 10], [0, 5]]))),
    "runs that are none": (".rows.json", _edit(lambda record: record["fragments"][0].update(runs="ten"))),
    "files that are not there": (
        ".rows.json",
        _edit(lambda record: [part.update(values="other") for part in record["fragments"]]),
    ),
}


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("change", ["add", "remove"])
def test_where_there_is_doubt_the_copy_is_made_anew(
    doubt: str, change: str, corpus: Corpus, reads: list[int], tmp_path: Path
) -> None:
    kind, damage = DOUBTS[doubt]
    damage(corpus.folder() / f"pca_unit{kind}")
    getattr(corpus, change)(3)
    corpus.open()
    assert sum(reads) == len(corpus.table), "all rows"
    assert_as_made_anew(corpus, tmp_path)


@pytest.mark.parametrize("change", ["add", "remove"])
def test_damage_that_looks_like_no_change_is_copied_but_still_found(
    change: str, corpus: Corpus, tmp_path: Path
) -> None:
    """The row goes with the checksum of what it should be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Looks, "same", lambda *_: True)
        _flip(corpus.folder() / "pca_unit.npy")
        getattr(corpus, change)(2)
        assert not corpus.open().is_whole()
    assert corpus.open().is_whole(), "made anew when it is next opened"
    assert_as_made_anew(corpus, tmp_path)


def test_damaged_checksums_are_not_copied(
    corpus: Corpus, reads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Looks, "same", lambda *_: True)
    _flip(corpus.folder() / "pca_unit.sums")
    corpus.add(3)
    corpus.open()
    assert sum(reads) == 33
    assert_as_made_anew(corpus, tmp_path)


def test_a_few_rows_of_a_large_copy_are_read_instead(corpus: Corpus, reads: list[int], tmp_path: Path) -> None:
    corpus.remove(20)
    corpus.open()
    assert sum(reads) == 10
    assert_as_made_anew(corpus, tmp_path)


def test_values_that_may_have_been_replaced_are_read() -> None:
    runs = np.array([[0, 4]])
    certain, doubtful = Fragment(0, "a:1:1", runs), Fragment(1, "", runs)
    assert [type(part) for part in plan_renewal([certain, doubtful], [doubtful, certain]).parts] == [tuple, np.ndarray]


# ---- interruptions, and other readers ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("writer", "call"), [("atomic_write", 1), ("atomic_write", 2), ("write_sealed", 1), ("write_sealed", 2)]
)
def test_an_interrupted_renewal_leaves_a_copy_to_start_from(
    writer: str, call: int, after: bool, corpus: Corpus, reads: list[int], tmp_path: Path
) -> None:
    old = {path: path.read_bytes() for path in corpus.folder().iterdir()}
    corpus.add(4)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"nait_index.search.exact.{writer}", call=call, after=after)
        with pytest.raises(KeyboardInterrupt):
            corpus.open()
    assert {path: path.read_bytes() for path in old} == old
    reads.clear()
    corpus.open()
    finished = (writer, call, after) == ("write_sealed", 2, True)
    assert sum(reads) == (0 if finished else 4)
    assert_as_made_anew(corpus, tmp_path)


def test_readers_of_an_older_version_keep_theirs(corpus: Corpus) -> None:
    version = corpus.table.version
    reader = corpus.open(version)
    rows = np.array(reader.rows)
    corpus.remove(5)
    prune(corpus.layout, corpus.table.version)
    assert len(corpus.open().rows) == 25
    np.testing.assert_array_equal(reader.rows, rows)
    np.testing.assert_array_equal(corpus.open(version).rows, rows)
    assert len(corpus.open().rows) == 25


def test_an_older_version_is_made_from_a_newer_one(corpus: Corpus, reads: list[int]) -> None:
    version, rows = corpus.table.version, np.array(corpus.open().rows)
    corpus.add(5)
    corpus.open()
    reads.clear()
    np.testing.assert_array_equal(corpus.open(version).rows, rows)
    assert reads == []
    assert {folder.name for folder in corpus.layout.engines.iterdir() if folder.is_dir()} == {
        str(version),
        str(corpus.table.version),
    }


def test_where_there_is_no_room_for_two_the_old_copy_goes(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, write = corpus.folder(), ExactScan.write

    def full(folder: Path, *arguments: Any) -> None:
        if old.exists():
            raise NaitError(f"{folder}: not written: no space left on device")
        write(folder, *arguments)

    monkeypatch.setattr(ExactScan, "write", full)
    corpus.add(4)
    corpus.open()
    monkeypatch.undo()
    assert_as_made_anew(corpus, tmp_path)


# ---- approximate searches ---------------------------------------------------------------------------------------


def searched(corpus: Corpus, columns: Sequence[str]) -> tuple[CellCopies, JointScan, np.ndarray]:
    scan = JointScan([corpus.open(column=column) for column in columns])
    return CellCopies(corpus.layout, corpus.at()), scan, np.ones(SCANNED * len(columns), np.float32)


def test_an_approximate_search_is_made_from_that_of_the_version_before(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nait_index.search.approximate._LEAST_ROWS", 10)
    monkeypatch.setattr("nait_index.search.approximate._MEASURED", 3)
    columns = ["pca_unit"]
    corpus.add(90)
    copies, scan, steps = searched(corpus, columns)
    copies.make(columns, scan, steps, np.eye(3, SCANNED, dtype=np.float32))
    for change, count in ((corpus.add, 9), (corpus.remove, 7), (corpus.replace, 12), (corpus.score, 0)):
        old = corpus.folder()
        change(count)
        prune(corpus.layout, corpus.table.version)
        copies, scan, steps = searched(corpus, columns)
        assert copies.open(columns, scan, steps) is not None
        stored = Stored.read(corpus.folder(), "pca_unit")
        assert stored is not None
        assert stored.stamp == scan.stamp
        cells = stored.cells
        assert sorted(cells.order.tolist()) == list(range(len(corpus.table)))
        rows = corpus.open().rows[cells.order]
        np.testing.assert_array_equal(cells.codes, rows)
        nearest = (rows.astype(np.float32) @ cells.centers.T).argmax(axis=1)
        np.testing.assert_array_equal(np.repeat(np.arange(len(cells)), np.diff(cells.starts)), nearest)
        assert not (old / "pca_unit.cells.json").exists()
    corpus.add(200)  # twice as many rows as were clustered
    assert copies.open(columns, scan, steps) is not None
    copies, scan, steps = searched(corpus, columns)
    assert copies.open(columns, scan, steps) is None


# ---- which copies are kept --------------------------------------------------------------------------------------


def _names(layout: Layout) -> dict[str, set[str]]:
    folders = [folder for folder in layout.engines.iterdir() if folder.is_dir()]
    return {folder.name: {path.name for path in folder.iterdir()} for folder in folders}


def _files(column: str) -> set[str]:
    return {f"{column}{kind}" for kind in KINDS}


def test_an_old_copy_goes_once_the_new_one_is_there(corpus: Corpus) -> None:
    old = corpus.folder()
    corpus.open(column="words_lsa")
    corpus.add(2)
    corpus.open()
    assert _names(corpus.layout) == {old.name: _files("words_lsa"), corpus.folder().name: _files("pca_unit")}
    corpus.open(column="words_lsa")
    assert _names(corpus.layout) == {corpus.folder().name: _files("pca_unit") | _files("words_lsa")}


def test_a_publication_leaves_the_newest_copy_of_every_signature(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "some.nait")
    there = {2: ("a", "b"), 3: ("a",), 4: ("c",), 5: ("c",)}
    cells = {f"a{kind}" for kind in CELLS}
    for version, columns in there.items():
        layout.engine(version).mkdir(parents=True)
        for name in [name for column in columns for name in _files(column)] + ["a+b.odd", ".0123456789abcdef.tmp"]:
            (layout.engine(version) / name).write_bytes(b"")
    (layout.engine(4) / "a.npy").write_bytes(b"without its stamp")
    for version in (2, 3):
        for name in cells:
            (layout.engine(version) / name).write_bytes(b"")
    (layout.engines / "odd").mkdir()
    (layout.engines / "checked.json").write_bytes(b"{}")
    prune(layout, 5)
    current = _files("c") | {"a+b.odd", ".0123456789abcdef.tmp"}
    assert _names(layout) == {"2": _files("b"), "3": _files("a") | cells, "5": current}
    assert (layout.engines / "checked.json").exists()


# ---- checksums of rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("width", [1, 5, 8, 300])
def test_any_flipped_bit_changes_the_checksum_of_its_row_alone(width: int, dtype: str) -> None:
    rows = np.random.default_rng(0).integers(-127, 128, (900, width)).astype(dtype)
    wanted = row_sums(rows)
    damaged = rows.view(np.uint8)
    for place in np.random.default_rng(1).integers(0, damaged.size, 40):
        for bit in range(8):
            damaged.reshape(-1)[place] ^= 1 << bit
            differing = np.flatnonzero(row_sums(rows) != wanted)
            assert differing.tolist() == [place // damaged.shape[1]]
            damaged.reshape(-1)[place] ^= 1 << bit


def test_changes_of_several_words_change_the_checksum() -> None:
    """The highest bit of two words, words that changed places, and a row of zeros."""
    row = np.random.default_rng(0).integers(-127, 128, (1, 64)).astype(np.int8)
    high, swapped = row.copy(), row.copy()
    high[0, [7, 15]] ^= -128
    swapped[0, :8] = row[0, [4, 5, 6, 7, 0, 1, 2, 3]]
    assert len({int(row_sums(rows)[0]) for rows in (row, high, swapped, np.zeros_like(row))}) == 4


def test_checksums_are_the_same_in_any_batches_and_on_any_machine() -> None:
    rows = np.arange(7 * 600).reshape(600, 7).astype(np.int8)
    parts = [row_sums(rows[start : start + 11]) for start in range(0, 600, 11)]
    np.testing.assert_array_equal(np.concatenate(parts), row_sums(rows))
    constants = np.frombuffer(hashlib.shake_256(b"row sums").digest(16), "<u8").tolist()
    words = [int.from_bytes(bytes([0, 1, 2, 3]), "little"), int.from_bytes(bytes([4, 5, 6, 0]), "little")]
    wanted = sum(word * (constant | 1) for word, constant in zip(words, constants, strict=True)) % 2**64
    assert int(row_sums(rows)[0]) == wanted


def test_a_record_of_rows_is_json(corpus: Corpus) -> None:
    corpus.remove(3)
    corpus.open()
    record = json.loads((corpus.folder() / "pca_unit.rows.json").read_bytes())
    kept = [end - start for part in record["fragments"] for start, end in part["runs"]]
    assert sum(kept) == record["stamp"]["rows"] == 27
