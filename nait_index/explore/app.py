"""The routes of the page: each parses a request, asks the session, and answers in JSON."""

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from nait_index.errors import (
    CapabilityError,
    CapabilityExistsError,
    CorpusError,
    ModelError,
    NaitError,
    SelectionError,
    StoreError,
    TemplateError,
    UnknownCapabilityError,
    UnknownRowError,
)
from nait_index.explore.guard import Guard
from nait_index.explore.session import MAX_EXAMPLES, ChoiceRequest, Session
from nait_index.explore.thumbs import Thumbs
from nait_index.methods.registry import DEFAULT_METHOD
from nait_index.report.wording import short_name

MAX_BODY = 8 << 20
"""Bytes of a request's body at most."""

_MAX_PAGE = 100
_MAX_NAMES = 100
_CHUNK = 1 << 16  # bytes of a download that are read at a time
_POLL_SECONDS = 0.3
_DISCONNECTED = Response(status_code=499)  # never sent

_STATUSES: Mapping[type[NaitError], HTTPStatus] = {
    **dict.fromkeys((UnknownCapabilityError, UnknownRowError), HTTPStatus.NOT_FOUND),
    CapabilityExistsError: HTTPStatus.CONFLICT,
    StoreError: HTTPStatus.CONFLICT,  # the index is an old version, is being written, lacks a view, is damaged
    ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
    **dict.fromkeys((CapabilityError, CorpusError, SelectionError, TemplateError), HTTPStatus.UNPROCESSABLE_ENTITY),
}
"""The status of each kind of error, the first that fits."""

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class RequestError(NaitError):
    """A request is not one that the page sends.

    :param status: the HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def make_app(session: Session, token: str, cookie: str = "nait-index-explore") -> ASGIApp:
    """Make the application.

    :param token: the key that requests must carry; :param cookie: the name of the cookie that holds it.
    """
    handlers = _Routes(session)
    routes = [
        Route("/", _answering(handlers.start)),
        Route("/api/status", _answering(handlers.status)),
        Route("/api/examples", _answering(handlers.examples), methods=["POST"]),
        Route("/api/choice", _answering(handlers.choice)),
        Route("/api/rows", _answering(handlers.rows)),
        Route("/api/row", _answering(handlers.row)),
        Route("/api/capabilities", _answering(handlers.capabilities)),
        Route("/api/keep", _answering(handlers.keep), methods=["POST"]),
        Route("/download/rows", _answering(handlers.download)),
        Route("/download/meta", _answering(handlers.download)),
        Mount("/static", StaticFiles(packages=[("nait_index.explore", "static")])),
    ]
    return Guard(Starlette(routes=routes, lifespan=handlers.lifespan), token, cookie)


class _Routes:
    """The handlers. One request at a time uses the model and one the index, each in a thread; others continue."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._model, self._index = asyncio.Lock(), asyncio.Lock()
        self._state: dict[str, str | None] = {"model": "loading", "error": None}
        self._encoding = _Encoding()
        self._page = Environment(
            loader=PackageLoader("nait_index.explore"), autoescape=True, undefined=StrictUndefined
        ).get_template("page.html.j2")

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Load the model in the background while the page is open."""
        loading = asyncio.create_task(self._load())
        yield
        loading.cancel()

    async def _load(self) -> None:
        async with self._model:
            try:
                await run_in_threadpool(self._session.load_model)
            except NaitError as error:
                self._state = {"model": "failed", "error": str(error)}
            except Exception:
                logger.exception("the model could not be loaded")
                self._state = {"model": "failed", "error": "see the terminal for the reason"}
            else:
                self._state = {"model": "ready", "error": None}

    async def start(self, request: Request) -> Response:
        """Render the page."""
        index = self._session.index
        facts = {
            "path": index.layout.name,
            "name": index.layout.name.rstrip("/").rsplit("/", 1)[-1],
            "rows": len(index),
            "version": index.manifest.version,
            "model": short_name(index.manifest.model["name"]),
            "editable": index.is_newest,
            "methods": self._session.methods(),
            "default": str(DEFAULT_METHOD),
            "max_examples": MAX_EXAMPLES,
            "max_bytes": MAX_BODY,
        }
        return HTMLResponse(self._page.render(facts))

    async def status(self, request: Request) -> Response:
        """Report whether the model is loaded, and how many of the pasted examples are encoded."""
        return JSONResponse(self._state | {"done": self._encoding.done, "of": self._encoding.total})

    async def examples(self, request: Request) -> Response:
        """Encode pasted examples, unless the browser disconnects."""
        text = _text(await _body(request), "text")
        encoding = _Encoding()

        def encode() -> dict[str, Any]:
            self._encoding = encoding
            return self._session.encode(text, encoding)

        watching = asyncio.create_task(encoding.stop_on_disconnect(request))
        try:
            return await self._in_turn(self._model, request, encode)
        finally:
            watching.cancel()
            encoding.stop()

    async def choice(self, request: Request) -> Response:
        """Choose rows, and describe them."""
        wanted = _choice_request(request)
        return await self._in_turn(self._index, request, lambda: self._session.describe(wanted))

    async def rows(self, request: Request) -> Response:
        """Return a page of the chosen rows."""
        wanted = _choice_request(request)
        first, count = _number(request, "first", 10**9), _number(request, "count", _MAX_PAGE)
        return await self._in_turn(self._index, request, lambda: self._session.rows(wanted, first, count))

    async def row(self, request: Request) -> Response:
        """Return one row with all of its text."""
        sample_id = request.query_params.get("id", "")
        return await self._in_turn(self._index, request, lambda: self._session.row(sample_id))

    async def capabilities(self, request: Request) -> Response:
        """List the stored capabilities."""
        return await self._in_turn(self._index, request, self._session.capabilities)

    async def keep(self, request: Request) -> Response:
        """Store pasted examples as a capability."""
        body = await _body(request)
        pasted, name, force = _text(body, "pasted"), _text(body, "name"), body.get("replace") is True
        return await self._in_turn(self._index, request, lambda: self._session.store(pasted, name, force=force))

    async def download(self, request: Request) -> Response:
        """Send one of the two files of a selection."""
        wanted, is_sidecar = _choice_request(request), request.url.path.endswith("meta")

        def write() -> tuple[str, BinaryIO]:
            # The file is deleted once it is open, so that nothing is left behind however the sending ends.
            with tempfile.TemporaryDirectory(prefix="nait-index-") as folder:
                path = self._session.write(wanted, Path(folder))[is_sidecar]
                return path.name, path.open("rb")

        async with self._index:
            name, file = await run_in_threadpool(write)
        size, media_type = os.fstat(file.fileno()).st_size, "application/json" if is_sidecar else "application/x-ndjson"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Content-Length": str(size)}
        return StreamingResponse(_chunks(file), headers=headers, media_type=media_type)

    async def _in_turn(self, lock: asyncio.Lock, request: Request, work: Callable[[], Any]) -> Response:
        """Do work in a thread once the lock is free, unless the browser has disconnected by then."""
        async with lock:
            if await request.is_disconnected():
                return _DISCONNECTED
            return JSONResponse(await run_in_threadpool(work))


class _Encoding:
    """The progress of encoding examples, and a way to stop it."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._is_stopped = False

    def __call__(self, done: int, total: int) -> None:
        """Record progress.

        :raises NaitError: encoding was stopped.
        """
        self.done, self.total = done, total
        if self._is_stopped:
            raise NaitError("stopped, since the browser has disconnected")

    def stop(self) -> None:
        """Stop after the current batch."""
        self._is_stopped = True

    async def stop_on_disconnect(self, request: Request) -> None:
        """Wait until the browser disconnects, then stop."""
        while not await request.is_disconnected():
            await asyncio.sleep(_POLL_SECONDS)
        self.stop()


