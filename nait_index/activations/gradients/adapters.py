"""Low-rank adapters on every linear layer of a model: LoRA (Hu et al., ICLR 2022, arXiv 2106.09685), by PEFT.

A linear layer W gets two small ones in parallel, y = W·x + (α/r)·B·A·x, with A (r, in) and B (out, r). B starts at
zero. LESS takes gradients with respect to A and B only.
"""

import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.experts import holds_experts
from nait_index.errors import ArchitectureError, ModelError, NaitError

if TYPE_CHECKING:
    import torch
    from torch import nn

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GradientSettings:
    """Settings of the adapters, their warm-up and the projection. Every field changes the numbers.

    The adapters have no dropout: with it, a row's gradient would differ every time.

    :param rank: r of the adapters; :param alpha: α, where their scale is α/r.
    :param width: d, numbers that a gradient is projected to.
    :param layers: layers from the top that have adapters; 0 is all of them.
    :param words: most words of the vocabulary that a token is predicted among: those most frequent in the warm-up's
        texts. A smaller vocabulary is taken whole.
    :param warmup_steps: steps of Adam before the last gradient; :param warmup_batch: texts in each step.
    :param learning_rate: highest of those steps: it rises for a thirtieth of them and then falls to zero.
    :param checkpoints: points of the warm-up at which gradients are taken, at the ends of equal parts.
    :param seed: of the adapters' initial weights, the order of the warm-up, and the projection.
    """

    rank: int = 8
    alpha: int = 16
    width: int = 1024
    layers: int = 0
    words: int = 16_384
    warmup_steps: int = 64
    warmup_batch: int = 8
    learning_rate: float = 1e-3
    checkpoints: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        counts = self.rank, self.alpha, self.width, self.warmup_steps, self.warmup_batch, self.checkpoints
        if min(counts) < 1:
            raise NaitError("every count in the settings of the gradients must be at least 1")
        if self.checkpoints > self.warmup_steps:
            raise NaitError(f"a warm-up of {self.warmup_steps} steps has no {self.checkpoints} checkpoints")


class Adapters:
    """The adapters of one model, added to every linear layer that text passes through, except the output head.

    ``source`` is what comes before the first of them: the token embedding, or the last block that has none.

    The fused parameters of a mixture of experts get none; its attention, router and shared experts do. ``layers`` are
    the small linear layers that were added, A and B, by the path of their weight, in an order that depends on the model
    alone.

    :raises ArchitectureError: there is no such layer. :raises NaitError: PEFT is not installed.
    """

    def __init__(self, model: "nn.Module", settings: GradientSettings) -> None:
        names = linear_layers(model)
        if not names:
            raise ArchitectureError("no linear layer was found in this model to add the adapters of the gradients to")
        self.source, names = upper_layers(model, names, settings.layers)
        if fused := sum(holds_experts(module) and hasattr(module, "down_proj") for module in model.modules()):
            logger.warning("%d layers of fused experts have no adapters: gradients leave their parameters out", fused)
        _inject(model, names, settings)
        self.layers: dict[str, nn.Linear] = {
            f"{name}.weight": module
            for name, module in model.named_modules()
            if ".lora_A." in name or ".lora_B." in name
        }
        for layer in self.layers.values():
            layer.float().requires_grad_(True)

    @property
    def parameters(self) -> "dict[str, torch.Tensor]":
        """The weights of the adapters by path; float32, whatever dtype the model has."""
        return {name: layer.weight for name, layer in self.layers.items()}

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the weights of the adapters to the host."""
        return {name: weight.detach().cpu().numpy().copy() for name, weight in self.parameters.items()}

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Set the weights of the adapters.

        :raises ModelError: the weights are of another model or of other settings.
        """
        import torch

        expected = {name: tuple(weight.shape) for name, weight in self.parameters.items()}
        given = {name: values.shape for name, values in weights.items()}
        if given != expected:
            wrong = min(name for name in expected.keys() | given.keys() if expected.get(name) != given.get(name))
            raise ModelError(f"the stored adapters do not fit this model at {wrong}; build the index again")
        with torch.no_grad():
            for name, weight in self.parameters.items():
                weight.copy_(torch.from_numpy(weights[name]))


def linear_layers(model: Any) -> list[str]:  # noqa: ANN401 - a transformers model
    """Find the linear layers that run on text (not those of a vision tower), without the output head."""
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    try:
        with torch.inference_mode():
            ids = torch.zeros(1, 2, dtype=torch.int64, device=next(model.parameters()).device)
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, _ in model.named_modules() if name in ran]


def upper_layers(model: Any, names: list[str], count: int) -> tuple["nn.Module", list[str]]:  # noqa: ANN401
    """Return the module before the last ``count`` blocks of a model, and those of some layers that are in them.

    :param names: paths of layers; :param count: 0 for all blocks.
    """
    blocks = list(dict.fromkeys(match[1] for name in names if (match := re.match(r"(.*?\.\d+)\.", name))))
    if not 0 < count < len(blocks):
        return model.get_input_embeddings(), names
    kept = tuple(f"{block}." for block in blocks[-count:])
    return model.get_submodule(blocks[-count - 1]), [name for name in names if name.startswith(kept)]


def _inject(model: "nn.Module", names: list[str], settings: GradientSettings) -> None:
    import torch

    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise NaitError(f"PEFT is not installed ({error}): pip install 'nait-index[gradients]'") from error
    # Given a transformers model, PEFT would also adapt the fused parameters of a mixture of experts, through parameters
    # that mix the samples. Inside a box, only the named layers get an adapter.
    box = torch.nn.ModuleDict({"model": model})
    targets = [f"model.{name}" for name in names]
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=0.0, target_modules=targets)
    # Seeded without a trace outside. PEFT warns that it handles the transposed weights of GPT-2.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(settings.seed)
        inject_adapter_in_model(config, box)
