"""An index whose corpus changes: rows come and go, versions are named and read again, files are merged."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    build_small,
    engine_of,
    interrupt_call,
    manifest_of,
    nait_index,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    small_shards,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, Unanswered, View
from nait_index.errors import SelectionError, StoreError
from nait_index.methods import probe
from nait_index.store.dataset import files_of
from nait_index.store.engines import CELLS
from nait_index.store.integrity import Looks
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.publish import publish
from nait_index.store.samples import spread
from nait_index.types import RowFormat
from nait_index.upkeep.optimize import prepare_search

ROWS = 30


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


def _rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Make rows with extra fields: of one type, of several, nested, and missing in some rows."""
    rows = small_rows(count, first)
    for number, row in enumerate(rows, start=first):
        row |= {
            "source": "odd" if number % 2 else "even",
            "score": number / 2,
            "level": number if number % 3 else str(number),
        }
        row |= {
            "meta": {"lang": "de" if number % 5 else "en", "deep": {"at": number}},
            "Mixed Case": number,
            "file": "mine",
        }
        if number % 4 == 0:
            row["rare"] = True
    return rows


@pytest.fixture(scope="module")
def built(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    corpus = write_lines(root / "corpus.jsonl", _rows(ROWS))
    build_small(root / "own.nait", corpus, model=model)
    examples = write_lines(root / "examples.jsonl", small_rows(6, first=500))
    NaitIndex(root / "own.nait").add_capability("own", examples)
    return root


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built / "own.nait", tmp_path / "own.nait"))


@pytest.fixture
def more(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "more.jsonl", [*_rows(4, first=ROWS - 2), "no json"])


def _changed(tmp_path: Path) -> Path:
    """Write two known rows with other content, an unchanged one, and a new one."""
    rows = _rows(3)
    rows[0]["output"] = rows[1]["output"] = "Something else altogether."
    return write_lines(tmp_path / "changed.jsonl", [*rows, *_rows(1, first=ROWS)])


def _ids(index: Path, where: str) -> list[str]:
    return [row["id"] for row in NaitIndex(index).rows(where=where)]


# ---- adding -------------------------------------------------------------------------------------------------------


def test_what_is_new_is_added_with_the_settings_of_the_build(index: Path, more: Path, built: Path, model: Path) -> None:
    outcome = nait_index("add", index, more, "--json").json
    assert {name: outcome[name] for name in ("read", "indexed", "present", "rejected", "rows", "replaced")} == {
        "read": 5, "indexed": 2, "present": 2, "rejected": 1, "rows": ROWS + 2, "replaced": 0,
    }  # fmt: skip
    other = build_small(built / "other.nait", built / "corpus.jsonl", model=model)
    build_small(other.layout.root, more, model=model)
    assert samples_of(index) == samples_of(other.layout.root)
    assert read_lines(index / "rejected.jsonl")[0]["reason"].startswith("not JSON")
    assert "bundled" not in nait_index("add", index, more).err


def test_nothing_new_makes_no_new_version(index: Path, built: Path) -> None:
    before = manifest_of(index)
    assert nait_index("add", index, built / "corpus.jsonl", "--json").json["indexed"] == 0
    assert manifest_of(index).history == before.history


def test_the_same_id_with_another_content_is_an_error_that_changes_nothing(index: Path, tmp_path: Path) -> None:
    before = (index / "manifest.json").read_bytes()
    line = refusal("add", index, _changed(tmp_path))
    assert "'row-000'" in line
    assert "--replace" in line
    assert (index / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("verb", ["add", "build"])
def test_or_takes_the_place_of_the_old_one(verb: str, index: Path, tmp_path: Path, model: Path, built: Path) -> None:
    changed, old = _changed(tmp_path), NaitIndex(index)
    if verb == "add":
        report = NaitIndex.add(index, changed, replace=True).report
    else:
        report = build_small(index, changed, model=model, replace=True).report
    assert report is not None
    assert (report.read, report.indexed, report.present, report.replaced, report.rows) == (4, 3, 1, 2, ROWS + 1)
    rows = {row["id"]: row for row in NaitIndex(index).rows()}
    assert len(rows) == ROWS + 1
    assert "altogether" in rows["row-000"]["row"]
    assert "altogether" not in old.rows(["row-000"])[0]["row"], "who has it open goes on seeing what was there"
    # Replaced once, it is what is there.
    again = NaitIndex.add(index, changed, replace=True).report
    assert again is not None
    assert (again.indexed, again.replaced, again.present) == (0, 0, 4)
    whole = samples_of(index)
    alone = NaitIndex.add(shutil.copytree(built / "own.nait", tmp_path / "alone.nait"), changed, replace=True)
    assert {name: row["pca_unit"] for name, row in whole.items()} == {
        name: row["pca_unit"] for name, row in samples_of(alone.layout.root).items()
    }


@pytest.mark.parametrize(
    ("place", "call", "after"),
    [
        ("nait_index.store.samples.SampleTable.append", 1, True),
        ("nait_index.store.samples.SampleTable.delete", 1, False),
        ("nait_index.store.samples.SampleTable.delete", 1, True),
        ("nait_index.building.builder.publish_rows", 1, False),
        ("nait_index.store.publish.save_manifest", 1, False),
        ("nait_index.store.publish.save_manifest", 1, True),
    ],
)
def test_a_replacement_that_is_interrupted_goes_on(
    place: str, call: int, after: bool, index: Path, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(index, tmp_path / "whole.nait"))
    changed = _changed(tmp_path)
    NaitIndex.add(whole, changed, replace=True)
    before = samples_of(index)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, place, call=call, after=after)
        with pytest.raises(KeyboardInterrupt):
            NaitIndex.add(index, changed, replace=True)
    if (place, after) != ("nait_index.store.publish.save_manifest", True):
        assert samples_of(index) == before
    NaitIndex.add(index, changed, replace=True)
    assert samples_of(index) == samples_of(whole)
    changes = [[version["change"] for version in NaitIndex.versions(root)] for root in (index, whole)]
    assert changes[0] == changes[1]
    assert all(check.passed is not False for check in NaitIndex(index).verify(4))


