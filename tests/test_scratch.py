"""What a build keeps on disk so that its memory does not grow: ids, what is known about rows, the order of encoding."""

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from nait_index.building.known import Known, KnownRows
from nait_index.building.spool import Spool, WorkRow
from nait_index.corpus import read_corpus
from nait_index.errors import NaitError
from nait_index.scratch import Scratch, release_pages, scratch_array
from nait_index.types import MarkedText, Origin, Rejected, RowFormat


@pytest.fixture
def known() -> Iterator[KnownRows]:
    """Know four rows, one of which takes the place of another, and is listed first."""
    rows = [("b", Known("new", 7)), ("a", Known("x", 0)), ("b", Known("old", 1)), ("c", Known("y", 5))]
    with closing(KnownRows(rows)) as known:
        yield known


def test_of_a_row_and_the_one_that_replaces_it_the_later_counts(known: KnownRows) -> None:
    assert [known.get(name) for name in "abcd"] == [Known("x", 0), Known("new", 7), Known("y", 5), None]
    assert list(known.superseded()) == [1]
    assert known.has_repeats()
    with closing(KnownRows([("a", Known("x", 0)), ("b", Known("x", 1))])) as others:
        assert not others.has_repeats()
        assert list(others.superseded()) == []


def test_rows_that_were_not_read_again_are_counted(known: KnownRows) -> None:
    assert (known.count_unmet(5), known.last_unmet(5)) == (2, 7)
    known.meet("b", 7)
    assert (known.count_unmet(5), known.last_unmet(5)) == (1, 5)
    known.meet("c", 5)
    assert (known.count_unmet(5), known.last_unmet(5)) == (0, -1)
    assert (known.count_unmet(1), known.last_unmet(1)) == (1, 1)
    assert (known.end(3), known.end(9)) == (8, 9)


def test_ids_that_exceed_the_cache_are_told_apart_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nait_index.scratch._CACHE_KIB", 4)
    rows = [{"id": str(number), "text": "word"} for number in (*range(3000), 17, 2999)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    reasons = [item.reason for item in read_corpus([path]) if isinstance(item, Rejected)]
    assert reasons == [
        f"duplicate id '17', first seen at {path}, row 18",
        f"duplicate id '2999', first seen at {path}, row 3000",
    ]


def test_a_full_folder_for_temporary_files_is_told_in_one_line() -> None:
    with closing(Scratch("CREATE TABLE texts (text TEXT)")) as scratch:
        scratch.change("PRAGMA max_page_count = 4")
        with pytest.raises(NaitError, match=r"full; .*TMPDIR") as refused:
            scratch.change_all("INSERT INTO texts VALUES (?)", [["x" * 4000]] * 9)
    assert "\n" not in str(refused.value)


def test_shards_are_read_from_disk_in_parts_and_rows_that_are_done_keep_their_slots(tmp_path: Path) -> None:
    names = [f"row-{number}" for number in range(23)]
    with closing(_Spools(tmp_path)) as spools:
        whole = spools.make(names, done=())
        order = [name for shard in whole.shards(4) for name in _ids(whole, shard)]
        assert sorted(order) == sorted(names)
        assert order != names
        done = {*order[4:8], order[9], order[22]}
        spool = spools.make(names, done)
        shards = spool.shards(4)
        left = [[name for name in order[start : start + 4] if name not in done] for start in range(0, 23, 4)]
        left = [shard for shard in left if shard]
        assert [_ids(spool, shard) for shard in shards] == left
        assert [[row.id for row in spool.read(shard)] for shard in shards[1:3]] == left[1:3]
        assert (len(shards), shards.rows) == (len(left), 17)
        assert (len(shards[2:]), shards[2:].rows) == (len(left) - 2, sum(map(len, left[2:])))
        assert (len(shards[9:]), _ids(spool, shards[-1])) == (0, left[-1])


def test_an_array_on_disk_holds_what_is_written_when_its_pages_are_gone() -> None:
    array = scratch_array((3, 5000), np.dtype(np.float16))
    assert not array.any()
    array[1] = np.arange(5000) % 100
    release_pages(array)
    assert array.tolist() == [[0] * 5000, (np.arange(5000) % 100).tolist(), [0] * 5000]


def test_an_array_that_the_disk_has_no_room_for_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(NaitError, match="No space left on device; make room in their folder, or set TMPDIR"):
        scratch_array((3, 5), np.dtype(np.float32))


def _ids(spool: Spool, shard: Sequence[int]) -> list[str]:
    return [json.loads(f"[{identity}]")[0] for identity in spool.identities(shard)]


class _Spools:
    """Spools of made-up rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Spool] = []

    def make(self, names: list[str], done: "set[str] | tuple[()]") -> Spool:
        folder = self._folder / str(len(self._made))
        folder.mkdir()
        spool = Spool(folder / "rows.jsonl", seed=3)
        self._made.append(spool)
        for number, name in enumerate(names):
            if name in done:
                spool.mark_done(name)
            else:
                origin, text = Origin("rows.jsonl", number), MarkedText("text", ())
                spool.add(WorkRow(name, "{}", RowFormat.TEXT, "0", origin, number, text, ""))
        return spool

    def close(self) -> None:
        for spool in self._made:
            spool.remove()
