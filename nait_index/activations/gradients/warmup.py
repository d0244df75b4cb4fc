"""A short training of the adapters, which makes their gradients informative and yields Adam's moments for them.

Adam (Kingma & Ba, ICLR 2015, arXiv 1412.6980) with a constant learning rate; a step's loss is the mean over its texts.
LESS trains its checkpoints in the same way, on a random 5 % of the corpus.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import BatchRule, Target, run_batches
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.per_sample import Batch, sample_losses
from nait_index.errors import ModelError, StoreError

if TYPE_CHECKING:
    import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8
_KINDS = ("weights", "first", "second")


@dataclass(frozen=True, slots=True)
class Warmup:
    """The result of a warm-up: float32 arrays by the path of a weight.

    :param weights: of the adapters. :param first: m, Adam's running mean of the gradients, without bias correction;
        :param second: v, that of their squares.
    :param steps: number of steps made.
    """

    weights: Mapping[str, np.ndarray]
    first: Mapping[str, np.ndarray]
    second: Mapping[str, np.ndarray]
    steps: int


def warm_up(
    model: Any,  # noqa: ANN401 - a transformers model
    adapters: Adapters,
    targets: Sequence[Target],
    settings: GradientSettings,
    rule: BatchRule,
) -> Warmup:
    """Train the adapters in place; the result is the same for the same texts and settings.

    A step whose gradient is not finite is skipped.

    :param rule: which texts are run together, and how many; it affects no number.
    :raises ModelError: no step could be made.
    """
    import torch

    weights = adapters.parameters
    optimizer = torch.optim.Adam(weights.values(), lr=settings.learning_rate, betas=BETAS, eps=EPSILON)
    steps = 0
    for rows in _schedule(len(targets), settings):
        _set_gradients(model, weights, [targets[row] for row in rows], rule)
        if all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in weights.values()):
            optimizer.step()
            steps += 1
    optimizer.zero_grad()
    if not steps:
        raise ModelError("the adapters cannot be warmed up: the model's gradients are not finite, or there is no text")
    first, second = (
        {name: optimizer.state[weight][key].cpu().numpy() for name, weight in weights.items()}
        for key in ("exp_avg", "exp_avg_sq")
    )
    return Warmup(adapters.weights(), first, second, steps)


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
    targets: Sequence[Target],
    rule: BatchRule,
) -> None:
    """Set the gradient of the mean loss, summed over as many passes as memory requires."""
    import torch

    def forward(rows: np.ndarray) -> "tuple[torch.Tensor, ...]":
        batch = Batch.of([targets[row] for row in rows], next(iter(weights.values())).device)
        total = sample_losses(model, batch).sum() / len(targets)
        return torch.autograd.grad(total, list(weights.values()), materialize_grads=True)

    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    for parts in run_batches(np.array([len(target.ids) for target in targets]), rule, forward):
        for weight, part in zip(weights.values(), parts, strict=True):
            assert weight.grad is not None
            weight.grad += part


def warmup_to_bytes(warmup: Warmup) -> bytes:
    """Serialise a warm-up as a safetensors file; the same numbers make the same bytes."""
    from safetensors.numpy import save

    arrays = {f"{kind}:{name}": values for kind in _KINDS for name, values in getattr(warmup, kind).items()}
    return save(arrays, metadata={"warmup": json.dumps({"steps": warmup.steps})})


def warmup_from_bytes(data: bytes) -> Warmup:
    """Read the bytes of :func:`warmup_to_bytes`.

    :raises StoreError: the bytes are not a warm-up, or are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        steps = json.loads(header["__metadata__"]["warmup"])["steps"]
    except (SafetensorError, ValueError, KeyError) as error:
        raise StoreError(f"the stored warm-up of the gradients is damaged ({error}); build the index again") from error
    kinds: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
    for key, values in arrays.items():
        kind, _, name = key.partition(":")
        kinds[kind][name] = values
    return Warmup(kinds["weights"], kinds["first"], kinds["second"], steps)
