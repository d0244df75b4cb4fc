"""The notebook of the documentation runs, offline, and is saved with the outputs that it gives."""

from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "choose.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel's own libraries
def test_the_notebook_runs(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    saved = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(fresh, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [_kinds(cell) for cell in fresh.cells] == [_kinds(cell) for cell in saved.cells]
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_is_small_and_saved_without_noise() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr"


def _kinds(cell: nbformat.NotebookNode) -> list[str]:
    """Return what a cell showed: text or pictures."""
    shown = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    return sorted({kind for output in shown for kind in output.get("data", {"text/plain": ""})})
