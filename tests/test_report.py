"""What a report gathers, against plain computation; and what its page is made of."""

import html
import json
import re
import sys
from collections import Counter
from pathlib import Path
from shlex import join
from typing import Any

import numpy as np
import pytest
from helpers import build_small, nait_index, read_lines, refusal, small_rows, write_lines
from nait_index_cli.options import without_secrets
from reports import HOSTILE, NAME, SOURCE, SUMS, hostile_index

from nait_index import NaitIndex
from nait_index.errors import NaitError, OutputExistsError
from nait_index.methods.registry import MethodName
from nait_index.report import Limits, ReportRequest, groups, write_report
from nait_index.report.facts import Facts
from nait_index.report.gather import gather
from nait_index.report.page import embedded, render
from nait_index.report.representation import Representation, represent
from nait_index.report.row_map import lay_out
from nait_index.report.rows import cut_to_bytes
from nait_index.selection.budget import Budget

pytest.importorskip("plotly")
pytest.importorskip("sklearn")
pytest.importorskip("py3langid")

REQUEST = ReportRequest(top="25%", by=("meta.lang", "meta.level"), bootstrap=2)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> NaitIndex:
    return hostile_index(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def facts(index: NaitIndex) -> Facts:
    return gather(index, REQUEST)


def _row_of(index: NaitIndex) -> dict[str, dict[str, Any]]:
    return {row["id"]: json.loads(row["row"]) for row in index.rows()}


# ---- gathering ----------------------------------------------------------------------------------------------------


def test_rows_that_are_shown_are_those_of_a_query(index: NaitIndex, facts: Facts) -> None:
    everything = index.query(SUMS, top="100%", method=REQUEST.method)
    chosen = index.query(SUMS, top=REQUEST.top)
    sums = next(capability for capability in facts.capabilities if capability.name == SUMS)
    k = len(chosen)
    assert sums.chosen == k == 20
    assert sums.cut == pytest.approx(chosen.scores[-1])
    assert [row.score for row in sums.top] == pytest.approx(chosen.scores[: len(sums.top)])
    assert {row.id for row in sums.just_in} <= set(chosen)
    assert not {row.id for row in sums.just_out} & set(chosen)
    assert [row.rank for row in (*sums.just_in, *sums.just_out)] == list(range(k - 4, k + 6))
    assert [row.rank for row in sums.bottom] == list(range(77, 81))
    assert sums.bottom[-1].score == pytest.approx(everything.scores[-1])
    assert sums.scores.chosen.sum() == k
    assert sums.scores.others.sum() == 80 - k


def test_ties_at_the_cut_fall_as_in_a_query(tmp_path: Path) -> None:
    corpus = [row | {"output": "the same", "instruction": "Say it."} for row in small_rows(30)[::-1]]
    corpus += small_rows(30, first=100)
    index = build_small(tmp_path / "t.nait", write_lines(tmp_path / "c.jsonl", corpus))
    index.add_capability("same", write_lines(tmp_path / "e.jsonl", [corpus[0] | {"id": f"e{i}"} for i in range(4)]))
    index.add_capability("sums", write_lines(tmp_path / "f.jsonl", small_rows(9, first=500)[1::2]))
    made = gather(index, ReportRequest(top=7, bootstrap=0, names=("same",)))
    assert made.core is None
    assert made.comparison is None
    shown = {row.id for row in (*made.capabilities[0].top, *made.capabilities[0].just_in)}
    assert shown == set(index.query("same", top=7))


def test_groups_are_counted_over_all_rows(index: NaitIndex, facts: Facts) -> None:
    rows, chosen = _row_of(index), set(index.query(SUMS, top=REQUEST.top))
    sums = next(capability for capability in facts.capabilities if capability.name == SUMS)
    by_field = {field.field: field for field in sums.groups}
    assert list(by_field) == ["source", "length", "language", "meta.lang", "meta.level"]
    for field, value in (("source", lambda row: row["source"]), ("meta.lang", lambda row: row["meta"]["lang"])):
        whole, some = Counter(map(value, rows.values())), Counter(value(rows[sample_id]) for sample_id in chosen)
        assert {group.name: (group.chosen, group.corpus) for group in by_field[field].groups} == {
            name: (some[name], count) for name, count in whole.items()
        }
        for group in by_field[field].groups:
            assert group.ratio == pytest.approx(group.chosen / 20 / (group.corpus / 80))
            assert group.low <= group.ratio <= group.high <= 4
    assert by_field["source"].groups[0].name == "sums"
    assert sum(group.corpus for group in by_field["length"].groups) == 80


def test_columns_and_numbers_are_groups_too(index: NaitIndex) -> None:
    made = gather(index, ReportRequest(names=(SUMS,), by=("position", "truncated", "file_row"), bootstrap=0))
    by_field = {field.field: field for field in made.capabilities[0].groups}
    assert [group.name for group in by_field["truncated"].groups] == ["false"]
    for field in ("position", "file_row"):
        assert sum(group.corpus for group in by_field[field].groups) == 80
        assert len(by_field[field].groups) <= 5
        lows = [float(group.name.split(" to ")[0]) for group in by_field[field].groups]
        assert lows == sorted(lows)


def test_numbers_of_any_size_are_groups(tmp_path: Path) -> None:
    rows = [row | {"n": number or 10**400, "none": 10 ** (400 + number)} for number, row in enumerate(small_rows(20))]
    index = build_small(tmp_path / "i.nait", write_lines(tmp_path / "c.jsonl", rows))
    reader = groups.RowReader(index, np.arange(20))
    assert reader.by_field("n").names[-1] == groups.NO_VALUE
    assert reader.by_field("n").counts(np.arange(20)).tolist()[-1] == 1
    assert len(reader.by_field("none").names) == 1  # by their first digits


def test_of_very_many_groups_all_but_the_largest_are_one(index: NaitIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_MOST_GROUPS", 5)
    every = np.arange(len(index))
    grouping = groups.by_column(index, "id", every)
    assert (len(grouping.names), grouping.names[-1]) == (6, groups.OTHER)
    assert grouping.counts(every).tolist() == [1] * 5 + [len(index) - 5]


def test_the_corpus_is_described_with_what_was_rejected(index: NaitIndex, facts: Facts) -> None:
    rows = index.rows()
    corpus = facts.corpus
    assert (corpus.rows, corpus.tokens, corpus.rejected) == (80, sum(row["n_tokens"] for row in rows), 1)
    assert dict(corpus.sources) == Counter(json.loads(row["row"])["source"] for row in rows)
    assert corpus.formats == (("alpaca", 80),)
    assert [rows for _, rows in corpus.reasons] == [1]
    assert sum(rows for _, rows in corpus.lengths) == 80


def test_the_core_is_counted_by_votes_beside_chance(index: NaitIndex, facts: Facts) -> None:
    sums, words = (set(index.query(name, top=REQUEST.top)) for name in (SUMS, NAME))
    core = facts.core
    assert core is not None
    assert core.sizes == (len(sums | words), len(sums & words))
    assert core.chance == pytest.approx((80 * (1 - 0.75**2), 80 / 16))
    assert core.redraws == 2
    assert len(core.stability) == core.size == len(sums & words)
    assert not sums & words or set(core.stability) <= {0, 0.5, 1}


def test_the_model_that_is_gone_leaves_stability_out(index: NaitIndex) -> None:
    opened = NaitIndex(index.layout.name, model="/nowhere/model")
    core = gather(opened, ReportRequest(top="60%", method=MethodName.CONTRAST, bootstrap=2)).core
    assert core is not None
    assert core.sizes[1] > 0
    assert core.stability == ()
    assert "/nowhere/model" in core.no_stability


def test_capabilities_are_compared_and_taken_apart(index: NaitIndex, facts: Facts) -> None:
    assert facts.comparison is not None
    assert facts.comparison.overlap.tolist() == index.compare(top=REQUEST.top).overlap.tolist()
    layers = facts.capabilities[0].layers
    assert layers is not None
    assert layers.names == (*map(str, range(index.info()["layers"])), "words")
    assert sum(sum(shares) for shares in layers.shares.values()) == pytest.approx(1)
    assert gather(index, ReportRequest(method="length", bootstrap=0)).capabilities[0].layers is None  # type: ignore[arg-type]


def test_only_rows_that_pass_are_chosen_among(index: NaitIndex) -> None:
    made = gather(index, ReportRequest(names=(SUMS,), top="50%", where="source = 'words'", bootstrap=0))
    assert made.available == sum(row["source"] == "words" for row in _row_of(index).values())
    fields = {field.field: [group.name for group in field.groups] for field in made.capabilities[0].groups}
    assert fields["source"] == ["words"]
    assert next(iter(fields)) == "length"  # what is the same throughout comes last
    assert made.corpus.rows == 80


def test_a_large_index_is_sampled_and_the_page_says_so(index: NaitIndex, tmp_path: Path) -> None:
    limits = Limits(rows=30, chosen=10, languages=12, chosen_languages=4, points=20, chosen_points=8)
    request = ReportRequest(top="25%", bootstrap=0, limits=limits)
    made = gather(index, request)
    by_field = {field.field: field for field in made.capabilities[0].groups}
    assert (by_field["source"].read, by_field["source"].corpus_read, by_field["source"].is_whole) == (10, 30, False)
    assert (by_field["length"].read, by_field["length"].corpus_read, by_field["length"].is_whole) == (20, 80, True)
    assert by_field["language"].read == 4
    assert made.map is not None
    assert made.map.evenly == 20
    assert 0 < made.map.added <= 8
    text = write_report(index, tmp_path / "r.html", request).path.read_text()
    assert "Counted on 10 of the chosen and 30 of all rows, drawn at random." in text
    assert "20 of 80 rows are drawn at random" in text


def test_the_map_is_the_same_every_time(index: NaitIndex, facts: Facts) -> None:
    again = gather(index, REQUEST).map
    assert facts.map is not None
    assert again is not None
    np.testing.assert_array_equal(again.coordinates, facts.map.coordinates)
    assert [array.tolist() for array in again.chosen] == [array.tolist() for array in facts.map.chosen]


def test_the_map_steps_through_the_chosen_rows_best_first(index: NaitIndex, facts: Facts) -> None:
    assert facts.map is not None
    for number, capability in enumerate(facts.capabilities):
        lit = tuple(facts.map.ids[point] for point in facts.map.chosen[number])
        assert lit == index.query(capability.name, top=REQUEST.top).ids


def test_of_two_capabilities_one_sentence_is_enough(facts: Facts) -> None:
    page = render(facts, library="")
    assert "Rank correlation (Spearman) over 80 rows" in page
    assert 'data-figure="lift"' not in page
    assert '"lift":' not in page


def test_rows_alike_lie_together() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 40)
    layout = lay_out(10 * np.eye(3)[kinds].repeat(20, axis=1) + rng.normal(size=(120, 60)))
    assert layout is not None
    coordinates, _ = layout
    centres = np.array([coordinates[kinds == kind].mean(axis=0) for kind in range(3)])
    nearest = np.linalg.norm(coordinates[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == kinds).all()
    assert np.abs(coordinates).max() <= 1
    assert lay_out(np.zeros((50, 8), np.float32)) is None
    assert lay_out(np.ones((3, 8), np.float32)) is None


# ---- representation -----------------------------------------------------------------------------------------------


def test_many_groups_that_nothing_is_chosen_from_share_a_sentence() -> None:
    field = _represent([9, 0, 0, 0], [10, 10, 10, 10])
    assert [group.name for group in field.drawn] == ["g0"]
    assert {group.name for group in field.absent} == {"g1", "g2", "g3"}
    few = _represent([9, 4, 0, 0], [10, 10, 10, 10])
    assert (few.drawn, few.absent) == (few.groups, ())


def _represent(chosen: list[int], corpus: list[int], **changes: Any) -> Representation:
    settings = {"is_whole": True, "is_ordered": False, "highest": 10.0, "most": 14} | changes
    names = [f"g{number}" for number in range(len(chosen))]
    return represent("field", names, np.array(chosen), np.array(corpus), **settings)  # type: ignore[arg-type]


def test_small_groups_do_not_come_first() -> None:
    field = _represent([400, 3, 597, 0], [500, 3, 9492, 5])
    assert [group.name for group in field.groups][:2] == ["g0", "g1"]
    large, small = field.groups[:2]
    assert (large.ratio, small.ratio) == (pytest.approx(8), 10)
    assert small.low < 4 < 7 < large.low
    nothing = next(group for group in field.groups if group.name == "g3")
    assert nothing.ratio == 0
    assert not nothing.is_significant


def test_what_chance_gives_is_not_significant() -> None:
    rng = np.random.default_rng(3)
    corpus = rng.integers(50, 3000, 40)
    chosen = rng.multivariate_hypergeometric(corpus, int(corpus.sum()) // 10)
    field = _represent(chosen.tolist(), corpus.tolist(), most=40)
    assert sum(group.is_significant for group in field.groups) <= 4
    assert all(0.3 < group.low < 1 < group.high < 3 for group in field.groups if not group.is_significant)


def test_a_sample_of_the_corpus_is_less_certain_than_all_of_it() -> None:
    whole, sampled = (_represent([90, 910], [300, 9700], is_whole=is_whole).groups[0] for is_whole in (True, False))
    assert sampled.low < whole.low < whole.high < sampled.high


def test_large_sources_that_are_passed_over_are_listed_before_small_ones() -> None:
    field = _represent([900, *[0] * 30, 100], [2000, *[40] * 29, 5000, 1000], most=6)
    assert next(group.name for group in field.groups) == "g0"
    assert field.groups[-1].name == "g30"
    assert len(field.groups) == 5
    assert field.left_out == 27


def test_groups_with_an_order_keep_it() -> None:
    field = _represent([1, 50, 200], [1000, 1000, 1000], is_ordered=True)
    assert [group.name for group in field.groups] == ["g0", "g1", "g2"]


# ---- the page -----------------------------------------------------------------------------------------------------


def test_hostile_text_stays_text(index: NaitIndex, tmp_path: Path) -> None:
    request = ReportRequest(top="40%", by=("meta.lang",), bootstrap=0, command=HOSTILE)
    text = write_report(index, tmp_path / "r.html", request).path.read_bytes().decode("utf-8")
    assert text.count("<script") - _library().count("<script") == 3
    for hostile in (HOSTILE, SOURCE, NAME, "<img src=x", "<svg onload"):
        assert hostile not in text
    assert "&lt;img src=x" in text
    assert "\\u003cimg src=x" in text
    assert "{{ 7 * 7 }}" in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html.unescape(text))
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy[1]
    assert "http" not in policy[1]


def _library() -> str:
    from nait_index.report.page import plotly_script

    return plotly_script()


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "&lt;", "a\ud800"])
def test_data_holds_nothing_that_ends_its_element(text: str) -> None:
    written = embedded({text: [text]})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {text: [text]}


