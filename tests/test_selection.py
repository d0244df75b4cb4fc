"""Budgets, unions and cores: exact counts, stated rounding, order that does not depend on the order of arguments."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nait_index.errors import SelectionError
from nait_index.selection.budget import Budget
from nait_index.selection.combine import agree, chance_size, required_votes, unite

RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1), min_size=2, max_size=4)


@pytest.mark.parametrize(
    ("text", "available", "expected"),
    [("10%", 29_581, 2958), ("10%", 9, 1), ("100%", 7, 7), ("0.5%", 1000, 5), ("29%", 100, 29), ("500", 501, 500)],
)
def test_shares_are_rounded_down_but_never_below_one_row(text: str, available: int, expected: int) -> None:
    assert Budget.parse(text).resolve(available) == expected


@given(st.integers(1, 10_000), st.integers(1, 100))
def test_a_share_is_exact_where_floating_point_would_not_be(available: int, percent: int) -> None:
    assert Budget.parse(f"{percent}%").resolve(available) == max(1, available * percent // 100)


@pytest.mark.parametrize("text", ["0%", "200%", "100.5%", "0", "-5", "ten", "", "10 percent", "1e3", "%"])
def test_budgets_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="--top"):
        Budget.parse(text)


def test_more_rows_than_there_are_is_refused_and_not_clipped() -> None:
    with pytest.raises(SelectionError, match="more rows than the 400"):
        Budget.parse("500").resolve(400)
    with pytest.raises(SelectionError, match="no rows"):
        Budget.parse("10%").resolve(0)


@given(RANKINGS, st.integers(1, 4))
def test_the_core_is_what_enough_selections_hold(rankings: list[list[str]], votes: int) -> None:
    core = agree(rankings, votes)
    assert {row_id for row_id, _, _ in core} == {
        row_id for row_id in "abcdefgh" if sum(row_id in r for r in rankings) >= votes
    }
    assert all(count == sum(row_id in r for r in rankings) and 0 < score <= 1 for row_id, count, score in core)


@given(RANKINGS)
def test_the_core_does_not_depend_on_the_order_of_the_selections(rankings: list[list[str]]) -> None:
    cores = [agree(list(order), 2) for order in itertools.permutations(rankings)]
    assert all(core == cores[0] for core in cores)


def test_first_everywhere_scores_one() -> None:
    assert agree([["a", "b"], ["a", "c"]], 1)[0] == ("a", 2, 1.0)


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


def test_a_union_takes_turns_and_names_the_ranking_that_chose() -> None:
    assert unite({"x": ["a", "b", "c"], "y": ["b", "d", "a"]}) == [("a", "x"), ("b", "y"), ("d", "y"), ("c", "x")]


@given(RANKINGS)
def test_a_union_holds_every_row_once(rankings: list[list[str]]) -> None:
    united = unite({str(i): ids for i, ids in enumerate(rankings)})
    assert sorted(row_id for row_id, _ in united) == sorted(set().union(*rankings))
    assert all(row_id in rankings[int(name)] for row_id, name in united)
