"""What a model makes of held-out examples: the loss of their answers, how many it gets right, and how near it comes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.answer_losses import AnswerBatch, answer_logits
from nait_index.activations.batches import AnswerTokens
from nait_index.errors import NaitError
from nait_index.proving.tuning import batches

if TYPE_CHECKING:
    import torch

LONGEST_GENERATED = 64
"""Tokens of an answer that are generated and compared, at most."""
_TOGETHER = 64  # answers that are generated at once: a step costs hardly more for many than for one


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


def chrf(
    model: Any,  # noqa: ANN401 - a model of transformers
    tokenizer: Any,  # noqa: ANN401
    lessons: Sequence[AnswerTokens],
    device: "torch.device",
) -> np.ndarray:
    """Return how near answers that the model generates come to the right ones: (n,) float64, 0 to 100.

    The measure is chrF (Popović, WMT 2015), by sacrebleu: the F-score of runs of characters. Decoding is greedy and
    ends at the length of the right answer, so that not knowing where to stop costs nothing by itself.

    :raises NaitError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import sentence_chrf
    except ImportError as error:
        raise NaitError(f"chrF needs sacrebleu: pip install 'nait-index[prove]' ({error})") from error

    scores = np.zeros(len(lessons))
    answered = [number for number, lesson in enumerate(lessons) if lesson.answer_length]
    if not answered:
        return scores
    for numbers in np.array_split(np.array(answered, int), max(1, math.ceil(len(answered) / _TOGETHER))):
        chosen = [lessons[number] for number in numbers]
        right = [lesson.ids[lesson.counts][:LONGEST_GENERATED] for lesson in chosen]
        prompts = [lesson.ids[: int(lesson.counts.argmax())] for lesson in chosen]
        given = _generated(model, tokenizer, prompts, max(map(len, right)), device)
        for number, answer, reference in zip(numbers, given, right, strict=True):
            texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in (answer[: len(reference)], reference)]
            scores[number] = sentence_chrf(texts[0], [texts[1]]).score
    return scores


def _generated(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    prompts: Sequence[np.ndarray],
    length: int,
    device: "torch.device",
) -> np.ndarray:
    """Return the likeliest continuations (b, length) of prompts."""
    import torch

    longest = max(map(len, prompts))
    ids, mask = np.zeros((2, len(prompts), longest), dtype=np.int64)
    for row, prompt in enumerate(prompts):  # padded on the left, where generation goes on
        ids[row, longest - len(prompt) :], mask[row, longest - len(prompt) :] = prompt, 1
    filler = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    with torch.inference_mode():
        made = model.generate(
            input_ids=torch.from_numpy(ids).to(device),
            attention_mask=torch.from_numpy(mask).to(device),
            max_new_tokens=length,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=filler,
        )
    return np.asarray(made[:, longest:].cpu().numpy())
