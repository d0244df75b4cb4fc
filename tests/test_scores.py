"""Scores as columns: they line up by id whatever fails, survive what comes after, and serve to filter and blend."""

import random
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, interrupt_call, manifest_of, nait_index, read_lines, refusal, samples_of, small_rows
from helpers import write_lines as write
from hypothesis import given
from hypothesis import strategies as st

from nait_index import NaitIndex
from nait_index.config import Device
from nait_index.errors import FingerprintError, IndexBusyError, NaitError, SelectionError, StoreError
from nait_index.quality.ifd import Ifd
from nait_index.quality.imported import Imported
from nait_index.quality.journal import Journal
from nait_index.quality.run import ScoreReport, score_index
from nait_index.quality.score import QualityRow, Score, Status
from nait_index.selection.blend import blend, parse_weights, relative_ranks
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable
from nait_index.store.scores import check_name, score_names

ROWS = 30


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build_small(folder / "own.nait", write(folder / "pool.jsonl", small_rows(ROWS)))
    return folder / "own.nait"


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "own.nait"))


def true_value(row_id: str) -> float:
    return int(row_id.removeprefix("row-")) / 100


class Stub:
    """Scores each row by the number in its id, in any order, and fails where it should."""

    def __init__(self, fails: Callable[[QualityRow], Status | None] = lambda row: None, **settings: Any) -> None:
        self.settings: Mapping[str, Any] = {"kind": "stub"} | settings
        self.seen: list[str] = []
        self._fails = fails

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        shuffled = list(rows)
        random.Random(3).shuffle(shuffled)
        for row in shuffled:
            self.seen.append(row.id)
            status = self._fails(row)
            yield Score.of(row, true_value(row.id)) if status is None else Score(row, None, status, "on purpose")


def run(root: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch, **options: Any) -> ScoreReport:
    monkeypatch.setattr(Ifd, "open", lambda spec, defaults: stub)
    return score_index(Layout(root), Ifd(), **({"name": "own"} | options))


def columns_of(root: Path, name: str = "own") -> dict[str, tuple[float | None, str | None]]:
    return {row_id: (row[name], row[f"{name}_status"]) for row_id, row in samples_of(root).items()}


def test_columns_line_up_by_id_under_any_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = samples_of(root)
    failing = {"row-003": Status.FAILED, "row-010": Status.NO_ANSWER, "row-029": Status.NOT_FINITE}
    report = run(root, Stub(lambda row: failing.get(row.id)), monkeypatch)
    expected = {
        row_id: (None, str(failing[row_id])) if row_id in failing else (true_value(row_id), "ok") for row_id in before
    }
    assert columns_of(root) == expected
    assert (report.computed, report.reused, report.rows) == (ROWS, 0, ROWS)
    assert report.statuses == {"ok": ROWS - 3, "failed": 1, "no_answer": 1, "not_finite": 1}
    after = samples_of(root)
    assert {row_id: {key: after[row_id][key] for key in before[row_id]} for row_id in before} == before
    again = Stub()
    report = run(root, again, monkeypatch)
    assert again.seen == ["row-003"]
    assert (report.computed, report.reused) == (1, ROWS - 1)
    assert columns_of(root) == expected | {"row-003": (true_value("row-003"), "ok")}


def test_a_finished_score_is_not_written_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, Stub(), monkeypatch)
    version = manifest_of(root).table_version
    assert run(root, Stub(), monkeypatch).computed == 0
    assert manifest_of(root).table_version == version


