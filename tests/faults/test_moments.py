"""Every verb killed between any two of its writes: what readers then see, and what the same command makes of it.

``moments.c`` counts the writes of a child, those of Lance among them, and kills it right before one of them. The index
is then as it was before or as it is after, or says in one line what to run; and the same command, run again, ends with
what an undisturbed run ends with: rows with all columns, scores, capabilities, versions, and files beside the index.
"""

import json
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import manifest_of, nait_index, samples_of, small_rows, write_lines

from faults.setting import LONG, MOMENTS, Counts, run_here
from faults.states import leftovers
from faults.trials import Zygote

pytestmark = pytest.mark.slow

ROWS = 16  # two shards
QUICK_VERBS, QUICK_KILLS = 2, 2
FEW_FRAGMENTS = 2

VERBS: dict[str, list[str]] = {
    "build": ["build", "{new}", "{corpus}", "--model", "{model}", "--max-length", "48", "--device", "cpu"],
    "add": ["add", "{index}", "{more}", "--device", "cpu"],
    "add --replace": ["add", "{index}", "{changed}", "--replace", "--device", "cpu"],
    "remove --ids": ["remove", "{index}", "--ids", "{ids}"],
    "remove --where": ["remove", "{index}", "--where", "position < 4"],
    "optimize": ["optimize", "{index}", "--keep-days", "0"],
    "restore": ["restore", "{index}", "1"],
    "tag": ["tag", "{index}", "named"],
    "tag --delete": ["tag", "{index}", "first", "--delete"],
    "rebuild": ["rebuild", "{index}", "{new}", "--device", "cpu"],
    "capability add": ["capability", "add", "{index}", "other", "{more}", "--device", "cpu"],
    "capability add --force": ["capability", "add", "{index}", "own", "{more}", "--force", "--device", "cpu"],
    "capability import": ["capability", "import", "{index}", "{exported}", "--name", "other"],
    "capability export": ["capability", "export", "{index}", "own", "{out}.capability"],
    "capability remove": ["capability", "remove", "{index}", "own"],
    "score import": ["score", "{index}", "import", "{scores}", "--name", "later"],
    "score ifd": ["score", "{index}", "ifd", "--device", "cpu"],
    "sae train": ["sae", "train", "{out}.sae", "{corpus}", "--model", "{model}", "--latents", "16", "--k", "2",
                  "--tokens", "100", "--device", "cpu"],
    "query -o": ["query", "{index}", "-c", "own", "--top", "5", "-o", "{out}.jsonl"],
    "core -o": ["core", "{index}", "-c", "own", "-c", "too", "--top", "50%", "-o", "{out}.parquet"],
    "export -o": ["export", "{index}", "--as", "messages", "--for", "trl", "--for", "llamafactory", "-o", "{out}.json"],
}  # fmt: skip

# Sums differ in their last bits from process to process, and so do the scores that a sidecar records.
LONG_NUMBER = re.compile(rb"\d+\.\d{10,}")
TOLD = re.compile(
    r"the (?P<work>(?:re)?build) of \S+ was interrupted; run the same 'nait-index (?P=work).*' command again to finish"
    r"|holds no manifest\.json yet; if a build or rebuild was interrupted, run the same command again"
    r"|^Error: \S+ is not an index: it does not exist"
)


@pytest.fixture(scope="module")
def library(moments: Path | None) -> Path:
    if moments is None:
        pytest.skip("there is no C compiler")
    return moments


