"""The gradient of every sample of a batch apart from the others, in one backward pass.

The weight of a linear layer y = W·x, which sees T tokens of sample b, has the gradient

    ∂ℓ_b/∂W = Σ_t (∂ℓ_b/∂y_bt) ⊗ x_bt

and as the losses of a batch are summed and its samples do not see one another, ∂ℓ_b/∂y_bt is what flows back through y
(Goodfellow, Efficient Per-Example Gradient Computations, arXiv 1510.01799). Padding has no loss and nothing sees it:
nothing flows back there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nait_index.errors import ArchitectureError

if TYPE_CHECKING:
    import torch
    from torch import nn

Backward = Callable[["torch.Tensor"], None]
"""Goes back from a sum of losses."""

Take = Callable[[str, "torch.Tensor"], None]
"""Is given the name of a layer and its weight's gradients (B, out, in), float32, as soon as they are known."""


@contextmanager
def per_sample_gradients(
    source: "nn.Module", layers: "Mapping[str, nn.Linear]", shape: tuple[int, int], take: Take
) -> Iterator[Backward]:
    """Hand over the gradients of the given layers' weights, in one pass that is run forward and back in this context.

    One layer at a time, so that the gradients of all of them never lie in memory together. Going back to the source
    and not to the weights leaves out the gradients of the batch, which nobody wants.

    :param source: the model's token embedding: all that is computed comes from it.
    :param layers: linear ones without bias, by name. :param shape: (B, T) of the pass.
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


def _hook(name: str, shape: tuple[int, int], ran: set[str], take: Take) -> Callable[..., None]:
    def hook(_: "nn.Module", args: tuple[Any, ...], output: "torch.Tensor") -> None:
        if name in ran:
            raise ArchitectureError(f"'{name}' ran twice in one pass; gradients of shared layers cannot be told apart")
        ran.add(name)
        inputs = _by_sample(name, args[0].detach(), shape)
        output.register_hook(lambda flow: take(name, _outer(_by_sample(name, flow, shape), inputs)))

    return hook


def _outer(flow: "torch.Tensor", inputs: "torch.Tensor") -> "torch.Tensor":
    """Sum the outer products over the tokens: (B, T, out), (B, T, in) to (B, out, in)."""
    import torch

    return torch.bmm(flow.float().transpose(1, 2), inputs.float())


def _by_sample(name: str, values: "torch.Tensor", shape: tuple[int, int]) -> "torch.Tensor":
    """Give (B, T, N) of what a layer sees: that, or (B·T, N) in shared experts and some attention layers."""
    if values.shape[:-1].numel() != shape[0] * shape[1]:
        raise ArchitectureError(
            f"'{name}' sees {tuple(values.shape)}; expected {shape[0]} samples of {shape[1]} tokens each: the "
            "gradients of single samples cannot be told apart"
        )
    return values.reshape(*shape, values.shape[-1])
