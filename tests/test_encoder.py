"""Texts to pooled activations: the same in any batch, cut honestly, within memory; and folders that are no model."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from conftest import TinyModels
from hypothesis import given
from hypothesis import strategies as st

from nait_index.activations.batches import plan_batches
from nait_index.activations.beginnings import most_characters, tokenize_beginnings
from nait_index.activations.capture import Capture
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.activations.loading import load_model
from nait_index.activations.pooling import TokenSpan
from nait_index.config import Device, ModelConfig, PaddingSide, Precision
from nait_index.errors import ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MakeEncoder = Callable[..., Encoder]
TEXTS = tiny_models.TEXTS
TOLERANCE = 1e-5
"""Largest difference that batching makes in float32, relative to the largest activation of the model."""
ONE_BATCH, ALONE = 100_000, 1


def encode(encoder: Encoder, texts: Sequence[str] = TEXTS) -> np.ndarray:
    """Return the pooled activations (n, 2, D), in the order of the texts."""
    tokens = encoder.tokenize(texts, add_special_tokens=True)
    values = np.full((len(texts), 2, sum(encoder.widths)), np.nan, dtype=np.float32)
    for pooled in encoder.encode(tokens):
        values[pooled.rows] = pooled.values
    assert not np.isnan(values).any()
    return values


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.fixture
def copied(tiny_model: TinyModels, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a family's model to a folder of the test's own."""
    return lambda family: Path(shutil.copytree(tiny_model(family), tmp_path / family))


@pytest.fixture
def refusal() -> Callable[[Path | str], str]:
    """Load what cannot be loaded, and give the message: always one line of a readable length."""

    def message(name: Path | str) -> str:
        with pytest.raises(ModelError) as caught:
            load_model(ModelConfig(name=str(name), device=Device.CPU))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600
        return str(caught.value)

    return message


def edit_json(path: Path, change: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(change)))


def edit_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# ---- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_numbers_do_not_depend_on_batch_order_or_padding_side(
    family: str, tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    folder = tiny_model(family)
    alone = encode(make_encoder(folder, batch_tokens=ALONE))
    for side in PaddingSide:
        together = make_encoder(folder, batch_tokens=ONE_BATCH, padding_side=side)
        assert_same(encode(together), alone)
        assert_same(encode(together, TEXTS[::-1]), alone[::-1])
        assert_same(encode(make_encoder(folder, batch_tokens=130, padding_side=side)), alone)


