"""Cores: exactly as many rows as wanted, that serve every task; and what enough tasks agree on."""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, nait_index, refusal, small_rows, write_lines
from hypothesis import given
from hypothesis import strategies as st

from nait_index import NaitIndex
from nait_index.config import CoreRule
from nait_index.errors import SelectionError
from nait_index.methods.registry import MethodName
from nait_index.quality.imported import Imported
from nait_index.selection import core as selection_core
from nait_index.selection.combine import take_turns
from nait_index.selection.core import agreed, balanced, chance_size, choose_core, log_odds, places, required_votes
from nait_index.selection.tasks import DRAWS

NAMES = ["adding", "naming", "b"]
ROWS = 40

SCORES = st.integers(2, 30).flatmap(
    lambda n: st.lists(st.lists(st.integers(-2, 4), min_size=n, max_size=n), min_size=2, max_size=4)
)


def planted(positives: Mapping[int, Sequence[int]], rows: int, seed: int = 0) -> np.ndarray:
    """Make scores of which each task's planted rows are far above the others."""
    scores = np.random.default_rng(seed).standard_normal((len(positives), rows))
    for task, planted_rows in positives.items():
        scores[task, list(planted_rows)] += 8
    return scores


# ---- the formulas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", CoreRule)
@given(scores=SCORES, share=st.floats(0, 1))
def test_every_rule_chooses_exactly_as_many_rows_as_wanted(
    rule: CoreRule, scores: list[list[int]], share: float
) -> None:
    table = np.array(scores, float)
    k = max(1, int(share * table.shape[1]))
    core = choose_core(table, k, rule)
    assert len(core.positions) == len(set(core.positions.tolist())) == len(core.values) == k
    assert np.isfinite(core.values).all()
    assert rule is CoreRule.ROUND_ROBIN or (np.diff(core.values) <= 0).all()


@pytest.mark.parametrize("rule", CoreRule)
def test_a_task_whose_scores_are_larger_does_not_outweigh_the_others(rule: CoreRule) -> None:
    scores = np.random.default_rng(1).standard_normal((3, 500))
    core = choose_core(scores, 50, rule)
    larger = scores * np.array([[1.0], [2.0**20], [2.0**-20]])
    assert choose_core(larger, 50, rule).positions.tolist() == core.positions.tolist()
    shifted = choose_core(larger + np.array([[0.0], [1e6], [-3.0]]), 50, rule)
    assert set(shifted.positions.tolist()) == set(core.positions.tolist())


@pytest.mark.parametrize("rule", [CoreRule.BALANCED, CoreRule.ROUND_ROBIN])
def test_no_task_is_starved_by_those_with_more_rows(rule: CoreRule) -> None:
    scores = planted({0: range(300), 1: range(250, 550), 2: range(700, 712)}, 1000)
    core = set(choose_core(scores, 100, rule).positions.tolist())
    assert len(core & set(range(300))) > 25
    assert len(core & set(range(250, 550))) > 25
    assert core >= set(range(700, 712))


def test_rows_that_several_tasks_share_are_chosen_first() -> None:
    scores = planted({0: range(60), 1: range(50, 110), 2: [*range(50, 60), *range(200, 250)]}, 2000)
    core = balanced(log_odds(scores, 60), 60).positions
    assert sum(50 <= row < 60 for row in core[:10]) >= 8
    held = [len(set(core.tolist()) & set(rows)) for rows in (range(50), range(60, 110), range(200, 250))]
    assert 50 <= sum(held) <= 51
    assert min(held) >= 14


def test_a_task_with_few_clear_rows_leaves_the_budget_to_the_others() -> None:
    scores = planted({0: range(300), 1: range(300, 310)}, 1000)
    core = set(choose_core(scores, 100, CoreRule.BALANCED).positions.tolist())
    assert core >= set(range(300, 310))
    turns = set(choose_core(scores, 100, CoreRule.ROUND_ROBIN).positions.tolist())
    assert len(core - set(range(310))) < 0.8 * len(turns - set(range(310)))


def test_what_fills_up_a_task_of_few_rows_does_not_replace_them() -> None:
    """A task has fewer clear rows than the budget, on a scale with a long tail; what comes next is shared by others."""
    rng = np.random.default_rng(6)
    scores = rng.exponential(1, (4, 2000))
    scores[:2, 500:700] += 3
    scores[2, 100:150] += 12
    scores[2, 500:700] += 2
    core = set(choose_core(scores, 200, CoreRule.BALANCED).positions.tolist())
    assert len(core & set(range(100, 150))) >= 40


