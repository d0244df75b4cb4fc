"""Training of a TopK sparse autoencoder where none exists for a model (Gao et al. 2024, arXiv 2406.04093).

Minimises ‖x − x̂‖² + α·‖e − ê‖² with e = x − x̂, and ê its reconstruction by the latents that have not fired for long
(auxiliary loss), so that these come back to life. Decoder rows have unit length; encoder rows start as copies of them.
Activations are first centred on their geometric median and scaled by their median distance from it; both are folded
into the weights in the end. Tokens ten times as far away, such as attention sinks, are not trained on.

Implemented here because sparsify depends on accelerate, datasets and schedulefree, and SAELens on transformer-lens and
plotly.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.sae.autoencoder import SparseAutoencoder
from nait_index.activations.sae.sites import SaeSite
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

_HELD_OUT = 0.05
_SAMPLE = 20_000
# Attention sinks are a hundred times as far from the centre as other tokens; nothing else is nearly as far.
_FAR = 10.0
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class SaeSettings:
    """Shape of a sparse autoencoder, and how it is trained.

    :param latents: their number; ``None`` is 8 times the width of the activations. :param k: latents kept per token.
    :param tokens: most to train on; each is seen ``passes`` times. :param batch: tokens of a step.
    :param learning_rate: of Adam; ``None`` is 3·10⁻³ at 2,048 latents, and falls with the square root of their number.
    :param dead_after: number of tokens without firing after which a latent is dead.
    :param aux_weight: α, the weight of the auxiliary loss.
    """

    latents: int | None = None
    k: int = 32
    tokens: int = 500_000
    passes: int = 4
    batch: int = 512
    learning_rate: float | None = None
    dead_after: int = 50_000
    aux_weight: float = 1 / 32
    seed: int = 0

    def __post_init__(self) -> None:
        latents = self.k if self.latents is None else self.latents
        if not 1 <= self.k <= latents:
            raise ModelError(f"--k {self.k} must be at least 1 and at most the number of latents ({latents})")
        if min(self.tokens, self.passes, self.batch, self.dead_after) < 1:
            raise ModelError("--tokens, passes and batch must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise ModelError(f"--seed must be from 0 to 2^63 - 1, not {self.seed}")


@dataclass(frozen=True, slots=True)
class SaeReport:
    """The result of a training.

    :param left_out: number of tokens too far from the centre.
    :param unexplained: Σ‖x − x̂‖² / Σ‖x − mean‖² over held-out tokens, 0 if everything is explained; to 4 decimals.
    :param dead_share: share of latents that fired on no token of the last pass.
    """

    tokens: int
    held_out: int
    left_out: int
    steps: int
    unexplained: float
    dead_share: float
    seconds: float


def train_on(
    tokens: np.ndarray,
    site: SaeSite,
    settings: SaeSettings,
    device: "torch.device | str" = "cpu",
    advance: Callable[[int, int], None] = lambda step, steps: None,
) -> tuple[SparseAutoencoder, SaeReport]:
    """Train on activations (m, H) float32 of a site; the same tokens and settings give the same weights on one machine.

    :param advance: called after each step, with its number and the number of all steps.
    :raises ModelError: there are too few tokens, or they are all the same.
    """
    started = time.perf_counter()
    order = np.random.default_rng(settings.seed).permutation(len(tokens))
    if len(order) < 40:
        raise ModelError(f"{len(tokens)} tokens are too few to train a sparse autoencoder on")
    center, scale = _spread(tokens[order[:_SAMPLE]])
    order = order[_near(tokens, center, scale)[order]]
    held, rest = np.split(order, [max(1, int(len(order) * _HELD_OUT))])
    trainer = _SaeTrainer(settings, center, scale, device)
    steps = settings.passes * -(-len(rest) // settings.batch)
    for step, rows in enumerate(_batches(rest, settings), start=1):
        trainer.step(tokens[rows], _pace(step / steps))
        advance(step, steps)
    sae = SparseAutoencoder.of(site, trainer.weights(), k=settings.k)
    dead = float((trainer.silent >= len(rest)).float().mean())
    # Rounded, since the last digits depend on how many threads there are, and the report is compared.
    unexplained = round(unexplained_share(sae, tokens[held], settings.batch), 4)
    counts = (len(rest), len(held), len(tokens) - len(order), steps)
    return sae, SaeReport(*counts, unexplained, dead, time.perf_counter() - started)


def _spread(sample: np.ndarray) -> tuple[np.ndarray, float]:
    """Estimate where activations lie, robustly against a few outliers, on some tokens (m, H).

    :returns: the centre c (H,) float32, the geometric median by Weiszfeld's iteration; and the scale s, the median
        distance from it divided by √H.
    :raises ModelError: the tokens are all the same.
    """
    center = np.median(sample, axis=0)
    for _ in range(20):
        weights = 1 / np.maximum(np.linalg.norm(sample - center, axis=1), 1e-6)
        center = (weights @ sample) / weights.sum()
    scale = float(np.median(np.linalg.norm(sample - center, axis=1))) / sample.shape[1] ** 0.5
    if not scale > 0:
        raise ModelError("the activations are all the same; a sparse autoencoder cannot be trained on them")
    return center.astype(np.float32), scale


def _near(tokens: np.ndarray, center: np.ndarray, scale: float) -> np.ndarray:
    """Mark the tokens (m,) bool that lie within ten times the median distance."""
    limit = _FAR * scale * tokens.shape[1] ** 0.5
    chunks = (tokens[start : start + _CHUNK] for start in range(0, len(tokens), _CHUNK))
    return np.concatenate([np.linalg.norm(chunk - center, axis=1) < limit for chunk in chunks])


class _SaeTrainer:
    """The weights during the training, on centred and scaled activations x = (h − c)/s."""

    def __init__(self, settings: SaeSettings, center: np.ndarray, scale: float, device: "torch.device | str") -> None:
        import torch

        width = len(center)
        latents = settings.latents or 8 * width
        if settings.k > latents:
            raise ModelError(f"--k {settings.k} is more than the {latents} latents")
        generator = torch.Generator().manual_seed(settings.seed)
        rows = torch.nn.functional.normalize(torch.randn(latents, width, generator=generator)).to(device)
        self._settings, self._scale = settings, scale
        self._center = torch.from_numpy(center).to(device)
        self._decoder, self._encoder = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        self._bias = torch.zeros(latents, device=device, requires_grad=True)
        self._shift = torch.zeros(width, device=device, requires_grad=True)
        parameters = [self._decoder, self._encoder, self._bias, self._shift]
        self._rate = settings.learning_rate or 3e-3 * (2048 / latents) ** 0.5
        self._optimizer = torch.optim.Adam(parameters, lr=self._rate)
        self.silent = torch.zeros(latents, dtype=torch.int64, device=device)

    def step(self, tokens: np.ndarray, pace: float) -> None:
        """Make one step on activations (m, H), with a share ``pace`` of the learning rate."""
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
        """Compute the loss of the strongest dead latents, which reconstruct the error of the others."""
        dead = self.silent >= self._settings.dead_after
        count, most = int(dead.sum()), max(1, error.shape[1] // 2)
        if not count:
            return 0.0
        values, numbers = before.masked_fill(~dead, float("-inf")).topk(min(count, most), dim=1)
        return min(1.0, count / most) * (error - self._decode(numbers, values)).square().mean()

    def _decode(self, numbers: "torch.Tensor", values: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import embedding_bag

        # The ReLU is applied to the kept latents only: the largest are the same before it and after it.
        return embedding_bag(numbers, self._decoder, per_sample_weights=values.relu(), mode="sum")

    def weights(self) -> dict[str, "torch.Tensor"]:
        """Return the weights for unscaled activations h; codes grow by s, so that decoder rows keep unit length."""
        bias = self._center + self._scale * self._shift
        tensors = {
            "encoder": self._encoder,
            "encoder_bias": self._scale * self._bias,
            "decoder": self._decoder,
            "pre_bias": bias,
            "decoder_bias": bias,
        }
        return {name: tensor.detach() for name, tensor in tensors.items()}


def _batches(rows: np.ndarray, settings: SaeSettings) -> Iterator[np.ndarray]:
    """Yield the batches of all passes, each pass in a new random order."""
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.passes):
        order = rng.permutation(rows)
        yield from (order[start : start + settings.batch] for start in range(0, len(order), settings.batch))


def _pace(done: float) -> float:
    """Compute the share of the learning rate after a share of all steps: warm-up over 5 %, decay over the last 25 %."""
    return min(1.0, 20 * done, 0.02 + 4 * (1 - done))


def unexplained_share(sae: SparseAutoencoder, tokens: np.ndarray, batch: int) -> float:
    """Compute Σ‖x − x̂‖² / Σ‖x − mean‖² over tokens (m, H), batch by batch."""
    import torch

    left = 0.0
    for start in range(0, len(tokens), batch):
        hidden = torch.from_numpy(tokens[start : start + batch]).to(sae.encoder.device)
        left += float((hidden - sae.decode(*sae.encode(hidden))).double().square().sum())
    return left / max(float(np.square(tokens - tokens.mean(axis=0)).sum(dtype=np.float64)), 1e-12)
