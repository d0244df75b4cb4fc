"""Every family's neurons against a computation by hand, and what happens where neurons are not found or not seen."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from conftest import TinyModels

from benchmarks.families import tiny
from nait_index.activations import families
from nait_index.activations.capture import Probes
from nait_index.activations.encoder import Encoder
from nait_index.activations.families import find_sites
from nait_index.activations.loading import load_model
from nait_index.config import ModelConfig
from nait_index.errors import ArchitectureError, ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MakeEncoder = Callable[..., Encoder]
TEXT = tiny_models.TEXTS[0]
TOLERANCE = 2e-6
"""Largest difference between two float32 computations of the same values, relative to the largest value."""


# ---- by hand: what enters a feed-forward block, and what its hidden layer makes of it --------------------------------


def silu(x: Any) -> Any:
    return x / (1 + torch.exp(-x))


def gelu(x: Any) -> Any:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Any) -> Any:
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def relu(x: Any) -> Any:
    return torch.where(x > 0, x, torch.zeros_like(x))


def linear(x: Any, module: Any) -> Any:
    out = x @ module.weight.T
    return out if module.bias is None else out + module.bias


Hidden = Callable[[Any, Any], Any]
"""From a block and its input (T, H) to its neurons (T, N)."""


def gated(act: Callable[[Any], Any], gate: str = "gate_proj", up: str = "up_proj") -> Hidden:
    return lambda block, x: act(linear(x, getattr(block, gate))) * linear(x, getattr(block, up))


def plain(act: Callable[[Any], Any], inner: str) -> Hidden:
    return lambda block, x: act(linear(x, getattr(block, inner)))


def gated_in_one(block: Any, x: Any) -> Any:
    gate, up = linear(x, block.gate_up_proj).split(block.gate_up_proj.weight.shape[0] // 2, dim=-1)
    return silu(gate) * up


def conv1d(block: Any, x: Any) -> Any:
    return gelu_tanh(x @ block.c_fc.weight + block.c_fc.bias)


def routed(choose: Callable[[Any, Any], list[int]], expert: Callable[[Any, int, Any], Any]) -> Hidden:
    """Token by token and expert by expert: zeros where a token was not sent."""

    def hidden(block: Any, x: Any) -> Any:
        count = block.experts.gate_up_proj.shape[0]
        rows = []
        for token in x:
            chosen = choose(block, token)
            of_experts = [expert(block.experts, number, token) for number in range(count)]
            rows.append(torch.cat([neurons if i in chosen else neurons * 0 for i, neurons in enumerate(of_experts)]))
        return torch.stack(rows)

    return hidden


def halves(experts: Any, number: int, token: Any) -> Any:
    """Gate and up one above the other in one (2·I, H) matrix."""
    weight = experts.gate_up_proj[number]
    width = weight.shape[0] // 2
    return silu(weight[:width] @ token) * (weight[width:] @ token)


def interleaved(experts: Any, number: int, token: Any) -> Any:
    """GPT-OSS: gate in the even and up in the odd columns of a (H, 2·I) matrix, both clamped, up shifted by one."""
    both = token @ experts.gate_up_proj[number] + experts.gate_up_proj_bias[number]
    limit = tiny_models.FAMILIES["gpt_oss"].settings["swiglu_limit"]
    gate, up = both[0::2].clamp(max=limit), both[1::2].clamp(min=-limit, max=limit)
    return gate / (1 + torch.exp(-1.702 * gate)) * (up + 1)


def best(scores: list[float], k: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: -scores[i])[:k]


def top_two(block: Any, token: Any) -> list[int]:
    router = getattr(block, "gate", None) or block.router
    logits = router.weight @ token + getattr(router, "bias", torch.zeros(1))
    return best(logits.tolist(), 2)


def top_two_of_best_group(block: Any, token: Any) -> list[int]:
    """DeepSeek: of two groups the one whose two best experts score highest together; in it the two best experts."""
    scores = (1 / (1 + torch.exp(-(block.gate.weight @ token))) + block.gate.e_score_correction_bias).tolist()
    half = len(scores) // 2
    groups = [list(range(half)), list(range(half, 2 * half))]
    group = max(groups, key=lambda experts: sum(sorted((scores[i] for i in experts), reverse=True)[:2]))
    return [group[i] for i in best([scores[i] for i in group], 2)]


def and_shared(experts: Hidden, name: str) -> Hidden:
    shared = gated(silu)
    return lambda block, x: torch.cat([experts(block, x), shared(getattr(block, name), x)], dim=-1)


def dense_or(experts: Hidden) -> Hidden:
    dense = gated(silu)
    return lambda block, x: experts(block, x) if hasattr(block, "experts") else dense(block, x)


@dataclass(frozen=True, slots=True)
class Expected:
    """One family: the path of the block whose input and weights give the neurons, how, and how many there are."""

    block: str
    hidden: Hidden
    widths: tuple[int, ...]


GATED = Expected("layers.{i}.mlp", gated(silu), (48, 48, 48))
GATED_GELU = Expected("layers.{i}.mlp", gated(gelu_tanh), (48, 48, 48))

EXPECTED: Mapping[str, Expected] = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "olmo2": GATED,
    "gemma": GATED_GELU,
    "gemma2": GATED_GELU,
    "gemma3": Expected("language_model.layers.{i}.mlp", gated(gelu_tanh), (48, 48, 48)),
    "gemma3_text": GATED_GELU,
    "phi3": Expected("layers.{i}.mlp", gated_in_one, (48, 48, 48)),
    "phi": Expected("layers.{i}.mlp", plain(gelu_tanh, "fc1"), (128, 128, 128)),
    "gpt2": Expected("h.{i}.mlp", conv1d, (128, 128, 128)),
    "gpt_neox": Expected("layers.{i}.mlp", plain(gelu, "dense_h_to_4h"), (128, 128, 128)),
    "falcon": Expected("h.{i}.mlp", plain(gelu, "dense_h_to_4h"), (128, 128, 128)),
    "falcon_alibi": Expected("h.{i}.mlp", plain(gelu, "dense_h_to_4h"), (128, 128, 128)),
    "opt": Expected("decoder.layers.{i}.fc1", lambda fc1, x: relu(linear(x, fc1)), (48, 48, 48)),
    "bert": Expected("encoder.layer.{i}.intermediate", plain(gelu, "dense"), (48, 48, 48)),
    "roberta": Expected("encoder.layer.{i}.intermediate", plain(gelu, "dense"), (48, 48, 48)),
    "xlm-roberta": Expected("encoder.layer.{i}.intermediate", plain(gelu, "dense"), (48, 48, 48)),
    "distilbert": Expected("transformer.layer.{i}.ffn", plain(gelu, "lin1"), (48, 48, 48)),
    "t5": Expected("encoder.block.{i}.layer.1.DenseReluDense", plain(relu, "wi"), (48, 48, 48)),
    "t5_gated": Expected("encoder.block.{i}.layer.1.DenseReluDense", gated(gelu_tanh, "wi_0", "wi_1"), (48, 48, 48)),
    "mixtral": Expected("layers.{i}.mlp", routed(top_two, halves), (4 * 48,) * 3),
    "qwen3_moe": Expected("layers.{i}.mlp", dense_or(routed(top_two, halves)), (4 * 16, 48, 4 * 16)),
    "qwen2_moe": Expected("layers.{i}.mlp", and_shared(routed(top_two, halves), "shared_expert"), (4 * 16 + 24,) * 3),
    "deepseek_v3": Expected(
        "layers.{i}.mlp",
        dense_or(and_shared(routed(top_two_of_best_group, halves), "shared_experts")),
        (48, 8 * 16 + 2 * 16, 8 * 16 + 2 * 16),
    ),
    "gpt_oss": Expected("layers.{i}.mlp", routed(top_two, interleaved), (4 * 16,) * 3),
}
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "deepseek_v3", "gpt_oss")


def load_body(folder: Path) -> Any:
    """Load a model body without any of the package's code."""
    config = transformers.AutoConfig.from_pretrained(folder)
    auto = transformers.T5EncoderModel if config.model_type == "t5" else transformers.AutoModel
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