@pytest.mark.parametrize("place", ["add", "publish"])
def test_an_interrupted_run_goes_on_where_it_was(root: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    done = 7 if place == "add" else ROWS
    with monkeypatch.context() as patch:
        if place == "add":
            interrupt_call(patch, "nait_index.quality.journal.Journal.add", call=done, after=True)
        else:
            interrupt_call(patch, "nait_index.store.publish.save_manifest")
        with pytest.raises(KeyboardInterrupt):
            run(root, Stub(), monkeypatch)
    assert "own" not in next(iter(samples_of(root).values()))
    stub = Stub()
    assert run(root, stub, monkeypatch).reused == done
    assert len(stub.seen) == ROWS - done
    assert columns_of(root) == {row_id: (true_value(row_id), "ok") for row_id in samples_of(root)}


def test_a_run_interrupted_between_taking_old_columns_away_and_adding_new_ones_can_be_mended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root, Stub(), monkeypatch)
    import lance

    lance.dataset(str(Layout(root).samples)).drop_columns(["own", "own_status"])
    expected = columns_of(root)
    assert run(root, Stub(), monkeypatch).computed == 0
    assert score_names(SampleTable(Layout(root))) == ["own"]
    assert columns_of(root) == expected


def test_other_settings_are_refused_unless_forced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, Stub(weights="a"), monkeypatch)
    with pytest.raises(FingerprintError, match=r"another weights; .*--force"):
        run(root, Stub(weights="b"), monkeypatch)
    stub = Stub(lambda row: Status.NO_ANSWER if row.id == "row-000" else None, weights="b")
    assert run(root, stub, monkeypatch, force=True).computed == ROWS
    assert columns_of(root)["row-000"] == (None, "no_answer")
    assert run(root, Stub(weights="b"), monkeypatch).computed == 0


def test_nothing_to_show_for_it_is_an_error_and_no_column(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NaitError, match="no row could be scored, the first because: on purpose"):
        run(root, Stub(lambda row: Status.FAILED), monkeypatch)
    assert "own" not in next(iter(samples_of(root).values()))


def test_builds_append_after_scoring(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, Stub(), monkeypatch)
    more = write(tmp_path / "more.jsonl", small_rows(12, first=ROWS))
    build_small(root, more)
    expected = {f"row-{number:03}": (number / 100, "ok") for number in range(ROWS)}
    assert columns_of(root) == expected | {f"row-{number:03}": (None, None) for number in range(ROWS, ROWS + 12)}
    assert all(check.passed is not False for check in NaitIndex(root, device=Device.CPU).verify(4))
    stub = Stub()
    assert run(root, stub, monkeypatch).computed == 12
    assert columns_of(root) == {f"row-{number:03}": (number / 100, "ok") for number in range(ROWS + 12)}
    build_small(root, more)
    assert columns_of(root)["row-041"] == (0.41, "ok")


