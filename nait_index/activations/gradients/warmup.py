"""A short training of the adapters, which makes their gradients informative and yields Adam's moments for them.

As in LESS (section 3.1 and the authors' scripts): Adam (Kingma & Ba, ICLR 2015, arXiv 1412.6980) on a random share of
the corpus, with a learning rate that rises for the first 3 % of the steps and then falls to zero in a straight line; a
step's loss is the mean over its texts. Gradients are taken at the ends of equal parts of the training, its checkpoints,
and each counts by the mean learning rate of its part.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.answer_losses import AnswerBatch
from nait_index.activations.batches import AnswerTokens, BatchRule, run_batches
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.per_sample import sample_losses
from nait_index.errors import ModelError, StoreError

if TYPE_CHECKING:
    import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8
_RISE = 0.03
_WORDS = "words"
_KINDS = ("weights", "first", "second")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One point of a warm-up: float32 arrays by the path of a weight.

    :param weights: of the adapters. :param first: m, Adam's running mean of the gradients, without bias correction;
        :param second: v, that of their squares.
    :param share: η, its weight in a score; those of a warm-up sum to 1.
    """

    weights: Mapping[str, np.ndarray]
    first: Mapping[str, np.ndarray]
    second: Mapping[str, np.ndarray]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Warmup:
    """The result of a warm-up.

    :param steps: number of steps made. :param words: (W,) int64 that tokens are predicted among; empty for all.
    """

    checkpoints: tuple[Checkpoint, ...]
    steps: int
    words: np.ndarray


def warm_up(
    model: Any,  # noqa: ANN401 - a transformers model
    adapters: Adapters,
    texts: Sequence[AnswerTokens],
    settings: GradientSettings,
    rule: BatchRule,
    words: np.ndarray,
) -> Warmup:
    """Train the adapters in place; the result is the same for the same texts and settings.

    A step whose gradient is not finite is skipped.

    :param rule: which texts are run together, and how many; it affects no number.
    :param words: (W,) int64 that tokens are predicted among; empty for all.
    :raises ModelError: no step could be made.
    """
    import torch

    weights = adapters.parameters
    rates, ends = learning_rates(settings), part_ends(settings)
    shares = [float(part.mean()) for part in np.split(rates, ends[:-1])]
    optimizer = torch.optim.Adam(weights.values(), lr=settings.learning_rate, betas=BETAS, eps=EPSILON)
    steps, checkpoints = 0, []
    for number, rows in enumerate(_schedule(len(texts), settings), start=1):
        _set_gradients(model, weights, [texts[row] for row in rows], rule, words)
        if all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in weights.values()):
            for group in optimizer.param_groups:
                group["lr"] = rates[number - 1]
            optimizer.step()
            steps += 1
        if number in ends and steps:
            share = shares[ends.index(number)] / sum(shares)
            checkpoints.append(_checkpoint(adapters, optimizer, share))
    optimizer.zero_grad()
    if len(checkpoints) < len(ends):
        raise ModelError("the adapters cannot be warmed up: the model's gradients are not finite, or there is no text")
    return Warmup(tuple(checkpoints), steps, words)


def learning_rates(settings: GradientSettings) -> np.ndarray:
    """Return the learning rate of every step (s,)."""
    steps = settings.warmup_steps
    rise = max(1, round(_RISE * steps))
    number = np.arange(steps)
    return settings.learning_rate * np.minimum((number + 1) / rise, (steps - number) / max(1, steps - rise))


def part_ends(settings: GradientSettings) -> list[int]:
    """Return after how many steps each checkpoint is taken."""
    count = settings.checkpoints
    return [settings.warmup_steps * (part + 1) // count for part in range(count)]


def _checkpoint(adapters: Adapters, optimizer: "torch.optim.Adam", share: float) -> Checkpoint:
    first, second = (
        {name: optimizer.state[weight][key].cpu().numpy().copy() for name, weight in adapters.parameters.items()}
        for key in ("exp_avg", "exp_avg_sq")
    )
    return Checkpoint(adapters.weights(), first, second, share)


def _schedule(count: int, settings: GradientSettings) -> Iterator[np.ndarray]:
    """Yield the texts of every step: all of them in a random order, then again in another, and so on."""
    rng = np.random.default_rng(settings.seed)
    size = min(count, settings.warmup_batch)
    waiting = np.zeros(0, dtype=np.int64)
    for _ in range(settings.warmup_steps if count else 0):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:size]
        waiting = waiting[size:]


def _set_gradients(
    model: Any,  # noqa: ANN401 - a transformers model
    weights: "Mapping[str, torch.Tensor]",
    texts: Sequence[AnswerTokens],
    rule: BatchRule,
    words: np.ndarray,
) -> None:
    """Set the gradient of the mean loss, summed over as many passes as memory requires."""
    import torch

    device = next(iter(weights.values())).device
    among = torch.from_numpy(words).to(device) if len(words) else None

    def forward(rows: np.ndarray) -> "tuple[torch.Tensor, ...]":
        batch = AnswerBatch.of([texts[row] for row in rows], device)
        total = sample_losses(model, batch, among).sum() / len(texts)
        return torch.autograd.grad(total, list(weights.values()), materialize_grads=True)

    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    for parts in run_batches(np.array([len(text.ids) for text in texts]), rule, forward):
        for weight, part in zip(weights.values(), parts, strict=True):
            assert weight.grad is not None
            weight.grad += part


def warmup_to_bytes(warmup: Warmup) -> bytes:
    """Serialise a warm-up as a safetensors file; the same numbers make the same bytes."""
    from safetensors.numpy import save

    arrays = {
        f"{number}:{kind}:{name}": values
        for number, checkpoint in enumerate(warmup.checkpoints)
        for kind in _KINDS
        for name, values in getattr(checkpoint, kind).items()
    }
    arrays[_WORDS] = warmup.words
    shares = [checkpoint.share for checkpoint in warmup.checkpoints]
    return save(arrays, metadata={"warmup": json.dumps({"steps": warmup.steps, "shares": shares})})


def warmup_from_bytes(data: bytes) -> Warmup:
    """Read the bytes of :func:`warmup_to_bytes`.

    :raises StoreError: the bytes are not a warm-up, or are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"]["warmup"])
        steps, shares, words = facts["steps"], facts["shares"], arrays.pop(_WORDS)
    except (SafetensorError, ValueError, KeyError) as error:
        raise StoreError(f"the stored warm-up of the gradients is damaged ({error}); build the index again") from error
    parts: list[dict[str, dict[str, np.ndarray]]] = [{kind: {} for kind in _KINDS} for _ in shares]
    for key, values in arrays.items():
        number, kind, name = key.split(":", 2)
        parts[int(number)][kind][name] = values
    return Warmup(
        tuple(Checkpoint(**part, share=share) for part, share in zip(parts, shares, strict=True)), steps, words
    )
