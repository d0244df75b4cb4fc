"""One OpenAI-compatible ``/chat/completions`` endpoint, with retries and rate limiting.

Transient errors are retried after 1, 2, 4, … seconds, or as long as ``Retry-After`` says: 408, 409, 425, 429, 5xx,
timeouts, broken connections, answers that are not JSON. Errors that come from the row (400, 413, 422) refuse the row.
All others, such as a wrong key or address, end the run.
"""

import json
import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from nait_index.errors import NaitError

_ROW_ERRORS = frozenset({400, 413, 422})
_TRANSIENT = frozenset({408, 409, 425, 429})
_LONGEST_WAIT = 300.0
_LONGEST_TIMEOUT = 86_400
_LARGEST_ANSWER = 4 * 2**20


class RequestFailed(Exception):
    """A request got no answer; others may still get one."""


class RequestRefused(Exception):
    """The endpoint answers, but refuses this request."""


class _TransientError(Exception):
    """An attempt failed in a way that may pass.

    :param wait: seconds that the server asks to wait. :param everyone: all requests must wait, not only this one.
    """

    def __init__(self, reason: str, wait: float | None = None, *, everyone: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.everyone = everyone


class Pace:
    """When requests may go out: at a limited rate, and none while the server asks to wait. Shared by all workers.

    :param per_minute: the most requests per minute, spread evenly; ``None`` for no limit.
    """

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def wait(self) -> bool:
        """Wait until one request may go out; return ``False`` if everything was stopped meanwhile."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        return not self._stopped.wait(turn - now)

    def hold(self, seconds: float) -> None:
        """Hold back all requests for a number of seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, unless everything is stopped."""
        self._stopped.wait(seconds)

    def stop(self) -> None:
        """Wake all waiting workers; no further request goes out."""
        self._stopped.set()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is and how to ask it.

    :param url: the base, such as ``https://api.example.com/v1``, or the full address of ``/chat/completions``.
    :param key: sent as a bearer token; ``None`` for servers that need none.
    :param temperature: ``None`` leaves it to the server, as some models require; likewise ``max_tokens``.
    :param retries: attempts after the first. :param timeout: seconds that an attempt may take.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    temperature: float | None = 0.0
    max_tokens: int | None = None
    retries: int = 5
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise NaitError(f"--url '{self.url}' is not an address; use one such as https://api.example.com/v1")
        if "@" in urlsplit(self.url).netloc:
            raise NaitError("--url holds a user name or password, which messages would show; use --key-env for a key")
        if self.key is not None and not _is_plain(self.key):
            raise NaitError("the key holds a space, a line end or another character that no key has; set it again")
        if self.temperature is not None and not math.isfinite(self.temperature):
            raise NaitError(f"--temperature must be a finite number, not {self.temperature}")
        if not 0 < self.timeout <= _LONGEST_TIMEOUT:
            raise NaitError(f"--timeout must be from 0 to {_LONGEST_TIMEOUT} seconds, not {self.timeout}")

    @property
    def address(self) -> str:
        """The address that requests go to."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    def ask(self, messages: Sequence[Mapping[str, str]], pace: Pace) -> str:
        """Return the model's answer to some messages.

        :raises RequestFailed: this request gets no answer. :raises RequestRefused: it is refused.
        :raises NaitError: no request will get an answer.
        """
        reason = ""
        for attempt in range(self.retries + 1):
            if not pace.wait():
                raise RequestFailed("stopped")
            try:
                return self._without_key(self._attempt(messages))
            except _TransientError as error:
                reason = str(error)
                # The jitter keeps workers that failed together from coming back together.
                backoff = 2.0**attempt * random.uniform(1.0, 1.25) if error.wait is None else error.wait
                wait, everyone = min(backoff, _LONGEST_WAIT), error.everyone
            if everyone:
                pace.hold(wait)
            elif attempt < self.retries:
                pace.sleep(wait)
        raise RequestFailed(f"{reason} ({self.retries + 1} attempts)")

    def _attempt(self, messages: Sequence[Mapping[str, str]]) -> str:
        try:
            with _OPENER.open(self._request(messages), timeout=self.timeout) as response:
                return _content(response.read(_LARGEST_ANSWER))
        except HTTPError as error:
            with error:
                raise self._refusal(error) from error
        except (OSError, HTTPException) as error:  # no connection, a broken one, or none in time
            reason = _one_line(getattr(error, "reason", None) or error) or type(error).__name__
            raise _TransientError(f"no answer from {self.address}: {self._without_key(reason)}") from error
        except UnicodeError as error:  # a part of the host's name is empty or too long
            raise NaitError(f"--url '{self.url}' is not an address: {_one_line(error)}") from error

    def _request(self, messages: Sequence[Mapping[str, str]]) -> Request:
        optional = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        body |= {name: value for name, value in optional.items() if value is not None}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return Request(self.address, json.dumps(body).encode(), headers, method="POST")

    def _refusal(self, error: HTTPError) -> Exception:
        """Return the error to raise for an HTTP error: retried, of this row alone, or of the whole run."""
        reason = f"{self.address} answered {error.code}: {_one_line(self._without_key(_message(error)))}"
        if error.code in _TRANSIENT or error.code >= 500:
            wait = _retry_after(error.headers.get("Retry-After", ""))
            return _TransientError(reason, wait, everyone=error.code == 429)
        if error.code in _ROW_ERRORS:
            return RequestRefused(reason)
        return NaitError(f"{reason}; check --url, --judge-model and the key")

    def _without_key(self, text: str) -> str:
        """Remove the key from what a server sent, because that is shown and stored."""
        return text.replace(self.key, "[the key]") if self.key else text


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: the key is for the given address alone, and a POST does not survive a redirect."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        return None


_OPENER = build_opener(_NoRedirect)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return _is_plain(url) and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # invalid brackets or port
        return False


def _is_plain(text: str) -> bool:
    """Report whether text may be part of a request's header."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def _content(body: bytes) -> str:
    """Extract the answer from a response; an empty one is an answer too."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise _TransientError("the answer is not that of /chat/completions") from error
    return content if isinstance(content, str) else ""


def _message(error: HTTPError) -> str:
    """Extract the server's message from an HTTP error."""
    body = ""
    with suppress(OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
        body = error.read(2**16).decode("utf-8", "replace")
        details = json.loads(body)["error"]
        body = str(details["message"] if isinstance(details, dict) else details)
    return body if body.strip() else str(error.reason)


def _retry_after(value: str) -> float | None:
    """Return the header's value, seconds or a date, as seconds from now; ``None`` if it is neither."""
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.now(moment.tzinfo or UTC)).total_seconds())
    return None


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]
