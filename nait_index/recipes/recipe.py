"""A recipe: YAML text → what is to be built and chosen, checked against the schema; and back from a selection."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from nait_index.config import (
    Device,
    Media,
    ModelConfig,
    Precision,
    SignatureConfig,
    Unanswered,
    View,
)
from nait_index.corpus.columns import parse_columns
from nait_index.errors import NaitError
from nait_index.files import hash_bytes
from nait_index.spelling import did_you_mean, parse_enum
from nait_index.types import ReadPart, Reasoning, RowFormat, Side

SCHEMA = Path(__file__).with_name("schema.json")

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
_OF_QUERIES = {"for": None, "core": None, "output": None, "not": "unlike", "weight": "weights"}
_OF_OUTPUT = {"as": "format", "trainer": "trainers", "scores": "scores", "weights": "weights"}


class RecipeError(NaitError):
    """A recipe cannot be used."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One selection of a recipe.

    :param capabilities: that it is for; :param is_core: whether one core serves them.
    :param options: arguments of ``NaitIndex.query`` or ``core``; :param written: of ``Selection.write``.
    """

    capabilities: tuple[str, ...]
    is_core: bool
    output: Path
    options: Mapping[str, Any]
    written: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What ``nait-index run`` does.

    :param digest: of the recipe's text. :param model: fields of :class:`ModelConfig` that it names, and
        :param signatures: of :class:`SignatureConfig`; :param rows: arguments of ``NaitIndex.build`` that say what is
        read.
    """

    path: Path
    digest: str
    index: str
    corpus: tuple[str, ...]
    model: Mapping[str, Any]
    signatures: Mapping[str, Any]
    rows: Mapping[str, Any]
    capabilities: Mapping[str, tuple[str, ...]]
    choices: tuple[Choice, ...]

    @property
    def lock(self) -> Path:
        """The file that records what came of it."""
        return self.path.with_name(self.path.name + ".lock.json")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    :raises RecipeError: it cannot be read; the message names the line.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        record = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise RecipeError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    _check(path, record, tree)
    folder, build = path.parent, dict(record.get("build", {}))
    if "columns" in build:
        build["columns"] = parse_columns(",".join(f"{name}={column}" for name, column in build["columns"].items()))
    if "views" in build:
        build["views"] = tuple(map(View, build["views"]))
    for name, kind in _ENUMS.items():
        if name in build:
            build[name] = parse_enum(kind, build[name], name, RecipeError)
    if "layers" in build:
        build["layers"] = str(build["layers"])
    named = {name.replace("-", "_"): value for name, value in build.items()}
    model = {setting.name: named[setting.name] for setting in fields(ModelConfig) if setting.name in named}
    model |= {"name": _place(folder, named["model"])} if "model" in named else {}
    return Recipe(
        path=path,
        digest=hash_bytes(text.encode()),
        index=_place(folder, record["index"], new=True),
        corpus=tuple(_place(folder, name) for name in _several(record["corpus"])),
        model=model,
        signatures={setting.name: named[setting.name] for setting in fields(SignatureConfig) if setting.name in named},
        rows={_OF_ROWS[name]: value for name, value in build.items() if name in _OF_ROWS},
        capabilities={
            name: tuple(_place(folder, file) for file in _several(files))
            for name, files in record.get("capabilities", {}).items()
        },
        choices=tuple(_choice(folder, choice) for choice in record.get("choose", ())),
    )


def _choice(folder: Path, choice: Mapping[str, Any]) -> Choice:
    options = {name: value for name, value in choice.items() if name not in (*_OF_QUERIES, *_OF_OUTPUT)}
    options |= {"unlike": _several(choice["not"])} if "not" in choice else {}
    options |= {"weights": choice["weight"]} if "weight" in choice else {}
    written = {_OF_OUTPUT[name]: value for name, value in choice.items() if name in _OF_OUTPUT}
    written |= {"trainers": _several(written["trainers"])} if "trainers" in written else {}
    names = _several(choice["core"] if "core" in choice else choice["for"])
    return Choice(tuple(names), "core" in choice, Path(_place(folder, choice["output"], new=True)), options, written)


def _several(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _place(folder: Path, name: str, *, new: bool = False) -> str:
    """Return the path of a file that a recipe names, relative to it; addresses and names of the Hub stay.

    :param new: whether it is one that is made.
    """
    if "://" in name or name == "-" or Path(name).is_absolute():
        return name
    return str(folder / name) if new or (folder / name).exists() or any(mark in name for mark in "*?[") else name


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of recipes."""
    loaded: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return loaded


def _check(path: Path, record: object, tree: Any) -> None:  # noqa: ANN401 - a node of YAML
    """Hold a recipe against the schema, and report the first fault by line and place."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(record))
    if error is None:
        return
    place, message, line = list(error.absolute_path), error.message, _line(tree, list(error.absolute_path))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema["properties"]
        wrong = next(name for name in error.instance if name not in known)
        message = f"there is no field '{wrong}'{did_you_mean(str(wrong), known)}"
        line = _line(tree, [*place, wrong])
    elif error.validator == "oneOf" and error.schema.get("required") == ["output"]:
        message = "name the capabilities with either 'for' or 'core'"
    where = f" in {_named(place)}" if place else ""
    raise RecipeError(f"{path}, line {line}{where}: {message}")


def _named(place: Sequence[str | int]) -> str:
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def _line(node: Any, place: Sequence[str | int]) -> int:  # noqa: ANN401 - a node of YAML
    """Return the line of a place in a YAML tree, or of the nearest one around it."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in place:
        if isinstance(part, int):
            if not isinstance(node.value, list) or part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
    return int(line)
