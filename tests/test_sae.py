"""Sparse autoencoders: the two file formats, codes against a NumPy reference, their site in the model, their mean."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TinyModels

from nait_index.activations.sae.autoencoder import SparseAutoencoder
from nait_index.activations.sae.formats import load_sae
from nait_index.activations.sae.sites import SaeSite, SaeSiteKind
from nait_index.errors import ArchitectureError, ModelError
from nait_index.signatures.sparse import number_dtype, top_codes

WIDTH, LATENTS, K = 6, 20, 3
RESIDUAL, MLP, MLP_ADDED = SaeSiteKind.RESIDUAL, SaeSiteKind.MLP, SaeSiteKind.MLP_ADDED

Arrays = dict[str, np.ndarray]


def made_weights(seed: int = 0) -> Arrays:
    """Weights under SAELens' names, W_enc (H, F)."""
    rng = np.random.default_rng(seed)
    shapes = {"W_enc": (WIDTH, LATENTS), "b_enc": (LATENTS,), "W_dec": (LATENTS, WIDTH), "b_dec": (WIDTH,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder: Path, file: str, arrays: Arrays, config: Mapping[str, Any]) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / file)
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def sparsify_folder(folder: Path, extra: Arrays | None = None, **changes: Any) -> Path:
    weights = made_weights()
    arrays = {"encoder.weight": weights["W_enc"].T, "encoder.bias": weights["b_enc"], "W_dec": weights["W_dec"]}
    config = {"expansion_factor": 32, "normalize_decoder": True, "num_latents": 0, "k": K, "d_in": WIDTH} | changes
    return write(folder, "sae.safetensors", arrays | {"b_dec": weights["b_dec"]} | (extra or {}), config)


def saelens_folder(
    folder: Path, extra: Arrays | None = None, hook: str = "blocks.1.hook_resid_post", **changes: Any
) -> Path:
    config = {"architecture": "standard", "d_in": WIDTH, "d_sae": LATENTS, "apply_b_dec_to_input": True}
    config |= {"normalize_activations": "none", "metadata": {"hook_name": hook, "sae_lens_version": "6.54.12"}}
    return write(folder, "sae_weights.safetensors", made_weights() | (extra or {}), config | changes)


def dense_reference(
    hidden: np.ndarray, *, k: int | None, shift: bool = True, scale: np.ndarray | None = None
) -> np.ndarray:
    """Codes by the formula, in double precision; ties do not occur."""
    weights = {name: values.astype(np.float64) for name, values in made_weights().items()}
    before = (hidden.astype(np.float64) - shift * weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]
    codes = np.maximum(before * (1 if scale is None else scale), 0)
    if k is not None:
        for row in codes:
            row[np.argsort(-row)[k:]] = 0
    return codes


def hidden_states(count: int = 40) -> np.ndarray:
    return (np.random.default_rng(7).normal(size=(count, WIDTH)) * 2).astype(np.float32)


def codes_of(sae: SparseAutoencoder, hidden: np.ndarray) -> np.ndarray:
    import torch

    return sae.codes(torch.from_numpy(hidden)).numpy()


# ---- reading --------------------------------------------------------------------------------------------------------


def test_sparsify_codes_are_those_of_the_formula(tmp_path: Path) -> None:
    sae = load_sae(sparsify_folder(tmp_path / "layers.10"))
    assert (sae.latents, sae.d_in, sae.k, sae.site) == (LATENTS, WIDTH, K, SaeSite(10, RESIDUAL))
    hidden = hidden_states()
    np.testing.assert_allclose(codes_of(sae, hidden), dense_reference(hidden, k=K), atol=1e-5)


@pytest.mark.parametrize("shift", [True, False])
def test_saelens_relu_codes_are_those_of_the_formula(tmp_path: Path, shift: bool) -> None:
    sae = load_sae(saelens_folder(tmp_path / "sae", apply_b_dec_to_input=shift))
    hidden = hidden_states()
    np.testing.assert_allclose(codes_of(sae, hidden), dense_reference(hidden, k=None, shift=shift), atol=1e-5)


