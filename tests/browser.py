"""A real headless Chromium for tests of pages. ``conftest.py`` makes its fixtures known: ask for ``page``.

``page`` gives a :class:`Watched`: a fresh page, with its console errors, uncaught exceptions and requests in lists.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(slots=True)
class Watched:
    """A page, and what went wrong on it.

    :param page: Playwright's page. :param errors: console errors and uncaught exceptions.
    :param failed: requests that failed, with the reason. :param requests: every address that was asked for.
    """

    page: "Page"
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Requests that left for anywhere but this machine."""
        local = ("file:", "data:", "blob:", "http://127.0.0.1", "http://localhost", "ws://127.0.0.1", "about:")
        return [url for url in self.requests if not url.startswith(local)]

    def is_wide(self) -> bool:
        """Report whether the body can be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def find_chromium() -> str | None:
    """Return the path of a Chromium: the one that ``CHROMIUM`` names, else one on the path."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Start a headless Chromium; skip where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: no browser to look with"
    )
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium on the path to look at the page with; name one in CHROMIUM")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=list(_QUIET))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator[Watched]:
    """Open a fresh page, 1440 pixels wide, and watch it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    watched = Watched(context.new_page())
    opened = watched.page
    opened.on("console", lambda message: watched.errors.append(message.text) if _is_error(message) else None)
    opened.on("pageerror", lambda error: watched.errors.append(str(error)))
    opened.on("requestfailed", lambda request: watched.failed.append(f"{request.url}: {request.failure}"))
    opened.on("request", lambda request: watched.requests.append(request.url))
    yield watched
    context.close()


def file_url(path: Path) -> str:
    """Return the address of a file on this machine."""
    return path.resolve().as_uri()


def _is_error(message: "ConsoleMessage") -> bool:
    """Return whether a message on the console is an error, and not just an answer of a status from 400 to 499."""
    refused = "Failed to load resource: the server responded with a status of 4"
    return message.type == "error" and not message.text.startswith(refused)
