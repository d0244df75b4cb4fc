"""An index that may not be written: every verb that reads works, every one that writes says so in one line."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.mounts import read_only
from faults.setting import LONG, Counts, Files, command
from faults.states import assert_same
from faults.trials import Zygote

pytestmark = pytest.mark.slow

NOBODY = 65534
WRITING = ("build", "add", "add --replace", "remove", "capability", "optimize")


def _reading(root: Path, model: Path) -> list[list[str]]:
    index = str(root)
    queries = [
        ["query", index, "-c", "own", "--method", method, "--json"] for method in ("probe", "nait", "nag", "bm25")
    ]
    return [
        *queries,
        ["info", index, "--json"],
        ["rows", index, "--json"],
        ["verify", index, "--model", str(model)],
        ["versions", index],
    ]


def _without_engine(root: Path) -> None:
    """Remove what was checked and made for searching, which a reader that may not write does without."""
    shutil.rmtree(root / "engine")
    (root / ".readers").unlink()


@pytest.mark.parametrize("cached", [True, False] if LONG else [False])
def test_a_read_only_folder_is_read_and_not_written(
    cached: bool, zygote: Zygote, wholes: dict[str, Path], files: Files, model: Path, counts: Counts, tmp_path: Path
) -> None:
    shutil.copytree(wholes["base"], tmp_path / "there" / "own.nait")
    if not cached:
        _without_engine(tmp_path / "there" / "own.nait")
    with read_only(tmp_path / "there", tmp_path / "shown") as place:
        root = place / "own.nait"
        _assert_read_as(root, wholes["base"], model, zygote, counts, "read-only mount")
        for kind in WRITING:
            line = zygote.nait_index(*command(kind, root, files, model)).refusal()
            assert str(root) in line, line
            counts.add("read-only mount", "writing verb refused in one line")
        line = zygote.nait_index(*command("build", place / "new.nait", files, model)).refusal()
        assert str(place / "new.nait") in line, line
    root = tmp_path / "there" / "own.nait"
    ended = zygote.nait_index(*command("add", root, files, model), fragments=2)
    assert ended.code == 0, ended.err
    assert_same(root, wholes["add"])


@pytest.fixture
def others(files: Files, model: Path) -> Iterator[Path]:
    """Return a folder that every user may enter and only its owner may write, with corpora and model in it."""
    if os.geteuid() != 0:
        pytest.skip("taking another user's place needs root")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(model, folder / "model")
        for path in (files.corpus, files.more, files.changed):
            shutil.copy(path, folder)
        yield folder


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0))


def test_another_users_index_is_read_and_not_written(
    others: Path, zygote: Zygote, wholes: dict[str, Path], files: Files, counts: Counts
) -> None:
    root = Path(shutil.copytree(wholes["base"], others / "own.nait"))
    _without_engine(root)
    _open_to_all(others)
    copied = Files(
        others / "corpus.jsonl", others / "more.jsonl", others / "changed.jsonl", others / "more.jsonl", others
    )
    _assert_read_as(root, wholes["base"], others / "model", zygote, counts, "another user's index", user=NOBODY)
    for kind in WRITING:
        line = zygote.nait_index(*command(kind, root, copied, others / "model"), user=NOBODY).refusal()
        assert str(root) in line, line
        counts.add("another user's index", "writing verb refused in one line")
    line = zygote.nait_index(*command("build", others / "new.nait", copied, others / "model"), user=NOBODY).refusal()
    assert str(others / "new.nait") in line, line


def _assert_read_as(
    root: Path, same: Path, model: Path, zygote: Zygote, counts: Counts, kind: str, **request: int
) -> None:
    reading = _reading(root, model)
    outcomes = zygote.several(reading, **request)
    wanted = zygote.several(_reading(same, model))
    for command_line, outcome, other in zip(reading, outcomes, wanted, strict=True):
        assert outcome["code"] == 0, (command_line, outcome)
        assert "Traceback" not in outcome["err"]
        if command_line[0] not in ("verify", "info"):
            assert outcome["out"] == other["out"].replace(str(same), str(root)), command_line
        counts.add(kind, "reading verb answered")