def _answering(handler: Handler) -> Handler:
    """Return a handler that answers errors in one line of JSON; unexpected ones are logged and get a generic 500."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except NaitError as error:
            return JSONResponse({"error": str(error)}, status_of(error))
        except ClientDisconnect:
            return _DISCONNECTED
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            return JSONResponse({"error": "an unexpected error occurred; see the terminal for details"}, 500)

    return answer


def status_of(error: NaitError) -> int:
    """Return the HTTP status of an error that was foreseen."""
    if isinstance(error, RequestError):
        return error.status
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _choice_request(request: Request) -> ChoiceRequest:
    query = request.query_params
    names = tuple(dict.fromkeys(query.getlist("name")))
    if len(names) > _MAX_NAMES:
        raise RequestError(f"{len(names)} capabilities at once are more than the {_MAX_NAMES} allowed")
    return ChoiceRequest(
        names=names,
        pasted=query.get("pasted") or None,
        top=query.get("top", "").strip() or "10%",
        method=query.get("method") or str(DEFAULT_METHOD),
        where=query.get("where", "").strip() or None,
        thumbs=Thumbs(frozenset(query.getlist("like")), frozenset(query.getlist("unlike"))),
    )


def _number(request: Request, name: str, most: int) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise RequestError(f"{name} is not a number from 0 to {most:,}")
    return int(text)


async def _body(request: Request) -> dict[str, Any]:
    """Read the body of a request as a JSON object, up to the size limit.

    :raises RequestError: it is too large, or not a JSON object.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError("the body must be JSON", 415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise RequestError(
                f"more than {MAX_BODY >> 20} MB at once; store so many examples with 'nait-index capability add'", 413
            )
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise RequestError("the body is not a JSON object")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise RequestError(f"the field '{name}' is missing")
    return value
