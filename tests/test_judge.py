"""The judge against a server on this machine that behaves as badly as real ones do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import build_small, interrupt_call, nait_index, read_lines, refusal, samples_of, small_rows, write_lines

from nait_index.errors import NaitError
from nait_index.quality.endpoint import Endpoint, Pace
from nait_index.quality.judge import Judge, parse_answer
from nait_index.quality.score import QualityRow, Score, Status
from nait_index.types import Part, Role


@dataclass
class Reply:
    """What the server answers one request."""

    content: str | None = "4"
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0.0


@dataclass
class Server:
    """A server whose answers a test decides on; ``requests`` are the bodies it got, in that order."""

    url: str = ""
    reply: Callable[[str, int], Reply] = lambda text, attempt: Reply()
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    attempts: dict[str, int] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0


class Handler(BaseHTTPRequestHandler):
    stub: Server

    def do_POST(self) -> None:
        stub, body = self.stub, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][0]["content"]
        stub.requests.append(body)
        stub.keys.append(self.headers.get("Authorization"))
        stub.attempts[text] = stub.attempts.get(text, 0) + 1
        stub.under_way += 1
        stub.most_under_way = max(stub.most_under_way, stub.under_way)
        reply = stub.reply(text, stub.attempts[text])
        time.sleep(reply.delay)
        stub.under_way -= 1
        payload = json.dumps({"choices": [{"message": {"role": "assistant", "content": reply.content}}]}).encode()
        self.send_response(reply.code)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(payload if reply.body is None else reply.body)
        except OSError:
            pass  # a client that waited no longer

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    stub = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"stub": stub}))
    http.daemon_threads = True
    stub.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield stub
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note waits instead of waiting."""
    noted: list[float] = []
    monkeypatch.setattr(Pace, "sleep", lambda self, seconds: noted.append(seconds))
    monkeypatch.setattr(Pace, "hold", lambda self, seconds: noted.append(seconds))
    return noted


def rows_of(count: int) -> list[QualityRow]:
    parts = [
        (Part(Role.USER, f"Question {number}?"), Part(Role.ASSISTANT, f"Answer {number}.")) for number in range(count)
    ]
    return [QualityRow(f"r{number}", "", row_parts) for number, row_parts in enumerate(parts)]


def judged(server: Server, rows: list[QualityRow], workers: int = 2, **settings: Any) -> dict[str, Score]:
    endpoint = Endpoint(server.url, "large", **({"retries": 3, "timeout": 5.0} | settings))
    scores = list(Judge(endpoint, workers=workers).score(rows))
    assert sorted(row.row.id for row in scores) == sorted(row.id for row in rows)
    return {score.row.id: score for score in scores}


def number_in(text: str) -> int:
    return int(text.partition("Question ")[2].partition("?")[0])


def test_every_row_gets_its_own_answer(server: Server) -> None:
    server.reply = lambda text, _: Reply(str(number_in(text) % 6), delay=0.01 * (number_in(text) % 3))
    scores = judged(server, rows_of(20), workers=4, key="secret", temperature=0.0)
    assert {row_id: score.value for row_id, score in scores.items()} == {
        f"r{number}": float(number % 6) for number in range(20)
    }
    assert set(server.keys) == {"Bearer secret"}
    assert server.most_under_way <= 4
    first = server.requests[0]
    assert (first["model"], first["temperature"], "max_tokens" in first) == ("large", 0.0, False)
    assert "Question" in first["messages"][0]["content"]
    assert "0 to 5" in first["messages"][1]["content"]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("4", 4.0),
        ("4.5\nBecause it is right.", 4.5),
        ("\n  Score: 3 \n", 3.0),
        ("**5**", 5.0),
        ("4/5", 4.0),
        ("3.5 out of 5", 3.5),
        ("0", 0.0),
        ("<think>Is it 1 or 2?\nHm.</think>\n2", 2.0),
        ("", None),
        ("I cannot rate this.", None),
        ("6", None),
        ("-1", None),
        ("10/10", None),
        ("Between 3 and 4", None),
        ("Good!\n4", None),
        ("nan", None),
    ],
)
def test_an_answer_is_one_number_from_0_to_5_or_none(answer: str, score: float | None) -> None:
    assert parse_answer(answer) == score


