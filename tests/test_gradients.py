"""Per-sample gradients against plain autograd, the warm-up, and Adam's steps against NumPy."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from conftest import TinyModels

from nait_index.activations.answer_losses import AnswerBatch, has_plain_head
from nait_index.activations.answer_tokens import mark_answers
from nait_index.activations.batches import AnswerTokens
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.activations.gradients import encoder as gradients_module
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.encoder import GradientEncoder, Gradients
from nait_index.activations.gradients.per_sample import per_sample_gradients, sample_losses
from nait_index.activations.gradients.projection import Projection
from nait_index.activations.gradients.warmup import (
    Checkpoint,
    Warmup,
    learning_rates,
    part_ends,
    warmup_from_bytes,
    warmup_to_bytes,
)
from nait_index.activations.loading import load_model
from nait_index.config import Device, ModelConfig
from nait_index.errors import ArchitectureError, ModelError, NaitError, StoreError
from nait_index.types import MarkedText

torch = pytest.importorskip("torch")

MakeGradients = Callable[..., GradientEncoder]
SETTINGS = GradientSettings(rank=4, width=512, warmup_steps=4, warmup_batch=3)
CAUSAL = ("llama", "gemma2", "gemma3", "phi3", "gpt2", "gpt_neox", "opt", "falcon_alibi")
MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss")
NO_TEXT = np.zeros(0, np.int64)


def tokens(lengths: Sequence[int] = (9, 3, 14, 6, 2), seed: int = 0) -> list[Tokens]:
    rng = np.random.default_rng(seed)
    return [Tokens(rng.integers(3, tiny_models.VOCABULARY, length), False) for length in lengths]


def trained(text: Tokens, first: int = 1) -> AnswerTokens:
    """Count the tokens of a text from a given one on."""
    return AnswerTokens(text.ids, np.arange(len(text.ids)) >= first)


@pytest.fixture
def make(tiny_model: TinyModels) -> MakeGradients:
    """Make encoders of gradients of a family's tiny model, warmed up unless told otherwise."""

    def made(family: str = "llama", *, warm: bool = True, settings: GradientSettings = SETTINGS, **config: Any) -> Any:
        encoder = GradientEncoder(
            ModelConfig(name=str(tiny_model(family)), **({"device": Device.CPU} | config)), settings
        )
        if warm:
            encoder.warm_up(tokens(seed=1))
        return encoder

    return made


def collect(batches: Iterator[Gradients], n: int, width: int = SETTINGS.width) -> tuple[np.ndarray, dict[int, str]]:
    """Return the features (n, d), NaN where there are none, and the reasons."""
    values, reasons = np.full((n, width), np.nan), dict[int, str]()
    for batch in batches:
        assert batch.values.dtype == np.float32
        values[batch.rows] = batch.values
        reasons |= batch.reasons
    assert set(reasons) == set(np.flatnonzero(np.isnan(values).any(axis=1)))
    return values, reasons


def reference(encoder: GradientEncoder, text: Tokens, first: int = 1) -> dict[str, np.ndarray]:
    """Return the gradients of one text's mean loss as transformers computes it, by plain autograd."""
    ids = torch.from_numpy(text.ids)[None]
    labels = ids.clone()
    labels[:, :first] = -100
    loss = encoder.model.module(input_ids=ids, labels=labels).loss
    parameters = encoder.adapters.parameters
    gradients = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return {name: gradient.numpy() for name, gradient in zip(parameters, gradients, strict=True)}


