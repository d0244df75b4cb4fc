"""Combined rankings: exact counts, met quotas, nobody's row twice."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nait_index.config import Combine
from nait_index.errors import SelectionError
from nait_index.selection.combine import combine, quotas, take_turns, unite

ROWS = "abcdefghij"
PARTIAL = st.lists(st.lists(st.sampled_from(ROWS), unique=True, min_size=1), min_size=1, max_size=4)
FULL = st.lists(st.permutations(ROWS), min_size=1, max_size=4)
WEIGHTS = st.one_of(st.integers(1, 9), st.sampled_from([0.1, 0.25, 0.3, 1.5, 2.75]))


def named(rankings: list[list[str]]) -> dict[str, list[str]]:
    return {str(i): ids for i, ids in enumerate(rankings)}


def test_unite_takes_turns_by_the_best_rank_of_each_row() -> None:
    rankings = {"x": list("abcd"), "y": list("cae"), "z": list("fc")}
    # Ranks: a 0 of x, c 0 of y, f 0 of z, b 1 of x; then d and e, whose best is their only one.
    assert unite(rankings) == [("a", "x"), ("c", "y"), ("f", "z"), ("b", "x"), ("e", "y"), ("d", "x")]
    assert unite({"y": list("ba"), "x": list("ab")}) == [("b", "y"), ("a", "x")]
    assert unite({"x": list("cab")}) == [("c", "x"), ("a", "x"), ("b", "x")]
    assert unite({"x": [], "y": ["a"]}) == [("a", "y")]


@given(PARTIAL)
def test_unite_orders_by_best_rank_then_by_whose_turn_it_is(rankings: list[list[str]]) -> None:
    best_ranks = {
        row_id: min((ids.index(row_id), turn) for turn, ids in enumerate(rankings) if row_id in ids)
        for row_id in set().union(*rankings)
    }
    assert unite(named(rankings)) == [
        (row_id, str(best_ranks[row_id][1])) for row_id in sorted(best_ranks, key=lambda row_id: best_ranks[row_id])
    ]


@given(FULL, st.integers(1, 10))
def test_a_union_holds_what_anyone_puts_among_the_first(rankings: list[list[str]], k: int) -> None:
    chosen = combine(named(rankings), Combine.UNION, k)
    assert sorted(row_id for row_id, _ in chosen) == sorted({row_id for ids in rankings for row_id in ids[:k]})
    assert all(row_id in rankings[int(name)][:k] for row_id, name in chosen)


@given(FULL, st.integers(1, 10))
def test_the_mean_is_the_mean_of_ranks_as_shares(rankings: list[list[str]], k: int) -> None:
    mean = {row_id: sum(ids.index(row_id) / len(ids) for ids in rankings) / len(rankings) for row_id in ROWS}
    chosen = combine(named(rankings), Combine.MEAN, k)
    assert [row_id for row_id, _ in chosen] == sorted(ROWS, key=lambda row_id: (round(mean[row_id], 9), row_id))[:k]
    for row_id, name in chosen:
        assert rankings[int(name)].index(row_id) == min(ids.index(row_id) for ids in rankings)


@given(FULL, st.integers(1, 10))
def test_the_mean_does_not_depend_on_the_order_of_capabilities(rankings: list[list[str]], k: int) -> None:
    turned = combine(named(rankings[::-1]), Combine.MEAN, k)
    assert [row_id for row_id, _ in turned] == [row_id for row_id, _ in combine(named(rankings), Combine.MEAN, k)]


@given(PARTIAL, st.integers(1, 10))
def test_round_robin_goes_round(rankings: list[list[str]], k: int) -> None:
    distinct = len(set().union(*rankings))
    if k > distinct:
        with pytest.raises(SelectionError, match=f"more than the {distinct}"):
            combine(named(rankings), Combine.ROUND_ROBIN, k)
        return
    chosen = combine(named(rankings), Combine.ROUND_ROBIN, k)
    assert len({row_id for row_id, _ in chosen}) == len(chosen) == k
    for i, (row_id, name) in enumerate(chosen):
        before = {earlier for earlier, _ in chosen[:i]}
        assert row_id == next(other for other in rankings[int(name)] if other not in before)


@given(FULL, st.integers(1, 10))
def test_round_robin_over_all_rows_is_strict_turns(rankings: list[list[str]], k: int) -> None:
    chosen = combine(named(rankings), Combine.ROUND_ROBIN, k)
    assert [int(name) for _, name in chosen] == [i % len(rankings) for i in range(k)]


@given(FULL, st.integers(1, 10), st.data())
def test_every_quota_is_met_and_they_add_up(rankings: list[list[str]], k: int, data: st.DataObject) -> None:
    weights = {str(i): data.draw(WEIGHTS) for i in range(len(rankings))}
    chosen = combine(named(rankings), Combine.WEIGHTED, k, weights)
    expected = quotas(list(weights), weights, k)
    assert len({row_id for row_id, _ in chosen}) == len(chosen) == k == sum(expected.values())
    assert Counter(name for _, name in chosen) == Counter({name: rows for name, rows in expected.items() if rows})
    share = {name: k * weight / sum(weights.values()) for name, weight in weights.items()}
    assert all(abs(expected[name] - share[name]) < 1 for name in weights)


@given(PARTIAL, st.integers(1, 10), st.data())
def test_who_has_nothing_left_leaves_his_turns_to_the_others(
    rankings: list[list[str]], k: int, data: st.DataObject
) -> None:
    weights = {str(i): data.draw(WEIGHTS) for i in range(len(rankings))}
    k = min(k, len(set().union(*rankings)))
    chosen = take_turns(named(rankings), k, weights)
    assert len({row_id for row_id, _ in chosen}) == len(chosen) == k
    counts = Counter(name for _, name in chosen)
    for name, quota in quotas(list(weights), weights, k).items():
        if counts[name] < quota:
            assert set(rankings[int(name)]) <= {row_id for row_id, _ in chosen}


def test_weights_spread_the_turns() -> None:
    rankings = {"math": list("abcdefghi"), "code": list("ABCDEFGHI")}
    chosen = combine(rankings, Combine.WEIGHTED, 9, {"math": 2, "code": 1})
    assert "".join(row_id for row_id, _ in chosen) == "aAbcBdeCf"


def test_the_largest_remainder_gets_the_row_that_is_left() -> None:
    assert quotas("xyz", {"x": 1, "y": 1, "z": 1}, 10) == {"x": 4, "y": 3, "z": 3}
    assert quotas("xyz", {"x": 0.1, "y": 0.2, "z": 0.7}, 10) == {"x": 1, "y": 2, "z": 7}
    assert quotas("xy", {"x": 1, "y": 1000}, 10) == {"x": 0, "y": 10}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"x": 1, "y": 1, "q": 1}, "'q', which is not among x, y"),
        ({"x": 1}, "'y' has no weight"),
        ({"x": 1, "y": 0}, "'y' is 0"),
        ({"x": -2, "y": 1}, "'x' is -2"),
        ({"x": float("nan"), "y": 1}, "positive"),
        ({"x": float("inf"), "y": 1}, "positive"),
        (None, "needs weights"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float] | None, message: str) -> None:
    with pytest.raises(SelectionError, match=message) as caught:
        combine({"x": ["a"], "y": ["b"]}, Combine.WEIGHTED, 1, weights)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_met_is_refused() -> None:
    with pytest.raises(SelectionError, match="takes no weights"):
        combine({"x": ["a"]}, Combine.MEAN, 1, {"x": 1})
    with pytest.raises(SelectionError, match="the same rows"):
        combine({"x": ["a", "b"], "y": ["b", "c"]}, Combine.MEAN, 1)
    with pytest.raises(SelectionError, match="more than the 2"):
        combine({"x": ["a", "b"], "y": ["b", "a"]}, Combine.MEAN, 3)
    for rankings, k in (({}, 1), ({"x": ["a"]}, 0)):
        with pytest.raises(SelectionError, match="nothing to combine"):
            combine(rankings, Combine.UNION, k)


def test_the_names_can_be_listed_without_numpy() -> None:
    code = "import sys, nait_index.selection.combine; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
