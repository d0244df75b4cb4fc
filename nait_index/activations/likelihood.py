"""What a causal language model predicts: the loss of an answer after a prefix, and the logits of the next token.

Sequences of similar length run together, padded on the right, where no token that counts can see the padding; so
results do not depend on what shares a batch, except for rounding. A sequence that fails does not affect the others: a
batch that fails is halved until the culprit is alone, which gets a :class:`Failure` instead of a number.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nait_index.activations.batches import BatchRule, Target, check_known, run_batches, token_budget
from nait_index.activations.loaded import LoadedModel
from nait_index.activations.trial import TrialTexts, rounding_of, settle, trial_ids
from nait_index.config import PaddingSide
from nait_index.errors import one_line

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sequence has no number, in one line."""

    reason: str


class Likelihood:
    """A causal model, ready to run batches.

    :param batch_tokens: most tokens of a batch, padding counted; ``None`` is 2,048 on a CPU and 65,536 on a GPU. Losses
        take fewer if the vocabulary is so large that the logits would take more than a gigabyte.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int | None = None) -> None:
        self.loaded = loaded
        self._rule = try_predictions(loaded, token_budget(batch_tokens, loaded.device))
        self._loss_rule = replace(
            self._rule, tokens=token_budget(batch_tokens, loaded.device, vocabulary=loaded.vocabulary)
        )

    def mean_losses(self, targets: Sequence[Target]) -> Iterator[tuple[int, float | Failure]]:
        """Compute −(1/m) Σ log p(token | all tokens before it), natural logarithm, over the m tokens that count.

        :returns: (number of the target, loss), every target once, in the order in which batches end.
        """
        sequences = [target.ids for target in targets]
        yield from self._each(sequences, self._loss_rule, lambda rows: self._losses([targets[row] for row in rows]))

    def next_logits(
        self, prompts: Sequence[np.ndarray], tokens: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray | Failure]]:
        """Compute the logits (K,) float32 of the given tokens as the next one, for every prompt (T,) of token ids.

        :returns: (number of the prompt, logits), every prompt once, in the order in which batches end.
        """
        yield from self._each(prompts, self._rule, lambda rows: self._next([prompts[row] for row in rows], tokens))

    def _each(
        self, sequences: Sequence[np.ndarray], rule: BatchRule, forward: Callable[[np.ndarray], Sequence[Value]]
    ) -> Iterator[tuple[int, Value | Failure]]:
        # A token without an embedding would crash the process on a GPU.
        limit = self.loaded.vocabulary or np.inf
        known = [row for row, ids in enumerate(sequences) if int(ids.max()) < limit]
        for row in sorted(set(range(len(sequences))) - set(known)):
            yield row, Failure("it has tokens that the model has no embedding for")

        def numbered(batch: np.ndarray) -> list[tuple[int, Value | Failure]]:
            rows = np.array(known)[batch]
            return list(zip(rows.tolist(), forward(rows), strict=True))

        def failed(number: int, error: Exception) -> list[tuple[int, Value | Failure]]:
            return [(known[number], Failure(one_line(error)[:200]))]

        lengths = np.array([len(sequences[row]) for row in known], dtype=np.int64)
        for values in run_batches(lengths, rule, numbered, failed):
            yield from values

    def _losses(self, targets: Sequence[Target]) -> list[float]:
        import torch
        from torch.nn.functional import cross_entropy

        # The token before each token that counts predicts it.
        first = min(target.start for target in targets) - 1
        positions = torch.arange(first, max(len(target.ids) for target in targets) - 1)
        with torch.inference_mode():
            logits = self._logits([target.ids for target in targets], positions)
            losses = []
            for row, target in enumerate(targets):
                predictions = logits[row, target.start - 1 - first : len(target.ids) - 1 - first].float()
                answer = torch.from_numpy(target.ids[target.start :]).to(predictions.device)
                losses.append(cross_entropy(predictions, answer))
            return [float(loss) for loss in torch.stack(losses).cpu()]

    def _next(self, prompts: Sequence[np.ndarray], tokens: Sequence[int]) -> list[np.ndarray]:
        import torch

        last = torch.tensor([len(ids) - 1 for ids in prompts])
        positions, columns = torch.unique(last, return_inverse=True)
        with torch.inference_mode():
            logits = self._logits(prompts, positions)
            chosen = logits[torch.arange(len(prompts)), columns.to(logits.device)][:, list(tokens)]
            values: np.ndarray = chosen.float().cpu().numpy()
        return list(values)

    def _logits(self, sequences: Sequence[np.ndarray], positions: "torch.Tensor") -> "torch.Tensor":
        """Run a batch (B, T) and return its logits (B, W, V) at W positions."""
        inputs = self.loaded.inputs(sequences)
        positions = positions.to(self.loaded.device)
        if self.loaded.takes("logits_to_keep"):
            logits: torch.Tensor = self.loaded.module(**inputs, logits_to_keep=positions).logits
            return logits
        logits = self.loaded.module(**inputs).logits
        return logits[:, positions]


def try_predictions(loaded: LoadedModel, tokens: int) -> BatchRule:
    """Try a causal model on short texts, and return the rule for its batches, which are padded on the right.

    :param tokens: most tokens of a batch.
    :raises ModelError: the model cannot run them, or what it predicts cannot be used.
    """
    import torch

    def run(texts: Sequence[np.ndarray], side: PaddingSide, token: int | None) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            logits = loaded.module(**loaded.inputs(texts, token or 0, side)).logits[0, : len(texts[0])]
            return {f"the prediction after token {t + 1}": row for t, row in enumerate(logits.float().cpu().numpy())}

    rule = loaded.batch_rule(tokens)
    ids = trial_ids(loaded.tokenizer, rule)
    check_known([np.asarray(ids)], loaded.vocabulary, loaded.name)
    texts = TrialTexts.of(ids, loaded.positions)
    rounding = rounding_of(loaded.dtype, loaded.device)
    return settle(run, texts, rule, rounding, mixture=loaded.is_mixture, either_side=False)
