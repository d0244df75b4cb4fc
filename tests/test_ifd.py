"""IFD against a computation one row at a time, and what becomes of rows that have none."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyModels
from tiny_models import save_tokenizer

from nait_index.activations.batches import Target
from nait_index.activations.likelihood import Failure, Likelihood
from nait_index.activations.loading import load_model, model_path
from nait_index.config import BUNDLED_MODEL, Device, ModelConfig
from nait_index.errors import ModelError
from nait_index.quality.causal import begin_markers
from nait_index.quality.ifd import IfdQuality
from nait_index.quality.score import QualityRow, Score, Status
from nait_index.types import Part, Role

ROWS = [
    ("Add 17 and 25, then halve the sum.", "The answer is 21."),
    ("Repeat after me: the little fox jumps.", "the little fox jumps"),
    ("the little fox jumps. Repeat it thrice.", "the little fox jumps. the little fox jumps. the little fox jumps."),
    ("Name three rivers of Europe.", "The Volga, the Danube, the Ural. None of them is in Spain."),
    ("Übersetze: 🙂", "Das lässt sich nicht übersetzen, aber es ist ein Lächeln."),
    ("Say yes.", "Yes, yes, yes, and again: yes!"),
]


def rows_of(*pairs: tuple[str, str]) -> list[QualityRow]:
    return [
        QualityRow(f"r{number}", "", (Part(Role.USER, question), Part(Role.ASSISTANT, answer)))
        for number, (question, answer) in enumerate(pairs)
    ]


def config_of(folder: Path | str, **settings: Any) -> ModelConfig:
    return ModelConfig(name=str(folder), device=Device.CPU, **({"template": "text"} | settings))


def scores_of(config: ModelConfig, rows: list[QualityRow]) -> dict[str, Score]:
    scores = list(IfdQuality(config).score(rows))
    assert sorted(score.row.id for score in scores) == sorted(row.id for row in rows)
    return {score.row.id: score for score in scores}


@cache
def plainly_loaded(folder: str) -> tuple[Any, Any]:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def reference(folder: str, prompt: str, answer: str, begin: list[int]) -> float:
    """Compute one row with nothing but the model: log-probabilities looked up token by token."""
    import torch

    model, tokenizer = plainly_loaded(folder)
    asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answered = tokenizer(answer, add_special_tokens=False)["input_ids"]

    def perplexity(before: list[int]) -> float:
        ids = before + answered
        with torch.no_grad():
            shares = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
        lost = [-float(shares[position - 1, ids[position]]) for position in range(len(before) + 1, len(ids))]
        return float(np.exp(np.mean(lost)))

    return perplexity(begin + asked) / perplexity(begin)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "falcon_alibi", "mistral", "qwen3_moe"])
def test_matches_one_row_at_a_time(tiny_model: TinyModels, family: str) -> None:
    folder = tiny_model(family)
    scores = scores_of(config_of(folder), rows_of(*ROWS))
    for number, (question, answer) in enumerate(ROWS):
        expected = reference(str(folder), question + "\n", answer, [])
        assert scores[f"r{number}"].status is Status.OK
        assert scores[f"r{number}"].value == pytest.approx(expected, rel=2e-4)


def test_begin_markers_come_first_and_end_markers_never(tiny_model: TinyModels, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("llama"), tmp_path / "marked")
    save_tokenizer(folder, markers=("<s>", "</s>"))
    loaded = load_model(config_of(folder), causal=True)
    assert begin_markers(loaded.tokenizer).tolist() == [1]
    scores = scores_of(config_of(folder), rows_of(*ROWS))
    expected = [reference(str(folder), question + "\n", answer, [1]) for question, answer in ROWS]
    assert [scores[f"r{number}"].value for number in range(len(ROWS))] == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("batch_tokens", [1, 40, 100_000])
def test_does_not_depend_on_what_shares_a_batch(batch_tokens: int) -> None:
    rows, scorer = rows_of(*ROWS), IfdQuality(config_of(BUNDLED_MODEL, batch_tokens=1))
    alone = {row.id: next(scorer.score([row])).value for row in rows}
    together = scores_of(config_of(BUNDLED_MODEL, batch_tokens=batch_tokens), rows[::-1])
    assert [together[row.id].value for row in rows] == pytest.approx([alone[row.id] for row in rows], rel=1e-4)


def test_a_question_that_holds_the_answer_helps() -> None:
    answer = "Paris lies on the river Seine."
    scores = scores_of(config_of(BUNDLED_MODEL), rows_of((f"Copy this: {answer}", answer), ("Add 3 and 4.", answer)))
    assert scores["r0"].value is not None
    assert scores["r1"].value is not None
    assert scores["r0"].value < scores["r1"].value


def test_the_last_answer_counts_with_all_before_it() -> None:
    turns = [(Role.SYSTEM, "Be brief."), (Role.USER, "One?"), (Role.ASSISTANT, "It is one."), (Role.USER, "And two?")]
    parts = [*turns, (Role.ASSISTANT, "It is two, of course.")]
    row = QualityRow("r0", "", tuple(Part(role, text) for role, text in parts))
    scores = scores_of(config_of(BUNDLED_MODEL), [row])
    prompt = "Be brief.\nOne?\nIt is one.\nAnd two?\n"
    expected = reference(model_path(BUNDLED_MODEL), prompt, "It is two, of course.", [0])
    assert scores["r0"].value == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((Part(Role.TEXT, "Just text, nobody asks."),), Status.NO_QUESTION),
        ((Part(Role.SYSTEM, "Be kind."), Part(Role.ASSISTANT, "I am kind to all.")), Status.NO_QUESTION),
        ((Part(Role.USER, "Anyone there?"),), Status.NO_ANSWER),
        ((Part(Role.ASSISTANT, "Hello to you."), Part(Role.USER, "Hello?")), Status.NO_QUESTION),
        ((Part(Role.USER, "Which letter?"), Part(Role.ASSISTANT, "a")), Status.SHORT_ANSWER),
        ((Part(Role.USER, "word " * 600), Part(Role.ASSISTANT, "It never ends.")), Status.ANSWER_CUT),
    ],
)
def test_without_question_or_answer_there_is_a_status_and_no_number(parts: tuple[Part, ...], status: Status) -> None:
    rows = [QualityRow("bad", "", parts), *rows_of(*ROWS)]
    scores = scores_of(config_of(BUNDLED_MODEL), rows)
    assert (scores["bad"].value, scores["bad"].status) == (None, status)
    assert all(scores[row.id].status is Status.OK for row in rows[1:])


def test_a_cut_answer_counts_as_far_as_it_was_read(tiny_model: TinyModels) -> None:
    folder = tiny_model("llama")
    loaded = load_model(config_of(folder), causal=True)
    question, answer = "Count.", "one two three four five six seven eight nine ten"
    ids = loaded.tokenizer(answer, add_special_tokens=False)["input_ids"]
    asked = len(loaded.tokenizer(question + "\n", add_special_tokens=False)["input_ids"])
    score = scores_of(config_of(folder, max_length=asked + 9), rows_of((question, answer)))["r0"]
    kept = loaded.tokenizer.decode(ids[:9])
    assert score.status is Status.TRUNCATED
    assert score.value == pytest.approx(reference(str(folder), question + "\n", kept, []), rel=2e-4)
    for room, status in ((1, Status.ANSWER_CUT), (0, Status.ANSWER_CUT), (2, Status.TRUNCATED)):
        score = scores_of(config_of(folder, max_length=asked + room), rows_of((question, answer)))["r0"]
        assert score.status is status


def test_a_chat_template_ends_where_the_assistant_speaks(tiny_model: TinyModels, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("llama"), tmp_path / "chat")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    scores = scores_of(config_of(folder, template="auto"), rows_of(*ROWS))
    expected = [reference(str(folder), f"[user] {question}\n[assistant] ", answer, []) for question, answer in ROWS]
    assert [scores[f"r{number}"].value for number in range(len(ROWS))] == pytest.approx(expected, rel=2e-4)


def test_a_template_that_refuses_a_row_gives_it_a_status() -> None:
    parts = (Part(Role.USER, "One?"), Part(Role.ASSISTANT, "One."), Part(Role.USER, "Two?"), Part(Role.ASSISTANT, "2!"))
    scores = scores_of(config_of(BUNDLED_MODEL, template="alpaca"), [QualityRow("long", "", parts), *rows_of(*ROWS)])
    assert scores["long"].status is Status.NO_PROMPT
    assert "alpaca" in scores["long"].reason
    assert scores["r0"].status is Status.OK


def test_a_batch_that_does_not_fit_is_halved_and_a_row_that_never_does_fails_alone(
    tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("llama")
    expected = scores_of(config_of(folder), rows_of(*ROWS))
    run, sizes = Likelihood._logits, []
    poison = load_model(config_of(folder), causal=True).tokenizer("Volga", add_special_tokens=False)["input_ids"]

    def narrow(self: Likelihood, sequences: Any, places: Any) -> Any:
        sizes.append(len(sequences))
        if len(sequences) > 2:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        if any(poison == ids[start : start + len(poison)].tolist() for ids in sequences for start in range(len(ids))):
            raise RuntimeError("this row breaks it")
        return run(self, sequences, places)

    monkeypatch.setattr(Likelihood, "_logits", narrow)
    scores = scores_of(config_of(folder), rows_of(*ROWS))
    assert max(sizes) > 2
    failed = scores.pop("r3")
    assert (failed.value, failed.status, failed.reason) == (None, Status.FAILED, "this row breaks it")
    values = [score.value for score in scores.values()]
    assert values == pytest.approx([expected[row_id].value for row_id in scores], rel=1e-4)


def test_numbers_that_are_none_get_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Likelihood, "_losses", lambda self, targets: [float("nan")] * len(targets))
    score = scores_of(config_of(BUNDLED_MODEL), rows_of(ROWS[0]))["r0"]
    assert (score.value, score.status) == (None, Status.NOT_FINITE)


def test_a_token_without_an_embedding_fails_its_row_alone(tiny_model: TinyModels) -> None:
    likelihood = Likelihood(load_model(config_of(tiny_model("llama")), causal=True))
    good, bad = np.array([5, 6, 7]), np.array([5, 100_000])
    targets = [Target(np.concatenate([prefix, good]), len(prefix)) for prefix in (good, bad)]
    losses = dict(likelihood.mean_losses(targets))
    assert isinstance(losses[0], float)
    assert isinstance(losses[1], Failure)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "t5"])
def test_what_is_no_causal_model_is_refused(tiny_model: TinyModels, family: str) -> None:
    with pytest.raises(ModelError, match="is not a causal language model") as caught:
        load_model(config_of(tiny_model(family)), causal=True)
    assert "\n" not in str(caught.value)
    assert ("is an encoder" in str(caught.value)) == (family in ("bert", "roberta"))


def test_a_body_without_its_head_is_refused(tiny_model: TinyModels, tmp_path: Path) -> None:
    import transformers

    folder = shutil.copytree(tiny_model("llama"), tmp_path / "body")
    transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"lacks the weights of .*head") as caught:
        load_model(config_of(folder), causal=True)
    assert "\n" not in str(caught.value)


def test_tied_heads_are_no_missing_weights(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = load_model(config_of(BUNDLED_MODEL), causal=True)
    assert loaded.parameters == sum(weight.numel() for weight in loaded.module.parameters())
    assert capfd.readouterr() == ("", "")
