"""One OpenAI-compatible ``/chat/completions`` endpoint, asked with patience.

What may pass is tried again, with waits of 1, 2, 4, … seconds or as long as ``Retry-After`` says: 408, 429, 5xx,
timeouts, broken connections, answers that are no JSON. What cannot pass ends the run: a wrong key or address. What is
the row's own fault (400, 413, 422) fails the row.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from nait_index.errors import NaitError
from nait_index.quality.pace import Pace

_ROWS_FAULT = frozenset({400, 413, 422})
_PASSING = frozenset({408, 409, 425, 429})
_LONGEST_WAIT = 300.0
_LONGEST_TIMEOUT = 86_400
_LARGEST_ANSWER = 4 * 2**20


class RequestFailed(Exception):
    """One request has no answer, after all attempts; others may have."""


class _Again(Exception):
    """An attempt failed in a way that may pass.

    :param wait: seconds that the server asks for. :param everyone: all requests must wait, not only this one.
    """

    def __init__(self, reason: str, wait: float | None = None, *, everyone: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.everyone = everyone


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is and how to ask it.

    :param url: its base, such as ``https://api.example.com/v1``, or the whole address of ``/chat/completions``.
    :param key: sent as a bearer token; ``None`` for servers that want none.
    :param temperature: ``None`` leaves it to the server, as some models demand; so does ``max_tokens``.
    :param retries: attempts after the first; :param timeout: seconds an attempt may take.
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
            raise NaitError(f"--url '{self.url}' is no address; give one such as https://api.example.com/v1")
        if "@" in urlsplit(self.url).netloc:
            raise NaitError("--url holds a name or a password, which messages would show; give a key with --key-env")
        if self.key is not None and not _is_plain(self.key):
            raise NaitError("the key holds a space, a line end or another character that no key has; set it anew")
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
        """Give what the model says to some messages.

        :raises RequestFailed: there is no answer to this. :raises NaitError: there will be none to anything.
        """
        reason = ""
        for attempt in range(self.retries + 1):
            if not pace.wait():
                raise RequestFailed("stopped")
            try:
                return self._hidden(self._attempt(messages))
            except _Again as failed:
                reason = str(failed)
                # The jitter keeps workers that failed together from coming back together.
                own = 2.0**attempt * random.uniform(1.0, 1.25) if failed.wait is None else failed.wait
                wait, everyone = min(own, _LONGEST_WAIT), failed.everyone
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
                raise self._refused(error) from error
        except (OSError, HTTPException) as error:  # no connection, a broken one, or none in time
            reason = _one_line(getattr(error, "reason", None) or error) or type(error).__name__
            raise _Again(f"no answer from {self.address}: {self._hidden(reason)}") from error
        except UnicodeError as error:  # a part of the host's name is empty or too long
            raise NaitError(f"--url '{self.url}' is no address: {_one_line(error)}") from error

    def _request(self, messages: Sequence[Mapping[str, str]]) -> Request:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        body |= {} if self.temperature is None else {"temperature": self.temperature}
        body |= {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        return Request(self.address, json.dumps(body).encode(), headers, method="POST")

    def _refused(self, error: HTTPError) -> Exception:
        """Judge an HTTP error: to be tried again, the row's fault, or the end."""
        said = f"{self.address} answered {error.code}: {_one_line(self._hidden(_message(error)))}"
        if error.code in _PASSING or error.code >= 500:
            return _Again(said, _retry_after(error.headers.get("Retry-After")), everyone=error.code == 429)
        if error.code in _ROWS_FAULT:
            return RequestFailed(said)
        return NaitError(f"{said}; check --url, --judge-model and the key")

    def _hidden(self, text: str) -> str:
        """Take the key out of what a server says, for that is shown and written down."""
        return text.replace(self.key, "[the key]") if self.key else text


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: the key is for the address that was given, and a POST does not survive a redirect."""

    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        return None


_OPENER = build_opener(_NoRedirect)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return _is_plain(url) and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False


def _is_plain(text: str) -> bool:
    """Tell whether text can stand in the head of a request."""
    return text.isascii() and text.isprintable() and text != "" and " " not in text


def _content(body: bytes) -> str:
    """Find the answer in a response; one that is empty is an answer too."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise _Again("the answer is not that of /chat/completions") from error
    return content if isinstance(content, str) else ""


def _message(error: HTTPError) -> str:
    """Give what the server says of an error."""
    try:
        body = error.read(2**16).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return str(error.reason)
    try:
        own = json.loads(body)["error"]
        body = own["message"] if isinstance(own, dict) else own
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return str(body) if str(body).strip() else str(error.reason)


def _retry_after(value: str | None) -> float | None:
    """Read the header: seconds, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.now(moment.tzinfo or UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]
