"""A file of any kind that is cut, emptied, gone or has a bit flipped: the same answer, or one line that names it."""

import json
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, samples_of

from faults.setting import LONG, Counts, Files, command, run_here
from faults.states import assert_same, assert_same_samples, assert_verified
from faults.trials import Zygote, refusal_of

pytestmark = pytest.mark.slow

KINDS = {
    "manifest": "manifest.json",
    "seals": "seals.json",
    "basis": "basis.safetensors",
    "components": "components.safetensors",
    "warmup": "warmup.safetensors",
    "rejected rows": "rejected.jsonl",
    "samples: data": "lance/samples.lance/data/*.lance",
    "samples: version": "lance/samples.lance/_versions/*.manifest",
    "samples: version hint": "lance/samples.lance/_versions/latest_version_hint.json",
    "samples: transaction": "lance/samples.lance/_transactions/*.txn",
    "samples: deleted rows": "lance/samples.lance/_deletions/*",
    "samples: tag": "lance/samples.lance/_refs/tags/*.json",
    "capabilities: data": "lance/capabilities.lance/data/*.lance",
    "capabilities: version": "lance/capabilities.lance/_versions/*.manifest",
    "capabilities: version hint": "lance/capabilities.lance/_versions/latest_version_hint.json",
    "capabilities: transaction": "lance/capabilities.lance/_transactions/*.txn",
    "capabilities: tag": "lance/capabilities.lance/_refs/tags/*.json",
    "engine: rows": "engine/*/pca_????.npy",
    "engine: stamp": "engine/*/pca_????.json",
    "engine: checksums": "engine/*/pca_????.sums",
    "engine: which rows": "engine/*/pca_????.rows.json",
    "engine: cells": "engine/*/pca_unit.cells",
    "engine: their rows": "engine/*/pca_unit.o*.npy",
    "engine: their codes": "engine/*/pca_unit.c*.npy",
    "engine: their stamp": "engine/*/pca_unit.cells.json",
    "engine: what was checked": "engine/checked.json",
    "scores": "scores/own.jsonl",
}
FLIPS = 12 if LONG else 1
SEALED = [name for name in KINDS if name.endswith((": data", ": version", "deleted rows"))]


