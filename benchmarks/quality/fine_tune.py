"""Fine-tune a fresh copy of the model on some rows, and measure its loss on held-out rows.

Every run takes the same number of steps with the same number of tokens, whatever rows it trains on.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.quality.blocks import Blocks, training_blocks, whole_blocks
from benchmarks.quality.tokens import TokenizedRows


@dataclass(frozen=True)
class Recipe:
    """The settings of a training; each of them changes the numbers.

    Among the learning rates 2.5e-4, 5e-4, 1e-3 and 2e-3 the default gave the bundled model the least mean loss after
    training on random rows; it is the same for every arm.

    :param longest: most tokens of a row; :param width: tokens of a block; :param blocks: blocks of a step.
    :param version: raise it when the code changes what a run computes, so that stored runs are not reused.
    """

    longest: int = 256
    width: int = 512
    blocks: int = 4
    steps: int = 24
    learning_rate: float = 5e-4
    warmup_steps: int = 5
    version: int = 1

    @property
    def tokens(self) -> int:
        """Tokens that a run reads."""
        return self.steps * self.blocks * self.width


@dataclass(frozen=True)
class RowLosses:
    """The losses of a model on rows, (n,) each.

    :param answer: sum of the loss over the answer's tokens; :param whole: over all tokens but the first.
    :param exact: whether greedy decoding gives the answer: exactly where every token of it is the likeliest after the
        right ones before, so nothing has to be generated.
    :param answer_tokens: tokens that ``answer`` sums over, of all rows together.
    """

    answer: np.ndarray
    whole: np.ndarray
    exact: np.ndarray
    answer_tokens: int


class FineTuner:
    """Trains and measures copies of one model.

    :param model: a causal language model of transformers, which is not changed.
    """

    def __init__(self, model: Any, recipe: Recipe) -> None:  # noqa: ANN401 - transformers is untyped here
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._fresh = model.float().eval()
        self._recipe = recipe
        self._shape = (recipe.blocks, recipe.width)

    def train(self, tokens: TokenizedRows, chosen: Sequence[int] | np.ndarray, seed: int) -> Any:  # noqa: ANN401
        """Return a copy trained on the chosen rows: AdamW, warm-up, cosine decay to zero."""
        model = copy.deepcopy(self._fresh).to(self.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
        stream = training_blocks(tokens, chosen, self._shape, seed)
        for step, batch in enumerate(islice(stream, self._recipe.steps)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, self._recipe)
            losses, counted = self._losses(model, batch)[:2]
            (losses[counted].sum() / counted.sum().clamp(min=1)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return model.eval()

    def evaluate(self, model: Any, tokens: TokenizedRows, rows: Sequence[int]) -> RowLosses:  # noqa: ANN401
        """Measure a model on rows, in their order."""
        answer, whole, wrong, counts = np.zeros((4, len(tokens)))
        for batch in whole_blocks(tokens, rows, self._shape):
            with torch.inference_mode():
                losses, counted, right = self._losses(model.to(self.device), batch)
            text, number = batch.positions[:, 1:] > 0, batch.rows[:, 1:]
            values, is_answer = losses.cpu().numpy(), counted.cpu().numpy()
            np.add.at(whole, number[text], values[text])
            np.add.at(answer, number[is_answer], values[is_answer])
            np.add.at(wrong, number[is_answer], ~right.cpu().numpy()[is_answer])
            counts += np.bincount(number[is_answer], minlength=len(tokens))
        return RowLosses(answer[rows], whole[rows], (wrong[rows] == 0) & ~tokens.cut[rows], int(counts.sum()))

    def fresh(self) -> Any:  # noqa: ANN401
        """Return the model before any training."""
        return self._fresh

    def _losses(self, model: Any, batch: Blocks) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # noqa: ANN401
        """Return (b, width − 1) each: the loss, whether it counts for an answer, whether the token is the likeliest.

        Without an attention mask transformers infers from the positions where a text ends, and attends only within it.
        """
        ids = torch.from_numpy(batch.ids).to(self.device)
        positions = torch.from_numpy(batch.positions).to(self.device)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, :-1].float()
        wanted = ids[:, 1:]
        losses = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        counted = torch.from_numpy(batch.answer).to(self.device)[:, 1:] & (positions[:, 1:] > 0)
        return losses, counted, logits.argmax(-1) == wanted


def learning_rate(step: int, recipe: Recipe) -> float:
    """Rise over the warm-up, then fall along a cosine."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    return recipe.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