def test_an_interrupted_addition_can_be_given_up(index: Path, more: Path) -> None:
    before, number = samples_of(index), manifest_of(index).version
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.building.builder.publish_rows")
        with pytest.raises(KeyboardInterrupt):
            NaitIndex.add(index, more)
    line = refusal("remove", index, "--where", "id = 'row-003'")
    assert "finish it" in line
    assert f"restore {index} {number}" in line
    assert nait_index("restore", index, str(number)).code == 0
    assert samples_of(index) == before
    assert nait_index("remove", index, "--where", "id = 'row-003'").code == 0
    assert samples_of(index).keys() == before.keys() - {"row-003"}


def test_an_addition_that_was_given_up_leaves_neither_its_rules_nor_its_rejects(words: Path) -> None:
    added = [{"instruction": "Name a river."}, {"nonsense": 1}]
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.building.commit.table_state")
        with pytest.raises(KeyboardInterrupt):
            NaitIndex.add(words, added, row_format=RowFormat.ALPACA, unanswered=Unanswered.INDEX)
    NaitIndex.restore(words, manifest_of(words).version)
    assert (NaitIndex(words).info()["rejected"], manifest_of(words).unanswered) == (0, "reject")
    report = NaitIndex.add(words, [*small_rows(1, first=60), {"instruction": "Name a lake."}]).report
    assert report is not None
    assert (report.indexed, report.rejected) == (1, 1)
    report = NaitIndex.add(words, added, row_format=RowFormat.ALPACA, unanswered=Unanswered.INDEX).report
    assert report is not None
    assert (report.indexed, report.rejected, manifest_of(words).unanswered) == (1, 1, "index")


def test_the_first_build_goes_on_by_its_rules(tmp_path: Path) -> None:
    root, signatures = tmp_path / "own.nait", SignatureConfig(views=(View.WORDS,))
    rows = [*small_rows(9), {"instruction": "Name a river.", "output": ""}]
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.building.builder.publish_rows")
        with pytest.raises(KeyboardInterrupt):
            NaitIndex.build(root, rows, signatures=signatures, unanswered=Unanswered.INDEX)
    assert len(NaitIndex.build(root, rows, signatures=signatures)) == 10


# ---- removing -----------------------------------------------------------------------------------------------------


def test_rows_are_removed_by_a_filter_or_by_their_ids(index: Path, tmp_path: Path) -> None:
    old = NaitIndex(index)
    assert nait_index("remove", index, "--where", "source = 'odd' AND n_tokens > 0", "--json").json == {
        "removed": 15, "rows": 15,
    }  # fmt: skip
    ids = tmp_path / "ids.txt"
    ids.write_text('row-000\n\n"row-002"\n', encoding="utf-8")
    assert nait_index("remove", index, "--ids", ids).code == 0
    left = {f"row-{number:03}" for number in range(4, ROWS, 2)}
    assert set(samples_of(index)) == left
    chosen = NaitIndex(index).query("own", top="100%")
    assert set(chosen.ids) == left
    assert len(old.query("own", top="100%")) == ROWS
    assert all(check.passed is not False for check in NaitIndex(index).verify(4))
    info = NaitIndex(index).info()
    assert info["rows"] == 13
    assert info["tokens"] == sum(row["n_tokens"] for row in samples_of(index).values())


def test_a_removed_row_comes_back_with_its_file(index: Path, built: Path) -> None:
    before = samples_of(index)
    NaitIndex(index).remove(["row-003", "row-029"])
    assert NaitIndex.add(index, built / "corpus.jsonl").report.indexed == 2  # type: ignore[union-attr]
    after = samples_of(index)
    assert after.keys() == before.keys()
    assert len({row["position"] for row in after.values()}) == ROWS
    assert {row["content_hash"] for row in after.values()} == {row["content_hash"] for row in before.values()}


@pytest.mark.parametrize(
    ("ids", "where", "message"),
    [
        (["row-003", "none"], None, "'none'"),
        (None, "n_tokens > 0", "all 30"),
        (None, "nonsense > 0", "nonsense"),
        (None, "n_tokens > 0; DROP TABLE samples", "';'"),
    ],
)
def test_what_cannot_be_removed_is_refused_and_nothing_is(
    ids: list[str] | None, where: str | None, message: str, index: Path
) -> None:
    before = (index / "manifest.json").read_bytes()
    with pytest.raises(SelectionError, match=message):
        NaitIndex(index).remove(ids, where=where)
    assert (index / "manifest.json").read_bytes() == before
    assert len(samples_of(index)) == ROWS


