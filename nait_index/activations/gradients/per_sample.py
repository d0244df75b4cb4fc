"""The loss of every sample of a batch, and its gradient, computed separately for each sample in one backward pass.

The loss is the mean negative log-likelihood of the tokens of S, each given those before it, natural logarithm:

    ℓ = −(1/|S|) Σ_{t ∈ S} log p(token t | tokens before t)

S holds the tokens of the answers. With a large vocabulary, the output head costs more than all layers of a small model;
so p may be taken over some of its words alone, which then are the only rivals of the token that is to be predicted:

    −log p(y) = log(exp z_y + Σ_{w ∈ W, w ≠ y} exp z_w) − z_y      z the logits

The weight of a linear layer y = W·x, which
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

from nait_index.activations.batches import AnswerTokens, pad
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
    def of(cls, texts: Sequence[AnswerTokens], device: "torch.device") -> "Batch":
        """Pad texts with token 0; any token would do."""
        import torch

        ids, mask = pad([text.ids for text in texts])
        counts = np.zeros(mask.shape, dtype=bool)
        for row, text in enumerate(texts):
            counts[row, : len(text.ids)] = text.counts
        return cls(*(torch.from_numpy(array).to(device) for array in (ids, mask, counts)))


def sample_losses(model: Any, batch: Batch, words: "torch.Tensor | None" = None) -> "torch.Tensor":  # noqa: ANN401
    """Compute ℓ of every sample: (B,) float32, differentiable.

    :param model: a transformers model.
    :param words: (W,) int64 sorted, the rivals of each token; ``None`` for the whole vocabulary. The logits must be the
        plain products of hidden states and the head's weights then, see :func:`has_plain_head`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    # The token before each token that counts predicts it.
    before, tokens = batch.counts.roll(-1, dims=1), batch.ids[batch.counts]
    head = model.get_output_embeddings()
    with _hidden_at(head, before, run_head=words is None) as hidden:
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    if words is None:
        logits = logits[0] if hidden else logits[before]
        losses = cross_entropy(logits.float(), tokens, reduction="none")
    else:
        losses = _losses_among(hidden[0], head.weight, tokens, words)
    sums = torch.zeros(len(batch.ids), device=losses.device).index_add(0, before.nonzero()[:, 0], losses)
    return sums / before.sum(dim=1)


def has_plain_head(model: Any, ids: "torch.Tensor") -> bool:  # noqa: ANN401 - a transformers model
    """Decide whether the logits are the plain products of hidden states and the head's weights.

    :param ids: (1, T) some text.
    """
    import torch

    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear) or head.bias is not None:
        return False
    everywhere = torch.ones_like(ids, dtype=torch.bool)
    with torch.inference_mode(), _hidden_at(head, everywhere, run_head=True) as hidden:
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return bool(hidden) and torch.equal(logits[0], head(hidden[0]))


def _losses_among(
    hidden: "torch.Tensor", weight: "torch.Tensor", tokens: "torch.Tensor", words: "torch.Tensor"
) -> "torch.Tensor":
    """Compute −log p of tokens (n,) after hidden states (n, H), among some words and the token itself: (n,) float32."""
    import torch

    rivals = (hidden @ weight[words].T).float()
    logits = (hidden.float() * weight[tokens].float()).sum(dim=1)
    place = torch.searchsorted(words, tokens).clamp(max=len(words) - 1)
    known = words[place] == tokens
    total = rivals.logsumexp(dim=1)
    return torch.where(known, total, torch.logaddexp(total, logits)) - torch.where(
        known, rivals.gather(1, place[:, None])[:, 0], logits
    )


@contextmanager
def _hidden_at(head: "nn.Module", chosen: "torch.Tensor", *, run_head: bool) -> "Iterator[list[torch.Tensor]]":
    """Let the output head of a model see the given positions (B, T) alone, as one row of them, and collect these.

    :param run_head: ``False`` lets it return them as they are.
    """
    collected: list[torch.Tensor] = []

    def select(_: "nn.Module", args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if args[0].shape[:2] != chosen.shape:
            return None
        collected.append(args[0][chosen])
        return (collected[0][None], *args[1:])

    handle = head.register_forward_pre_hook(select)
    if not run_head:
        head.forward = lambda hidden: hidden
    try:
        yield collected
    finally:
        handle.remove()
        head.__dict__.pop("forward", None)


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
