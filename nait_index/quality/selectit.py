"""SelectIT: a model rates an example, and its rating counts the more, the surer it is (Liu et al., arXiv 2402.16705).

The model reads a rating prompt and the example; P₁…P_K are then the probabilities of the K digits as the next token,
which sum to 1::

    token level       S_t = S_base · 1/(K−1) · Σᵢ |Pᵢ − P_base|      S_base = argmaxᵢ Pᵢ, the lowest on a tie
    sentence level    S_s = mean(S_t) / (1 + α · std(S_t))           over the rating prompts, population std, α = 0.2
    model level       S   = Σ_m θ_m S_s,m / Σ_m θ_m                  θ the parameter count of each model

The tokens of the digits are determined with the tokenizer: the request for a score is encoded with each digit after
it, and the encodings may differ only in their last token.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nait_index.activations.likelihood import Failure
from nait_index.config import ModelConfig
from nait_index.errors import ModelError, NaitError
from nait_index.quality.causal import CausalModel, piece
from nait_index.quality.score import (
    Exchange,
    QualityRow,
    Score,
    Status,
    UnscorableError,
    exchange_of,
    override,
    question_text,
    score_in_chunks,
)
from nait_index.spelling import did_you_mean_path

LEVELS = 5
ALPHA = 0.2
RATING_PROMPTS = (
    "Rate from 1 to 5 how accurately the response follows the instruction; 5 is best.",
    "How good is this response to the instruction? Give a score between 1 (poor) and 5 (excellent).",
    "Judge the response below: is it correct, complete and to the point? Answer with a score from 1 to 5.",
    "On a scale of 1 to 5, where 5 means flawless, score how well the response does what the instruction asks for.",
    "Evaluate the quality of this training example with a single number from 1, the lowest, to 5, the highest.",
)
"""The same question in different words, on a scale of 1 to :data:`LEVELS`."""

_CHUNK = 64
# What may precede the digit; some tokenizers have single tokens for only some of the digits after a space.
_GAPS = (" ", "\n")
_QUESTION, _ANSWER, _ASK = "\n\nInstruction:\n", "\n\nResponse:\n", "\n\nThe score is:"


@dataclass(frozen=True, slots=True)
class SelectIt:
    """A request for SelectIT by one causal model or several; without any, by the index's.

    :param prompts: a file of rating prompts, one per line, to use instead of :data:`RATING_PROMPTS`.
    """

    models: tuple[str, ...] = ()
    prompts: Path | None = None
    alpha: float = ALPHA
    max_length: int | None = None
    batch_tokens: int | None = None
    default_name: ClassVar[str] = "selectit"

    def open(self, defaults: ModelConfig) -> "SelectItQuality":
        """Load the models and the rating prompts.

        :raises ModelError: a model cannot be used. :raises NaitError: the prompts or ``alpha`` cannot.
        """
        prompts = RATING_PROMPTS if self.prompts is None else read_rating_prompts(self.prompts)
        shared = override(defaults, max_length=self.max_length, batch_tokens=self.batch_tokens)
        configs = [override(shared, name=name) for name in self.models or (None,)]
        return SelectItQuality(configs, prompts, self.alpha)


def read_rating_prompts(path: Path) -> tuple[str, ...]:
    """Read rating prompts from a file, one per line; empty lines are ignored.

    :raises NaitError: the file cannot be read or holds none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise NaitError(f"{path}: no such file{did_you_mean_path(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise NaitError(f"{path}: cannot be read as rating prompts: {error}") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise NaitError(f"{path}: holds no rating prompt; write one per line, asking for a score from 1 to 5")
    return prompts


def token_level(probabilities: np.ndarray) -> np.ndarray:
    """Score probabilities (…, K) that sum to 1. Returns (…), from 0, undecided, to K, sure of the best rating."""
    base = probabilities.argmax(axis=-1)
    best = np.take_along_axis(probabilities, base[..., None], axis=-1)
    levels = probabilities.shape[-1]
    scores: np.ndarray = (base + 1) * np.abs(probabilities - best).sum(axis=-1) / (levels - 1)
    return scores


def sentence_level(scores: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Combine the token-level scores (…, R) of R rating prompts. Returns (…)."""
    combined: np.ndarray = scores.mean(axis=-1) / (1 + alpha * scores.std(axis=-1))
    return combined


def model_level(scores: np.ndarray, parameters: Sequence[int]) -> float:
    """Combine the sentence-level scores (M,) of M models, weighted by their parameter counts."""
    return float(np.average(scores, weights=np.asarray(parameters, dtype=np.float64)))


def digit_tokens(tokenizer: Any, text: str) -> tuple[np.ndarray, tuple[int, ...]]:  # noqa: ANN401 - of Hugging Face
    """Determine the tokens of the digits 1…K after a text.

    :returns: token ids (T,) of everything before the digit, which may end in added white space, and the K tokens.
    :raises ModelError: a digit is not a single token, or two share one.
    """
    for gap in _GAPS:
        encoded = [piece(tokenizer, f"{text}{gap}{digit}").tolist() for digit in range(1, LEVELS + 1)]
        befores, tokens = {tuple(ids[:-1]) for ids in encoded}, [ids[-1] for ids in encoded]
        if len(befores) == 1 and len(set(tokens)) == LEVELS:
            return np.asarray(befores.pop(), dtype=np.int64), tuple(tokens)
    raise ModelError(
        f"the tokenizer does not write each digit from 1 to {LEVELS} as a single token, so the model cannot rate with "
        "its next token; choose another with --model"
    )


@dataclass(frozen=True, slots=True)
class _Contexts:
    """What one model reads of a row: R sequences of token ids, and whether the answer was cut."""

    ids: list[np.ndarray]
    truncated: bool


class _Rater:
    """One model, with the rating prompts as its tokens."""

    def __init__(self, config: ModelConfig, prompts: Sequence[str]) -> None:
        self.model = CausalModel(config)
        begin, tokenizer = self.model.begin, self.model.tokenizer
        self._heads = [np.concatenate([begin, piece(tokenizer, prompt + _QUESTION)]) for prompt in prompts]
        self._border = piece(tokenizer, _ANSWER)
        self._tail, self._digits = digit_tokens(tokenizer, _ASK)

    def contexts(self, exchange: Exchange) -> _Contexts:
        """Put a row into every rating prompt, cutting its answer at the end if needed.

        :raises UnscorableError: nothing is left of the answer.
        """
        question = self.model.piece(question_text(exchange.question))
        answer = self.model.piece(exchange.answer)
        longest = max(map(len, self._heads)) + len(question) + len(self._border) + len(self._tail)
        kept = answer[: max(0, self.model.limit - longest)]
        if not len(kept):
            raise UnscorableError(Status.ANSWER_CUT)
        example = np.concatenate([question, self._border, kept, self._tail])
        return _Contexts([np.concatenate([head, example]) for head in self._heads], len(kept) < len(answer))

    def rate(self, rows: Sequence[_Contexts]) -> list[np.ndarray | Failure]:
        """Return the probabilities (R, K) of the digits for every row."""
        prompts = len(self._heads)
        values = np.zeros((len(rows), prompts, LEVELS))
        failures: dict[int, Failure] = {}
        sequences = [ids for row in rows for ids in row.ids]
        for number, logits in self.model.likelihood.next_logits(sequences, self._digits):
            row, prompt = divmod(number, prompts)
            if isinstance(logits, Failure):
                failures[row] = logits
            else:
                values[row, prompt] = _softmax(logits)
        return [failures.get(row, probabilities) for row, probabilities in enumerate(values)]


class SelectItQuality:
    """Computes SelectIT with one causal model or several, which are all in memory at once.

    :param configs: one per model.
    :param prompts: rating prompts that ask for a score from 1 to 5. :param alpha: the penalty for disagreement.
    :raises ModelError: a model is missing, not causal, or has no digit tokens.
    """

    def __init__(
        self, configs: Sequence[ModelConfig], prompts: Sequence[str] = RATING_PROMPTS, alpha: float = ALPHA
    ) -> None:
        if not alpha >= 0:
            raise NaitError(f"--alpha must be 0 or more, not {alpha}")
        self._raters = [_Rater(config, prompts) for config in configs]
        self._prompts, self._alpha = tuple(prompts), alpha

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that affects the numbers."""
        wording = [*self._prompts, _QUESTION, _ANSWER, _ASK]
        models = [rater.model.settings for rater in self._raters]
        return {"kind": "selectit", "prompts": wording, "alpha": self._alpha, "models": models}

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        """Score rows, chunk by chunk."""
        return score_in_chunks(rows, _CHUNK, self._prepare, self._score_chunk)

    def _prepare(self, row: QualityRow) -> tuple[QualityRow, list[_Contexts]]:
        exchange = exchange_of(row)
        return row, [rater.contexts(exchange) for rater in self._raters]

    def _score_chunk(self, rows: Sequence[tuple[QualityRow, list[_Contexts]]]) -> Iterator[Score]:
        by_model = [rater.rate([contexts[number] for _, contexts in rows]) for number, rater in enumerate(self._raters)]
        for (row, contexts), ratings in zip(rows, zip(*by_model, strict=True), strict=True):
            failure = next((rating for rating in ratings if isinstance(rating, Failure)), None)
            if failure is not None:
                yield Score(row, None, Status.FAILED, failure.reason)
                continue
            truncated = any(context.truncated for context in contexts)
            sentences = sentence_level(token_level(np.array(ratings)), self._alpha)
            value = model_level(sentences, [rater.model.parameters for rater in self._raters])
            yield Score.of(row, value, Status.TRUNCATED if truncated else Status.OK)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    shares: np.ndarray = powers / powers.sum()
    return shares
