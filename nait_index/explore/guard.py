"""Which requests are answered: those of the page that this program served to the user who started it.

Every page that is open in the browser can reach a server on loopback. So a request must name this machine (and no other
name that resolves to it), carry the key from the address printed at the start, and come from this very page if it
changes something.
"""

import re
import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

START = "/"
"""The only path that accepts the key in its address."""

_THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
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
    """Passes permitted requests on, and adds to every answer the headers that restrict what a browser does with it.

    :param token: the key. :param cookie: the name of the cookie that holds it, a different one for each server.
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
        query = parse_qs(scope["query_string"].decode("latin-1"))
        has_key = scope["path"] == START and self._is_key(query.get("token", [""])[0])
        refusal = self._refusal(scope, Headers(scope=scope), has_key=has_key)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if has_key and refusal is None:
                    headers.append("Set-Cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        answer = self._app if refusal is None else PlainTextResponse(refusal + "\n", 403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers, *, has_key: bool) -> str | None:
        """Return why a request is refused; ``None`` if it is not. :param has_key: the key is in its address."""
        host = headers.get("host", "")
        if not _THIS_MACHINE.fullmatch(host):
            return "this page is served only under 127.0.0.1 and localhost"
        if not has_key:
            if not self._is_key(cookie_parser("; ".join(headers.getlist("cookie"))).get(self._cookie, "")):
                return "open the address that 'nait-index explore' printed; it contains the key"
            if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                return "another page made this request"
        if scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
            return "another page sent this"
        return None

    def _is_key(self, value: str) -> bool:
        return secrets.compare_digest(value.encode("utf-8", "replace"), self._token.encode())
