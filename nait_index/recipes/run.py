"""Do what a recipe says: build, store the capabilities, choose and write; what is up to date is left as it is."""

import glob
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nait_index.building.report import ProgressCallback
from nait_index.config import Device, ModelConfig, SignatureConfig
from nait_index.errors import (
    FingerprintError,
    IncompleteIndexError,
    ModelError,
    NaitError,
    NotAnIndexError,
    TemplateError,
)
from nait_index.files import atomic_write, hash_bytes, hash_file
from nait_index.index import NaitIndex
from nait_index.recipes.recipe import Choice, Recipe

Tell = Callable[[str], None]
"""Takes a sentence on what was done."""


@dataclass(frozen=True, slots=True)
class RecipeRun:
    """What came of a recipe.

    :param outputs: the files of rows that it wrote, or that were there already. :param lock: the file that records
        everything; see :func:`run_recipe`.
    """

    index: NaitIndex
    outputs: tuple[str, ...]
    lock: Path


def run_recipe(
    recipe: Recipe, tell: Tell, progress: ProgressCallback | None = None, *, command: str | None = None
) -> RecipeRun:
    """Do what a recipe says. Interrupted, it goes on where it was when it is run again.

    The lock file that it writes holds the hash of the recipe, the versions, the fingerprint of the index and its number
    of rows, the hash of the examples of every capability, and that of every file of rows.

    :param command: what the user typed, for the sidecars.
    :raises NaitError: a step cannot be done; those before it stay done.
    """
    try:
        index = _up_to_date(recipe, tell) or _build(recipe, tell, progress)
    except NaitError as error:
        of_settings = isinstance(error, FingerprintError | ModelError | TemplateError)
        raise recipe.document.fault(["build" if of_settings else "corpus"], str(error)) from error
    for name, files in recipe.capabilities.items():
        with recipe.document.at("capabilities", name):
            store(index, name, files, tell)
    for position, choice in enumerate(recipe.choices):
        with recipe.document.at("choose", position):
            _write(index, choice, tell, command)
    with atomic_write(recipe.lock) as file:
        file.write((json.dumps(_lock(recipe, index), indent=1, ensure_ascii=False) + "\n").encode())
    return RecipeRun(index, tuple(choice.path for choice in recipe.choices), recipe.lock)


def _build(recipe: Recipe, tell: Tell, progress: ProgressCallback | None) -> NaitIndex:
    config, signatures = NaitIndex.settings(
        recipe.index,
        ModelConfig(**recipe.model),
        SignatureConfig(**recipe.signatures),
        {*recipe.model, *recipe.signatures},
    )
    corpus = list(recipe.corpus.values())
    index = NaitIndex.build(
        recipe.index, corpus, model=config, signatures=signatures, progress=progress, replace=True, **recipe.rows
    )
    tell_of_build(index, recipe.index, "the corpus of the recipe", tell)
    return index


def tell_of_build(index: NaitIndex, name: str, corpus: str, tell: Tell) -> None:
    """Report what came of a build that is just done.

    :param name: of the index; :param corpus: what its corpus is called.
    """
    report = index.report
    assert report is not None
    tell(f"{name}: {report.indexed:,} indexed, {report.present:,} present, {report.rejected:,} rejected")
    if report.rejected:
        tell(f"rejected rows, with reasons: {index.layout.rejected}")
    for warning in report.warnings:
        tell(warning)
    if gone := _gone(index):
        rows = f"{gone:,} row{' of the index is' if gone == 1 else 's of the index are'}"
        tell(f"{rows} not in {corpus}; remove {name} to be rid of {'it' if gone == 1 else 'them'}")