def inputs_of(body: Any, paths: list[str], ids: np.ndarray) -> list[Any]:
    """Run one text alone and give what each module was called with, (T, H) each."""
    seen: dict[str, Any] = {}

    def keep(path: str) -> Callable[[Any, tuple[Any, ...]], None]:
        return lambda _, args: seen.update({path: args[0].detach().reshape(len(ids), -1)})

    for path in paths:
        body.get_submodule(path).register_forward_pre_hook(keep(path))
    with torch.no_grad():
        body(input_ids=torch.tensor(ids)[None])
    return [seen[path] for path in paths]


def by_hand(folder: Path, expected: Expected, ids: np.ndarray) -> list[Any]:
    """Compute every layer's neurons (T, N)."""
    body = load_body(folder)
    paths = [expected.block.format(i=i) for i in range(tiny_models.LAYERS)]
    inputs = inputs_of(body, paths, ids)
    with torch.no_grad():
        return [expected.hidden(body.get_submodule(path), x) for path, x in zip(paths, inputs, strict=True)]


def encode(encoder: Encoder, text: str = TEXT) -> tuple[np.ndarray, np.ndarray]:
    """Return the token ids of one text and its pooled activations (2, D)."""
    tokens = encoder.tokenize([text], add_special_tokens=True)
    (pooled,) = encoder.encode(tokens)
    return tokens[0].ids, pooled.values[0]


