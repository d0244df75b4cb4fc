"""Approximate search: what it finds beside the exact scan, when it is taken, and what the plan says of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import nait_index, small_rows, write_lines

from nait_index.config import SearchMode
from nait_index.errors import NaitError
from nait_index.search.approximate import MOST, Approximate, Recall, Stored, make_plan
from nait_index.search.cells import Cells
from nait_index.search.copies import ScanCopies
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.hits import SAMPLED, best
from nait_index.search.joint import JointScan
from nait_index.search.scans import ColumnQueries, HeldScans
from nait_index.store.engines import CELLS
from nait_index.store.samples import spread

ROWS, WIDTH = 12_000, 64
RECALL = Recall(cells=110, visited=8, depth=4, queries=5, lowest=0.97, mean=0.995)
PLAIN: dict[str, Any] = {"read": 5_000, "passing": None, "all_needed": False, "recall": RECALL}


@pytest.fixture(scope="module")
def exact() -> ExactScan:
    """Rows of 40 clusters."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, WIDTH + 1) ** -0.5
    centers = rng.normal(size=(40, WIDTH)) * spread
    values = centers[rng.integers(40, size=ROWS)] + 0.5 * spread * rng.normal(size=(ROWS, WIDTH))
    codes = np.rint(30 * values / spread).clip(-127, 127).astype(np.int8)
    return ExactScan.build([codes], ScanStamp(1, ROWS, WIDTH, "int8"))


STEPS = (np.arange(1, WIDTH + 1) ** -0.5 / 30).astype(np.float32)


def queries(exact: ExactScan, count: int, seed: int) -> np.ndarray:
    """Point at some rows, a little beside them."""
    rng = np.random.default_rng(seed)
    near = exact.rows[rng.integers(ROWS, size=count)].astype(np.float32)
    return (near + 5 * rng.normal(size=near.shape)).astype(np.float32) * STEPS**2


def test_it_finds_almost_all_that_the_exact_scan_finds_and_scores_it_the_same(exact: ExactScan, tmp_path: Path) -> None:
    made = Approximate.build(exact, STEPS, queries(exact, 8, seed=1))
    assert made.recall.mean >= 0.99
    assert made.recall.visited < made.recall.cells == round(ROWS**0.5)
    shares = []
    for query in queries(exact, 20, seed=2):
        scores = exact.scores(query[None])[0]
        right, hits = best(scores, 100), made.search(query, 100)
        shares.append(len(set(right.ordinals.tolist()) & set(hits.ordinals.tolist())) / 100)
        assert (np.diff(hits.scores) <= 0).all()
        np.testing.assert_array_equal(hits.scores, scores[hits.ordinals])
    assert np.mean(shares) >= 0.97
    made.save(tmp_path, "x")
    stored = Stored.read(tmp_path, "x")
    assert stored is not None
    assert stored.recall == made.recall
    assert stored.stamp == exact.stamp
    again = Approximate(stored.cells, exact, STEPS, stored.queries, stored.recall)
    query = queries(exact, 1, seed=3)[0]
    assert again.search(query, 10).ordinals.tolist() == made.search(query, 10).ordinals.tolist()


def test_as_many_rows_are_given_as_were_asked_for_however_few_the_visited_cells_hold(exact: ExactScan) -> None:
    made = Approximate.build(exact, STEPS, queries(exact, 2, seed=1))
    few = Approximate(made._cells, exact, STEPS, made._queries, replace(made.recall, visited=1))
    query = queries(exact, 1, seed=4)[0]
    wanted = best(exact.scores(query[None])[0], MOST)
    assert few.search(query, MOST).ordinals.tolist() == wanted.ordinals.tolist()


def passing(share: float) -> np.ndarray:
    """Let a share of the rows pass."""
    return np.random.default_rng(9).random(ROWS) < share


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_of_rows_that_pass_a_filter_it_finds_almost_all_and_no_others(share: float, exact: ExactScan) -> None:
    made, allowed = Approximate.build(exact, STEPS, queries(exact, 8, seed=1)), passing(share)
    shares = []
    for query in queries(exact, 20, seed=2):
        right = best(exact.scores(query[None])[0], 100, allowed).ordinals
        hits = made.search(query, 100, allowed)
        assert allowed[hits.ordinals].all()
        shares.append(len(set(right.tolist()) & set(hits.ordinals.tolist())) / 100)
    assert np.mean(shares) >= 0.97


