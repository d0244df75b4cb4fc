"""An opened model is tried before it is trusted: padding that leaks, failures and numbers that cannot be used."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from conftest import TinyModels
from hypothesis import given
from hypothesis import strategies as st

from nait_index.activations.batches import BatchRule, Sharing, plan_batches
from nait_index.activations.encoder import Encoder
from nait_index.activations.likelihood import try_predictions
from nait_index.activations.loading import load_model
from nait_index.activations.trial import TrialTexts, rounding_of, settle
from nait_index.config import Device, ModelConfig, PaddingSide, Precision
from nait_index.errors import ModelError

torch = pytest.importorskip("torch")

MakeEncoder = Callable[..., Encoder]
MARKERS = ("[CLS]", "[SEP]")
LEAKING = {
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    "convbert": {"embedding_size": 32},
    "fnet": {},
}
"""Models whose real tokens see padding: in convolutions over neighbours, or without any mask."""
LEFT_ONLY = {"roformer": {"embedding_size": 32}}
"""Models that count positions from the left edge and cannot be told otherwise."""
HALF = {"mobilebert": Precision.BFLOAT16, "convbert": Precision.FLOAT16}


@pytest.fixture(scope="session")
def leaking_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model of one of the families above."""
    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            settings = {"pad_token_id": 3, **(LEAKING | LEFT_ONLY)[family]}
            folder = tmp_path_factory.mktemp(family)
            tiny_models.save_model(tiny_models.Family(family, "AutoModel", settings), folder)
            tiny_models.save_tokenizer(folder, markers=MARKERS)
            folders[family] = folder
        return folders[family]

    return folder_of


def pooled(encoder: Encoder, texts: list[str]) -> np.ndarray:
    """Return the pooled activations (n, 2, D), in the order of the texts."""
    parts = list(encoder.encode(encoder.tokenize(texts, add_special_tokens=True)))
    order = np.concatenate([part.rows for part in parts])
    return np.concatenate([part.values for part in parts])[np.argsort(order)]


# ---- batches of one length -------------------------------------------------------------------------------------------


@given(lengths=st.lists(st.integers(1, 9), max_size=60), budget=st.integers(1, 60))
def test_batches_of_one_length_need_no_padding_and_waste_no_room(lengths: list[int], budget: int) -> None:
    batches = [rows.tolist() for rows in plan_batches(np.array(lengths, dtype=np.int64), budget, Sharing.ONE_LENGTH)]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch, following in zip(batches, [*batches[1:], []], strict=False):
        (length,) = {lengths[row] for row in batch}
        assert len(batch) == 1 or len(batch) * length <= budget
        assert not following or lengths[following[0]] < length or (len(batch) + 1) * length > budget


@given(lengths=st.lists(st.integers(1, 9), max_size=40))
def test_texts_that_run_alone_are_batches_of_one_longest_first(lengths: list[int]) -> None:
    batches = [rows.tolist() for rows in plan_batches(np.array(lengths, dtype=np.int64), 100, Sharing.ALONE)]
    assert sorted(batches) == [[row] for row in range(len(lengths))]
    assert [lengths[batch[0]] for batch in batches] == sorted(lengths, reverse=True)


