"""Budgets and unions: exact counts, stated rounding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nait_index.errors import SelectionError
from nait_index.selection.budget import Budget
from nait_index.selection.combine import unite

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


def test_a_union_takes_turns_and_names_the_ranking_that_chose() -> None:
    assert unite({"x": ["a", "b", "c"], "y": ["b", "d", "a"]}) == [("a", "x"), ("b", "y"), ("d", "y"), ("c", "x")]


@given(RANKINGS)
def test_a_union_holds_every_row_once(rankings: list[list[str]]) -> None:
    united = unite({str(i): ids for i, ids in enumerate(rankings)})
    assert sorted(row_id for row_id, _ in united) == sorted(set().union(*rankings))
    assert all(row_id in rankings[int(name)] for row_id, name in united)