def test_garbage_is_unparsable_and_no_number(server: Server) -> None:
    answers = ["4", "as good as it gets", None, "7"]
    server.reply = lambda text, _: Reply(answers[number_in(text)])
    scores = judged(server, rows_of(4))
    assert [scores[f"r{number}"].value for number in range(4)] == [4.0, None, None, None]
    assert [scores[f"r{number}"].status for number in range(4)] == [Status.OK, *[Status.UNPARSABLE] * 3]
    assert scores["r1"].reason == "as good as it gets"


@pytest.mark.parametrize(
    "bad",
    [
        Reply(code=500),
        Reply(code=503),
        Reply(code=429),
        Reply(body=b"<html>busy</html>"),
        Reply(body=b'{"choices": []}'),
    ],
)
def test_what_may_pass_is_tried_again_with_growing_waits(server: Server, waits: list[float], bad: Reply) -> None:
    server.reply = lambda text, attempt: bad if attempt < 4 else Reply("2")
    assert judged(server, rows_of(1))["r0"].value == 2.0
    assert len(server.requests) == 4
    assert all(low <= wait <= 1.25 * low for low, wait in zip((1, 2, 4), waits, strict=True))


def test_retry_after_is_honoured_as_seconds_and_as_a_date(server: Server, waits: list[float]) -> None:
    values = ["7", formatdate(time.time() + 40, usegmt=True), "nonsense"]
    server.reply = lambda text, attempt: (
        Reply(code=429, headers={"Retry-After": values[attempt - 1]}) if attempt < 4 else Reply("3")
    )
    assert judged(server, rows_of(1))["r0"].value == 3.0
    assert waits[0] == 7
    assert 30 < waits[1] <= 41
    assert 4 <= waits[2] <= 5


def test_a_server_that_does_not_answer_in_time_is_tried_again(server: Server, waits: list[float]) -> None:
    server.reply = lambda text, attempt: Reply("5", delay=1.5 if attempt == 1 else 0)
    assert judged(server, rows_of(1), timeout=0.4)["r0"].value == 5.0
    assert len(waits) >= 1


def test_a_row_that_always_fails_has_a_status_and_shifts_no_other(server: Server, waits: list[float]) -> None:
    server.reply = lambda text, _: Reply(code=500) if number_in(text) == 2 else Reply(str(number_in(text)))
    scores = judged(server, rows_of(5))
    assert [scores[f"r{number}"].value for number in range(5)] == [0.0, 1.0, None, 3.0, 4.0]
    assert scores["r2"].status is Status.FAILED
    assert "answered 500" in scores["r2"].reason
    assert len(waits) == 3


def test_a_request_that_the_server_rejects_fails_its_row_at_once(server: Server) -> None:
    long = json.dumps({"error": {"message": "context\nlength exceeded"}}).encode()
    server.reply = lambda text, _: Reply(code=400, body=long) if number_in(text) == 0 else Reply("1")
    scores = judged(server, rows_of(2))
    assert scores["r0"].reason.endswith("answered 400: context length exceeded")
    assert scores["r0"].status is Status.REFUSED
    assert len(server.requests) == 2


def test_refusals_end_a_run_only_before_the_first_answer(server: Server) -> None:
    server.reply = lambda text, _: Reply("1") if number_in(text) == 8 else Reply(code=422)
    scores = judged(server, rows_of(40), workers=1)
    assert [row_id for row_id, score in scores.items() if score.status is not Status.REFUSED] == ["r8"]
    server.reply = lambda text, _: Reply(code=422)
    with pytest.raises(NaitError, match="9 rows in a row failed"):
        judged(server, rows_of(40), workers=1)


@pytest.mark.parametrize("code", [401, 403, 404, 307])
def test_a_wrong_key_or_address_ends_the_run(server: Server, code: int) -> None:
    server.reply = lambda text, _: Reply(code=code, headers={"Location": "http://127.0.0.1:9/"}, body=b"no")
    with pytest.raises(NaitError, match=f"answered {code}") as caught:
        judged(server, rows_of(50))
    assert "\n" not in str(caught.value)
    assert len(server.requests) < 10


