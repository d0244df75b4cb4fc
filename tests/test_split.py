"""A model that is split over devices computes what it computes on one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nait_index.activations.capture import Capture, Probes
from nait_index.activations.encoder import Encoder
from nait_index.activations.families import Site
from nait_index.activations.pooling import TokenScores, TokenSpan
from nait_index.building.encoder import IndexEncoder
from nait_index.config import Device, ModelConfig, SignatureConfig, View
from nait_index.errors import ModelError, NaitError

TEXTS = ["Add 17 and 25, then halve the sum.", "Name three rivers.", "x"]
PROBES = Probes(impact=True, hidden=True)


@pytest.fixture
def two_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Split models as accelerate splits them over a GPU that holds the first layer, and the memory and disk behind it.

    Without a GPU, the CPU stands in for the first device; what is on disk has no numbers where the model has it.
    """
    places = {
        "embed_tokens": "cpu",
        "layers.0": "cpu",
        "layers.1": "disk",
        "norm": "disk",
        "rotary_emb": "cpu",
        "layers.2": "disk",
    }
    options = {"device_map": places, "offload_folder": str(tmp_path / "offload")}
    monkeypatch.setattr("nait_index.activations.loading.split_options", lambda: options)
    monkeypatch.setattr("nait_index.activations.loading.device_of", lambda _: torch.device("cpu"))


def _pooled(encoder: Encoder) -> Iterator[np.ndarray]:
    for batch in encoder.encode(encoder.tokenize(TEXTS, add_special_tokens=True)):
        for part in (batch.rows, batch.values, batch.impact, batch.hidden):
            assert part is not None
            yield part


@pytest.mark.usefixtures("two_devices")
def test_a_split_model_has_the_activations_and_the_hash_of_a_whole_one(tiny_model: Callable[[str], Path]) -> None:
    name = str(tiny_model("llama"))
    with (
        Encoder(ModelConfig(name, device=Device.CPU), probes=PROBES) as whole,
        Encoder(ModelConfig(name, device=Device.SPLIT), probes=PROBES) as split,
    ):
        waiting = [name for name, tensor in split.model.module.state_dict().items() if tensor.is_meta]
        assert any("layers.1." in name for name in waiting)
        assert split.model.weights_hash == whole.model.weights_hash
        assert (split.widths, split.model.positions, split.model.vocabulary) == (
            whole.widths,
            whole.model.positions,
            whole.model.vocabulary,
        )
        for given, expected in zip(_pooled(split), _pooled(whole), strict=True):
            np.testing.assert_array_equal(given, expected)
        text = whole.tokenize(TEXTS, add_special_tokens=True)[0]
        direction = np.random.default_rng(0).normal(size=(2, sum(whole.widths)))
        np.testing.assert_array_equal(split.split(text, direction), whole.split(text, direction))


@pytest.mark.usefixtures("two_devices")
def test_gradients_of_a_split_model_are_refused(tiny_model: Callable[[str], Path]) -> None:
    model = ModelConfig(str(tiny_model("llama")), device=Device.SPLIT)
    encoder = IndexEncoder(model, SignatureConfig(views=(View.PCA, View.GRAD)))
    with pytest.raises(NaitError, match="one device"):
        encoder.load_gradients()


def test_a_split_without_accelerate_or_a_gpu_is_refused(
    tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(str(tiny_model("llama")), device=Device.SPLIT)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="--device split was asked for, but torch sees no GPU"):
            Encoder(config)
    monkeypatch.setattr("nait_index.activations.loading.device_of", lambda _: torch.device("cpu"))
    monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
    with pytest.raises(ModelError, match=r"--device split needs accelerate .*nait-index\[split\]"):
        Encoder(config)


# ---- layers on devices that this machine need not have --------------------------------------------------------------

WIDTH, HIDDEN = 6, 4


class _Layer(torch.nn.Module):
    """A layer that fetches its input, and leaves its output where it computes, as accelerate has it."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.up_proj = torch.nn.Linear(HIDDEN, WIDTH, device=device)
        self.down_proj = torch.nn.Linear(WIDTH, HIDDEN, device=device)
        self.mlp = torch.nn.ModuleDict({"up_proj": self.up_proj, "down_proj": self.down_proj})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.up_proj(hidden.to(self.device)))


class _Body(torch.nn.Module):
    def __init__(self, devices: list[str]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(map(_Layer, devices))

    def forward(self, input_ids: torch.Tensor, **_: torch.Tensor) -> SimpleNamespace:
        hidden = input_ids[..., None].float().expand(-1, -1, HIDDEN)
        for layer in self.layers:
            hidden = layer(hidden)
        return SimpleNamespace(last_hidden_state=hidden)


def test_each_layer_is_pooled_where_it_computes_and_the_results_are_gathered() -> None:
    """Torch's fake tensors hold no numbers, but refuse an operation on two devices, as a GPU would."""
    with FakeTensorMode() as fake, torch.inference_mode():
        fake.allow_meta = True
        body = _Body(["cpu", "meta", "meta"])
        sites = [Site(layer, f"layers.{layer}.mlp.down_proj", WIDTH) for layer in range(3)]
        mask = torch.ones(1, 5, dtype=torch.int64)
        inputs = {"input_ids": mask, "attention_mask": mask}
        with Capture(body, sites, PROBES).installed() as capture:
            captured = capture.run(inputs, TokenSpan(mask))
        with Capture(body, sites, Probes(impact=True, own_site=True)).installed() as capture:
            measured = capture.run(inputs, TokenSpan(mask))
        for part in (captured.neurons, captured.impact, captured.hidden, measured.impact):
            assert part is not None
            assert part.device.type == "cpu"
        with Capture(body, sites).installed() as capture:
            scores = TokenScores(mask, torch.zeros(2, 3 * WIDTH, dtype=torch.float64))
            capture.run(inputs, scores)
        assert scores.values.device.type == "cpu"


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_the_numbers_of_layers_elsewhere_are_copied_back(
    family: str, tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Encoder(ModelConfig(str(tiny_model(family)), device=Device.CPU), probes=PROBES) as encoder:
        text = encoder.tokenize(TEXTS, add_special_tokens=True)[0]
        direction = np.random.default_rng(0).normal(size=(2, sum(encoder.widths)))
        expected, split = [*_pooled(encoder)], encoder.split(text, direction)
        monkeypatch.setattr("nait_index.activations.pooling.is_on", lambda *_: False)
        for given, whole in zip(_pooled(encoder), expected, strict=True):
            np.testing.assert_array_equal(given, whole)
        np.testing.assert_array_equal(encoder.split(text, direction), split)