def test_texts_of_a_batch_do_not_touch_each_other(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    """The neighbours of a text may be anything of the same lengths."""
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    long, short = "x" * 200, "y" * 3
    np.testing.assert_array_equal(
        encode(encoder, [long, TEXTS[0], short])[1], encode(encoder, ["z" * 200, TEXTS[0], "q" * 3])[1]
    )


def test_one_token_has_no_drift_and_is_its_own_mean(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    alone, first = encode(encoder, ["Y", TEXTS[3]])
    assert not alone[1].any()
    assert alone[0].any()
    assert first[1].any()


def test_texts_come_back_once_each_in_batches_within_the_budget(
    tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=90)
    tokens = encoder.tokenize(TEXTS, add_special_tokens=True)
    batches = [pooled.rows.tolist() for pooled in encoder.encode(tokens)]
    assert sorted(row for rows in batches for row in rows) == list(range(len(TEXTS)))
    assert max(len(rows) for rows in batches) > 1
    assert all(len(rows) * max(len(tokens[row].ids) for row in rows) <= 90 for rows in batches)


def test_no_texts_give_no_batches(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    assert encoder.tokenize([], add_special_tokens=True) == []
    assert list(encoder.encode([])) == []


@given(lengths=st.lists(st.integers(1, 300), max_size=60), budget=st.integers(1, 600))
def test_plan_batches_takes_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(plan_batches(np.array(lengths, dtype=np.int64), budget))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        of_batch = [lengths[row] for row in batch]
        assert len(of_batch) == 1 or len(of_batch) * max(of_batch) <= budget
    longest = [max(lengths[row] for row in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(lengths=st.lists(st.integers(1, 300), min_size=2, max_size=60), budget=st.integers(1, 600))
def test_plan_batches_wastes_no_room(lengths: list[int], budget: int) -> None:
    """The next row, which is no longer than any of a batch, would have gone over the budget."""
    batches = list(plan_batches(np.array(lengths, dtype=np.int64), budget))
    for batch in batches[:-1]:
        assert (len(batch) + 1) * max(lengths[row] for row in batch) > budget


# ---- tokens ----------------------------------------------------------------------------------------------------------


def test_text_is_cut_at_its_end_and_counted(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    whole = make_encoder(tiny_model("llama")).tokenize(TEXTS, add_special_tokens=True)
    cut = make_encoder(tiny_model("llama"), max_length=28).tokenize(TEXTS, add_special_tokens=True)
    assert [text.truncated for text in whole] == [False] * len(TEXTS)
    assert [text.truncated for text in cut] == [len(text.ids) > 28 for text in whole]
    assert len(whole[0].ids) == 28
    assert any(text.truncated for text in cut)
    for text, full in zip(cut, whole, strict=True):
        np.testing.assert_array_equal(text.ids, full.ids[:28])


def test_text_is_cut_at_its_end_whatever_side_the_tokenizer_prefers(
    copied: Callable[[str], Path], make_encoder: MakeEncoder
) -> None:
    folder = copied("llama")
    edit_json(folder / "tokenizer_config.json", {"truncation_side": "left"})
    (whole,) = make_encoder(folder).tokenize([TEXTS[0]], add_special_tokens=True)
    (cut,) = make_encoder(folder, max_length=5).tokenize([TEXTS[0]], add_special_tokens=True)
    np.testing.assert_array_equal(cut.ids, whole.ids[:5])


def test_special_tokens_survive_truncation(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    (whole,) = make_encoder(tiny_model("bert")).tokenize([TEXTS[4]], add_special_tokens=True)
    encoder = make_encoder(tiny_model("bert"), max_length=12)
    (cut,) = encoder.tokenize([TEXTS[4]], add_special_tokens=True)
    assert cut.truncated
    assert encoder.model.tokenizer.convert_ids_to_tokens(cut.ids[[0, -1]].tolist()) == ["[CLS]", "[SEP]"]
    np.testing.assert_array_equal(cut.ids[:-1], whole.ids[:11])
    (bare,) = encoder.tokenize([TEXTS[4]], add_special_tokens=False)
    np.testing.assert_array_equal(bare.ids, whole.ids[1:13])


def test_special_tokens_count_towards_the_length(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("bert"), max_length=28)
    assert encoder.tokenize([TEXTS[0]], add_special_tokens=False)[0].truncated is False
    assert encoder.tokenize([TEXTS[0]], add_special_tokens=True)[0].truncated is True


def test_long_text_is_looked_at_no_further_than_needed(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text of more than 100,000 tokens costs no more than its beginning."""
    encoder = make_encoder(tiny_model("llama"), max_length=16)
    seen: list[int] = []
    ids = Encoder._ids

    def count(self: Encoder, texts: list[str], *args: bool, **kwargs: bool) -> list[list[int]]:
        seen.extend(map(len, texts))
        return ids(self, texts, *args, **kwargs)

    monkeypatch.setattr(Encoder, "_ids", count)
    text = " ".join(TEXTS) * 1000
    assert len(text) > 400_000
    (tokens,) = encoder.tokenize([text], add_special_tokens=True)
    assert tokens.truncated
    assert len(tokens.ids) == 16
    assert sum(seen) < 4000
    (first,) = encoder.tokenize([text[:300]], add_special_tokens=True)
    np.testing.assert_array_equal(tokens.ids, first.ids)
    assert encode(encoder, [text]).any()


def test_beginnings_grow_until_they_hold_enough_tokens_or_are_long_enough() -> None:
    """Of a word without an end, that is one token, no more than a million characters are looked at."""
    seen: list[int] = []

    def words(texts: list[str]) -> list[list[int]]:
        seen.extend(map(len, texts))
        return [[1] * len(text.split()) for text in texts]

    def tokenized(text: str) -> tuple[int, int]:
        seen.clear()
        ((beginning, ids),) = tokenize_beginnings([text], 10, words)
        return len(beginning), len(ids)

    assert tokenized("a b") == (3, 2)
    assert tokenized("a " * 3000) == (640, 320)
    assert tokenized(" " * 700 + "a " * 3000) == (5120, 2210)
    assert tokenized(" " * 7000 + "a") == (7001, 1)
    assert tokenized("x" * 3_000_000) == (most_characters(10), 1) == (1_000_000, 1)
    assert sum(seen) < 1_400_000
    assert list(tokenize_beginnings([], 10, words)) == []


def test_a_text_that_is_not_looked_at_to_its_end_is_truncated(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nait_index.activations.beginnings._ALWAYS_READ", 20)
    monkeypatch.setattr("nait_index.activations.beginnings._MOST_PER_TOKEN", 0)
    encoder = make_encoder(tiny_model("llama"), max_length=48)
    whole, cut, beginning = encoder.tokenize(["x" * 20, "x" * 21, "x" * 20 + " and more"], add_special_tokens=True)
    assert (whole.truncated, cut.truncated, beginning.truncated) == (False, True, True)
    np.testing.assert_array_equal(whole.ids, cut.ids)


def test_text_whose_beginning_holds_few_tokens_is_read_on(
    tiny_model: TinyModels, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    """White space that makes no tokens must not hide the words after it."""
    import tokenizers

    def split_at_spaces(tokenizer: Any) -> None:
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
            [tokenizers.pre_tokenizers.WhitespaceSplit(), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )

    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "spaces"))
    tiny_models.save_tokenizer(folder, adjust=split_at_spaces)
    encoder = make_encoder(folder, max_length=16)
    short, long, longer = encoder.tokenize(
        ["Yes.", " " * 5000 + "Yes.", " " * 5000 + TEXTS[0]], add_special_tokens=True
    )
    np.testing.assert_array_equal(long.ids, short.ids)
    assert not long.truncated
    assert longer.truncated
    assert len(longer.ids) == 16


def test_truncation_and_padding_written_into_a_tokenizer_are_not_obeyed(
    tiny_model: TinyModels, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    """Sentence encoders are saved like that; the padding would enter the means as tokens."""

    def fix_length(tokenizer: Any) -> None:
        tokenizer.enable_truncation(max_length=4)
        tokenizer.enable_padding(length=60, pad_id=0, pad_token="<unk>")

    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "fixed"))
    tiny_models.save_tokenizer(folder, adjust=fix_length)
    expected = make_encoder(tiny_model("llama")).tokenize(TEXTS, add_special_tokens=True)
    for text, full in zip(make_encoder(folder).tokenize(TEXTS, add_special_tokens=True), expected, strict=True):
        np.testing.assert_array_equal(text.ids, full.ids)
        assert not text.truncated


def test_empty_text_has_no_tokens_and_cannot_be_run(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    tokens = encoder.tokenize(["Yes.", ""], add_special_tokens=True)
    assert len(tokens[1].ids) == 0
    assert tokens[1].truncated is False
    with pytest.raises(ModelError, match=r"^text 1 has no tokens$"):
        list(encoder.encode(tokens))


def test_tokenizer_without_padding_token_works(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("gpt2"), batch_tokens=ONE_BATCH)
    assert encoder.model.tokenizer.pad_token_id is None
    assert encode(encoder).shape == (len(TEXTS), 2, 3 * 128)


def test_padding_token_beyond_the_embedding_does_no_harm(
    tiny_model: TinyModels, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    """As in checkpoints whose padding token was added to the tokenizer alone."""
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "padded"))
    tiny_models.save_tokenizer(folder, pad_token="<pad>")
    for side in PaddingSide:
        encoder = make_encoder(folder, batch_tokens=ONE_BATCH, padding_side=side)
        assert encoder.model.tokenizer.pad_token_id >= tiny_models.VOCABULARY
        assert_same(encode(encoder), encode(make_encoder(tiny_model("llama"), batch_tokens=ALONE)))


def test_token_beyond_the_embedding_is_refused(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    beyond = Tokens(np.array([5, tiny_models.VOCABULARY]), truncated=False)
    with pytest.raises(
        ModelError, match=r"^the tokenizer produces token 320, but the model has embeddings for 320 tokens only; "
    ):
        list(encoder.encode([beyond]))


@pytest.mark.parametrize(("family", "longest"), [("bert", 40), ("roberta", 36), ("gpt2", 40), ("opt", 40)])
def test_position_table_shorter_than_max_length_caps_it(
    family: str, longest: int, make_encoder: MakeEncoder, tmp_path: Path
) -> None:
    """RoBERTa's positions begin after its padding index, 3 here."""
    folder = tiny_models.save_family(
        family, tmp_path, **{"n_positions" if family == "gpt2" else "max_position_embeddings": 40}
    )
    encoder = make_encoder(folder, max_length=2048, batch_tokens=ONE_BATCH)
    assert encoder.max_length == longest
    tokens = encoder.tokenize(TEXTS, add_special_tokens=True)
    assert max(len(text.ids) for text in tokens) == longest
    assert tokens[4].truncated
    assert np.isfinite(encode(encoder)).all()


def test_length_limit_of_the_tokenizer_counts_too(copied: Callable[[str], Path], make_encoder: MakeEncoder) -> None:
    folder = copied("llama")
    edit_json(folder / "tokenizer_config.json", {"model_max_length": 24})
    assert make_encoder(folder).max_length == 24
    assert make_encoder(folder, max_length=8).max_length == 8


# ---- memory ----------------------------------------------------------------------------------------------------------

NO_MEMORY = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "python": MemoryError(),
}


def fail_above(monkeypatch: pytest.MonkeyPatch, size: int, error: BaseException) -> list[int]:
    """Make every batch of more texts fail; return the sizes of all batches tried."""
    run = Capture.run
    tried: list[int] = []

    def limited(self: Capture, inputs: Mapping[str, Any], span: Any) -> Any:
        tried.append(len(inputs["input_ids"]))
        if tried[-1] > size:
            raise error
        return run(self, inputs, span)

    monkeypatch.setattr(Capture, "run", limited)
    return tried


@pytest.mark.parametrize("error", NO_MEMORY.values(), ids=list(NO_MEMORY))
def test_batch_that_runs_out_of_memory_is_split(
    error: BaseException, tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    expected = encode(encoder)
    tried = fail_above(monkeypatch, 2, error)
    assert_same(encode(encoder), expected)
    assert tried == [8, 4, 2, 2, 4, 2, 2]


@pytest.mark.parametrize("error", NO_MEMORY.values(), ids=list(NO_MEMORY))
def test_single_text_that_runs_out_of_memory_is_refused(
    error: BaseException, tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    fail_above(monkeypatch, 0, error)
    with pytest.raises(ModelError, match=r"^out of memory on a single text of 57 tokens; lower --max-length$"):
        encode(encoder)


def test_other_errors_of_a_forward_pass_end_it_at_once_in_one_line(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    tried = fail_above(monkeypatch, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(ModelError) as caught:
        encode(encoder)
    assert str(caught.value) == (
        f"model '{encoder.config.name}' failed in its forward pass (RuntimeError: mat1 and mat2 shapes cannot be "
        "multiplied); name another model with --model"
    )
    assert tried == [8]


def test_out_of_memory_inside_the_model_leaves_the_encoder_usable(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"), batch_tokens=ONE_BATCH)
    expected = encode(encoder)
    layer = encoder.model.module.layers[1]
    forward = layer.forward

    def limited(hidden: Any, *args: Any, **kwargs: Any) -> Any:
        if len(hidden) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(hidden, *args, **kwargs)

    monkeypatch.setattr(layer, "forward", limited)
    assert_same(encode(encoder), expected)


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_missing_folder_is_refused(refusal: Callable[[Path | str], str], tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing").startswith(f"no model folder at {tmp_path / 'nothing'}; ")
    assert refusal("./nothing").startswith("no model folder at ./nothing; ")


def test_hub_name_that_is_not_here_is_refused(refusal: Callable[[Path | str], str]) -> None:
    message = refusal("nobody/no-such-model")
    assert "'nobody/no-such-model' cannot be loaded: there is no such folder, no such model was downloaded" in message


def test_file_in_place_of_a_folder_is_refused(refusal: Callable[[Path | str], str], tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    assert refusal(tmp_path / "model.bin").startswith("no model folder at ")


def test_folder_without_configuration_is_refused(refusal: Callable[[Path | str], str], tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is empty, so it is not a model folder; save the model there first"
    (tmp_path / "notes.txt").touch()
    message = f"{tmp_path} holds no config.json, so it is not a model folder; save the model there first"
    assert refusal(tmp_path) == message


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model_type": "no-such-family"}', '"llama"', "\x00\xff"])
def test_configuration_that_says_nothing_is_refused(
    text: str, refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    folder = copied("llama")
    (folder / "config.json").write_text(text)
    assert refusal(folder).startswith(f"the configuration of model '{folder}' cannot be ")


def test_folder_without_weights_is_refused(refusal: Callable[[Path | str], str], copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert message.startswith(f"the weights of model '{folder}' cannot be loaded: ")
    assert "safetensors" in message


def test_pickled_weights_are_neither_loaded_nor_run(
    refusal: Callable[[Path | str], str], copied: Callable[[str], Path], tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "run"),)

    folder = copied("llama")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Bomb()}, folder / "pytorch_model.bin")
    assert refusal(folder).startswith(f"the weights of model '{folder}' cannot be loaded: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kept", [0, 4, 1000, -1000])
def test_damaged_weights_are_refused(
    kept: int, refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    folder = copied("llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert refusal(folder).startswith(f"the weights of model '{folder}' cannot be ")


def test_missing_layer_is_refused_and_named(
    refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    def drop(weights: dict[str, np.ndarray]) -> None:
        for name in [name for name in weights if ".layers.1.mlp." in name]:
            del weights[name]

    folder = copied("llama")
    edit_weights(folder, drop)
    assert refusal(folder).startswith(
        f"model '{folder}' lacks the weights of layers.1.mlp.down_proj.weight and 2 more parameters; "
    )


def test_weights_of_another_shape_are_refused(
    refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    folder = copied("llama")
    edit_json(folder / "config.json", {"intermediate_size": 40})
    message = refusal(folder)
    assert message.startswith((f"weights of model '{folder}' do not fit", f"the weights of model '{folder}' cannot be"))


def test_more_layers_than_weights_are_refused(
    refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    folder = copied("llama")
    edit_json(folder / "config.json", {"num_hidden_layers": 4, "layer_types": None})
    assert refusal(folder).startswith(f"model '{folder}' lacks the weights of layers.3.")


@pytest.mark.parametrize("family", ["llama", "bert", "qwen2", "t5"])
def test_folder_without_tokenizer_is_refused(
    family: str, refusal: Callable[[Path | str], str], copied: Callable[[str], Path]
) -> None:
    folder = copied(family)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert refusal(folder).startswith(f"the tokenizer of model '{folder}' ")


def test_damaged_tokenizer_is_refused(refusal: Callable[[Path | str], str], copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])
    assert refusal(folder).startswith(f"the tokenizer of model '{folder}' cannot be ")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_a_folder_is_not_run_and_nobody_is_asked(
    file: str,
    refusal: Callable[[Path | str], str],
    copied: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Standard input may be the corpus: a question there would take its first line for the answer."""

    def ask(*_: object) -> str:
        (tmp_path / "asked").touch()
        return "y"

    monkeypatch.setattr("builtins.input", ask)
    folder = copied("llama")
    code = f"open({str(tmp_path / 'run')!r}, 'w')\n"
    (folder / "own.py").write_text(code)
    if file == "config.json":
        edit_json(folder / file, {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}})
        assert "needs code that comes with the model, and code of a model is never run" in refusal(folder)
    else:
        settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
        edit_json(folder / file, settings)
        assert refusal(folder).startswith(f"the tokenizer of model '{folder}' cannot be loaded: ")
    assert not (tmp_path / "asked").exists()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Collect what transformers logs, set to tell all it knows."""
    from transformers.utils import logging as settings

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    before = settings.get_verbosity()
    settings.set_verbosity_info()
    settings.add_handler(handler)
    yield messages
    settings.remove_handler(handler)
    settings.set_verbosity(before)


def test_loading_is_silent(
    tiny_model: TinyModels, make_encoder: MakeEncoder, capfd: pytest.CaptureFixture[str], logged: list[str]
) -> None:
    """Not a word on the head's weights, which are not used; what transformers says elsewhere is not silenced."""
    folder = tiny_model("llama")
    logged.clear()
    capfd.readouterr()
    make_encoder(folder)
    assert logged == []
    assert capfd.readouterr() == ("", "")
    transformers.AutoModel.from_pretrained(folder)
    assert any("lm_head.weight" in message for message in logged)


def test_bfloat16_runs_on_a_cpu(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    for family in ("llama", "gpt_oss"):
        exact = encode(make_encoder(tiny_model(family)), TEXTS[:4])
        encoder = make_encoder(tiny_model(family), dtype=Precision.BFLOAT16, batch_tokens=ONE_BATCH)
        assert {parameter.dtype for parameter in encoder.model.module.parameters()} == {torch.bfloat16}
        rough = encode(encoder, TEXTS[:4])
        assert rough.dtype == np.float32
        error = np.abs(rough - exact).max() / np.abs(exact).max()
        assert 0 < error < 0.1


def test_mean_in_half_precision_is_not_summed_in_half_precision(
    tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    """Over many tokens a sum in bfloat16 would stand still."""
    text = TEXTS[0] * 8
    exact = encode(make_encoder(tiny_model("llama")), [text])
    rough = encode(make_encoder(tiny_model("llama"), dtype=Precision.BFLOAT16), [text])
    assert np.abs(rough[:, 0] - exact[:, 0]).max() / np.abs(exact[:, 0]).max() < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_mean_of_many_large_activations_does_not_overflow(dtype: torch.dtype) -> None:
    """The largest number of float16 is 65,504, which thirty activations of 3,000 exceed."""
    lengths = (1, 7, 64, 300)
    values = (3000 * torch.rand(len(lengths), max(lengths), 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    means, rtol = TokenSpan(mask).mean(values), max(1e-5, 2 * torch.finfo(dtype).eps)
    for row, length in enumerate(lengths):
        exact = values[row, :length].double().mean(dim=0)
        torch.testing.assert_close(means[row].double(), exact, rtol=rtol, atol=0)
        alone = TokenSpan(mask[row : row + 1, :length]).mean(values[row : row + 1, :length])
        torch.testing.assert_close(means[row : row + 1], alone, rtol=rtol, atol=0)


# ---- hashes ----------------------------------------------------------------------------------------------------------


def hashes(folder: Path) -> dict[str, str]:
    model = load_model(ModelConfig(name=str(folder), device=Device.CPU))
    return {"weights": model.weights_hash, "config": model.config_hash, "tokenizer": model.tokenizer_hash}


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_hashes_are_the_same_at_every_load_and_place(family: str, copied: Callable[[str], Path]) -> None:
    """BERT's pooler, which a masked language model does not save, is random at every load and must not enter."""
    folder = copied(family)
    first = hashes(folder)
    assert all(len(value) == 32 for value in first.values())
    assert hashes(folder) == first
    assert hashes(folder.rename(folder.with_name("moved"))) == first


def test_hash_of_a_tokenizer_does_not_depend_on_its_use(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    from nait_index.activations.hashes import hash_tokenizer

    encoder = make_encoder(tiny_model("bert"), max_length=8)
    encode(encoder)
    assert hash_tokenizer(encoder.model.tokenizer) == encoder.model.tokenizer_hash


@pytest.mark.parametrize("parameter", ["model.layers.2.mlp.down_proj.weight", "model.embed_tokens.weight"])
def test_hash_of_the_weights_changes_with_one_number(parameter: str, copied: Callable[[str], Path]) -> None:
    def nudge(weights: dict[str, np.ndarray]) -> None:
        weights[parameter][3, 5] = np.nextafter(weights[parameter][3, 5], np.float32(9))

    folder = copied("llama")
    before = hashes(folder)
    edit_weights(folder, nudge)
    after = hashes(folder)
    assert after["weights"] != before["weights"]
    assert (after["config"], after["tokenizer"]) == (before["config"], before["tokenizer"])


def test_hash_of_the_configuration_changes_with_what_changes_numbers(copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    before = hashes(folder)
    edit_json(folder / "config.json", {"rms_norm_eps": 1e-3})
    assert hashes(folder)["config"] != before["config"]


def test_hash_of_the_tokenizer_changes_with_its_vocabulary(copied: Callable[[str], Path]) -> None:
    folder = copied("llama")
    before = hashes(folder)
    tiny_models.save_tokenizer(folder, ["other words altogether, other words"])
    after = hashes(folder)
    assert after["tokenizer"] != before["tokenizer"]
    assert after["weights"] == before["weights"]


# ---- the bundled model -----------------------------------------------------------------------------------------------


def test_bundled_model_gives_the_same_in_any_batch(bundled: Encoder) -> None:
    tokens = bundled.tokenize(TEXTS, add_special_tokens=True)
    together = {
        int(row): pooled
        for batch in bundled.encode(tokens)
        for row, pooled in zip(batch.rows, batch.values, strict=True)
    }
    alone = [next(iter(bundled.encode([text]))).values[0] for text in tokens]
    assert_same(np.stack([together[row] for row in range(len(TEXTS))]), np.stack(alone))