def test_answers_under_way_when_an_error_ends_the_run_are_kept(server: Server) -> None:
    """Row 0 ends the run at once, rows 1 and 2 are answered after that, row 3 would be tried again."""

    def reply(text: str, _: int) -> Reply:
        number = number_in(text)
        return [
            Reply(code=401, delay=0.2),
            Reply("3", delay=0.6),
            Reply("as good as it gets", delay=0.6),
            Reply(code=500),
        ][number]

    server.reply = reply
    kept: list[Score] = []
    started = time.monotonic()
    with pytest.raises(NaitError, match="answered 401"):
        kept.extend(Judge(Endpoint(server.url, "large"), workers=4).score(rows_of(4)))
    assert sorted((score.row.id, score.status) for score in kept) == [("r1", Status.OK), ("r2", Status.UNPARSABLE)]
    assert time.monotonic() - started < 5
    assert len(server.requests) == 4


def test_when_nothing_is_answered_any_more_the_run_ends(server: Server, waits: list[float]) -> None:
    server.reply = lambda text, _: Reply(code=502)
    with pytest.raises(NaitError, match="10 rows in a row failed"):
        judged(server, rows_of(100), retries=0)
    assert len(server.requests) < 20


def test_no_more_requests_a_minute_than_asked_for(server: Server) -> None:
    started = time.monotonic()
    scorer = Judge(Endpoint(server.url, "large"), workers=4, rate=600)
    assert len(list(scorer.score(rows_of(5)))) == 5
    assert time.monotonic() - started >= 0.39


def test_rows_without_question_or_answer_are_not_sent(server: Server) -> None:
    rows = [
        QualityRow("text", "", (Part(Role.TEXT, "Just text."),)),
        QualityRow("mute", "", (Part(Role.USER, "Hello?"),)),
    ]
    scores = judged(server, rows)
    assert [scores[row_id].status for row_id in ("text", "mute")] == [Status.NO_QUESTION, Status.NO_ANSWER]
    assert server.requests == []
    assert Judge(Endpoint(server.url, "large")).estimate([*rows, *rows_of(1)]).rows == 1


def test_the_estimate_counts_tokens_and_money() -> None:
    endpoint = Endpoint("http://host", "large")
    cost = Judge(endpoint, price_in=10.0, price_out=30.0).estimate(rows_of(100))
    assert (cost.rows, cost.answer_tokens) == (100, 800)
    assert 4_000 < cost.prompt_tokens < 20_000
    assert cost.price == pytest.approx((cost.prompt_tokens * 10 + 800 * 30) / 1e6)
    assert "100 rows" in str(cost)
    assert Judge(endpoint).estimate(rows_of(1)).price is None


