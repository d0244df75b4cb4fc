"""Token activations to one vector a sample: mean and drift, over the sample's own tokens and no padding."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class TokenSpan:
    """Which positions of a padded (B, T) batch are each sample's own tokens: one unbroken run a row.

    :param mask: (B, T), 1 for a sample's own token, 0 for padding.
    """

    def __init__(self, mask: "torch.Tensor") -> None:
        import torch

        self.batch, self.length = mask.shape
        self.tokens = self.batch * self.length
        counts = mask.sum(dim=1)
        self._first = mask.argmax(dim=1)
        self._last = self._first + counts - 1
        self._mask = mask
        self._counts = counts.to(torch.float32)[:, None]
        self._rows = torch.arange(self.batch, device=mask.device)

    def pool(self, neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Pool one layer.

        :param neurons: (B, T, N) activations.
        :param out: (B, 2, N) float32, overwritten: mean (1/T)·Σ_t a(t), then drift a(T) − a(1).
        """
        import torch

        # A batched vector-matrix product reads the activations once and makes no masked copy of them; ones and zeros
        # are exact in every dtype, so the division comes after, in float32.
        total = torch.bmm(self._mask[:, None, :].to(neurons.dtype), neurons)[:, 0]
        out[:, 0] = total.float() / self._counts
        out[:, 1] = neurons[self._rows, self._last].float() - neurons[self._rows, self._first].float()

    def pool_tokens(self, tokens: "torch.Tensor", neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Add the share of some tokens only, as a mixture-of-experts layer gives them.

        :param tokens: (m,) position of each token in the flattened batch, b·T + t.
        :param neurons: (m, N) their activations.
        :param out: (B, 2, N) float32, added to.
        """
        neurons = neurons.float()
        rows, positions = tokens // self.length, tokens % self.length
        out[:, 0].index_add_(0, rows, neurons * (self._mask[rows, positions, None] / self._counts[rows]))
        is_last = positions == self._last[rows]
        out[:, 1].index_add_(0, rows[is_last], neurons[is_last])
        is_first = positions == self._first[rows]
        out[:, 1].index_add_(0, rows[is_first], -neurons[is_first])
