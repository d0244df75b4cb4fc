"""A build that is interrupted anywhere and run again ends with the index of an uninterrupted build, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from helpers import (
    NOT_FINITE,
    SHARD,
    basis_of,
    build_small,
    counts_of,
    interrupt_call,
    nait_index,
    planted_infinity,
    read_lines,
    refusal,
    samples_of,
    small_rows,
    write_lines,
)

if TYPE_CHECKING:
    from nait_index import NaitIndex
    from nait_index.building.report import BuildProgress, ProgressCallback

pytestmark = pytest.mark.slow

ROWS = 30  # five shards with those that fail: the basis takes two, and a third is staged beside them
ADDED = 20  # three shards more
MAX_LENGTH = 48


def _messy(rows: list[dict[str, Any]]) -> list[dict[str, Any] | str]:
    """Put among the rows one that is cut, some that cannot be read, and some that the model fails on."""
    long = {"id": f"long-{rows[0]['id']}", "instruction": "Repeat.", "output": "la " * 200}
    bad = [{"id": f"{row['id']}-bad", "instruction": f"{NOT_FINITE} {row['id']}", "output": "x"} for row in rows[:2]]
    return [*rows[:5], "not json", long, *rows[5:11], *bad, rows[0], *rows[11:]]


@pytest.fixture(scope="module", autouse=True)
def _some_rows_fail() -> Iterator[None]:
    with planted_infinity():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", _messy(small_rows(ROWS)))


@pytest.fixture(scope="module")
def more(corpus: Path) -> Path:
    return write_lines(corpus.with_name("more.jsonl"), _messy(small_rows(ADDED, first=ROWS)))


@pytest.fixture(scope="module")
def examples(corpus: Path) -> Path:
    return write_lines(corpus.with_name("examples.jsonl"), small_rows(6, first=500))


class Build(Protocol):
    """Builds with the model of these tests."""

    def __call__(
        self, root: Path, corpus: Path | list[Path], *, progress: "ProgressCallback | None" = None
    ) -> "NaitIndex": ...


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def build(model: Path) -> Build:
    return partial(build_small, model=model, max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def whole(build: Build, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build without an interruption."""
    root = tmp_path_factory.mktemp("whole") / "whole.nait"
    build(root, corpus)
    return root