def test_saelens_topk_may_choose_by_decoder_norms(tmp_path: Path) -> None:
    hidden, norms = hidden_states(), np.linalg.norm(made_weights()["W_dec"].astype(np.float64), axis=1)
    plain = load_sae(saelens_folder(tmp_path / "plain", architecture="topk", k=K))
    scaled = load_sae(saelens_folder(tmp_path / "scaled", architecture="topk", k=K, rescale_acts_by_decoder_norm=True))
    np.testing.assert_allclose(codes_of(plain, hidden), dense_reference(hidden, k=K), atol=1e-5)
    np.testing.assert_allclose(codes_of(scaled, hidden), dense_reference(hidden, k=K, scale=norms), atol=1e-4)
    wanted = dense_reference(hidden, k=K, scale=norms) / norms @ made_weights()["W_dec"] + made_weights()["b_dec"]
    np.testing.assert_allclose(decoded(scaled, hidden), wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["threshold", "log_threshold"])
def test_saelens_jumprelu_cuts_at_each_latents_threshold(tmp_path: Path, name: str) -> None:
    threshold = np.random.default_rng(3).uniform(0.1, 2, LATENTS).astype(np.float32)
    stored = np.log(threshold) if name == "log_threshold" else threshold
    sae = load_sae(saelens_folder(tmp_path / "sae", {name: stored}, architecture="jumprelu"))
    wanted = dense_reference(hidden_states(), k=None)
    wanted[wanted <= threshold] = 0
    np.testing.assert_allclose(codes_of(sae, hidden_states()), wanted, atol=1e-5)


def test_saelens_before_version_6_is_understood(tmp_path: Path) -> None:
    old = {"hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    config = {"d_in": WIDTH, "d_sae": LATENTS, "normalize_activations": False, "hook_point_head_index": None} | old
    sae = load_sae(write(tmp_path / "sae", "sae_weights.safetensors", made_weights(), config))
    assert (sae.site, sae.k) == (SaeSite(1, RESIDUAL), K)
    np.testing.assert_allclose(codes_of(sae, hidden_states()), dense_reference(hidden_states(), k=K), atol=1e-5)


def decoded(sae: SparseAutoencoder, hidden: np.ndarray) -> np.ndarray:
    import torch

    return sae.decode(*sae.encode(torch.from_numpy(hidden))).numpy()


@pytest.mark.parametrize("k", [K, None])
def test_sparse_codes_are_the_dense_ones_largest_first(tmp_path: Path, k: int | None) -> None:
    import torch

    settings = {"architecture": "topk", "k": k} if k else {}
    sae = load_sae(saelens_folder(tmp_path / "sae", **settings))
    numbers, values = sae.encode(torch.from_numpy(hidden_states()))
    assert (values.diff(dim=1) <= 0).all()
    dense = torch.zeros(len(numbers), LATENTS).scatter_(1, numbers, values).numpy()
    np.testing.assert_array_equal(dense, codes_of(sae, hidden_states()))
    wanted = dense @ made_weights()["W_dec"] + made_weights()["b_dec"]
    np.testing.assert_allclose(decoded(sae, hidden_states()), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("layers.3", SaeSite(3, RESIDUAL)),
        ("h.11.mlp", SaeSite(11, MLP)),
        ("encoder.block.2.layer.1.DenseReluDense", SaeSite(2, MLP)),
        ("layers.4/seed1", SaeSite(4, RESIDUAL)),
    ],
)
def test_the_folders_name_is_the_place_in_sparsify(tmp_path: Path, name: str, site: SaeSite) -> None:
    assert load_sae(sparsify_folder(tmp_path / name)).site == site


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("blocks.5.hook_resid_post", SaeSite(5, RESIDUAL)),
        ("blocks.5.hook_resid_pre", SaeSite(4, RESIDUAL)),
        ("blocks.5.hook_mlp_out", SaeSite(5, MLP_ADDED)),
        ("model.layers.5", SaeSite(5, RESIDUAL)),
        ("model.layers.5.mlp", SaeSite(5, MLP)),
    ],
)
def test_the_hook_is_the_place_in_saelens(tmp_path: Path, hook: str, site: SaeSite) -> None:
    assert load_sae(saelens_folder(tmp_path / "sae", hook=hook)).site == site


def test_a_parent_folder_stands_for_its_only_autoencoder(tmp_path: Path) -> None:
    sparsify_folder(tmp_path / "many" / "layers.1")
    assert load_sae(tmp_path / "many").site.layer == 1
    sparsify_folder(tmp_path / "many" / "layers.2")
    with pytest.raises(ModelError, match=r"2 sparse autoencoders; name one of them: layers\.1, layers\.2"):
        load_sae(tmp_path / "many")


