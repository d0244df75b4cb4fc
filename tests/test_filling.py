"""What fills a budget: quotas, a random part, and selectors that look beyond the best scores."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import nait_index, read_lines, refusal, small_rows

from nait_index import NaitIndex
from nait_index.config import SignatureConfig, View
from nait_index.errors import SelectionError, StoreError, UnknownRowError
from nait_index.handover.rows import ChosenRow
from nait_index.selection import tasks
from nait_index.selection.duplicates import find_duplicates
from nait_index.selection.quota import Room, over_quota, within_quota
from nait_index.selection.selectors import project
from nait_index.signatures.views import TOPK_NUMBERS
from nait_index.types import RowFormat

WORDS = [f"word{n}" for n in range(200)]
SOURCES = ["a", "a", "a", "b", "b", "c"]
ROWS = 120


def made(n: int, rng: random.Random) -> dict[str, Any]:
    """Return a row; those of a subject share most of their words."""
    subject = n % 8
    text = " ".join(rng.choices(WORDS[subject * 20 : subject * 20 + 25], k=12))
    return {
        "id": f"row-{n:03}",
        "instruction": f"Say {text}",
        "output": " ".join(rng.choices(WORDS, k=rng.randrange(2, 20))),
        "meta": {"source": SOURCES[n % len(SOURCES)], "kind": n % 5},
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("filling") / "x.nait"
    built = NaitIndex.build(path, [made(n, rng) for n in range(ROWS)], signatures=SignatureConfig(views=(View.WORDS,)))
    built.add_capability("first", [made(8 * n, rng) for n in range(12)])
    built.add_capability("second", [made(8 * n + 1, rng) for n in range(12)])
    return path


@pytest.fixture(scope="module")
def opened(index: Path) -> NaitIndex:
    return NaitIndex(index)


def source(sample_id: str) -> str:
    return SOURCES[int(sample_id[4:]) % len(SOURCES)]


# ---- quotas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "most"), [("meta.source=40%", 8), ("meta.source=7", 7), ("fields.meta.source=50%", 10)]
)
def test_a_quota_gives_what_walking_down_the_ranking_gives(opened: NaitIndex, text: str, most: int) -> None:
    expected: list[str] = []
    for sample_id in opened.query("first", top="100%").ids:
        if len(expected) < 20 and sum(source(other) == source(sample_id) for other in expected) < most:
            expected.append(sample_id)
    chosen = opened.query("first", top=20, at_most=text)
    assert list(chosen.ids) == expected
    assert chosen.provenance.to_dict()["at_most"] == [text]
    assert all(first >= second for first, second in pairwise(chosen.scores))


def test_quotas_that_leave_too_few_rows_choose_fewer(opened: NaitIndex) -> None:
    chosen = opened.query("first", top=20, at_most="meta.source=20%")
    assert Counter(map(source, chosen.ids)) == {"a": 4, "b": 4, "c": 4}


def test_several_quotas_and_near_duplicates_hold_together(opened: NaitIndex) -> None:
    chosen = opened.query("first", top=30, at_most=["meta.source=50%", "n_tokens=2"], dedup=0.9, decontaminate=True)
    assert max(Counter(map(source, chosen.ids)).values()) <= 15
    tokens = opened.columns.read(["id", "n_tokens"]).to_pylist()
    length = {row["id"]: row["n_tokens"] for row in tokens}
    assert max(Counter(length[sample_id] for sample_id in chosen.ids).values()) <= 2


@pytest.mark.parametrize(("of_source", "of_kind"), [(5, 2), (3, 4)])
def test_several_quotas_give_what_walking_down_the_ranking_gives(
    opened: NaitIndex, of_source: int, of_kind: int
) -> None:
    expected: list[str] = []
    used: Counter[str] = Counter()
    for sample_id in opened.query("first", top="100%").ids:
        origin, kind = source(sample_id), f"kind {int(sample_id[4:]) % 5}"
        if len(expected) < 20 and used[origin] < of_source and used[kind] < of_kind:
            used.update([origin, kind])
            expected.append(sample_id)
    at_most = [f"meta.source={of_source}", f"meta.kind={of_kind}"]
    assert list(opened.query("first", top=20, at_most=at_most).ids) == expected


def test_a_row_that_a_quota_leaves_out_makes_no_other_a_duplicate() -> None:
    rows = [
        {"id": "a1", "source": "a", "text": "one two three four five six seven"},
        {"id": "a2", "source": "a", "text": "the quick brown fox jumps over the lazy dog"},
        {"id": "b1", "source": "b", "text": "the quick brown fox jumps over the lazy dog"},
        {"id": "c1", "source": "c", "text": "nothing like any of the others at all"},
    ]
    texts = (ChosenRow(row["id"], json.dumps(row), RowFormat.TEXT, 0, cut=False) for row in rows)
    room = Room([(np.array([0, 0, 1, 2]), 1)])
    numbers = {row["id"]: number for number, row in enumerate(rows)}
    kept = (row for row in texts if room.has(numbers[row.id]))
    assert find_duplicates(kept, 0.9, lambda row_id: room.take(numbers[row_id])) == {}
    assert not room.has(0)


def test_a_random_part_is_filled_up_although_some_of_it_repeats(tmp_path: Path) -> None:
    rng = random.Random(3)
    rows = [made(n, rng) | {"meta": {"source": "ab"[n % 2], "kind": 0}} for n in range(60)]
    rows += [row | {"id": f"copy-{number}"} for number, row in enumerate(rows)]
    opened = NaitIndex.build(tmp_path / "x.nait", rows, signatures=SignatureConfig(views=(View.WORDS,)))
    opened.add_capability("first", [made(8 * n, rng) for n in range(12)])
    mixed = opened.query("first", top=40, at_most="meta.source=50%", mix="random=50%", dedup=0.95)
    assert len(mixed) == 40
    assert mixed.provenance.wanted is None
    short = opened.query("first", top=70, at_most="meta.source=50%", mix="random=50%", dedup=0.95)
    assert (len(short), short.provenance.wanted) == (60, 70)


def test_what_is_recorded_of_a_core_is_of_the_rows_that_tokens_allow(opened: NaitIndex) -> None:
    lengths = dict(zip(*opened.columns.read(["id", "n_tokens"]).to_pydict().values(), strict=True))
    core = opened.core(["first", "second"], top="400-tokens", bootstrap=2)
    assert sum(lengths[sample_id] for sample_id in core.ids) <= 400
    summary = core.provenance.core
    assert summary is not None
    assert summary.rows == len(core)
    counted = opened.core(["first", "second"], top=summary.alone, bootstrap=2)
    assert (core.ids, core.details) == (counted.ids, counted.details)
    one_more = opened.core(["first", "second"], top=summary.alone + 1, bootstrap=0)
    assert sum(lengths[sample_id] for sample_id in one_more.ids) > 400


def test_a_core_and_several_capabilities_heed_quotas(opened: NaitIndex) -> None:
    core = opened.core(["first", "second"], top=20, at_most="meta.source=40%", bootstrap=0)
    assert len(core) == 20
    assert max(Counter(map(source, core.ids)).values()) == 8
    both = opened.query(["first", "second"], top=10, combine="round-robin", at_most="meta.source=4")
    assert len(both) == 10
    assert max(Counter(map(source, both.ids)).values()) == 4


def test_resampled_examples_choose_within_the_quotas_as_if_for_the_first_time(
    opened: NaitIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    redrawn: list[np.ndarray] = []
    count = tasks.stability
    monkeypatch.setattr(
        tasks, "stability", lambda core, draws, rows: count(core, redrawn.extend(draws) or redrawn, rows)
    )
    options: dict[str, Any] = {"top": 20, "at_most": ["meta.source=40%"], "bootstrap": 4}
    core = opened.core(["first", "second"], **options)
    ids = opened.columns.ids()
    for ordinals in redrawn:
        assert len(ordinals) == 20
        assert max(Counter(source(ids[ordinal]) for ordinal in ordinals).values()) == 8
    full = {source for source, rows in Counter(map(source, core.ids)).items() if rows == 8}
    others = {ids[ordinal] for ordinals in redrawn for ordinal in ordinals} - set(core.ids)
    assert full & set(map(source, others)), "another row of a source that the core itself has filled"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("meta.sorce=20%", "no column or field 'meta.sorce'"),
        ("source", "is not of the form COLUMN=SHARE"),
        ("=20%", "is not of the form COLUMN=SHARE"),
        ("source=", "is not of the form COLUMN=SHARE"),
        ("source=auto", "is not of the form COLUMN=SHARE"),
        ("source=0", "is not of the form COLUMN=SHARE"),
        ("source=2M-tokens", "is not of the form COLUMN=SHARE"),
    ],
)
def test_quotas_that_cannot_be_used_are_refused(opened: NaitIndex, text: str, message: str) -> None:
    with pytest.raises(SelectionError, match="--at-most") as caught:
        opened.query("first", at_most=text)
    assert message in str(caught.value)


def test_what_exceeds_a_quota_goes_with_all_of_its_kind() -> None:
    codes = np.array([0, 0, 1, 0, 1, 2, 0])
    assert over_quota([(codes, 2)], [3, 1, 5, 0]).tolist() == [0, 6]
    assert over_quota([(codes, 2)], [3, 1, 5]).tolist() == [], "a value that has just its quota leaves nothing out yet"
    assert within_quota([(codes, 2)], [3], np.array([6, 4, 0, 2, 1, 5])).tolist() == [6, 4, 2, 5]
    assert over_quota([], [3, 1]).tolist() == []
    assert within_quota([], [3], np.array([6, 4])).tolist() == [6, 4]


def test_a_row_that_one_quota_leaves_out_uses_up_no_other() -> None:
    skills, sources = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1])
    quotas = [(skills, 1), (sources, 1)]
    assert over_quota(quotas, [0, 1, 2]).tolist() == [1, 2], "row 1 has no place, so its source still has one"
    assert over_quota(quotas, [0, 1, 2, 3]).tolist() == [1, 2, 4]
    assert over_quota(quotas, [0, 3, 4]).tolist() == [1, 2, 4]
    assert within_quota(quotas, [0], np.array([1, 2, 3, 4])).tolist() == [3]


def test_one_quota_is_counted_at_once_as_several_are_row_by_row() -> None:
    rng = np.random.default_rng(0)
    codes, chosen = rng.integers(9, size=300), rng.permutation(300)[:200]
    for most in (1, 7, 30):
        both = over_quota([(codes, most), (codes, most)], chosen).tolist()
        assert over_quota([(codes, most)], chosen).tolist() == both


def test_rows_are_taken_in_the_order_asked_for(opened: NaitIndex) -> None:
    rows, ordinals = opened.columns, [7, 3, 100, 3]
    ids = rows.ids()
    assert rows.take_ids(np.array(ordinals)) == [ids[ordinal] for ordinal in ordinals]
    assert rows.ordinals([ids[ordinal] for ordinal in ordinals]) == ordinals
    assert [ids[ordinal] for ordinal in rows.id_order()] == sorted(ids)
    with pytest.raises(UnknownRowError, match="no row with id"):
        rows.ordinals([ids[0], "\udcff"])


# ---- a random part ------------------------------------------------------------------------------------------------


def test_a_part_is_drawn_at_random_from_all_others(opened: NaitIndex) -> None:
    plain, everything = opened.query("first", top=20), opened.query("first", top="100%")
    mixed = opened.query("first", top=20, mix="random=30%")
    assert mixed.ids[:14] == plain.ids[:14]
    assert len(set(mixed.ids)) == 20
    assert mixed.details["capability"] == ["first"] * 14 + ["random"] * 6
    score = dict(zip(everything.ids, everything.scores, strict=True))
    assert np.allclose([score[sample_id] for sample_id in mixed.ids], mixed.scores)
    assert mixed.ids == opened.query("first", top=20, mix="random=6").ids, "the same rows every time"
    assert set(mixed.ids[14:]) != set(plain.ids[14:])


def test_a_random_part_keeps_filters_quotas_and_budgets_in_tokens(opened: NaitIndex) -> None:
    where = "meta.source <> 'c'"
    mixed = opened.query("first", top=20, mix="random=50%", where=where, at_most="meta.source=12")
    assert set(map(source, mixed.ids)) == {"a", "b"}
    assert max(Counter(map(source, mixed.ids)).values()) <= 12
    budget = opened.query("first", top="300-tokens", mix="random=50%")
    length = dict(zip(*opened.columns.read(["id", "n_tokens"]).to_pydict().values(), strict=True))
    drawn = [length[i] for i, kind in zip(budget.ids, budget.details["capability"], strict=True) if kind == "random"]
    assert 100 < sum(drawn) <= 150
    assert sum(length[sample_id] for sample_id in budget.ids) <= 300
    several = opened.query(["first", "second"], top=10, mix="random=25%")
    assert Counter(several.details["capability"])["random"] == len(several) // 4


def test_a_random_part_is_drawn_from_sources_that_the_method_has_filled_too(opened: NaitIndex) -> None:
    plain = opened.query("first", top=40, at_most="meta.source=40%")
    assert Counter(map(source, plain.ids))["a"] == 16
    mixed = opened.query("first", top=40, at_most="meta.source=40%", mix="random=50%")
    assert mixed.ids[:20] == plain.ids[:20]
    assert max(Counter(map(source, mixed.ids)).values()) <= 16
    drawn = [sample_id for sample_id in mixed.ids[20:] if source(sample_id) == "a"]
    assert set(drawn) - set(plain.ids), "not only the next best ones"


def test_no_row_like_an_example_is_drawn_at_random(index: Path) -> None:
    opened = NaitIndex(index)
    rows = [json.loads(row) for row in opened.select_all().rows()]
    examples = [row | {"id": f"shown-{row['id']}"} for row in rows if row["meta"]["source"] == "a"]
    mixed = opened.query(opened.make_capability(examples), top=40, mix="random=75%", decontaminate=True, dedup=0.9)
    assert len(mixed) == 40
    assert mixed.like_examples() == {}
    assert set(map(source, mixed.ids)) == {"b", "c"}


@pytest.mark.parametrize("text", ["30%", "other=30%", "random=100%", "random=20", "random=x", "random=-1"])
def test_mixes_that_cannot_be_used_are_refused(opened: NaitIndex, text: str) -> None:
    with pytest.raises(SelectionError, match="--mix"):
        opened.query("first", top=20, mix=text)


# ---- selectors ----------------------------------------------------------------------------------------------------


def test_gip_is_the_greedy_choice_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(30, 12)), rng.normal(size=(5, 12))
    taken: list[int] = []

    def unexplained(places: list[int]) -> float:
        span = rows[places].T
        return float(((targets.T - span @ np.linalg.lstsq(span, targets.T, rcond=None)[0]) ** 2).sum())

    while not taken or unexplained(taken) > 0.05 * float((targets**2).sum()):
        taken.append(min(set(range(30)) - set(taken), key=lambda place: unexplained([*taken, place])))
    made = project(rows.astype(np.float32), targets.astype(np.float32), 25)
    assert made[: len(taken)] == taken
    assert len(set(made)) == 25, "and then another round"


def test_gip_takes_rows_that_have_nothing_in_common_with_the_examples_last() -> None:
    rows = np.eye(6, dtype=np.float32)
    assert project(rows, rows[[4, 2]], 4)[:2] == [2, 4]
    assert sorted(project(rows, rows[[4, 2]], 6)) == [0, 1, 2, 3, 4, 5]
    assert project(np.zeros((3, 6), np.float32), rows, 2) == [0, 1]


@pytest.mark.parametrize("selector", ["round-robin", "gip"])
def test_selectors_take_from_the_best_rows_alone(opened: NaitIndex, selector: str) -> None:
    pool = opened.query("first", top=40)
    score = dict(zip(pool.ids, pool.scores, strict=True))
    chosen = opened.query("first", top=10, select=selector)
    assert len(set(chosen.ids)) == 10
    assert all(score[sample_id] == given for sample_id, given in zip(chosen.ids, chosen.scores, strict=True))
    assert chosen.ids != pool.ids[:10]
    assert chosen.provenance.to_dict()["select"] == selector
    assert chosen.provenance.plan == f"--select {selector} takes from the best of an exact search"
    assert opened.query("first", top="100%", select=selector).ids == opened.query("first", top="100%").ids


def test_examples_take_turns(opened: NaitIndex) -> None:
    """Every example gets a row that is nearer to it than the next ones are."""
    chosen = opened.query("first", top=12, select="round-robin", where="meta.source <> 'a'")
    assert len(chosen) == 12
    assert "a" not in set(map(source, chosen.ids))


def test_coverage_takes_neurons_that_are_not_taken_yet(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    opened = NaitIndex.build(tmp_path / "x.nait", small_rows(80), model=tiny_model("llama"))
    opened.add_capability("own", small_rows(6, first=500))
    chosen, pool = opened.query("own", top=8, select="coverage"), opened.query("own", top=32)
    assert set(chosen.ids) <= set(pool.ids)
    assert len(set(chosen.ids)) == 8
    neurons = dict(
        zip(pool.ids, opened.columns.signatures(np.array(pool.ordinals), TOPK_NUMBERS).tolist(), strict=True)
    )

    def activated(ids: Sequence[str]) -> int:
        return len({(place, number) for sample_id in ids for place, number in enumerate(neurons[sample_id])})

    assert activated(chosen.ids) > activated(pool.ids[:8])


def test_what_fills_a_budget_holds_for_a_suggested_one_too(opened: NaitIndex) -> None:
    plain = opened.query("first", top="auto")
    for options in (
        {"mix": "random=30%"},
        {"select": "round-robin"},
        {"at_most": "meta.source=40%"},
        {"at_most": "meta.kind=30%", "mix": "random=2", "select": "gip", "dedup": 0.9},
    ):
        asked: Any = options
        suggested, counted = opened.query("first", top="auto", **asked), opened.query("first", top=len(plain), **asked)
        assert suggested.ids == counted.ids != plain.ids
        assert suggested.details == counted.details
    with_margin = opened.query("first", top="auto", margin=2)
    assert with_margin.ids == plain.ids
    assert with_margin.missed is not None
    assert len(with_margin.missed) == 2


def test_tokens_are_refused_where_rows_are_counted(opened: NaitIndex) -> None:
    with pytest.raises(SelectionError, match="a budget in tokens is for 'query' and 'core'"):
        opened.compare(["first", "second"], top="300-tokens")
    with pytest.raises(SelectionError, match="would fill up what is agreed on; with --votes, give the number or share"):
        opened.core(["first", "second"], top="300-tokens", votes=2)
    with pytest.raises(SelectionError, match="no rows to choose from; widen --where"):
        opened.query("first", top="300-tokens", where="n_tokens > 99999")


def test_what_selectors_need_and_refuse(opened: NaitIndex) -> None:
    with pytest.raises(SelectionError, match="--margin must be at least 0, not -1"):
        opened.query("first", margin=-1)
    with pytest.raises(StoreError, match="--select coverage needs the view topk"):
        opened.query("first", select="coverage")
    with pytest.raises(SelectionError, match="--combine mean"):
        opened.query(["first", "second"], select="gip", combine="mean")
    with pytest.raises(SelectionError, match="--margin"):
        opened.query("first", select="gip", margin=3)
    with pytest.raises(SelectionError, match="selector 'best'"):
        opened.query("first", select="best")
    each = opened.query(
        ["first", "second"], top=10, select="gip", combine="weighted", weights={"first": 3, "second": 1}
    )
    assert len(each) == 10


# ---- the command --------------------------------------------------------------------------------------------------


def test_the_command(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    options = ["--top", "20", "--select", "gip", "--at-most", "meta.source=50%", "--mix", "random=10%"]
    asked = nait_index("query", index, "-c", "first", *options, "-o", out)
    assert asked.code == 0, asked.err
    facts = json.loads((tmp_path / "out.jsonl.meta.json").read_bytes())
    assert (facts["select"], facts["at_most"], facts["mix"]) == ("gip", ["meta.source=50%"], "random=10%")
    assert max(Counter(row["meta"]["source"] for row in read_lines(out)).values()) <= 10
    again = tmp_path / "again.jsonl"
    assert nait_index("export", index, "--from", tmp_path / "out.jsonl.meta.json", "-o", again).code == 0
    assert again.read_bytes() == out.read_bytes()
    assert "random=30%" in refusal("query", index, "-c", "first", "--mix", "old=10%")
    few = nait_index("query", index, "-c", "first", "--top", "20", "--at-most", "meta.source=10%")
    assert "--at-most meta.source=10% leaves 6 of 20 rows" in few.err
