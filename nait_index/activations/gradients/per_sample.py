"""The loss of every sample of a batch, and its gradient, computed separately for each sample in one backward pass.

The loss is the mean negative log-likelihood of the tokens of S, each given those before it, natural logarithm:

    ℓ = −(1/|S|) Σ_{t ∈ S} log p(token t | tokens before t)

S holds the tokens of the answers, see :mod:`nait_index.activations.answer_losses`. The weight of a linear layer
y = W·x, which processes T tokens of sample b, has the gradient

    ∂ℓ_b/∂W = Σ_t (∂ℓ_b/∂y_bt) ⊗ x_bt

and as the losses of a batch are summed and its samples do not see one another, ∂ℓ_b/∂y_bt is what flows back through y
(Goodfellow, Efficient Per-Example Gradient Computations, arXiv 1510.01799). Padding has no loss and no token sees it,
so nothing flows back there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nait_index.activations.answer_losses import AnswerBatch, answer_logits
from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    import torch
    from torch import nn

Backward = Callable[["torch.Tensor"], None]
"""Runs the backward pass from a sum of losses."""

Take = Callable[[str, "torch.Tensor"], None]
"""Receives the name of a layer and its weight's gradients (B, out, in), float32, as soon as they are known."""


def sample_losses(model: Any, batch: AnswerBatch, words: "torch.Tensor | None" = None) -> "torch.Tensor":  # noqa: ANN401
    """Compute ℓ of every sample: (B,) float32, differentiable.

    :param model: a transformers model. :param words: as for :func:`answer_logits`.
    """
    import torch

    losses = answer_logits(model, batch, words).losses()
    sums = torch.zeros(len(batch.ids), device=losses.device).index_add(0, batch.samples, losses)
    return sums / batch.counts.sum(dim=1)


@contextmanager
def per_sample_gradients(
    source: "nn.Module", layers: "Mapping[str, nn.Linear]", shape: "torch.Size", take: Take
) -> Iterator[Backward]:
    """Pass the gradients of the given layers' weights to ``take``, in one forward and backward pass in this context.

    They arrive one layer at a time, so that the gradients of all layers are never in memory together. Differentiating
    to the source instead of the weights avoids computing the gradients of the whole batch, which are not needed.

    :param source: what comes before the first of the layers: the model's token embedding, or one of its blocks.
    :param layers: linear layers without bias, by name. :param shape: (B, T) of the pass.
    :raises ArchitectureError: a layer mixes the samples, or runs twice in a pass.
    """
    sources: list[torch.Tensor] = []
    ran: set[str] = set()

    def backward(total: "torch.Tensor") -> None:
        import torch

        torch.autograd.grad(total, sources)

    def start(_: "nn.Module", __: object, output: Any) -> None:  # noqa: ANN401 - a tensor, or several
        sources.append((output[0] if isinstance(output, tuple) else output).requires_grad_())

    handles = [source.register_forward_hook(start)]
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
