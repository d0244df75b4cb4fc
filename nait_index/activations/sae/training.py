"""Training of a TopK sparse autoencoder where none exists for a model (Gao et al. 2024, arXiv 2406.04093).

Minimises ‖x − x̂‖² + α·‖e − ê‖² with e = x − x̂, and ê its reconstruction by the latents that have not fired for long
(auxiliary loss), so that these come back to life. Decoder rows have unit length; encoder rows begin as decoder rows.
Activations are first centred on their geometric median and scaled by their median distance from it; both are folded
into the weights in the end. Tokens that lie ten times as far off, such as attention sinks, are not trained on.

Own code, since sparsify brings accelerate, datasets and schedulefree along, and SAELens transformer-lens and plotly.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.sae.autoencoder import SaeSite, SparseAutoencoder
from nait_index.activations.sae.scaling import Spread
from nait_index.activations.sae.settings import SaeReport, SaeSettings
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

_HELD_OUT = 0.05
_SAMPLE = 20_000


def train_on(
    tokens: np.ndarray,
    site: SaeSite,
    settings: SaeSettings,
    device: "torch.device | str" = "cpu",
    advance: Callable[[int, int], None] = lambda step, steps: None,
) -> tuple[SparseAutoencoder, SaeReport]:
    """Train on activations (m, H) float32 of a site; the same tokens and settings give the same weights on one machine.

    :param advance: told the number of the step and of all steps.
    :raises ModelError: there are too few tokens, or they are all the same.
    """
    started = time.perf_counter()
    order = np.random.default_rng(settings.seed).permutation(len(tokens))
    if len(order) < 40:
        raise ModelError(f"{len(tokens)} tokens are too few to train a sparse autoencoder on")
    spread = Spread.of(tokens[order[:_SAMPLE]])
    order = order[spread.near(tokens)[order]]
    held, rest = np.split(order, [max(1, int(len(order) * _HELD_OUT))])
    trainer = _Trainer(tokens.shape[1], settings, spread, device)
    steps = settings.passes * -(-len(rest) // settings.batch)
    for step, rows in enumerate(_batches(rest, settings), start=1):
        trainer.step(tokens[rows], _pace(step / steps))
        advance(step, steps)
    sae = SparseAutoencoder.of(site, trainer.weights(), k=settings.k)
    dead = float((trainer.silent >= len(rest)).float().mean())
    unexplained = unexplained_share(sae, tokens[held], settings.batch)
    counts = (len(rest), len(held), len(tokens) - len(order), steps)
    return sae, SaeReport(*counts, unexplained, dead, time.perf_counter() - started)


class _Trainer:
    """The weights while they are trained, on centred and scaled activations x = (h − c)/s."""

    def __init__(self, width: int, settings: SaeSettings, spread: Spread, device: "torch.device | str") -> None:
        import torch

        latents = settings.latents or 8 * width
        if settings.k > latents:
            raise ModelError(f"--k {settings.k} is more than the {latents} latents")
        generator = torch.Generator().manual_seed(settings.seed)
        rows = torch.nn.functional.normalize(torch.randn(latents, width, generator=generator)).to(device)
        self._settings, self._scale = settings, spread.scale
        self._center = torch.from_numpy(spread.center).to(device)
        self._decoder, self._encoder = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        self._bias = torch.zeros(latents, device=device, requires_grad=True)
        self._shift = torch.zeros(width, device=device, requires_grad=True)
        own = [self._decoder, self._encoder, self._bias, self._shift]
        self._rate = settings.learning_rate or 3e-3 * (2048 / latents) ** 0.5
        self._optimizer = torch.optim.Adam(own, lr=self._rate)
        self.silent = torch.zeros(latents, dtype=torch.int64, device=device)

    def step(self, tokens: np.ndarray, pace: float) -> None:
        """Learn from activations (m, H); ``pace`` is the share of the learning rate."""
        import torch
        from torch.nn.functional import linear, normalize

        x = (torch.from_numpy(tokens).to(self._center.device) - self._center) / self._scale
        before = linear(x - self._shift, self._encoder, self._bias)
        values, numbers = before.topk(self._settings.k, dim=1)
        error = x - self._shift - self._decode(numbers, values)
        loss = error.square().mean() + self._settings.aux_weight * self._auxiliary(before, error.detach())
        self._optimizer.param_groups[0]["lr"] = self._rate * pace
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            self._decoder.copy_(normalize(self._decoder))
            self.silent += len(x)
            self.silent[numbers[values > 0]] = 0

    def _auxiliary(self, before: "torch.Tensor", error: "torch.Tensor") -> Any:  # noqa: ANN401 - tensor, or 0
        """Let the strongest dead latents reconstruct what the living ones left over."""
        dead = self.silent >= self._settings.dead_after
        count, most = int(dead.sum()), max(1, error.shape[1] // 2)
        if not count:
            return 0.0
        values, numbers = before.masked_fill(~dead, float("-inf")).topk(min(count, most), dim=1)
        return min(1.0, count / most) * (error - self._decode(numbers, values)).square().mean()

    def _decode(self, numbers: "torch.Tensor", values: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import embedding_bag

        # The ReLU comes here, over the few kept: the largest are the same before it and after.
        return embedding_bag(numbers, self._decoder, per_sample_weights=values.relu(), mode="sum")

    def weights(self) -> dict[str, "torch.Tensor"]:
        """Give the weights for activations h as they are; codes grow by s, so that decoder rows stay of unit length."""
        bias = self._center + self._scale * self._shift
        own = {"encoder": self._encoder, "encoder_bias": self._scale * self._bias, "decoder": self._decoder}
        return {name: tensor.detach() for name, tensor in {**own, "pre_bias": bias, "decoder_bias": bias}.items()}


def _batches(rows: np.ndarray, settings: SaeSettings) -> Iterator[np.ndarray]:
    """Shuffle anew for every pass."""
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.passes):
        own = rng.permutation(rows)
        yield from (own[start : start + settings.batch] for start in range(0, len(own), settings.batch))


def _pace(done: float) -> float:
    """Give the share of the learning rate after a share of all steps: warm-up over 5 %, decay over the last 25 %."""
    return min(1.0, 20 * done, 0.02 + 4 * (1 - done))


def unexplained_share(sae: SparseAutoencoder, tokens: np.ndarray, batch: int) -> float:
    """Give Σ‖x − x̂‖² / Σ‖x − mean‖² over tokens (m, H), a batch of them at a time."""
    import torch

    left = 0.0
    for start in range(0, len(tokens), batch):
        hidden = torch.from_numpy(tokens[start : start + batch]).to(sae.encoder.device)
        left += float((hidden - sae.decode(*sae.encode(hidden))).double().square().sum())
    return left / max(float(np.square(tokens - tokens.mean(axis=0)).sum(dtype=np.float64)), 1e-12)
