"""What a model's folder holds is read whole, or refused in one sentence that says what to do."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
from conftest import TinyModels

from nait_index.activations.folders import read_header
from nait_index.activations.loading import load_model
from nait_index.activations.weights import check_plain
from nait_index.config import Device, ModelConfig
from nait_index.errors import ModelError

torch = pytest.importorskip("torch")

Copied = Callable[[str], Path]
Weights = dict[str, Any]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22\nsize 12345\n"


@pytest.fixture
def copied(tiny_model: TinyModels, tmp_path: Path) -> Copied:
    """Copy a family's model to a folder of the test's own."""
    return lambda family: Path(shutil.copytree(tiny_model(family), tmp_path / family))


def refusal(name: Path | str, *, causal: bool = False) -> str:
    """Load what cannot be loaded, and return the message: one line of a readable length, whole to its end."""
    with pytest.raises(ModelError) as caught:
        load_model(ModelConfig(name=str(name), device=Device.CPU), causal=causal)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message.replace(str(name), "")) < 400
    return message


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))


def edit_weights(folder: Path, change: Callable[[Weights], Any]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def split(folder: Path) -> list[Path]:
    """Save the weights in two shards with an index."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, kept in shards.items():
        save_file({name: weights[name] for name in kept}, folder / shard, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, kept in shards.items() for name in kept}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return [folder / shard for shard in shards]


# ---- folders ---------------------------------------------------------------------------------------------------------


def pickle_weights(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def put_gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")


def lose_shard(folder: Path) -> None:
    split(folder)[1].unlink()


def cut_shard(folder: Path) -> None:
    shard = split(folder)[1]
    shard.write_bytes(shard.read_bytes()[:-7])


def spoil_index(folder: Path) -> None:
    split(folder)
    (folder / "model.safetensors.index.json").write_text("{")


def leave_folder(folder: Path) -> None:
    split(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002", "../model-00002"))


def lose_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def dangle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "nowhere")


def rename_weights(folder: Path) -> None:
    def rename(weights: Weights) -> None:
        for name in list(weights):
            weights[f"_orig_mod.{name}"] = weights.pop(name)

    edit_weights(folder, rename)


FOLDERS: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "pickled": (pickle_weights, "PyTorch format (pytorch_model.bin), and only safetensors are read; convert them"),
    "tensorflow": (
        lambda f: (f / "model.safetensors").rename(f / "tf_model.h5"),
        "only safetensors are read; name a version",
    ),
    "gguf": (
        put_gguf,
        "GGUF format, which are not read; name the model they were made from",
    ),
    "adapter": (
        lambda f: ((f / "adapter_config.json").write_text("{}"), (f / "model.safetensors").unlink()),
        "is an adapter (adapter_config.json), not",
    ),
    "adapter and model": (
        lambda f: (f / "adapter_config.json").write_text("{}"),
        "a model and an adapter (adapter_config.json); if the adapter is merged into the model already, move",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "there is no model.safetensors; save the model there"),
    "other name": (
        lambda f: (f / "model.safetensors").rename(f / "weights.safetensors"),
        "there is weights.safetensors, but neither model.safetensors nor model.safetensors.index.json",
    ),
    "shard missing": (
        lose_shard,
        "model-00002-of-00002.safetensors is missing, 1 of 2 files in all; download or copy",
    ),
    "shard cut": (cut_shard, "model-00002-of-00002.safetensors has "),
    "shard elsewhere": (leave_folder, "index.json is damaged"),
    "index damaged": (
        lambda f: (split(f), (f / "model.safetensors.index.json").write_text("{")),
        "index.json is damaged",
    ),
    "weights pointer": (
        lambda f: (f / "model.safetensors").write_text(POINTER),
        "is a Git LFS pointer",
    ),
    "config pointer": (lambda f: (f / "config.json").write_text(POINTER), "is a Git LFS pointer"),
    "config not JSON": (lambda f: (f / "config.json").write_text("{"), "config.json is not JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "config.json is not a JSON object"),
    "no model_type": (lambda f: edit_config(f, model_type=None), "config.json has no model_type; save the model with"),
    "unknown family": (
        lambda f: edit_config(f, model_type="llama9"),
        "this version of transformers knows no family 'llama9'; upgrade transformers, or name another model",
    ),
    "own code": (
        lambda f: edit_config(f, model_type="own", auto_map={"AutoConfig": "own.Own"}),
        "the family 'own' needs code that comes with the model, and code of a model is never run",
    ),
    "no tokenizer": (lose_tokenizer, "is missing; save its files there as well: AutoTokenizer.from_pretrained("),
    "tokenizer pointer": (lambda f: (f / "tokenizer.json").write_text(POINTER), "tokenizer.json is a Git LFS pointer"),
    "tokenizer's settings alone": (
        lambda f: (f / "tokenizer.json").unlink(),
        "is missing; save its files there as well",
    ),
    "dangling link": (
        dangle,
        "model.safetensors is missing, 1 of 1 files in all; download or copy",
    ),
    "other shape": (
        lambda f: edit_config(f, vocab_size=400),
        ".weight is (320, 32), not (400, 32); restore the config.json that belongs to them",
    ),
    "other names": (
        rename_weights,
        ".weight (there is _orig_mod.",
    ),
    "unknown setting": (lambda f: edit_config(f, hidden_act="nope"), "cannot be loaded: KeyError: 'nope'"),
    "damaged": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 5000), "is not a whole safetensors file"),
    "unknown quantisation": (
        lambda f: edit_config(f, quantization_config={"quant_method": "ternary9"}),
        "is quantised in a way that this version of transformers does not know (ternary9)",
    ),
}