def test_filters_take_scores_and_queries_still_work(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = NaitIndex(root, device=Device.CPU)  # goes on seeing what it saw
    run(root, Stub(lambda row: Status.NO_ANSWER if row.id == "row-001" else None), monkeypatch, name="ifd")
    index = NaitIndex(root, device=Device.CPU)
    where = "ifd < 0.05 AND ifd_status = 'ok'"
    assert [row["id"] for row in index.rows(where=where)] == ["row-000", "row-002", "row-003", "row-004"]
    examples = write(tmp_path / "examples.jsonl", small_rows(4, first=100))
    assert set(index.query(index.make_capability(examples), top=4, where=where)) == {
        f"row-{number:03}" for number in (0, 2, 3, 4)
    }
    assert [row["id"] for row in index.rows(where="ifd IS NULL")] == ["row-001"]
    assert len(old.query(old.make_capability(examples), top=4)) == 4
    with pytest.raises(SelectionError, match=r"the names are .*ifd, ifd_status"):
        index.rows(where="idf < 1")


def test_two_scores_live_side_by_side(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, Stub(), monkeypatch, name="one")
    run(root, Stub(lambda row: Status.NO_ANSWER), monkeypatch, name="two")
    assert set(columns_of(root, "two").values()) == {(None, "no_answer")}
    assert columns_of(root, "one")["row-007"] == (0.07, "ok")


@pytest.mark.parametrize(
    "name",
    ["id", "row", "n_tokens", "pca_x", "topk_", "Ifd", "1st", "a b", "a;b", "", "order", "taken_status", "x" * 65],
)
def test_names_that_cannot_be_columns_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run(root, Stub(), monkeypatch, name="taken")
    with pytest.raises(NaitError, match="--name"):
        check_name(SampleTable(Layout(root)), name)


def test_a_score_of_a_row_that_changed_does_not_count(root: Path, tmp_path: Path) -> None:
    path, rows = tmp_path / "journal.jsonl", [QualityRow("a", "old", ()), QualityRow("b", "own", ())]
    with Journal(path, {}) as journal:
        journal.begin()
        for row in rows:
            journal.add(Score.of(row, 1.0))
    with Journal(path, {}) as journal:
        assert journal.is_done(rows[1].id, rows[1].content)
        assert not journal.is_done("a", "new")
        assert journal.entry("a", "new") is None


def test_a_damaged_journal_is_named_and_a_torn_line_forgiven(tmp_path: Path) -> None:
    path, row = tmp_path / "journal.jsonl", QualityRow("a", "", ())
    with Journal(path, {"kind": "x"}) as journal:
        journal.begin()
        journal.add(Score(row, None, Status.FAILED, "why not"))
        journal.add(Score.of(row, 0.25))
        with pytest.raises(IndexBusyError):
            Journal(path, {"kind": "x"})
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path, {"kind": "x"}) as journal:
            journal.begin()
            journal.add(Score.of(QualityRow("b", "", ()), 0.5))
        with Journal(path, {"kind": "x"}) as journal:
            assert journal.is_done("b", "")
    for line in (b"nonsense\n", b'{"id": "a"}\n', b"[1]\n", b'{"id":"a","value":1,"status":"fine","content":""}\n'):
        path.write_bytes(whole + line)
        with pytest.raises(StoreError, match="line 4: damaged"):
            Journal(path, {"kind": "x"})
    path.write_bytes(b"[]\n")
    with pytest.raises(StoreError, match="line 1: damaged"):
        Journal(path, {"kind": "x"})
    with Journal(path, {"kind": "x"}, force=True):
        pass
    assert path.read_bytes() == b"[]\n", "nothing is lost before the run begins"


def test_numbers_and_statuses_never_contradict_each_other() -> None:
    row = QualityRow("a", "", ())
    for value, status in ((3.0, Status.FAILED), (None, Status.OK)):
        with pytest.raises(ValueError, match="status"):
            Score(row, value, status)
    assert Score.of(row, float("inf")).status is Status.NOT_FINITE


