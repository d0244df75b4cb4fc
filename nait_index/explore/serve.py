"""The server of the page, on this machine alone."""

import errno
import logging
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress

from nait_index.errors import NaitError
from nait_index.index import NaitIndex

HOST = "127.0.0.1"
PORT = 8737

_KEY_BYTES = 32


def serve(index: NaitIndex, *, port: int = PORT, browser: bool = True, ready: Callable[[str], object] = print) -> None:
    """Serve the page on an index to this machine alone, until Ctrl-C.

    :param port: 0 for any free one. :param browser: open the page in the user's browser.
    :param ready: called with the page's address, which contains the key, once the page can be requested.
    :raises NaitError: the port is in use, or a package is missing.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise NaitError("explore needs starlette and uvicorn: pip install 'nait-index[explore]'") from None
    from nait_index.explore.app import make_app
    from nait_index.explore.session import Session

    with listen(port) as listening:
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(_KEY_BYTES)
        app = make_app(Session(index), token, f"nait-index-{port}")
        # Requests are not logged, since the first contains the key; nor are those interrupted at the end.
        config = uvicorn.Config(
            app, log_level=logging.CRITICAL, access_log=False, server_header=False, ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        address = f"http://{HOST}:{port}/?token={token}"
        ready(address)
        if browser and _has_browser():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has shut down
            uvicorn.Server(config).run(sockets=[listening])


def listen(port: int) -> socket.socket:
    """Listen on a port of this machine.

    :raises NaitError: the port is in use or not allowed.
    """
    opened = socket.socket()
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((HOST, port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        is_in_use = error.errno == errno.EADDRINUSE
        reason = "is in use" if is_in_use else f"cannot be used ({error.strerror or error})"
        raise NaitError(f"port {port} {reason}; choose another with --port, or any free one with --port 0") from error
    return opened


def _has_browser() -> bool:
    """Report whether there is a display; without one, a text browser would take over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
