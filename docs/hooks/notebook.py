"""Notebooks as pages, with the outputs that they were saved with."""

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add a page for every notebook; the notebook itself stays beside it for download."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        assert notebook.abs_src_path
        text = "\n\n".join(_cells(json.loads(Path(notebook.abs_src_path).read_text(encoding="utf-8"))))
        files.append(File.generated(config, notebook.src_uri.removesuffix("ipynb") + "md", content=text))


def _cells(notebook: dict[str, Any]) -> Iterator[str]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        yield source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```"
        for output in cell.get("outputs", []):
            yield from _shown(output)


def _shown(output: dict[str, Any]) -> Iterator[str]:
    data = output.get("data", {})
    if output["output_type"] == "stream" and output["name"] == "stdout":
        yield _plain("".join(output["text"]))
    elif "image/png" in data:
        alt = html.escape("".join(data.get("text/plain", "")))
        yield f'<img src="data:image/png;base64,{"".join(data["image/png"]).strip()}" alt="{alt}">'
    elif "text/plain" in data:
        yield _plain("".join(data["text/plain"]))


def _plain(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