def _up_to_date(recipe: Recipe, tell: Tell) -> NaitIndex | None:
    """Return the index if the lock says that it was made by this recipe from the files as they are."""
    try:
        lock = json.loads(recipe.lock.read_text(encoding="utf-8"))
        if lock["build"] != recipe.build_digest or any(lock[part] != now for part, now in _stamps(recipe).items()):
            return None
        index = NaitIndex(recipe.index, model=recipe.model.get("name"), device=recipe.model.get("device", Device.AUTO))
        if lock["index"] != _state(index) or lock["gone"]:
            return None
    except (OSError, ValueError, LookupError, TypeError, NotAnIndexError, IncompleteIndexError):
        return None
    tell(f"{recipe.index}: up to date, {index.manifest.rows:,} rows")
    return index


def _gone(index: NaitIndex) -> int:
    """Return how many rows of an index that was just built are no longer in its corpus."""
    return 0 if index.report is None else index.manifest.rows - index.report.indexed - index.report.present


def store(index: NaitIndex, name: str, files: Sequence[str], tell: Tell) -> None:
    """Store a capability, and report what came of it."""
    before = index.manifest.version
    stored = index.add_capability(name, list(files), force=True)
    if index.manifest.version == before:
        return  # which was reported
    rejected = f", {stored.rejected} rejected" if stored.rejected else ""
    tell(f"capability {name}: {len(stored)} examples stored{rejected}")
    for warning in stored.warnings:
        tell(f"capability {name}: {warning}")


def _write(index: NaitIndex, choice: Choice, tell: Tell, command: str | None) -> None:
    choose = index.core if choice.is_core else index.query
    path = Path(choice.path)
    before = _hash(path)
    written = choose(list(choice.capabilities), **choice.options).write_output(
        choice.output_options(force=True, command=command)
    )
    same = before is not None and before == _hash(path)
    tell(f"{path}: {written.rows:,} rows{', as they were' if same else ''}")
    for sentence in () if same else written.notes:
        tell(sentence)


def _hash(path: Path) -> str | None:
    """Return the hash of a file of rows, or of the tables in a folder of them; ``None`` if there is none."""
    if not path.is_dir():
        return hash_file(path) if path.is_file() else None
    return hash_bytes("".join(hash_file(table) for table in sorted(path.rglob("*.arrow"))).encode())


def _stamps(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return size and time of the files that lie here, of the corpus and of model, template and autoencoder, by name.

    Other sources always count as the same.
    """
    settings = {"model": recipe.model.get("name"), "template": recipe.model.get("template")}
    settings["sae"] = recipe.signatures.get("sae")
    here = {name: value for name, value in settings.items() if value is not None and os.path.isabs(value)}
    return {
        part: {name: [_stamp(file, recipe) for file in _files(path) if file.is_file()] for name, path in paths.items()}
        for part, paths in {"corpus": recipe.corpus, "settings": here}.items()
    }


def _stamp(file: Path, recipe: Recipe) -> list[Any]:
    facts = file.stat()
    return [os.path.relpath(file, recipe.document.folder), facts.st_size, facts.st_mtime_ns]


def _files(path: str) -> list[Path]:
    there = [Path(path)] if os.path.lexists(path) else [Path(name) for name in glob.glob(path, recursive=True)]
    return sorted(file for place in there for file in (place.rglob("*") if place.is_dir() else (place,)))


def _state(index: NaitIndex) -> dict[str, Any]:
    manifest, content = index.manifest, index.columns.table.content_hash()
    facts = {"fingerprint": manifest.fingerprint.digest, "basis": manifest.basis}
    return facts | {"rows": manifest.rows, "content": content}


def _lock(recipe: Recipe, index: NaitIndex) -> Mapping[str, Any]:
    outputs = {choice.output: Path(choice.path) for choice in recipe.choices}
    return {
        "recipe": recipe.digest,
        "build": recipe.build_digest,
        "versions": {"nait-index": version("nait-index"), "python": platform.python_version()},
        "libraries": dict(index.manifest.libraries),
        **_stamps(recipe),
        "index": _state(index),
        "gone": _gone(index),
        "capabilities": {
            name: hash_bytes("\n".join(index.capability_rows(name)).encode()) for name in recipe.capabilities
        },
        "outputs": {name: _hash(path) for name, path in outputs.items()},
    }
