"""Proofs: what runs read, how copies are tuned and measured, how outcomes are kept and compared; and the command."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import build_small, nait_index, refusal, small_rows, write_lines

from nait_index import NaitIndex
from nait_index.activations.answer_losses import AnswerBatch, answer_logits
from nait_index.activations.answer_tokens import shortened
from nait_index.activations.batches import AnswerTokens
from nait_index.activations.loaded import LoadedModel
from nait_index.activations.loading import load_model
from nait_index.config import Device, ModelConfig, SignatureConfig, View
from nait_index.corpus import make_template, read_corpus, restore_sample
from nait_index.corpus.spans import answer_spans
from nait_index.errors import CapabilityError, NaitError, SelectionError
from nait_index.proving.choices import Choices
from nait_index.proving.heldout import HeldOut, closed_answers, hold_out, split
from nait_index.proving.lessons import LessonMaker, plan_course, plan_epoch
from nait_index.proving.measures import chrf, likeliest, measure
from nait_index.proving.plan import BM25, RANDOM, Arm, Planned, ProofPlan, plan_runs
from nait_index.proving.prove import LessonReader, open_prover
from nait_index.proving.recipe import TuningRecipe
from nait_index.proving.results import Results, verdict
from nait_index.proving.runs import Bench, Measured, Outcome, Run, RunStore
from nait_index.proving.statistics import RunPair, average, relative_loss
from nait_index.proving.tuning import tuned
from nait_index.types import DEFAULT_READING, Part, Role, RowFormat, Sample

RECIPE = TuningRecipe(answer_tokens=60, steps=4, max_length=32, rank=2, alpha=4, learning_rate=1e-2)


def lesson(prompt: int, answer: int, first: int = 3) -> AnswerTokens:
    """Make a lesson of different tokens."""
    ids = np.arange(first, first + prompt + answer) % 50 + 3
    return AnswerTokens(ids.astype(np.int64), np.arange(prompt + answer) >= prompt)


@pytest.fixture(scope="module")
def loaded(tiny_model: Any) -> LoadedModel:
    return load_model(ModelConfig(name=str(tiny_model("llama")), device=Device.CPU), causal=True)


@pytest.fixture(scope="module")
def maker(loaded: LoadedModel) -> LessonMaker:
    loaded.tokenizer.eos_token = "</s>"
    return LessonMaker(loaded.tokenizer, make_template("alpaca"), 512)


def samples(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Sample]:
    return [item for item in read_corpus([write_lines(folder / "rows.jsonl", rows)]) if isinstance(item, Sample)]


# ---- lessons ------------------------------------------------------------------------------------------------------


def test_answers_are_found_in_a_rendered_text() -> None:
    parts = [Part(Role.USER, "one"), Part(Role.ASSISTANT, " one "), Part(Role.USER, "two"), Part(Role.ASSISTANT, "2")]
    text = "<user>one<bot>one<user>two<bot>2"
    assert [text[slice(*span)] for span in answer_spans(text, parts)] == ["one", "2"]
    assert answer_spans("just text", [Part(Role.TEXT, "just text")]) == ((0, 9),)
    assert answer_spans("one", parts) == ((0, 3),)


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


def test_a_lesson_asks_for_the_answer_and_the_end(tmp_path: Path, maker: LessonMaker) -> None:
    made = maker.lessons(samples(tmp_path, [{"instruction": "Name a river.", "output": "the Ural"}]))[0]
    text = maker.tokenizer.decode(made.ids[made.counts])
    assert "the Ural" in text
    assert made.ids[-1] == maker.tokenizer.eos_token_id
    assert made.counts[-1]
    assert "river" not in text


def test_a_row_of_plain_text_counts_but_for_its_first_token(tmp_path: Path, loaded: LoadedModel) -> None:
    made = LessonMaker(loaded.tokenizer, make_template("text"), 512).lessons(samples(tmp_path, [{"text": "The Ural."}]))
    assert made[0].counts.tolist() == [False] + [True] * (len(made[0].ids) - 1)


def test_a_stored_row_without_an_answer_teaches_nothing(maker: LessonMaker) -> None:
    rows = [json.dumps({"instruction": "Name a river.", "output": output}) for output in ("the Ural", "")]
    stored = [restore_sample({"id": row, "row": row, "format": "alpaca"}, DEFAULT_READING) for row in rows]
    assert [lesson.answer_length > 0 for lesson in maker.lessons(stored)] == [True, False]


def test_every_run_learns_from_equally_many_tokens_of_answers() -> None:
    corpus = [lesson(5, 1 + row % 9, row) for row in range(40)]
    for chosen in (np.arange(40), np.array([3]), np.arange(0, 40, 9)):
        course = plan_course(chosen, 40, 1, RECIPE, lambda rows: [corpus[row] for row in rows])
        assert sum(each.answer_length for step in course.steps for each in step) == RECIPE.answer_tokens
        assert course.rows <= len(chosen)
        steps = [sum(each.answer_length for each in step) for step in course.steps]
        assert len(steps) == RECIPE.steps
        assert max(steps) - min(steps) <= 9


def test_choices_that_share_rows_read_them_in_the_same_order() -> None:
    corpus = [lesson(4, 6, 7 * row) for row in range(60)]

    def read(chosen: np.ndarray) -> list[bytes]:
        course = plan_course(chosen, 60, 2, RECIPE, lambda rows: [corpus[row] for row in rows])
        return [each.ids.tobytes() for step in course.steps for each in step]

    few, more = read(np.arange(30)), read(np.arange(40))
    shared = [ids for ids in few if ids in more]
    assert len(shared) > 3
    assert shared == [ids for ids in more if ids in few]


def test_rows_without_answers_teach_nothing() -> None:
    for plan in (plan_course, plan_epoch):
        with pytest.raises(SelectionError, match="no answers"):
            plan(np.arange(9), 9, 0, RECIPE, lambda rows: [lesson(4, 0) for _ in rows])


def test_an_epoch_reads_every_chosen_row_once() -> None:
    corpus = [lesson(5, row % 9, row) for row in range(400)]
    chosen = np.arange(1, 400, 3)
    course = plan_epoch(chosen, 400, 1, RECIPE, lambda rows: [corpus[row] for row in rows])
    read = [each.ids.tobytes() for step in course.steps for each in step]
    assert sorted(read) == sorted(corpus[row].ids.tobytes() for row in chosen if row % 9)
    assert course.rows == len(read)
    sizes = [sum(each.answer_length for each in step) for step in course.steps]
    assert len(sizes) > 5 * RECIPE.steps
    assert max(sizes[:-1]) <= RECIPE.answer_tokens / RECIPE.steps + 9


# ---- fine-tuning --------------------------------------------------------------------------------------------------


def test_answer_losses_are_those_of_each_lesson_alone(loaded: LoadedModel) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    lessons = [lesson(3, 4), lesson(9, 2, 11), lesson(1, 12, 5)]
    measured = measure(loaded.module, lessons, loaded.device)
    for number, one in enumerate(lessons):
        ids = torch.from_numpy(one.ids)[None]
        with torch.inference_mode():
            logits = loaded.module(input_ids=ids).logits[0, :-1]
            each = cross_entropy(logits, ids[0, 1:], reduction="none")[torch.from_numpy(one.counts[1:])]
        assert measured.losses[number] == pytest.approx(float(each.sum()), rel=1e-4)
        assert measured.tokens[number] == one.answer_length


def test_fine_tuning_teaches_and_leaves_the_model_as_it_was(loaded: LoadedModel) -> None:
    held = [lesson(4, 6)]
    before = measure(loaded.module, held, loaded.device).losses
    names = {name for name, _ in loaded.module.named_parameters()}
    course = plan_course(np.arange(1), 1, 0, RECIPE, lambda rows: [held[0] for _ in rows])
    with tuned(loaded, course, RECIPE, 0) as model:
        learned = measure(model, held, loaded.device).losses
    assert learned[0] < 0.9 * before[0]
    assert measure(loaded.module, held, loaded.device).losses == pytest.approx(before)
    assert {name for name, _ in loaded.module.named_parameters()} == names
    with tuned(loaded, course, RECIPE, 0) as model:
        assert measure(model, held, loaded.device).losses == pytest.approx(learned)
    with tuned(loaded, course, RECIPE, 1) as model:
        assert measure(model, held, loaded.device).losses != pytest.approx(learned)


def test_adapters_only_where_they_are_wanted(loaded: LoadedModel) -> None:
    from dataclasses import replace

    course = plan_course(np.arange(1), 1, 0, RECIPE, lambda rows: [lesson(4, 6) for _ in rows])
    with tuned(loaded, course, replace(RECIPE, layers=1), 0) as model:
        adapted = {name.split(".layers.")[1][0] for name, _ in model.named_parameters() if "lora" in name}
    last = loaded.module.config.num_hidden_layers - 1
    assert adapted == {str(last)}


def test_generated_answers_are_compared_with_the_right_ones(loaded: LoadedModel) -> None:
    import torch

    prompts = [lesson(5, 0, 4), lesson(3, 0, 11)]
    held = []
    for prompt in prompts:
        with torch.inference_mode():
            ids = loaded.module.generate(torch.from_numpy(prompt.ids)[None], max_new_tokens=6, do_sample=False)[0]
        held.append(AnswerTokens(ids.numpy(), np.arange(len(ids)) >= len(prompt.ids)))
    assert chrf(loaded.module, loaded.tokenizer, held, loaded.device).tolist() == [100.0, 100.0]
    other = [AnswerTokens(np.where(one.counts, one.ids[::-1], one.ids), one.counts) for one in held]
    scores = chrf(loaded.module, loaded.tokenizer, [other[0], lesson(4, 0), held[1]], loaded.device)
    assert scores[0] < 100
    assert scores[1:].tolist() == [0.0, 100.0]


def test_few_words_are_a_softmax_over_them(loaded: LoadedModel) -> None:
    import torch

    one = lesson(3, 5)
    batch = AnswerBatch.of([one], loaded.device)
    with torch.inference_mode():
        whole = loaded.module(input_ids=batch.ids, attention_mask=batch.mask).logits[0, :-1][batch.counts[0, 1:]]
        kept = np.unique(one.ids)
        expected = [
            float(torch.logsumexp(row[kept], 0) - row[token])
            for row, token in zip(whole, one.ids[one.counts], strict=True)
        ]
        logits = answer_logits(loaded.module, batch, torch.from_numpy(kept))
    assert logits.losses().tolist() == pytest.approx(expected, rel=1e-4)
    tokens = one.ids[one.counts]
    best = [int(kept[int(row[kept].argmax())]) == token for row, token in zip(whole, tokens, strict=True)]
    assert logits.likeliest().tolist() == best


# ---- held-out examples --------------------------------------------------------------------------------------------


def test_examples_and_held_out_rows_part_all_rows() -> None:
    shown, held = split(401, seed=3)
    assert (len(shown), len(held)) == (200, 201)
    assert sorted([*shown, *held]) == list(range(401))
    assert split(401, 3)[0].tolist() == shown.tolist() != split(401, 4)[0].tolist()
    with pytest.raises(CapabilityError, match="at least 2"):
        split(1, 0)


def test_few_answers_that_recur_are_options(tmp_path: Path, maker: LessonMaker) -> None:
    rows = [{"instruction": f"Is {n} even?", "output": "yes" if n % 2 == 0 else "no"} for n in range(10)]
    made = samples(tmp_path, rows)
    assert closed_answers(made) == {"": ("no", "yes")}
    assert closed_answers(made[:6]) == {}
    held = hold_out(made, np.array([2, 5]), maker)
    assert (len(held.lessons), len(held.options)) == (2, 4)
    assert held.question.tolist() == [0, 0, 1, 1]
    assert held.right.tolist() == [False, True, True, False]
    kinds = ["a", "b"] * 5
    assert closed_answers(made, kinds) == {}
    assert hold_out(made, np.array([2]), maker).digest != hold_out(made, np.array([3]), maker).digest


def test_the_likeliest_option_is_the_answer() -> None:
    losses, groups = np.array([3.0, 2.0, 1.0, 5.0]), np.array([0, 0, 4, 4])
    assert likeliest(losses, groups, np.array([False, True, True, False])).tolist() == [True, True]
    assert likeliest(losses, groups, np.array([True, False, True, False])).tolist() == [False, True]


def test_examples_keep_their_formats_and_those_without_an_answer_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = SignatureConfig(views=(View.WORDS,))
    index = build_small(tmp_path / "own.nait", write_lines(tmp_path / "pool.jsonl", small_rows(8)), signatures=words)
    alpaca, last = small_rows(4, first=20), {"instruction": "Name a river.", "output": ""}
    pairs = [{"question": f"Is {number} odd?", "answer": f"No, {number} is even."} for number in range(0, 8, 2)]
    write_lines(tmp_path / "alpaca.jsonl", [*alpaca, last])
    index.add_capability("mixed", [tmp_path / "alpaca.jsonl", write_lines(tmp_path / "pairs.jsonl", pairs)])
    plain = write_lines(tmp_path / "plain.jsonl", [row | {"text": f"Text {row['id']}."} for row in alpaca])
    monkeypatch.setattr("nait_index.proving.prove.Prover", lambda index, samples, *_: samples)
    made: Any = open_prover(index, ["mixed"], [plain], runs=tmp_path / "runs", row_format=RowFormat.TEXT)
    assert [sample.row for sample in made["mixed"]] == list(map(json.dumps, [*alpaca, *pairs]))
    assert "mixed: 1 of 9 examples are left out" in caplog.text
    shown = [Choices(index, made, "10%").shown(name, 0).samples for name in ("mixed", "plain")]
    assert [len(samples) for samples in shown] == [4, 2]
    assert set(shown[0]) < set(made["mixed"])
    assert all(sample.parts[0].text.startswith("Text row-") for sample in shown[1])


# ---- comparisons --------------------------------------------------------------------------------------------------


def test_a_loss_is_relative_to_the_base_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(5)
    bases = [rng.uniform(1, 3, 40) for _ in range(5)]
    estimate = relative_loss([RunPair(base * rng.uniform(0.7, 0.9, 40), base) for base in bases])
    interval, wider = estimate.interval(), estimate.interval(comparisons=20)
    assert -0.3 < wider.low < interval.low < interval.mean < interval.high < wider.high < -0.1
    assert interval.mean == pytest.approx(-0.2, abs=0.03)


def test_the_same_share_everywhere_leaves_no_doubt() -> None:
    base = np.random.default_rng(1).uniform(1, 3, 20)
    interval = relative_loss([RunPair(base * 0.75, base)] * 4).interval()
    assert interval.to_dict() == {"mean": -0.25, "low": -0.25, "high": -0.25}


def test_intervals_grow_with_the_difference_between_seeds() -> None:
    base = np.ones(30)
    calm = relative_loss([RunPair(base * share, base) for share in (0.79, 0.8, 0.81)]).interval()
    wild = relative_loss([RunPair(base * share, base) for share in (0.6, 0.8, 1.0)]).interval()
    assert wild.high - wild.low > 5 * (calm.high - calm.low)


def test_half_and_twice_the_loss_cancel_out() -> None:
    base = np.ones(10)
    halved, doubled = relative_loss([RunPair(base / 2, base)]), relative_loss([RunPair(base * 2, base)], stream=1)
    assert average([halved, doubled]).mean == pytest.approx(0)
    with pytest.raises(ValueError, match="different numbers of seeds"):
        average([halved, relative_loss([RunPair(base, base)] * 2)])


def results(losses: dict[str, float]) -> Results:
    """Make the results of arms with these losses a token, on one capability and two seeds."""
    plan = ProofPlan(tuple(Arm(name, targeted=name != RANDOM) for name in losses), {"skill": []}, seeds=2)
    rng = np.random.default_rng(0)
    rows = rng.uniform(5, 15, (2, 20))
    runs, outcomes = [], []
    for seed in range(2):
        for name, loss in losses.items():
            measured = Measured(rows[seed] * loss, np.full(20, 10), np.zeros(20, bool), np.zeros(0, bool))
            runs.append(Run(name, None if name == RANDOM else "skill", seed, None, {}))
            outcomes.append(Outcome(5, 50, 2.0, 1.0, {"skill": measured}))
    return Results(plan, Planned(tuple(runs), dict.fromkeys(losses, 0.5)), outcomes)


def test_results_compare_with_random_rows_and_with_bm25() -> None:
    found = results({RANDOM: 2.0, BM25: 1.8, "probe": 1.5}).to_dict()
    assert found["against_random"]["probe"]["skill"]["mean"] == pytest.approx(-0.25)
    assert found["against_bm25"]["probe"]["mean"]["mean"] == pytest.approx(1.5 / 1.8 - 1, abs=1e-4)
    assert RANDOM in found["against_bm25"]
    assert found["measured"]["probe"]["skill"]["exact"] == 0


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ({RANDOM: 2.0, BM25: 1.8, "probe": 1.5}, "teach this model more than random rows.*more than word overlap"),
        ({RANDOM: 2.0, BM25: 1.2, "probe": 1.5}, "teach this model more than random rows.*less than word overlap"),
        ({RANDOM: 2.0, BM25: 1.8, "probe": 2.5}, "less than random rows"),
        ({RANDOM: 2.0, BM25: 2.0, "probe": 2.0}, "no difference from random rows.*not provably"),
    ],
)
def test_the_verdict_is_one_sentence(losses: dict[str, float], sentence: str) -> None:
    import re

    assert re.search(sentence, verdict(results(losses), "probe"))


# ---- runs ---------------------------------------------------------------------------------------------------------


def test_finished_runs_are_not_done_again(tmp_path: Path, loaded: LoadedModel) -> None:
    corpus = [lesson(4, 6, 7 * row) for row in range(20)]
    held = {"skill": HeldOut((lesson(4, 6),))}
    runs = [
        Run(
            "a", None, 0, plan_course(np.arange(first, 20), 20, 0, RECIPE, lambda rows: [corpus[r] for r in rows]), held
        )
        for first in (0, 10)
    ]
    store = RunStore(tmp_path / "runs.jsonl")
    done: list[Run] = []
    first = list(Bench(loaded, RECIPE, store).run_all(runs[:1], lambda run, *_: done.append(run)))
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"key": "half a rec')
    again = list(
        Bench(loaded, RECIPE, RunStore(tmp_path / "runs.jsonl")).run_all(runs, lambda run, *_: done.append(run))
    )
    assert done == runs
    assert again[0].measured["skill"].losses == pytest.approx(first[0].measured["skill"].losses, abs=1e-3)
    assert len(list(Bench(loaded, RECIPE, RunStore(tmp_path / "runs.jsonl")).run_all(runs))) == 2
    assert len(done) == 2


def test_a_key_depends_on_recipe_seed_course_and_held_out_rows(loaded: LoadedModel, tmp_path: Path) -> None:
    from dataclasses import replace

    course = plan_course(np.arange(2), 2, 0, RECIPE, lambda rows: [lesson(4, 6, row) for row in rows])
    run = Run("a", None, 0, course, {"skill": HeldOut((lesson(4, 6),))})
    store = RunStore(tmp_path / "runs.jsonl")
    key = Bench(loaded, RECIPE, store).key(run)
    assert Bench(loaded, RECIPE, store).key(replace(run, arm="b", target="x")) == key
    others = [
        Bench(loaded, replace(RECIPE, learning_rate=1e-3), store).key(run),
        *(
            Bench(loaded, RECIPE, store).key(replace(run, **change))
            for change in (
                {"seed": 1},
                {"course": None},
                {"course": replace(course, steps=course.steps[1:])},
                {"held_out": {"skill": HeldOut((lesson(4, 7),))}},
                {"held_out": {"skill": HeldOut((lesson(4, 6),), generate=True)}},
            )
        ),
    ]
    assert len({key, *others}) == 7


def test_seeds_show_other_halves_and_measure_the_rest(tmp_path: Path, maker: LessonMaker) -> None:
    rows = samples(tmp_path, [{"instruction": f"Name {n}.", "output": f"It is {n}."} for n in range(12)])
    seen: list[tuple[str | None, int]] = []

    def choose(capability: str | None, seed: int) -> np.ndarray:
        seen.append((capability, seed))
        return np.arange(3)

    plan = ProofPlan((Arm("a", choose), Arm("all", choose, targeted=False), Arm("none")), {"x": rows, "y": rows}, 2, 4)
    planned = plan_runs(plan, 12, RECIPE, maker, lambda chosen: maker.lessons([rows[row] for row in chosen]))
    assert seen == [("x", 0), ("y", 0), (None, 0), ("x", 1), ("y", 1), (None, 1)]
    assert [sorted(run.held_out) for run in planned.runs[:4]] == [["x"], ["y"], ["x", "y"], ["x"]]
    assert all(len(held.lessons) == 4 for run in planned.runs for held in run.held_out.values())
    assert planned.train_tokens > 0


# ---- the command --------------------------------------------------------------------------------------------------

SMALL = ["--tokens", "40", "--steps", "2", "--seeds", "1", "--held-out", "4", "--max-length", "48", "--layers", "1"]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_model: Any) -> Path:
    folder = tmp_path_factory.mktemp("prove")
    corpus = write_lines(folder / "corpus.jsonl", small_rows(40))
    build_small(folder / "small.nait", corpus, model=tiny_model("llama"), max_length=48)
    write_lines(folder / "examples.jsonl", small_rows(8, first=100))
    return folder / "small.nait"


def test_the_command_proves_writes_and_resumes(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof.json"
    words = ["prove", index, "-e", index.parent / "examples.jsonl", "-o", out, "--top", "20%", "--chrf", *SMALL]
    dry = nait_index(*words, "--dry-run")
    assert dry.code == 0
    assert "4 runs, 4 of them still to do" in dry.err
    assert not out.exists()
    first = nait_index(*words)
    assert first.code == 0, first.err
    for arm in ("untrained", "random", "probe", "bm25"):
        assert arm in first.out
    result = json.loads(out.read_text())
    assert set(result["against_random"]) == {"untrained", "probe", "bm25"}
    assert result["settings"]["recipe"]["answer_tokens"] == 40
    assert result["verdict"] in first.out
    assert 0 <= result["measured"]["probe"]["examples"]["chrf"] <= 100
    assert "chrF" in first.out
    assert out.with_suffix(".png").stat().st_size > 1000
    again = nait_index(*words, "--json")
    assert "0 of them still to do" in again.err
    assert json.loads(again.out)["measured"] == result["measured"]


def test_no_run_learns_the_examples_by_heart(index: Path, tmp_path: Path, maker: LessonMaker) -> None:
    opened, rows = NaitIndex(index), small_rows(40)
    held = samples(tmp_path, [rows[3], rows[7] | {"output": "Another answer."}, *small_rows(2, first=100)])
    read = LessonReader(opened.columns, maker, opened.manifest.reading.for_training, {"x": held})
    lessons, ids = read(range(40)), opened.columns.ids()
    assert {ids[ordinal] for ordinal in read.left_out} == {str(rows[3]["id"]), str(rows[7]["id"])}
    assert {number for number, each in enumerate(lessons) if each.answer_length == 0} == read.left_out
    told = "Translate the sentence from French to English, and keep its tone: "
    asked = [told + text for text in ("le chat dort sur le lit rouge", "un chien court dans la rue sous la pluie")]
    repeats = [asked[0], f"Please help me. {asked[1]} Thanks.", f"{told} les enfants jouent devant la maison blanche"]
    made = NaitIndex.build(
        tmp_path / "w.nait", [{"instruction": text, "output": "x"} for text in repeats],
        signatures=SignatureConfig(views=(View.WORDS,)),
    )  # fmt: skip
    held = samples(tmp_path, [{"instruction": text, "output": "y"} for text in asked])
    read = LessonReader(made.columns, maker, made.manifest.reading.for_training, {"x": held})
    read(range(3))
    assert {made.columns.take([ordinal], ["row"])["row"][0] for ordinal in read.left_out} == {
        json.dumps({"instruction": text, "output": "x"}) for text in repeats[:2]
    }
    few, out = write_lines(tmp_path / "few.jsonl", [rows[3], *small_rows(5, first=100)]), tmp_path / "proof.json"
    proved = nait_index("prove", index, "-e", few, "-o", out, "--top", "100%", *SMALL, "--tokens", "300")
    assert proved.code == 0, proved.err
    left_out = json.loads(out.read_text())["left_out_like_an_example"]
    assert left_out >= 1
    assert f"{left_out} chosen row" in proved.err
    assert "like an example left out" in proved.err


def test_the_verdict_is_about_a_method_and_not_about_random_rows(index: Path, tmp_path: Path) -> None:
    words = ["prove", index, "-e", index.parent / "examples.jsonl", "-o", tmp_path / "proof.json", "--top", "20%"]
    proved = nait_index(*words, "--method", "random", "--method", "nait", *SMALL)
    assert proved.code == 0, proved.err
    assert " for nait: " in proved.out or " by nait " in proved.out


def test_what_cannot_be_proved_is_said_in_one_line(index: Path, tmp_path: Path, tiny_model: Any) -> None:
    out = ["-o", tmp_path / "proof.json", *SMALL]
    assert "name at least one capability" in refusal("prove", index, *out)
    assert "there is no capability 'math'" in refusal("prove", index, "-c", "math", *out)
    one = write_lines(tmp_path / "one.jsonl", small_rows(1))
    assert "at least 2" in refusal("prove", index, "-e", one, *out)
    examples = index.parent / "examples.jsonl"
    assert "causal" in refusal("prove", index, "-e", examples, "--tune", tiny_model("bert"), *out)
    assert "at least 1 seed" in refusal("prove", index, "-e", examples, *out, "--seeds", "0")
    assert "fewer than the" in refusal("prove", index, "-e", examples, *out, "--tokens", "1")
    assert not (tmp_path / "proof.json").exists()
    for name in ("mine.json", "mine.png"):
        (tmp_path / name).write_text("{}")
        assert f"{name} exists" in refusal("prove", index, "-e", examples, "-o", tmp_path / "mine.json", *SMALL)
        assert (tmp_path / name).read_text() == "{}"
        (tmp_path / name).unlink()


def test_settings_that_learn_nothing_are_refused() -> None:
    for change in (
        {"answer_tokens": 0},
        {"rank": 0},
        {"layers": -1},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"max_length": 7},
        {"answer_tokens": 3, "steps": 4},
    ):
        with pytest.raises(NaitError):
            TuningRecipe(**change)