def test_a_removal_can_be_repeated(index: Path, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("row-003\nrow-004\n", encoding="utf-8")
    assert nait_index("remove", index, "--ids", ids, "--json").json == {"removed": 2, "rows": ROWS - 2}
    version = manifest_of(index).version
    for _ in range(2):
        again = nait_index("remove", index, "--ids", ids, "--json")
        assert (again.json, again.errors) == (
            {"removed": 0, "rows": ROWS - 2}, ["2 rows were removed before, the first with id 'row-003'"],
        )  # fmt: skip
        assert nait_index("optimize", index, "--keep-days", "0").code == 0  # no kept version has these rows then
    assert manifest_of(index).version - version <= 1  # of the files that were merged
    ids.write_text("row-004\nrow-005\n", encoding="utf-8")
    assert nait_index("remove", index, "--ids", ids, "--json").json == {"removed": 1, "rows": ROWS - 3}
    ids.write_text("row-004\nrow-04\n", encoding="utf-8")
    assert "no row with id 'row-04'" in refusal("remove", index, "--ids", ids)
    again = nait_index("remove", index, "--where", "id = 'row-003'", "--json")
    assert (again.json["removed"], again.errors) == (
        0, [f"--where 'id = 'row-003'' matches no row of {index}; nothing was removed"],
    )  # fmt: skip


def test_damage_to_the_list_of_removed_ids_is_named(index: Path) -> None:
    NaitIndex(index).remove(["row-003"])
    NaitIndex(index).remove(["row-005"])
    file = index / "removed.bin"
    data = bytearray(file.read_bytes())
    data[3] ^= 4
    file.write_bytes(data)
    for row_id in ("row-003", "row-006"):
        with pytest.raises(StoreError, match=r"removed\.bin is damaged"):
            NaitIndex(index).remove([row_id])
    assert len(samples_of(index)) == ROWS - 2
    file.unlink()
    NaitIndex(index).remove(["row-006"])
    with pytest.raises(SelectionError, match="no row with id 'row-003'"):
        NaitIndex(index).remove(["row-003"])


def test_what_was_done_before_can_be_done_again(index: Path, built: Path, tmp_path: Path) -> None:
    exported, version = tmp_path / "own.capability", manifest_of(index).version
    for _ in range(2):
        assert nait_index("capability", "export", index, "own", exported).code == 0
        assert nait_index("capability", "add", index, "own", built / "examples.jsonl").code == 0
        assert nait_index("capability", "import", index, exported).code == 0
        assert nait_index("restore", index, str(version)).code == 0
        assert nait_index("add", index, built / "corpus.jsonl").code == 0
    assert manifest_of(index).version == version
    for _ in range(2):
        outcome = nait_index("restore", index, "1")
        assert (outcome.code, manifest_of(index).version) == (0, version + 1)
    assert "version 1 is the newest already; nothing was changed" in outcome.errors
    for command in (["capability", "import", index, exported], ["capability", "remove", index, "own"]):
        assert nait_index(*command).code == 0
    again = nait_index("capability", "remove", index, "own")
    assert (again.code, again.errors[0]) == (0, "capability 'own' was removed before; nothing was changed")
    assert manifest_of(index).version == version + 3
    assert "no capability 'owm'" in refusal("capability", "remove", index, "owm")
    exported.write_bytes(b"mine")
    nait_index("capability", "add", index, "own", built / "examples.jsonl")
    assert "already exists" in refusal("capability", "export", index, "own", exported)


def test_an_interrupted_removal_has_not_happened(index: Path) -> None:
    before = samples_of(index)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.store.publish.save_manifest")
        with pytest.raises(KeyboardInterrupt):
            NaitIndex(index).remove(["row-003"])
    assert samples_of(index) == before
    NaitIndex(index).remove(["row-004"])
    assert samples_of(index).keys() == before.keys() - {"row-004"}


def test_ids_with_anything_in_them_are_removed_one_by_one(model: Path, tmp_path: Path) -> None:
    import json

    odd = ["a'b", "x' OR '1'='1", "line\nbreak", "../../etc", '"quoted"', "back`tick", "ünï", " space ", "%", "\\"]
    rows = [row | {"id": row_id} for row, row_id in zip(small_rows(len(odd)), odd, strict=True)]
    root = tmp_path / "own.nait"
    build_small(root, write_lines(tmp_path / "corpus.jsonl", [*rows, *small_rows(4, first=50)]), model=model)
    assert NaitIndex(root).rows(odd)[2]["id"] == "line\nbreak"
    ids = tmp_path / "ids.txt"
    for count, row_id in enumerate(odd, start=1):
        ids.write_text(json.dumps(row_id) + "\n", encoding="utf-8")
        assert nait_index("remove", root, "--ids", ids, "--json").json == {"removed": 1, "rows": 14 - count}
        assert row_id not in samples_of(root)


# ---- filters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("source = 'odd'", lambda number: number % 2),
        ("source = 'odd' AND n_tokens > 0 AND score < 5", lambda number: number % 2 and number < 10),
        ("score BETWEEN 2 AND 3", lambda number: 4 <= number <= 6),
        ("level = '6' OR level = '7'", lambda number: number in (6, 7)),
        ("meta.lang = 'en'", lambda number: number % 5 == 0),
        ("meta.deep.at >= 28", lambda number: number >= 28),
        ("rare", lambda number: number % 4 == 0),
        ("rare IS NULL", lambda number: number % 4),
        ("`Mixed Case` IN (3, 4)", lambda number: number in (3, 4)),
        ("fields.file = 'mine' AND fields.id < 'row-002'", lambda number: number < 2),
        ("file = 'mine'", lambda number: False),
        (
            "source LIKE 'o%' AND lower(source) = 'odd' AND output LIKE '1%'",
            lambda number: number in {3, 5, 7, 13, 15, 17},
        ),
        ("row LIKE '%\"score\": 1.5%'", lambda number: number == 3),
    ],
)  # fmt: skip
def test_a_filter_names_any_field_of_the_rows(where: str, wanted: Callable[[int], Any], built: Path) -> None:
    assert _ids(built / "own.nait", where) == [f"row-{number:03}" for number in range(ROWS) if wanted(number)]


