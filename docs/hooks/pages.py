"""Texts of the repository as pages of the site, with links that work on the site as well as in the repository."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

PAGES = {
    "benchmarks/README.md": "measurements.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
}
"""Which text outside ``docs/`` is which page; the README has a page of its own that says the same."""

_SOURCES = {page: source for source, page in PAGES.items() if source != "README.md"}
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the texts."""
    for page, source in _SOURCES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:  # noqa: ANN401
    """Turn links between files of the repository into links between pages."""
    source_page = page.file.src_uri
    source = _SOURCES.get(source_page, f"docs/{source_page}")

    def leading_to(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        target = PAGES.get(path) or path.removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(source_page) or '.')}{match[2] or ''})"

    return _LINK.sub(leading_to, markdown)