def projected(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Project the gradients of one text and scale them to unit length (d,)."""
    projection, out = Projection(SETTINGS.width, SETTINGS.seed), torch.zeros(1, SETTINGS.width)
    for number, part in enumerate(parts.values()):
        projection.add(number, torch.from_numpy(part.reshape(1, -1).astype(np.float32)), out)
    return np.asarray(out[0] / out.norm())


# ---- per-sample gradients --------------------------------------------------------------------------------------------


def shaken(encoder: GradientEncoder) -> GradientEncoder:
    """Set all adapters at random: with B at zero, A would have no gradient."""
    rng = np.random.default_rng(0)
    encoder.adapters.load(
        {name: rng.normal(0, 0.1, w.shape).astype(np.float32) for name, w in encoder.adapters.parameters.items()}
    )
    return encoder


@pytest.mark.parametrize("family", CAUSAL + MIXTURES)
def test_a_batch_gives_what_autograd_gives_one_sample_at_a_time(make: MakeGradients, family: str) -> None:
    encoder, texts = shaken(make(family, warm=False)), tokens()
    model: Any = encoder.model.module
    batch = AnswerBatch.of([trained(text) for text in texts], encoder.model.device)
    gradients: dict[str, np.ndarray] = {}
    take = lambda name, values: gradients.update({name: values.detach().numpy()})  # noqa: E731
    with per_sample_gradients(model.get_input_embeddings(), encoder.adapters.layers, batch.ids.shape, take) as backward:
        backward(sample_losses(model, batch).sum())
    assert list(encoder.adapters.layers) == sorted(gradients, key=list(encoder.adapters.layers).index)
    for row, text in enumerate(texts):
        expected = reference(encoder, text)
        largest = max(np.abs(part).max() for part in expected.values())
        for name, part in expected.items():
            np.testing.assert_allclose(gradients[name][row], part, rtol=0, atol=2e-5 * largest, err_msg=name)


def test_adapters_sit_on_every_linear_layer_but_the_head(make: MakeGradients) -> None:
    names = {name.split(".lora_")[0] for name in make(warm=False).adapters.layers}
    parts = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    parts += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    assert names == {f"model.layers.{layer}.{part}" for layer in range(tiny_models.LAYERS) for part in parts}


def test_a_vision_tower_gets_no_adapters(make: MakeGradients) -> None:
    assert not [name for name in make("gemma3", warm=False).adapters.layers if "vision" in name]


def test_adapters_are_the_same_each_time_and_leave_the_random_state_alone(make: MakeGradients) -> None:
    before = torch.random.get_rng_state()
    first, second = (make(warm=False).adapters.weights() for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
        assert values.any() == ("lora_A" in name)


def test_no_hook_is_left_behind(make: MakeGradients) -> None:
    encoder = make()
    collect(encoder.rows(tokens()), 5)
    assert not any(module._forward_hooks for module in encoder.model.module.modules())
    assert all(weight.grad is None for weight in encoder.adapters.parameters.values())


def test_a_layer_that_mixes_the_samples_is_refused() -> None:
    table, layer = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 3, bias=False)
    with pytest.raises(ArchitectureError, match=r"'own' sees \(5, 4\); expected 2 samples of 3 tokens"):
        with per_sample_gradients(table, {"own": layer}, (2, 3), lambda *_: None):
            layer(table.requires_grad_(False)(torch.arange(5)))
    embedded = torch.ones(2, 3, 4, requires_grad=True)
    with pytest.raises(ArchitectureError, match="'own' ran twice"):
        with per_sample_gradients(table, {"own": layer}, (2, 3), lambda *_: None):
            layer(embedded) + layer(embedded)


# ---- features --------------------------------------------------------------------------------------------------------


def test_examples_are_plain_gradients(make: MakeGradients) -> None:
    encoder, texts = make(), tokens()
    values, _ = collect(encoder.examples(texts), len(texts))
    for row, text in enumerate(texts):
        np.testing.assert_allclose(values[row], projected(reference(encoder, text)), atol=1e-5)


def test_rows_are_the_steps_that_adam_would_take(make: MakeGradients) -> None:
    encoder, texts = make(warm=False), tokens()
    (warm,) = encoder.warm_up(tokens(seed=1)).checkpoints
    values, _ = collect(encoder.rows(texts), len(texts))
    for row, text in enumerate(texts):
        steps = {}
        for name, gradient in reference(encoder, text).items():
            first = 0.9 * warm.first[name] + 0.1 * gradient
            second = 0.999 * warm.second[name] + 0.001 * gradient.astype(np.float64) ** 2
            steps[name] = first / np.sqrt(second + 1e-8)
        np.testing.assert_allclose(values[row], projected(steps), atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe"])
def test_a_row_does_not_depend_on_its_batch(make: MakeGradients, family: str) -> None:
    encoder, texts = make(family, batch_tokens=10_000), tokens()
    together, _ = collect(encoder.rows(texts), len(texts))
    encoder._budget = 1
    alone, _ = collect(encoder.rows(texts), len(texts))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("family", "layers"), [("mixtral", 3), ("qwen3_moe", 2), ("llama", 0)])
def test_experts_without_adapters_are_counted(
    make: MakeGradients, family: str, layers: int, caplog: pytest.LogCaptureFixture
) -> None:
    make(family)
    notes = [record.getMessage() for record in caplog.records if "experts" in record.getMessage()]
    assert notes == (
        [f"{layers} layers of fused experts have no adapters: gradients leave their parameters out"] if layers else []
    )


def test_only_tokens_from_the_given_one_on_count(make: MakeGradients) -> None:
    encoder, texts = make(), tokens()
    starts = [4, 0, 13, 6, 1]
    marked = [replace(text, trained=trained(text, first)) for text, first in zip(texts, starts, strict=True)]
    values, reasons = collect(encoder.examples(marked), len(texts))
    for row in (0, 1, 2, 4):
        expected = projected(reference(encoder, texts[row], max(1, starts[row])))
        np.testing.assert_allclose(values[row], expected, atol=1e-5)
    assert reasons == {3: "its answer has no token to predict"}


def test_the_projection_estimates_the_cosines_of_whole_gradients(make: MakeGradients) -> None:
    settings = GradientSettings(rank=4, width=4096, warmup_steps=4, warmup_batch=3)
    encoder, texts = make(settings=settings), tokens()
    values, _ = collect(encoder.examples(texts), len(texts), settings.width)
    whole = np.stack([np.concatenate([p.ravel() for p in reference(encoder, text).values()]) for text in texts])
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(values @ values.T, whole @ whole.T, atol=5 / np.sqrt(settings.width))


# ---- what a training step reads --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Iterator[Encoder]:
    with Encoder(ModelConfig(device=Device.CPU, max_length=24)) as encoder:
        yield encoder


def read(reader: Encoder, text: str, *answers: str) -> tuple[str, str, int]:
    """Return what a step reads of a text and what counts of it, as text without special tokens, and how much it is."""
    spans = tuple((text.rindex(answer), text.rindex(answer) + len(answer)) for answer in answers)
    texts, tokens = [MarkedText(text, spans)], reader.tokenize([text], add_special_tokens=True)
    (marked,) = mark_answers(reader, texts, tokens, add_special_tokens=True)
    assert marked.trained is not None
    decode = reader.model.tokenizer.decode
    ids, counts = marked.trained.ids, marked.trained.counts
    return decode(ids, skip_special_tokens=True), decode(ids[counts]), len(ids)


def test_the_tokens_of_the_answer_count_and_the_one_that_ends_it(reader: Encoder) -> None:
    end = reader.model.tokenizer.eos_token
    whole, counted, _ = read(reader, "Name a river.\nThe Rhine", "The Rhine")
    assert (whole, counted.strip()) == ("Name a river.\nThe Rhine", f"The Rhine{end}")
    _, counted, _ = read(reader, "Name a river. The Rhine flows.", "The Rhine")
    assert counted.strip() == "The Rhine"


def test_a_long_prompt_loses_its_end_and_then_the_answer_its_own(reader: Encoder) -> None:
    prompt, answer = "Once upon a time there was a king. " * 9, "The king was old."
    whole, counted, count = read(reader, f"{prompt}\n{answer}", answer)
    assert counted.strip().startswith(answer)
    assert whole.startswith("Once upon a time")
    assert count == 24
    long = "The king was old and had a son. " * 9
    whole, counted, count = read(reader, f"{prompt}\n{long}", long)
    assert (whole.startswith("Once upon"), count) == (True, 24)
    assert "The king was old" in counted


def test_a_very_long_prompt_is_not_tokenised_whole(reader: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tokenizer = reader.model.tokenizer
    call = type(tokenizer).__call__

    def counted(self: Any, texts: list[str], **options: Any) -> Any:
        seen.extend(map(len, texts))
        return call(self, texts, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    texts = [MarkedText("word " * 50_000 + "The end.", ((250_000, 250_008),))]
    (marked,) = mark_answers(reader, texts, [Tokens(NO_TEXT, True)], add_special_tokens=True)
    assert max(seen) < 4000
    assert marked.trained is not None
    assert "The end." in tokenizer.decode(marked.trained.ids[marked.trained.counts])


# ---- what cannot be used ---------------------------------------------------------------------------------------------


def test_a_text_without_a_token_to_predict_gets_a_reason(make: MakeGradients) -> None:
    texts = [*tokens((5, 1)), Tokens(NO_TEXT, False)]
    _, reasons = collect(make().rows(texts), 3)
    assert reasons == dict.fromkeys((1, 2), "its text has fewer than 2 tokens, so there is none to predict")


def test_a_gradient_that_is_not_finite_gets_a_reason_and_spoils_no_other(make: MakeGradients) -> None:
    encoder, texts = make(), tokens()
    clean, _ = collect(encoder.rows(texts), len(texts))
    bad = texts[2].ids[5]
    assert not any(bad in text.ids for row, text in enumerate(texts) if row != 2)
    with torch.no_grad():
        encoder.model.module.get_input_embeddings().weight[bad] = np.nan
    values, reasons = collect(encoder.rows(texts), len(texts))
    assert reasons == {2: "the gradient of its loss is not finite"}
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(values[kept], clean[kept], atol=1e-6)


def test_a_gradient_of_zero_gets_a_reason(make: MakeGradients) -> None:
    encoder = make()
    with torch.no_grad():
        encoder.model.module.get_output_embeddings().weight.zero_()
    _, reasons = collect(encoder.examples(tokens((5,))), 1)
    assert reasons == {0: "the gradient of its loss is zero"}


def test_a_batch_that_does_not_fit_is_halved(make: MakeGradients, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, texts = make(), tokens()
    expected, _ = collect(encoder.rows(texts), len(texts))

    def small_memory(model: Any, batch: AnswerBatch, words: Any = None) -> Any:
        if len(batch.ids) > limit:
            raise MemoryError
        return sample_losses(model, batch)

    monkeypatch.setattr(gradients_module, "sample_losses", small_memory)
    limit = 2
    values, _ = collect(encoder.rows(texts), len(texts))
    np.testing.assert_allclose(values, expected, atol=1e-5)
    limit = 0
    with pytest.raises(ModelError, match=r"out of memory on a single text of \d+ tokens; lower --max-length"):
        list(encoder.rows(texts))


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_only_a_causal_language_model_will_do(make: MakeGradients, family: str) -> None:
    with pytest.raises(ModelError, match="causal language model"):
        make(family)


def test_tokens_that_the_model_does_not_know_are_refused(make: MakeGradients) -> None:
    encoder, wrong = make(), [Tokens(np.array([5, 400]), False)]
    for use in (encoder.warm_up, lambda texts: list(encoder.rows(texts))):
        with pytest.raises(ModelError, match="produces token 400, but the model has embeddings for 320"):
            use(wrong)


def test_without_peft_the_message_says_how_to_install_it(make: MakeGradients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(NaitError, match=r"PEFT is not installed .*pip install 'nait-index\[gradients\]'"):
        make()


# ---- warm-up ---------------------------------------------------------------------------------------------------------


def mean_loss(encoder: GradientEncoder, texts: Sequence[Tokens]) -> float:
    batch = AnswerBatch.of([trained(text) for text in texts], encoder.model.device)
    with torch.inference_mode():
        return float(sample_losses(encoder.model.module, batch).mean())


def test_the_warm_up_lowers_the_loss(make: MakeGradients) -> None:
    settings = GradientSettings(rank=4, warmup_steps=40, warmup_batch=5, learning_rate=1e-2)
    encoder, texts = make(warm=False, settings=settings), tokens()
    before = mean_loss(encoder, texts)
    made = encoder.warm_up(texts)
    assert made.steps == 40
    assert mean_loss(encoder, texts) < 0.8 * before


def test_the_first_moments_are_those_of_the_gradient(make: MakeGradients) -> None:
    settings = GradientSettings(rank=4, warmup_steps=1, warmup_batch=5)
    encoder, texts = make(warm=False, settings=settings), tokens()
    parts = [reference(encoder, text) for text in texts]
    (made,) = encoder.warm_up(texts).checkpoints
    for name in made.weights:
        gradient = np.mean([part[name] for part in parts], axis=0)
        np.testing.assert_allclose(made.first[name], 0.1 * gradient, rtol=1e-3, atol=1e-8)
        np.testing.assert_allclose(made.second[name], 0.001 * gradient**2, rtol=1e-3, atol=1e-12)


def test_the_warm_up_is_the_same_each_time_and_comes_back_from_its_bytes(make: MakeGradients) -> None:
    encoder, again = make(warm=False), make(warm=False)
    data = warmup_to_bytes(encoder.warm_up(tokens(seed=1)))
    assert data == warmup_to_bytes(again.warm_up(tokens(seed=1)))
    assert data != warmup_to_bytes(make(warm=False).warm_up(tokens(seed=2)))
    third = make(warm=False)
    third.restore(warmup_from_bytes(data))
    for expected, batch in zip(encoder.rows(tokens()), third.rows(tokens()), strict=True):
        np.testing.assert_array_equal(expected.values, batch.values)


def test_the_warm_up_depends_on_its_texts_and_not_on_the_memory(make: MakeGradients) -> None:
    first, second = (
        make(warm=False, batch_tokens=budget).warm_up(tokens(seed=1)).checkpoints[0] for budget in (1, 10_000)
    )
    for name, values in first.first.items():
        np.testing.assert_allclose(values, second.first[name], rtol=0, atol=1e-5 * np.abs(values).max())


def test_texts_that_cannot_be_trained_on_are_passed_over(make: MakeGradients) -> None:
    with pytest.raises(ModelError, match="there is no text"):
        make(warm=False).warm_up(tokens((1,)))
    encoder, texts = make(warm=False), tokens()
    with torch.no_grad():
        encoder.model.module.get_input_embeddings().weight[texts[2].ids[5]] = np.nan
    made = encoder.warm_up(texts)
    assert 0 < made.steps < SETTINGS.warmup_steps
    assert all(np.isfinite(values).all() for values in made.checkpoints[0].weights.values())


def test_gradients_without_a_warm_up_are_refused(make: MakeGradients) -> None:
    with pytest.raises(ModelError, match="not been warmed up"):
        list(make(warm=False).examples(tokens()))


def test_a_warm_up_of_other_settings_or_a_damaged_one_is_refused(make: MakeGradients, tmp_path: Path) -> None:
    made = make(warm=False).warm_up(tokens(seed=1))
    other = make(warm=False, settings=GradientSettings(rank=2))
    with pytest.raises(ModelError, match=r"do not fit this model at model\.layers"):
        other.restore(made)
    with pytest.raises(ModelError, match="do not fit"):
        other.restore(Warmup((Checkpoint({}, {}, {}),), 1, NO_TEXT))
    for damaged in (b"", b"\x00" * 40, warmup_to_bytes(made)[:-1]):
        with pytest.raises(StoreError, match="build the index again"):
            warmup_from_bytes(damaged)


# ---- LESS as its paper has it ----------------------------------------------------------------------------------------


class PlainAdam:
    """Adam as its paper writes it, for the mean gradient of some texts, at a learning rate of each step."""

    def __init__(self, encoder: GradientEncoder) -> None:
        self.encoder = encoder
        self.first = {name: np.zeros(weight.shape) for name, weight in encoder.adapters.parameters.items()}
        self.second = {name: np.zeros(weight.shape) for name, weight in encoder.adapters.parameters.items()}
        self.count = 0

    def step(self, texts: Sequence[Tokens], rate: float) -> None:
        parts = [reference(self.encoder, text) for text in texts]
        self.count += 1
        weights = {name: values.astype(np.float64) for name, values in self.encoder.adapters.weights().items()}
        for name in weights:
            gradient = np.mean([part[name] for part in parts], axis=0, dtype=np.float64)
            self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
            self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
            mean, square = self.first[name] / (1 - 0.9**self.count), self.second[name] / (1 - 0.999**self.count)
            weights[name] -= rate * mean / (np.sqrt(square) + 1e-8)
        self.encoder.adapters.load({name: values.astype(np.float32) for name, values in weights.items()})

    def cosines(self, rows: Sequence[Tokens], examples: Sequence[Tokens]) -> np.ndarray:
        """Return the cosine of every row's step with every example's gradient, both whole."""
        steps = []
        for row in rows:
            gradients = reference(self.encoder, row)
            first = {name: 0.9 * self.first[name] + 0.1 * part for name, part in gradients.items()}
            second = {name: 0.999 * self.second[name] + 0.001 * part**2 for name, part in gradients.items()}
            steps.append(projected({name: first[name] / np.sqrt(second[name] + 1e-8) for name in first}))
        return np.array(steps) @ np.array([projected(reference(self.encoder, text)) for text in examples]).T


def test_scores_are_those_of_a_plain_transcription_of_less(make: MakeGradients) -> None:
    """A warm-up of all texts in each step, checkpoints weighted by their mean learning rate, and cosines."""
    settings = GradientSettings(rank=4, width=512, warmup_steps=6, warmup_batch=5, checkpoints=3)
    rates, warm_up_texts, rows, targets = learning_rates(settings), tokens(seed=1), tokens(seed=2), tokens(seed=3)
    plain, expected, shares = PlainAdam(make(warm=False, settings=settings)), np.zeros((5, 5)), np.zeros(3)
    for part in range(3):
        for step in (2 * part, 2 * part + 1):
            plain.step(warm_up_texts, rates[step])
        shares[part] = rates[2 * part : 2 * part + 2].mean()
        expected += shares[part] * plain.cosines(rows, targets)
    encoder = make(warm=False, settings=settings)
    warmup = encoder.warm_up(warm_up_texts)
    np.testing.assert_allclose([point.share for point in warmup.checkpoints], shares / shares.sum())
    features, _ = collect(encoder.rows(rows), 5, encoder.width)
    gradients, _ = collect(encoder.examples(targets), 5, encoder.width)
    np.testing.assert_allclose(features @ gradients.T, expected / shares.sum(), atol=2e-3)


def test_the_learning_rate_rises_for_a_thirtieth_of_the_steps_and_falls_to_zero() -> None:
    settings = GradientSettings(warmup_steps=100, learning_rate=1.0, checkpoints=4)
    rates = learning_rates(settings)
    np.testing.assert_allclose(rates[[0, 1, 2, 3, 99]], [1 / 3, 2 / 3, 1, 1, 1 / 97])
    assert (np.diff(rates[3:]) < 0).all()
    assert part_ends(settings) == [25, 50, 75, 100]


def test_a_loss_among_some_words_is_the_softmax_over_them_and_the_word_itself(make: MakeGradients) -> None:
    encoder, texts = make(), tokens()
    model: Any = encoder.model.module
    words = np.arange(3, tiny_models.VOCABULARY, 4)
    batch = AnswerBatch.of([trained(text, 1) for text in texts], encoder.model.device)
    assert has_plain_head(model, batch.ids[:1])
    with torch.inference_mode():
        losses = sample_losses(model, batch, torch.from_numpy(words)).numpy()
        logits = [model(input_ids=torch.from_numpy(text.ids)[None]).logits[0].double().numpy() for text in texts]
    for row, text in enumerate(texts):
        expected = []
        for before, token in zip(logits[row][:-1], text.ids[1:], strict=True):
            among = before[np.union1d(words, [token])]
            expected.append(np.log(np.exp(among).sum()) - before[token])
        np.testing.assert_allclose(losses[row], np.mean(expected), rtol=1e-5)


def test_a_head_that_does_more_than_multiply_is_told_apart(make: MakeGradients) -> None:
    ids = torch.arange(3, 9)[None]
    assert not has_plain_head(make("gemma2", warm=False).model.module, ids)  # it caps its logits
    assert has_plain_head(make("gemma3", warm=False).model.module, ids)


def test_a_large_vocabulary_is_cut_to_the_words_of_the_warm_up(make: MakeGradients) -> None:
    settings = GradientSettings(rank=4, width=512, warmup_steps=2, warmup_batch=3, words=20)
    encoder = make(warm=False, settings=settings)
    words = encoder.warm_up(tokens(seed=1)).words
    counts = np.bincount(np.concatenate([text.ids for text in tokens(seed=1)]), minlength=tiny_models.VOCABULARY)
    assert len(words) == 20
    assert (np.diff(words) > 0).all()
    assert counts[words].min() >= np.sort(counts)[-20]
    assert not len(make(warm=False).warm_up(tokens(seed=1)).words)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_adapters_on_the_upper_layers_alone_have_the_same_gradients(make: MakeGradients, family: str) -> None:
    settings = GradientSettings(rank=4, width=512, warmup_steps=4, warmup_batch=3, layers=1)
    encoder, texts = shaken(make(family, warm=False, settings=settings)), tokens()
    assert len({name.split(".lora_")[0].split(".")[2] for name in encoder.adapters.layers}) == 1
    assert encoder.adapters.source is not encoder.model.module.get_input_embeddings()
    model: Any = encoder.model.module
    batch = AnswerBatch.of([trained(text) for text in texts], encoder.model.device)
    gradients: dict[str, np.ndarray] = {}
    take = lambda name, values: gradients.update({name: values.detach().numpy()})  # noqa: E731
    with per_sample_gradients(encoder.adapters.source, encoder.adapters.layers, batch.ids.shape, take) as backward:
        backward(sample_losses(model, batch).sum())
    for row, text in enumerate(texts):
        for name, part in reference(encoder, text).items():
            np.testing.assert_allclose(gradients[name][row], part, rtol=0, atol=2e-5, err_msg=name)


def test_settings_are_checked() -> None:
    with pytest.raises(NaitError, match="at least 1"):
        GradientSettings(width=0)
    with pytest.raises(NaitError, match="3 steps has no 4 checkpoints"):
        GradientSettings(warmup_steps=3, checkpoints=4)


def test_a_model_without_linear_layers_is_refused() -> None:
    class Bare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(5, 4)

        def get_output_embeddings(self) -> None:
            return None

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.table(input_ids)

    with pytest.raises(ArchitectureError, match="no linear layer"):
        Adapters(Bare(), SETTINGS)


def test_a_model_that_is_loaded_already_is_used(tiny_model: TinyModels) -> None:
    config = ModelConfig(name=str(tiny_model("llama")), device=Device.CPU)
    loaded = load_model(config, causal=True)
    assert GradientEncoder(config, SETTINGS, loaded).model is loaded
