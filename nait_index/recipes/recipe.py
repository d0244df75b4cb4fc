"""A recipe: YAML text → what is to be built and chosen, checked before any work is done.

Paths are relative to the recipe, wherever it is run from. Every fault is one line that names the recipe and its line.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
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
from nait_index.corpus.sources import is_elsewhere, is_pattern
from nait_index.errors import NaitError, one_line
from nait_index.files import hash_bytes
from nait_index.handover.handover import OutputOptions
from nait_index.selection.budget import Budget
from nait_index.selection.quota import Mix, Quota
from nait_index.spelling import did_you_mean, did_you_mean_path, parse_capability_name, parse_enum
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
_OF_QUERIES = ("for", "core", "output", "not", "weight")
_OF_UNIONS, _OF_CORES = ("combine", "weight"), ("rule", "votes", "bootstrap")
_OF_OUTPUT = {"as": "format", "trainer": "trainers", "scores": "scores", "weights": "weights"}
_OF_OUTPUT |= {name: name for name in ("shuffle", "validation", "seed")}


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
    text, tree, record = _read(path)
    document = Document(path, tree)
    _check(document, record)
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


def _read(path: Path) -> tuple[str, Any, Any]:
    """Return a recipe's text, its YAML tree, and what it says."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_keys(Document(path, tree), tree, set())
        return text, tree, yaml.safe_load(text)
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
            sidecar = choice.output_options(force=True).sidecar
        path = Path(choice.path).resolve()
        if path in taken:
            raise recipe.document.fault(place, f"{choice.path} is {taken[path]}; name another file")
        if os.path.lexists(path) and not os.path.lexists(sidecar):
            raise recipe.document.fault(
                place, f"{choice.path} exists, and is no selection: {sidecar.name} is not beside it; name another file"
            )
        taken[path] = "an output already"


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
            name = next(name for name in (_OF_UNIONS if core else _OF_CORES) if name in wrong)
            return [*place, name], f"'{name}' goes with '{'for' if core else 'core'}'"
    return place, str(error.message)
