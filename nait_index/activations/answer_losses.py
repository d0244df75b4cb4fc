"""What a causal model predicts at the tokens of answers, each given those before it.

Only these positions pass through the output head: over all of them, logits would be by far the largest tensor. With a
large vocabulary, the head costs more than all layers of a small model all the same; so p may be taken over some of its
words alone, which then are the only rivals of the token that is to be predicted:

    −log p(y) = log(exp z_y + Σ_{w ∈ W, w ≠ y} exp z_w) − z_y      z the logits
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import AnswerTokens, pad

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """Padded texts. Padding is on the right, where no token of a causal model sees it.

    :param ids: (B, T) int64. :param mask: (B, T) int64, 1 for a token, 0 for padding.
    :param counts: (B, T) bool, whether a token's prediction is part of the loss; never the first of a text.
    """

    ids: "torch.Tensor"
    mask: "torch.Tensor"
    counts: "torch.Tensor"

    @classmethod
    def of(cls, texts: Sequence[AnswerTokens], device: "torch.device") -> "AnswerBatch":
        """Pad texts with token 0; any token would do."""
        import torch

        ids, mask = pad([text.ids for text in texts])
        counts = np.zeros(mask.shape, dtype=bool)
        for row, text in enumerate(texts):
            counts[row, : len(text.ids)] = text.counts
        return cls(*(torch.from_numpy(array).to(device) for array in (ids, mask, counts)))

    @property
    def samples(self) -> "torch.Tensor":
        """(m,) int64, which text each token that counts is from."""
        return self.counts.nonzero()[:, 0]


@dataclass(frozen=True, slots=True)
class AnswerLogits:
    """The logits at the m tokens that count, float32.

    :param token: (m,) of the token itself. :param rivals: (m, R) of the words that it is predicted among.
    :param is_among: (m,) bool, whether the token is one of these.
    """

    token: "torch.Tensor"
    rivals: "torch.Tensor"
    is_among: "torch.Tensor"

    def losses(self) -> "torch.Tensor":
        """Return −log p of every token: (m,)."""
        import torch

        total = self.rivals.logsumexp(dim=1)
        return torch.where(self.is_among, total, torch.logaddexp(total, self.token)) - self.token

    def likeliest(self) -> "torch.Tensor":
        """Return whether each token is the likeliest: (m,) bool."""
        return self.token >= self.rivals.amax(dim=1)


def answer_logits(model: Any, batch: AnswerBatch, words: "torch.Tensor | None" = None) -> AnswerLogits:  # noqa: ANN401
    """Run a batch and return the logits at the tokens of its answers, differentiable.

    :param model: a transformers model.
    :param words: (W,) int64 sorted, the rivals of each token; ``None`` for the whole vocabulary. The logits must be the
        plain products of hidden states and the head's weights then, see :func:`has_plain_head`.
    """
    import torch

    # The token before each token that counts predicts it.
    before, tokens = batch.counts.roll(-1, dims=1), batch.ids[batch.counts]
    head = model.get_output_embeddings()
    with _hidden_at(head, before, run_head=words is None) as hidden:
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    if words is None:
        rivals = (logits[0] if hidden else logits[before]).float()
        return AnswerLogits(rivals.gather(1, tokens[:, None])[:, 0], rivals, torch.ones_like(tokens, dtype=torch.bool))
    rivals = (hidden[0] @ head.weight[words].T).float()
    place = torch.searchsorted(words, tokens).clamp(max=len(words) - 1)
    is_among = words[place] == tokens
    apart = (hidden[0].float() * head.weight[tokens].float()).sum(dim=1)
    return AnswerLogits(torch.where(is_among, rivals.gather(1, place[:, None])[:, 0], apart), rivals, is_among)


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