def test_huge_rows_leave_the_page_small(tmp_path: Path) -> None:
    corpus = [row | {"output": "宇" * 60_000} for row in small_rows(40)]
    index = build_small(tmp_path / "b.nait", write_lines(tmp_path / "c.jsonl", corpus), max_length=32)
    index.add_capability("sums", write_lines(tmp_path / "e.jsonl", small_rows(9, first=500)[1::2]))
    written = write_report(index, tmp_path / "r.html", ReportRequest(bootstrap=0))
    assert written.size == (tmp_path / "r.html").stat().st_size < 15e6
    assert "The rest is left out" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("text", ["short", "<" * 5000, "宇" * 5000, "a<" * 5000, "x" * 5000])
def test_texts_take_no_more_of_the_page_than_they_may(text: str) -> None:
    start = cut_to_bytes(text, 600)
    assert text.startswith(start)
    assert len(embedded(start).encode()) <= 602
    assert len(start) == len(text) or len(embedded(start).encode()) > 400


def test_each_step_is_logged(index: NaitIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="nait_index"):
        write_report(index, tmp_path / "r.html", ReportRequest(top=Budget.parse("30%"), bootstrap=0))
    assert "(30%) with the method" in (tmp_path / "r.html").read_text()
    logged = [record.args for record in caplog.records if record.name == "nait_index.report.gather"]
    assert all(isinstance(arguments, tuple) for arguments in logged)
    steps = [arguments for arguments in logged if isinstance(arguments, tuple)]
    assert [step[0] for step in steps] == list(range(1, int(str(steps[0][1])) + 1))