def test_the_hash_tells_weights_and_settings_apart(tmp_path: Path) -> None:
    autoencoders = [
        load_sae(sparsify_folder(tmp_path / "a" / "layers.1")),
        load_sae(sparsify_folder(tmp_path / "b" / "layers.2")),
        load_sae(sparsify_folder(tmp_path / "c" / "layers.1", k=K + 1)),
        load_sae(sparsify_folder(tmp_path / "d" / "layers.1", {"b_dec": np.zeros(WIDTH, np.float32)})),
        load_sae(saelens_folder(tmp_path / "e")),
    ]
    again = load_sae(sparsify_folder(tmp_path / "f" / "layers.1"))
    assert len({sae.content_hash for sae in autoencoders}) == len(autoencoders)
    assert again.content_hash == autoencoders[0].content_hash
    assert len(again.content_hash) == 32


SPARSIFY_REFUSALS = {
    "transcode is True": {"transcode": True},
    "skip_connection is True": {"skip_connection": True},
    "activation is 'groupmax'": {"activation": "groupmax"},
    "k is None": {"k": None},
    "cannot keep 21 of 20 latents": {"k": 21},
    "is not a known site": {"hookpoint": "layers.3.self_attn"},
    "holds W_skip": {"extra": {"W_skip": np.zeros((WIDTH, WIDTH), np.float32)}},
    "has shape": {"extra": {"b_dec": np.zeros(WIDTH + 1, np.float32)}},
    "not finite": {"extra": {"encoder.bias": np.full(LATENTS, np.nan, np.float32)}},
}
SAELENS_REFUSALS = {
    "of architecture 'gated' are not supported": {"architecture": "gated"},
    "of architecture 'transcoder' are not supported": {"architecture": "transcoder"},
    "normalize_activations is 'layer_norm'": {"normalize_activations": "layer_norm"},
    "normalize_activations is True": {"normalize_activations": True},
    "reshape_activations is 'hook_z'": {"reshape_activations": "hook_z"},
    "activation_fn is 'tanh-relu'": {"activation_fn": "tanh-relu"},
    "center_writing_weights": {"model_from_pretrained_kwargs": {"center_writing_weights": True}},
    "hook_head_index is 3": {"hook_head_index": 3},
    "without a tensor 'threshold'": {"architecture": "jumprelu"},
    "holds threshold": {"extra": {"threshold": np.ones(LATENTS, np.float32)}},
    "scaling_factor other than 1": {"extra": {"scaling_factor": np.full(LATENTS, 2, np.float32)}},
    "is not a known site": {"hook": "blocks.3.attn.hook_z"},
    "reads the embeddings": {"hook": "blocks.0.hook_resid_pre"},
}


