"""Rankings of the pool by an index of it, stored because they take minutes for many seeds and methods."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np

import nait_index
from benchmarks.quality.run_cache import digest
from nait_index import NaitIndex
from nait_index.capabilities.capability import Capability


class Rankings:
    """Rankings of one index.

    :param open_index: opens or builds it; called for the first ranking that is not stored.
    :param folder: where they are stored. If the package's code or the index's name changes, they are computed again.
    :param ids: of the pool's rows, in order.
    """

    def __init__(self, open_index: Callable[[], NaitIndex], folder: Path, name: str, ids: Sequence[str]) -> None:
        self._open = open_index
        self._index: NaitIndex | None = None
        self._folder = folder
        self._positions = {sample_id: position for position, sample_id in enumerate(ids)}
        self._source = digest(name, list(ids), code_digest())
        self._encoded: dict[str, Capability] = {}

    def ranking(self, method: str, capability: str, examples: Sequence[str]) -> np.ndarray:
        """Return the positions of all rows in the pool, best first.

        :param examples: the capability's example rows, as JSON text.
        """
        key = digest(self._source, method, capability, list(examples))
        path = self._folder / f"{key}.npy"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part.npy")
            np.save(partial, self._query(method, capability, examples))
            partial.replace(path)
        ranking: np.ndarray = np.load(path)
        return ranking

    def _query(self, method: str, capability: str, examples: Sequence[str]) -> np.ndarray:
        self._index = self._index or self._open()
        click.echo(f"ranking by {method} for {capability}, {len(examples)} examples", err=True)
        encoded = self._capability(self._index, capability, examples)
        selection = self._index.query(encoded, top="100%", method=method)
        return np.array([self._positions[sample_id] for sample_id in selection.ids], dtype=np.int32)

    def _capability(self, index: NaitIndex, name: str, examples: Sequence[str]) -> Capability:
        """Encode the examples once for consecutive methods."""
        key = digest(name, list(examples))
        if key not in self._encoded:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{name}.jsonl"
                file.write_text("".join(row + "\n" for row in examples), encoding="utf-8")
                self._encoded = {key: index.make_capability(file, name)}
        return self._encoded[key]


def code_digest() -> str:
    """Hash the package's code."""
    root = Path(nait_index.__file__).parent
    return digest(*(path.read_bytes() for path in sorted(root.rglob("*.py"))))
