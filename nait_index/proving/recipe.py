"""How a copy of the model is fine-tuned. Every field changes the numbers, and is the same for all that are compared."""

from dataclasses import dataclass

from nait_index.errors import NaitError


@dataclass(frozen=True, slots=True)
class TuningRecipe:
    """Low-rank adapters (LoRA, arXiv 2106.09685), AdamW, a linear warm-up, then a cosine down to zero.

    A step holds ``answer_tokens / steps`` tokens of answers, whatever rows they come from: rows with short answers
    would otherwise be taught less in the same number of rows, and less in the same number of tokens.

    :param answer_tokens: tokens that a run learns to predict, over all steps.
    :param max_length: most tokens of a row; the end of its prompt is cut first, then its answer.
    :param rank: of the adapters; :param alpha: their scale is α/r.
    :param layers: adapters in the upper layers only, this many; 0 for all of them.
    :param warmup: share of the steps in which the learning rate rises.
    :param version: raised when the code changes what a run computes, so that stored runs are not reused.
    """

    answer_tokens: int = 4000
    steps: int = 20
    max_length: int = 256
    rank: int = 16
    alpha: int = 32
    layers: int = 0
    learning_rate: float = 5e-4
    warmup: float = 0.1
    version: int = 1

    def __post_init__(self) -> None:
        if min(self.answer_tokens, self.steps, self.max_length - 7, self.rank, self.alpha) < 1:
            raise NaitError("tokens, steps, rank and alpha must be at least 1, and a row at least 8 tokens long")
        if self.layers < 0:
            raise NaitError(f"--layers must be at least 0, not {self.layers}; 0 is all of them")
        if not 0 < self.learning_rate < 1:
            raise NaitError(f"--rate must be above 0 and below 1, such as 0.0005, not {self.learning_rate:g}")
        if self.answer_tokens < self.steps:
            raise NaitError(f"{self.answer_tokens} answer tokens are fewer than the {self.steps} steps")
