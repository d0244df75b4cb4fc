"""What is written: rows unchanged, files whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from nait_index.corpus import check_output, read_rejected, rejected_writer, write_json, write_rows
from nait_index.errors import NaitError, OutputExistsError
from nait_index.files import atomic_write
from nait_index.types import Origin, Rejected

ROWS = ['{ "b":1,"a" : "é\u2028\\ud800" }', '{"text": "x\\ny"}']


def names(folder: Path) -> list[str]:
    """List all that is in a folder, hidden files too."""
    return sorted(os.listdir(folder))


def test_rows_are_written_as_given(tmp_path: Path) -> None:
    """One row a line, in order, byte for byte."""
    path = tmp_path / "out.jsonl"
    assert write_rows(path, iter(ROWS)) == 2
    assert path.read_bytes() == "".join(f"{row}\n" for row in ROWS).encode()
    assert names(tmp_path) == ["out.jsonl"]


def test_a_row_over_several_lines_is_made_one(tmp_path: Path) -> None:
    """A line of JSON lines holds a whole row."""
    write_rows(tmp_path / "out.jsonl", ['{\n "a": "b\\nc"\n}'])
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"a": "b\\nc"}\n'


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    """Nothing is overwritten unasked."""
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match=r"out\.jsonl: exists already; overwrite it with --force"):
        write_rows(path, ROWS)
    with pytest.raises(OutputExistsError, match="--force"):
        write_json(path, {})
    assert path.read_text() == "mine"
    assert write_rows(path, ROWS, force=True) == 2
    assert path.read_text() != "mine"


def test_output_is_refused_before_rows_are_asked_for(tmp_path: Path) -> None:
    """Missing folder, unknown extension and a folder in the way are named, each with what to do."""
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(NaitError, match=r"no folder .*missing; create it first"):
        check_output(tmp_path / "missing" / "out.jsonl", force=False)
    with pytest.raises(NaitError, match=r"cannot write \.xlsx; use \.jsonl"):
        check_output(tmp_path / "out.xlsx", force=True)
    with pytest.raises(NaitError, match=r"cannot write a name without extension; use \.jsonl"):
        check_output(tmp_path / "out", force=True)
    with pytest.raises(OutputExistsError, match="a folder is there"):
        check_output(tmp_path / "folder.jsonl", force=True)


def test_sidecar(tmp_path: Path) -> None:
    """Sidecars are JSON for machines and people."""
    path = tmp_path / "out.jsonl.meta.json"
    write_json(path, {"method": "nait", "scores": [1.5], "name": "é"})
    assert json.loads(path.read_bytes()) == {"method": "nait", "scores": [1.5], "name": "é"}
    assert "é" in path.read_text("utf-8")
    assert path.read_text("utf-8").endswith("}\n")


def test_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """An error while rows are produced changes nothing on disk."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")

    def failing() -> object:
        yield ROWS[0]
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        write_rows(path, failing(), force=True)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.jsonl"]


def test_atomic_write_follows_the_umask(tmp_path: Path) -> None:
    """Others may read the file if the user lets them."""
    umask = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"x")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_atomic_write_explains_what_the_system_says(tmp_path: Path) -> None:
    """No traceback for a folder that is missing or a name that is too long."""
    with pytest.raises(NaitError, match="there is no folder"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(NaitError, match="not written: File name too long"), atomic_write(tmp_path / ("a" * 300)):
        pass
    assert names(tmp_path) == []


def test_rejected_rows_come_back(tmp_path: Path) -> None:
    """Whatever the row held, its line can be read again."""
    path = tmp_path / "rejected.jsonl"
    rejected = [Rejected(Origin("a.jsonl", 3), "not JSON", '{"a'), Rejected(Origin("stdin", 1), "no text", "\\xff é\n")]
    with rejected_writer(path) as writer:
        for row in rejected:
            writer.add(row)
    assert writer.count == 2
    assert list(read_rejected(path)) == rejected
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first == {"file": "a.jsonl", "row": 3, "reason": "not JSON", "content": '{"a'}


def test_rejected_rows_are_not_half_written(tmp_path: Path) -> None:
    """A run that fails leaves no rejected.jsonl."""
    with pytest.raises(RuntimeError), rejected_writer(tmp_path / "rejected.jsonl") as writer:  # noqa: PT012
        writer.add(Rejected(Origin("a", 1), "b", "c"))
        raise RuntimeError
    assert names(tmp_path) == []