# ---- padding that leaks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", LEAKING)
def test_texts_of_a_model_whose_tokens_see_padding_are_never_padded(
    family: str, leaking_model: Callable[[str], Path], make_encoder: MakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["Add 1.", "word " * 60, "Sum 2.", "Yes."]
    encoder = make_encoder(leaking_model(family), batch_tokens=100_000)
    assert encoder.rule.sharing is Sharing.ONE_LENGTH
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert line.endswith("so only rows of equal length share a batch; this is slower")
    together = pooled(encoder, texts)
    for text, values in zip(texts, together, strict=True):
        (alone,) = pooled(encoder, [text])
        np.testing.assert_allclose(values, alone, rtol=0, atol=1e-5 * np.abs(alone).max())
    runs = list(encoder.encode(encoder.tokenize([*texts, "Add 3."], add_special_tokens=True)))
    assert max(len(run.rows) for run in runs) > 1


@pytest.mark.parametrize(("family", "dtype"), HALF.items())
def test_leaks_are_seen_in_half_precision_too(
    family: str, dtype: Precision, leaking_model: Callable[[str], Path], make_encoder: MakeEncoder
) -> None:
    assert make_encoder(leaking_model(family), dtype=dtype).rule.sharing is Sharing.ONE_LENGTH


@pytest.mark.parametrize("asked", PaddingSide)
def test_the_side_that_works_is_padded(
    asked: PaddingSide, leaking_model: Callable[[str], Path], make_encoder: MakeEncoder
) -> None:
    rule = make_encoder(leaking_model("roformer"), padding_side=asked).rule
    assert (rule.sharing, rule.side) == (Sharing.ANY_LENGTH, PaddingSide.RIGHT)


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_rounding_is_not_taken_for_a_leak(
    family: str, tiny_model: TinyModels, make_encoder: MakeEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for dtype in (Precision.FLOAT32, Precision.BFLOAT16):
        rule = make_encoder(tiny_model(family), dtype=dtype).rule
        assert (rule.sharing, rule.side) == (Sharing.ANY_LENGTH, PaddingSide.RIGHT)
    assert caplog.records == []


@pytest.mark.parametrize("longest", [2, 3, 9])
def test_models_with_little_room_are_tried_as_well(
    longest: int, tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    assert make_encoder(tiny_model("llama"), max_length=longest).rule.sharing is Sharing.ANY_LENGTH


def test_causal_models_are_tried_on_the_right_only(tiny_model: TinyModels) -> None:
    loaded = load_model(ModelConfig(name=str(tiny_model("llama")), device=Device.CPU), causal=True)
    rule = try_predictions(loaded, 2048)
    assert (rule.sharing, rule.side, rule.tokens) == (Sharing.ANY_LENGTH, PaddingSide.RIGHT, 2048)


# ---- the decision, on made-up models ---------------------------------------------------------------------------------

RULE = BatchRule("toy", "name another", 100)
TEXTS = TrialTexts.of(list(range(5, 60)), None)


def decide(toy: Callable[[np.ndarray, np.ndarray], np.ndarray], **options: Any) -> BatchRule:
    """Try a toy, which maps padded ids (B, T) and mask (B, T) to numbers (B, n)."""
    from nait_index.activations.batches import pad

    def run(texts: Any, side: PaddingSide, token: int | None) -> dict[str, np.ndarray]:
        ids, mask = pad(texts, token or 0, side)
        return {"layer 0": toy(ids, mask)[0]}

    rounding = rounding_of(options.pop("dtype", torch.float32), torch.device("cpu"))
    return settle(run, TEXTS, RULE, rounding, mixture=options.pop("mixture", False))


def clean(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (ids * mask).sum(axis=1, keepdims=True) + np.ones(4)


def test_a_row_that_depends_on_its_neighbours_is_run_alone() -> None:
    def normalised(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values = clean(ids, mask)
        return values - values.mean(axis=0) * (len(ids) > 1)

    assert decide(normalised).sharing is Sharing.ALONE


def test_a_model_that_cannot_run_batches_runs_texts_alone() -> None:
    def single(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if len(ids) > 1:
            raise AttributeError("'tuple' object has no attribute 'abs'")
        return clean(ids, mask)

    assert decide(single).sharing is Sharing.ALONE


def test_texts_run_alone_where_two_do_not_fit_into_memory(caplog: pytest.LogCaptureFixture) -> None:
    def large(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if len(ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return clean(ids, mask)

    assert decide(large).sharing is Sharing.ALONE
    assert "two short texts at once are too much for the memory" in caplog.text


def test_a_model_that_changes_by_itself_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ModelError, match=r"^model 'toy' computes something else every time it reads the same text, "):
        decide(lambda ids, mask: clean(ids, mask) * rng.uniform(0.5, 1.5, (len(ids), 4)))


def test_a_small_leak_is_seen_in_half_precision() -> None:
    """It is smaller than rounding, but a batch of one shape is always rounded alike."""

    def slightly(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return clean(ids, mask) * (1 + 1e-3 * (ids * (1 - mask)).mean(axis=1, keepdims=True))

    assert decide(slightly, dtype=torch.bfloat16).sharing is Sharing.ONE_LENGTH
    assert decide(clean, dtype=torch.bfloat16).sharing is Sharing.ANY_LENGTH


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_and_the_layer_is_named(value: float) -> None:
    with pytest.raises(ModelError) as caught:
        decide(lambda ids, mask: np.full((len(ids), 4), value))
    assert str(caught.value) == (
        "the activations of model 'toy' are not finite, on a short text in layer 0 already; name another"
    )


def test_padding_that_makes_not_a_number_is_a_leak() -> None:
    def undefined(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask.all(axis=1, keepdims=True), clean(ids, mask), np.nan)

    assert decide(undefined).sharing is Sharing.ONE_LENGTH


@pytest.mark.parametrize("error", [AttributeError("'tuple' object has no attribute 'abs'"), IndexError(), KeyError(3)])
def test_whatever_a_library_raises_becomes_one_line(error: Exception) -> None:
    def broken(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        raise error

    with pytest.raises(ModelError) as caught:
        decide(broken)
    assert str(caught.value).startswith(f"model 'toy' failed in its forward pass ({type(error).__name__}")
    assert str(caught.value).endswith("; name another")


def test_an_interruption_is_no_failure_of_the_model() -> None:
    def interrupted(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decide(interrupted)


# ---- other places where a library may fail ---------------------------------------------------------------------------


def test_a_tokenizer_that_fails_is_named(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"))

    def fail(*_: Any, **__: Any) -> None:
        raise TypeError("TextEncodeInput must be Union[TextInputSequence]")

    monkeypatch.setattr(type(encoder.model.tokenizer), "__call__", fail)
    with pytest.raises(ModelError, match=r"^model '.*' failed in its tokenizer \(TypeError: TextEncodeInput must be "):
        encoder.tokenize(["Yes."], add_special_tokens=True)


def test_whatever_fails_while_a_model_is_opened_is_one_line(
    tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("layers.0")

    monkeypatch.setattr("nait_index.activations.loading.hash_weights", fail)
    folder = tiny_model("llama")
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(name=str(folder), device=Device.CPU))
    message = f"model '{folder}' cannot be opened (KeyError: 'layers.0'); name another with --model"
    assert str(caught.value) == message


def test_model_that_does_not_fit_into_memory_says_what_to_try(
    tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(ModelError, match=r"cannot be moved to cpu: CUDA out of memory.*; try --dtype bfloat16"):
        load_model(ModelConfig(name=str(tiny_model("llama")), device=Device.CPU))


def test_big_bird_reads_a_text_alike_after_any_other(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    """Its sparse attention is switched off for good by the first short text."""
    settings = {"pad_token_id": 3, "block_size": 4, "num_random_blocks": 1}
    tiny_models.save_model(tiny_models.Family("big_bird", "AutoModel", settings), tmp_path)
    tiny_models.save_tokenizer(tmp_path, markers=MARKERS)
    loaded = load_model(ModelConfig(name=str(tmp_path), device=Device.CPU))
    ids = [np.arange(5, 125)]
    with torch.inference_mode():
        first = loaded.module(**loaded.inputs(ids)).last_hidden_state
        loaded.module(**loaded.inputs([np.arange(5, 9)]))
        again = loaded.module(**loaded.inputs(ids)).last_hidden_state
    torch.testing.assert_close(first, again)


def test_splitting_a_score_by_tokens_names_the_model_that_fails(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"))
    (tokens,) = encoder.tokenize(["Yes."], add_special_tokens=True)

    def fail(*_: object) -> None:
        raise IndexError("index out of range in self")

    monkeypatch.setattr(type(encoder._capture), "run", fail)
    with pytest.raises(ModelError, match=r"failed in its forward pass \(IndexError: index out of range in self\); "):
        encoder.split(tokens, np.ones((2, sum(encoder.widths))))


def test_the_record_of_an_index_says_which_rows_shared_a_batch(leaking_model: Callable[[str], Path]) -> None:
    from nait_index.building.encoder import IndexEncoder
    from nait_index.config import SignatureConfig

    config = ModelConfig(name=str(leaking_model("convbert")), device=Device.CPU)
    assert IndexEncoder(config, SignatureConfig()).record["batches"] == "one length"


def test_a_sparse_autoencoder_is_not_trained_on_nothing_finite(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nait_index.activations.sae.tokens import collect_tokens

    encoder = make_encoder(tiny_model("llama"), dtype=Precision.BFLOAT16)
    layer = encoder.model.module.layers[1]
    monkeypatch.setattr(layer, "forward", lambda hidden, *_, **__: hidden * np.nan)
    with pytest.raises(ModelError, match=r"at 'layers\.1' are not finite for any text; try --dtype float32"):
        collect_tokens(encoder, ["Yes."], "layers.1", 8, seed=0, add_special_tokens=True)
