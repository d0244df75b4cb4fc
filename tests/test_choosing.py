"""Choosing from an index: several capabilities combined, quality blended in, coverage without any capability."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    build_small,
    manifest_of,
    nait_index,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex
from nait_index.config import Combine, View
from nait_index.errors import SelectionError, StoreError
from nait_index.quality.imported import Imported
from nait_index.selection import blocks
from nait_index.selection.provenance import CoverageSize
from nait_index.selection.selection import Selection
from nait_index.store.samples import SampleTable

ROWS = 30
NAMES = ("adding", "naming", "both")
METHODS = ("contrast", "bm25")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """Build a small index, store three capabilities, and score some of the rows twice; tests must not change it."""
    folder = tmp_path_factory.mktemp("choosing")
    build_small(folder / "own.nait", write_lines(folder / "rows.jsonl", small_rows(ROWS)), model=tiny_model("llama"))
    index = NaitIndex(folder / "own.nait")
    examples = {"adding": small_rows(8, first=100)[1::2], "naming": small_rows(8, first=100)[::2]}
    for name, rows in (examples | {"both": small_rows(4, first=120)}).items():
        index.add_capability(name, write_lines(folder / f"{name}.jsonl", rows))
    for name, values in SCORES.items():
        file = write_lines(
            folder / f"{name}.jsonl", [{"id": sample_id, "value": value} for sample_id, value in values.items()]
        )
        report = index.score(Imported(file), name=name)
        assert (report.statuses, report.set_aside) == ({"ok": len(values)}, 0)
    return folder


SCORES: dict[str, dict[str, float]] = {
    "reward": {f"row-{i:03}": i * 7 % 11 / 4 for i in range(ROWS) if i % 3},
    "ppl": {f"row-{i:03}": float(i * 5 % 17) for i in range(ROWS) if i != 1},
}
"""Of 20 and of 29 rows; the first has ties."""


@pytest.fixture
def index(folder: Path) -> NaitIndex:
    return NaitIndex(folder / "own.nait")


def _ranked(index: NaitIndex, name: str, **asked: Any) -> list[str]:
    return list(index.query(name, top="100%", **asked))


# ---- several capabilities --------------------------------------------------------------------------------------------


def _taken_in_turn(rankings: dict[str, list[str]], turns: Sequence[str]) -> list[tuple[str, str]]:
    chosen: dict[str, str] = {}
    for name in turns:
        chosen[next(sample_id for sample_id in rankings[name] if sample_id not in chosen)] = name
    return list(chosen.items())


def _pairs(selection: Selection) -> list[tuple[str, str]]:
    return list(zip(selection.ids, selection.details["capability"], strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_union_holds_the_best_of_each(method: str, index: NaitIndex) -> None:
    best = {name: _ranked(index, name, method=method)[:5] for name in NAMES}
    chosen = index.query(NAMES, top=5, method=method)
    assert set(chosen) == set().union(*best.values())
    assert len(chosen) == len(set(chosen))
    assert all(sample_id in best[name] for sample_id, name in _pairs(chosen))
    assert chosen.provenance.combined == "union"
    again = index.query(NAMES, top=5, method=method, combine="union")
    assert (again.ids, again.scores) == (chosen.ids, chosen.scores)


@pytest.mark.parametrize("method", METHODS)
def test_the_mean_gives_exactly_as_many_rows_as_asked_for(method: str, index: NaitIndex) -> None:
    ranked = {name: _ranked(index, name, method=method) for name in NAMES}
    total = {sample_id: sum(ids.index(sample_id) for ids in ranked.values()) for sample_id in ranked["both"]}
    for top, k in (("1", 1), ("7", 7), ("30%", 9), ("100%", ROWS)):
        chosen = index.query(NAMES, top=top, method=method, combine=Combine.MEAN)
        assert list(chosen) == sorted(total, key=lambda sample_id: (total[sample_id], sample_id))[:k]
        for sample_id, name in _pairs(chosen):
            assert ranked[name].index(sample_id) == min(ids.index(sample_id) for ids in ranked.values())


@pytest.mark.parametrize("method", METHODS)
def test_round_robin_takes_exactly_as_many_rows_in_turn(method: str, index: NaitIndex) -> None:
    ranked = {name: _ranked(index, name, method=method) for name in NAMES}
    for k in (1, 2, 8, ROWS):
        chosen = index.query(NAMES, top=k, method=method, combine="round-robin")
        assert _pairs(chosen) == _taken_in_turn(ranked, [NAMES[turn % 3] for turn in range(k)])
        assert len(chosen) == len(set(chosen)) == k


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("weights", "k", "quotas"),
    [
        ((2, 1, 1), 8, (4, 2, 2)),
        ((1, 1, 1), 10, (4, 3, 3)),
        ((0.1, 0.2, 0.7), 10, (1, 2, 7)),
        ((5, 3, 1), 7, (4, 2, 1)),
        ((1, 1000, 1), 5, (0, 5, 0)),
        ((2, 1, 3), ROWS, (10, 5, 15)),
    ],
)
def test_weights_are_met_as_quotas(
    method: str, weights: tuple[float, ...], k: int, quotas: tuple[int, ...], index: NaitIndex
) -> None:
    shares = dict(zip(NAMES, weights, strict=True))
    chosen = index.query(NAMES, top=k, method=method, combine="weighted", weights=shares)
    assert len(chosen) == len(set(chosen)) == k
    counts = Counter(chosen.details["capability"])
    assert tuple(counts[name] for name in NAMES) == quotas
    assert chosen.provenance.weights == shares
    ranked = {name: _ranked(index, name, method=method) for name in NAMES}
    assert _pairs(chosen) == _taken_in_turn(ranked, chosen.details["capability"])


@pytest.mark.parametrize("how", ["mean", "round-robin", "weighted"])
def test_a_combination_chooses_among_the_rows_that_pass_a_filter(how: str, index: NaitIndex) -> None:
    weights = {"adding": 3, "naming": 1} if how == "weighted" else None
    where = "reward >= 1"
    passing = {sample_id for sample_id, value in SCORES["reward"].items() if value >= 1}
    asked = {"where": where, "combine": how, "weights": weights, "method": "contrast"}
    chosen = index.query(["adding", "naming"], top="100%", **asked)
    assert set(chosen) == passing
    assert chosen.provenance.available == len(passing)
    assert len(index.query(["adding", "naming"], top="50%", **asked)) == len(passing) // 2
    with pytest.raises(SelectionError, match=f"more rows than the {len(passing)}"):
        index.query(["adding", "naming"], top=len(passing) + 1, **asked)


def test_each_row_has_the_score_of_the_capability_that_chose_it(index: NaitIndex) -> None:
    scores = {}
    for name in NAMES:
        alone = index.query(name, top="100%", method="contrast")
        scores |= {(sample_id, name): score for sample_id, score in zip(alone.ids, alone.scores, strict=True)}
    for how in ("union", "mean", "round-robin"):
        chosen = index.query(NAMES, top=6, method="contrast", combine=how)
        assert list(chosen.scores) == [scores[pair] for pair in _pairs(chosen)]
        ids = [row["id"] for row in map(_as_row, chosen.rows())]
        assert ids == list(chosen)


def _as_row(text: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(text)
    return row


def test_one_capability_is_ranked_as_alone_however_it_is_combined(index: NaitIndex) -> None:
    alone = index.query("adding", top=6)
    for how in ("mean", "round-robin"):
        assert index.query(["adding"], top=6, combine=how).ids == alone.ids
    chosen = index.query(["adding"], top=6, combine="weighted", weights={"adding": 0.5})
    assert (chosen.ids, chosen.scores) == (alone.ids, alone.scores)


def test_the_command_line_combines_like_the_library(folder: Path, index: NaitIndex, tmp_path: Path) -> None:
    root = folder / "own.nait"
    named = [argument for name in NAMES for argument in ("-c", name)]
    weighted = [argument for weight in ("adding=2", "naming=1", "both=1.5") for argument in ("--weight", weight)]
    weights = {"adding": 2.0, "naming": 1.0, "both": 1.5}
    for how, more in (("union", []), ("mean", []), ("round-robin", []), ("weighted", weighted)):
        outcome = nait_index("query", root, *named, "--top", "30%", "--combine", how, *more, "--json").json
        wanted = index.query(NAMES, top="30%", combine=how, weights=weights if more else None)
        assert [row["id"] for row in outcome["selected"]] == list(wanted)
        assert [row["capability"] for row in outcome["selected"]] == wanted.details["capability"]
        assert outcome["combined"] == how
        assert outcome["weights"] == (weights if more else None)
        assert outcome["rows"] == 9 or how == "union"
    out = tmp_path / "out.jsonl"
    files = [argument for name in NAMES[:2] for argument in ("-e", folder / f"{name}.jsonl")]
    weighting = ["--combine", "weighted", "--weight", "adding=3", "--weight", "naming=1", "--top", "8"]
    assert nait_index("query", root, *files, *weighting, "-o", out).code == 0
    assert len(read_lines(out)) == 8
    beside = _as_row(out.with_name("out.jsonl.meta.json").read_text(encoding="utf-8"))
    assert Counter(row["capability"] for row in beside["selected"]) == {"adding": 6, "naming": 2}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--combine", "weighted", "--weight", "adding"], 2, "'adding' is not of the form NAME=W"),
        (["--combine", "weighted", "--weight", "adding=much"], 2, "'adding=much' is not of the form NAME=W"),
        (["--combine", "weighted", "--weight", "adding="], 2, "'adding=' is not of the form NAME=W"),
        (["--combine", "weighted", "--weight", "3"], 2, "'3' is not of the form NAME=W"),
        (["--combine", "weighted", "--weight", "adding=1", "--weight", "adding=2"], 2, "'adding' twice"),
        (["--combine", "mixed"], 2, "'mixed'"),
        (["--combine", "weighted"], 1, "needs weights"),
        (["--combine", "weighted", "--weight", "adding=1"], 1, "'naming' has no weight"),
        (["--combine", "weighted", "--weight", "adding=1", "--weight", "nobody=1"], 1, "'nobody'"),
        (["--combine", "weighted", "--weight", "adding=0", "--weight", "naming=1"], 1, "positive"),
        (["--combine", "weighted", "--weight", "adding=-1", "--weight", "naming=1"], 1, "positive"),
        (["--combine", "weighted", "--weight", "adding=nan", "--weight", "naming=1"], 1, "positive"),
        (["--combine", "weighted", "--weight", "adding=inf", "--weight", "naming=1"], 1, "positive"),
        (["--weight", "adding=1", "--weight", "naming=1"], 1, "'union' takes no weights"),
        (["--combine", "mean", "--weight", "adding=1", "--weight", "naming=1"], 1, "'mean' takes no weights"),
    ],
)
def test_what_cannot_be_combined_is_refused_in_one_line(
    arguments: list[str], code: int, message: str, folder: Path
) -> None:
    line = refusal("query", folder / "own.nait", "-c", "adding", "-c", "naming", "--top", "4", *arguments, code=code)
    assert message in line


def test_the_library_refuses_a_combination_that_does_not_exist(index: NaitIndex) -> None:
    with pytest.raises(
        SelectionError, match="unknown way to combine 'mixed'; choose one of: union, mean, round-robin, weighted"
    ):
        index.query(NAMES, combine="mixed")


# ---- quality blended in ----------------------------------------------------------------------------------------------


def _ranks(values: dict[str, float]) -> dict[str, float]:
    """Return, for each row, the share of the other rows that it is not worse than, ties counting half."""
    return {
        sample_id: sum((value > other) + (value == other) / 2 for name, other in values.items() if name != sample_id)
        / (len(values) - 1)
        for sample_id, value in values.items()
    }


def _by_hand(index: NaitIndex, weights: dict[str, float], among: set[str], method: str) -> dict[str, float]:
    ranked = index.query("adding", top="100%", method=method)
    scores = dict(zip(ranked.ids, ranked.scores, strict=True))
    rows = [sample_id for sample_id in among if all(sample_id in SCORES[name] for name in weights)]
    parts = [(1 - sum(map(abs, weights.values())), {sample_id: scores[sample_id] for sample_id in rows})]
    for name, weight in weights.items():
        sign = 1 if weight > 0 else -1
        parts.append((abs(weight), {sample_id: sign * SCORES[name][sample_id] for sample_id in rows}))
    shares = [(weight, _ranks(values)) for weight, values in parts]
    return {sample_id: sum(weight * values[sample_id] for weight, values in shares) for sample_id in rows}


SCORED = {("reward",): 20, ("ppl",): 29, ("reward", "ppl"): 19}
EVERYONE = {f"row-{i:03}" for i in range(ROWS)}
BLENDS = [
    {"reward": 0.3},
    {"reward": -0.3},
    {"ppl": -0.5},
    {"reward": 0.25, "ppl": -0.5},
    {"reward": 0.5, "ppl": 0.5},
    {"reward": 1.0},
]


@pytest.mark.parametrize("method", [*METHODS, "probe", "nas"])
@pytest.mark.parametrize("weights", BLENDS, ids=str)
def test_a_blend_is_what_the_formula_says(weights: dict[str, float], method: str, index: NaitIndex) -> None:
    wanted = _by_hand(index, weights, EVERYONE, method)
    chosen = index.query("adding", top="100%", method=method, blend=weights)
    assert dict(zip(chosen.ids, chosen.scores, strict=True)) == pytest.approx(wanted, abs=1e-6)
    rounded = {sample_id: round(score, 9) for sample_id, score in wanted.items()}
    assert list(chosen) == sorted(rounded, key=lambda sample_id: (-rounded[sample_id], sample_id))
    assert chosen.provenance.available == len(wanted) == SCORED[tuple(weights)]
    assert chosen.provenance.blend == weights


@pytest.mark.parametrize("weights", BLENDS, ids=str)
def test_a_smaller_blend_is_the_beginning_of_a_larger_one(weights: dict[str, float], index: NaitIndex) -> None:
    """Sums of ranks have many ties, which are in the order of ids wherever the cut is made."""
    for method in METHODS:
        whole = _ranked(index, "adding", method=method, blend=weights)
        for k in range(1, len(whole)):
            assert list(index.query("adding", top=k, method=method, blend=weights)) == whole[:k]


def test_rows_without_a_score_take_no_part_and_shares_are_of_the_others(index: NaitIndex) -> None:
    chosen = index.query("adding", top="50%", blend={"reward": 0.2})
    assert len(chosen) == 10
    assert set(chosen) <= SCORES["reward"].keys()
    with pytest.raises(SelectionError, match="more rows than the 20"):
        index.query("adding", top=21, blend={"reward": 0.2})


def test_a_blend_ranks_among_the_rows_that_pass_a_filter(index: NaitIndex) -> None:
    passing = {f"row-{i:03}" for i in range(ROWS) if i * 5 % 17 < 9 and i != 1}
    wanted = _by_hand(index, {"reward": 0.4}, passing, "contrast")
    chosen = index.query("adding", top="100%", method="contrast", where="ppl < 9", blend={"reward": 0.4})
    assert dict(zip(chosen.ids, chosen.scores, strict=True)) == pytest.approx(wanted, abs=1e-6)
    assert chosen.provenance.available == len(wanted) < 20


def test_blends_are_combined_and_have_cores(index: NaitIndex) -> None:
    blend = {"reward": 0.3}
    alone = {name: _ranked(index, name, method="contrast", blend=blend) for name in NAMES}
    mean = index.query(NAMES, top=8, method="contrast", combine="mean", blend=blend)
    total = {sample_id: sum(ids.index(sample_id) for ids in alone.values()) for sample_id in SCORES["reward"]}
    assert list(mean) == sorted(total, key=lambda sample_id: (total[sample_id], sample_id))[:8]
    core = index.core(NAMES, top=8, votes="all", method="contrast", blend=blend)
    assert set(core) == set.intersection(*(set(ids[:8]) for ids in alone.values()))
    assert core.provenance.available == 20


def test_the_command_line_blends_like_the_library(folder: Path, index: NaitIndex) -> None:
    options = ["-c", "adding", "--top", "6", "--blend", "reward=0.25", "--blend", "ppl=-.5"]
    wanted = index.query("adding", top=6, blend={"reward": 0.25, "ppl": -0.5})
    outcome = nait_index("query", folder / "own.nait", *options, "--json").json
    assert [(row["id"], row["score"]) for row in outcome["selected"]] == list(
        zip(wanted.ids, wanted.scores, strict=True)
    )
    assert outcome["blend"] == {"reward": 0.25, "ppl": -0.5}
    assert outcome["available"] == wanted.provenance.available
    message = nait_index("query", folder / "own.nait", *options).err
    assert f"6 of {outcome['available']} rows" in message
    core = nait_index("core", folder / "own.nait", "-c", "naming", *options, "--json").json
    assert core["blend"] == {"reward": 0.25, "ppl": -0.5}


@pytest.mark.parametrize(
    ("blend", "message"),
    [
        ("rewrd=0.3", "has no score 'rewrd'; it has reward, ppl"),
        ("n_tokens=0.3", "has no score 'n_tokens'"),
        ("reward_status=0.3", "has no score 'reward_status'"),
        ("reward", "not of the form COLUMN=WEIGHT"),
        ("reward=0", "weights other than 0"),
        ("reward=1.5", "add up to 1.5"),
    ],
)
def test_a_blend_that_cannot_be_is_refused_in_one_line(blend: str, message: str, folder: Path) -> None:
    for command in (["query"], ["core", "-c", "naming"]):
        assert message in refusal(command[0], folder / "own.nait", *command[1:], "-c", "adding", "--blend", blend)


def test_a_blend_that_cannot_be_read_is_refused_before_examples_are_encoded(folder: Path) -> None:
    outcome = nait_index("query", folder / "own.nait", "-e", folder / "adding.jsonl", "--blend", "reward")
    assert (outcome.code, len(outcome.err.splitlines())) == (1, 1)


def test_an_index_without_scores_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    model = str(NaitIndex(folder / "own.nait").manifest.model["name"])
    index = build_small(root, write_lines(tmp_path / "rows.jsonl", small_rows(4)), model=model)
    examples = index.make_capability(folder / "adding.jsonl")
    with pytest.raises(SelectionError, match="no score 'reward'; make one with 'nait-index score'"):
        index.query(examples, blend={"reward": 0.3})
    index.score(Imported(write_lines(tmp_path / "reward.jsonl", [{"id": "row-002", "value": 1}])))
    with pytest.raises(SelectionError, match="no score 'reward'"):
        index.query(examples, blend={"reward": 0.3})
    assert list(NaitIndex(root).query(examples, blend={"reward": 0.3})) == ["row-002"]
    with pytest.raises(SelectionError, match="reward") as raised:
        NaitIndex(root).query(examples, where="id != 'row-002'", blend={"reward": 0.3})
    assert "\n" not in str(raised.value)


# ---- coverage --------------------------------------------------------------------------------------------------------


def _sets(root: Path, per_layer: int = 20) -> dict[str, set[tuple[int, int]]]:
    """Return (layer, neuron) of every neuron that each row keeps, by id."""
    import lance

    from nait_index.store.layout import Layout

    table = lance.dataset(str(Layout(root).samples)).to_table(columns=["id", "topk_neurons"])
    rows = zip(table["id"].to_pylist(), table["topk_neurons"].to_pylist(), strict=True)
    return {sample_id: {(i // per_layer, number) for i, number in enumerate(numbers)} for sample_id, numbers in rows}


def _covered(
    sets: dict[str, set[tuple[int, int]]], k: int, weights: dict[tuple[int, int], float] | None = None
) -> list[tuple[str, float, int]]:
    """Choose greedily by the plain rule; return id, gain and round."""
    chosen: list[tuple[str, float, int]] = []
    left, covered, turn = dict(sorted(sets.items())), set[tuple[int, int]](), 1
    while len(chosen) < k:
        gains = {
            sample_id: sum(weights[neuron] if weights else 1 for neuron in neurons - covered)
            for sample_id, neurons in left.items()
        }
        best = max(gains, key=lambda sample_id: (round(gains[sample_id], 6), [-ord(letter) for letter in sample_id]))
        if gains[best] < 1e-9:
            covered, turn = set(), turn + 1
            continue
        chosen.append((best, gains[best], turn))
        covered |= left.pop(best)
    return chosen


def _assert_cover(selection: Selection, wanted: list[tuple[str, float, int]], sets: dict[str, Any]) -> None:
    assert list(selection) == [sample_id for sample_id, _, _ in wanted]
    assert list(selection.scores) == pytest.approx([gain for _, gain, _ in wanted], abs=1e-6)
    assert selection.details["round"] == [turn for _, _, turn in wanted]
    fingerprint = manifest_of(Path(selection.provenance.index)).fingerprint
    assert selection.provenance.coverage == CoverageSize(
        covered=len(set().union(*(sets[row_id] for row_id in selection))),
        coverable=len(set().union(*sets.values())),
        neurons=sum(fingerprint.widths),
        strongest=fingerprint.signatures.topk,
        rounds=wanted[-1][2],
        blocks=1,
        block_rows=len(sets),
        together=len(sets),
    )
    assert selection.provenance.available == len(sets)


@pytest.mark.parametrize(("top", "k"), [(1, 1), ("15%", 4), (12, 12), ("100%", ROWS)])
def test_rows_cover_as_many_neurons_as_greedy_choice_can(top: str | int, k: int, index: NaitIndex) -> None:
    sets = _sets(index.layout.root)
    _assert_cover(index.cover(top=top), _covered(sets, k), sets)


def test_rare_neurons_may_count_more(index: NaitIndex) -> None:
    sets = _sets(index.layout.root)
    held = Counter(neuron for neurons in sets.values() for neuron in neurons)
    weights = {neuron: float(np.log(ROWS / count)) for neuron, count in held.items()}
    chosen = index.cover(top=10, rare=True)
    _assert_cover(chosen, _covered(sets, 10, weights), sets)
    assert chosen.provenance.weights == "rarity"
    assert index.cover(top=10).provenance.weights is None


def test_coverage_is_of_the_rows_that_pass_a_filter(index: NaitIndex) -> None:
    sets = {
        sample_id: neurons
        for sample_id, neurons in _sets(index.layout.root).items()
        if SCORES["reward"].get(sample_id, -1) >= 1
    }
    chosen = index.cover(top="50%", where="reward >= 1")
    _assert_cover(chosen, _covered(sets, len(sets) // 2), sets)
    with pytest.raises(SelectionError, match="widen --where"):
        index.cover(where="reward > 100")
    with pytest.raises(SelectionError, match="more rows than"):
        index.cover(top=ROWS + 1)


def test_more_rows_than_fit_are_covered_in_blocks(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    sets, read = _sets(index.layout.root), list[int]()
    width = len(sets["row-000"])
    monkeypatch.setattr(blocks, "_TOGETHER", 8 * width * 20)
    monkeypatch.setattr(blocks, "_BLOCK", 8 * width * 10)
    signatures_at = SampleTable.signatures_at

    def signatures_read(self: SampleTable, ordinals: np.ndarray, column: str) -> np.ndarray:
        read.append(len(ordinals))
        return signatures_at(self, ordinals, column)

    monkeypatch.setattr(SampleTable, "signatures_at", signatures_read)
    chosen = index.cover(top=20, rare=True)
    size = chosen.provenance.coverage
    assert size is not None
    assert (len(set(chosen)), size.blocks, size.block_rows, size.together) == (20, 3, 10, 20)
    assert max(read[1:]) <= 20  # after the weights, which are counted a part at a time
    assert (size.covered, size.coverable) == tuple(
        len(set().union(*(sets[row_id] for row_id in ids))) for ids in (chosen, sets)
    )
    assert chosen.provenance.plan == (
        "each of 3 blocks of 10 rows proposes some, and 20 proposals at a time are chosen from (RandGreeDI)"
    )
    few = index.cover(top=5, where="reward >= 1").provenance
    assert few.coverage is not None
    assert (few.coverage.blocks, few.coverage.together) == (1, few.available)
    with_plan = nait_index("cover", index.layout.root, "--top", "20", "--rare", "--json")
    assert [row["id"] for row in with_plan.json["selected"]] == list(chosen)
    assert f"plan: {chosen.provenance.plan}" in with_plan.err


def test_the_command_line_covers_like_the_library(folder: Path, index: NaitIndex, tmp_path: Path) -> None:
    root, out = folder / "own.nait", tmp_path / "out.jsonl"
    for more, asked in (([], {}), (["--rare"], {"rare": True}), (["--where", "reward >= 1"], {"where": "reward >= 1"})):
        outcome = nait_index("cover", root, "--top", "6", *more, "--json")
        wanted = index.cover(top=6, **asked)  # type: ignore[arg-type]
        assert [(row["id"], row["round"]) for row in outcome.json["selected"]] == list(
            zip(wanted.ids, wanted.details["round"], strict=True)
        )
        coverage = outcome.json["coverage"]
        assert coverage == wanted.provenance.to_dict()["coverage"]
        assert f"covered {coverage['covered']} of {coverage['coverable']} neurons" in outcome.err
    assert nait_index("cover", root, "-o", out).code == 0
    assert [row["id"] for row in read_lines(out)] == list(index.cover(top="15%"))
    assert "nothing was changed" in nait_index("cover", root, "-o", out).err
    assert "--force" in refusal("cover", root, "--top", "2", "-o", out)
    printed = nait_index("cover", root, "--top", "2").out.splitlines()
    assert printed[0].split() == ["rank", "score", "round", "id", "row"]
    assert len(printed) == 3


def test_what_cannot_be_covered_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    root = folder / "own.nait"
    assert "more rows than the 30" in refusal("cover", root, "--top", "31")
    assert "--top" in refusal("cover", root, "--top", "many")
    assert "--where" in refusal("cover", root, "--where", "nothing < 1")
    model = str(NaitIndex(root).manifest.model["name"])
    other = tmp_path / "other.nait"
    build_small(other, folder / "rows.jsonl", model=model, signatures=small_signatures(views=(View.PCA,)))
    line = refusal("cover", other)
    assert "cover needs the view topk" in line
    assert "--views pca,topk" in line
    with pytest.raises(StoreError, match="the view topk"):
        NaitIndex(other).cover()


def test_layers_with_fewer_neurons_than_are_kept_are_told_apart(folder: Path, tmp_path: Path) -> None:
    """All neurons of every layer are kept: each row covers everything, and a round has one row."""
    root = tmp_path / "own.nait"
    model = str(NaitIndex(folder / "own.nait").manifest.model["name"])
    index = build_small(root, folder / "rows.jsonl", model=model, signatures=small_signatures(topk=10_000))
    chosen = index.cover(top=3)
    neurons = sum(index.manifest.fingerprint.widths)
    assert list(chosen) == ["row-000", "row-001", "row-002"]
    assert list(chosen.scores) == [neurons] * 3
    assert chosen.details["round"] == [1, 2, 3]


def test_rows_added_later_are_covered_and_chosen_too(folder: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(folder / "own.nait", tmp_path / "own.nait"))
    model = str(NaitIndex(root).manifest.model["name"])
    build_small(root, write_lines(tmp_path / "more.jsonl", small_rows(6, first=ROWS)), model=model)
    index = NaitIndex(root)
    assert len(index.cover(top="100%")) == ROWS + 6
    assert len(index.query(NAMES, top="100%", combine="mean")) == ROWS + 6
    assert index.query("adding", top="100%", blend={"ppl": 0.1}).provenance.available == 29
    assert set(samples_of(root)) == set(index.cover(top="100%"))