def test_without_capabilities_there_is_the_corpus(tmp_path: Path) -> None:
    build_small(tmp_path / "n.nait", write_lines(tmp_path / "c.jsonl", small_rows(20)))
    outcome = nait_index("report", tmp_path / "n.nait", "-o", tmp_path / "r.html")
    assert outcome.code == 0
    assert "no capability is stored yet" in outcome.err.lower()
    assert "The corpus" in (tmp_path / "r.html").read_text()


def test_what_cannot_be_reported_is_refused_in_a_line(index: NaitIndex, tmp_path: Path) -> None:
    place, out = index.layout.name, tmp_path / "r.html"
    assert "did you mean sums" in refusal("report", place, "-c", "sum", "-o", out)
    assert "no row has such a field; there are" in refusal("report", place, "--by", "colour", "-o", out)
    assert "--top" in refusal("report", place, "--top", "0", "-o", out)
    assert "there is no folder" in refusal("report", place, "-o", tmp_path / "none" / "r.html")
    assert not out.exists()
    out.write_text("mine")
    assert "--force" in refusal("report", place, "-o", out)
    assert out.read_text() == "mine"
    with pytest.raises(OutputExistsError):
        write_report(index, out)


@pytest.mark.parametrize("package", ["plotly", "sklearn", "py3langid"])
def test_a_package_that_is_missing_is_named(
    index: NaitIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NaitError, match=r"pip install 'nait-index\[report\]'"):
        write_report(index, tmp_path / "r.html")


def test_the_command_that_is_shown_holds_no_key() -> None:
    words = ["report", "s3://b/i", "--storage-option", "secret_key=k=1", "--storage-option=token=k2", "--top", "k=1"]
    shown = without_secrets(words)
    assert shown == join(["nait-index", *words[:3], "secret_key=…", "--storage-option=token=…", "--top", "k=1"])


def test_the_command_writes_the_page(index: NaitIndex, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    outcome = nait_index("report", index.layout.name, "-c", SUMS, "--by", "meta.lang", "--bootstrap", "0", "-o", out)
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "wrote" in outcome.err
    assert "MB" in outcome.err
    text = out.read_text()
    assert "nait-index report" in text
    assert index.info()["fingerprint"] in text
    assert read_lines(Path(index.layout.name) / "rejected.jsonl")
