"""Do what a recipe says: build, store the capabilities, choose and write; what is up to date is left as it is."""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nait_index.building.report import ProgressCallback
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.files import atomic_write, hash_file
from nait_index.handover.handover import OutputOptions
from nait_index.index import NaitIndex
from nait_index.recipes.recipe import Choice, Recipe

Tell = Callable[[str], None]
"""Takes a sentence on what was done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a recipe.

    :param outputs: the files of rows that it wrote, or that were there already. :param lock: the file that records
        everything; see :func:`run_recipe`.
    """

    index: NaitIndex
    outputs: tuple[Path, ...]
    lock: Path


def run_recipe(
    recipe: Recipe, tell: Tell, progress: ProgressCallback | None = None, *, command: str | None = None
) -> Outcome:
    """Do what a recipe says. Interrupted, it goes on where it was when it is run again.

    The lock file that it writes holds the hash of the recipe, the versions, the fingerprint of the index and its number
    of rows, the state of every capability, and the hash of every file.

    :param command: what the user typed, for the sidecars.
    :raises NaitError: a step cannot be done; those before it stay done.
    """
    index = _built(recipe, tell, progress)
    for name, files in recipe.capabilities.items():
        known = {row["name"]: row["created"] for row in index.capabilities()}
        index.add_capability(name, list(files), force=True)
        now = {row["name"]: row["created"] for row in index.capabilities()}
        tell(f"capability {name}: {'as it was' if known.get(name) == now[name] else 'stored'}")
    for choice in recipe.choices:
        _write(index, choice, tell, command)
    outputs = tuple(choice.output for choice in recipe.choices)
    with atomic_write(recipe.lock) as file:
        file.write((json.dumps(_lock(recipe, index, outputs), indent=1, ensure_ascii=False) + "\n").encode())
    return Outcome(index, outputs, recipe.lock)


def _built(recipe: Recipe, tell: Tell, progress: ProgressCallback | None) -> NaitIndex:
    if (known := _up_to_date(recipe)) is not None:
        tell(f"{recipe.index}: up to date, {known.manifest.rows:,} rows")
        return known
    config, signatures = NaitIndex.settings(
        recipe.index,
        ModelConfig(**recipe.model),
        SignatureConfig(**recipe.signatures),
        {*recipe.model, *recipe.signatures},
    )
    index = NaitIndex.build(
        recipe.index, list(recipe.corpus), model=config, signatures=signatures, progress=progress, **recipe.rows
    )
    report = index.report
    assert report is not None
    tell(f"{recipe.index}: {report.indexed:,} rows indexed, {report.present:,} present, {report.rejected:,} rejected")
    return index


def _up_to_date(recipe: Recipe) -> NaitIndex | None:
    """Return the index if the lock says that it was made by this recipe from the files as they are."""
    try:
        lock = json.loads(recipe.lock.read_text(encoding="utf-8"))
        if lock["recipe"] != recipe.digest or lock["corpus"] != _stamps(recipe):
            return None
        index = NaitIndex(recipe.index)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return index if lock["index"] == _state(index) else None


def _write(index: NaitIndex, choice: Choice, tell: Tell, command: str | None) -> None:
    output = OutputOptions(choice.output, force=True, command=command, **choice.written)
    choose = index.core if choice.is_core else index.query
    before = hash_file(choice.output) if choice.output.is_file() else None
    written = choose(list(choice.capabilities), **choice.options).write_output(output)
    same = before is not None and before == hash_file(choice.output)
    tell(f"{choice.output}: {written.rows:,} rows{', as they were' if same else ''}")


def _stamps(recipe: Recipe) -> dict[str, Any]:
    """Return size and time of the corpus files that lie here, by name; other sources always count as the same."""
    stamps: dict[str, Any] = {}
    for name in recipe.corpus:
        path = Path(name)
        files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []
        stamps[name] = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
    return stamps


def _state(index: NaitIndex) -> dict[str, Any]:
    manifest = index.manifest
    return {"fingerprint": manifest.fingerprint.digest, "basis": manifest.basis, "rows": manifest.rows}


def _lock(recipe: Recipe, index: NaitIndex, outputs: tuple[Path, ...]) -> Mapping[str, Any]:
    return {
        "recipe": recipe.digest,
        "versions": {"nait-index": version("nait-index"), "python": platform.python_version()},
        "libraries": dict(index.manifest.libraries),
        "corpus": _stamps(recipe),
        "index": _state(index),
        "capabilities": {
            row["name"]: row["examples"] for row in index.capabilities() if row["name"] in recipe.capabilities
        },
        "outputs": {str(path): hash_file(path) for path in outputs if path.is_file()},
    }
