"""Rows that are like the examples they were chosen by: counted, named, and left out where that is wanted."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import build_small, nait_index, read_lines, small_rows, write_lines

from nait_index import NaitIndex, SignatureConfig
from nait_index.config import ModelConfig, View
from nait_index.corpus.words import words
from nait_index.errors import SelectionError
from nait_index.handover.contamination import Contamination, Likeness, Match
from nait_index.handover.handover import OutputOptions, hand_over
from nait_index.handover.rows import ChosenRow
from nait_index.types import ReadPart, RowFormat

QUESTION = "Weng earns twelve dollars an hour for babysitting and yesterday she just did fifty minutes of it."


def _like(row: str, *examples: str) -> Match | None:
    return Contamination({"own": examples}).match(row, row)


def test_case_punctuation_and_spacing_do_not_hide_a_row() -> None:
    assert _like("  what IS two+two ", "What is\ntwo + two?") == Match(Likeness.EXACT, "own", 1)
    assert _like("Ｗｈａｔ is two+two", "What is two + two?") == Match(Likeness.EXACT, "own", 1)
    assert _like("What is two + three?", "What is two + two?") is None


def test_half_the_words_in_common_sequences_are_near() -> None:
    parts = QUESTION.split()
    assert _like(" ".join(["Today", *parts[:9], "and", "nothing", "more"]), QUESTION) == Match(Likeness.NEAR, "own", 1)
    assert _like(" ".join(["Today", *parts[:8], "but", "nothing", "more"]), QUESTION) is None  # 8 of 17
    assert _like(" ".join(word for pair in zip(parts, parts, strict=True) for word in pair), QUESTION) is None


def test_a_question_is_found_inside_a_long_row() -> None:
    text = f"{'Something else is said. ' * 40}{QUESTION} How much did she earn?{' And on. ' * 40}"
    assert Contamination({"own": [QUESTION]}).match("Something else", text) == Match(Likeness.NEAR, "own", 1)


def test_the_answer_does_not_count_as_asked() -> None:
    """The same question with another answer is contamination; the same answer to another question is none."""
    row = json.dumps({"instruction": QUESTION, "output": "unlike"})
    other = json.dumps({"instruction": "How long is it?", "output": "fifty minutes"})
    chosen = [ChosenRow(row_id, text, RowFormat.ALPACA, 1, False) for row_id, text in (("a", row), ("b", other))]
    assert Contamination({"own": [QUESTION]}).find(chosen) == {"a": Match(Likeness.EXACT, "own", 1)}


def test_a_template_that_examples_share_is_no_contamination() -> None:
    template = "Please give me the best English version of the sentence that follows below now: {}"
    examples = [
        template.format(f"{animal} {animal} ist nicht hier und war es nie") for animal in ("Hund", "Katze", "Maus")
    ]
    assert _like(template.format("Das Haus steht am See"), *examples) is None
    assert _like(template.format("Katze Katze ist nicht hier und war es niemals"), *examples) == Match(
        Likeness.NEAR, "own", 2
    )


def test_languages_without_spaces_are_compared_by_character() -> None:
    assert _like("今日の東京の天気はどうですか。教えて", "今日の東京の天気はどうですか。") == Match(
        Likeness.NEAR, "own", 1
    )
    assert _like("明日の大阪の気温は何度でしょう", "今日の東京の天気はどうですか。") is None


def test_a_vowel_sign_makes_another_word() -> None:
    assert _like("हिन्दी में एक कविता लिखो", "हिन्दू में एक कविता लिखे") is None
    assert _like("हिन्दी में एक कविता लिखो!", "हिन्दी में एक कविता लिखो") == Match(Likeness.EXACT, "own", 1)


def test_an_example_with_no_words_is_like_nothing() -> None:
    assert _like("!", "?") is None
    assert _like("", "") is None


def test_the_capability_and_the_number_of_the_example_are_named() -> None:
    known = Contamination({"a": ["one", "two"], "b": ["three", "two"]})
    assert known.match("THREE", "three") == Match(Likeness.EXACT, "b", 1)
    assert known.match("two", "two") == Match(Likeness.EXACT, "a", 2)
    report = known.report({"x": Match(Likeness.EXACT, "b", 1)})
    assert (report["exact"], report["near"], report["examples"]) == (1, 0, 4)
    assert report["rows"] == [{"id": "x", "likeness": "exact", "capability": "b", "example": 1}]
    assert "8-word" in report["rule"]


def plain_match(asked: str, text: str, examples: list[str]) -> Match | None:
    """Compare a row with the examples one by one, as the definition has it."""

    def grams(text: str) -> list[tuple[str, ...]]:
        split = words(text)
        return [tuple(split[start : start + 8]) for start in range(len(split) - 7)]

    for number, example in enumerate(examples, start=1):
        if words(example) and words(example) == words(asked):
            return Match(Likeness.EXACT, "own", number)
    different = {tuple(words(example)): number for number, example in reversed([*enumerate(examples, start=1)])}
    shared = Counter(gram for example in different for gram in set(grams(" ".join(example))))
    shares = {}
    for example, number in different.items():
        usable = [place for place, gram in enumerate(grams(" ".join(example))) if shared[gram] <= 2]
        in_row = set(grams(text))
        held = [place for place in usable if example[place : place + 8] in in_row]
        counted, covered = ({at + step for at in places for step in range(8)} for places in (usable, held))
        shares[number] = len(covered) / max(1, len(counted))
    best = max(shares, key=lambda number: (shares[number], -number))
    return Match(Likeness.NEAR, "own", best) if shares[best] >= 0.5 else None


def test_matches_are_those_of_a_plain_comparison() -> None:
    rng = random.Random(1)
    examples = [" ".join(rng.choices("abcde", k=rng.randint(0, 24))) for _ in range(60)]
    examples += [f"{examples[number]} {examples[number + 1]}" for number in range(20)] + examples[:4]
    examples += ["Ｃａｆé des Thés", "今日の東京の天気はどうですか。", "Cafe\u0301 a b c d e a b c d e"]
    known, found = Contamination({"own": examples}), Counter[str]()
    for number in range(600):
        before, after = (" ".join(rng.choices("abcde", k=rng.randint(0, 9))) for _ in range(2))
        asked = rng.choice(examples) if number % 4 == 0 else f"{before} {rng.choice(examples)[: rng.randint(0, 60)]}"
        text = rng.choice([f"{asked}\n{after}", f"{before}\n{asked}\n{after}", asked])
        match = known.match(asked, text)
        assert match == plain_match(asked, text, examples), (asked, text)
        found[match.likeness if match else "none"] += 1
    assert min(found[kind] for kind in ("exact", "near", "none")) >= 50


def test_a_row_is_parsed_once_to_be_compared_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [json.dumps({"instruction": QUESTION if n == 1 else f"Question {n}", "output": "yes"}) for n in range(3)]
    chosen = [ChosenRow(str(number), text, RowFormat.ALPACA, 1, False) for number, text in enumerate(texts)]
    parsed, parse = [], json.loads
    monkeypatch.setattr(json, "loads", lambda text, **options: parsed.append(text) or parse(text, **options))
    options = OutputOptions(tmp_path / "a.jsonl")
    records = [{"rank": number, "id": row.id} for number, row in enumerate(chosen, start=1)]
    hand_over(chosen, records, {}, options, Contamination({"own": [QUESTION]}))
    assert [text for text in parsed if text in texts] == texts
    assert (tmp_path / "a.jsonl").read_text().splitlines() == texts


def test_three_thousand_rows_by_four_hundred_examples_take_a_moment() -> None:
    rng = random.Random(0)
    vocabulary = [f"word{number}" for number in range(2000)]
    texts = [" ".join(rng.choices(vocabulary, k=200)) for _ in range(3400)]
    chosen = [
        ChosenRow(str(number), json.dumps({"text": text}), RowFormat.TEXT, 200, False)
        for number, text in enumerate(texts[:3000])
    ]
    before = time.process_time()
    matches = Contamination({"own": [*texts[3000:], texts[7]]}).find(chosen)
    assert time.process_time() - before < 3
    assert matches == {"7": Match(Likeness.EXACT, "own", 401)}


# ---- in an index -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[[str], Path]) -> Path:
    """Build an index whose rows hold four of the eight examples; not to be changed."""
    folder = tmp_path_factory.mktemp("contamination")
    build_small(folder / "own.nait", write_lines(folder / "rows.jsonl", small_rows(40)), model=tiny_model("llama"))
    opened = NaitIndex(folder / "own.nait")
    opened.add_capability(
        "adding", write_lines(folder / "adding.jsonl", small_rows(8)[1::2] + small_rows(8, 100)[1::2])
    )
    opened.add_capability("naming", write_lines(folder / "naming.jsonl", small_rows(8, 100)[::2]))
    return folder / "own.nait"


LEAKED = {"row-001", "row-003", "row-005", "row-007"}


def test_a_selection_counts_its_contamination(index: Path, tmp_path: Path) -> None:
    written = NaitIndex(index).query("adding", top="50%").write(tmp_path / "a.jsonl")
    report = json.loads(written.sidecar.read_bytes())["contamination"]
    assert {row["id"] for row in report["rows"]} == LEAKED
    assert (report["exact"], report["near"], report["examples"]) == (4, 0, 8)
    assert any("contaminated: exact 4, near 0" in note for note in written.notes)


@pytest.mark.parametrize("top", [20, "50%"])
def test_decontaminated_selections_are_as_large_and_hold_the_next_best(index: Path, top: str | int) -> None:
    opened = NaitIndex(index)
    everything = list(opened.query("adding", top="100%"))
    clean = opened.query("adding", top=top, decontaminate=True)
    assert list(clean) == [sample_id for sample_id in everything if sample_id not in LEAKED][:20]
    removed = clean.provenance.decontaminated
    assert removed is not None
    assert removed.removed == len(removed.rows)
    assert {row["id"] for row in removed.rows} == LEAKED & set(everything[:20])
    assert not clean.like_examples()


@pytest.mark.parametrize("combine", ["union", "mean", "round-robin"])
def test_every_combination_is_decontaminated(index: Path, combine: str) -> None:
    opened = NaitIndex(index)
    clean = opened.query(["adding", "naming"], top=18, combine=combine, decontaminate=True)
    assert not LEAKED & set(clean)
    assert len(clean) >= 18
    assert combine == "union" or len(clean) == 18


def test_a_core_is_decontaminated(index: Path) -> None:
    opened = NaitIndex(index)
    core = opened.core(["adding", "naming"], top="100%", decontaminate=True, bootstrap=2)
    like = set(opened.query(["adding", "naming"], top="100%").like_examples())
    assert like > LEAKED
    assert set(core) == {f"row-{number:03}" for number in range(40)} - like
    assert len(core.details["stability"]) == len(core) == core.provenance.to_dict()["core"]["found"]


def test_where_nothing_clean_is_left_fewer_rows_are_chosen_or_none(index: Path) -> None:
    opened = NaitIndex(index)
    assert len(opened.query("adding", top="100%", decontaminate=True)) == 36
    with pytest.raises(SelectionError, match="--decontaminate leaves no row"):
        opened.query("adding", top=1, where="id = 'row-001'", decontaminate=True)


def test_the_command_line_says_what_was_left_out(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    outcome = nait_index("query", index, "-c", "adding", "--top", "20", "--decontaminate", "-o", out)
    assert outcome.code == 0, outcome.err
    sidecar = json.loads((tmp_path / "a.jsonl.meta.json").read_bytes())
    removed = sidecar["decontaminated"]["removed"]
    assert removed == 4
    assert f"decontaminated: {removed} rows like an example left out" in outcome.err
    assert "contaminated: exact 0, near 0" in outcome.err
    assert len(read_lines(out)) == 20


def test_a_decontaminated_row_is_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = NaitIndex.build(tmp_path / "x.nait", small_rows(40), signatures=SignatureConfig(views=(View.WORDS,)))
    opened.add_capability("adding", write_lines(tmp_path / "adding.jsonl", small_rows(40)[1:24:2]))
    compared: Counter[str] = Counter()
    match_row = Contamination.match_row

    def counting(self: Contamination, row: ChosenRow) -> Match | None:
        compared[row.id] += 1
        return match_row(self, row)

    monkeypatch.setattr(Contamination, "match_row", counting)
    clean = opened.query("adding", top=20, decontaminate=True, mix="random=30%")
    written = clean.write(tmp_path / "a.jsonl")
    report = json.loads(written.sidecar.read_bytes())["contamination"]
    assert (report["exact"], report["near"], report["examples"], report["rows"]) == (0, 0, 12, [])
    assert clean.provenance.decontaminated is not None
    assert clean.provenance.decontaminated.removed > 0
    assert set(clean) <= compared.keys()
    assert set(compared.values()) == {1}


def test_examples_are_compared_by_their_questions_where_answers_alone_are_read(tmp_path: Path) -> None:
    model, words = ModelConfig(read=ReadPart.ANSWER), SignatureConfig(views=(View.WORDS,))
    opened = NaitIndex.build(tmp_path / "x.nait", small_rows(40), model=model, signatures=words)
    reworded = [row | {"output": f"The answer is {row['output']}."} for row in small_rows(8)]
    made = opened.make_capability_from(reworded, "made")
    opened.store_capability(made)
    like = {f"row-{number:03}" for number in range(8)}
    for capability in (made, opened.capability("made")):
        assert set(opened.query(capability, top="100%").like_examples()) == like
    assert not like & set(opened.query("made", top=20, decontaminate=True))