def _flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _cut(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def _remove(path: Path, _: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "bit flipped": _flip, "cut": _cut, "emptied": _empty, "removed": _remove,
}  # fmt: skip


def _draws(rng: random.Random) -> list[str]:
    """Return the damages that one kind of file gets: all of them in the long form, else one and a flip."""
    if LONG:
        return [*["bit flipped"] * FLIPS, "cut", "cut", "emptied", "removed"]
    return [rng.choice(list(DAMAGES))]


@pytest.fixture(scope="module")
def rich(files: Files, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index that has a file of every kind."""
    from nait_index import NaitIndex
    from nait_index.activations.gradients.adapters import GradientSettings
    from nait_index.config import View

    root = tmp_path_factory.mktemp("rich") / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        settings = "nait_index.building.encoder.GradientSettings"
        patch.setattr(settings, partial(GradientSettings, warmup_steps=4))
        run_here(
            command("build", root, files, model), views=tuple(map(View, ("pca", "topk", "hidden", "grad"))), grad_dim=32
        )
    run_here(["capability", "add", str(root), "own", str(files.examples)])
    run_here(["tag", str(root), "first"])
    run_here(["score", str(root), "import", str(files.scores), "--name", "own"])
    run_here(["remove", str(root), "--where", "position IN (3, 7)"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.search.approximate._LEAST_ROWS", 10)
        rows = NaitIndex(root).columns
        from nait_index.methods.probe import sample_queries
        from nait_index.signatures.features import Feature

        rows.make_approximate(sample_queries(rows, [Feature.UNIT]))
    time.sleep(1.1)  # what was written just now is not taken down as checked
    for method in ("probe", "nait", "nait-drift"):
        run_here(["query", str(root), "-c", "own", "--method", method])
    return root


def _commands(root: Path, files: Files) -> list[list[str]]:
    index = str(root)
    methods = ("probe", "contrast", "nait", "nait-drift", "nag", "rds", "less", "bm25", "random")
    all_of_them = [
        *(["query", index, "-c", "own", "--method", method, "--json"] for method in methods),
        ["query", index, "-c", "own", "--top", "5", "--search", "approximate", "--json"],
        ["query", index, "-c", "own", "--at", "first", "--json"],
        ["query", index, "-c", "own", "--where", "own < 2", "--blend", "own=0.3", "--json"],
        ["cover", index, "--json"],
        ["rows", index, "--json"],
        ["info", index, "--json"],
        ["capability", "show", index, "own", "--json"],
        ["versions", index, "--json"],
        ["score", index, "import", str(files.scores), "--name", "own", "--json"],
        ["verify", index, "--sample", "4", "--json"],
    ]
    return all_of_them if LONG else [all_of_them[number] for number in (0, 2, 6, 9, 10, 11, 13, 14, 17, 18)]


def _said(command_line: list[str], outcome: dict[str, Any]) -> Any:
    """Return what a command reports of the index, without what may differ."""
    if outcome["code"] != 0 or "--json" not in command_line or command_line[0] == "rows":
        return outcome["out"]
    left_out = {"info": ("size_on_disk",), "score": ("computed", "reused", "seconds")}.get(command_line[0], ())
    value = json.loads(outcome["out"])
    if command_line[0] == "query" and "approximate" in command_line:
        del value["plan"]  # without its files, the search is exact
        value.pop("search", None)
    return {name: item for name, item in value.items() if name not in left_out} if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def answers(rich: Path, files: Files, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the output of every command when nothing is damaged; the copies must have the same path."""
    root = Path(shutil.copytree(rich, tmp_path_factory.mktemp("damaged") / "own.nait"))
    commands = _commands(root, files)
    outcomes = zygote.several(commands)
    assert [outcome for outcome in outcomes if outcome["code"] != 0] == []
    return {"root": root} | {
        " ".join(command): _said(command, out) for command, out in zip(commands, outcomes, strict=True)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_never_gives_a_wrong_answer(
    kind: str, rich: Path, files: Files, zygote: Zygote, answers: dict[str, Any], counts: Counts, rng: random.Random
) -> None:
    root: Path = answers["root"]
    for name in _draws(rng):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(rich, root)
        path = rng.choice(sorted(root.glob(KINDS[kind])))
        DAMAGES[name](path, rng)
        commands = _commands(root, files)
        rng.shuffle(commands)
        ended = set()
        for command_line, outcome in zip(commands, zygote.several(commands), strict=True):
            try:
                ended.add(_judged(command_line, outcome, answers, path, root))
            except AssertionError as error:
                raise AssertionError(f"{path.relative_to(root)} {name}: {command_line}: {error}") from error
        how = "refused by name" if "refused" in ended else "found by verify" if "found" in ended else "same answers"
        counts.add(f"damage: {kind}", f"{name}: {how}")


def _judged(command_line: list[str], outcome: dict[str, Any], answers: dict[str, Any], path: Path, root: Path) -> str:
    """Check one answer, and tell whether it was the same, refused, or a finding of ``verify``."""
    if command_line[0] == "verify" and outcome["out"]:
        failed = [check for check in json.loads(outcome["out"]) if check["passed"] is False]
        assert outcome["code"] == (1 if failed else 0)
        assert "Traceback" not in outcome["err"]
        for check in failed:
            assert _names(check["detail"], path, root), check
        return "found" if failed else "same"
    if outcome["code"] == 0:
        assert _said(command_line, outcome) == answers[" ".join(command_line)]
        assert "Traceback" not in outcome["err"], outcome["err"]
        return "same"
    line = refusal_of(outcome["code"], outcome["out"], outcome["err"])
    assert _names(line, path, root), line
    assert any(word in line for word in ("restore it", "build the index again", "--force", "run ", "remove it")), line
    return "refused"


def _names(line: str, path: Path, root: Path) -> bool:
    """Report whether a line names a file, or the table or folder that it is a part of."""
    parents = [parent for parent in path.parents if root in parent.parents and parent.name not in ("lance",)]
    return any(str(parent) in line for parent in [path, *parents]) or path.name in line


@pytest.mark.parametrize("kind", SEALED)
def test_a_flip_that_no_time_tells_of_is_found_by_verify(
    kind: str, rich: Path, files: Files, zygote: Zygote, counts: Counts, rng: random.Random, tmp_path: Path
) -> None:
    """As on a disk that forgets: the file looks as it did when it was last checked."""
    for flip in range(FLIPS):
        root = Path(shutil.copytree(rich, tmp_path / str(flip) / "own.nait"))
        path = rng.choice([file for file in sorted(root.glob(KINDS[kind])) if file in _last_files(root)])
        assert nait_index("info", root).code == 0
        _flip(path, rng)
        _look_as_checked(root)
        (outcome,) = zygote.several([["verify", str(root), "--sample", "1"]], may_panic=True)
        assert outcome["code"] == 1, outcome
        assert "Traceback" not in outcome["err"]
        assert _names(outcome["out"] + outcome["err"], path, root), outcome
        counts.add("flips behind unchanged times", "found by verify")


def _last_files(root: Path) -> list[Path]:
    from helpers import manifest_of

    from nait_index.store.integrity import _files
    from nait_index.store.layout import Layout

    head = manifest_of(root).head
    return _files(Layout(root), head)


def _look_as_checked(root: Path) -> None:
    """Record all files as checked in their present state."""
    from nait_index.store.integrity import Looks, _look
    from nait_index.store.layout import Layout

    looks = Looks(Layout(root))
    for path in root.rglob("*"):
        if path.is_file():
            looks._known[str(path.relative_to(root))] = _look(path)
    looks._changed = True
    looks.save()


# ---- an interrupted build -----------------------------------------------------------------------------------------

STAGED = ("pooled.npy", "columns.npz", "facts.json", "rows.jsonl", "rejected.jsonl")


@pytest.mark.parametrize("name", STAGED)
def test_a_damaged_file_of_an_interrupted_build_is_made_again(
    name: str,
    zygote: Zygote,
    wholes: dict[str, Path],
    files: Files,
    model: Path,
    counts: Counts,
    rng: random.Random,
    tmp_path: Path,
) -> None:
    interrupted = tmp_path / "interrupted.nait"
    kill = {"when": "before", "step": "fit", "call": 1}
    assert zygote.nait_index(*command("build", interrupted, files, model), kill=kill).code == -9
    for number, how in enumerate(_draws(rng)):
        root = Path(shutil.copytree(interrupted, tmp_path / f"{number}.nait"))
        path = rng.choice(sorted(root.glob(f"staging/**/{name}")))
        DAMAGES[how](path, rng)
        run_here(command("build", root, files, model))
        assert_same(root, wholes["build"])
        counts.add(f"damage: staged {name}", f"{how}: the same index")
        shutil.rmtree(root)
    assert_verified(wholes["build"])


@pytest.mark.parametrize("kind", ["samples: data", "samples: version", "basis", "components", "rejected rows"])
def test_nothing_is_added_to_what_is_damaged(
    kind: str,
    zygote: Zygote,
    wholes: dict[str, Path],
    files: Files,
    model: Path,
    counts: Counts,
    rng: random.Random,
    tmp_path: Path,
) -> None:
    """Merging files would seal a damaged row as a sound one."""
    for flip in range(FLIPS):
        root = Path(shutil.copytree(wholes["base"], tmp_path / f"{flip}.nait"))
        path = rng.choice(sorted(root.glob(KINDS[kind])))
        _flip(path, rng)
        ended = zygote.nait_index(*command("add", root, files, model), fragments=1)
        if ended.code == 0:
            assert_same_samples(samples_of(root), samples_of(wholes["add"]))
            counts.add("additions to damaged indexes", "same index")
        else:
            line = ended.refusal()
            assert _names(line, path, root), line
            counts.add("additions to damaged indexes", "refused by name")
        shutil.rmtree(root)