@pytest.mark.parametrize("causal", [False, True], ids=["bare", "causal"])
@pytest.mark.parametrize("kind", FOLDERS)
def test_folder_that_cannot_be_read_is_refused_with_a_remedy(kind: str, causal: bool, copied: Copied) -> None:
    folder = copied("llama")
    change, expected = FOLDERS[kind]
    change(folder)
    message = refusal(folder, causal=causal)
    assert str(folder) in message
    assert expected in message


def test_a_folder_named_like_a_family_is_not_taken_for_one(copied: Copied) -> None:
    """Without a model_type, transformers takes a family's name in the folder's for it."""
    folder = copied("llama")
    edit_config(folder, model_type=None)
    assert "has no model_type" in refusal(folder.rename(folder.with_name("bert-of-mine")))


def test_adapter_without_a_configuration_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/base"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path} is an adapter")
    assert ".merge_and_unload().save_pretrained(" in message


def test_gguf_file_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    assert refusal(tmp_path / "model.gguf").startswith(f"{tmp_path / 'model.gguf'} holds weights in GGUF format")
    assert refusal(tmp_path).startswith(f"{tmp_path} holds weights in GGUF format")


def test_folder_around_a_model_names_the_model(copied: Copied) -> None:
    folder = copied("llama")
    (folder.parent / "1_Pooling").mkdir()
    (folder.parent / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 32}')
    assert refusal(folder.parent).endswith(f"save the model there first; did you mean {folder}?")


@pytest.mark.parametrize("family", ["bart", "pegasus", "marian", "led"])
def test_encoder_decoder_models_are_refused_except_t5(family: str, copied: Copied) -> None:
    folder = copied("llama")
    edit_config(folder, model_type=family, is_encoder_decoder=True)
    assert f"of the family {family} is an encoder–decoder model, and of those only" in refusal(folder)
    assert f"of the family {family} is not a causal language model" in refusal(folder, causal=True)


def test_model_that_reads_no_text_is_refused(tmp_path: Path, tiny_model: TinyModels) -> None:
    import transformers

    settings = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.ViTModel(transformers.ViTConfig(image_size=28, patch_size=14, **settings)).save_pretrained(tmp_path)
    tiny_models.save_tokenizer(tmp_path)
    assert refusal(tmp_path) == f"model '{tmp_path}' reads no text, but pixel_values; name another with --model"


def test_shards_are_read(copied: Copied) -> None:
    folder = copied("llama")
    whole = load_model(ModelConfig(name=str(folder), device=Device.CPU)).weights_hash
    split(folder)
    assert load_model(ModelConfig(name=str(folder), device=Device.CPU)).weights_hash == whole


def test_header_names_dtype_and_shape(copied: Copied) -> None:
    header = read_header(copied("llama") / "model.safetensors")
    assert header["model.layers.0.mlp.down_proj.weight"] == ("F32", (32, 48))
    assert "__metadata__" not in header


# ---- weights that would be read wrongly ------------------------------------------------------------------------------

DOWN = "model.layers.0.mlp.down_proj.weight"


def to_float8(weights: Weights) -> None:
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        weights[f"{name}_scale_inv"] = torch.ones(1, 1)
        weights[name] = weights[name].to(torch.float8_e4m3fn)


def to_int8(weights: Weights) -> None:
    weights[DOWN] = (weights[DOWN] * 100).to(torch.int8)


def add(*names: str, dtype: Any = torch.float32, shape: tuple[int, ...] = (4, 4)) -> Callable[[Weights], None]:
    return lambda weights: weights.update({name: torch.ones(shape).to(dtype) for name in names})


