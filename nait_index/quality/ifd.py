"""IFD: how much a question helps the model to predict the answer (Li et al., NAACL 2024, arXiv 2308.12032, "Cherry").

::

    IFD(q, a) = ppl(a | q) / ppl(a) = exp( L(a₂…a_m | q a₁) − L(a₂…a_m | a₁) )

with L the mean loss of the answer tokens a₂…a_m. Both losses are over the same tokens: question and answer are
tokenised separately and their ids joined, so that no token straddles the border and none has to be located again. The
first answer token counts in neither, because without a question nothing predicts it. The paper selects the highest
scores below 1: answers that the question hardly helps with. Above 1, question and answer do not belong together.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nait_index.activations.batches import Target
from nait_index.activations.likelihood import Failure
from nait_index.config import ModelConfig
from nait_index.corpus import RowTemplateError, make_template
from nait_index.quality.causal import CausalModel
from nait_index.quality.score import (
    QualityRow,
    Score,
    Status,
    UnscorableError,
    exchange_of,
    override,
    score_in_chunks,
)

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Ifd:
    """A request for IFD by a causal model; ``None`` stands for the index's setting.

    :param template: how questions are written, as for building. :param max_length: longest input in tokens.
    """

    model: str | None = None
    template: str | None = None
    max_length: int | None = None
    batch_tokens: int | None = None
    default_name: ClassVar[str] = "ifd"

    def open(self, defaults: ModelConfig) -> "IfdQuality":
        """Load the model.

        :raises ModelError: it is not a causal model. :raises TemplateError: there is no such template.
        """
        sizes = {"max_length": self.max_length, "batch_tokens": self.batch_tokens}
        return IfdQuality(override(defaults, name=self.model, template=self.template, **sizes))


def ifd(asked: float, alone: float) -> float:
    """Return the ratio of the perplexities of two mean losses."""
    try:
        return math.exp(asked - alone)
    except OverflowError:
        return math.inf


@dataclass(slots=True)
class _Pair:
    """One answer, read after its question and alone, and the two losses as they are computed."""

    row: QualityRow
    asked: Target
    alone: Target
    status: Status
    losses: dict[str, float | Failure] = field(default_factory=dict)

    def score(self) -> Score:
        for loss in self.losses.values():
            if isinstance(loss, Failure):
                return Score(self.row, None, Status.FAILED, loss.reason)
        return Score.of(self.row, ifd(self.losses["asked"], self.losses["alone"]), self.status)  # type: ignore[arg-type]


class IfdQuality:
    """Computes IFD with one causal model.

    :param config: its model, template, longest input and batch size.
    :raises ModelError: it is not a causal model. :raises TemplateError: there is no such template.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._model = CausalModel(config)
        self._template = make_template(config.template, self._model.tokenizer, before_answer=True)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that affects the numbers."""
        return {"kind": "ifd", "template": self._template.content_hash} | self._model.settings

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        """Score rows, in the order in which their batches finish."""
        return score_in_chunks(rows, _CHUNK, self._prepare, self._score_pairs)

    def _prepare(self, row: QualityRow) -> _Pair:
        exchange = exchange_of(row)
        try:
            text = self._template.read(exchange.question).text
        except RowTemplateError as error:
            raise UnscorableError(Status.NO_PROMPT, str(error)) from error
        begin = self._model.begin
        prompt, answer = self._model.piece(text), self._model.piece(exchange.answer)
        if self._template.adds_special_tokens:
            prompt = np.concatenate([begin, prompt])
        kept = answer[: max(0, self._model.limit - len(prompt))]
        if len(kept) < 2:
            raise UnscorableError(Status.SHORT_ANSWER if len(answer) < 2 else Status.ANSWER_CUT)
        status = Status.OK if len(kept) == len(answer) else Status.TRUNCATED
        asked, alone = (Target(np.concatenate([before, kept]), len(before) + 1) for before in (prompt, begin))
        return _Pair(row, asked, alone, status)

    def _score_pairs(self, pairs: Sequence[_Pair]) -> Iterator[Score]:
        targets = [target for pair in pairs for target in (pair.asked, pair.alone)]
        for number, loss in self._model.likelihood.mean_losses(targets):
            pair = pairs[number // 2]
            pair.losses["alone" if number % 2 else "asked"] = loss
            if len(pair.losses) == 2:
                yield pair.score()
