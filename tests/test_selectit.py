"""SelectIT against its formulas written out, one row and one prompt at a time."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyModels
from test_ifd import ROWS, config_of, plainly_loaded, rows_of
from tiny_models import save_tokenizer

from nait_index.activations.likelihood import Likelihood
from nait_index.activations.loading import load_model, model_path
from nait_index.config import BUNDLED_MODEL
from nait_index.errors import ModelError, NaitError
from nait_index.quality.score import QualityRow, Score, Status
from nait_index.quality.selectit import (
    LEVELS,
    RATING_PROMPTS,
    SelectItQuality,
    digit_tokens,
    model_level,
    read_rating_prompts,
    sentence_level,
    token_level,
)
from nait_index.types import Part, Role

PROMPTS = ("Rate it from 1 to 5.", "How good is it, from 1 to 5?")


def scores_of(scorer: SelectItQuality, rows: list[QualityRow]) -> dict[str, Score]:
    scores = list(scorer.score(rows))
    assert sorted(score.row.id for score in scores) == sorted(row.id for row in rows)
    return {score.row.id: score for score in scores}


def token_reference(shares: list[float]) -> float:
    base = max(range(5), key=lambda level: (shares[level], -level))
    return (base + 1) * sum(abs(share - shares[base]) for share in shares) / 4


def reference(folder: str, question: str, answer: str, alpha: float) -> tuple[float, int]:
    """Compute the sentence level of one row with one model, and the model's size."""
    import torch

    model, tokenizer = plainly_loaded(folder)
    # The tiny tokenizers have " 1" as one token, but " 3" as two.
    gap, begin = (" ", [0]) if folder == model_path(BUNDLED_MODEL) else ("\n", [])
    ask = f"\n\nThe score is:{gap}"
    digits = [tokenizer(f"{ask}{digit}", add_special_tokens=False)["input_ids"][-1] for digit in "12345"]
    scores = []
    for prompt in PROMPTS:
        pieces = [f"{prompt}\n\nInstruction:\n", question, "\n\nResponse:\n", answer, f"{ask}1"]
        encoded = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]
        ids = [*begin, *(token for piece in encoded for token in piece)][:-1]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].double()
        powers = [float(torch.exp(logits[digit] - logits[digits].max())) for digit in digits]
        scores.append(token_reference([power / sum(powers) for power in powers]))
    mean = sum(scores) / len(scores)
    deviation = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return mean / (1 + alpha * deviation), sum(parameter.numel() for parameter in model.parameters())


def test_the_token_level_rewards_being_sure_of_a_good_score() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(5), size=(7, 3))
    expected = [[token_reference(list(probabilities)) for probabilities in row] for row in shares]
    np.testing.assert_allclose(token_level(shares), expected, rtol=1e-12)
    assert token_level(np.full(5, 0.2)) == 0
    assert token_level(np.eye(5)).tolist() == [1, 2, 3, 4, 5]


def test_sentence_and_model_level() -> None:
    scores = np.array([[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]])
    deviation = np.sqrt(((scores[0] - 7 / 3) ** 2).mean())
    np.testing.assert_allclose(sentence_level(scores, 0.2), [7 / 3 / (1 + 0.2 * deviation), 3.0])
    assert model_level(np.array([1.0, 4.0]), [100, 300]) == pytest.approx(3.25)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2_moe"])
def test_matches_one_row_at_a_time(tiny_model: TinyModels, family: str) -> None:
    folder = tiny_model(family)
    scores = scores_of(SelectItQuality([config_of(folder)], PROMPTS, 0.7), rows_of(*ROWS))
    for number, (question, answer) in enumerate(ROWS):
        expected, _ = reference(str(folder), question, answer, 0.7)
        assert scores[f"r{number}"].value == pytest.approx(expected, rel=1e-3)


def test_several_models_are_weighted_by_their_size(tiny_model: TinyModels) -> None:
    folders = [str(tiny_model("llama")), model_path(BUNDLED_MODEL)]
    scorer = SelectItQuality([config_of(folder) for folder in folders], PROMPTS)
    scores = scores_of(scorer, rows_of(*ROWS[:3]))
    for number, (question, answer) in enumerate(ROWS[:3]):
        both = [reference(folder, question, answer, 0.2) for folder in folders]
        expected = sum(value * size for value, size in both) / sum(size for _, size in both)
        assert scores[f"r{number}"].value == pytest.approx(expected, rel=1e-3)


