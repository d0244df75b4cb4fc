"""Two processes on one index: one writes, the other is told who; and readers see versions, never what lies between."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import write_lines

from faults.commands import answer
from faults.setting import LONG, Counts, Files, command
from faults.states import assert_same, assert_verified
from faults.trials import Ended, Zygote, wait_until

pytestmark = pytest.mark.slow

PAIRS = 30 if LONG else 1
ROUNDS = 10 if LONG else 1


@pytest.mark.parametrize("kind", ["build", "add"])
def test_of_two_writers_one_writes_and_the_other_is_told_who(
    kind: str, zygote: Zygote, wholes: dict[str, Path], files: Files, model: Path, counts: Counts, tmp_path: Path
) -> None:
    whole = wholes[kind]
    for number in range(PAIRS):
        root = tmp_path / f"{number}.nait"
        if kind == "add":
            shutil.copytree(wholes["base"], root)
        arguments = command(kind, root, files, model)
        running = [zygote.start("nait-index", arguments=arguments, fragments=2) for _ in range(2)]
        pids = [process.pid for process in running]
        ended = [process.wait() for process in running]
        counts.add(f"two writers, {kind}", _outcome(ended, pids, root))
        assert_same(root, whole)
        shutil.rmtree(root) if number else assert_verified(root)


def _outcome(ended: list[Ended], pids: list[int], root: Path) -> str:
    refused = [number for number in range(2) if ended[number].code != 0]
    assert len(refused) < 2, [outcome.err for outcome in ended]
    if not refused:
        return "one after the other"
    line = ended[refused[0]].refusal()
    assert line.startswith(f"{root} is being written by "), line
    assert line.endswith("; wait until it is done"), line
    named = f"process {pids[1 - refused[0]]};" in line
    assert named or "by another process;" in line, line  # the holder had not written its number yet
    return "the other was told who" if named else "the other was told that somebody does"


def test_readers_see_committed_versions_and_nothing_else(
    zygote: Zygote, wholes: dict[str, Path], files: Files, model: Path, counts: Counts, tmp_path: Path
) -> None:
    from nait_index import NaitIndex

    root = Path(shutil.copytree(wholes["base"], tmp_path / "own.nait"))
    began, stop = [tmp_path / f"began-{number}" for number in range(2)], tmp_path / "stop"
    expected = {answer(NaitIndex(root))}
    first = next(iter(expected))
    readers = [zygote.start("read on", index=str(root), began=str(marker), stop=str(stop)) for marker in began]
    for marker in began:
        wait_until(marker)
    for round_ in range(ROUNDS):
        ids = [f"row-{number:03}" for number in range(round_, round_ + 3)]
        gone = write_lines(tmp_path / "gone.txt", ids)
        steps = [
            command("add", root, files, model),
            command("add --replace", root, files, model),
            ["remove", str(root), "--ids", str(gone)],
            command("optimize", root, files, model),
            ["build", *command("build", root, files, model)[1:], "--replace"],
            ["tag", str(root), "own", "--force"],
            ["restore", str(root), "2"],
        ]
        for step in steps if LONG else steps[:4]:
            ended = zygote.nait_index(*step, fragments=2)
            assert ended.code == 0, (step, ended.err)
            expected.add(answer(NaitIndex(root)))
            counts.add("readers: changes made beside them", step[0])
    stop.touch()
    for reader in readers:
        ended = reader.wait()
        assert ended.code == 0, ended.err
        seen = json.loads(ended.out)
        assert set(seen["answers"]) <= expected
        assert set(seen["held"]) == {first}
        counts.add("readers", "read the last version", sum(seen["answers"].values()))
        counts.add("readers", "read the version they had opened", sum(seen["held"].values()))
        counts.add("readers", "versions seen", len(seen["answers"]))
    assert_verified(root)
