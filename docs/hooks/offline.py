"""The site must work without a network: a page that loads anything from elsewhere is a warning, and so an error."""

import logging
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

_LOADS = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\s(?:src|href)=[\"']?(?:https?:)?//[^\"'\s>]+")


def on_post_build(config: MkDocsConfig) -> None:
    """Warn of every address that a page loads from elsewhere."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        for address in _LOADS.findall(page.read_text(encoding="utf-8")):
            logging.getLogger("mkdocs.hooks.offline").warning("%s loads from elsewhere: %s", page.name, address)
