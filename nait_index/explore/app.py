"""The routes of the page: each reads what was sent, asks the session, and answers in JSON."""

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
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

from nait_index.errors import NaitError
from nait_index.explore.guard import Guard
from nait_index.explore.session import MAX_EXAMPLES, Ask, Session
from nait_index.methods.registry import DEFAULT_METHOD

MAX_BODY = 8 << 20
"""Bytes that may be sent at once."""

_MAX_PAGE = 100
_MAX_NAMES = 100
_AT_ONCE = 1 << 16  # bytes that are read of a file
_LOOK_EVERY = 0.3  # seconds
_GONE = Response(status_code=499)  # to nobody

logger = logging.getLogger(__name__)

Answer = Callable[[Request], Awaitable[Response]]


class RequestError(NaitError):
    """A request is not such as the page sends.

    :param status: the HTTP status that says so.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def make_app(session: Session, token: str, cookie: str = "nait-index-explore") -> ASGIApp:
    """Make the application.

    :param token: the key that requests must bring; :param cookie: the name of the cookie that keeps it.
    """
    own = _Routes(session)
    routes = [
        Route("/", _answering(own.start)),
        Route("/api/status", _answering(own.status)),
        Route("/api/examples", _answering(own.examples), methods=["POST"]),
        Route("/api/choice", _answering(own.choice)),
        Route("/api/rows", _answering(own.rows)),
        Route("/api/row", _answering(own.row)),
        Route("/api/capabilities", _answering(own.capabilities)),
        Route("/api/keep", _answering(own.keep), methods=["POST"]),
        Route("/download/rows", _answering(own.download)),
        Route("/download/meta", _answering(own.download)),
        Mount("/static", StaticFiles(packages=[("nait_index.explore", "static")])),
    ]
    return Guard(Starlette(routes=routes, lifespan=own.lifespan), token, cookie)


class _Routes:
    """The routes. One request at a time uses the model, one the index, each in a thread; the others are not held up."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._model, self._index = asyncio.Lock(), asyncio.Lock()
        self._state: dict[str, str | None] = {"model": "loading", "error": None}
        self._work = _Work()
        self._page = Environment(
            loader=PackageLoader("nait_index.explore"), autoescape=True, undefined=StrictUndefined
        ).get_template("page.html.j2")

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Load the model in the background while the page is being looked at."""
        loading = asyncio.create_task(self._load())
        yield
        loading.cancel()

    async def _load(self) -> None:
        async with self._model:
            self._state = {"model": "loading", "error": None}
            try:
                await run_in_threadpool(self._session.load_model)
            except NaitError as error:
                self._state = {"model": "failed", "error": str(error)}
            except Exception:
                logger.exception("the model could not be loaded")
                self._state = {"model": "failed", "error": "the terminal says why"}
            else:
                self._state = {"model": "ready", "error": None}

    async def start(self, request: Request) -> Response:
        """Give the page."""
        session = self._session
        index, manifest = session.index, session.index.manifest
        facts = {
            "path": index.layout.name,
            "name": index.layout.name.rstrip("/").rsplit("/", 1)[-1],
            "rows": len(index),
            "version": manifest.version,
            "model": manifest.model["name"],
            "editable": index.is_newest,
            "methods": session.methods(),
            "default": str(DEFAULT_METHOD),
            "max_examples": MAX_EXAMPLES,
            "max_bytes": MAX_BODY,
        }
        return HTMLResponse(self._page.render(facts))

    async def status(self, request: Request) -> Response:
        """Say whether the model is there yet, and how many of the examples it has encoded."""
        return JSONResponse(self._state | {"done": self._work.done, "of": self._work.of})

    async def examples(self, request: Request) -> Response:
        """Encode pasted examples, as long as somebody waits for them."""
        text = _text(await _body(request), "text")
        work = _Work()

        def paste() -> dict[str, Any]:
            self._work = work
            return self._session.paste(text, work)

        watching = asyncio.create_task(work.stop_without(request))
        try:
            return await self._in_turn(self._model, request, paste)
        finally:
            watching.cancel()
            work.stop()

    async def choice(self, request: Request) -> Response:
        """Choose, and describe what was chosen."""
        ask = _ask(request)
        return await self._in_turn(self._index, request, lambda: self._session.look(ask))

    async def rows(self, request: Request) -> Response:
        """Give some of the chosen rows."""
        ask, first, count = _ask(request), _number(request, "first", 10**9), _number(request, "count", _MAX_PAGE)
        return await self._in_turn(self._index, request, lambda: self._session.page(ask, first, count))

    async def row(self, request: Request) -> Response:
        """Give all of one row."""
        sample_id = request.query_params.get("id", "")
        return await self._in_turn(self._index, request, lambda: self._session.row(sample_id))

    async def capabilities(self, request: Request) -> Response:
        """List the stored capabilities."""
        return await self._in_turn(self._index, request, self._session.capabilities)

    async def keep(self, request: Request) -> Response:
        """Store pasted examples as a capability."""
        sent = await _body(request)
        pasted, name, force = _text(sent, "pasted"), _text(sent, "name"), sent.get("replace") is True
        return await self._in_turn(self._index, request, lambda: self._session.keep(pasted, name, force=force))

    async def download(self, request: Request) -> Response:
        """Send one of the two files of a selection."""
        ask, wants_meta = _ask(request), request.url.path.endswith("meta")

        def written() -> tuple[str, BinaryIO]:
            # Gone from its folder once it is open, so that nothing is left behind however the sending ends.
            with tempfile.TemporaryDirectory(prefix="nait-index-") as folder:
                path = self._session.write(ask, Path(folder))[wants_meta]
                return path.name, path.open("rb")

        async with self._index:
            name, file = await run_in_threadpool(written)
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(os.fstat(file.fileno()).st_size),
        }
        kind = "application/json" if wants_meta else "application/x-ndjson"
        return StreamingResponse(_parts(file), headers=headers, media_type=kind)

    async def _in_turn(self, turn: asyncio.Lock, request: Request, work: Callable[[], Any]) -> Response:
        """Do some work when it is its turn, unless nobody waits for it any more."""
        async with turn:
            if await request.is_disconnected():
                return _GONE
            return JSONResponse(await run_in_threadpool(work))


class _Work:
    """Encoding that is under way: how far it is, and a way to stop it."""

    def __init__(self) -> None:
        self.done = self.of = 0
        self._stopped = False

    def __call__(self, done: int, of: int) -> None:
        """Note how far it is.

        :raises NaitError: it was stopped.
        """
        self.done, self.of = done, of
        if self._stopped:
            raise NaitError("stopped, since nobody waits for it any more")

    def stop(self) -> None:
        """Let it end after this batch."""
        self._stopped = True

    async def stop_without(self, request: Request) -> None:
        """Stop it when nobody waits for the answer any more."""
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_EVERY)
        self.stop()


def _answering(handler: Answer) -> Answer:
    """Turn what goes wrong into one line of JSON, and what nobody foresaw into one that tells the browser nothing.

    What the library refuses, a filter say, is an answer to the page like any other; a browser would log a failure.
    """

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except NaitError as error:
            return JSONResponse({"error": str(error)}, getattr(error, "status", 200))
        except ClientDisconnect:
            return _GONE
        except Exception:
            logger.exception("%s %s failed", request.method, request.url.path)
            return JSONResponse({"error": "something went wrong here; the terminal says what"}, 500)

    return answer


def _parts(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while part := file.read(_AT_ONCE):
            yield part


def _ask(request: Request) -> Ask:
    query = request.query_params
    names = tuple(dict.fromkeys(query.getlist("name")))
    if len(names) > _MAX_NAMES:
        raise RequestError(f"{len(names)} capabilities at once are more than the {_MAX_NAMES} allowed")
    return Ask(
        names=names,
        pasted=query.get("pasted") or None,
        top=query.get("top", "").strip() or "10%",
        method=query.get("method") or str(DEFAULT_METHOD),
        where=query.get("where", "").strip() or None,
    )


def _number(request: Request, name: str, most: int) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise RequestError(f"{name} is no number from 0 to {most:,}")
    return int(text)


async def _body(request: Request) -> dict[str, Any]:
    """Read what was sent, as a JSON object, and no more of it than is allowed.

    :raises RequestError: it is too large, or something else.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError("this takes JSON alone", 415)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise RequestError(
                f"more than {MAX_BODY >> 20} MB at once; store so many examples with 'nait-index capability add'", 413
            )
        parts.append(part)
    try:
        value = json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        raise RequestError("what was sent is not JSON") from None
    if not isinstance(value, dict):
        raise RequestError("what was sent is no JSON object")
    return value


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str):
        raise RequestError(f"the field '{name}' is missing")
    return value
