"""``--top auto``: where a curve bends, what else it gives, and when it says nothing."""

from pathlib import Path

import numpy as np
import pytest
from helpers import build_small, nait_index, refusal, write_lines

from nait_index import NaitIndex
from nait_index.errors import SelectionError
from nait_index.selection.budget import Budget, knee, suggest, two_groups
from tools.demo.corpus import Split, generate


def bent(high: int, low: int, seed: int = 0) -> np.ndarray:
    """Scores of two groups of rows, far apart, highest first."""
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.normal(6, 1, high), rng.normal(0, 1, low)]))[::-1]


def test_the_knee_is_where_the_curve_lies_furthest_below_its_chord() -> None:
    assert knee(np.array([10.0, 9, 1, 0.9, 0.8, 0.7])) == (3, pytest.approx((1 - 2 / 5) - 0.3 / 9.3))
    assert knee(np.array([4.0, 3, 2, 1])) == (1, 0.0)
    assert knee(np.array([2.0, 2, 2])) == (1, 0.0)
    assert knee(np.array([1.0])) == (1, 0.0)


@pytest.mark.parametrize("high", [40, 150, 300])
def test_of_two_groups_the_higher_one_is_taken(high: int) -> None:
    suggestion = suggest(bent(high, 1000 - high))
    assert high * 0.8 <= suggestion.rows <= high * 1.2
    assert suggestion.available == 1000
    assert two_groups(bent(high, 1000 - high)) == pytest.approx(high, rel=0.05)
    assert suggestion.clarity > 0.2
    assert [other.rows for other in suggestion.alternatives] == sorted(
        {other.rows for other in suggestion.alternatives} - {suggestion.rows}
    )
    assert any(other.rows == 100 and "10%" in other.why for other in suggestion.alternatives)
    scores = bent(high, 1000 - high)
    assert all(other.cut == scores[other.rows - 1] for other in suggestion.alternatives)


def test_a_far_end_does_not_move_the_cut() -> None:
    scores = bent(100, 900)
    worse = np.concatenate([scores, np.linspace(-5, -500, 200)])
    assert abs(suggest(worse).rows - suggest(scores).rows) < 0.25 * suggest(scores).rows


def test_no_budget_is_read_off_a_straight_line() -> None:
    with pytest.raises(SelectionError, match="found no bend"):
        suggest(np.linspace(1, 0, 500))
    with pytest.raises(SelectionError, match="found no bend"):
        suggest(np.ones(500))
    with pytest.raises(SelectionError, match="at least 20 rows"):
        suggest(bent(4, 9))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NaitIndex:
    folder = tmp_path_factory.mktemp("auto")
    index = build_small(folder / "i.nait", write_lines(folder / "c.jsonl", generate(Split.CORPUS, 10)), shard=64)
    index.add_capability("code", write_lines(folder / "e.jsonl", generate(Split.EXAMPLES, {"code": 12})))
    index.add_capability("tables", write_lines(folder / "f.jsonl", generate(Split.EXAMPLES, {"tables": 12})))
    return index


def test_a_query_takes_what_its_curve_suggests_and_says_why(index: NaitIndex, tmp_path: Path) -> None:
    whole = index.query("code", top="100%", where="n_tokens > 20")
    selection = index.query("code", top="auto", where="n_tokens > 20")
    wanted = suggest(whole.scores)
    assert selection.ids == whole.ids[: wanted.rows]
    assert selection.scores == whole.scores[: wanted.rows]
    assert selection.provenance.budget == "auto"
    assert selection.provenance.auto == wanted.to_dict()
    shown = nait_index("query", index.layout.name, "-c", "code", "--top", "auto", "-o", tmp_path / "out.jsonl")
    assert shown.code == 0, shown.err
    suggestion = suggest(index.query("code", top="100%").scores)
    for reason in suggestion.reasons:
        assert reason in shown.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == suggestion.rows


def test_where_no_single_curve_tells_auto_is_refused(index: NaitIndex) -> None:
    root = index.layout.name
    for command in (("query", root, "-c", "code", "-c", "tables"), ("core", root, "-c", "code", "-c", "tables")):
        assert "one capability" in refusal(*command, "--top", "auto")
    assert "one capability" in refusal("cover", root, "--top", "auto")
    assert "leave --weight out" in refusal("query", root, "-c", "code", "--top", "auto", "--weight", "tables=2")
    assert "found no bend" in refusal("query", root, "-c", "code", "--top", "auto", "--method", "random")


# ---- a budget in tokens ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"), [("2M-tokens", 2_000_000), ("1.5k tokens", 1500), ("700tokens", 700), ("3B-Tokens", 3 * 10**9)]
)
def test_budgets_in_tokens_are_parsed(text: str, tokens: int) -> None:
    budget = Budget.parse(text)
    assert (budget.tokens, budget.is_auto) == (tokens, False)
    with pytest.raises(SelectionError, match="for 'query' and 'core'"):
        budget.resolve(10)


def test_the_best_rows_are_taken_that_the_tokens_allow(index: NaitIndex) -> None:
    whole = index.query("code", top="100%")
    lengths = np.cumsum(whole.fetch(whole.ordinals, ["n_tokens"])["n_tokens"])
    for wish in (int(lengths[0]), int(lengths[40]) + 1, int(lengths[-1]), int(lengths[-1]) * 2):
        chosen = index.query("code", top=f"{wish}-tokens")
        assert chosen.ids == whole.ids[: int((lengths <= wish).sum())]
        assert chosen.provenance.budget == f"{wish}-tokens"
    with pytest.raises(SelectionError, match="the best row alone"):
        index.query("code", top=f"{int(lengths[0]) - 1}-tokens")
    core = index.core(["code", "tables"], top="2k-tokens", bootstrap=0)
    taken = sum(core.fetch(core.ordinals, ["n_tokens"])["n_tokens"])
    assert 1800 < taken <= 2000
    assert "number of rows here" in refusal("cover", index.layout.name, "--top", "2k-tokens")