@pytest.mark.parametrize("url", ["ftp://host/v1", "host/v1", "http://"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(NaitError, match="is not an address"):
        Endpoint(url, "large")


def test_the_address_may_be_whole() -> None:
    assert Endpoint("http://h/v1/", "m").address == Endpoint("http://h/v1/chat/completions", "m").address
    assert "secret" not in repr(Endpoint("http://h/v1", "m", "secret"))


def test_an_interrupted_run_goes_on_and_failed_rows_are_tried_again(
    server: Server, waits: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command line: stopped by Ctrl-C, then by a server that fails one row, then finished."""
    root = tmp_path / "own.nait"
    build_small(root, write_lines(tmp_path / "pool.jsonl", small_rows(12)))
    command = ["score", root, "judge", "--url", server.url, "--judge-model", "large", "--workers", "1"]
    command += ["--retries", "0"]
    unasked = nait_index(*command)
    assert (unasked.code, unasked.out) == (2, "")
    assert "nobody can confirm this here, because standard input is not a terminal; add --yes" in unasked.err
    assert server.requests == []
    with monkeypatch.context() as patch:
        interrupt_call(patch, "nait_index.quality.journal.Journal.add", call=5)
        assert nait_index(*command, "--yes").code == 130
    assert len(read_lines(root / "scores" / "judge.jsonl")) == 1 + 4
    with (root / "scores" / "judge.jsonl").open("ab") as file:
        file.write(b'{"id": "row-01')  # a line that a killed process left
    asked = len(server.requests)
    server.reply = lambda text, _: Reply(code=500) if "Add 9 and" in text else Reply("3")
    outcome = nait_index(*command, "--yes", "--price-in", "2")
    assert outcome.code == 0, outcome.err
    assert "8 rows to judge" in outcome.err
    assert "run the same command again" in outcome.err
    assert len(server.requests) == asked + 8
    assert samples_of(root)["row-009"]["judge"] is None
    assert samples_of(root)["row-009"]["judge_status"] == "failed"
    server.reply = lambda text, _: Reply("5")
    report = nait_index(*command, "--yes", "--json").json
    assert (report["computed"], report["reused"], report["statuses"]) == (1, 11, {"ok": 12})
    values = {row_id: row["judge"] for row_id, row in samples_of(root).items()}
    assert values == {
        row_id: 5.0 if row_id == "row-009" else 4.0 if values[row_id] == 4.0 else 3.0 for row_id in values
    }
    assert sum(value == 4.0 for value in values.values()) == 4
    assert len(server.requests) == asked + 9


def test_rows_that_are_always_refused_do_not_keep_the_others_from_being_scored(
    server: Server, waits: list[float], tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    build_small(root, write_lines(tmp_path / "pool.jsonl", small_rows(40)))
    command = ["score", root, "judge", "--url", server.url, "--judge-model", "large", "--workers", "1"]
    command += ["--retries", "0", "--yes"]
    server.reply = lambda text, _: Reply(code=400 if text in list(server.attempts)[:14] else 200)
    first = nait_index(*command)
    assert first.code == 1
    assert "9 rows in a row failed" in first.err
    asked = len(server.requests)
    assert nait_index(*command).code == 0
    texts = [request["messages"][0]["content"] for request in server.requests]
    assert set(texts[:9]).isdisjoint(texts[asked : asked + 31])  # rows that were never tried come first
    for _ in (400, 500):
        again = nait_index(*command)
        assert again.code == 0, again.err
        assert "9 rows in a row failed" in again.err
        assert "14 rows failed; run the same command again" in again.err
        assert sorted(str(row["judge"]) for row in samples_of(root).values()) == ["4.0"] * 26 + ["None"] * 14
        server.reply = lambda text, _: Reply(code=500)
    server.reply = lambda text, _: Reply()
    assert nait_index(*command, "--json").json["statuses"] == {"ok": 40}


def test_the_key_comes_from_the_environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "own.nait"
    build_small(root, write_lines(tmp_path / "pool.jsonl", small_rows(3)))
    command = ["score", root, "judge", "--url", server.url, "--judge-model", "large", "--key-env", "OWN_KEY", "--yes"]
    monkeypatch.delenv("OWN_KEY", raising=False)
    assert "OWN_KEY" in refusal(*command, code=2)
    monkeypatch.setenv("OWN_KEY", "s3cret")
    assert nait_index(*command).code == 0
    assert set(server.keys) == {"Bearer s3cret"}
    assert not any("s3cret" in path.read_text() for path in (root / "scores").iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost", "ftp://host/v1", "http://", "http://[::1", "http://host:port", "http://host:99999",
        "http://a b", "http://a\nb", "http://hôst", "http://me:secret@host",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(NaitError, match="--url"):
        Endpoint(url, "large")


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_a_host_that_cannot_be_looked_up_ends_the_run(host: str) -> None:
    with pytest.raises(NaitError, match="is not an address"):
        Endpoint(f"http://{host}/v1", "large", retries=0).ask([], Pace(None))


@pytest.mark.parametrize(
    "settings",
    [{"temperature": float("nan")}, {"temperature": float("inf")}, {"timeout": float("nan")}, {"timeout": 0}],
)
def test_settings_that_are_no_numbers_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(NaitError, match=f"--{next(iter(settings))}"):
        Endpoint("http://host", "large", **settings)  # type: ignore[arg-type]


def test_an_answer_that_is_nested_deep_may_pass(server: Server) -> None:
    server.reply = lambda text, attempt: Reply(body=b"[" * 100_000) if attempt == 1 else Reply("3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "sleep", lambda self, seconds: None)
        assert Endpoint(server.url, "large").ask([{"role": "user", "content": "x"}], Pace(None)) == "3"


def test_thoughts_without_an_end_take_no_time() -> None:
    started = time.monotonic()
    assert parse_answer("4\n" + "<think>" * 300_000) == 4
    assert parse_answer("<think>1</think>" + "<think>" * 300_000) is None
    assert time.monotonic() - started < 5
