"""What a model makes of held-out examples: the loss of their answers, and how many of them it would answer rightly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.answer_losses import AnswerBatch, answer_logits
from nait_index.activations.batches import AnswerTokens
from nait_index.proving.tuning import batches

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Measures of some lessons, (n,) each.

    :param losses: sum of −log p over the answer's tokens, float64; :param tokens: number of those tokens.
    :param exact: whether greedy decoding gives the answer: exactly where every token of it is the likeliest after the
        right ones before, so nothing has to be generated.
    """

    losses: np.ndarray
    tokens: np.ndarray
    exact: np.ndarray


def measure(
    model: Any,  # noqa: ANN401 - a model of transformers
    lessons: Sequence[AnswerTokens],
    device: "torch.device",
    words: "torch.Tensor | None" = None,
) -> RowLosses:
    """Measure a model on lessons, in their order.

    :param words: that tokens are predicted among, as for :func:`answer_logits`.
    """
    import torch

    losses, wrong = np.zeros(len(lessons)), np.zeros(len(lessons))
    for numbers in batches(lessons, device):
        batch = AnswerBatch.of([lessons[number] for number in numbers], device)
        with torch.inference_mode():
            logits = answer_logits(model, batch, words)
            each, right = logits.losses().double().cpu().numpy(), logits.likeliest().cpu().numpy()
        rows = numbers[batch.samples.cpu().numpy()]
        np.add.at(losses, rows, each)
        np.add.at(wrong, rows, ~right)
    tokens = np.array([lesson.answer_length for lesson in lessons])
    whole = np.array([not lesson.is_cut for lesson in lessons])
    return RowLosses(losses, tokens, (wrong == 0) & whole & (tokens > 0))


def likeliest(losses: np.ndarray, groups: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return for every question, in the order of their numbers, whether its right option is the likeliest: (q,) bool.

    :param losses: (n,) summed loss of every option; :param groups: (n,) number of its question.
    :param right: (n,) whether it is the right one.
    """
    questions, number = np.unique(groups, return_inverse=True)
    best = np.full(len(questions), np.inf)
    np.minimum.at(best, number, losses)
    answered = np.zeros(len(questions), dtype=bool)
    answered[number[right]] = losses[right] <= best[number[right]]
    return answered