def test_filters_by_fields_serve_every_verb(built: Path) -> None:
    index = NaitIndex(built / "own.nait")
    odd = {f"row-{number:03}" for number in range(1, ROWS, 2)}
    where = "source = 'odd'"
    assert set(index.query("own", top="100%", where=where).ids) == odd
    assert set(index.cover(top="100%", where=where).ids) == odd
    assert set(index.query("own", top="100%", where=where, method="random").ids) == odd


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("nonsense = 1", "nonsense"),
        ("meta.nonsense = 1", "nonsense"),
        ("n_tokns < 9", "No field named n_tokns; the names are"),
        ("n_tokns < 9", "; did you mean n_tokens?"),
        ("ifd_status = 'ok'", "'nait-index score INDEX ifd' creates that column"),
        ("source = ", "cannot be used"),
        ("source = 'odd", "cannot be used"),
        ("source = (SELECT 1)", "cannot be used"),
        ("read_csv('/etc/passwd') = source", "cannot call read_csv"),
        ("source = 'odd'; DELETE FROM samples", "';'"),
        ("(" * 60 + "1 = 1" + ")" * 60, "12 levels"),
        # What Lance is known to panic, crash, hang or run out of memory by.
        ("id = ?", "'?'"),
        ("id = $1", "'$'"),
        ("id = :x", "':'"),
        ("n_tokens::decimal(99,0) > 1", "':'"),
        ("CAST(n_tokens AS decimal(99,0)) > 1", "cannot call CAST"),
        ("array_resize([1], 9223372036854775807) = [1]", "cannot call array_resize"),
        ("n_tokens" + " +1" * 1000 + " > 0", "operators"),
        ("id " + "|| 'a'" * 1000 + " = 'x'", "'|'"),
        ("CAST(" * 100 + "1" + " AS INT)" * 100 + " = 1", "cannot call CAST"),
        ("lpad(id, 2147483647, 'x') = 'x'", "cannot call lpad"),
        ("array_repeat(1, 1000000000) = [1]", "cannot call array_repeat"),
        ("-" * 60 + "1 = 1", "operators"),
        ("NOT " * 2000 + "rare", "too many"),
        ("source = '" + "x" * 10_000 + "'", "10,000"),
        ("pca_unit IS NOT NULL", ""),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(where: str, message: str, built: Path) -> None:
    if message:
        assert message in refusal("rows", built / "own.nait", "--where", where)
    else:
        assert nait_index("rows", built / "own.nait", "--where", where).code == 0


# ---- what searches scan ---------------------------------------------------------------------------------------------


def _scanned(index: Path) -> dict[str, bytes]:
    """Search with every signature, and return the files that were scanned."""
    for method in ("contrast", "nait", "nait-drift", "probe-words"):
        assert nait_index("query", index, "-c", "own", "--top", "2", "--method", method).code == 0
    return {path.name: path.read_bytes() for path in engine_of(index).iterdir()}


def test_what_is_scanned_after_changes_is_what_would_be_made_anew(index: Path, more: Path, tmp_path: Path) -> None:
    changes: list[tuple[str | Path, ...]] = [
        ("add", index, more),
        ("add", index, _changed(tmp_path), "--replace"),
        ("remove", index, "--where", "source = 'even'"),
        ("restore", index, "2"),
        ("remove", index, "--where", "position = 3"),
        ("optimize", index),
    ]
    _scanned(index)
    for change in changes:
        assert nait_index(*change).code == 0, change
        renewed = _scanned(index)
        shutil.rmtree(index / "engine")
        assert renewed == _scanned(index), change
    assert len(renewed) == 4 * 4 + 1  # the files of four copies, and the classifier of the query


def test_what_was_added_is_in_every_sample_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spread(7, 7).tolist() == spread(7, 99).tolist() == list(range(7))
    assert spread(10, 4).tolist() == [0, 2, 5, 7]
    assert not len(spread(0, 5))

    monkeypatch.setattr(probe, "SAMPLE", 16)
    rows = small_rows(200)
    sums, words = rows[1::2], rows[::2]
    NaitIndex.build(tmp_path / "x.nait", sums[:60], signatures=SignatureConfig(views=(View.WORDS,)))
    index = NaitIndex.add(tmp_path / "x.nait", words)
    index.add_capability("sums", sums[80:90])
    chosen = index.query("sums", top=50)
    assert {int(sample_id.removeprefix("row-")) % 2 for sample_id in chosen.ids} == {1}


# ---- versions -----------------------------------------------------------------------------------------------------


def _chosen(index: Path, out: Path, *options: str) -> tuple[bytes, dict[str, Any]]:
    """Choose, and return the rows and the sidecar, without the command, which says where they are read from."""
    outcome = nait_index("query", index, "-c", "own", "--top", "40%", "-o", out, "--force", *options)
    assert outcome.code == 0, outcome.err
    sidecar = json.loads(out.with_name(out.name + ".meta.json").read_bytes())
    assert sidecar.pop("command").startswith("nait-index query ")
    return out.read_bytes(), sidecar


