"""What a causal language model expects: the loss of an answer after a prefix, and the tokens that may come next.

Sequences of similar length run together, padded on the right, where no token that counts can see the padding; so the
numbers do not depend on what shares a batch, but for rounding. A sequence that fails fails alone: a batch that does not
run is halved until the culprit is found, and the culprit gets a :class:`Failure` instead of a number.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nait_index.activations.causal import LoadedCausal
from nait_index.activations.encoder import plan_batches
from nait_index.activations.halving import run_halving
from nait_index.activations.padding import pad

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")

# Logits of a batch: beside the vocabularies of today, all else in a forward pass is small.
_LOGITS_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Span:
    """An answer in its place.

    :param prefix: (p,) int64 token ids that come before, at least one; :param answer: (m,) at least one.
    """

    prefix: np.ndarray
    answer: np.ndarray


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sequence has no number, in one line."""

    reason: str


class Likelihood:
    """A causal model, ready to run batches.

    :param batch_tokens: most tokens of a batch, padding counted; ``None`` is 2,048 on a CPU and 65,536 on a GPU, less
        where the vocabulary is so large that their logits take more than a gigabyte.
    """

    def __init__(self, loaded: LoadedCausal, batch_tokens: int | None = None) -> None:
        self.loaded = loaded
        self._batch_tokens = batch_tokens or (65_536 if loaded.device.type == "cuda" else 2_048)
        self._cuts_logits = "logits_to_keep" in _parameters(loaded.model)
        self._extras: dict[str, Any] = {"use_cache": False} if "use_cache" in _parameters(loaded.model) else {}

    def mean_losses(self, spans: Sequence[Span]) -> Iterator[tuple[int, float | Failure]]:
        """Compute −(1/m) Σ log p(answer token | all tokens before it), natural logarithm, for every span.

        :returns: (number of the span, loss) as they come, every span once.
        """
        budget = min(self._batch_tokens, _LOGITS_BYTES // (4 * (self.loaded.vocabulary or 1)))
        sequences = [np.concatenate([span.prefix, span.answer]) for span in spans]

        def run(rows: np.ndarray) -> list[float]:
            return self._losses([spans[row] for row in rows], [sequences[row] for row in rows])

        yield from self._each(sequences, budget, run)

    def next_logits(
        self, prompts: Sequence[np.ndarray], tokens: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray | Failure]]:
        """Give the logits (K,) float32 of some tokens as the next one, for every prompt (T,) of token ids.

        :returns: (number of the prompt, logits) as they come, every prompt once.
        """

        def run(rows: np.ndarray) -> list[np.ndarray]:
            return self._next([prompts[row] for row in rows], tokens)

        yield from self._each(prompts, self._batch_tokens, run)

    def _each(
        self, sequences: Sequence[np.ndarray], budget: int, run: Callable[[np.ndarray], Sequence[Value]]
    ) -> Iterator[tuple[int, Value | Failure]]:
        known = [row for row, ids in enumerate(sequences) if self._is_known(ids)]
        for row in sorted(set(range(len(sequences))) - set(known)):
            yield row, Failure("it has tokens that the model has no embedding for")
        lengths = np.array([len(sequences[row]) for row in known], dtype=np.int64)

        def numbered(rows: np.ndarray) -> list[tuple[int, Value | Failure]]:
            return list(zip(map(int, rows), run(rows), strict=True))

        for batch in plan_batches(lengths, budget):
            for found in run_halving(np.array(known)[batch], numbered, _failure, _may_be_of_one):
                yield from found

    def _is_known(self, ids: np.ndarray) -> bool:
        """Tell whether every token has an embedding: on a GPU one without would end the process."""
        return self.loaded.vocabulary is None or int(ids.max()) < self.loaded.vocabulary

    def _losses(self, spans: Sequence[Span], sequences: Sequence[np.ndarray]) -> list[float]:
        import torch
        from torch.nn.functional import cross_entropy

        # The token before each answer token predicts it.
        starts = [len(span.prefix) - 1 for span in spans]
        first, end = min(starts), max(len(ids) - 1 for ids in sequences)
        with torch.inference_mode():
            logits = self._logits(sequences, torch.arange(first, end))
            losses = []
            for row, (span, start) in enumerate(zip(spans, starts, strict=True)):
                own = logits[row, start - first : start - first + len(span.answer)].float()
                losses.append(cross_entropy(own, torch.from_numpy(span.answer).to(own.device)))
            return [float(loss) for loss in torch.stack(losses).cpu()]

    def _next(self, prompts: Sequence[np.ndarray], tokens: Sequence[int]) -> list[np.ndarray]:
        import torch

        last = torch.tensor([len(ids) - 1 for ids in prompts])
        places, where = torch.unique(last, return_inverse=True)
        with torch.inference_mode():
            logits = self._logits(prompts, places)
            own = logits[torch.arange(len(prompts)), where.to(logits.device)][:, list(tokens)]
            values: np.ndarray = own.float().cpu().numpy()
        return list(values)

    def _logits(self, sequences: Sequence[np.ndarray], places: "torch.Tensor") -> "torch.Tensor":
        """Run a batch (B, T) and give its logits (B, W, V) at W places."""
        import torch

        ids, mask = pad(sequences)
        device = self.loaded.device
        inputs = {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}
        places = places.to(device)
        if self._cuts_logits:
            logits: torch.Tensor = self.loaded.model(**inputs, **self._extras, logits_to_keep=places).logits
            return logits
        logits = self.loaded.model(**inputs, **self._extras).logits
        return logits[:, places]


def _may_be_of_one(error: Exception) -> bool:
    """Tell whether an error may come of a single sequence, or of there being too many."""
    return isinstance(error, RuntimeError | MemoryError | ValueError | IndexError)


def _failure(row: int, error: Exception) -> list[tuple[int, Any]]:
    return [(row, Failure(" ".join(str(error).split())[:200] or type(error).__name__))]


def _parameters(model: Any) -> set[str]:  # noqa: ANN401
    import inspect

    return set(inspect.signature(model.forward).parameters)