@pytest.mark.parametrize("reason", SPARSIFY_REFUSALS)
def test_sparsify_refusals(tmp_path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load_sae(sparsify_folder(tmp_path / "layers.1", **SPARSIFY_REFUSALS[reason]))


@pytest.mark.parametrize("reason", SAELENS_REFUSALS)
def test_saelens_refusals(tmp_path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load_sae(saelens_folder(tmp_path / "sae", **SAELENS_REFUSALS[reason]))


def test_refusals_of_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder at"):
        load_sae(tmp_path / "absent")
    with pytest.raises(ModelError, match=r"holds no cfg\.json"):
        load_sae(tmp_path)
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(ModelError, match=r"neither sae\.safetensors"):
        load_sae(tmp_path)
    (tmp_path / "sae.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be read"):
        load_sae(tmp_path)


# ---- the site in the model ------------------------------------------------------------------------------------------

FEED_FORWARDS = {
    "llama": "layers.1.mlp",
    "gpt2": "h.1.mlp",
    "opt": "decoder.layers.1.fc2",
    "bert": "encoder.layer.1.output.dense",
    "distilbert": "transformer.layer.1.ffn",
    "t5": "encoder.block.1.layer.1.DenseReluDense",
    "qwen2_moe": "layers.1.mlp",
    "deepseek_v3": "layers.1.mlp",
    "gemma2": "layers.1.mlp",
}


@pytest.mark.parametrize("family", FEED_FORWARDS)
def test_a_site_is_the_output_of_its_module(
    tiny_model: TinyModels, make_encoder: Callable[..., Any], family: str
) -> None:
    import torch

    from nait_index.activations.sae.sites import site_module

    encoder = make_encoder(tiny_model(family))
    encoder.close()
    body, seen = encoder.model.module, []
    layer = site_module(encoder.sites, SaeSite(1, RESIDUAL), body)
    feed_forward = site_module(encoder.sites, SaeSite(1, MLP), body)
    assert feed_forward == FEED_FORWARDS[family]
    body.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.inference_mode():
        states = body(input_ids=torch.tensor([[3, 4, 5, 6]]), output_hidden_states=True).hidden_states
    output = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    # hidden_states begins with the embeddings.
    torch.testing.assert_close(output, states[2], rtol=0, atol=0)


def test_what_is_added_to_the_stream_comes_after_a_norm_where_there_is_one(
    tiny_model: TinyModels, make_encoder: Callable[..., Any]
) -> None:
    from nait_index.activations.sae.sites import site_module

    added = SaeSite(0, MLP_ADDED)
    gemma, llama = make_encoder(tiny_model("gemma2")), make_encoder(tiny_model("llama"))
    assert site_module(gemma.sites, added, gemma.model.module) == "layers.0.post_feedforward_layernorm"
    assert site_module(llama.sites, added, llama.model.module) == "layers.0.mlp"


def test_a_site_is_found_from_any_captured_layer(tiny_model: TinyModels, make_encoder: Callable[..., Any]) -> None:
    from nait_index.activations.sae.sites import site_module

    encoder = make_encoder(tiny_model("llama"), layers="last")
    assert site_module(encoder.sites, SaeSite(0, MLP), encoder.model.module) == "layers.0.mlp"
    with pytest.raises(ArchitectureError, match=r"no module 'layers\.9'"):
        site_module(encoder.sites, SaeSite(9, RESIDUAL), encoder.model.module)


# ---- means ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7 * LATENTS, 2**25])
def test_mean_codes_are_those_of_a_samples_own_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    import torch

    monkeypatch.setattr("nait_index.activations.sae.autoencoder._CHUNK", chunk)
    sae = load_sae(sparsify_folder(tmp_path / "layers.1"))
    hidden = hidden_states(4 * 9).reshape(4, 9, WIDTH)
    mask = np.array([[1] * 9, [1] * 3 + [0] * 6, [0] * 8 + [1], [0, 0] + [1] * 7])
    codes = sae.mean_codes(torch.from_numpy(hidden), torch.from_numpy(mask)).numpy()
    expected = [dense_reference(states[use == 1], k=K).mean(axis=0) for states, use in zip(hidden, mask, strict=True)]
    np.testing.assert_allclose(codes, expected, atol=1e-5)


def test_what_is_not_finite_stays_in_its_sample(tmp_path: Path) -> None:
    import torch

    sae = load_sae(sparsify_folder(tmp_path / "layers.1"))
    hidden = torch.from_numpy(hidden_states(8).reshape(2, 4, WIDTH))
    hidden[0, 2, 1], mask = float("inf"), torch.ones(2, 4, dtype=torch.int64)
    codes = sae.mean_codes(hidden, mask)
    assert not codes[0].isfinite().all()
    np.testing.assert_array_equal(codes[1], sae.mean_codes(hidden[1:], mask[1:])[0])


def test_an_autoencoder_of_another_width_is_refused(tmp_path: Path) -> None:
    import torch

    sae = load_sae(sparsify_folder(tmp_path / "layers.1"))
    with pytest.raises(ModelError, match=f"width {WIDTH}, this model's have 8"):
        sae.mean_codes(torch.zeros(1, 2, 8), torch.ones(1, 2))


# ---- signatures -----------------------------------------------------------------------------------------------------


def test_the_largest_codes_are_kept_in_order() -> None:
    torch = pytest.importorskip("torch")
    codes = np.array([[0, 2, 5, 2, 0, 1], [0, 0, 0, 0.5, 0, -0.0], [0, 0, 0, 0, 0, 0]], dtype=np.float32)
    numbers, values = (part.numpy() for part in top_codes(torch.from_numpy(codes), 3))
    np.testing.assert_array_equal(numbers, [[2, 1, 3], [3, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(values, [[5, 2, 2], [0.5, 0, 0], [0, 0, 0]])
    assert (numbers.dtype, values.dtype) == (np.uint16, np.float16)
    assert top_codes(torch.from_numpy(codes), 99)[0].shape == (3, 6)


def test_codes_beyond_half_precision() -> None:
    torch = pytest.importorskip("torch")
    numbers, values = top_codes(torch.tensor([[1e9, 3, 1e-9, 2]]), 4)
    np.testing.assert_array_equal(numbers, [[0, 1, 3, 0]])
    np.testing.assert_array_equal(values, [[65504, 3, 2, 0]])


def test_numbers_of_latents_need_more_than_16_bits_beyond_65536() -> None:
    assert (number_dtype((65_536,)), number_dtype((65_537,))) == (np.uint16, np.uint32)