def test_a_selection_can_be_made_again_byte_for_byte(index: Path, more: Path, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    wanted = _chosen(index, out)
    number = manifest_of(index).version
    assert nait_index("tag", index, "paper").code == 0
    other = write_lines(tmp_path / "other.jsonl", small_rows(5, first=900))
    changes: list[tuple[str | Path, ...]] = [
        ("add", index, more),
        ("capability", "add", index, "own", other, "--force"),
        ("add", index, _changed(tmp_path), "--replace"),
        ("remove", index, "--where", "source = 'even'"),
        ("score", index, "import", write_lines(tmp_path / "s.jsonl", [{"id": "row-001", "value": 1}]), "--name", "own"),
        ("capability", "remove", index, "own"),
        ("optimize", index, "--keep-days", "0"),
    ]
    for change in changes:
        assert nait_index(*change).code == 0, change
        assert _chosen(index, out, "--at", "paper") == wanted, change
        assert _chosen(index, out, "--at", str(number)) == wanted, change
    assert nait_index("capability", "list", index, "--json").json == []
    assert [
        capability["name"] for capability in nait_index("capability", "list", index, "--at", "paper", "--json").json
    ] == ["own"]
    assert len(nait_index("rows", index, "--at", "paper", "--limit", "99", "--json").out.splitlines()) == ROWS
    assert nait_index("info", index, "--at", "paper", "--json").json["rows"] == ROWS
    assert nait_index("verify", index, "--at", "paper").code == 0
    assert nait_index("restore", index, "paper").code == 0
    restored = _chosen(index, out)
    assert restored[0] == wanted[0]


def test_versions_are_listed_with_what_made_them(index: Path, more: Path) -> None:
    nait_index("add", index, more)
    nait_index("remove", index, "--where", "id = 'row-001'")
    nait_index("tag", index, "last")
    nait_index("tag", index, "first", "--at", "1")
    versions = nait_index("versions", index, "--json").json
    assert [(version["version"], version["rows"], version["tags"]) for version in versions] == [
        (1, ROWS, ["first"]), (2, ROWS, []), (3, ROWS + 2, []), (4, ROWS + 1, ["last"]),
    ]  # fmt: skip
    assert [version["change"] for version in versions] == [
        "30 rows added", "capability 'own' stored", "2 rows added", "1 row removed",
    ]  # fmt: skip
    assert nait_index("versions", index).out.count("\n") == 5


def test_tags_are_kept_moved_and_forgotten(index: Path) -> None:
    opened = NaitIndex(index)
    assert opened.tag("a.b-1") == 2
    assert NaitIndex(index, version=1).tag("other") == 1
    with pytest.raises(StoreError, match="--force"):
        NaitIndex(index, version=1).tag("a.b-1")
    assert NaitIndex(index, version=1).tag("a.b-1", force=True) == 1
    opened.remove_tag("other")
    assert manifest_of(index).tags == {"a.b-1": 1}
    opened.remove_tag("other")  # repeated, as after a kill that came too late
    with pytest.raises(StoreError, match=r"no tag 'others'; it has a\.b-1"):
        opened.remove_tag("others")
    for name in ("1", "", "-x", "a b", "../x", "ü", "x" * 65):
        with pytest.raises(StoreError, match="cannot be a tag"):
            opened.tag(name)


@pytest.mark.parametrize("wanted", ["9", "0", "-1", "nonsense", "1.0", ""])
def test_a_version_that_is_not_there_is_refused(wanted: str, index: Path) -> None:
    assert "it has 1, 2" in refusal("info", index, "--at", wanted)
    assert "it has 1, 2" in refusal("restore", "--", index, wanted)


def test_an_old_version_is_not_changed(index: Path, more: Path) -> None:
    old = NaitIndex(index, version=1)
    for change in (lambda: old.remove(["row-001"]), lambda: old.add_capability("x", more)):
        with pytest.raises(StoreError, match="old versions are not changed"):
            change()


def test_what_was_restored_is_as_it_was(index: Path, more: Path) -> None:
    before = samples_of(index)
    nait_index("add", index, more)
    grown = samples_of(index)
    assert nait_index("restore", index, "2").code == 0
    assert samples_of(index) == before
    assert NaitIndex(index, version=3).manifest.rows == len(grown)
    report = NaitIndex.add(index, more).report
    assert report is not None
    assert report.indexed == 2
    assert {row_id: row["pca_unit"] for row_id, row in samples_of(index).items()} == {
        row_id: row["pca_unit"] for row_id, row in grown.items()
    }


# ---- optimising ---------------------------------------------------------------------------------------------------


def test_files_are_merged_and_old_versions_forgotten(index: Path, tmp_path: Path) -> None:
    for number in range(3):
        NaitIndex.add(index, write_lines(tmp_path / f"{number}.jsonl", small_rows(2, first=100 + 2 * number)))
    NaitIndex(index, version=3).tag("kept")
    before = samples_of(index)
    done = nait_index("optimize", index, "--keep-days", "0", "--json").json
    assert done["fragments"][1] == 1 < done["fragments"][0]
    assert (done["forgotten"], done["kept"], done["in_use"]) == (4, 2, False)
    assert min(done["size"]) > 0
    assert samples_of(index) == before
    assert [version["version"] for version in NaitIndex.versions(index)] == [3, 6]
    assert len(NaitIndex(index, version="kept")) == ROWS + 2
    assert all(check.passed is not False for check in NaitIndex(index).verify(4))
    told = nait_index("optimize", index, "--keep-days", "0")
    assert re.search(
        r"\nversions deleted +0\nversions kept +2\nbytes on disk +[\d,]+ before, [\d,]+ now$", told.out, re.M
    )
    again = nait_index("optimize", index, "--keep-days", "0", "--json").json
    assert (again["forgotten"], again["fragments"]) == (0, [1, 1])


def test_recent_versions_are_kept_unless_told_otherwise(index: Path, more: Path) -> None:
    NaitIndex.add(index, more)
    assert "the index grew: versions that are kept still need" in nait_index("optimize", index).err
    assert nait_index("optimize", index, "--json").json["forgotten"] == 0
    for days in ("-1", "nan", "inf", "1e9"):
        assert "--keep-days must be" in refusal("optimize", index, "--keep-days", days)


def test_a_reader_is_never_disturbed(index: Path, more: Path) -> None:
    reader = NaitIndex(index)  # nothing but the manifest was read so far
    NaitIndex.add(index, more)
    done = NaitIndex(index).optimize(keep_days=0)
    assert done.in_use
    assert done.forgotten == 0
    assert set(reader.query("own", top="100%").ids) == {f"row-{number:03}" for number in range(ROWS)}
    assert len(reader.rows()) == ROWS
    del reader
    assert NaitIndex(index).optimize(keep_days=0).forgotten > 0


# ---- another kind of rows, and a new basis ---------------------------------------------------------------------------


def _vague(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        {"id": f"vague-{number}", "text": " ".join(chr(int(code)) * 3 for code in rng.integers(0x4E00, 0x9FFF, 12))}
        for number in range(count)
    ]


def test_a_shift_is_measured_and_said(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    with small_shards():
        build_small(root, write_lines(tmp_path / "corpus.jsonl", small_rows(64)), model=model)
        same = NaitIndex.add(root, write_lines(tmp_path / "same.jsonl", small_rows(32, first=64))).report
        other = NaitIndex.add(root, write_lines(tmp_path / "other.jsonl", _vague(32))).report
    assert same is not None
    assert other is not None
    assert same.shift is not None
    assert other.shift is not None
    assert same.shift.first == other.shift.first
    assert other.shift.new > 1.5 * other.shift.first > same.shift.new
    assert not [warning for warning in same.warnings if "shifted" in warning]
    assert "rebuild" in next(warning for warning in other.warnings if "shifted" in warning)


def test_where_the_fit_has_seen_all_first_rows_no_shift_is_said(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    fitted = small_signatures(reservoir=4096)
    build_small(root, write_lines(tmp_path / "corpus.jsonl", small_rows(64)), model=model, signatures=fitted)
    done = NaitIndex.add(root, write_lines(tmp_path / "other.jsonl", _vague(32))).report
    assert done is not None
    assert done.shift is None
    assert not [warning for warning in done.warnings if "shifted" in warning]


def test_a_shift_is_the_share_that_signatures_leave_out(model: Path, tmp_path: Path) -> None:
    """Against the definition: the unit vectors themselves, and what their projection leaves of them."""
    from nait_index.building.basis import measure_shift
    from nait_index.signatures.features import Feature, feature_blocks

    root = tmp_path / "own.nait"
    build_small(root, write_lines(tmp_path / "corpus.jsonl", small_rows(64)), model=model)
    opened = NaitIndex(root)
    shift = measure_shift(opened._table, opened._compressor, 0, 32, 32)
    assert shift is not None
    examples = opened.make_capability(tmp_path / "corpus.jsonl")
    assert examples.pooled is not None
    blocks = feature_blocks(examples.pooled, opened._compressor.center, Feature.UNIT, opened._compressor.widths)
    vectors = np.concatenate(list(blocks), axis=1)
    spanned = vectors @ opened._compressor.components(Feature.UNIT).T
    left = ((vectors - spanned @ opened._compressor.components(Feature.UNIT)) ** 2).sum(axis=1)
    assert shift.new == pytest.approx(left[32:].mean(), abs=0.01)
    assert shift.first == pytest.approx(left[:32].mean(), abs=0.01)


def test_a_rebuild_is_a_build_of_the_rows_that_are_there(index: Path, more: Path, model: Path, tmp_path: Path) -> None:
    NaitIndex.add(index, more)
    NaitIndex(index).remove(["row-003"])
    scores = write_lines(tmp_path / "s.jsonl", [{"id": "row-001", "value": 7}])
    assert nait_index("score", index, "import", scores, "--name", "own").code == 0
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file() and "engine" not in path.parts}
    new = tmp_path / "new.nait"
    with small_shards():
        assert nait_index("rebuild", index, new).code == 0
    left = [row for row in _rows(ROWS + 2) if row["id"] != "row-003"]
    plain = build_small(tmp_path / "plain.nait", write_lines(tmp_path / "left.jsonl", left), model=model)
    signatures = {row_id: row["pca_unit"] for row_id, row in samples_of(plain.layout.root).items()}
    rebuilt = samples_of(new)
    assert {row_id: row["pca_unit"] for row_id, row in rebuilt.items()} == signatures
    assert {row_id: row["row"] for row_id, row in rebuilt.items()} == {
        row_id: row["row"] for row_id, row in samples_of(index).items()
    }
    assert (rebuilt["row-001"]["own"], rebuilt["row-002"]["own"]) == (7, None)
    assert len(NaitIndex(new).query("own", top=3)) == 3
    assert {path: path.read_bytes() for path in before} == before
    assert [version["change"] for version in NaitIndex.versions(new)] == [f"{ROWS + 1} rows added"]
    again = nait_index("rebuild", index, new, "--json")
    assert (again.json["indexed"], again.json["rows"], manifest_of(new).version) == (0, ROWS + 1, 1)
    assert f"{new} is a finished rebuild already; nothing was changed" in again.errors
    assert nait_index("verify", new).code == 0
    NaitIndex(index).remove(["row-004"])
    assert "already holds a finished index" in refusal("rebuild", index, new)


REBUILD_STEPS = [
    ("building.builder.Builder._take_in", False),
    ("building.builder.save_compressor", True),
    ("store.capabilities.CapabilityTable.put", True),
    ("store.publish.save_manifest", False),
]


@pytest.mark.parametrize(("step", "after"), REBUILD_STEPS)
def test_an_interrupted_rebuild_is_finished_by_the_same_command_alone(
    step: str, after: bool, index: Path, model: Path, built: Path, tmp_path: Path
) -> None:
    scores, new = write_lines(tmp_path / "s.jsonl", [{"id": "row-001", "value": 7}]), tmp_path / "a new.nait"
    assert nait_index("score", index, "import", scores, "--name", "own").code == 0
    with small_shards():
        NaitIndex(index).rebuild(tmp_path / "whole.nait")
        with pytest.MonkeyPatch.context() as patch:
            interrupt_call(patch, f"nait_index.{step}", after=after)
            with pytest.raises(KeyboardInterrupt):
                NaitIndex(index).rebuild(new)
        for command in (
            ["info", new], ["query", new, "-c", "own"], ["verify", new], ["add", new, scores], ["optimize", new],
            ["versions", new], ["tag", new, "x"], ["restore", new, "1"], ["remove", new, "--where", "own = 7"],
            ["score", new, "import", scores], ["capability", "add", new, "x", built / "examples.jsonl"],
            ["build", new, built / "corpus.jsonl", "--model", model], ["rebuild", new, tmp_path / "other.nait"],
        ):  # fmt: skip
            line = refusal(*command)
            assert f"the rebuild of {new} was interrupted" in line, command
            assert f"'nait-index rebuild {index} '{new}''" in line, command
        line = refusal("rebuild", index, new, "--at", "1")
        assert f"holds a rebuild of version {manifest_of(index).version} of {index} that was interrupted" in line
        assert nait_index("rebuild", index, new).code == 0
    assert samples_of(new) == samples_of(tmp_path / "whole.nait")
    assert manifest_of(new).version == 1
    assert manifest_of(new).head.capability_names == ("own",)
    chosen = [NaitIndex(root).query("own", top=5) for root in (new, tmp_path / "whole.nait")]
    assert (chosen[0].ids, chosen[0].scores) == (chosen[1].ids, chosen[1].scores)
    assert NaitIndex(new).rows(where="own = 7")[0]["id"] == "row-001"
    assert not (new / "staging").exists()


def test_a_rebuild_does_not_finish_a_build(index: Path, built: Path, model: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.building.builder.publish_rows")
        with pytest.raises(KeyboardInterrupt):
            build_small(new, built / "corpus.jsonl", model=model)
    assert "holds a build that was interrupted" in refusal("rebuild", index, new)
    build_small(new, built / "corpus.jsonl", model=model)
    assert samples_of(new).keys() == samples_of(index).keys()


def test_a_damaged_version_is_left_for_an_older_one(index: Path, more: Path) -> None:
    before = samples_of(index)
    old = set((index / "lance" / "samples.lance" / "data").iterdir())
    NaitIndex.add(index, more)
    new = next(iter(set((index / "lance" / "samples.lance" / "data").iterdir()) - old))
    data = bytearray(new.read_bytes())
    data[len(data) // 3] ^= 1
    new.write_bytes(data)
    line = refusal("query", index, "-c", "own")
    assert f"{new} is damaged" in line
    assert "nait-index versions" in line
    assert len(nait_index("versions", index, "--json").json) == 3
    assert str(new) in refusal("restore", index, "3")
    assert nait_index("restore", index, "2").code == 0
    assert samples_of(index) == before


# ---- one object through changes -------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Return an index of the view words, with a capability."""
    root = tmp_path / "words.nait"
    built = NaitIndex.build(root, small_rows(60), signatures=SignatureConfig(views=(View.WORDS,)))
    built.add_capability("sums", small_rows(12, first=100)[1::2])
    return root


def test_an_object_goes_on_after_it_was_optimised(words: Path) -> None:
    index = NaitIndex.add(words, small_rows(20, first=60))
    index.query("sums", top=5)
    assert index.optimize(keep_days=0).forgotten > 0
    assert len(index.query("sums", top="100%").ids) == 80
    assert index.manifest.version == NaitIndex(words).manifest.version
    number = index.manifest.version
    del index
    named = NaitIndex(words, version=number)
    NaitIndex.add(words, small_rows(20, first=80))
    NaitIndex.add(words, small_rows(20, first=100))
    assert named.optimize(keep_days=0).forgotten > 0
    assert named.manifest.version == number
    assert len(named.query("sums", top="100%").ids) == 80
    assert NaitIndex(words, version=number).manifest.rows == 80


@pytest.mark.parametrize("by", ["another", "the same"])
def test_rows_that_were_chosen_can_be_read_after_the_index_was_optimised(by: str, words: Path, tmp_path: Path) -> None:
    index: NaitIndex | None = NaitIndex(words)
    assert index is not None
    sums = index.make_capability_from(small_rows(12, first=100)[1::2])  # which keeps what was made of it, but no rows
    chosen = index.query(sums, top=5)
    rows = chosen.rows()
    NaitIndex.add(words, small_rows(20, first=60))
    if by == "another":
        index = None
    done = (index or NaitIndex(words)).optimize(keep_days=0)
    assert (done.forgotten, done.in_use) == (0, True)
    chosen.write(tmp_path / "chosen.jsonl")
    assert (tmp_path / "chosen.jsonl").read_text().splitlines() == rows
    del chosen
    assert (index or NaitIndex(words)).optimize(keep_days=0).forgotten > 0


def test_what_is_optimised_after_its_settings_changed_goes_on_with_the_new_ones(words: Path) -> None:
    index, layout = NaitIndex(words), Layout(words)
    given = small_rows(12, first=100)[1::2]
    before = index.make_capability_from(given)
    with write_lock(layout):  # as another process that adds landmarks
        fingerprint = index.manifest.fingerprint
        signatures = replace(fingerprint.signatures, reservoir=7)
        earlier = (*index.manifest.earlier_fingerprints, fingerprint.digest)
        changed = replace(fingerprint, signatures=signatures)
        publish(layout, replace(index.manifest, fingerprint=changed, earlier_fingerprints=earlier), "changed")
    columns = index.columns
    index.optimize()
    assert index.columns is not columns
    after = index.make_capability_from(given)
    assert before.made_for != after.made_for == index.manifest.state
    index.store_capability(after, "more")
    assert len(index.query("more", top=5)) == 5


def test_what_stores_a_capability_goes_on_with_the_version_that_has_it(words: Path) -> None:
    index = NaitIndex(words)
    index.query("sums", top=5)
    NaitIndex(words).remove(["row-001", "row-003"])
    index.add_capability("talk", small_rows(12, first=100)[::2])
    chosen = index.query("talk", top="100%")
    assert (len(index), len(chosen.ids)) == (58, 58)
    again = NaitIndex(words, version=chosen.provenance.version)
    assert again.query("talk", top="100%").ids == chosen.ids


def test_a_capability_is_removed_twice_by_one_object(words: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = NaitIndex(words)
    index.remove_capability("sums")
    index.remove_capability("sums")
    assert "was removed before" in caplog.text
    assert index.capabilities() == []


def test_every_file_of_every_version_is_verified(words: Path) -> None:
    index = NaitIndex.add(words, small_rows(20, first=60))
    older = _files(index)
    index.optimize()
    file = next(path for path in older if path.suffix == ".lance" and path not in _files(index))
    assert all(check.passed is not False for check in NaitIndex(words).verify())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Looks, "same", lambda *_: True)  # as of a bit that flips on the disk
        (check,) = [check for check in NaitIndex(words).verify() if check.name == "versions"]
    assert not check.passed
    assert file.name in check.detail


def _files(index: NaitIndex) -> list[Path]:
    return files_of(index.layout.samples, index._table._dataset())


def test_an_approximate_search_lives_on(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("nait_index.search.approximate._LEAST_ROWS", 50)
    NaitIndex.build(words, small_rows(60), approximate=True)
    rebuilt = NaitIndex(words).rebuild(tmp_path / "rebuilt.nait")
    for index in (NaitIndex(words), rebuilt):
        assert "approximate: " in str(index.query("sums", top=3, search="approximate").provenance.plan)
    (check,) = [check for check in rebuilt.verify() if check.name.startswith("approximate")]
    assert check.passed, check
    stamp = next(rebuilt.layout.engine(rebuilt._table.version).glob(f"*{CELLS[0]}"))
    order = stamp.with_name(stamp.name.removesuffix(CELLS[0]) + ".order.npy")
    data = bytearray(order.read_bytes())
    data[-8:] = data[-16:-8]
    order.write_bytes(data)
    (check,) = [check for check in NaitIndex(rebuilt.layout.root).verify() if check.name.startswith("approximate")]
    assert not check.passed
    assert not caplog.records
    # Too few rows for one: no command fails for that.
    NaitIndex(words).remove(where="position >= 40")
    assert nait_index("optimize", words).code == 0
    assert "exact, since it has no approximate one: approximate search needs at least 50 rows" in caplog.text
    assert nait_index("add", words, write_lines(tmp_path / "more.jsonl", small_rows(5, first=200))).code == 0
    assert "exact scan" in str(NaitIndex(words).query("sums", top=3, search="approximate").provenance.plan)
    assert NaitIndex.add(words, small_rows(20, first=300)).query("sums", top=3, search="approximate").provenance.plan


def test_an_approximate_search_is_prepared_while_another_process_writes(
    words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nait_index.search.approximate._LEAST_ROWS", 50)
    NaitIndex.build(words, small_rows(60), approximate=True)
    index = NaitIndex.add(words, small_rows(20, first=60))
    with write_lock(index.layout):
        prepare_search(index.layout, index.manifest, index.columns)
