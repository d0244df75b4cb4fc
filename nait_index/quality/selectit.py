"""SelectIT: a model rates an example, and is believed the more, the surer it is (Liu et al. 2024, arXiv 2402.16705).

A rating prompt, the example, and then the probabilities P₁…P_K of the K digits as the next token, which sum to 1::

    token level       S_t = S_base · 1/(K−1) · Σᵢ |Pᵢ − P_base|      S_base = argmaxᵢ Pᵢ, of equals the lowest
    sentence level    S_s = mean(S_t) / (1 + α · std(S_t))           over the rating prompts, population std, α = 0.2
    model level       S   = Σ_m θ_m S_s,m / Σ_m θ_m                  θ the parameter count of each model

Which tokens the digits are is found through the tokenizer: what asks for the score is encoded with every digit after
it, and the encodings may differ in nothing but their last token.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.activations.likelihood import Failure, Likelihood
from nait_index.activations.loading import LoadedModel, load_model
from nait_index.config import ModelConfig
from nait_index.errors import ModelError, NaitError
from nait_index.quality.exchange import Exchange, exchange_of, question_text
from nait_index.quality.rating_prompts import LEVELS, RATING_PROMPTS
from nait_index.quality.score import Row, Score, Status, chunks, model_settings
from nait_index.quality.tokens import begin_markers, longest_input, piece

ALPHA = 0.2
_CHUNK = 64  # rows among which batches of similar length are made
# What may stand before the digit; some tokenizers have single tokens for some digits with a space and not for others.
_GAPS = (" ", "\n")
_QUESTION, _ANSWER, _ASK = "\n\nInstruction:\n", "\n\nResponse:\n", "\n\nThe score is:"


def token_level(probabilities: np.ndarray) -> np.ndarray:
    """Score probabilities (…, K) that sum to 1, giving (…): from 0, undecided, to K, sure of the best."""
    base = probabilities.argmax(axis=-1)
    best = np.take_along_axis(probabilities, base[..., None], axis=-1)
    levels = probabilities.shape[-1]
    scores: np.ndarray = (base + 1) * np.abs(probabilities - best).sum(axis=-1) / (levels - 1)
    return scores


def sentence_level(scores: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Join the token-level scores (…, R) of R rating prompts, giving (…)."""
    joined: np.ndarray = scores.mean(axis=-1) / (1 + alpha * scores.std(axis=-1))
    return joined


def model_level(scores: np.ndarray, parameters: Sequence[int]) -> float:
    """Join the sentence-level scores (M,) of M models by their sizes."""
    return float(np.average(scores, weights=np.asarray(parameters, dtype=np.float64)))


def digit_tokens(tokenizer: Any, text: str) -> tuple[np.ndarray, tuple[int, ...]]:  # noqa: ANN401 - of Hugging Face
    """Find the tokens of the digits 1…K after a text.

    :returns: token ids (T,) of what comes before the digit, which may end in white space of its own, and the K tokens.
    :raises ModelError: some digit is no single token, or two are the same.
    """
    for gap in _GAPS:
        encoded = [piece(tokenizer, f"{text}{gap}{digit}").tolist() for digit in range(1, LEVELS + 1)]
        befores, tokens = {tuple(ids[:-1]) for ids in encoded}, [ids[-1] for ids in encoded]
        if len(befores) == 1 and len(set(tokens)) == LEVELS:
            return np.asarray(befores.pop(), dtype=np.int64), tuple(tokens)
    raise ModelError(
        f"the tokenizer does not write each digit from 1 to {LEVELS} as a single token of its own, so the model cannot "
        "rate with its next token; name another with --model"
    )


@dataclass(frozen=True, slots=True)
class _Contexts:
    """What one model reads of a row: R sequences of token ids, and whether the answer was cut."""

    ids: list[np.ndarray]
    truncated: bool