def test_of_a_filter_that_few_pass_an_exact_search_reads_these_rows_alone(exact: ExactScan) -> None:
    allowed, asked = passing(0.1), queries(exact, 3, seed=2)
    count = int(allowed.sum())
    assert exact.stamp.count_read(count) == count
    assert exact.stamp.count_read(ROWS // 2) == exact.stamp.count_read(None) == ROWS
    for scores, among in zip(exact.scores(asked), exact.scores_among(allowed, asked), strict=True):
        right, found = best(scores, 50, allowed), best(among, 50, allowed)
        assert right.ordinals.tolist() == found.ordinals.tolist()
        assert right.scores.tolist() == found.scores.tolist()
        read = np.isfinite(among)
        np.testing.assert_array_equal(read, allowed | np.isin(np.arange(ROWS), spread(ROWS, SAMPLED)))
    assert ScanStamp(1, 100, WIDTH, "float32").count_read(3) == 100  # their sums depend on how they are added up


def test_the_scans_of_this_process_heed_a_filter_before_they_read(
    exact: ExactScan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScanCopies, "open", lambda *_: exact)
    scans = HeldScans(ScanCopies.__new__(ScanCopies))
    monkeypatch.setattr(scans, "whole", lambda column, ordinals: exact.take(ordinals))
    asked, few = queries(exact, 2, seed=2), passing(0.1)
    parts = [ColumnQueries(column, exact.stamp, asked) for column in ("a", "b")]
    expected = [best(2 * scores, 50, few).ordinals.tolist() for scores in exact.scores(asked)]
    whole = [hits.ordinals.tolist() for hits in scans.best_whole(parts[0], 50, few)]
    monkeypatch.setattr(ExactScan, "scores", None)
    assert [hits.ordinals.tolist() for hits in scans.best(parts, 50, few)] == expected
    assert [hits.ordinals.tolist() for hits in scans.best_whole(parts[0], 50, few)] == whole


def test_where_fewer_pass_than_are_wanted_it_finds_them_all(exact: ExactScan) -> None:
    made, allowed = Approximate.build(exact, STEPS, queries(exact, 2, seed=1)), passing(0.005)
    query = queries(exact, 1, seed=4)[0]
    right = best(exact.scores(query[None])[0], 100, allowed)
    hits = made.search(query, 100, allowed)
    assert hits.ordinals.tolist() == right.ordinals.tolist()
    assert hits.scores.tolist() == right.scores.tolist()


@pytest.mark.parametrize("name", CELLS)
def test_damaged_files_are_not_used(exact: ExactScan, tmp_path: Path, name: str) -> None:
    Approximate.build(exact, STEPS, queries(exact, 2, seed=1)).save(tmp_path, "x")
    path = tmp_path / f"x{name}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert Stored.read(tmp_path, "x") is None
    path.unlink()
    assert Stored.read(tmp_path, "x") is None


def test_few_rows_are_refused(exact: ExactScan) -> None:
    few = ExactScan(exact.rows[:500], 1.0, ScanStamp(1, 500, WIDTH, "int8"))
    with pytest.raises(NaitError, match="this index has 500"):
        Approximate.build(few, STEPS, queries(exact, 1, seed=1))


def test_scans_side_by_side_score_the_sum_and_are_searched_like_one(exact: ExactScan) -> None:
    first, second = (
        ExactScan.build([exact.rows[:, columns]], ScanStamp(1, ROWS, WIDTH // 2, "int8"))
        for columns in (slice(0, None, 2), slice(1, None, 2))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.search.joint.LEADING", 24)  # so that not all columns lead
        scan = JointScan([first, second])
    asked = queries(exact, 8, seed=1)
    arranged = scan.arrange([asked[:, 0::2], asked[:, 1::2]])
    assert sorted(scan.arrange([np.arange(32), np.arange(32, 64)])[:24].tolist()) == [*range(12), *range(32, 44)]
    sums = first.scores(asked[:, 0::2]) + second.scores(asked[:, 1::2])
    np.testing.assert_array_equal(scan.scores(arranged), sums)
    np.testing.assert_array_equal(scan.scores_at(np.array([7, 3]), arranged), sums[:, [7, 3]])
    np.testing.assert_array_equal(scan.block(5, 9)[:, :12], first.rows[5:9, :12])
    made = Approximate.build(scan, scan.arrange([STEPS[0::2], STEPS[1::2]]), arranged)
    assert made.recall.mean >= 0.99
    for query, scores in zip(arranged, sums, strict=True):
        hits = made.search(query, 100)
        assert len({*best(scores, 100).ordinals.tolist()} & {*hits.ordinals.tolist()}) >= 95
        np.testing.assert_array_equal(hits.scores, scores[hits.ordinals])


@pytest.mark.parametrize(
    ("k", "given", "recall", "reason"),
    [
        (100, {}, None, "no approximate search of this version"),
        (100, {"all_needed": True}, RECALL, "can neither blend nor leave out"),
        (
            100,
            {"passing": 363, "read": 363},
            RECALL,
            "each of the 363 rows that pass scored, 363 x 1,024 bytes read once, since so few",
        ),
        (MOST + 1, {}, RECALL, "at most 1,000 rows, not 1,001"),
    ],
)
def test_the_scan_is_taken_where_an_approximate_search_cannot_serve(
    k: int, given: dict[str, Any], recall: Recall | None, reason: str
) -> None:
    plan = make_plan(SearchMode.APPROXIMATE, k, 5_000, 1024, 1, **PLAIN | given | {"recall": recall})
    assert plan.mode is SearchMode.EXACT
    assert reason in plan.why


def test_an_approximate_search_is_taken_when_it_is_asked_for_and_never_else() -> None:
    asked = make_plan(SearchMode.APPROXIMATE, MOST, 5_000, 1024, 1, **PLAIN)
    assert asked.mode is SearchMode.APPROXIMATE
    assert "8 of 110 cells" in asked.why
    assert "99.5%" in asked.why
    filtered = make_plan(SearchMode.APPROXIMATE, 10, 5_000, 1024, 1, **PLAIN | {"passing": 1_000})
    assert "approximate: 40 of 110 cells" in filtered.why
    plan = make_plan(SearchMode.EXACT, 10, 5_000, 1024, 3, **PLAIN)
    assert plan.mode is SearchMode.EXACT
    assert "5,000 x 1,024 bytes read once for 3 capabilities" in plan.why


def test_the_command_line_says_its_plan(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    corpus, index = write_lines(tmp_path / "corpus.jsonl", small_rows(30)), tmp_path / "own.nait"
    model = tiny_model("llama")
    refused = nait_index("build", index, corpus, "--model", model, "--approximate")
    assert refused.code == 1
    assert "approximate search needs at least 10,000 rows" in refused.err
    asked = ("query", index, "-e", corpus, "--top", "3", "--json")
    assert "plan: " not in nait_index(*asked).err
    explained = nait_index(*asked, "--explain-plan")
    assert explained.code == 0, explained.err
    assert "plan: exact scan: every row scored, 30 x" in explained.err
    other = nait_index(*asked, "--search", "approximate", "--where", "position < 5")
    assert "each of the 5 rows that pass scored, 5 x" in other.err
    assert "since there is no approximate search of this version" in other.err
    for method in ("probe-words", "nait"):
        other = nait_index(*asked, "--search", "approximate", "--method", method)
        assert "since approximate search is for probe, probe-neurons, contrast alone" in other.err
    words = nait_index("query", index, "-e", corpus, "--top", "3", "--method", "bm25", "--explain-plan")
    assert "plan: bm25 scores every one of the 30 rows" in words.err


def test_an_index_that_has_one_keeps_having_one(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    corpus, more = tmp_path / "corpus.jsonl", tmp_path / "more.jsonl"
    write_lines(corpus, small_rows(400))
    write_lines(more, small_rows(40, first=400))
    index, asked = tmp_path / "own.nait", ("--top", "3", "--search", "approximate")
    cluster = Cells.cluster
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.search.approximate._LEAST_ROWS", 100)
        assert nait_index("build", index, corpus, "--model", tiny_model("llama"), "--approximate").code == 0
        assert nait_index("query", index, "-e", more, *asked, "--json").json["search"] == "approximate"
        assert "search" not in nait_index("query", index, "-e", more, "--top", "3", "--json").json
        assert "plan: approximate" in nait_index("query", index, "-e", more, *asked).err
        patch.setattr("nait_index.search.cells.Cells.cluster", None)  # what changes is made from what there is
        assert nait_index("add", index, more).code == 0
        assert "plan: approximate" in nait_index("query", index, "-e", more, *asked).err
        assert nait_index("remove", index, "--where", "id = 'row-007'").code == 0
        assert "plan: approximate" in nait_index("query", index, "-e", more, *asked, "--where", "n_tokens > 0").err
        patch.setattr("nait_index.search.cells.Cells.cluster", cluster)
        assert nait_index("optimize", index).code == 0
        assert "plan: approximate" in nait_index("query", index, "-e", more, *asked).err


@pytest.mark.parametrize("what", ["ordinals", "order", "starts", "sizes", "codes", "centers", "missing", "no arrays"])
def test_arrays_that_do_not_fit_are_not_used(what: str, exact: ExactScan, tmp_path: Path) -> None:
    """Files that somebody made, with hash and seal as they should be."""
    import json

    from safetensors.numpy import load, save

    from nait_index.files import hash_file
    from nait_index.store.sealed import read_sealed, seal

    Approximate.build(exact, STEPS, queries(exact, 2, seed=1)).save(tmp_path, "x")
    paths = [tmp_path / f"x{kind}" for kind in CELLS]
    arrays, order, codes = load(paths[1].read_bytes()), np.load(paths[2]), np.load(paths[3])
    if what == "ordinals":
        order[0] = ROWS
    elif what == "order":
        order = order.astype(np.float64)
    elif what == "starts":
        arrays["starts"][0] = -5
    elif what == "sizes":
        arrays["starts"][3] = arrays["starts"][2] - 1
    elif what == "codes":
        codes = codes[:, :-1]
    elif what == "centers":
        arrays["centers"] = arrays["centers"].astype(np.float64)
    else:
        del arrays["starts"]
    paths[1].write_bytes(b"not arrays" if what == "no arrays" else save(arrays))
    np.save(paths[2], order)
    np.save(paths[3], codes)
    stamp = read_sealed(paths[0])
    assert stamp is not None
    stamp["hashes"] = {kind: hash_file(tmp_path / f"x{kind}") for kind in CELLS[1:]}
    paths[0].write_text(json.dumps(seal(stamp)))
    assert Stored.read(tmp_path, "x") is None
