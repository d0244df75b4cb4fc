"""Imports go one way, and only where the layers allow them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nait_index

ROOT = Path(nait_index.__file__).parent
CLI = ROOT.parent / "cli"
PACKAGE_FILES = sorted(ROOT.rglob("*.py"))

GROUND = {"errors", "types", "config", "files", "scratch", "spelling"}
BESIDE_ONE_ANOTHER = {"corpus", "activations", "signatures", "store"}
BELOW: dict[str, set[str]] = {name: GROUND for name in BESIDE_ONE_ANOTHER} | {
    "errors": set(),
    "spelling": {"errors"},
    "types": {"errors", "files"},
    "config": {"errors", "types"},
    "files": {"errors"},
    "scratch": {"errors"},
    "search": GROUND | {"corpus", "signatures", "store"},
    "methods": GROUND | BESIDE_ONE_ANOTHER | {"search"},
    "handover": GROUND | {"corpus"},
    "quality": GROUND | {"activations", "corpus", "store"},
    "building": GROUND | BESIDE_ONE_ANOTHER | {"methods"},
    "distributed": GROUND | {"activations", "building", "corpus", "search", "signatures", "store"},
    "capabilities": GROUND | {"activations", "building", "corpus", "methods", "signatures", "store"},
    "selection": GROUND | BESIDE_ONE_ANOTHER | {"capabilities", "handover", "methods", "search"},
    "insight": GROUND | {"capabilities", "methods", "search", "selection", "signatures", "store"},
    "upkeep": GROUND | BESIDE_ONE_ANOTHER | {"building", "capabilities", "methods", "quality", "search"},
}
"""What each part may import of the package, besides itself."""

TOP = {"__init__", "index", "demo", "explore", "proving", "recipes", "report"}
"""What may import everything: the facade, and what stands on it."""

EXCEPTIONS = {("store/fitted.py", "signatures")}
HEAVY = {"torch", "transformers"}
COMPUTING = {"proving/measures.py", "proving/tuning.py", "building/encoder.py"} | {
    f"signatures/{name}.py" for name in ("features", "fit", "projection", "sparse", "views")
}
"""Where copies of a model are tuned and measured, and where activations become signatures on the model's device."""


def _imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Yield the full name of every module that a file imports, and whether it does so when it is itself imported."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    hidden = {id(inner) for node in ast.walk(tree) if _is_later(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)] if module else []
        else:
            continue
        yield from ((name, id(node) not in hidden) for name in names)


def _is_later(node: ast.AST) -> bool:
    """Decide whether the code in a node runs after the import of its file, or never."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _parts_imported(file: Path) -> set[str]:
    """Return the parts of the package that a file imports, at any time."""
    parts = set()
    for name, _ in _imports(file):
        top, _, rest = name.partition(".")
        assert top, f"{file} has a relative import of {name}"
        if top == "nait_index" and rest:
            parts.add(rest.split(".")[0])
    return parts


def _part(file: Path) -> str:
    relative = file.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def _relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("part", sorted(BELOW))
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    files = [file for file in PACKAGE_FILES if _part(file) == part]
    assert files, f"there is no {part} any more"
    # `from nait_index.errors import NaitError` also names nait_index.errors.NaitError, whose part is errors.
    wrong = {
        (_relative(file), other)
        for file in files
        for other in _parts_imported(file) - {part} - BELOW[part]
        if (_relative(file), other) not in EXCEPTIONS
    }
    assert wrong == set()


def test_every_part_has_its_place() -> None:
    assert {_part(file) for file in PACKAGE_FILES} == set(BELOW) | TOP


@pytest.mark.parametrize(("file", "part"), sorted(EXCEPTIONS))
def test_every_exception_is_still_needed(file: str, part: str) -> None:
    assert part in _parts_imported(ROOT / file)


def test_the_package_never_imports_the_command_line_or_what_lies_beside_it() -> None:
    names = {name.split(".")[0] for file in PACKAGE_FILES for name, _ in _imports(file)}
    assert names & {"cli", "nait_index_cli", "benchmarks", "tools"} == set()


def test_torch_and_transformers_are_imported_where_models_compute_alone() -> None:
    importing = {
        _relative(file) for file in PACKAGE_FILES if {name.split(".")[0] for name, _ in _imports(file)} & HEAVY
    }
    assert importing
    assert {file for file in importing if not file.startswith("activations/")} == COMPUTING


def test_ray_is_imported_by_its_engine_alone_and_only_when_it_is_used() -> None:
    importing = {
        (_part(file), at_import)
        for file in PACKAGE_FILES
        for name, at_import in _imports(file)
        if name.split(".")[0] == "ray"
    }
    assert importing == {("distributed", False)}


def test_torch_and_transformers_are_never_imported_before_they_are_used() -> None:
    early = {
        (_relative(file), name)
        for file in PACKAGE_FILES
        for name, at_import in _imports(file)
        if at_import and name.split(".")[0] in HEAVY
    }
    assert early == set()


def test_click_is_imported_by_the_command_line_alone() -> None:
    importing = {
        _relative(file) for file in PACKAGE_FILES if "click" in {name.split(".")[0] for name, _ in _imports(file)}
    }
    assert importing == set()


def test_the_command_line_imports_click_rich_and_the_package_alone() -> None:
    import sys

    files = sorted(CLI.glob("*.py"))
    assert len(files) > 5
    names = {
        (file.name, name.split(".")[0]) for file in files for name, _ in _imports(file) if not name.startswith(".")
    }
    allowed = sys.stdlib_module_names | {"click", "nait_index", "rich"}
    assert {(file, name) for file, name in names if name not in allowed} == set()


def test_rich_is_imported_by_the_command_line_alone_and_only_when_something_is_printed() -> None:
    importing = {
        (file, at_import)
        for file in (*PACKAGE_FILES, *CLI.glob("*.py"))
        for name, at_import in _imports(file)
        if name.split(".")[0] == "rich"
    }
    assert {(file.parent, at_import) for file, at_import in importing} == {(CLI, False)}


def test_the_command_line_loads_the_index_only_when_a_command_runs() -> None:
    """``--help`` must not wait for modules that compute."""
    light = {"nait_index", *(f"nait_index.{name}" for name in ("errors", "config", "types", "methods.registry"))}
    early = {
        (file.name, name)
        for file in CLI.glob("*.py")
        for name, at_import in _imports(file)
        if at_import
        and name.startswith("nait_index")
        and not any(name == module or name.startswith(f"{module}.") for module in light - {"nait_index"})
    }
    assert early == set()
