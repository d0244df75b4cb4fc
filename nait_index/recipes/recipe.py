"""A recipe: YAML text → what is to be built and chosen, checked before any work is done.

Paths are relative to the recipe, wherever it is run from. Every fault is one line that names the recipe and its line.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nait_index.config import (
    BUNDLED_MODEL,
    Device,
    Media,
    ModelConfig,
    Precision,
    SignatureConfig,
    Unanswered,
    View,
)
from nait_index.corpus import TemplateName
from nait_index.corpus.columns import parse_columns
from nait_index.files import hash_bytes
from nait_index.handover.handover import OutputOptions
from nait_index.recipes.document import Document, RecipeError, read_document, several
from nait_index.selection.budget import Budget
from nait_index.selection.quota import Mix, Quota
from nait_index.spelling import did_you_mean, parse_capability_name, parse_enum
from nait_index.types import ReadPart, Reasoning, RowFormat, Side

_ENUMS = {
    "dtype": Precision,
    "device": Device,
    "reasoning": Reasoning,
    "read": ReadPart,
    "side": Side,
    "unanswered": Unanswered,
    "media": Media,
    "format": RowFormat,
}
_OF_ROWS = {"format": "row_format", "split": "split", "limit": "limit", "unanswered": "unanswered", "media": "media"}
_OF_QUERIES = ("for", "core", "output", "not", "weight")
_OF_OUTPUT = {"as": "format", "trainer": "trainers", "scores": "scores", "weights": "weights"}
_OF_OUTPUT |= {name: name for name in ("shuffle", "validation", "seed")}


@dataclass(frozen=True, slots=True)
class Choice:
    """One selection of a recipe.

    :param capabilities: that it is for; :param is_core: whether one core serves them. :param output: as it is written
        in the recipe; :param path: of the rows, with a slash at its end if it has one.
    :param options: arguments of ``NaitIndex.query`` or ``core``; :param written: of ``OutputOptions``.
    """

    capabilities: tuple[str, ...]
    is_core: bool
    output: str
    path: str
    options: Mapping[str, Any]
    written: Mapping[str, Any]

    def output_options(self, *, force: bool, command: str | None = None) -> OutputOptions:
        """Return how the rows are written.

        :param command: what the user typed. :raises NaitError: they cannot be.
        """
        return OutputOptions(self.path, force=force, command=command, **self.written)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What ``nait-index run`` does.

    :param digest: of the recipe's text; :param build_digest: of what it says of the index.
    :param corpus: paths and other names by what the recipe calls them. :param model: fields of :class:`ModelConfig`
        that it names, and :param signatures: of :class:`SignatureConfig`; :param rows: arguments of
        ``NaitIndex.build`` that say what is read.
    """

    document: Document
    digest: str
    build_digest: str
    index: str
    corpus: Mapping[str, str]
    model: Mapping[str, Any]
    signatures: Mapping[str, Any]
    rows: Mapping[str, Any]
    capabilities: Mapping[str, tuple[str, ...]]
    choices: tuple[Choice, ...]

    @property
    def lock(self) -> Path:
        """The file that records what came of it."""
        return self.document.path.with_name(self.document.path.name + ".lock.json")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    :raises RecipeError: it cannot be used; the message names the line.
    """
    text, document, record = read_document(path)
    build, corpus = dict(record.get("build", {})), several(record["corpus"])
    model, signatures, rows = _settings(document, build)
    capabilities = {}
    for name, files in record.get("capabilities", {}).items():
        with document.at("capabilities", name):
            capabilities[parse_capability_name(name)] = document.inputs(files, "capabilities", name)
    recipe = Recipe(
        document=document,
        digest=hash_bytes(text.encode()),
        build_digest=hash_bytes(json.dumps([record["index"], corpus, build], sort_keys=True).encode()),
        index=record["index"] if "://" in record["index"] else str(document.path_of(record["index"])),
        corpus=dict(zip(corpus, document.inputs(record["corpus"], "corpus"), strict=True)),
        model=model,
        signatures=signatures,
        rows=rows,
        capabilities=capabilities,
        choices=tuple(
            _choice(document, choice, position, capabilities)
            for position, choice in enumerate(record.get("choose", ()))
        ),
    )
    _check_outputs(recipe)
    return recipe


def _settings(document: Document, build: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the settings of model and signatures that a recipe names, and how it reads rows."""
    named: dict[str, Any] = {name.replace("-", "_"): value for name, value in build.items()}
    for name, kind in _ENUMS.items():
        if name in named:
            named[name] = parse_enum(kind, named[name], name, RecipeError)
    if "columns" in named:
        with document.at("build", "columns"):
            named["columns"] = parse_columns(",".join(f"{name}={at}" for name, at in named["columns"].items()))
    if "views" in named:
        named["views"] = tuple(map(View, named["views"]))
    if "layers" in named:
        named["layers"] = str(named["layers"])
    if named.get("pca_dim") == "full":
        named["pca_dim"] = None
    known: dict[str, set[str]] = {"model": {BUNDLED_MODEL}, "template": set(TemplateName), "sae": set()}
    for name, usual in known.items():
        if name in named and named[name] not in usual:
            named[name] = document.setting(named[name], "build", name)
    if "model" in named:
        named["name"] = named.pop("model")
    model = {setting.name: named[setting.name] for setting in fields(ModelConfig) if setting.name in named}
    signatures = {setting.name: named[setting.name] for setting in fields(SignatureConfig) if setting.name in named}
    with document.at("build"):
        ModelConfig(**model)
        SignatureConfig(**signatures)
    return model, signatures, {_OF_ROWS[name]: value for name, value in named.items() if name in _OF_ROWS}


