"""A disk that is full, or files that may not grow: one clear line, no wrong index, and the same command goes on."""

import math
import random
import shutil
from pathlib import Path

import pytest

from faults.mounts import small_disk
from faults.setting import LONG, Counts, Files, command, run_here
from faults.states import assert_last_version_is_seen, assert_same, assert_verified
from faults.trials import Ended, Zygote

pytestmark = pytest.mark.slow

KINDS = ("build", "add", "add --replace", "remove", "capability") if LONG else ("build", "add --replace")
SIZES = 40 if LONG else 3
ROOM = 64 << 20


def _sizes(largest: int, rng: random.Random) -> list[int]:
    """Draw sizes up to one, small and large ones alike, and at least one of each."""
    return [int(math.exp((step + rng.random()) / SIZES * math.log(largest))) for step in range(SIZES)]


def _ended_clearly(ended: Ended, root: Path) -> str:
    """Check that a command either did its work or said in one line where it could not write; tell which."""
    if ended.code == 0:
        assert "Traceback" not in ended.err, ended.err
        assert "panicked" not in ended.err, ended.err
        return "finished"
    line = ended.refusal()
    assert str(root) in line, line
    return "one clear line"


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_may_not_grow_end_in_one_line_and_the_same_command_goes_on(
    kind: str,
    zygote: Zygote,
    wholes: dict[str, Path],
    files: Files,
    model: Path,
    counts: Counts,
    rng: random.Random,
    tmp_path: Path,
) -> None:
    before, whole = (None if kind == "build" else wholes["base"]), wholes[kind]
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for size in _sizes(largest, rng):
        root = tmp_path / f"{size}.nait"
        if before is not None:
            shutil.copytree(before, root)
        ended = zygote.nait_index(*command(kind, root, files, model), limits={"RLIMIT_FSIZE": size}, fragments=2)
        counts.add(f"files limited in size, {kind}", _ended_clearly(ended, root))
        assert_last_version_is_seen(root, before, whole)
        _finish(kind, ended, root, whole, files, model)
        shutil.rmtree(root)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_ends_in_one_line_and_the_same_command_goes_on(
    kind: str,
    zygote: Zygote,
    wholes: dict[str, Path],
    files: Files,
    model: Path,
    counts: Counts,
    rng: random.Random,
    tmp_path: Path,
) -> None:
    before, whole = (None if kind == "build" else wholes["base"]), wholes[kind]
    needed = _needed(kind, before, zygote, files, model, tmp_path / "needed")
    for number, share in enumerate(sorted(rng.random() for _ in range(SIZES))):
        with small_disk(tmp_path / str(number), ROOM) as disk:
            root = disk.place / "own.nait"
            if before is not None:
                shutil.copytree(before, root)
            disk.resize(disk.used + int(share * needed))
            ended = zygote.nait_index(*command(kind, root, files, model), fragments=2)
            counts.add(f"full disk, {kind}", _ended_clearly(ended, root))
            disk.resize(ROOM)
            assert_last_version_is_seen(root, before, whole)
            _finish(kind, ended, root, whole, files, model)


def _needed(kind: str, before: Path | None, zygote: Zygote, files: Files, model: Path, place: Path) -> int:
    """Measure the room that a change takes when there is enough; at its widest it takes more."""
    with small_disk(place, ROOM) as disk:
        root = disk.place / "own.nait"
        if before is not None:
            shutil.copytree(before, root)
        used = disk.used
        assert zygote.nait_index(*command(kind, root, files, model), fragments=2).code == 0
        return int(1.3 * (disk.used - used))


def _finish(kind: str, ended: Ended, root: Path, whole: Path, files: Files, model: Path) -> None:
    if ended.code != 0:
        run_here(command(kind, root, files, model), fragments=2)
    assert_same(root, whole)
    if LONG:
        assert_verified(root)
