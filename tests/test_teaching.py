"""The parts of the teaching benchmark that need no training: what is compared, laid out, kept and reported."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.arms import Arm, ArmKind, choose, core, make_arms, take_turns
from benchmarks.quality.blocks import training_blocks, whole_blocks
from benchmarks.quality.findings import Runs, findings
from benchmarks.quality.fine_tune import FineTuner, Recipe
from benchmarks.quality.materials import load_model
from benchmarks.quality.plan import RunSpec, run_specs
from benchmarks.quality.run_cache import RunCache, digest
from benchmarks.quality.statistics import RunPair, average, relative_loss, split
from benchmarks.quality.teaching_tables import teaching_tables
from benchmarks.quality.tokens import TokenizedRows, answer_spans, shortened
from nait_index.types import Part, Role

CAPABILITIES = ("gsm8k", "humaneval", "bbh")
SEEDS = 3
LOSS = {"untrained": 2.0, "random": 1.0, "full": 1.1, "low:contrast": 1.5, "core:contrast": 0.9}
"""A token, of the arms that are the same everywhere; any other has 0.5 on what it chose for and 1.2 elsewhere."""


def test_examples_and_held_out_rows_part_all_rows() -> None:
    examples, held_out = split(401, seed=3)
    assert (len(examples), len(held_out)) == (200, 201)
    assert sorted(examples + held_out) == list(range(401))
    assert split(401, 3) == (examples, held_out)
    assert split(401, 4)[0] != examples
    with pytest.raises(ValueError, match="1 rows cannot be split"):
        split(1, 0)


def test_a_loss_is_relative_to_the_base_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(5)
    bases = [rng.uniform(1, 3, 40) for _ in range(5)]
    interval = relative_loss([RunPair(base * rng.uniform(0.7, 0.9, 40), base) for base in bases]).interval()
    assert -0.3 < interval["low"] < interval["mean"] < interval["high"] < -0.1
    assert interval["mean"] == pytest.approx(-0.2, abs=0.03)


def test_the_same_share_everywhere_leaves_no_doubt() -> None:
    base = np.random.default_rng(1).uniform(1, 3, 20)
    estimate = relative_loss([RunPair(base * 0.75, base)] * 4)
    assert estimate.interval() == {"mean": -0.25, "low": -0.25, "high": -0.25, "seeds": 4}


def test_intervals_grow_with_the_difference_between_seeds() -> None:
    base = np.ones(30)
    calm = relative_loss([RunPair(base * share, base) for share in (0.79, 0.8, 0.81)]).interval()
    wild = relative_loss([RunPair(base * share, base) for share in (0.6, 0.8, 1.0)]).interval()
    assert wild["high"] - wild["low"] > 5 * (calm["high"] - calm["low"])


def test_half_and_twice_the_loss_cancel_out() -> None:
    base = np.ones(10)
    halved, doubled = relative_loss([RunPair(base / 2, base)]), relative_loss([RunPair(base * 2, base)], stream=1)
    assert average([halved, doubled]).mean == pytest.approx(0)
    with pytest.raises(ValueError, match="different numbers of seeds"):
        average([halved, relative_loss([RunPair(base, base)] * 2)])


def test_arms_choose_what_their_name_says() -> None:
    rankings = {"a": np.arange(100)[::-1], "b": np.roll(np.arange(100), 3)}

    def chosen(kind: ArmKind, capability: str | None = None, seed: int = 0) -> list[int]:
        return choose(Arm(kind, "contrast"), capability, ["a", "b"], rankings.__getitem__, 100, seed).tolist()

    assert chosen(ArmKind.TOP, "a") == list(range(90, 100))
    assert chosen(ArmKind.LOW, "a") == list(range(10))
    assert chosen(ArmKind.FULL) == list(range(100))
    assert chosen(ArmKind.UNTRAINED) == []
    assert len(set(chosen(ArmKind.RANDOM))) == 10
    assert chosen(ArmKind.RANDOM) == chosen(ArmKind.RANDOM)
    assert chosen(ArmKind.RANDOM) != chosen(ArmKind.RANDOM, seed=1)
    assert chosen(ArmKind.CORE) == [97, 98, 99]
    assert chosen(ArmKind.ROUND_ROBIN) == [0, 1, 2, 3, 94, 95, 96, 97, 98, 99]


def test_the_core_is_what_more_than_half_hold_best_first() -> None:
    assert core([np.array([5, 1, 2]), np.array([2, 5, 7]), np.array([9, 5, 1])], 10).tolist() == [5, 2, 1]
    assert core([np.array([5, 1, 2]), np.array([2, 5, 7]), np.array([9, 5, 1])], 1).tolist() == [5]
    assert core([np.array([1]), np.array([2])], 10).tolist() == []


def test_rankings_take_turns() -> None:
    assert take_turns([np.array([1, 2, 3]), np.array([1, 3, 2])], 3).tolist() == [1, 3, 2]
    assert take_turns([np.array([0, 1, 2, 3]), np.array([3, 2, 1, 0])], 3).tolist() == [0, 3, 1]


def test_every_method_has_its_arms() -> None:
    names = [str(arm) for arm in make_arms(["contrast", "nait"], ["nait"], [16], [ArmKind.FULL, ArmKind.CORE])]
    assert names == [
        "untrained",
        "random",
        "full",
        "core:contrast",
        "top:contrast",
        "top:nait",
        "low:nait",
        "top:contrast@16",
    ]


def some_tokens(lengths: list[int]) -> TokenizedRows:
    """Make rows whose tokens are the number of their row, plus 1; the later half of each is the answer."""
    answer = [np.arange(length) >= length // 2 for length in lengths]
    ids = np.repeat(np.arange(1, len(lengths) + 1), lengths).astype(np.int32)
    return TokenizedRows(
        ids, np.concatenate(answer), np.concatenate([[0], np.cumsum(lengths)]), np.zeros(len(lengths), bool)
    )


def test_every_step_of_every_arm_has_the_same_number_of_tokens() -> None:
    tokens = some_tokens([7, 30, 3, 16, 5])
    for chosen in ([0], [1, 2], [0, 1, 2, 3, 4]):
        for batch in islice(training_blocks(tokens, chosen, (2, 16), seed=1), 5):
            assert batch.ids.shape == (2, 16)
            assert set(np.unique(batch.ids)) <= {row + 1 for row in chosen}
            assert (batch.ids == batch.rows + 1).all()


def test_no_row_is_repeated_before_all_were_read() -> None:
    tokens = some_tokens([8] * 6)
    first = [batch.rows[:, ::8] for batch in islice(training_blocks(tokens, range(6), (1, 16), seed=2), 3)]
    assert sorted(np.concatenate(first).ravel()) == list(range(6))


def test_held_out_rows_are_whole_and_once() -> None:
    tokens = some_tokens([7, 9, 3, 16, 5])
    rows = [4, 0, 3, 1]
    ids = np.concatenate([batch.ids.ravel() for batch in whole_blocks(tokens, rows, (2, 16))])
    assert {row: int((ids == row + 1).sum()) for row in range(5)} == {0: 7, 1: 9, 2: 0, 3: 16, 4: 5}


def test_rows_in_a_block_do_not_see_one_another() -> None:
    tokens = some_tokens([9, 12, 7])
    tuner = FineTuner(load_model("bundled"), Recipe(width=32, blocks=1))
    together = tuner.evaluate(tuner.fresh(), tokens, [0, 1, 2])
    alone = [tuner.evaluate(tuner.fresh(), tokens, [row]) for row in range(3)]
    assert together.whole == pytest.approx([one.whole[0] for one in alone], rel=0.01)
    assert together.answer == pytest.approx([one.answer[0] for one in alone], rel=0.01)
    assert together.answer_tokens == 5 + 6 + 4


def test_training_lowers_the_loss_and_leaves_the_model_as_it_was() -> None:
    tokens = some_tokens([16, 16])
    tuner = FineTuner(load_model("bundled"), Recipe(width=32, blocks=1, steps=8, warmup_steps=1, learning_rate=1e-3))
    before = tuner.evaluate(tuner.fresh(), tokens, [0, 1]).answer.sum()
    after = tuner.evaluate(tuner.train(tokens, [0, 1], seed=0), tokens, [0, 1])
    assert after.answer.sum() < before / 2
    assert tuner.evaluate(tuner.fresh(), tokens, [0, 1]).answer.sum() == before


def test_positions_tell_rows_and_what_fills_up_apart() -> None:
    batch = next(whole_blocks(some_tokens([3, 2]), [0, 1], (1, 8)))
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 0, 0, 0]]


def test_answers_are_found_in_a_rendered_text() -> None:
    parts = [Part(Role.USER, "one"), Part(Role.ASSISTANT, " one "), Part(Role.USER, "two"), Part(Role.ASSISTANT, "2")]
    text = "<user>one<bot>one<user>two<bot>2"
    assert [text[slice(*span)] for span in answer_spans(text, parts)] == ["one", "2"]
    assert answer_spans("just text", [Part(Role.TEXT, "just text")]) == [(0, 9)]
    with pytest.raises(ValueError, match="changed the assistant"):
        answer_spans("one", parts)


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [
        (4, 3, [0, 1, 2, 3, 4, 5, 6]),
        (9, 3, [0, 1, 2, 3, 4, 9, 10, 11]),
        (9, 6, [0, 1, 2, 3, 9, 10, 11, 12]),
        (2, 9, [0, 1, 2, 3, 4, 5, 6, 7]),
        (0, 9, [0, 1, 2, 3, 4, 5, 6, 7]),
        (9, 0, [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_row_that_is_too_long_keeps_its_answer(prompt: int, answer: int, kept: list[int]) -> None:
    assert shortened(np.arange(prompt + answer) >= prompt, 8).tolist() == kept


def test_finished_runs_are_found_again_and_half_a_record_is_not(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "runs.jsonl"
    cache = RunCache(path)
    cache.add({"key": "a", "seconds": 1.5})
    cache.add({"key": "b", "seconds": 2.5})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"key": "c", "sec')
    again = RunCache(path)
    assert ("a" in again, "b" in again, "c" in again) == (True, True, False)
    again.add({"key": "c", "seconds": 3.5})
    assert RunCache(path)["c"] == {"key": "c", "seconds": 3.5}


def test_keys_depend_on_every_part_and_on_where_parts_end() -> None:
    keys = {digest("ab", "c"), digest("a", "bc"), digest(b"ab", "c"), digest({"a": 1}), digest({"a": 2})}
    assert len(keys) == 5
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    arms = make_arms(["contrast"], ["contrast"], [16], [ArmKind.FULL, ArmKind.CORE])
    planned = run_specs(arms, CAPABILITIES, SEEDS)
    assert [spec.seed for spec in planned] == sorted(spec.seed for spec in planned)
    records = {spec: _record(spec) for spec in planned}
    return {"capabilities": list(CAPABILITIES)} | findings(Runs(records, arms, CAPABILITIES, SEEDS))


def _record(spec: RunSpec) -> dict[str, Any]:
    rows = np.random.default_rng(spec.seed).uniform(1, 2, 12)
    measured = {}
    for on in CAPABILITIES:
        loss = LOSS.get(str(spec.arm), 0.5 if spec.capability == on else 1.2)
        measured[on] = {
            "answer": (rows * loss).tolist(),
            "whole": (rows * loss * 3).tolist(),
            "exact": 3,
            "answer_tokens": 120,
        }
    return {"rows": 10, "answer_share": 0.5, "measured": measured}


def test_findings_compare_with_random_rows(result: dict[str, Any]) -> None:
    relative = result["relative_to_random"]
    assert relative["top:contrast"]["mean"]["mean"] == pytest.approx(-0.5)
    assert relative["full"]["bbh"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "seeds": SEEDS}
    assert result["transfer"]["top:contrast"]["matrix"]["bbh"] == {"gsm8k": 0.2, "humaneval": 0.2, "bbh": -0.5}
    assert result["exact_match"]["random"]["gsm8k"] == 0.25


def test_claims_are_data(result: dict[str, Any]) -> None:
    holds = {claim["claim"].split(" (")[0]: claim["holds"] for claim in result["claims"]}
    assert holds == {
        "highest-scored rows teach more than random ones, lowest-scored less": True,
        "a chosen tenth teaches more than the whole pool, for the same tokens": True,
        "what is chosen for reasoning or code helps the other capabilities most": False,
        "16 examples are enough": True,
        "rows chosen for all capabilities at once help every one of them": True,
    }


def test_tables_have_a_cell_for_every_column(result: dict[str, Any]) -> None:
    tables = teaching_tables(result)
    assert all(len(cells) == len(header) - 1 for header, rows in tables.values() for _, cells in rows)
    assert ("`full`", ["+10.0 %"] * 3 + ["**+10.0 % (+10.0 % … +10.0 %)**"]) in tables["teaching"][1]