def test_an_interrupted_build_is_finished_first(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = write(tmp_path / "more.jsonl", small_rows(12, first=ROWS))
    with monkeypatch.context() as patch:
        interrupt_call(patch, "nait_index.building.builder.publish_rows")
        with pytest.raises(KeyboardInterrupt):
            build_small(root, more)
    with pytest.raises(StoreError, match=r"a build of .* was interrupted"):
        run(root, Stub(), monkeypatch)


def test_ifd_through_the_command_line(root: Path, tmp_path: Path) -> None:
    report = nait_index("score", root, "ifd", "--device", "cpu", "--json").json
    assert report["statuses"]["ok"] + report["statuses"].get("short_answer", 0) == ROWS
    columns = columns_of(root, "ifd")
    assert all((value is None) == (status != "ok") for value, status in columns.values())
    message = refusal("score", root, "ifd", "--device", "cpu", "--max-length", "100")
    assert "another max_length" in message
    assert "taken" in refusal("score", root, "ifd", "--name", "n_tokens")
    assert "no model folder" in refusal("score", root, "ifd", "--model", tmp_path / "none", "--name", "other")
    assert "is not an index" in refusal("score", tmp_path, "ifd")


def test_selectit_through_the_command_line(root: Path) -> None:
    outcome = nait_index("score", root, "selectit", "--device", "cpu", "--name", "rating")
    assert outcome.code == 0, outcome.err
    assert "rating_status" in outcome.out
    assert all(value is not None and 0 <= value <= 5 for value, _ in columns_of(root, "rating").values())
    assert "--alpha" in refusal("score", root, "selectit", "--alpha", "-1", "--name", "other")


@pytest.mark.parametrize(
    "arguments", [(), ("x.nait", "ifd"), ("x.nait", "selectit"), ("x.nait", "judge"), ("x", "import")]
)
def test_every_level_has_help_with_an_example(arguments: tuple[str, ...]) -> None:
    outcome = nait_index("score", *arguments, "--help")
    assert outcome.code == 0
    assert "nait-index score alpaca.nait" in outcome.out
    assert "INDEX INDEX" not in outcome.out


# ---- imported scores -------------------------------------------------------------------------------------------------


def test_imported_scores_set_aside_what_they_cannot_use(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "Reward.csv"
    file.write_text(
        "value,note,id\n0.5,x,row-001\n0.7,x,nobody\nhigh,x,row-002\n0.6,x,row-001\nnan,x,row-004\n1,x,\n-2e3,,row-005\n"
    )
    outcome = nait_index("score", root, "import", file)
    assert outcome.code == 0, outcome.err
    assert "5 lines set aside" in outcome.err
    columns = columns_of(root, "reward")
    assert {row_id: value for row_id, value in columns.items() if value != (None, None)} == {
        "row-001": (0.5, "ok"),
        "row-005": (-2000.0, "ok"),
    }
    aside = read_lines(root / "scores" / "reward.rejected.jsonl")
    assert [(line["line"], line["id"]) for line in aside] == [
        (3, "nobody"), (4, "row-002"), (5, "row-001"), (6, "row-004"), (7, ""),
    ]  # fmt: skip
    assert "no row with this id" in aside[0]["reason"]
    file.write_text("id,value\nrow-001,0.9\n")
    assert "another file" in refusal("score", root, "import", file)
    assert nait_index("score", root, "import", file, "--force").code == 0
    assert columns_of(root, "reward")["row-001"] == (0.9, "ok")
    assert columns_of(root, "reward")["row-005"] == (None, None)


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        ("id,reward\nrow-000,0.5\n", None, 0.5),
        ("note,reward,id\nlow,0.5,row-000\n,high,row-001\n", None, 0.5),
        ("id,length,value\nrow-000,9,0.5\n", None, 0.5),
        ("id,length,reward\nrow-000,9,0.5\n", "reward", 0.5),
        ("id,value,reward\nrow-000,9,0.5\n", "reward", 0.5),
    ],
)
def test_the_column_of_imported_scores(text: str, column: str | None, value: float, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text)
    assert [score.value for score in Imported(file, column).score([QualityRow("row-000", "", ())])] == [value]
    with pytest.raises(NaitError, match="has no field 'none'; it has "):
        Imported(file, "none")


def test_imported_json_lines(root: Path, tmp_path: Path) -> None:
    lines = [{"id": "row-000", "value": 1}, {"id": "row-001", "value": True}, {"id": "row-002", "value": None}]
    report = score_index(Layout(root), Imported(write(tmp_path / "own.jsonl", [*lines, {"id": 7, "value": "0.25"}])))
    assert (report.name, report.set_aside, report.statuses) == ("own", 3, {"ok": 1})


def test_imported_lines_of_odd_json(root: Path, tmp_path: Path) -> None:
    """One nested too deep is refused by its line; half a surrogate pair is set aside in a file that can be read."""
    deep = write(tmp_path / "deep.jsonl", [{"id": "row-000", "value": 1}, "[" * 100_000])
    assert "deep.jsonl, line 2: not valid JSON" in refusal("score", root, "import", deep)
    odd = write(tmp_path / "odd.jsonl", [{"id": "row-000", "value": 1}, '{"id": "\\ud800", "value": 1}'])
    assert nait_index("score", root, "import", odd).code == 0
    assert [line["id"] for line in read_lines(root / "scores" / "odd.rejected.jsonl")] == ["\ud800"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "must name a column id"),
        ("a.csv", "score\n1\n", "must name a column id"),
        ("a.csv", "id,score,length\nx,1,2\n", "several fields hold numbers: score, length; choose one with --column"),
        ("a.csv", "id,note\nx,high\n", "no field beside id holds numbers; it has note"),
        ("a.csv", "id\nx\n", "it has only ids"),
        ("a.csv", "id,value\n", "holds no score"),
        ("a.csv", 'id,value\nx,"1\ny,2\nz,"3\n', "a.csv, line 2: not CSV: .*; look for a stray quote"),
        ("a.csv", 'id,value\nx,"1\ny,2\n', "line 2: not CSV: unexpected end of data; look for a stray quote"),
        ("a.csv", "id,value,value\nx,1,2\n", "has two columns named 'value'; rename one"),
        ("a.jsonl", "nonsense\n", "line 1: not valid JSON"),
        ("a.jsonl", '{"id": "x"}\n', "line 1: not an object"),
        ("a.txt", "x 1\n", "its name must end in .csv or .jsonl"),
    ],
)
def test_files_that_are_no_scores_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NaitError, match=message):
        Imported(tmp_path / name)
    with pytest.raises(NaitError, match="no such file"):
        Imported(tmp_path / "absent.csv")


