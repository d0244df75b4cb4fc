"""The loss that a model is trained with: how badly it predicts every token from those before it.

    ℓ = −(1/|S|) Σ_{t ∈ S} log p(token t | tokens before t)          natural logarithm

S are the tokens that count: all but the first, or those from a given one on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nait_index.activations.padding import pad
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Target:
    """A text and which of its tokens count.

    :param ids: (T,) int64 token ids. :param start: first token that counts, from 1 to T − 1.
    """

    ids: np.ndarray
    start: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded texts. Padding is on the right, where no token of a causal model sees it.

    :param ids: (B, T) int64. :param mask: (B, T) int64, 1 for a text's own token.
    :param counts: (B, T) bool, whether a token's prediction is part of the loss.
    """

    ids: "torch.Tensor"
    mask: "torch.Tensor"
    counts: "torch.Tensor"

    @classmethod
    def of(cls, targets: Sequence[Target], device: "torch.device") -> "Batch":
        """Pad with token 0: any token does."""
        import torch

        ids, mask = pad([target.ids for target in targets])
        starts = np.array([target.start for target in targets])[:, None]
        counts = (mask == 1) & (np.arange(mask.shape[1]) >= starts)
        return cls(*(torch.from_numpy(array).to(device) for array in (ids, mask, counts)))

    @property
    def shape(self) -> tuple[int, int]:
        """(B, T)."""
        return self.ids.shape[0], self.ids.shape[1]


def refuse_large(row: int, error: Exception) -> NoReturn:
    """Refuse the text whose gradient does not fit into memory even alone.

    :raises ModelError: always.
    """
    raise ModelError("out of memory on the gradient of a single text; lower --max-length") from error


def sample_losses(model: Any, batch: Batch) -> "torch.Tensor":  # noqa: ANN401 - a transformers model
    """Compute ℓ of every sample: (B,) float32, differentiable."""
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    # Not the logits but the tokens are shifted, and the last of them comes first: a copy of the logits less.
    following = batch.ids.roll(-1, dims=1)
    counts = batch.counts.roll(-1, dims=1)
    losses = cross_entropy(logits.float().flatten(0, 1), following.flatten(), reduction="none")
    return (losses.view(batch.shape) * counts).sum(dim=1) / counts.sum(dim=1)