@pytest.fixture(scope="module")
def grown(build: Build, corpus: Path, more: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build without an interruption, then add without one."""
    root = tmp_path_factory.mktemp("grown") / "grown.nait"
    build(root, corpus)
    build(root, [corpus, more])
    return root


def _ranking(root: Path, examples: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    from nait_index import NaitIndex

    index = NaitIndex(root)
    chosen = index.query(index.make_capability(examples), top="50%")
    return chosen.ids, chosen.scores


def _assert_same(root: Path, expected: Path, examples: Path) -> None:
    assert samples_of(root) == samples_of(expected)
    assert counts_of(root) == counts_of(expected)
    assert basis_of(root) == basis_of(expected)
    assert (root / "rejected.jsonl").read_bytes() == (expected / "rejected.jsonl").read_bytes()
    assert _ranking(root, examples) == _ranking(expected, examples)
    assert _names(root) == _names(expected)


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.suffix != ".tmp"}


def test_the_uninterrupted_build_meets_every_kind_of_row(whole: Path) -> None:
    counts = counts_of(whole)
    assert (counts["rows"], counts["truncated"], counts["rejected"]) == (ROWS + 1, 1, 4)
    reasons = [row["reason"] for row in read_lines(whole / "rejected.jsonl")]
    assert sum("not finite" in reason for reason in reasons) == 2
    assert sum("duplicate id" in reason for reason in reasons) == 1
    assert sum("not JSON" in reason for reason in reasons) == 1


BUILDER = "nait_index.building.builder"
MODULES = {"publish_rejected": "nait_index.building.commit", "ExactScan.write": "nait_index.search.exact"}
"""Where functions are called that a builder does not call itself."""

STEPS: list[tuple[str, int, str]] = [
    ("save_manifest", 1, "before"),
    ("save_manifest", 1, "after"),
    ("StagedShard.create", 1, "after"),
    ("StagedShard.finish", 1, "before"),
    ("StagedShard.finish", 2, "after"),
    ("fit_basis", 1, "before"),
    ("fit_basis", 1, "after"),
    ("save_compressor", 1, "after"),
    ("fidelity_of", 1, "before"),
    ("fidelity_of", 1, "after"),
    ("save_manifest", 2, "after"),
    ("SampleTable.create", 1, "before"),
    ("SampleTable.create", 1, "after"),
    *(("SampleTable.append", call, when) for call in (1, 2, 3, 4) for when in ("before", "after")),
    ("SampleTable.compact", 1, "before"),
    ("SampleTable.compact", 1, "after"),
    ("merge_rejected", 1, "after"),
    ("publish_rejected", 1, "before"),
    ("publish_rejected", 1, "after"),
    ("publish_rows", 1, "before"),
    ("publish_rows", 1, "after"),
    ("Builder._publish", 1, "after"),
    ("ExactScan.write", 1, "before"),
    ("ExactScan.write", 1, "after"),
]
"""Function, which call of it, and when."""


@pytest.mark.parametrize(("function", "call", "when"), STEPS)
def test_a_build_interrupted_at_any_step_ends_like_an_uninterrupted_one(
    function: str, call: int, when: str, build: Build, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    place = f"{MODULES.get(function, BUILDER)}.{function}"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, place, call=call, after=when == "after")
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    build(root, corpus)
    _assert_same(root, whole, examples)


@pytest.mark.parametrize("writer", ["atomic_write", "write_sealed"], ids=["signatures", "stamp"])
def test_an_engine_torn_while_it_was_written_is_made_again(
    writer: str, build: Build, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"nait_index.search.exact.{writer}")
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    outcome = nait_index("verify", root, "--sample", "1", "--json")
    assert (outcome.code, [check for check in outcome.json if check["passed"] is False]) == (0, [])
    assert _ranking(root, examples) == _ranking(whole, examples)


def _raise_at(event: int) -> "ProgressCallback":
    seen = {"events": 0}

    def progress(_: "BuildProgress") -> None:
        seen["events"] += 1
        if seen["events"] == event:
            raise KeyboardInterrupt

    return progress


def test_a_build_interrupted_at_every_sign_of_progress_ends_like_an_uninterrupted_one(
    build: Build, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    events: list[BuildProgress] = []
    build(tmp_path / "counted.nait", corpus, progress=events.append)
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["reading", "encoding", "fitting the basis", "finishing"]
    assert len(events) >= 5 + 3  # as many shards as there are, and once for every other stage
    assert [event.rows for event in events] == sorted(event.rows for event in events)
    assert events[-1].rows == events[-1].total == ROWS + 3
    for event in range(1, len(events) + 1):
        root = tmp_path / f"{event}.nait"
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus, progress=_raise_at(event))
        build(root, corpus)
        _assert_same(root, whole, examples)


def test_a_build_interrupted_again_and_again_ends_like_an_uninterrupted_one(
    build: Build, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus, progress=_raise_at(3))
    build(root, corpus)
    _assert_same(root, whole, examples)


def test_an_interrupted_first_build_is_refused_by_every_reader(
    build: Build, corpus: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"{BUILDER}.SampleTable.append", call=2, after=True)
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    # An addition would give up the build.
    for command in (
        ["query", root, "-e", examples],
        ["info", root],
        ["rows", root],
        ["verify", root],
        ["add", root, corpus],
    ):
        line = refusal(*command)
        assert str(root) in line
        assert "interrupted" in line
        assert "again" in line


@pytest.mark.parametrize(
    ("place", "call"),
    [
        (f"{BUILDER}.Builder._encode", 1),
        (f"{BUILDER}.SampleTable.append", 1),
        (f"{BUILDER}.SampleTable.append", 3),
        (f"{BUILDER}.publish_rows", 1),
        ("nait_index.store.publish.save_manifest", 1),
    ],
)
def test_an_interrupted_addition_leaves_the_old_version_readable_and_goes_on(
    place: str,
    call: int,
    build: Build,
    corpus: Path,
    more: Path,
    whole: Path,
    grown: Path,
    examples: Path,
    tmp_path: Path,
) -> None:
    root = tmp_path / "own.nait"
    build(root, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, place, call=call)
        with pytest.raises(KeyboardInterrupt):
            build(root, [corpus, more])
    assert samples_of(root) == samples_of(whole)
    # What the addition rejected may be listed already, lest it be lost; nothing else of it shows.
    assert counts_of(root) | {"rejected": None} == counts_of(whole) | {"rejected": None}
    assert _ranking(root, examples) == _ranking(whole, examples)
    build(root, [corpus, more])
    _assert_same(root, grown, examples)


def test_an_index_whose_addition_was_interrupted_at_the_end_is_found_in_order(
    build: Build, corpus: Path, more: Path, tmp_path: Path
) -> None:
    from nait_index import NaitIndex

    root = tmp_path / "own.nait"
    build(root, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.store.publish.save_manifest")
        with pytest.raises(KeyboardInterrupt):
            build(root, [corpus, more])
    assert [check.name for check in NaitIndex(root).verify(sample=50) if check.passed is False] == []


def test_a_build_killed_while_it_wrote_its_first_manifest_goes_on(build: Build, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    fsync, unlink = os.fsync, Path.unlink

    def fsync_and_die(file: int) -> None:
        fsync(file)
        if {path.name for path in root.iterdir()} - {".lock", "staging"}:
            raise KeyboardInterrupt

    def unlink_unless_dead(path: Path, missing_ok: bool = False) -> None:
        if path.parent != root:
            unlink(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync_and_die)
        patch.setattr(Path, "unlink", unlink_unless_dead)
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    assert not (root / "manifest.json").exists()
    build(root, corpus)
    assert list(root.glob("*.tmp")) == []


def test_an_interrupted_addition_stays_readable_whoever_cleans_up(
    build: Build, corpus: Path, more: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    """What readers see is tagged, so that Lance itself keeps it."""
    from datetime import timedelta

    import lance

    root = tmp_path / "own.nait"
    build(root, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, "nait_index.store.publish.save_manifest")
        with pytest.raises(KeyboardInterrupt):
            build(root, [corpus, more])
    table: Any = lance.dataset(str(root / "lance" / "samples.lance"))
    table.cleanup_old_versions(older_than=timedelta(0), error_if_tagged_old_versions=False)
    assert _ranking(root, examples) == _ranking(whole, examples)


def test_a_build_that_merges_its_files_on_the_way_ends_the_same(
    build: Build, corpus: Path, more: Path, grown: Path, examples: Path, tmp_path: Path
) -> None:
    import lance

    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.building.commit.MERGED_ROWS", 2 * SHARD)
        build(root, corpus)
        interrupt_call(patch, f"{BUILDER}.publish_rows")
        with pytest.raises(KeyboardInterrupt):
            build(root, [corpus, more])
        table: Any = lance.dataset(str(root / "lance" / "samples.lance"))
        assert len(table.versions()) < 6
    build(root, [corpus, more])
    _assert_same(root, grown, examples)
    from nait_index import NaitIndex

    order = [row["id"] for row in NaitIndex(root)._table.records(["id"])]
    assert order == [row["id"] for row in NaitIndex(grown)._table.records(["id"])]


def _commits(root: Path) -> list[int]:
    """Return how many rows the table has after each commit of a build that was interrupted."""
    import lance

    table: Any = lance.dataset(str(root / "lance" / "samples.lance"))
    versions = sorted(entry["version"] for entry in table.versions())
    return [lance.dataset(table.uri, version=version).count_rows() for version in versions]


@pytest.mark.parametrize("seconds", [60.0, 0.0], ids=["in groups", "each by itself"])
def test_shards_committed_in_groups_end_the_same_and_what_waits_is_kept(
    seconds: float, build: Build, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("helpers.COMMITTED_SHARDS", 3)
        patch.setattr("nait_index.building.commit._MOST_SECONDS", seconds)
        # Three shards are staged, so it is the last of five before which this stops.
        interrupt_call(patch, "nait_index.building.encoder.IndexEncoder.encode", call=2)
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    sizes = _commits(root)
    assert len(sizes) == (3 if seconds else 5), sizes  # an empty table first
    assert sizes[-1] > 3 * SHARD
    build(root, corpus)
    _assert_same(root, whole, examples)


def test_rows_of_an_abandoned_addition_never_share_a_place_with_others(
    build: Build, corpus: Path, more: Path, tmp_path: Path
) -> None:
    other = write_lines(tmp_path / "other.jsonl", small_rows(4, first=200))
    root = tmp_path / "own.nait"
    build(root, corpus)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"{BUILDER}.SampleTable.append", call=1, after=True)
        with pytest.raises(KeyboardInterrupt):
            build(root, more)
    report = build(root, other).report
    assert report is not None
    assert report.abandoned > 0
    assert "only an interrupted build before this one has read" in report.warnings[-1]
    report = build(root, more).report
    assert report is not None
    assert report.abandoned == 0
    _assert_places_differ(root)


def test_an_addition_after_an_abandoned_one_keeps_the_order_of_its_rows_when_it_goes_on(
    build: Build, corpus: Path, more: Path, tmp_path: Path
) -> None:
    rows = small_rows(ADDED, first=300)
    last, root = write_lines(tmp_path / "last.jsonl", rows), tmp_path / "own.nait"
    build(root, corpus)
    for added in (more, last):
        with pytest.MonkeyPatch.context() as patch:
            interrupt_call(patch, f"{BUILDER}.SampleTable.append", call=1, after=True)
            with pytest.raises(KeyboardInterrupt):
                build(root, added)
    build(root, last)
    stored = samples_of(root)
    places = [stored[row["id"]]["position"] for row in rows]
    assert places == sorted(places)
    _assert_places_differ(root)


def _assert_places_differ(root: Path) -> None:
    positions = [row["position"] for row in samples_of(root).values()]
    assert len(set(positions)) == len(positions)


@pytest.mark.parametrize("place", ["fit_basis", "SampleTable.append"])
def test_rows_that_were_changed_after_the_interruption_are_encoded_as_they_are_now(
    place: str, build: Build, tmp_path: Path
) -> None:
    rows = small_rows(ROWS)
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    root, expected = tmp_path / "own.nait", tmp_path / "expected.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"{BUILDER}.{place}")
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    write_lines(corpus, [row | {"output": f"{row['output']} And so on."} for row in rows])
    build(root, corpus)
    if place == "fit_basis":  # later, the basis has been fitted to the rows as they were
        build(expected, corpus)
        assert samples_of(root) == samples_of(expected)
    from nait_index import NaitIndex

    assert all(check.passed is not False for check in NaitIndex(root).verify(sample=ROWS))


def test_rows_that_move_in_their_file_after_the_interruption_never_share_a_place(build: Build, tmp_path: Path) -> None:
    rows = small_rows(ROWS)
    corpus, root = write_lines(tmp_path / "corpus.jsonl", ["not json", *rows]), tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, f"{BUILDER}.SampleTable.append", after=True)
        with pytest.raises(KeyboardInterrupt):
            build(root, corpus)
    write_lines(corpus, [*small_rows(1, first=300), *rows])
    index = build(root, corpus)
    assert len(index) == ROWS + 1
    _assert_places_differ(root)


# A process of its own, with shards as small as in the other tests and the same rows failing.
_PROCESS = """
import signal
import sys
from pathlib import Path

# A shell that starts the tests in the background has its children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
from helpers import SHARD, planted_infinity, small_shards, small_signatures

import nait_index_cli.build as command
from nait_index_cli.main import main

command.SignatureConfig = lambda **own: small_signatures()
sys.argv = ["nait-index", *sys.argv[2:]]
with planted_infinity(), small_shards():
    main()
"""


def _start(root: Path, corpus: Path, model: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PROCESS, str(Path(__file__).parent)]
    options = ["build", str(root), str(corpus), "--model", str(model), "--max-length", str(MAX_LENGTH)]
    return subprocess.Popen(
        [*command, *options, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and not condition():
        assert time.monotonic() < end, "the build did not get that far"
        time.sleep(0.005)


def _has_read(root: Path, since: float) -> bool:
    """Report whether a build that began at a given time has taken its rows in."""
    spool = root / "staging" / "rows.jsonl"
    return (root / "manifest.json").exists() and spool.exists() and spool.stat().st_mtime >= since


def test_a_build_killed_three_times_ends_like_an_uninterrupted_one(
    build: Build, model: Path, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    moment = random.Random(os.getpid())
    for _ in range(3):
        started = time.time()
        process = _start(root, corpus, model)
        _wait_for(partial(_has_read, root, started), process)
        time.sleep(moment.uniform(0, 0.5))
        process.kill()
        process.communicate()
    build(root, corpus)
    _assert_same(root, whole, examples)


def test_ctrl_c_ends_with_130_in_one_line_and_keeps_the_work(
    build: Build, model: Path, corpus: Path, whole: Path, examples: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    process = _start(root, corpus, model)
    _wait_for(lambda: any(root.glob("staging/shard-*/facts.json")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert out == ""
    assert [line for line in err.splitlines() if "interrupted" in line] == [err.splitlines()[-1]]
    assert "Traceback" not in err
    kept = any(root.glob("staging/shard-*/facts.json")) or (root / "lance").is_dir()
    assert kept
    assert nait_index("info", root).code == 1
    build(root, corpus)
    _assert_same(root, whole, examples)