def test_balanced_is_as_good_as_one_row_at_a_time() -> None:
    scores = np.random.default_rng(2).standard_normal((4, 600)) + 0.5 * np.random.default_rng(3).standard_normal(600)
    logits, k = log_odds(scores, 120), 120
    p = 1 / (1 + np.exp(-logits))
    one_by_one: list[int] = []
    for _ in range(k):
        gains = (p / (1 + p[:, one_by_one].sum(axis=1, keepdims=True))).sum(axis=0)
        gains[one_by_one] = -1
        one_by_one.append(int(gains.argmax()))
    core = balanced(logits, k).positions
    assert core[:15].tolist() == one_by_one[:15]
    reached, best = (np.log1p(p[:, rows].sum(axis=1)).sum() for rows in (core, one_by_one))
    assert reached == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("k", [1, 40, 300])
def test_looking_at_few_rows_chooses_what_looking_at_all_does(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them rows with equal scores, and a task that is reached much sooner than the others."""
    logits = 3 * np.random.default_rng(5).standard_normal((3, 4000)).round(1) - np.array([[3.0], [1.0], [9.0]])
    few = balanced(logits, k)
    monkeypatch.setattr(selection_core, "_LOOKED_AT", 4000)
    every = balanced(logits, k)
    assert few.positions.tolist() == every.positions.tolist()
    assert few.values.tolist() == every.values.tolist()


def test_calibrated_tasks_each_expect_as_many_rows_as_are_chosen() -> None:
    rng = np.random.default_rng(4)
    scores = np.stack([rng.standard_normal(5000), rng.exponential(30, 5000), (rng.random(5000) < 0.02) * 1.0])
    for k, expected in ((1, 1), (50, 29), (500, 289), (5000, 2500)):
        assert (1 / (1 + np.exp(-log_odds(scores, k)))).sum(axis=1) == pytest.approx([expected] * 3, rel=0.01)


@pytest.mark.parametrize("rule", CoreRule)
def test_equal_rows_are_taken_in_order_and_tasks_with_equal_rows_alike(rule: CoreRule) -> None:
    assert choose_core(np.ones((3, 20)), 6, rule).positions.tolist() == list(range(6))
    scores = np.zeros((2, 400))
    scores[0, :60], scores[1, 100:160] = 1, 1
    core = choose_core(scores, 40, rule).positions
    if rule in (CoreRule.BALANCED, CoreRule.ROUND_ROBIN):
        assert abs((core < 60).sum() - 20) <= 3
        assert ((core < 60) | (core >= 100) & (core < 160)).all()


def test_the_other_rules_are_what_their_formulas_say() -> None:
    scores = np.random.default_rng(5).standard_normal((3, 50)).round(1)
    ranks = places(scores)
    for of_task, values in zip(ranks, scores, strict=True):
        assert sorted(range(50), key=lambda row: (-values[row], row)) == np.argsort(of_task).tolist()
    worst = sorted(range(50), key=lambda row: (ranks[:, row].max(), ranks[:, row].sum(), row))[:9]
    assert choose_core(scores, 9, CoreRule.WORST_RANK).positions.tolist() == worst
    rankings = {str(task): np.argsort(of_task).tolist() for task, of_task in enumerate(ranks)}
    turns = [row for row, _ in take_turns(rankings, 9, dict.fromkeys(rankings, 1))]
    assert choose_core(scores, 9, CoreRule.ROUND_ROBIN).positions.tolist() == turns
    mean = log_odds(scores, 9).mean(axis=0)
    assert choose_core(scores, 9, CoreRule.JOINT).positions.tolist() == sorted(range(50), key=lambda x: -mean[x])[:9]


# ---- votes --------------------------------------------------------------------------------------------------------


@given(SCORES, st.integers(1, 4), st.integers(1, 30))
def test_votes_are_the_rows_that_enough_tasks_rank_among_their_best(
    scores: list[list[int]], votes: int, k: int
) -> None:
    table = np.array(scores, float)
    ranks, k = places(table), min(k, table.shape[1])
    core = agreed(ranks, k, votes)
    held = (ranks <= k).sum(axis=0)
    assert set(core.positions.tolist()) == set(np.flatnonzero(held >= votes).tolist())
    assert (np.diff(held[core.positions]) <= 0).all()
    assert ((core.values > 0) & (core.values <= 1)).all()
    for order in itertools.permutations(ranks):
        again = agreed(np.stack(order), k, votes)
        assert (again.positions.tolist(), again.values.tolist()) == (core.positions.tolist(), core.values.tolist())


def test_first_everywhere_scores_one() -> None:
    core = agreed(np.array([[1, 2, 3], [1, 3, 2]]), 2, 1)
    assert (core.positions[0], core.values[0]) == (0, 1.0)


def test_chance_of_two_tenths_is_a_hundredth() -> None:
    assert chance_size([100, 100], 1000, 2) == pytest.approx(10)
    assert chance_size([100, 100], 1000, 1) == pytest.approx(190)


def test_chance_agrees_with_drawing_at_random() -> None:
    rng = np.random.default_rng(0)
    sizes, available = [60, 40, 80], 200
    core_sizes = []
    for _ in range(2000):
        held = sum((rng.permutation(available) < size).astype(int) for size in sizes)
        core_sizes.append(int((held >= 2).sum()))
    expected = chance_size(sizes, available, 2)
    assert math.isclose(float(np.mean(core_sizes)), expected, rel_tol=0.03)


@pytest.mark.parametrize("votes", ["0", "4", "most", "-1", "1.5"])
def test_votes_that_cannot_be_met_are_refused(votes: str) -> None:
    with pytest.raises(SelectionError, match="--votes"):
        required_votes(votes, 3)
    assert (required_votes("all", 3), required_votes("2", 3), required_votes(1, 3)) == (3, 2, 1)


# ---- of an index --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """Build an index with three capabilities and a score; not to be changed."""
    folder = tmp_path_factory.mktemp("core")
    build_small(folder / "own.nait", write_lines(folder / "rows.jsonl", small_rows(ROWS)), model=tiny_model("llama"))
    index = NaitIndex(folder / "own.nait")
    for number, name in enumerate(NAMES):
        rows = small_rows(24, 100)[number % 2 :: 2] if name != "b" else small_rows(6, 200)
        index.add_capability(name, write_lines(folder / f"{name}.jsonl", rows))
    scores = write_lines(folder / "ppl.jsonl", [{"id": f"row-{i:03}", "value": i * 5 % 17} for i in range(30)])
    index.score(Imported(scores), name="ppl")
    return folder


@pytest.fixture
def index(folder: Path) -> NaitIndex:
    return NaitIndex(folder / "own.nait")


@pytest.mark.parametrize("method", ["probe", "contrast", "bm25", "random"])
@pytest.mark.parametrize("rule", CoreRule)
def test_a_core_has_exactly_the_rows_of_its_budget(rule: CoreRule, method: str, index: NaitIndex) -> None:
    core = index.core(NAMES, top=13, rule=str(rule), method=method, bootstrap=0)
    assert len(set(core)) == len(core.scores) == 13
    assert "stability" not in core.details
    filtered = index.core(NAMES, top="50%", rule=rule, method=method, where="id > 'row-018'", bootstrap=0)
    assert len(filtered) == 10
    assert all(sample_id > "row-018" for sample_id in filtered)
    summary = filtered.provenance.core
    assert summary is not None
    assert (summary.rule, summary.votes, summary.rows, summary.alone) == (str(rule), None, 10, 10)


@pytest.mark.parametrize("blend", [{}, {"ppl": -0.4}])
def test_every_row_says_which_tasks_it_serves_and_how_well(blend: dict[str, float], index: NaitIndex) -> None:
    core = index.core(NAMES, top=8, blend=blend)
    ranked = {name: list(index.query(name, top="100%", blend=blend)) for name in NAMES}
    for sample_id, serves, ranks in zip(core, core.details["serves"], core.details["ranks"], strict=True):
        assert ranks == {name: ids.index(sample_id) + 1 for name, ids in ranked.items()}
        assert serves == sorted((name for name in NAMES if ranks[name] <= 8), key=lambda name: ranks[name])
    assert all(set(serves) == set(NAMES) for serves in index.core(NAMES, top="100%", bootstrap=0).details["serves"])
    summary = core.provenance.core
    assert summary is not None
    assert summary.kept == {name: len(set(core) & set(ids[:8])) for name, ids in ranked.items()}
    counts = [sum(sample_id in ids[:8] for ids in ranked.values()) for sample_id in ranked["adding"]]
    assert summary.agreement == [sum(count >= level for count in counts) for level in (1, 2, 3)]
    assert summary.shared == [sum(len(serves) >= level for serves in core.details["serves"]) for level in (1, 2, 3)]


@pytest.mark.parametrize("rule", CoreRule)
def test_a_core_is_the_same_again_and_in_whatever_order_the_tasks_are_named(rule: CoreRule, index: NaitIndex) -> None:
    core = index.core(NAMES, top=9, rule=rule)
    again = NaitIndex(index.layout.name).core(NAMES, top=9, rule=rule)
    assert (again.ids, again.scores, again.details) == (core.ids, core.scores, core.details)
    if rule is not CoreRule.ROUND_ROBIN:
        other = index.core(NAMES[::-1], top=9, rule=rule, bootstrap=0)
        assert (other.ids, other.scores) == (core.ids, core.scores)


def test_taking_turns_is_what_a_query_does(index: NaitIndex) -> None:
    core = index.core(NAMES, top=11, rule="round-robin", bootstrap=0)
    assert core.ids == index.query(NAMES, top=11, combine="round-robin").ids


def test_stability_is_measured_unless_it_takes_long(folder: Path, index: NaitIndex) -> None:
    core = index.core(NAMES, top=9)
    assert len(core.details["stability"]) == 9
    assert {share * DRAWS % 1 for share in core.details["stability"]} == {0}
    assert 0 < min(core.details["stability"]) < 1
    summary = core.provenance.core
    assert summary is not None
    assert (summary.bootstrap, summary.stability) == (DRAWS, round(float(np.mean(core.details["stability"])), 4))
    for method in (MethodName.CONTRAST, MethodName.BM25, MethodName.RANDOM):
        assert "stability" not in index.core(NAMES, top=9, method=method).details
    made = [index.make_capability(folder / f"{name}.jsonl") for name in NAMES]
    unstored = index.core(made, top=9, method="contrast")
    assert len(unstored.details["stability"]) == 9
    stored = index.core(NAMES, top=9, method="contrast", bootstrap=DRAWS)
    assert (unstored.ids, unstored.details) == (stored.ids, stored.details)
    assert all(share == 1 for share in index.core(NAMES, top="100%", bootstrap=2).details["stability"])
    assert set(index.core(NAMES, top=9, method="random", bootstrap=2).details["stability"]) == {1}


def test_the_command_line_chooses_like_the_library(folder: Path, index: NaitIndex, tmp_path: Path) -> None:
    asked = ["core", folder / "own.nait", *(word for name in NAMES for word in ("-c", name)), "--top", "9"]
    core = index.core(NAMES, top=9, rule="joint")
    outcome = nait_index(*asked, "--rule", "joint", "--json").json
    assert [row["id"] for row in outcome["selected"]] == list(core)
    assert [row["serves"] for row in outcome["selected"]] == core.details["serves"]
    assert outcome["core"] == json.loads(json.dumps(core.provenance.to_dict()["core"]))
    shown = nait_index(*asked)
    assert "9 of 40 rows in the core by probe" in shown.err
    assert "of the 9 rows that each would choose alone, it holds " in shown.err
    assert " shared: several would choose them alone" in shown.err
    assert "of 16 resamples" in shown.err
    assert shown.out.split()[:6] == ["rank", "score", "serves", "stability", "id", "row"]
    assert nait_index(*asked, "-o", tmp_path / "a.jsonl").code == 0
    again = index.load_selection(tmp_path / "a.jsonl.meta.json")
    assert again.provenance.core == index.core(NAMES, top=9).provenance.core
    assert again.details["ranks"] == tuple(index.core(NAMES, top=9).details["ranks"])
    assert "give one" in refusal(*asked, "--rule", "joint", "--votes", "2")


@pytest.mark.parametrize("votes", [2, "all"])
def test_votes_that_give_few_rows_say_what_would_give_more(votes: Any, folder: Path, index: NaitIndex) -> None:
    core = index.core(NAMES, top=6, votes=votes)
    assert core.details["votes"] == [len(serves) for serves in core.details["serves"]]
    assert all(count >= (3 if votes == "all" else 2) for count in core.details["votes"])
    summary = core.provenance.core
    assert summary is not None
    assert summary.agreement is not None
    assert len(core) == summary.agreement[(3 if votes == "all" else 2) - 1] < 6
    asked = [word for name in NAMES for word in ("-c", name)]
    lines = nait_index("core", folder / "own.nait", *asked, "--top", "6", "--votes", votes).err.splitlines()
    fewer = (
        f"--votes 2 would give {summary.agreement[1]} row{'' if summary.agreement[1] == 1 else 's'}; "
        if votes == "all"
        else ""
    )
    assert lines[-1] == f"core: {fewer}leave --votes out for exactly 6 rows, for all"
