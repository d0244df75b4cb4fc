"""Token activations to one vector per sample: mean and drift over the sample's tokens, never over padding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def is_on(tensor: "torch.Tensor", device: "torch.device") -> bool:
    """Report whether a tensor is on a device, and need not be copied to it."""
    return tensor.device == device


@contextmanager
def lent(part: "torch.Tensor", device: "torch.device") -> "Iterator[torch.Tensor]":
    """Yield a part of a buffer where a layer computes: itself, or a copy on that device, which is copied back."""
    if is_on(part, device):
        yield part
        return
    there = part.to(device, copy=True)
    yield there
    part.copy_(there)


class TokenSpan:
    """Which positions of a padded (B, T) batch are the samples' tokens: one contiguous run in each row.

    :param mask: (B, T), 1 for a token, 0 for padding.
    """

    def __init__(self, mask: "torch.Tensor") -> None:
        import torch

        self.mask = mask
        self.batch, self.length = mask.shape
        self.tokens = self.batch * self.length
        counts = mask.sum(dim=1)
        self._first = mask.argmax(dim=1)
        self._last = self._first + counts - 1
        self._counts = counts.float()[:, None]
        self._rows = torch.arange(self.batch, device=mask.device)
        self._copies: dict[torch.device, TokenSpan] = {}

    def on(self, device: "torch.device") -> "TokenSpan":
        """Return the same span on the device of a layer, where a model is split over several."""
        if is_on(self.mask, device):
            return self
        if device not in self._copies:
            self._copies[device] = self._copied(device)
        return self._copies[device]

    def _copied(self, device: "torch.device") -> "TokenSpan":
        return TokenSpan(self.mask.to(device))

    def buffer(self, width: int) -> "torch.Tensor":
        """Allocate the pooled activations of the batch: (B, 2, D) float32 zeros."""
        return self._counts.new_zeros(self.batch, 2, width)

    def mean(self, values: "torch.Tensor") -> "torch.Tensor":
        """Average (B, T, N) values over each sample's tokens: (B, N) float32."""
        import torch

        # A batched vector-matrix product reads the activations once, without a masked copy. Ones and zeros are exact in
        # every dtype; the division follows in float32.
        weights, counts = self.mask[:, None, :].to(values.dtype), self._counts
        if values.dtype == torch.float16:  # a sum of many tokens overflows; a power of two scales it exactly
            scales = (-self._counts.log2().ceil()).exp2().to(values.dtype)
            weights, counts = weights * scales[:, :, None], self._counts * scales.float()
        return weights.bmm(values)[:, 0].float() / counts

    def weighted_mean(self, values: "torch.Tensor") -> "torch.Tensor":
        """Average (B, T, N) values weighted by position, Σ_t t·v(t) / Σ_t t with t from 1: (B, N) float32."""
        weights = (self.mask.cumsum(dim=1) * self.mask).float()
        return weights[:, None, :].bmm(values.float())[:, 0] / weights.sum(dim=1, keepdim=True)

    def pool(self, neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Pool one layer.

        :param neurons: (B, T, N) activations.
        :param out: (B, 2, N) float32, overwritten: mean (1/T)·Σ_t a(t), then drift a(T) − a(1).
        """
        out[:, 0] = self.mean(neurons)
        out[:, 1] = neurons[self._rows, self._last].float() - neurons[self._rows, self._first].float()

    def pool_tokens(self, tokens: "torch.Tensor", neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Add the contribution of some tokens only, as a mixture-of-experts layer computes them.

        :param tokens: (m,) position of each token in the flattened batch, b·T + t.
        :param neurons: (m, N) their activations.
        :param out: (B, 2, N) float32, added to.
        """
        neurons = neurons.float()
        rows, positions = tokens // self.length, tokens % self.length
        self.add_mean(tokens, neurons, out[:, 0])
        is_last = positions == self._last[rows]
        out[:, 1].index_add_(0, rows[is_last], neurons[is_last])
        is_first = positions == self._first[rows]
        out[:, 1].index_add_(0, rows[is_first], -neurons[is_first])

    def add_mean(self, tokens: "torch.Tensor", values: "torch.Tensor", out: "torch.Tensor") -> None:
        """Add the contribution of some tokens to the mean.

        :param tokens: (m,) position of each token in the flattened batch; :param values: (m, N).
        :param out: (B, N) float32, added to.
        """
        rows, positions = tokens // self.length, tokens % self.length
        out.index_add_(0, rows, values.float() * (self.mask[rows, positions, None] / self._counts[rows]))


class TokenScores(TokenSpan):
    """What each token of one sample adds to an inner product with its pooled activations.

    Every token adds a T-th of its activation to the mean; the last adds its activation to the drift, and the first
    subtracts it. Activations are multiplied as they pass, and none are kept.

    :param direction: (2, D) float64, the vector that mean and drift are multiplied with.
    """

    def __init__(self, mask: "torch.Tensor", direction: "torch.Tensor") -> None:
        super().__init__(mask)
        assert self.batch == 1
        self._direction = direction
        self._sums = direction.new_zeros(self.length)

    @property
    def values(self) -> "torch.Tensor":
        """(T,) float64, of the layers of all devices."""
        parts = [copy.values.to(self._sums.device) for copy in self._copies.values() if isinstance(copy, TokenScores)]
        return sum(parts, self._sums)

    def _copied(self, device: "torch.device") -> "TokenSpan":
        return TokenScores(self.mask.to(device), self._direction.to(device))

    def buffer(self, width: int) -> "torch.Tensor":
        """Return the direction (1, 2, D) in place of the pooled activations: it is read, and nothing is written."""
        return self._direction[None]

    def pool(self, neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Multiply one layer (1, T, N) by its part of the direction (1, 2, N)."""
        activations, (mean, drift) = neurons[0].to(out.dtype), out[0]
        self._sums += activations @ mean / self.length
        self._sums[-1] += activations[-1] @ drift
        self._sums[0] -= activations[0] @ drift

    def pool_tokens(self, tokens: "torch.Tensor", neurons: "torch.Tensor", out: "torch.Tensor") -> None:
        """Multiply some tokens only, as a mixture-of-experts layer computes them; a token may occur several times."""
        activations, (mean, drift) = neurons.to(out.dtype), out[0]
        self._sums.index_add_(0, tokens, activations @ mean / self.length)
        for position, sign in ((self.length - 1, 1), (0, -1)):
            self._sums[position] += sign * (activations[tokens == position].sum(dim=0) @ drift)
