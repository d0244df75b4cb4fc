"""A loaded model with its tokenizer, and how it takes its inputs."""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import BatchRule, pad
from nait_index.config import PaddingSide

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model with its tokenizer, frozen and in evaluation mode.

    :param name: folder or hub name, as given.
    :param module: the bare transformer, or a causal language model with its head.
    :param positions: longest input in tokens that the model can read, or ``None`` where it sets no limit.
    :param first_position: position that its table assigns to a text's first token.
    :param vocabulary: number of tokens that the model has an embedding for, or ``None`` where it has no such table.
    :param weights_hash: of every parameter as loaded; :param config_hash: of ``config.json``;
        :param tokenizer_hash: of vocabulary, merges and normalisation; 32 hex digits each.
    """

    name: str
    module: "nn.Module"
    tokenizer: Any
    model_type: str
    device: "torch.device"
    dtype: "torch.dtype"
    positions: int | None
    first_position: int
    vocabulary: int | None
    weights_hash: str
    config_hash: str
    tokenizer_hash: str

    @property
    def parameters(self) -> int:
        """Number of parameters, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def is_mixture(self) -> bool:
        """Whether some layer sends each token to a few of its experts."""
        return any(re.search(r"(^|\.)experts$", path) for path, _ in self.module.named_modules())

    def batch_rule(self, tokens: int, side: PaddingSide = PaddingSide.RIGHT) -> BatchRule:
        """Make the rule that the model is tried with first.

        :param tokens: most tokens of a batch. :param side: the side that is padded.
        """
        full = str(self.dtype) == "torch.float32"
        remedy = "name another model with --model" if full else "try --dtype float32, or another model"
        return BatchRule(self.name, remedy, tokens, side=side)

    def takes(self, argument: str) -> bool:
        """Report whether the forward pass takes a keyword argument."""
        return argument in inspect.signature(self.module.forward).parameters

    def inputs(
        self, texts: Sequence[np.ndarray], token: int = 0, side: PaddingSide = PaddingSide.RIGHT
    ) -> dict[str, Any]:
        """Pad texts as :func:`pad` does, and return the keyword arguments of a forward pass, (B, T) each."""
        import torch

        ids, mask = (torch.from_numpy(array).to(self.device) for array in pad(texts, token, side))
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if side is PaddingSide.LEFT and self.takes("position_ids"):
            inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0) + self.first_position
        if self.takes("use_cache"):  # a cache of keys and values would take memory, and nothing reads it
            inputs["use_cache"] = False
        return inputs


def first_position_of(body: "nn.Module") -> int:
    """Find the first position: after the padding row of a position table (RoBERTa, MPNet), or 0 if it has none."""
    from torch import nn

    for path, module in body.named_modules():
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return module.padding_idx + 1
    return 0


def longest_input_of(settings: Any, tokenizer: Any, first: int) -> int | None:  # noqa: ANN401
    """Find the longest readable input: the smaller of the limits of position table and tokenizer."""
    text = settings.get_text_config() if hasattr(settings, "get_text_config") else settings
    limits = []
    table = getattr(text, "max_position_embeddings", None)
    if isinstance(table, int) and table > 0:
        limits.append(table - first)
    if isinstance(tokenizer.model_max_length, int) and 0 < tokenizer.model_max_length < 10**9:
        limits.append(tokenizer.model_max_length)
    return min(limits) if limits else None


def embeddings_of(module: "nn.Module") -> "torch.Tensor | None":
    """Return the table of the tokens' embeddings, or ``None`` for a model without one, as of characters."""
    try:
        return getattr(module.get_input_embeddings(), "weight", None)  # type: ignore[operator]  # a transformers model
    except NotImplementedError:
        return None
