"""Coverage: rows are chosen by the plain greedy rule, round after round, whatever their order."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nait_index.errors import SelectionError
from nait_index.selection import blocks, coverage
from nait_index.selection.blocks import Division, cover_rows
from nait_index.selection.coverage import Cover, cover, rarity, row_counts

NEURONS = 9


@st.composite
def corpora(draw: st.DrawFn, rows: int = 9) -> tuple[np.ndarray, list[str]]:
    size = draw(st.integers(1, 4))
    neurons = st.lists(st.integers(0, NEURONS - 1), min_size=size, max_size=size, unique=True)
    sets = draw(st.lists(neurons, min_size=1, max_size=rows))
    ids = draw(st.permutations([f"r{i}" for i in range(len(sets))]))
    return np.array(sets), ids


WEIGHTS = st.one_of(
    st.none(),
    st.lists(st.sampled_from([0.0, 0.25, 1.0, 1.5, 3.0]), min_size=NEURONS, max_size=NEURONS).map(np.array),
)


def by_hand(sets: np.ndarray, ids: Sequence[str], k: int, weights: np.ndarray | None) -> list[tuple[int, float, int]]:
    """Choose by the plain rule: before every choice, sum the gains of all rows."""
    weight = [1.0] * NEURONS if weights is None else weights.tolist()
    chosen: list[tuple[int, float, int]] = []
    covered: set[int] = set()
    turn = 1
    while len(chosen) < k:
        left = set(range(len(sets))) - {row for row, _, _ in chosen}

        def gain(row: int, but: set[int]) -> float:
            return sum(weight[neuron] for neuron in set(sets[row].tolist()) - but)

        if all(gain(row, covered) == 0 for row in left) and any(gain(row, set()) for row in left):
            covered, turn = set(), turn + 1
        elif chosen and chosen[-1][1] > 0 and not any(gain(row, set()) for row in left):
            turn += 1
        row = min(left, key=lambda row: (-gain(row, covered), ids[row]))
        chosen.append((row, gain(row, covered), turn))
        covered |= set(sets[row].tolist())
    return chosen


@given(corpora(), WEIGHTS, st.data())
def test_picks_gains_and_rounds_are_those_of_the_plain_rule(
    corpus: tuple[np.ndarray, list[str]], weights: np.ndarray | None, data: st.DataObject
) -> None:
    sets, ids = corpus
    k = data.draw(st.integers(1, len(sets)))
    chosen = cover(sets, ids, k, weights)
    assert list(zip(chosen.ordinals, chosen.gains, chosen.rounds, strict=True)) == by_hand(sets, ids, k, weights)
    assert chosen.covered == len({neuron for row in chosen.ordinals for neuron in sets[row].tolist()})
    assert chosen.coverable == len(set(sets.ravel().tolist()))


def test_many_rounds_over_many_rows_are_those_of_the_plain_rule() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        sets = np.argsort(rng.random((40, NEURONS)), axis=1)[:, : 1 + seed % 4]
        ids = [f"{number:02d}" for number in rng.permutation(40)]
        chosen = cover(sets, ids, 40)
        assert list(zip(chosen.ordinals, chosen.gains, chosen.rounds, strict=True)) == by_hand(sets, ids, 40, None)
        assert chosen.rounds.max() > 2


@pytest.mark.parametrize("layered", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_layers_long_lists_and_blocks_change_nothing(
    layered: bool, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("_BLOCK", 7), ("_LONG", 5), ("_TOGETHER", 2)):
        monkeypatch.setattr(coverage, name, small)
    rng = np.random.default_rng(1)
    layers = [np.argsort(rng.random((50, 20)) ** np.arange(1, 21), axis=1)[:, :3] for _ in range(3)]
    sets = np.concatenate([layer + 20 * i for i, layer in enumerate(layers)], axis=1).astype(np.uint16)
    if not layered:
        sets = sets[:, rng.permutation(9)]
    weights = rng.integers(0, 8, size=60) / 4 if weighted else np.ones(60)
    ids = [f"{number:02d}" for number in rng.permutation(50)]
    chosen = cover(sets, ids, 50, weights if weighted else None)
    assert list(zip(chosen.ordinals, chosen.gains, chosen.rounds, strict=True)) == by_hand(sets, ids, 50, weights)
    assert chosen.rounds.max() > 2


def test_the_last_number_of_a_small_type_is_a_neuron_as_any_other() -> None:
    sets = np.array([[0, 65535], [1, 65535], [2, 3]], dtype=np.uint16)
    chosen = cover(sets, list("abc"), 3)
    assert (chosen.ordinals.tolist(), chosen.gains.tolist(), chosen.covered) == ([0, 2, 1], [2, 2, 1], 5)


@given(corpora(rows=7), WEIGHTS, st.integers(1, 3))
def test_one_round_reaches_its_bound(corpus: tuple[np.ndarray, list[str]], weights: np.ndarray | None, k: int) -> None:
    sets, ids = corpus
    k = min(k, len(sets))
    weight = np.ones(NEURONS) if weights is None else weights

    def value(rows: Sequence[int]) -> float:
        return float(weight[np.unique(sets[list(rows)])].sum())

    best = max(value(rows) for rows in itertools.combinations(range(len(sets)), k))
    assert value(cover(sets, ids, k, weights).ordinals.tolist()) >= (1 - 1 / math.e) * best - 1e-9


@given(corpora(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(corpus: tuple[np.ndarray, list[str]], random: "np.random.Generator") -> None:
    sets, ids = corpus
    order = list(range(len(sets)))
    random.shuffle(order)
    # Weights that no float holds exactly: sums must not depend on the order of neurons either.
    weights = np.log(np.arange(2, NEURONS + 2))
    first = cover(sets, ids, len(ids), weights)
    other = cover(sets[order][:, ::-1], [ids[i] for i in order], len(ids), weights)
    assert [ids[i] for i in first.ordinals] == [ids[order[i]] for i in other.ordinals]
    assert (first.gains.tolist(), first.rounds.tolist()) == (other.gains.tolist(), other.rounds.tolist())


@given(corpora(), st.data())
def test_only_allowed_rows_are_chosen(corpus: tuple[np.ndarray, list[str]], data: st.DataObject) -> None:
    sets, ids = corpus
    kept = data.draw(st.sets(st.integers(0, len(sets) - 1), min_size=1).map(sorted))
    allowed = np.isin(np.arange(len(sets)), kept)
    chosen = cover(sets, ids, len(kept), allowed=allowed)
    alone = cover(sets[kept], [ids[i] for i in kept], len(kept))
    assert chosen.ordinals.tolist() == [kept[i] for i in alone.ordinals]
    with pytest.raises(SelectionError, match=f"from the {len(kept)} there are"):
        cover(sets, ids, len(kept) + 1, allowed=allowed)


def test_rare_neurons_weigh_more() -> None:
    sets = np.array([[0, 1], [0, 1], [0, 2], [0, 1]])
    np.testing.assert_allclose(rarity(row_counts(sets, 5), len(sets)), [0, math.log(4 / 3), math.log(4), 0, 0])
    assert cover(sets, list("abcd"), 1, rarity(row_counts(sets, 5), len(sets))).ordinals.tolist() == [2]


def test_rows_that_nothing_tells_apart_come_in_the_order_of_ids() -> None:
    sets = np.array([[1, 0], [0, 1], [1, 0]])
    chosen = cover(sets, ["c", "a", "b"], 3, rarity(row_counts(sets, 2), len(sets)))
    assert (chosen.ordinals.tolist(), chosen.gains.tolist(), chosen.rounds.tolist()) == (
        [1, 2, 0],
        [0, 0, 0],
        [1, 1, 1],
    )


def test_sets_and_weights_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        cover(np.array([[3, 1, 3]]), ["a"], 1)
    with pytest.raises(ValueError, match="twice"):
        cover(np.array([[3, 1, 4, 3]]), ["a"], 1)
    for numbers in ([[0, 2]], [[-1, 1]]):
        with pytest.raises(ValueError, match="numbered from 0"):
            cover(np.array(numbers), ["a"], 1, np.ones(2))
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="weights must be finite"):
            cover(np.array([[0, 1]]), ["a"], 1, np.array([1.0, wrong]))
    with pytest.raises(SelectionError, match="0 rows cannot be chosen"):
        cover(np.array([[0, 1]]), ["a"], 0)


def _in_blocks(
    sets: np.ndarray, ids: Sequence[str], k: int, weights: np.ndarray, block: int, together: int
) -> list[tuple[int, float, int]]:
    """Choose in blocks by the plain rule."""

    def greedy(rows: Sequence[int], count: int) -> list[tuple[int, float, int]]:
        picks = by_hand(sets[list(rows)], [ids[row] for row in rows], count, weights)
        return [(rows[row], gain, turn) for row, gain, turn in picks]

    count = math.ceil(len(sets) / block)
    dealt = [part.tolist() for part in np.array_split(np.arange(len(sets)), count)]
    proposals = [[row for row, _, _ in greedy(rows, len(rows))] for rows in dealt]
    chosen: list[tuple[int, float, int]] = []
    waiting: list[int] = []
    while len(chosen) < k:
        more = max(1, (together - len(waiting)) // count)
        waiting = sorted(waiting + [row for rows in proposals for row in rows[:more]])
        proposals = [rows[more:] for rows in proposals]
        is_last = not any(proposals) or more >= min(k, math.ceil((k + together) / count))
        wanted = k - len(chosen)
        picks = greedy(waiting, wanted if is_last else min(wanted, max(1, len(waiting) // 2)))
        if len(picks) < wanted:
            picks = [pick for pick in picks if pick[2] < picks[-1][2]] or picks
        before = chosen[-1][2] if chosen else 0
        chosen += [(row, gain, turn + before) for row, gain, turn in picks]
        waiting = [row for row in waiting if row not in {row for row, _, _ in picks}]
    return chosen


@pytest.mark.parametrize(
    ("k", "block", "together"),
    [(3, 12, 12), (20, 9, 9), (40, 12, 20), (40, 1, 1), (13, 20, 39), (1, 5, 7), (12, 4, 16)],
)
def test_blocks_propose_and_the_best_of_their_proposals_are_chosen(
    k: int, block: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(k)
    sets = np.argsort(rng.random((40, NEURONS)) ** np.arange(1, NEURONS + 1), axis=1)[:, :3]
    ids = [f"{number:02d}" for number in rng.permutation(40)]
    weights = rng.integers(0, 8, size=NEURONS) / 4
    monkeypatch.setattr(blocks, "_TOGETHER", 8 * 3 * together)
    monkeypatch.setattr(blocks, "_BLOCK", 8 * 3 * block)

    def read(ordinals: np.ndarray) -> tuple[np.ndarray, list[str]]:  # of a larger table, from 100
        return sets[ordinals - 100], [ids[ordinal - 100] for ordinal in ordinals]

    division = Division.of(40, 3)
    chosen = cover_rows(read, np.arange(100, 140), k, division, weights)
    assert division == Division(math.ceil(40 / block), math.ceil(40 / math.ceil(40 / block)), together)
    picks = zip(chosen.ordinals - 100, chosen.gains, chosen.rounds, strict=True)
    assert list(picks) == _in_blocks(sets, ids, k, weights, block, together)
    assert chosen.covered == len(np.unique(sets[chosen.ordinals - 100]))
    assert chosen.coverable == len(np.unique(sets))


def test_what_fits_is_covered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sets, ids = np.argsort(rng.random((40, NEURONS)), axis=1)[:, :3], [f"{number:02d}" for number in range(40)]
    monkeypatch.setattr(blocks, "_TOGETHER", 8 * 3 * 20)
    monkeypatch.setattr(blocks, "_BLOCK", 8)
    candidates = np.arange(0, 40, 2)
    division = Division.of(20, 3)
    assert division == Division(1, 20, 20)

    def read(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        return sets[rows], [ids[row] for row in rows]

    chosen = cover_rows(read, candidates, 20, division, np.ones(NEURONS))
    exact = cover(sets, ids, 20, allowed=np.arange(40) % 2 == 0)
    assert all(np.array_equal(getattr(chosen, name), getattr(exact, name)) for name in Cover.__slots__)
    with pytest.raises(SelectionError, match="21 rows cannot be chosen from the 20 there are"):
        cover_rows(read, candidates, 21, division, np.ones(NEURONS))


def test_blocks_have_rows_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_RUN", 4)
    parts = list(Division(3, 14, 14).split(np.arange(41)))
    assert sorted(np.concatenate(parts).tolist()) == list(range(41))
    assert [len(part) for part in parts] == [14, 14, 13]
    assert all(part.min() < 14 and part.max() > 27 for part in parts)