QUANTISED: Mapping[str, tuple[Callable[[Weights], Any], str]] = {
    "float8": (to_float8, "is stored as F8_E4M3"),
    "int8": (to_int8, f"{DOWN} is stored as I8"),
    "compressed-tensors": (
        add("model.layers.0.mlp.down_proj.weight_scale"),
        "there is model.layers.0.mlp.down_proj",
    ),
    "weight_scale_inv": (add(f"{DOWN}_scale_inv"), f"there is {DOWN}_scale_inv"),
    "fp8 attention": (add("model.layers.0.self_attn.k_scale"), "self_attn.k_scale"),
    "gptq": (add("model.layers.0.mlp.down_proj.qweight", dtype=torch.int32), "down_proj.qweight"),
    "awq": (add("model.layers.0.mlp.down_proj.qzeros", dtype=torch.int32), "down_proj.qzeros"),
    "bitsandbytes 4": (add(f"{DOWN}.absmax", f"{DOWN}.quant_map"), "down_proj.weight.absmax"),
    "bitsandbytes 8": (add("model.layers.0.mlp.down_proj.SCB"), "down_proj.SCB"),
    "mxfp4": (add("model.layers.0.mlp.experts.down_proj_blocks", dtype=torch.uint8), "down_proj_blocks"),
    "input scale": (add("model.layers.0.mlp.down_proj.input_scale"), "down_proj.input_scale"),
    "zero point": (add("model.layers.0.mlp.down_proj.weight_zero_point"), "weight_zero_point"),
    "bits": (lambda weights: weights.update({DOWN: weights[DOWN] > 0}), f"{DOWN} is stored as BOOL"),
    "complex": (lambda weights: weights.update({DOWN: weights[DOWN] * 1j}), f"{DOWN} is stored as C64"),
}


@pytest.mark.parametrize("causal", [False, True], ids=["bare", "causal"])
@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_weights_without_their_configuration_are_refused(kind: str, causal: bool, copied: Copied) -> None:
    folder = copied("llama")
    change, expected = QUANTISED[kind]
    edit_weights(folder, change)
    message = refusal(folder, causal=causal)
    assert message.startswith(f"the weights of model '{folder}' are quantised (")
    assert expected in message
    assert "its config.json has no quantization_config" in message


BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize("change", [to_float8, to_int8], ids=["float8", "int8"])
def test_quantised_weights_without_their_scales_are_refused(change: Callable[[Weights], Any], copied: Copied) -> None:
    folder = copied("llama")
    edit_weights(folder, lambda weights: (change(weights), weights.pop(f"{DOWN}_scale_inv", None)))
    edit_config(folder, quantization_config=BLOCKS)
    message = refusal(folder)
    assert message.startswith(f"the weights of model '{folder}' are quantised, but no scale lies beside {DOWN}, ")


@pytest.mark.parametrize("scale", ["_scale", "_scale_inv", "_quantizer._scale", ".absmax", ".quant_state.nf4"])
def test_scales_belong_to_the_weight_that_they_lie_beside(scale: str) -> None:
    settings = SimpleNamespace(quantization_config=BLOCKS)
    tensors = {"h.0.down.weight": ("F8_E4M3", (4, 4)), "h.0.up.weight": ("F32", (4, 4))}
    check_plain("m", {**tensors, f"h.0.down.weight{scale}": ("F32", ())}, settings)
    with pytest.raises(ModelError, match=r"no scale lies beside h\.0\.down\.weight"):
        check_plain("m", {**tensors, f"h.0.up.weight{scale}": ("F32", ())}, settings)


def test_quantised_model_with_fewer_layers_than_the_weights_is_refused(copied: Copied) -> None:
    folder = copied("llama")
    edit_weights(folder, to_float8)
    edit_config(folder, quantization_config=BLOCKS)
    load_model(ModelConfig(name=str(folder), device=Device.CPU))
    edit_config(folder, num_hidden_layers=2)
    assert "has weights of layer 2, but by its config.json only 2 layers (" in refusal(folder)


def test_integer_weights_of_a_parameter_of_another_name_are_refused(copied: Copied) -> None:
    folder = copied("gpt2")
    edit_weights(
        folder, lambda weights: weights.update({"transformer.h.0.attn.c_attn.bias": torch.ones(96).to(torch.int8)})
    )
    assert "h.0.attn.c_attn.bias is stored as I8" in refusal(folder)


