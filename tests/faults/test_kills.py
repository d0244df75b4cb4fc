"""Changes killed at any moment: readers see the last version, and the same command goes on to the same index."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import manifest_of

from faults.setting import LONG, Counts, Files, command, run_here
from faults.states import assert_last_version_is_seen, assert_same, assert_verified
from faults.trials import Ended, Zygote

pytestmark = pytest.mark.slow

KINDS = ("build", "add", "add --replace")
KILLS = 100 if LONG else 6


class Draw:
    """Draws moments to kill at, spread over a run that was traced.

    A third are moments of the clock, a third lie within a step, the others right before or after one. Steps are drawn
    by their names, so that one that comes once is hit as often as one that comes a hundred times.
    """

    def __init__(self, traced: Ended, rng: random.Random) -> None:
        self._rng = rng
        self._seconds = traced.seconds
        self._lengths: dict[str, dict[int, float]] = {}
        begun: dict[tuple[str, str], float] = {}
        for mark, name, call, moment in traced.steps:
            if mark == ">":
                begun[name, call] = float(moment)
            else:
                self._lengths.setdefault(name, {})[int(call)] = float(moment) - begun[name, call]
        self._waiting: list[str] = []

    def __call__(self) -> dict[str, Any]:
        """Return the next plan."""
        way = self._rng.choice(["clock", "clock", "within", "within", "before", "after"])
        if way == "clock":
            return {"when": "clock", "seconds": self._rng.uniform(0, self._seconds)}
        if not self._waiting:  # every name once before any comes again
            self._waiting = self._rng.sample(sorted(self._lengths), len(self._lengths))
        name = self._waiting.pop()
        call, length = self._rng.choice(sorted(self._lengths[name].items()))
        return {"when": way, "step": name, "call": call, "delay": self._rng.uniform(0, length)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_killed_anywhere_goes_on_to_the_same_index(
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
    fragments = 64 if kind == "build" else 2

    def begin(name: str) -> Path:
        root = tmp_path / f"{name}.nait"
        return root if before is None else Path(shutil.copytree(before, root))

    def start(root: Path, kill: dict[str, Any]) -> Ended:
        return zygote.nait_index(*command(kind, root, files, model), kill=kill, fragments=fragments)

    traced = start(begin("traced"), {"when": "never"})
    assert traced.code == 0, traced.err
    assert_same(tmp_path / "traced.nait", whole)
    draw, kills, trial = Draw(traced, rng), 0, 0
    while kills < KILLS:
        trial += 1
        root, chain = begin(str(trial)), rng.choice([1, 1, 2, 3] if LONG else [1, 2])
        plans = []
        for _ in range(chain):
            plans.append(draw())
            ended = start(root, plans[-1])
            counts.add(f"kills of {kind}: drawn", plans[-1]["when"] if ended.code == -9 else "too late")
            if ended.code != -9:
                assert ended.code == 0, (plans, ended.err)
                continue
            kills += 1
            counts.add(f"kills of {kind}: where", ended.was_at)
            with _told(plans):
                counts.add(f"kills of {kind}: readers then saw", assert_last_version_is_seen(root, before, whole))
        with _told(plans):
            run_here(command(kind, root, files, model), fragments)
            assert_same(root, whole)
            if LONG or kills >= KILLS:
                assert_verified(root)
        counts.add(f"kills of {kind}: chains", f"{chain} starts, then the same index")
        shutil.rmtree(root)
    assert manifest_of(whole).version == (1 if before is None else 3)


@contextmanager
def _told(plans: list[dict[str, Any]]) -> Iterator[None]:
    """Report how the index was killed if a check fails."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"killed by {plans}: {error}") from error
