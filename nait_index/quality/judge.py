"""AlpaGasus: a strong model reads each example and gives it 0 to 5 (Chen et al., ICLR 2024, arXiv 2307.08701).

The score is the number that the judge writes on the first line of its answer. What does not hold exactly one number
from 0 to 5 there is unparsable and gets no number. Unlike the paper, the judge is not asked to explain itself, which
would cost many times more than all the rest.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nait_index.errors import NaitError
from nait_index.quality.endpoint import Endpoint, RequestFailed
from nait_index.quality.exchange import Exchange, exchange_of, question_text
from nait_index.quality.pace import Pace
from nait_index.quality.score import Row, Score, Status

LOWEST, HIGHEST = 0.0, 5.0
_SYSTEM = (
    "We would like to request your feedback on the performance of an AI assistant in response to the instruction "
    "displayed following.\n\nInstruction:\n{question}\n\nResponse:\n{answer}"
)
_REQUEST = (
    "Please rate the accuracy of the response to the instruction on a scale of 0 to 5, where a higher score means "
    "higher accuracy. Output a single line with nothing but the score."
)
# English and code run at about four characters a token; good enough to tell one euro from a hundred.
_CHARACTERS_PER_TOKEN = 4
_ANSWER_TOKENS = 8
_IN_A_ROW = 8  # failures, and as many again as there are workers, after which nobody believes in the next request


@dataclass(frozen=True, slots=True)
class JudgeCost:
    """What judging some rows will cost, by estimate.

    :param price: in whatever currency the prices were given in; ``None`` where none were given.
    """

    rows: int
    prompt_tokens: int
    answer_tokens: int
    price: float | None

    def __str__(self) -> str:
        price = "" if self.price is None else f", about {self.price:,.2f} at these prices"
        return f"{self.rows:,} rows to judge, about {self.prompt_tokens:,} prompt tokens{price}"


def estimate_cost(rows: Iterable[Row], price_in: float | None = None, price_out: float | None = None) -> JudgeCost:
    """Estimate the cost of judging rows.

    :param price_in: of a million prompt tokens; :param price_out: of a million answer tokens.
    """
    count = characters = 0
    for row in rows:
        exchange = exchange_of(row.parts)
        if isinstance(exchange, Exchange):
            count += 1
            characters += sum(len(message["content"]) for message in messages_of(exchange))
    asked, answered = characters // _CHARACTERS_PER_TOKEN, count * _ANSWER_TOKENS
    known = price_in is not None or price_out is not None
    price = (asked * (price_in or 0.0) + answered * (price_out or 0.0)) / 1e6 if known else None
    return JudgeCost(count, asked, answered, price)


def messages_of(exchange: Exchange) -> list[dict[str, str]]:
    """Write what the judge is asked."""
    text = _SYSTEM.format(question=question_text(exchange.question), answer=exchange.answer)
    return [{"role": "system", "content": text}, {"role": "user", "content": _REQUEST}]


def parse_answer(answer: str) -> float | None:
    """Read the score off the first line that is not blank; ``None`` where it is not exactly one number from 0 to 5.

    What a reasoning model thinks first, and a scale after the number (``4/5``, ``4 out of 5``), do not count.
    """
    # What follows the last end of a thought holds no whole one; searching it could take its length squared.
    thought, end, last = answer.rpartition("</think>")
    spoken = re.sub(r"<think>.*?</think>", "", thought + end, flags=re.DOTALL) + last
    line = next((line for line in spoken.splitlines() if line.strip()), "")
    numbers = re.findall(r"-?\d+(?:\.\d+)?", re.sub(r"(?<=\d)\s*(?:/|out of)\s*5(?:\.0+)?\b", "", line))
    if len(numbers) != 1 or not LOWEST <= float(numbers[0]) <= HIGHEST:
        return None
    return float(numbers[0])


class JudgeScorer:
    """Asks a judge about rows, several at a time.

    :param workers: requests under way at once; :param rate: most requests a minute.
    """

    def __init__(self, endpoint: Endpoint, *, workers: int = 4, rate: float | None = None) -> None:
        if workers < 1:
            raise NaitError(f"--workers must be at least 1, not {workers}")
        if rate is not None and not rate > 0:
            raise NaitError(f"--rate must be more than 0 requests a minute, not {rate}")
        self._endpoint, self._workers, self._rate = endpoint, workers, rate

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that changes a number."""
        own = self._endpoint
        asked = {"temperature": own.temperature, "max_tokens": own.max_tokens, "prompt": [_SYSTEM, _REQUEST]}
        return {"kind": "judge", "url": own.address, "model": own.model} | asked

    def score(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        """Score rows in the order in which answers come.

        :raises NaitError: the endpoint refuses everything, or does not answer any more.
        """
        failures = 0
        for score in self._answers(rows):
            failures = failures + 1 if score.status is Status.FAILED else 0
            yield score
            if failures == _IN_A_ROW + self._workers:
                raise NaitError(
                    f"{failures} rows in a row failed, the last because: {score.reason}; what was scored is kept, run "
                    "the same command again to go on"
                )

    def _answers(self, rows: Iterable[Row]) -> Generator[Score, None, None]:
        pace, left = Pace(self._rate), iter(rows)
        pool = ThreadPoolExecutor(self._workers)
        try:
            running = {pool.submit(self._judge, row, pace) for row in islice(left, 2 * self._workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(self._judge, row, pace) for row in islice(left, len(done))}
                # What went well first: an error ends this, and answers were paid for.
                for own in sorted(done, key=lambda future: future.exception() is not None):
                    yield own.result()
        finally:
            pace.stop()
            pool.shutdown(cancel_futures=True)

    def _judge(self, row: Row, pace: Pace) -> Score:
        exchange = exchange_of(row.parts)
        if isinstance(exchange, Status):
            return Score(row, None, exchange)
        try:
            answer = self._endpoint.ask(messages_of(exchange), pace)
        except RequestFailed as error:
            return Score(row, None, Status.FAILED, str(error))
        value = parse_answer(answer)
        if value is None:
            return Score(row, None, Status.UNPARSABLE, " ".join(answer.split())[:200] or "an empty answer")
        return Score.of(row, value)
