"""AlpaGasus: a strong model reads each example and rates it from 0 to 5 (Chen et al., ICLR 2024, arXiv 2307.08701).

The score is the number on the first line of the judge's answer. An answer without exactly one number from 0 to 5 there
is unparsable and gives no score. Unlike in the paper, the judge is not asked for an explanation, which would cost many
times more than everything else.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from nait_index.config import ModelConfig
from nait_index.errors import NaitError
from nait_index.quality.endpoint import Endpoint, Pace, RequestFailed, RequestRefused
from nait_index.quality.score import (
    GaveUpError,
    QualityRow,
    Score,
    Status,
    UnscorableError,
    exchange_of,
    question_text,
)

_SYSTEM = (
    "We would like to request your feedback on the performance of an AI assistant in response to the instruction "
    "displayed following.\n\nInstruction:\n{question}\n\nResponse:\n{answer}"
)
_REQUEST = (
    "Please rate the accuracy of the response to the instruction on a scale of 0 to 5, where a higher score means "
    "higher accuracy. Output a single line with nothing but the score."
)
# English and code have about four characters per token; close enough to tell one euro from a hundred.
_CHARACTERS_PER_TOKEN = 4
_ANSWER_TOKENS = 8
_IN_A_ROW = 8  # failures, plus one per worker, after which the run gives up


@dataclass(frozen=True, slots=True)
class JudgeCost:
    """The estimated cost of judging some rows.

    :param price: in the currency of the given prices; ``None`` if no price was given.
    """

    rows: int
    prompt_tokens: int
    answer_tokens: int
    price: float | None

    def __str__(self) -> str:
        price = "" if self.price is None else f", about {self.price:,.2f} at these prices"
        return f"{self.rows:,} rows to judge, about {self.prompt_tokens:,} prompt tokens{price}"


def _messages(row: QualityRow) -> list[dict[str, str]]:
    """Return the messages that ask the judge about a row.

    :raises UnscorableError: the row has no question or no answer.
    """
    exchange = exchange_of(row)
    text = _SYSTEM.format(question=question_text(exchange.question), answer=exchange.answer)
    return [{"role": "system", "content": text}, {"role": "user", "content": _REQUEST}]


def parse_answer(answer: str) -> float | None:
    """Read the score from the first line that is not blank; ``None`` if that has not exactly one number from 0 to 5.

    The thoughts of a reasoning model, and a scale after the number (``4/5``, ``4 out of 5``), are ignored.
    """
    # Only text up to the last end tag can hold a whole thought; searching the rest could take quadratic time.
    thought, end, last = answer.rpartition("</think>")
    spoken = re.sub(r"<think>.*?</think>", "", thought + end, flags=re.DOTALL) + last
    line = next((line for line in spoken.splitlines() if line.strip()), "")
    numbers = re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"(?<=\d)\s*(?:/|out of)\s*5(?:\.0+)?\b", "", line))
    if len(numbers) != 1 or not 0 <= float(numbers[0]) <= 5:
        return None
    return float(numbers[0])


@dataclass(frozen=True, slots=True)
class Judge:
    """A request for ratings by a judge behind an endpoint, and the quality that asks it about several rows at a time.

    :param workers: concurrent requests. :param rate: the most requests per minute.
    :param price_in: of a million prompt tokens. :param price_out: of a million answer tokens.
    """

    endpoint: Endpoint
    workers: int = 4
    rate: float | None = None
    price_in: float | None = None
    price_out: float | None = None
    default_name: ClassVar[str] = "judge"

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise NaitError(f"--workers must be at least 1, not {self.workers}")
        if self.rate is not None and not self.rate > 0:
            raise NaitError(f"--rate must be more than 0 requests per minute, not {self.rate}")

    def open(self, defaults: ModelConfig) -> "Judge":
        """Return the judge itself, which needs no model here."""
        return self

    def estimate(self, rows: Iterable[QualityRow]) -> JudgeCost:
        """Estimate the cost of judging rows."""
        count = characters = 0
        for row in rows:
            with suppress(UnscorableError):
                characters += sum(len(message["content"]) for message in _messages(row))
                count += 1
        asked, answered = characters // _CHARACTERS_PER_TOKEN, count * _ANSWER_TOKENS
        price = None
        if self.price_in is not None or self.price_out is not None:
            price = (asked * (self.price_in or 0.0) + answered * (self.price_out or 0.0)) / 1e6
        return JudgeCost(count, asked, answered, price)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that affects the numbers."""
        return {
            "kind": "judge",
            "url": self.endpoint.address,
            "model": self.endpoint.model,
            "temperature": self.endpoint.temperature,
            "max_tokens": self.endpoint.max_tokens,
            "prompt": [_SYSTEM, _REQUEST],
        }

    def score(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        """Score rows in the order in which answers arrive.

        A refusal counts as a failure only until the first answer, which shows that the reason lies in the row.

        :raises GaveUpError: the endpoint refuses every request, or no longer answers. :raises NaitError: it cannot be
            used, as with a wrong key.
        """
        failures, is_answering = 0, False
        for score in self._answers(rows):
            if score.status is Status.FAILED or (score.status is Status.REFUSED and not is_answering):
                failures += 1
            elif score.status in (Status.OK, Status.UNPARSABLE):
                failures, is_answering = 0, True
            yield score
            if failures == _IN_A_ROW + self.workers:
                raise GaveUpError(
                    f"{failures} rows in a row failed, the last with: {score.reason}; what was scored is kept, run "
                    "the same command again to continue"
                )

    def _answers(self, rows: Iterable[QualityRow]) -> Generator[Score, None, None]:
        pace, remaining = Pace(self.rate), iter(rows)
        pool = ThreadPoolExecutor(self.workers)
        try:
            running = {pool.submit(self._judge, row, pace) for row in islice(remaining, 2 * self.workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                error = next(filter(None, (future.exception() for future in done)), None)
                if error is not None:  # it ends the run; the answers that are under way are paid for
                    pace.stop()
                    done |= wait({future for future in running if not future.cancel()}).done
                    answered = (future.result() for future in done if future.exception() is None)
                    yield from (score for score in answered if score.status is not Status.FAILED)
                    raise error
                running |= {pool.submit(self._judge, row, pace) for row in islice(remaining, len(done))}
                yield from (future.result() for future in done)
        finally:
            pace.stop()
            pool.shutdown(cancel_futures=True)

    def _judge(self, row: QualityRow, pace: Pace) -> Score:
        try:
            answer = self.endpoint.ask(_messages(row), pace)
        except UnscorableError as error:
            return error.score(row)
        except RequestFailed as error:
            return Score(row, None, Status.FAILED, str(error))
        except RequestRefused as error:
            return Score(row, None, Status.REFUSED, str(error))
        value = parse_answer(answer)
        if value is None:
            return Score(row, None, Status.UNPARSABLE, " ".join(answer.split())[:200] or "an empty answer")
        return Score.of(row, value)
