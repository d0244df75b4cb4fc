"""The text of a recipe: YAML that fits the schema, with the line of everything in it.

Paths are relative to the recipe, wherever it is run from. Every fault is one line that names the recipe and its line.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nait_index.corpus.sources import is_elsewhere, is_pattern
from nait_index.errors import NaitError, one_line
from nait_index.spelling import did_you_mean, did_you_mean_path

SCHEMA = Path(__file__).with_name("schema.json")

_OF_QUERIES, _OF_CORES = ("combine", "weight", "select", "mix"), ("rule", "votes", "bootstrap")


class RecipeError(NaitError):
    """A recipe cannot be used."""


Place = Sequence[str | int]
"""Where something stands in a recipe: fields and positions from the top."""


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a recipe, for messages that name its lines.

    :param tree: the root of the YAML tree.
    """

    path: Path
    tree: Any

    @property
    def folder(self) -> Path:
        """The folder that paths are relative to."""
        return self.path.parent

    def fault(self, place: Place, message: str) -> RecipeError:
        """Return the error about something in the recipe."""
        where = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        return RecipeError(f"{self.path}, line {self.line(place)}{f' in {where}' if where else ''}: {message}")

    @contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """Name the line of a place in errors of what is done for it."""
        try:
            yield
        except RecipeError:
            raise
        except NaitError as error:
            raise self.fault(place, str(error)) from error

    def line(self, place: Place) -> int:
        """Return the line of a place, or of the nearest one around it."""
        import yaml

        node = self.tree
        line = 1 if node is None else node.start_mark.line + 1
        for part in place:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            elif isinstance(node, yaml.MappingNode) and (
                pair := next((pair for pair in node.value if pair[0].value == str(part)), None)
            ):
                line, node = pair[0].start_mark.line + 1, pair[1]
            else:
                break
        return int(line)

    def path_of(self, name: str) -> Path:
        """Return the path of a file that the recipe names."""
        return self.folder / Path(name).expanduser()

    def inputs(self, names: str | Sequence[str], *place: str | int) -> tuple[str, ...]:
        """Return the paths of files to read, which must be there; addresses and data sets of the Hub stay.

        :raises RecipeError: there is no such file.
        """
        if isinstance(names, str):
            return (self._input(names, place),)
        return tuple(self._input(name, (*place, position)) for position, name in enumerate(names))

    def _input(self, name: str, place: Place) -> str:
        if name == "-":
            raise self.fault(place, "a recipe cannot read standard input, which is gone when it is run again")
        if is_elsewhere(name, self.folder):
            return name
        path = self.path_of(name)
        if not path.exists() and not is_pattern(name):
            near = did_you_mean_path(path)
            raise self.fault(place, f"there is no file or folder {path}; paths are relative to the recipe{near}")
        return str(path)

    def setting(self, name: str, *place: str | int) -> str:
        """Return the absolute path of a model, template or autoencoder; a model may be one of the Hub instead.

        :raises RecipeError: it is not there.
        """
        path = self.path_of(name)
        if path.exists():
            return os.path.abspath(path)
        is_path = name.startswith((".", "~", "/")) or Path(name).exists()  # in the current folder
        if is_path or place[-1] != "model":
            near = did_you_mean_path(path)
            raise self.fault(place, f"there is no file or folder {path}; paths are relative to the recipe{near}")
        return name


def read_document(path: Path) -> tuple[str, Document, Any]:
    """Read a recipe, and return its text, the document, and what it says, which fits the schema.

    :raises RecipeError: it cannot be read, or does not fit.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        document = Document(path, yaml.compose(text, Loader=yaml.SafeLoader))
        _check_keys(document, document.tree, set())
        record = yaml.safe_load(text)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}{did_you_mean_path(path)}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        raise RecipeError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or one_line(error)}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: not a recipe: it is nested too deeply") from error
    except ValueError as error:  # not UTF-8, or a date that there is not
        raise RecipeError(f"{path}: cannot be read: {one_line(error)}") from error
    _check(document, record)
    return text, document, record


def _check_keys(document: Document, node: Any, seen: set[int]) -> None:  # noqa: ANN401 - a node of YAML
    """Refuse names that YAML reads twice, or as numbers and the like."""
    import yaml

    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(document, item, seen)
        return
    names = set()
    for key, value in node.value:
        line = f"{document.path}, line {key.start_mark.line + 1}"
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            raise RecipeError(f"{line}: to YAML, the name {str(key.value)[:40]} is no text; put it in quotes")
        if key.value in names:
            raise RecipeError(f"{line}: '{key.value}' is there twice")
        names.add(key.value)
        _check_keys(document, value, seen)


def several(value: str | Sequence[str]) -> list[str]:
    """Return one or several names as a list."""
    return [value] if isinstance(value, str) else list(value)


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of recipes."""
    loaded: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return loaded


_TYPES = {
    "object": "a mapping of names to values",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _check(document: Document, record: object) -> None:
    """Check a recipe against the schema, and report the first fault."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        error = best_match(Draft202012Validator(schema()).iter_errors(record))
    except RecursionError:
        raise RecipeError(f"{document.path}: not a recipe: it refers to itself") from None
    if error is not None:
        place, message = _explained(error)
        raise document.fault(place, message)


def _explained(error: Any) -> tuple[Place, str]:  # noqa: ANN401 - of jsonschema
    """Return where a recipe does not fit the schema, and how, in words."""
    place, wrong, expected = list(error.absolute_path), error.instance, error.validator_value
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing"}
    shown = kinds.get(type(wrong), f"'{str(wrong)[:40]}'")
    match error.validator:
        case "additionalProperties":
            known = error.schema["properties"]
            name = next(name for name in wrong if name not in known)
            return [*place, name], f"there is no field '{name}'{did_you_mean(name, known)}"
        case "required":
            return place, f"the field '{next(name for name in expected if name not in wrong)}' is missing"
        case "oneOf":
            return place, "name the capabilities with either 'for' or 'core'"
        case "type":
            types = " or ".join(_TYPES[kind] for kind in several(expected))
            return place, f"{shown} is not {types}"
        case "enum":
            near = did_you_mean(str(wrong), expected)
            return place, f"{shown} is not one of: {', '.join(map(str, expected))}{near}"
        case "minItems":
            return place, "name at least " + ("one" if expected == 1 else str(expected))
        case "pattern":
            return place, f"{shown} is neither a number nor 'full'"
        case "not":
            core = "core" in wrong
            name = next(name for name in (_OF_QUERIES if core else _OF_CORES) if name in wrong)
            return [*place, name], f"'{name}' goes with '{'for' if core else 'core'}'"
    return place, str(error.message)