@pytest.fixture(scope="module")
def files(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write what the commands read, and an index with a tag, two capabilities, a score and a removed row."""
    folder = tmp_path_factory.mktemp("read")
    changed = [row | {"output": f"Something else: {row['output']}"} for row in small_rows(8)]
    named = {
        "corpus": write_lines(folder / "corpus.jsonl", small_rows(ROWS)),
        "more": write_lines(folder / "more.jsonl", small_rows(8, first=ROWS)),
        "changed": write_lines(folder / "changed.jsonl", changed),
        "examples": write_lines(folder / "examples.jsonl", small_rows(6, first=500)),
        "scores": write_lines(folder / "scores.jsonl", [{"id": f"row-{n:03}", "value": n / 7} for n in range(ROWS)]),
        "ids": write_lines(folder / "ids.txt", ["row-005", "row-006"]),
        "model": tiny_model("llama"),
        "exported": folder / "own.capability",
        "base": folder / "base.nait",
    }
    texts = {name: str(path) for name, path in named.items()}
    run_here(["build", texts["base"], *_command("build", folder, texts)[2:]])
    base = texts["base"]
    for command in (
        ["tag", base, "first"],
        ["capability", "add", base, "own", texts["examples"]],
        ["capability", "add", base, "too", texts["more"]],
        ["capability", "export", base, "own", texts["exported"]],
        ["score", base, "import", texts["scores"], "--name", "early"],
        ["remove", base, "--where", "id = 'row-012'"],
    ):
        run_here(command)
    return texts


def _command(verb: str, folder: Path, files: dict[str, str]) -> list[str]:
    places = {"index": f"{folder}/index.nait", "new": f"{folder}/new.nait", "out": f"{folder}/out"}
    return [word.format(**places, **files) for word in VERBS[verb]]


def _begin(folder: Path, verb: str, files: dict[str, str]) -> Path:
    """Make a folder of its own for a trial, with the index that the command works on."""
    folder.mkdir()
    if verb != "build":
        shutil.copytree(files["base"], folder / "index.nait")
    return folder


# ---- what there is ------------------------------------------------------------------------------------------------


def _state(folder: Path) -> dict[str, Any]:
    """Return all that a command leaves in its folder, without times and what depends on where the folder is."""
    state: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".nait":
            state[path.name] = _index_state(path)
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            text = file.read_bytes().replace(str(folder).encode(), b"FOLDER")
            if file.suffix == ".capability":
                text = b"the order of its metadata varies"
            text = re.sub(rb'"seconds": [0-9.e-]+', b"", text)
            state[str(file.relative_to(folder))] = LONG_NUMBER.sub(lambda found: b"%.9f" % float(found[0]), text)
    return state


def _index_state(root: Path) -> dict[str, Any]:
    from nait_index import NaitIndex
    from nait_index.store.capabilities import CapabilityTable
    from nait_index.store.layout import Layout

    manifest, layout = manifest_of(root), Layout(root)
    state = {name: value for name, value in asdict(manifest).items() if name not in ("history", "rebuilt_from")}
    history = [asdict(version) for version in manifest.history]
    numbers = ("created", "table_version", "capabilities_version")  # tables count the attempts as well
    state["history"] = [{name: fact for name, fact in version.items() if name not in numbers} for version in history]
    state["rows"] = _rounded(samples_of(root))
    table = CapabilityTable(layout, manifest.head.capabilities_version)
    for name in table.names():
        stored = table.get(name)
        assert stored is not None
        arrays = {key: array.round(4).tobytes() for key, array in stored.arrays.items()}
        state[f"capability {name}"] = (stored.rows, stored.formats, stored.truncated, stored.rejected, arrays)
        chosen = NaitIndex(root).query(name, top="100%")
        state[f"ranking {name}"] = (chosen.ids, [round(score, 4) for score in chosen.scores])
    for file in (*sorted(layout.scores.glob("*")), layout.rejected, layout.removed, layout.basis, layout.components):
        state[file.name] = file.read_bytes() if file.is_file() else None
    caches = {"engine", "checked.json", ".readers", ".lock"}
    state["files"] = sorted(path.name for path in root.iterdir() if path.name not in caches)
    return state


def _rounded(samples: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Round the lengths of the layers: products of few rows differ in their last bits from process to process."""
    for row in samples.values():
        row["pca_norms"] = np.frombuffer(row["pca_norms"], np.float32).round(4).tobytes()
    return samples


def _version(root: Path) -> int:
    return manifest_of(root).version if (root / "manifest.json").is_file() else 0


@cache
def _undisturbed(verb: str, folder: Path) -> dict[str, Any]:
    return _state(folder)


def _seen(verb: str, folder: Path, before: int, after: Path) -> str:
    """Return what readers of the index see that the command works on, which must be whole or say what to run."""
    root = folder / ("new.nait" if verb in ("build", "rebuild") else "index.nait")
    if verb == "sae train":
        assert _index_state(root)["history"] == _index_state(after / root.name)["history"]
        return "as before"
    outcome = nait_index("verify", root, "--sample", "2", "--json")
    if outcome.code != 0:
        assert outcome.out == "", outcome  # a check that failed
        (line,) = outcome.errors
        assert TOLD.search(line), line
        assert verb != "rebuild" or "'nait-index build" not in line or "it does not exist" in line, line
        return "told what to run"
    assert [check for check in json.loads(outcome.out) if check["passed"] is False] == []
    version = _version(root)
    assert before <= version <= _version(after / root.name)
    return "as before" if version == before else "as after"


# ---- the test -----------------------------------------------------------------------------------------------------


class Trials:
    """Runs of one verb, each in a folder of its own."""

    def __init__(self, verb: str, zygote: Zygote, library: Path, files: dict[str, str], folder: Path) -> None:
        self.verb, self._zygote, self._library, self._files, self._folder = verb, zygote, library, files, folder
        self.whole = self._folder / "whole"
        self.moments = self._run(self.whole, -1)
        self.before = 0 if verb in ("build", "rebuild") else _version(Path(files["base"]))
        assert self.moments, verb

    def _run(self, folder: Path, number: int) -> list[list[str]] | None:
        """Run the command in a child; return its writes, or ``None`` if it was killed."""
        _begin(folder, self.verb, self._files)
        command = _command(self.verb, folder, self._files)
        watched = [str(self._library), str(folder), number]
        ended = self._zygote.nait_index(*command, moments=watched, fragments=FEW_FRAGMENTS)
        if ended.code == -9:
            return None
        assert ended.code == 0, (number, ended.err)
        return ended.steps

    def kill(self, number: int, counts: Counts) -> None:
        """Kill the command before a write, look, run the command again, and compare."""
        folder = self._folder / f"{number:05}"
        kind = f"{MOMENTS}{self.verb}"
        if self._run(folder, number) is not None:
            counts.add(kind, "too late")
        else:
            counts.add(kind, "killed")
            seen = _seen(self.verb, folder, self.before, self.whole)
            counts.add(kind, seen)
        run_here(_command(self.verb, folder, self._files), FEW_FRAGMENTS)
        again = _state(folder)
        expected = _undisturbed(self.verb, self.whole)
        assert again.keys() == expected.keys()
        for name, value in expected.items():
            _assert_equal(name, again[name], value)
        for root in folder.glob("*.nait"):
            assert [path for path in leftovers(root) if not path.startswith("engine/")] == []  # the next writer's
        counts.add(kind, "then the same end")
        shutil.rmtree(folder)


def _assert_equal(name: str, value: Any, expected: Any) -> None:
    if not isinstance(expected, dict):
        assert value == expected, name
        return
    assert value.keys() == expected.keys(), name
    for key in expected:
        assert value[key] == expected[key], f"{name}: {key}"


@contextmanager
def _told(verb: str, number: int, moments: list[list[str]] | None) -> Iterator[None]:
    """Report where the command was killed if a check fails."""
    try:
        yield
    except AssertionError as error:
        before = (moments or [])[max(0, number - 3) : number + 1]
        raise AssertionError(f"{verb} killed before its write {number}, {before}: {error}") from error


@pytest.mark.skipif(not LONG, reason="every moment of every verb takes long")
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_killed_before_any_of_its_writes_ends_the_same(
    verb: str, zygote: Zygote, library: Path, files: dict[str, str], counts: Counts, tmp_path: Path
) -> None:
    trials = Trials(verb, zygote, library, files, tmp_path)
    for number in range(1, len(trials.moments or ()) + 1):
        with _told(verb, number, trials.moments):
            trials.kill(number, counts)


@pytest.mark.skipif(LONG, reason="the long form tries every moment")
def test_verbs_killed_before_some_of_their_writes_end_the_same(
    zygote: Zygote, library: Path, files: dict[str, str], counts: Counts, rng: random.Random, tmp_path: Path
) -> None:
    for verb in rng.sample(sorted(VERBS), QUICK_VERBS):
        (tmp_path / verb).mkdir()
        trials = Trials(verb, zygote, library, files, tmp_path / verb)
        for number in rng.sample(range(1, len(trials.moments or ()) + 1), QUICK_KILLS):
            with _told(verb, number, trials.moments):
                trials.kill(number, counts)