@pytest.mark.parametrize(
    ("family", "changes", "causal"),
    [
        ("llama", {"num_hidden_layers": 2}, False),
        ("llama", {"num_hidden_layers": 2}, True),
        ("gpt2", {"n_layer": 2}, False),
        ("bert", {"num_hidden_layers": 2}, False),
        ("t5", {"num_layers": 2}, False),
        ("mixtral", {"num_hidden_layers": 2}, False),
        ("distilbert", {"n_layers": 2}, False),
    ],
)
def test_configuration_with_fewer_layers_than_the_weights_is_refused(
    family: str, changes: dict[str, Any], causal: bool, copied: Copied
) -> None:
    folder = copied(family)
    edit_config(folder, **changes)
    message = refusal(folder, causal=causal)
    assert message.startswith(f"model '{folder}' has weights of layer 2, but by its config.json only 2 layers (")
    assert message.endswith("; restore the config.json that belongs to the weights")


@pytest.mark.parametrize(
    "name", ["model.layers.0.self_attn.q_proj.bias", "model.layers.1.mlp.adapter.weight", "model.norm.bias"]
)
def test_weights_that_the_configuration_leaves_out_are_refused(name: str, copied: Copied) -> None:
    folder = copied("llama")
    edit_weights(folder, lambda weights: weights.update({name: torch.ones(32)}))
    message = refusal(folder)
    assert message.startswith(f"model '{folder}' has weights that its config.json has no place for: {name}; ")


def test_a_module_that_predicts_ahead_excuses_no_other_weight(copied: Copied) -> None:
    folder = copied("llama")
    extra = {"mtp.layers.0.eh_proj.weight": (32, 64), "model.norm.bias": (32,)}
    edit_weights(folder, lambda weights: weights.update({name: torch.ones(shape) for name, shape in extra.items()}))
    assert "no place for: model.norm.bias; " in refusal(folder)


def test_fewer_experts_than_the_weights_are_refused(copied: Copied) -> None:
    folder = copied("mixtral")
    edit_config(folder, num_local_experts=2)
    assert "do not fit its config.json: " in refusal(folder)


HARMLESS: Mapping[str, tuple[str, Mapping[str, tuple[int, ...]]]] = {
    "heads": ("llama", {"score.weight": (2, 32), "v_head.summary.weight": (1, 32)}),
    "rotary positions": ("llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}),
    "causal masks": ("gpt2", {"transformer.h.0.attn.bias": (1, 1, 8, 8), "transformer.h.0.attn.masked_bias": ()}),
    "positions": ("bert", {"bert.embeddings.position_ids": (1, 8)}),
    "pooler": ("distilbert", {"pooler.dense.weight": (32, 32)}),
    "several tokens ahead": ("llama", {"model.layers.3.eh_proj.weight": (32, 64), "model.layers.3.norm.weight": (32,)}),
    "multi-token module": ("llama", {"mtp.layers.0.mlp.down_proj.weight": (32, 48)}),
    "another tower": ("llama", {"vision_tower.encoder.layers.7.mlp.fc2.weight": (32, 48)}),
    "projector": ("llama", {"multi_modal_projector.linear_1.weight": (32, 48)}),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_a_bare_transformer_does_not_use_may_be_left_over(kind: str, copied: Copied) -> None:
    family, extra = HARMLESS[kind]
    folder = copied(family)
    before = load_model(ModelConfig(name=str(folder), device=Device.CPU)).weights_hash
    edit_weights(folder, lambda weights: weights.update({name: torch.ones(shape) for name, shape in extra.items()}))
    assert load_model(ModelConfig(name=str(folder), device=Device.CPU)).weights_hash == before


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_whole_models_are_accepted_with_their_heads(family: str, tiny_model: TinyModels) -> None:
    folder = str(tiny_model(family))
    assert load_model(ModelConfig(name=folder, device=Device.CPU)).parameters > 0


def test_tied_heads_are_no_leftovers(tmp_path: Path) -> None:
    folder = tiny_models.save_family("qwen2", tmp_path, tie_word_embeddings=True)
    edit_weights(
        folder, lambda weights: weights.update({"lm_head.weight": weights["model.embed_tokens.weight"].clone()})
    )
    for causal in (False, True):
        load_model(ModelConfig(name=str(folder), device=Device.CPU), causal=causal)


@pytest.mark.parametrize(
    ("settings", "library"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
    ],
)
def test_quantised_model_whose_library_is_missing_names_it(
    settings: dict[str, Any], library: str, copied: Copied
) -> None:
    folder = copied("llama")
    edit_config(folder, quantization_config=settings)
    message = refusal(folder)
    assert message.startswith(f"the weights of model '{folder}' cannot be loaded: ")
    assert library in message.lower()