def _choice(
    document: Document, choice: Mapping[str, Any], position: int, capabilities: Mapping[str, tuple[str, ...]]
) -> Choice:
    place = ("choose", position)
    options = {name: value for name, value in choice.items() if name not in (*_OF_QUERIES, *_OF_OUTPUT)}
    options |= {"unlike": several(choice["not"])} if "not" in choice else {}
    options |= {"weights": choice["weight"]} if "weight" in choice else {}
    written = {_OF_OUTPUT[name]: value for name, value in choice.items() if name in _OF_OUTPUT}
    written |= {"trainers": several(written["trainers"])} if "trainers" in written else {}
    named = "core" if "core" in choice else "for"
    for field in (named, "not"):
        for name in several(choice.get(field, [])):
            if name not in capabilities:
                near = did_you_mean(name, capabilities)
                raise document.fault([*place, field], f"there is no '{name}' under 'capabilities'{near}")
    if "top" in options:
        with document.at(*place, "top"):
            options["top"] = Budget.parse(options["top"])
    if "at-most" in options:
        with document.at(*place, "at-most"):
            options["at_most"] = [str(Quota.parse(text)) for text in several(options.pop("at-most"))]
    if "mix" in options:
        with document.at(*place, "mix"):
            Mix.parse(options["mix"])
    path = str(document.path_of(choice["output"])) + ("/" if choice["output"].endswith("/") else "")
    return Choice(tuple(several(choice[named])), named == "core", choice["output"], path, options, written)


def _check_outputs(recipe: Recipe) -> None:
    """Refuse outputs that would replace what the recipe reads, one another, or a file that is no selection."""
    taken = {recipe.document.path.resolve(): "the recipe", recipe.lock.resolve(): "the lock file of the recipe"}
    taken |= {Path(name).resolve(): "the corpus" for name in recipe.corpus.values()}
    taken |= {Path(name).resolve(): "the examples" for names in recipe.capabilities.values() for name in names}
    taken[Path(recipe.index).resolve()] = "the index"
    for position, choice in enumerate(recipe.choices):
        place = ("choose", position, "output")
        with recipe.document.at(*place):
            options = choice.output_options(force=True)
        for path in (options.path, *options.files_beside):
            resolved = path.resolve()
            if resolved in taken:
                raise recipe.document.fault(place, f"{path} is {taken[resolved]}; name another file")
            if os.path.lexists(resolved) and not options.has_written(path):
                raise recipe.document.fault(
                    place,
                    f"{path} exists, and is no selection: {options.sidecar.name} is not beside it, or does "
                    "not name it; name another file",
                )
            taken[resolved] = "an output already"