class _Rater:
    """One model with the rating prompts in its own tokens."""

    def __init__(self, config: ModelConfig, loaded: LoadedModel, prompts: Sequence[str]) -> None:
        self.likelihood = Likelihood(loaded, config.batch_tokens)
        self.limit = longest_input(config.max_length, loaded.positions)
        self._tokenizer = loaded.tokenizer
        begin = begin_markers(loaded.tokenizer)
        self._heads = [np.concatenate([begin, piece(self._tokenizer, prompt + _QUESTION)]) for prompt in prompts]
        self._border = piece(self._tokenizer, _ANSWER)
        self._tail, self.digits = digit_tokens(self._tokenizer, _ASK)

    @property
    def settings(self) -> dict[str, Any]:
        return {"max_length": self.limit} | model_settings(self.likelihood.loaded)

    def contexts(self, exchange: Exchange) -> _Contexts | None:
        """Put a row into every rating prompt, its answer cut at the end where need be; ``None`` if nothing is left."""
        question = piece(self._tokenizer, question_text(exchange.question))
        answer = piece(self._tokenizer, exchange.answer)
        longest = max(map(len, self._heads)) + len(question) + len(self._border) + len(self._tail)
        kept = answer[: max(0, self.limit - longest)]
        if not len(kept):
            return None
        example = np.concatenate([question, self._border, kept, self._tail])
        return _Contexts([np.concatenate([head, example]) for head in self._heads], len(kept) < len(answer))

    def rate(self, rows: Sequence[_Contexts]) -> list[np.ndarray | Failure]:
        """Give the probabilities (R, K) of the digits for every row."""
        many = len(self._heads)
        values = np.zeros((len(rows), many, LEVELS))
        failures: dict[int, Failure] = {}
        sequences = [ids for row in rows for ids in row.ids]
        for number, logits in self.likelihood.next_logits(sequences, self.digits):
            row, prompt = divmod(number, many)
            if isinstance(logits, Failure):
                failures[row] = logits
            else:
                values[row, prompt] = _softmax(logits)
        return [failures.get(row, own) for row, own in enumerate(values)]


class SelectItScorer:
    """Computes SelectIT's score with one causal model or several, which are all in memory at once.

    :param configs: one for each model; :param loaded: the models, if they are there already.
    :param prompts: rating prompts that ask for a score from 1 to 5; :param alpha: how much disagreement costs.
    :raises ModelError: a model is missing, no causal one, or has no digit tokens.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        prompts: Sequence[str] = RATING_PROMPTS,
        alpha: float = ALPHA,
        loaded: Sequence[LoadedModel] | None = None,
    ) -> None:
        if not alpha >= 0:
            raise NaitError(f"--alpha must be 0 or more, not {alpha}")
        models = [load_model(config, causal=True) for config in configs] if loaded is None else loaded
        self._raters = [_Rater(config, own, prompts) for config, own in zip(configs, models, strict=True)]
        self._sizes = [own.parameters for own in models]
        self._prompts, self._alpha = tuple(prompts), alpha

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a number."""
        wording = [*self._prompts, _QUESTION, _ANSWER, _ASK]
        models = [rater.settings for rater in self._raters]
        return {"kind": "selectit", "prompts": wording, "alpha": self._alpha, "models": models}

    def score(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        """Score rows, chunk by chunk."""
        for chunk in chunks(rows, _CHUNK):
            prepared = [(row, self._prepare(row)) for row in chunk]
            yield from (Score(row, None, own) for row, own in prepared if isinstance(own, Status))
            yield from self._run([(row, own) for row, own in prepared if not isinstance(own, Status)])

    def _prepare(self, row: Row) -> list[_Contexts] | Status:
        exchange = exchange_of(row.parts)
        if isinstance(exchange, Status):
            return exchange
        contexts = [rater.contexts(exchange) for rater in self._raters]
        found = [own for own in contexts if own is not None]
        return found if len(found) == len(contexts) else Status.ANSWER_CUT

    def _run(self, rows: Sequence[tuple[Row, list[_Contexts]]]) -> Generator[Score, None, None]:
        rated = [rater.rate([own[number] for _, own in rows]) for number, rater in enumerate(self._raters)]
        for (row, contexts), own in zip(rows, zip(*rated, strict=True), strict=True):
            yield self._join(row, own, Status.TRUNCATED if any(one.truncated for one in contexts) else Status.OK)

    def _join(self, row: Row, rated: Sequence[np.ndarray | Failure], status: Status) -> Score:
        for own in rated:
            if isinstance(own, Failure):
                return Score(row, None, Status.FAILED, own.reason)
        sentences = sentence_level(token_level(np.array(rated)), self._alpha)
        return Score.of(row, model_level(sentences, self._sizes), status)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    shares: np.ndarray = powers / powers.sum()
    return shares