# ---- blending --------------------------------------------------------------------------------------------------------


def naive_ranks(values: list[float]) -> list[float]:
    others = max(1, len(values) - 1)
    if len(values) == 1:
        return [1.0]
    return [
        sum((a > b) + 0.5 * (a == b) for b in values[:position] + values[position + 1 :]) / others
        for position, a in enumerate(values)
    ]


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0]), min_size=1, max_size=30))
def test_ranks_share_ties(values: list[float]) -> None:
    np.testing.assert_allclose(relative_ranks(np.array(values)), naive_ranks(values), atol=1e-12)


def test_blending_is_by_rank_and_leaves_out_what_lacks_a_score() -> None:
    nan = float("nan")
    method = np.array([0.9, 0.8, 0.1, 0.5, nan])
    columns = {"ifd": np.array([3.0, nan, 1.0, 2.0, 1.0]), "length": np.array([10.0, 1.0, 20.0, 30.0, 1.0])}
    blended = blend(method, columns, {"ifd": 0.25, "length": -0.5})
    assert np.isfinite(blended).tolist() == [True, False, True, True, False]
    np.testing.assert_allclose(
        blended,
        [0.25 * 1 + 0.25 * 1 + 0.5 * 1, nan, 0.25 * 0 + 0.25 * 0 + 0.5 * 0.5, 0.25 * 0.5 + 0.25 * 0.5 + 0.5 * 0, nan],
    )


def test_all_the_weight_may_be_on_the_columns() -> None:
    blended = blend(np.array([1.0, 2.0, 3.0]), {"q": np.array([3.0, 2.0, 1.0])}, {"q": 1.0})
    assert blended.tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("spec", ["ifd", "ifd=", "=0.3", "ifd=high", "ifd=0.3=2", "ifd:0.3", "", "ifd=nan", "ifd=0"])
def test_weights_of_another_form_are_refused(spec: str) -> None:
    with pytest.raises(SelectionError, match="--blend"):
        parse_weights([spec])


def test_weights_are_read_and_checked() -> None:
    assert parse_weights(["ifd=0.3", " length = -.5 "]) == {"ifd": 0.3, "length": -0.5}
    with pytest.raises(SelectionError, match="twice"):
        parse_weights(["ifd=0.3", "ifd=0.1"])
    with pytest.raises(SelectionError, match=r"add up to 1\.1"):
        parse_weights(["ifd=0.6", "length=-0.5"])
    with pytest.raises(SelectionError, match="no column idf; there are: ifd"):
        blend(np.ones(2), {"ifd": np.ones(2)}, {"idf": 0.5})
    with pytest.raises(SelectionError, match="no row has all"):
        blend(np.ones(2), {"ifd": np.full(2, np.nan)}, {"ifd": 0.5})


def test_answers_beyond_the_maximum_length_are_told_with_a_remedy() -> None:
    told = ScoreReport("ifd", 20, 20, 0, {"ok": 2, "answer_cut": 18}, 0, 1.0).warnings
    assert len(told) == 1
    assert told[0].startswith("18 of 20 rows (90%) have no score, since nothing of their answers is within the maximum")
    assert ScoreReport("ifd", 20, 20, 0, {"ok": 20}, 0, 1.0).warnings == []
