"""Who may ask: the page that this program served to the person who started it, and no other.

A server on loopback can be reached by every page that the browser has open. So a request must name this machine (no
other name that resolves to it), bring the key that was in the address printed at the start, and, where it changes
something, come from this very page.
"""

import re
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

START = "/"
"""The one path that takes the key in its address."""

_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets through what may ask, and puts the headers on every answer that keep a browser from more than was meant.

    :param token: the key. :param cookie: the name of the cookie that keeps it; of another server another one.
    """

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        by_address = scope["path"] == START and self._is_key(_query(scope, "token"))
        refused = self._refusal(scope, Headers(scope=scope), by_address=by_address)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if by_address and refused is None:
                    headers.append("Set-Cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        answer = self._app if refused is None else PlainTextResponse(refused + "\n", 403)
        await answer(scope, receive, sent)

    def _refusal(self, scope: Scope, headers: Headers, *, by_address: bool) -> str | None:
        host = headers.get("host", "")
        if not _HERE.fullmatch(host):
            return "this page answers to 127.0.0.1 and localhost alone"
        if not by_address:
            if not self._is_key(self._kept(headers)):
                return "open the address that 'nait-index explore' printed; the key is in it"
            if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                return "this was asked for by another page"
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
            return "this was sent by another page"
        return None

    def _kept(self, headers: Headers) -> str:
        kept: dict[str, str] = cookie_parser("; ".join(headers.getlist("cookie")))
        return kept.get(self._cookie, "")

    def _is_key(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _query(scope: Scope, name: str) -> str:
    given: bytes = scope["query_string"]
    return parse_qs(given.decode("latin-1")).get(name, [""])[0]
