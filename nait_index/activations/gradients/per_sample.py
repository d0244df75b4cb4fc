"""The loss of every sample of a batch, and its gradient, computed separately for each sample in one backward pass.

The loss is the mean negative log-likelihood of the tokens of S, each given those before it, natural logarithm:

    ℓ = −(1/|S|) Σ_{t ∈ S} log p(token t | tokens before t)

S holds all tokens but the first, or those from a given position on. The weight of a linear layer y = W·x, which
processes T tokens of sample b, has the gradient

    ∂ℓ_b/∂W = Σ_t (∂ℓ_b/∂y_bt) ⊗ x_bt

and as the losses of a batch are summed and its samples do not see one another, ∂ℓ_b/∂y_bt is what flows back through y
(Goodfellow, Efficient Per-Example Gradient Computations, arXiv 1510.01799). Padding has no loss and no token sees it,
so nothing flows back there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import Target, pad
from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    import torch
    from torch import nn

Backward = Callable[["torch.Tensor"], None]
"""Runs the backward pass from a sum of losses."""

Take = Callable[[str, "torch.Tensor"], None]
"""Receives the name of a layer and its weight's gradients (B, out, in), float32, as soon as they are known."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded texts. Padding is on the right, where no token of a causal model sees it.

    :param ids: (B, T) int64. :param mask: (B, T) int64, 1 for a token, 0 for padding.
    :param counts: (B, T) bool, whether a token's prediction is part of the loss.
    """

    ids: "torch.Tensor"
    mask: "torch.Tensor"
    counts: "torch.Tensor"

    @classmethod
    def of(cls, targets: Sequence[Target], device: "torch.device") -> "Batch":
        """Pad texts with token 0; any token would do."""
        import torch

        ids, mask = pad([target.ids for target in targets])
        starts = np.array([target.start for target in targets])[:, None]
        counts = (mask == 1) & (np.arange(mask.shape[1]) >= starts)
        return cls(*(torch.from_numpy(array).to(device) for array in (ids, mask, counts)))


def sample_losses(model: Any, batch: Batch) -> "torch.Tensor":  # noqa: ANN401 - a transformers model
    """Compute ℓ of every sample: (B,) float32, differentiable."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    # The tokens are shifted instead of the logits, the first token to the end: that saves a copy of the logits.
    following = batch.ids.roll(-1, dims=1)
    counts = batch.counts.roll(-1, dims=1)
    losses = cross_entropy(logits.float().flatten(0, 1), following.flatten(), reduction="none")
    return (losses.view_as(counts) * counts).sum(dim=1) / counts.sum(dim=1)


@contextmanager
def per_sample_gradients(
    source: "nn.Module", layers: "Mapping[str, nn.Linear]", shape: "torch.Size", take: Take
) -> Iterator[Backward]:
    """Pass the gradients of the given layers' weights to ``take``, in one forward and backward pass in this context.

    They arrive one layer at a time, so that the gradients of all layers are never in memory together. Differentiating
    to the source instead of the weights avoids computing the gradients of the whole batch, which are not needed.

    :param source: the model's token embedding, from which everything is computed.
    :param layers: linear layers without bias, by name. :param shape: (B, T) of the pass.
    :raises ArchitectureError: a layer mixes the samples, or runs twice in a pass.
    """
    sources: list[torch.Tensor] = []
    ran: set[str] = set()

    def backward(total: "torch.Tensor") -> None:
        import torch

        torch.autograd.grad(total, sources)

    handles = [source.register_forward_hook(lambda _, __, output: sources.append(output.requires_grad_()))]
    handles += [layer.register_forward_hook(_hook(name, shape, ran, take)) for name, layer in layers.items()]
    try:
        yield backward
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, shape: "torch.Size", ran: set[str], take: Take) -> Callable[..., None]:
    def hook(_: "nn.Module", args: tuple[Any, ...], output: "torch.Tensor") -> None:
        if name in ran:
            raise ArchitectureError(f"'{name}' ran twice in one pass; gradients of shared layers are not supported")
        ran.add(name)
        inputs = _by_sample(name, args[0].detach(), shape)

        def multiply(flow: "torch.Tensor") -> None:
            # Sums the outer products over the tokens: (B, T, out), (B, T, in) to (B, out, in).
            flow = _by_sample(name, flow, shape)
            take(name, flow.float().transpose(1, 2).bmm(inputs.float()))

        output.register_hook(multiply)

    return hook


def _by_sample(name: str, values: "torch.Tensor", shape: "torch.Size") -> "torch.Tensor":
    """Reshape a layer's input or output to (B, T, N); it is (B·T, N) in shared experts and some attention layers."""
    if values.shape[:-1].numel() != shape[0] * shape[1]:
        raise ArchitectureError(
            f"'{name}' sees {tuple(values.shape)}; expected {shape[0]} samples of {shape[1]} tokens each, so "
            "the gradients of single samples cannot be separated"
        )
    return values.reshape(*shape, values.shape[-1])