def test_does_not_depend_on_what_shares_a_batch(tiny_model: TinyModels) -> None:
    rows = rows_of(*ROWS)
    one = scores_of(SelectItQuality([config_of(tiny_model("llama"), batch_tokens=1)]), rows)
    many = scores_of(SelectItQuality([config_of(tiny_model("llama"), batch_tokens=10**6)]), rows[::-1])
    assert [one[row].value for row in one] == pytest.approx([many[row].value for row in one], rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "bundled"])
def test_digits_are_what_the_tokenizer_makes_of_them(tiny_model: TinyModels, family: str) -> None:
    tokenizer = load_model(
        config_of(BUNDLED_MODEL if family == "bundled" else tiny_model(family)), causal=True
    ).tokenizer
    before, digits = digit_tokens(tokenizer, "The score is:")
    written = [tokenizer.decode([*before, digit]) for digit in digits]
    gap = " " if family == "bundled" else "\n"
    assert written == [f"The score is:{gap}{digit}" for digit in range(1, LEVELS + 1)]
    assert len(set(digits)) == LEVELS


def test_digits_may_be_joined_to_the_space_before_them(tiny_model: TinyModels, tmp_path: Path) -> None:
    texts = [f"is: {digit} " * 50 for digit in range(10)]
    folder = shutil.copytree(tiny_model("llama"), tmp_path / "joined")
    save_tokenizer(folder, texts)
    tokenizer = load_model(config_of(folder), causal=True).tokenizer
    before, digits = digit_tokens(tokenizer, "The score is:")
    assert [tokenizer.decode([digit]) for digit in digits] == [" 1", " 2", " 3", " 4", " 5"]
    assert tokenizer.decode(before) == "The score is:"


def test_a_tokenizer_without_digits_of_their_own_is_refused(tiny_model: TinyModels, tmp_path: Path) -> None:
    import tokenizers

    def drop_digits(tokenizer: Any) -> None:
        tokenizer.normalizer = tokenizers.normalizers.Replace(tokenizers.Regex("[0-9]"), "#")

    folder = shutil.copytree(tiny_model("llama"), tmp_path / "blind")
    save_tokenizer(folder, adjust=drop_digits)
    with pytest.raises(ModelError, match="as a single token") as caught:
        SelectItQuality([config_of(folder)])
    assert "\n" not in str(caught.value)


def test_answers_are_cut_before_the_rating_is_asked_for(tiny_model: TinyModels) -> None:
    rows = rows_of(*ROWS, ("Count.", "one two three " * 80), ("count " * 300, "One."))
    rows.append(QualityRow("text", "", (Part(Role.TEXT, "Just text."),)))
    scores = scores_of(SelectItQuality([config_of(tiny_model("llama"))], PROMPTS), rows)
    assert scores["r6"].status is Status.TRUNCATED
    assert scores["r6"].value is not None
    assert (scores["r7"].value, scores["r7"].status) == (None, Status.ANSWER_CUT)
    assert (scores["text"].value, scores["text"].status) == (None, Status.NO_QUESTION)
    assert all(scores[f"r{number}"].status is Status.OK for number in range(6))


def test_a_row_that_fails_shifts_no_other(tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model("llama")
    expected = scores_of(SelectItQuality([config_of(folder)], PROMPTS), rows_of(*ROWS))
    poison = load_model(config_of(folder), causal=True).tokenizer("Volga", add_special_tokens=False)["input_ids"]
    run = Likelihood._next

    def broken(self: Likelihood, prompts: Any, tokens: Any) -> Any:
        if any(poison == ids[start : start + len(poison)].tolist() for ids in prompts for start in range(len(ids))):
            raise RuntimeError("out of memory")
        return run(self, prompts, tokens)

    monkeypatch.setattr(Likelihood, "_next", broken)
    scores = scores_of(SelectItQuality([config_of(folder)], PROMPTS), rows_of(*ROWS))
    assert (scores["r3"].value, scores["r3"].status) == (None, Status.FAILED)
    others = [row for row in scores if row != "r3"]
    assert [scores[row].value for row in others] == pytest.approx([expected[row].value for row in others], rel=1e-4)


def test_rating_prompts_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("Rate it.\n\n  Score it.  \n")
    assert read_rating_prompts(file) == ("Rate it.", "Score it.")
    file.write_text("\n")
    with pytest.raises(NaitError, match="no rating prompt"):
        read_rating_prompts(file)
    with pytest.raises(NaitError, match="no such file"):
        read_rating_prompts(tmp_path / "absent.txt")
    assert all("1" in prompt and "5" in prompt for prompt in RATING_PROMPTS)