def hooks_on(body: Any) -> list[str]:
    return [path for path, module in body.named_modules() if module._forward_pre_hooks or module._forward_hooks]


@pytest.fixture
def finished() -> Iterator[list[Any]]:
    """Record every module whose forward comes to its end."""
    modules: list[Any] = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: modules.append(module))
    yield modules
    handle.remove()


# ---- the families ----------------------------------------------------------------------------------------------------


def test_every_tiny_family_is_computed_by_hand() -> None:
    assert set(EXPECTED) == set(tiny_models.FAMILIES)


@pytest.mark.parametrize("family", EXPECTED)
def test_all_layers_are_found_with_their_widths(family: str, tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model(family))
    assert encoder.layers == (0, 1, 2)
    assert encoder.widths == EXPECTED[family].widths
    assert any(site.has_experts for site in encoder.sites) == (family in MIXTURES)


@pytest.mark.parametrize("family", EXPECTED)
def test_neurons_are_those_computed_by_hand(family: str, tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    folder = tiny_model(family)
    ids, (mean, drift) = encode(make_encoder(folder))
    layers = by_hand(folder, EXPECTED[family], ids)
    assert [neurons.shape for neurons in layers] == [(len(ids), width) for width in EXPECTED[family].widths]
    ends = np.cumsum(EXPECTED[family].widths)
    for layer, end in zip(layers, ends, strict=True):
        neurons = layer.double().numpy()
        here = slice(end - neurons.shape[1], end)
        largest = np.abs(neurons).max()
        assert largest > 0.05
        np.testing.assert_allclose(mean[here], neurons.sum(axis=0) / len(ids), rtol=0, atol=TOLERANCE * largest)
        np.testing.assert_allclose(drift[here], neurons[-1] - neurons[0], rtol=0, atol=2 * TOLERANCE * largest)


@pytest.mark.parametrize("family", MIXTURES)
def test_experts_compared_by_hand_differ_in_what_they_are_sent(
    family: str, tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    """Guards the comparison: tokens go to several experts, and to none of them all tokens go."""
    folder = tiny_model(family)
    ids, _ = encode(make_encoder(folder))
    neurons = by_hand(folder, EXPECTED[family], ids)[2].reshape(len(ids), -1)
    config = transformers.AutoConfig.from_pretrained(folder)
    width = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    experts = EXPECTED[family].widths[2] // width
    sent = np.array([(neurons[:, e * width : (e + 1) * width] != 0).any(dim=1).sum() for e in range(experts)])
    assert ((sent > 0) & (sent < len(ids))).sum() >= 3


def test_gpt_oss_comparison_reaches_the_clamp(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    """Guards the comparison: with another limit the neurons would be others."""
    folder = tiny_model("gpt_oss")
    ids, _ = encode(make_encoder(folder))
    body = load_body(folder)
    (x,) = inputs_of(body, ["layers.0.mlp"], ids)
    experts = body.layers[0].mlp.experts
    both = torch.einsum("th,ehj->tej", x, experts.gate_up_proj) + experts.gate_up_proj_bias
    assert (both > 0.75).any()
    assert (both < -0.75).any()


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_experts_are_captured_whatever_computes_them(
    implementation: str, tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    encoder = make_encoder(tiny_model("mixtral"))
    _, usual = encode(encoder)
    encoder.model.module.set_experts_implementation(implementation)
    _, values = encode(encoder)
    np.testing.assert_allclose(values, usual, rtol=0, atol=TOLERANCE * np.abs(usual).max())


@pytest.mark.parametrize(
    ("family", "heads"),
    [
        ("llama", "lm_head."),
        ("gpt2", "lm_head."),
        ("bert", "cls."),
        ("mixtral", "lm_head."),
        ("t5", "lm_head. decoder."),
    ],
)
def test_nothing_of_a_head_or_decoder_is_loaded(
    family: str, heads: str, tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    from safetensors.numpy import load_file

    folder = tiny_model(family)
    saved = {name: values.size for name, values in load_file(folder / "model.safetensors").items()}
    unwanted = {name: size for name, size in saved.items() if name.startswith(tuple(heads.split()))}
    assert unwanted
    loaded = dict(make_encoder(folder).model.module.named_parameters())
    sizes = {name: parameter.numel() for name, parameter in loaded.items() if "pooler" not in name}
    assert sum(sizes.values()) == sum(saved.values()) - sum(unwanted.values())


# ---- where to look ---------------------------------------------------------------------------------------------------


def test_family_that_nothing_finds_is_refused_with_a_pattern_to_try(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("t5")
    monkeypatch.setattr(families, "DOWN_PROJECTIONS", ("mlp.down_proj",))
    with pytest.raises(
        ArchitectureError, match=r"^no feed-forward .* 't5' .* known name; .*--site '.*\{i\}.*'$"
    ) as caught:
        Encoder(ModelConfig(name=str(folder)))
    proposed = str(caught.value).split("'")[-2]
    assert (
        proposed == "block.{i}.layer.1.DenseReluDense.wo" or proposed == "encoder.block.{i}.layer.1.DenseReluDense.wo"
    )
    assert make_encoder(folder, site=proposed).widths == EXPECTED["t5"].widths


@pytest.mark.parametrize("family", ["mixtral", "jetmoe", "albert", "mamba"])
def test_refusal_never_proposes_attention_or_what_does_not_work(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "DOWN_PROJECTIONS", ("nothing.of.the.kind",))
    body = tiny.tiny_body(tiny.tiny_config(family))
    with pytest.raises(ArchitectureError, match=r"under any known name; a path of your choice .*with --site$"):
        find_sites(body, family)


@pytest.mark.parametrize(
    ("model_type", "settings", "widths"),
    [
        (
            "lfm2_moe",
            {"layer_types": ["conv", "full_attention", "conv"], "num_dense_layers": 1, "moe_intermediate_size": 16}
            | {"num_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2},
            (48, 4 * 16, 4 * 16),
        ),
        (
            "hunyuan_v1_moe",
            {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "moe_topk": 2},
            (4 * 48 + 48,) * 3,
        ),
        (
            "nemotron_h",  # its experts read a narrower state, which a projection widens again
            {"num_key_value_heads": 2, "head_dim": 8, "layers_block_type": ["moe", "attention", "moe"]}
            | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "moe_latent_size": 20}
            | {"moe_shared_expert_intermediate_size": 24, "n_group": 1, "topk_group": 1},
            (4 * 16 + 24,) * 2,
        ),
    ],
)
def test_layers_of_different_kinds_are_captured_whole(
    model_type: str, settings: dict[str, Any], widths: tuple[int, ...], tmp_path: Path, make_encoder: MakeEncoder
) -> None:
    tiny_models.save_model(tiny_models.Family(model_type, settings=settings), tmp_path)
    tiny_models.save_tokenizer(tmp_path)
    assert make_encoder(tmp_path).widths == widths


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("lfm2_moe", "feed_forward.experts"),
        ("lfm2_moe", "feed_forward.w2"),
        ("hunyuan_v1_moe", "mlp.shared_mlp.down_proj"),
        ("deepseek_v3", "mlp.shared_experts.down_proj"),
        ("gemma4_text", "experts"),
        ("jamba", "feed_forward.experts"),
        ("nemotron_h", "mixer.down_proj"),
        ("mobilebert", "ffn.{j}.output.dense"),
        ("granitemoehybrid", "shared_mlp.output_linear"),
        ("longcat_flash", "mlps.{j}.down_proj"),
    ],
)
def test_model_with_neurons_under_another_name_is_refused(
    family: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the table lacks is noticed: in other layers, beside what it knows, and as experts."""
    body = tiny.tiny_body(tiny.tiny_config(family))
    assert find_sites(body, family)
    known = tuple(other for other in families.DOWN_PROJECTIONS if other != name)
    monkeypatch.setattr(families, "DOWN_PROJECTIONS", known)
    with pytest.raises(ArchitectureError, match=r"^a '\w+' model has feed-forward .* missed, at '.*\{i\}"):
        find_sites(body, family)


def test_encoder_saved_by_itself_is_opened(tiny_model: TinyModels, tmp_path: Path, make_encoder: MakeEncoder) -> None:
    whole = tiny_model("t5")
    load_body(whole).save_pretrained(tmp_path)
    tiny_models.save_tokenizer(tmp_path)
    np.testing.assert_array_equal(encode(make_encoder(tmp_path))[1], encode(make_encoder(whole))[1])


def test_layers_missing_from_a_model_are_noticed(tiny_model: TinyModels) -> None:
    body = load_body(tiny_model("llama"))
    del body.layers[2]
    with pytest.raises(ArchitectureError, match=r"^a 'llama' model should have 3 layers, but .* are 2 at 'layers'"):
        find_sites(body, "llama")


def test_site_may_be_several_patterns(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    folder = tiny_model("qwen3_moe")
    with pytest.raises(ArchitectureError, match=r"^layers \[1\] of this 'qwen3_moe' model have no .* with commas$"):
        Encoder(ModelConfig(name=str(folder), site="layers.{i}.mlp.experts"))
    encoder = make_encoder(folder, site="layers.{i}.mlp.experts, layers.{i}.mlp.down_proj")
    assert encoder.widths == EXPECTED["qwen3_moe"].widths


def test_site_pattern_names_another_part(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    folder = tiny_model("llama")
    encoder = make_encoder(folder, site="layers.{i}.self_attn.o_proj")
    assert encoder.widths == (32, 32, 32)
    ids, (mean, drift) = encode(encoder)
    inputs = inputs_of(load_body(folder), [f"layers.{i}.self_attn.o_proj" for i in range(3)], ids)
    neurons = torch.cat(inputs, dim=1).numpy()
    np.testing.assert_allclose(mean, neurons.mean(axis=0), rtol=0, atol=TOLERANCE * np.abs(neurons).max())
    np.testing.assert_allclose(drift, neurons[-1] - neurons[0], rtol=0, atol=TOLERANCE * np.abs(neurons).max())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layers.{i}.mlp.nothing", r"^nothing in a 'llama' model has a path like .*'layers\.\{i\}\.mlp\.nothing'"),
        ("layers.0.mlp.down_proj", r"^site pattern 'layers\.0\.mlp\.down_proj' must contain \{i\}"),
        ("layers.{i}.input_layernorm", r"^'layers\.0\.input_layernorm' \(LlamaRMSNorm\) has no 2-D weight"),
        ("layers.{i}.mlp", r"^'layers\.0\.mlp' \(LlamaMLP\) has no 2-D weight"),
        ("layers.{i}.mlp.down_proj(", r"^nothing in a 'llama' model has a path like"),
    ],
)
def test_site_pattern_that_cannot_be_used_is_refused_in_one_line(
    pattern: str, message: str, tiny_model: TinyModels
) -> None:
    with pytest.raises(ArchitectureError, match=message) as caught:
        Encoder(ModelConfig(name=str(tiny_model("llama")), site=pattern))
    assert "\n" not in str(caught.value)


def test_layer_with_other_neurons_is_named(tiny_model: TinyModels) -> None:
    body = load_body(tiny_model("llama"))
    body.layers[1].mlp = torch.nn.Sequential(torch.nn.Linear(32, 96), torch.nn.Linear(96, 32))
    with pytest.raises(ArchitectureError, match=r"^a 'llama' model has .* missed, at 'layers\.\{i\}\.mlp\.1'"):
        find_sites(body, "llama")


def test_layer_without_feed_forward_block_holds_no_neurons(tiny_model: TinyModels) -> None:
    body = load_body(tiny_model("llama"))
    body.layers[1].mlp = torch.nn.Identity()
    assert [site.layer for site in find_sites(body, "llama")] == [0, 2]


def test_experts_fused_in_an_unknown_way_are_refused(tiny_model: TinyModels) -> None:
    class Fused(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate_up_proj = torch.nn.Parameter(torch.zeros(4, 8, 8))

    body = load_body(tiny_model("mixtral"))
    body.layers[0].mlp.experts = Fused()
    with pytest.raises(ArchitectureError, match=r"^the experts at 'layers\.0\.mlp\.experts' \(Fused\)"):
        find_sites(body, "mixtral")


@pytest.mark.parametrize("change", ["weighted first", "another gate"])
def test_experts_that_compute_something_else_are_refused(
    change: str, tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family whose experts look like others' and are not: noticed when the model is opened."""
    from transformers.models.mixtral import modeling_mixtral

    experts = modeling_mixtral.MixtralExperts
    usual = experts.forward

    def forward(self: Any, hidden: Any, index: Any, weights: Any) -> Any:
        if change == "another gate":
            return usual(self, hidden, index, weights).abs()
        return usual(self, hidden * weights.sum(dim=-1, keepdim=True) * 0.5, index, weights)

    monkeypatch.setattr(experts, "forward", forward)
    with pytest.raises(ArchitectureError, match=r"^the experts at 'layers\.0\.mlp\.experts' .* something other"):
        Encoder(ModelConfig(name=str(tiny_model("mixtral"))))


@pytest.mark.parametrize(
    ("wanted", "layers"), [("all", (0, 1, 2)), ("last", (2,)), ("0,-1", (0, 2)), ("1", (1,)), ("2,2,-1", (2,))]
)
@pytest.mark.parametrize("family", ["llama", "deepseek_v3"])
def test_chosen_layers_are_that_part_of_all(
    family: str, wanted: str, layers: tuple[int, ...], tiny_model: TinyModels, make_encoder: MakeEncoder
) -> None:
    widths = EXPECTED[family].widths
    whole = np.split(encode(make_encoder(tiny_model(family)))[1], np.cumsum(widths)[:-1], axis=1)
    encoder = make_encoder(tiny_model(family), layers=wanted)
    assert encoder.layers == layers
    assert encoder.widths == tuple(widths[layer] for layer in layers)
    np.testing.assert_array_equal(encode(encoder)[1], np.concatenate([whole[layer] for layer in layers], axis=1))


@pytest.mark.parametrize("wanted", ["3", "0,7", "-4"])
def test_layer_out_of_range_is_refused_with_the_range(wanted: str, tiny_model: TinyModels) -> None:
    with pytest.raises(ModelError, match=rf"^--layers {wanted}: this model has layers 0 to 2, no layer (3|7|-1)$"):
        Encoder(ModelConfig(name=str(tiny_model("llama")), layers=wanted))


@pytest.mark.parametrize("layer", range(3))
def test_site_pattern_that_fits_only_some_layers_is_refused(layer: int, tiny_model: TinyModels) -> None:
    model = load_model(ModelConfig(name=str(tiny_model("llama"))))
    model.module.layers[layer].mlp = torch.nn.Identity()
    with pytest.raises(ArchitectureError, match=rf"^layers \[{layer}\] of this 'llama' model have no module at"):
        find_sites(model.module, "llama", "layers.{i}.mlp.down_proj")


def test_layer_without_neurons_cannot_be_chosen(tiny_model: TinyModels) -> None:
    model = load_model(ModelConfig(name=str(tiny_model("llama"))))
    model.module.layers[1].mlp = torch.nn.Identity()
    with Encoder(ModelConfig(layers="0,2"), model) as encoder:
        assert encoder.layers == (0, 2)
    with pytest.raises(
        ModelError, match=r"^--layers 0,1: layer 1 of .* feed-forward block; those that have one: 0, 2$"
    ):
        Encoder(ModelConfig(layers="0,1"), model)


@pytest.mark.parametrize("wanted", ["", "first", "1.5", "0,,1", "0-2"])
def test_layers_that_are_no_numbers_are_refused(wanted: str) -> None:
    with pytest.raises(ModelError, match=r"^--layers '.*' is not one of: all, last, layer numbers"):
        ModelConfig(layers=wanted)


# ---- the hooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "last"),
    [
        ("llama", "layers.1.mlp.up_proj"),
        ("gpt2", "h.1.mlp.c_fc"),
        ("bert", "encoder.layer.1.intermediate"),
        ("mixtral", "layers.1.mlp.gate"),
    ],
)
def test_nothing_after_the_last_captured_neurons_is_computed(
    family: str, last: str, tiny_model: TinyModels, make_encoder: MakeEncoder, finished: list[Any]
) -> None:
    encoder = make_encoder(tiny_model(family), layers="1")
    paths = {module: path for path, module in encoder.model.module.named_modules()}
    finished.clear()
    encode(encoder)
    ran = [paths[module] for module in finished]
    assert [path for path in ran if ".0." in path and path.endswith((".mlp", ".output"))]
    assert last in ran
    after = ran[ran.index(last) + 1 :]
    assert not [path for path in after if not path.endswith(("act", "act_fn"))]


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_hooks_hang_only_while_the_encoder_is_open(family: str, tiny_model: TinyModels) -> None:
    with Encoder(ModelConfig(name=str(tiny_model(family)))) as encoder:
        body = encoder.model.module
        assert len(hooks_on(body)) == len(encoder.sites) == 3
        encode(encoder)
        assert len(hooks_on(body)) == 3
    assert hooks_on(body) == []


def test_hooks_are_taken_off_after_an_exception(tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(ModelConfig(name=str(tiny_model("llama"))))
    body = encoder.model.module
    monkeypatch.setattr(body.layers[1], "forward", lambda *_, **__: 1 // 0)
    with pytest.raises(ModelError, match="ZeroDivisionError"), encoder:
        encode(encoder)
    assert hooks_on(body) == []


def test_forward_pass_after_a_broken_one_gives_the_same(
    tiny_model: TinyModels, make_encoder: MakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = make_encoder(tiny_model("llama"))
    _, before = encode(encoder)
    with monkeypatch.context() as broken:
        broken.setattr(encoder.model.module.layers[1], "forward", lambda *_, **__: 1 // 0)
        with pytest.raises(ModelError, match="ZeroDivisionError"):
            encode(encoder)
    np.testing.assert_array_equal(encode(encoder)[1], before)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_hook_that_does_not_fire_is_named(layer: int, tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    """A block that uses its down projection's weight without calling the module, as a fused kernel does."""
    encoder = make_encoder(tiny_model("llama"))
    mlp = encoder.model.module.layers[layer].mlp
    mlp.forward = lambda x: gated(silu)(mlp, x) @ mlp.down_proj.weight.T
    with pytest.raises(ArchitectureError, match=rf"^no activation was seen at layers\.{layer}\.mlp\.down_proj: "):
        encode(encoder)


def test_all_silent_hooks_are_counted(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    for layer in encoder.model.module.layers:
        layer.mlp.forward = torch.nn.Identity().forward
    with pytest.raises(ArchitectureError, match=r"^no activation was seen at layers\.0\.mlp\.down_proj and 2 more"):
        encode(encoder)


def test_layer_that_runs_twice_is_refused(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    encoder.model.module.layers[1].mlp.down_proj = encoder.model.module.layers[0].mlp.down_proj
    with pytest.raises(ArchitectureError, match=r"'layers\.0\.mlp\.down_proj' ran more often in one forward pass"):
        encode(encoder)


def test_input_of_another_shape_is_refused(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    mlp = encoder.model.module.layers[1].mlp
    mlp.forward = lambda x: mlp.down_proj(gated(silu)(mlp, x)[:, :1])
    with pytest.raises(ArchitectureError, match=r"^the input of 'layers\.1\.mlp\.down_proj' has shape \(1, 1, 48\)"):
        encode(encoder)


@pytest.mark.parametrize(
    "change", [lambda x: x[..., :1], lambda x: x[:, :1], lambda x: {"up": x}], ids=["narrow", "short", "no tensor"]
)
def test_up_projection_of_another_shape_is_refused(change: Callable[[Any], Any], tiny_model: TinyModels) -> None:
    model = load_model(ModelConfig(name=str(tiny_model("gpt2"))))
    model.module.h[1].mlp.c_fc.register_forward_hook(lambda _module, _args, output: change(output))
    with pytest.raises(
        ArchitectureError, match=r"beside 'h\.1\.mlp\.c_proj' \(Conv1D\) computes .*; leave topk out of"
    ):
        Encoder(ModelConfig(name=str(tiny_model("gpt2"))), model, Probes(impact=True))


def test_model_run_from_outside_while_captured_is_refused(tiny_model: TinyModels, make_encoder: MakeEncoder) -> None:
    encoder = make_encoder(tiny_model("llama"))
    with pytest.raises(ModelError, match=r"^the model was run from outside"):
        encoder.model.module(input_ids=torch.tensor([[1, 2]]))
