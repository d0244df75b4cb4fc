"""Impact, hidden states and sparse codes, read off a model beside its neurons, against computations by hand."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from conftest import TinyModels
from test_families import hooks_on, linear, load_body, top_two, top_two_of_best_group

from nait_index.activations import families
from nait_index.activations.capture import Probes
from nait_index.activations.encoder import Encoder, Pooled
from nait_index.activations.sae.autoencoder import SparseAutoencoder
from nait_index.activations.sae.sites import SaeSite, SaeSiteKind
from nait_index.config import Device, ModelConfig, PaddingSide
from nait_index.errors import ArchitectureError

torch = pytest.importorskip("torch")

TEXTS = (*tiny_models.TEXTS, "Y")
TOLERANCE = 1e-5
"""Largest difference that batching makes in float32, relative to the largest value."""
BATCHES = (
    {"batch_tokens": 1},
    {"batch_tokens": 130, "padding_side": PaddingSide.LEFT},
    {"batch_tokens": 100_000},
    {"batch_tokens": 100_000, "padding_side": PaddingSide.LEFT},
)
"""Every text alone, some together, all together; padded on the right and on the left."""

Probing = Callable[..., Encoder]


@pytest.fixture
def probing() -> Iterator[Probing]:
    """Make encoders of a folder, probes and settings of the model, and close them after the test."""
    made: list[Encoder] = []

    def make(folder: Path, probes: Probes | None, **settings: Any) -> Encoder:
        made.append(Encoder(ModelConfig(name=str(folder), device=Device.CPU, **settings), probes=probes))
        return made[-1]

    yield make
    for encoder in made:
        encoder.close()


def encode(encoder: Encoder) -> Pooled:
    """Encode the texts, in their order."""
    batches = list(encoder.encode(encoder.tokenize(TEXTS, add_special_tokens=True)))
    order = np.concatenate([batch.rows for batch in batches]).argsort()

    def joined(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else np.concatenate(parts)[order]

    return Pooled(order, *(joined(name) for name in ("values", "impact", "hidden", "codes")))


def token_ids(folder: Path) -> list[np.ndarray]:
    """Tokenise the texts without the package."""
    from transformers import AutoTokenizer

    return [np.array(ids) for ids in AutoTokenizer.from_pretrained(folder)(list(TEXTS))["input_ids"]]


def assert_same(values: np.ndarray | None, expected: np.ndarray) -> None:
    assert values is not None
    assert values.dtype == np.float32
    assert values.shape == expected.shape
    largest = np.abs(expected).max()
    assert largest > 0.05
    np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE * largest)


# ---- by hand: the output of the up-projections -----------------------------------------------------------------------

Up = Callable[[Any, np.ndarray], Any]
"""From a model body and the ids of one text to the output (T, D) of its up-projections."""


def seen_at(body: Any, paths: list[str], ids: np.ndarray, *, inputs: bool = False) -> list[Any]:
    """Run one text alone and give what each module returned, or was called with, (T, N) each."""
    seen: dict[str, Any] = {}

    def keep(path: str) -> Any:
        def hook(_module: Any, args: tuple[Any, ...], out: Any) -> None:
            value = args[0] if inputs else out[0] if isinstance(out, tuple) else out
            seen[path] = value.detach().reshape(len(ids), -1)

        return body.get_submodule(path).register_forward_hook(hook)

    handles = [keep(path) for path in paths]
    with torch.no_grad():
        body(input_ids=torch.tensor(ids)[None])
    for handle in handles:
        handle.remove()
    return [seen[path] for path in paths]


def numbered(pattern: str) -> list[str]:
    return [pattern.format(i=i) for i in range(tiny_models.LAYERS)]


def module(pattern: str) -> Up:
    """Read what one module of every layer gives."""
    return lambda body, ids: torch.cat(seen_at(body, numbered(pattern), ids), dim=1)


def entering(pattern: str) -> Up:
    """Read what one module of every layer is called with."""
    return lambda body, ids: torch.cat(seen_at(body, numbered(pattern), ids, inputs=True), dim=1)


def second_half(pattern: str) -> Up:
    """Read the second half of what one module of every layer gives."""

    def up(body: Any, ids: np.ndarray) -> Any:
        both = seen_at(body, numbered(pattern), ids)
        return torch.cat([output[:, output.shape[1] // 2 :] for output in both], dim=1)

    return up


def lower_rows(experts: Any, number: int, token: Any) -> Any:
    """Up below gate in one (2·I, H) matrix."""
    weight = experts.gate_up_proj[number]
    return weight[len(weight) // 2 :] @ token


def odd_columns(experts: Any, number: int, token: Any) -> Any:
    """GPT-OSS: up in the odd columns of a (H, 2·I) matrix."""
    return token @ experts.gate_up_proj[number][:, 1::2] + experts.gate_up_proj_bias[number][1::2]


def routed(
    expert: Callable[[Any, int, Any], Any],
    choose: Callable[[Any, Any], list[int]] = top_two,
    shared: str | None = None,
) -> Up:
    """Token by token, zeros where an expert was not sent it; then the shared expert; or all of a dense layer."""

    def layer(block: Any, x: Any) -> Any:
        if not hasattr(block, "experts"):
            return linear(x, block.up_proj)
        rows = []
        for token in x:
            chosen = choose(block, token)
            every = [expert(block.experts, number, token) for number in range(len(block.experts.gate_up_proj))]
            rows.append(torch.cat([up if number in chosen else 0 * up for number, up in enumerate(every)]))
        up = torch.stack(rows)
        return up if shared is None else torch.cat([up, linear(x, getattr(block, shared).up_proj)], dim=1)

    def every_layer(body: Any, ids: np.ndarray) -> Any:
        paths = numbered("layers.{i}.mlp")
        with torch.no_grad():
            inputs = seen_at(body, paths, ids, inputs=True)
            return torch.cat([layer(body.get_submodule(path), x) for path, x in zip(paths, inputs, strict=True)], dim=1)

    return every_layer


GATED = module("layers.{i}.mlp.up_proj")
INNER = module("encoder.layer.{i}.intermediate.dense")

UP: Mapping[str, Up] = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "olmo2": GATED,
    "gemma": GATED,
    "gemma2": GATED,
    "gemma3": module("language_model.layers.{i}.mlp.up_proj"),
    "gemma3_text": GATED,
    "phi3": second_half("layers.{i}.mlp.gate_up_proj"),
    "phi": module("layers.{i}.mlp.fc1"),
    "gpt2": module("h.{i}.mlp.c_fc"),
    "gpt_neox": module("layers.{i}.mlp.dense_h_to_4h"),
    "falcon": module("h.{i}.mlp.dense_h_to_4h"),
    "falcon_alibi": module("h.{i}.mlp.dense_h_to_4h"),
    "opt": module("decoder.layers.{i}.fc1"),
    "bert": INNER,
    "roberta": INNER,
    "xlm-roberta": INNER,
    "distilbert": module("transformer.layer.{i}.ffn.lin1"),
    "t5": module("encoder.block.{i}.layer.1.DenseReluDense.wi"),
    "t5_gated": module("encoder.block.{i}.layer.1.DenseReluDense.wi_1"),
    "mixtral": routed(lower_rows),
    "qwen3_moe": routed(lower_rows),
    "qwen2_moe": routed(lower_rows, shared="shared_expert"),
    "deepseek_v3": routed(lower_rows, top_two_of_best_group, shared="shared_experts"),
    "gpt_oss": routed(odd_columns),
}
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "deepseek_v3", "gpt_oss")


def mean_sizes(tokens: list[Any]) -> np.ndarray:
    """Average the size of every neuron over the tokens of each text: (n, D)."""
    return np.stack([np.abs(text.double().numpy()).sum(axis=0) / len(text) for text in tokens])


# ---- impact ----------------------------------------------------------------------------------------------------------


def test_every_family_is_computed_by_hand() -> None:
    assert set(UP) == set(tiny_models.FAMILIES)


@pytest.mark.parametrize("family", UP)
def test_impact_is_the_mean_size_of_the_up_projection(family: str, tiny_model: TinyModels, probing: Probing) -> None:
    folder = tiny_model(family)
    body = load_body(folder)
    expected = mean_sizes([UP[family](body, ids) for ids in token_ids(folder)])
    for settings in BATCHES:
        assert_same(encode(probing(folder, Probes(impact=True), **settings)).impact, expected)


@pytest.mark.parametrize("family", MIXTURES)
def test_tokens_that_an_expert_was_not_sent_count_as_zeros(
    family: str, tiny_model: TinyModels, probing: Probing
) -> None:
    """Guards the comparison: neurons that some tokens reach and others do not, and that no token of a text reaches."""
    folder = tiny_model(family)
    reached = (UP[family](load_body(folder), token_ids(folder)[0]) != 0).double().mean(dim=0)
    assert ((reached > 0) & (reached < 1)).sum() >= 3 * 16
    impact = encode(probing(folder, Probes(impact=True))).impact
    assert impact is not None
    untouched = impact[-1] == 0
    assert untouched.sum() >= 3 * 16
    assert impact[:, untouched].any()


def test_impact_of_gated_blocks_is_not_the_size_of_their_neurons(tiny_model: TinyModels, probing: Probing) -> None:
    """Guards the comparison: another module's output would not pass for the up-projection's."""
    folder = tiny_model("llama")
    body, ids = load_body(folder), token_ids(folder)
    gate = mean_sizes([module("layers.{i}.mlp.gate_proj")(body, text) for text in ids])
    neurons = mean_sizes([entering("layers.{i}.mlp.down_proj")(body, text) for text in ids])
    impact = encode(probing(folder, Probes(impact=True))).impact
    assert np.abs(impact - gate).max() > 0.1
    assert np.abs(impact - neurons).max() > 0.1


@pytest.mark.parametrize("layers", ["1", "0,2"])
@pytest.mark.parametrize("family", ["phi3", "deepseek_v3"])
def test_impact_of_chosen_layers_is_that_part_of_all(
    family: str, layers: str, tiny_model: TinyModels, probing: Probing
) -> None:
    folder = tiny_model(family)
    whole = probing(folder, Probes(impact=True))
    parts = np.split(encode(whole).impact, np.cumsum(whole.widths)[:-1], axis=1)  # type: ignore[arg-type]
    chosen = encode(probing(folder, Probes(impact=True), layers=layers)).impact
    np.testing.assert_array_equal(chosen, np.concatenate([parts[int(i)] for i in layers.split(",")], axis=1))


@pytest.mark.parametrize("site", ["layers.{i}.self_attn.o_proj", "layers.{i}.mlp.down_proj", "layers.{i}.mlp.up_proj"])
def test_impact_of_a_named_site_is_the_size_of_what_enters_it(
    site: str, tiny_model: TinyModels, probing: Probing
) -> None:
    folder = tiny_model("llama")
    body = load_body(folder)
    expected = mean_sizes([entering(site)(body, ids) for ids in token_ids(folder)])
    for settings in BATCHES:
        assert_same(encode(probing(folder, Probes(impact=True), site=site, **settings)).impact, expected)


def test_impact_of_experts_named_as_site_is_the_size_of_their_neurons(tiny_model: TinyModels, probing: Probing) -> None:
    """The neurons of one token are their own mean, so that its impact is their size."""
    folder = tiny_model("mixtral")
    named = encode(probing(folder, Probes(impact=True), site="layers.{i}.mlp.experts"))
    usual = encode(probing(folder, Probes(impact=True)))
    assert named.impact is not None
    np.testing.assert_allclose(named.impact[-1], np.abs(usual.values[-1, 0]), rtol=1e-5, atol=1e-6)
    assert (named.impact >= np.abs(usual.values[:, 0]) - 1e-6).all()
    assert np.abs(named.impact - usual.impact).max() > 0.1


def test_down_projection_without_a_known_partner_is_refused(
    tiny_model: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = tuple(families.Site(layer, f"layers.{layer}.self_attn.o_proj", 32) for layer in range(3))
    monkeypatch.setattr("nait_index.activations.encoder.find_sites", lambda *_: sites)
    config = ModelConfig(name=str(tiny_model("llama")), device=Device.CPU)
    with Encoder(config) as usable:
        assert encode(usable).impact is None
        model = usable.model
    with pytest.raises(ArchitectureError, match=r"^no up-projection .* 'layers\.0\.self_attn\.o_proj'.* --views$"):
        Encoder(config, model=model, probes=Probes(impact=True))
    assert hooks_on(model.module) == []


# ---- hidden states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", UP)
def test_hidden_states_are_averaged_plainly_and_by_position(
    family: str, tiny_model: TinyModels, probing: Probing
) -> None:
    folder = tiny_model(family)
    body, expected = load_body(folder), []
    for ids in token_ids(folder):
        with torch.no_grad():
            states = body(input_ids=torch.tensor(ids)[None]).last_hidden_state[0].double().numpy()
        places = range(1, len(ids) + 1)
        weighted = sum(place * state for place, state in zip(places, states, strict=True)) / sum(places)
        expected.append([states.mean(axis=0), weighted])
    for settings in BATCHES:
        pooled = encode(probing(folder, Probes(hidden=True), **settings))
        assert_same(pooled.hidden, np.array(expected))
        assert pooled.impact is None


def test_hidden_states_are_the_last_whatever_layers_are_captured(tiny_model: TinyModels, probing: Probing) -> None:
    folder = tiny_model("llama")
    whole = encode(probing(folder, Probes(hidden=True))).hidden
    np.testing.assert_array_equal(encode(probing(folder, Probes(hidden=True), layers="0")).hidden, whole)


# ---- codes of a sparse autoencoder -----------------------------------------------------------------------------------

LATENTS = 40


def made_sae(kind: SaeSiteKind, layer: int, **options: Any) -> tuple[SparseAutoencoder, dict[str, np.ndarray]]:
    rng = np.random.default_rng(layer)
    width = tiny_models.HIDDEN
    shapes = {"encoder": (LATENTS, width), "encoder_bias": (LATENTS,), "pre_bias": (width,)}
    shapes |= {"decoder": (LATENTS, width), "decoder_bias": (width,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
    return SparseAutoencoder.of(SaeSite(layer, kind), tensors, **options), weights


def codes_by_hand(states: np.ndarray, weights: Mapping[str, np.ndarray], k: int | None) -> np.ndarray:
    """Encode the tokens of one text, one after the other, and average: (F,)."""
    total = np.zeros(LATENTS)
    for state in states.astype(np.float64):
        code = np.maximum(weights["encoder"] @ (state - weights["pre_bias"]) + weights["encoder_bias"], 0)
        kept = sorted(range(LATENTS), key=lambda i: -code[i])[:k]
        total[kept] += code[kept]
    return total / len(states)


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize(
    ("family", "kind", "layer", "path"),
    [
        ("llama", SaeSiteKind.RESIDUAL, 1, "layers.1"),
        ("llama", SaeSiteKind.RESIDUAL, 2, "layers.2"),
        ("llama", SaeSiteKind.MLP, 0, "layers.0.mlp"),
        ("gemma2", SaeSiteKind.MLP_ADDED, 1, "layers.1.post_feedforward_layernorm"),
        ("gpt2", SaeSiteKind.RESIDUAL, 1, "h.1"),
        ("mixtral", SaeSiteKind.MLP, 1, "layers.1.mlp"),
    ],
)
def test_codes_are_the_mean_of_the_tokens_codes(
    family: str, kind: SaeSiteKind, layer: int, path: str, k: int | None, tiny_model: TinyModels, probing: Probing
) -> None:
    folder = tiny_model(family)
    body = load_body(folder)
    sae, weights = made_sae(kind, layer, k=k)
    states = [seen_at(body, [path], ids)[0].numpy() for ids in token_ids(folder)]
    expected = np.stack([codes_by_hand(of_text, weights, k) for of_text in states])
    for settings in BATCHES:
        assert_same(encode(probing(folder, Probes(sae=sae), **settings)).codes, expected)


# ---- together, and none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "opt", "bert", "qwen2_moe", "gpt_oss"])
def test_probes_do_not_disturb_each_other_or_the_neurons(family: str, tiny_model: TinyModels, probing: Probing) -> None:
    folder = tiny_model(family)
    sae, _ = made_sae(SaeSiteKind.RESIDUAL, 1, k=5)
    bare = encode(probing(folder, None))
    alone = [encode(probing(folder, probes)) for probes in (Probes(impact=True), Probes(hidden=True), Probes(sae=sae))]
    every = encode(probing(folder, Probes(impact=True, hidden=True, sae=sae)))
    for probes in (*alone, every):
        np.testing.assert_array_equal(probes.values, bare.values)
    np.testing.assert_array_equal(every.impact, alone[0].impact)
    np.testing.assert_array_equal(every.hidden, alone[1].hidden)
    np.testing.assert_array_equal(every.codes, alone[2].codes)


@pytest.mark.parametrize("family", UP)
def test_without_probes_nothing_beside_the_neurons_is_read(
    family: str, tiny_model: TinyModels, probing: Probing
) -> None:
    pooled = encode(probing(tiny_model(family), None))
    assert (pooled.impact, pooled.hidden, pooled.codes) == (None, None, None)
    assert np.isfinite(pooled.values).all()


@pytest.mark.parametrize(
    ("probes", "layers", "last", "after"),
    [
        (None, "all", "layers.2.mlp.up_proj", "layers.2.mlp.down_proj"),
        (Probes(), "1", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj"),
        (Probes(impact=True), "all", "layers.2.mlp.up_proj", "layers.2.mlp.down_proj"),
        (Probes(impact=True), "0", "layers.0.mlp.up_proj", "layers.0.mlp.down_proj"),
        (Probes(sae=made_sae(SaeSiteKind.RESIDUAL, 1)[0]), "0", "layers.1.mlp", "layers.2.input_layernorm"),
        (Probes(sae=made_sae(SaeSiteKind.RESIDUAL, 0)[0]), "1", "layers.1.mlp.up_proj", "layers.1.mlp.down_proj"),
        (Probes(hidden=True), "0", "norm", None),
    ],
)
def test_forward_pass_ends_with_the_last_thing_that_is_read(
    probes: Probes | None, layers: str, last: str, after: str | None, tiny_model: TinyModels, probing: Probing
) -> None:
    encoder = probing(tiny_model("llama"), probes, layers=layers)
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, path=path: ran.add(path))
        for path, module in encoder.model.module.named_modules()
    ]
    encode(encoder)
    for handle in handles:
        handle.remove()
    assert last in ran
    assert after not in ran
    assert ("norm" in ran) == (after is None)


def test_hooks_of_all_probes_are_taken_off(tiny_model: TinyModels) -> None:
    sae, _ = made_sae(SaeSiteKind.RESIDUAL, 1)
    config = ModelConfig(name=str(tiny_model("llama")), device=Device.CPU)
    with Encoder(config, probes=Probes(impact=True, hidden=True, sae=sae)) as encoder:
        assert len(hooks_on(encoder.model.module)) == 3 + 3 + 1
        encode(encoder)
    assert hooks_on(encoder.model.module) == []
