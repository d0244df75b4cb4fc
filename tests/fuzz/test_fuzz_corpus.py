"""Any file as a corpus: every row is accounted for, or one clear line says why there is none. Nothing else."""

import gzip
import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from cases import COUNTED, LONG, cases
from helpers import hand_over_lines
from hypothesis import example, given
from hypothesis import strategies as st
from made import (
    HOSTILE_LINES,
    SUFFIXES,
    WHOLE,
    any_bytes,
    arrow_bytes,
    arrow_tables,
    csv_files,
    damaged,
    good_rows,
    json_line,
    line_files,
    list_files,
    rows,
)

from nait_index.building.intake import Counts, Intake
from nait_index.building.known import Known, KnownRows
from nait_index.building.spool import Spool, WorkRow
from nait_index.corpus import make_template, read_corpus, read_rejected, rejected_writer
from nait_index.errors import NaitError
from nait_index.types import Rejected, RowFormat, Sample


@contextmanager
def corpus_file(name: str, data: bytes) -> Iterator[Path]:
    """Write a file into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def take_in(path: Path, row_format: RowFormat | None = None) -> tuple[Counts, list[Sample], list[WorkRow]] | None:
    """Read a file as a build does, and check what must hold of any; ``None`` where it is refused in one clear line."""
    COUNTED["files read"] += 1
    folder = path.parent / "staging"
    folder.mkdir()
    spool = Spool(folder / "rows.jsonl", seed=0)
    items: list[Sample | Rejected] = []

    def noted() -> Iterator[Sample | Rejected]:
        for item in read_corpus([path], row_format):
            items.append(item)
            yield item

    try:
        with rejected_writer(folder / "rejected.jsonl") as rejects, closing(KnownRows()) as known:
            counts = Intake(make_template("text"), known, 0).run(noted(), spool, rejects)
        rejected = list(read_rejected(folder / "rejected.jsonl"))
        work = [row for shard in spool.shards(2) for row in spool.read(shard)]
    except NaitError as error:
        message = str(error)
        assert message
        assert "\n" not in message
        message.encode()
        return None
    finally:
        spool.remove()
        (folder / "rejected.jsonl").unlink(missing_ok=True)
        assert list(path.parent.iterdir()) in ([path], [path, folder], [folder, path])
    samples = [item for item in items if isinstance(item, Sample)]
    assert counts.read == len(items) == counts.new + counts.present + counts.rejected
    assert rejected == [item for item in items if isinstance(item, Rejected)]
    assert all(row.reason for row in rejected)
    assert {row.id: (row.row, row.marked.text, row.content_hash) for row in work} == {
        sample.id: (sample.row, "\n".join(part.text for part in sample.parts), sample.content_hash)
        for sample in samples
    }
    assert len(work) == len(samples) == counts.new
    "".join(row.id + row.row + row.marked.text for row in work).encode()
    return counts, samples, work


@pytest.mark.parametrize("suffix", SUFFIXES)
@cases(20, 400)
@given(data=any_bytes)
def test_any_bytes_under_every_extension(suffix: str, data: bytes) -> None:
    with corpus_file(f"corpus{suffix}", data) as path:
        take_in(path)
    if suffix.endswith(".gz"):
        with corpus_file(f"corpus{suffix}", gzip.compress(data)) as path:
            take_in(path)


@pytest.mark.parametrize("form", WHOLE)
def test_good_files_are_read_whole(form: str) -> None:
    """Else the tests of damaged ones would tell nothing."""
    suffix, whole = WHOLE[form]
    with corpus_file(f"corpus{suffix}", whole) as path:
        taken = take_in(path)
        assert taken is not None
        assert (taken[0].read, taken[0].rejected) == (2 if form == "csv" else 5, 0)


@pytest.mark.parametrize("form", WHOLE)
@cases(60, 800)
@given(data=st.data())
def test_damaged_files(form: str, data: st.DataObject) -> None:
    suffix, whole = WHOLE[form]
    with corpus_file(f"corpus{suffix}", data.draw(damaged(whole))) as path:
        take_in(path)


@cases(100, 1500)
@given(data=line_files, row_format=st.none() | st.sampled_from([RowFormat.ALPACA, *RowFormat]))
@example(data=HOSTILE_LINES, row_format=None)
def test_lines_of_any_json_come_back_byte_for_byte(data: bytes, row_format: RowFormat | None) -> None:
    with corpus_file("corpus.jsonl", data) as path:
        taken = take_in(path, row_format)
        if taken is None:
            return
        counts, samples, _ = taken
        lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
        assert counts.read == sum(bool(line.strip()) for line in lines)
        assert [sample.row.encode() for sample in samples] == [lines[sample.origin.row - 1] for sample in samples]
        hand_over_lines(path.with_name("out.jsonl"), [sample.row for sample in samples])
        assert path.with_name("out.jsonl").read_bytes() == b"".join(
            lines[sample.origin.row - 1] + b"\n" for sample in samples
        )


@cases(60, 700)
@given(data=list_files, row_format=st.none() | st.sampled_from([RowFormat.ALPACA, *RowFormat]))
@example(data=b"[" + HOSTILE_LINES.replace(b"\n", b",") + b"]", row_format=None)
def test_lists_of_any_json(data: bytes, row_format: RowFormat | None) -> None:
    with corpus_file("corpus.json", data) as path:
        take_in(path, row_format)


@cases(60, 700)
@given(others=st.lists(rows, min_size=1, max_size=4), good=good_rows)
def test_a_list_keeps_every_value_of_a_row(others: list[dict[str, object]], good: dict[str, object]) -> None:
    data = json_line([good, *others]).encode()
    with corpus_file("corpus.json", data) as path:
        taken = take_in(path)
        if taken is not None:
            whole = json.loads(data)
            for sample in taken[1]:
                assert json_line(json.loads(sample.row)) == json_line(whole[sample.origin.row - 1])


@cases(60, 700)
@given(data=csv_files())
def test_csv_of_any_text(data: bytes) -> None:
    with corpus_file("corpus.csv", data) as path:
        take_in(path)


@pytest.mark.parametrize(("suffix", "form"), [(".parquet", "parquet"), (".arrow", "file"), (".arrow", "stream")])
@cases(40, 500)
@given(table=arrow_tables())
def test_tables_of_any_types(suffix: str, form: str, table: pa.Table) -> None:
    try:
        data = arrow_bytes(table, form)
    except (pa.ArrowException, ValueError):
        return  # a type that this kind of file cannot hold
    with corpus_file(f"corpus{suffix}", data) as path:
        take_in(path)


@cases(40, 500)
@given(rows=st.lists(good_rows, min_size=1, max_size=6, unique_by=repr), data=st.data())
def test_a_second_reading_finds_every_row_present(rows: list[dict[str, str]], data: st.DataObject) -> None:
    """Rows that an index knows are counted as present, whatever text is in them, and none is taken twice."""
    COUNTED["intakes"] += 1
    lines = "\n".join(json_line(row) for row in rows).encode()
    with corpus_file("corpus.jsonl", lines) as path:
        taken = take_in(path)
        if taken is None:
            return
        _, samples, _ = taken
        shuffled = enumerate(data.draw(st.permutations(samples)))
        rows_known = ((sample.id, Known(sample.content_hash, position)) for position, sample in shuffled)
        spool = Spool(path.parent / "rows.jsonl", seed=0)
        with rejected_writer(path.parent / "rejected.jsonl") as rejects, closing(KnownRows(rows_known)) as known:
            counts = Intake(make_template("text"), known, len(samples)).run(read_corpus([path]), spool, rejects)
        assert (counts.read, counts.new, counts.present) == (len(rows), 0, len(samples))
        assert counts.read == counts.present + counts.rejected
        spool.remove()


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz"] if LONG else [".jsonl"])
def test_a_row_of_ten_megabytes(suffix: str) -> None:
    long = "word 😀 " * (10 * 2**20 // 10)
    row = {"text": long}
    match suffix:
        case ".csv":
            data = f'text\n"{long}"\n'.encode()
        case ".parquet":
            data = arrow_bytes(pa.Table.from_pylist([row]), "parquet")
        case _:
            data = json.dumps(row, ensure_ascii=False).encode()
            data = b"[" + data + b"]" if suffix == ".json" else gzip.compress(data, 1) if ".gz" in suffix else data
    with corpus_file(f"corpus{suffix}", data) as path:
        taken = take_in(path)
        assert taken is not None
        assert taken[1][0].parts[0].text == long
