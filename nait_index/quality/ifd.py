"""IFD: how much a question helps the model to foresee the answer (Li et al., NAACL 2024, arXiv 2308.12032, "Cherry").

::

    IFD(q, a) = ppl(a | q) / ppl(a) = exp( L(a₂…a_m | q a₁) − L(a₂…a_m | a₁) )

with L the mean loss of the answer tokens a₂…a_m. Both losses are over the same tokens: question and answer are
tokenised apart and their ids put together, so that no token straddles the border and none has to be found again. The
first answer token counts in neither, because without a question nothing predicts it. The paper selects what is highest
below 1: answers that the question hardly helps with. Above 1, question and answer do not belong together.
"""

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nait_index.activations.likelihood import Failure, Likelihood, Span
from nait_index.activations.loading import LoadedModel, load_model
from nait_index.config import ModelConfig
from nait_index.corpus import RowTemplateError
from nait_index.quality.exchange import exchange_of
from nait_index.quality.prompts import Prompter
from nait_index.quality.score import Row, Score, Status, chunks, model_settings
from nait_index.quality.tokens import begin_markers, longest_input, piece

_CHUNK = 256  # rows among which batches of similar length are made


@dataclass(slots=True)
class _Pair:
    """The two readings of one answer, and their losses as they come."""

    row: Row
    asked: Span
    alone: Span
    status: Status
    losses: dict[str, float | Failure] = field(default_factory=dict)

    def score(self) -> Score:
        for loss in self.losses.values():
            if isinstance(loss, Failure):
                return Score(self.row, None, Status.FAILED, loss.reason)
        return Score.of(self.row, ifd(self.losses["asked"], self.losses["alone"]), self.status)  # type: ignore[arg-type]


def ifd(asked: float, alone: float) -> float:
    """Give the ratio of the perplexities of two mean losses."""
    try:
        return math.exp(asked - alone)
    except OverflowError:
        return math.inf


class IfdScorer:
    """Computes IFD with one causal model.

    :param config: its model, template, longest input and batch size; :param loaded: the model, if it is there already.
    :raises ModelError: there is no such causal model. :raises TemplateError: there is no such template.
    """

    def __init__(self, config: ModelConfig, loaded: LoadedModel | None = None) -> None:
        own = load_model(config, causal=True) if loaded is None else loaded
        self._likelihood = Likelihood(own, config.batch_tokens)
        self._tokenizer = own.tokenizer
        self._prompter = Prompter(config.template, own.tokenizer)
        self._begin = begin_markers(own.tokenizer)
        self._limit = longest_input(config.max_length, own.positions)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a number."""
        own = {"template": self._prompter.content_hash, "max_length": self._limit}
        return {"kind": "ifd"} | own | model_settings(self._likelihood.loaded)

    def score(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        """Score rows, in the order in which their batches are done."""
        for chunk in chunks(rows, _CHUNK):
            prepared = [self._prepare(row) for row in chunk]
            yield from (own for own in prepared if isinstance(own, Score))
            yield from self._run([own for own in prepared if isinstance(own, _Pair)])

    def _prepare(self, row: Row) -> _Pair | Score:
        exchange = exchange_of(row.parts)
        if isinstance(exchange, Status):
            return Score(row, None, exchange)
        try:
            text = self._prompter.render(exchange.question)
        except RowTemplateError as error:
            return Score(row, None, Status.NO_PROMPT, str(error))
        prompt, answer = piece(self._tokenizer, text), piece(self._tokenizer, exchange.answer)
        if self._prompter.adds_special_tokens:
            prompt = np.concatenate([self._begin, prompt])
        kept = answer[: max(0, self._limit - len(prompt))]
        if len(kept) < 2:
            return Score(row, None, Status.SHORT_ANSWER if len(answer) < 2 else Status.ANSWER_CUT)
        status = Status.OK if len(kept) == len(answer) else Status.TRUNCATED
        return _Pair(row, _span(prompt, kept), _span(self._begin, kept), status)

    def _run(self, pairs: Sequence[_Pair]) -> Generator[Score, None, None]:
        spans = [span for pair in pairs for span in (pair.asked, pair.alone)]
        for number, loss in self._likelihood.mean_losses(spans):
            pair = pairs[number // 2]
            pair.losses["alone" if number % 2 else "asked"] = loss
            if len(pair.losses) == 2:
                yield pair.score()


def _span(before: np.ndarray, answer: np.ndarray) -> Span:
    return Span(np.concatenate([before, answer[:1]]), answer[1:])
