"""Builds on a Ray cluster: the same bits as here, whoever is killed, and whoever goes on."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import (
    SHARD,
    basis_of,
    build_small,
    counts_of,
    interrupt_call,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)
from ray_searches import NAMES, descendants
from test_object_store import server, storage  # noqa: F401 - fixtures

from nait_index.building.shards import ShardFacts
from nait_index.config import Device, RunnerConfig, RunnerKind, View
from nait_index.distributed.cluster import Share, require_same_libraries, share_of
from nait_index.distributed.pieces import SHARD as SHARD_COLUMN
from nait_index.distributed.pieces import Incoming, error_piece, to_pieces
from nait_index.distributed.runner import _worker_device
from nait_index.distributed.scanning import ScanWorker, ShareTask, _hosts
from nait_index.distributed.worker import TEXTS, ShardWorker, run_once
from nait_index.errors import FingerprintError, ModelError, NaitError, StoreError
from nait_index.search.exact import ScanStamp
from nait_index.search.merged import MergedScans
from nait_index.search.shares import share_out
from nait_index.store.layout import Layout
from nait_index.store.manifest import library_versions
from nait_index.store.samples import SampleTable

ROWS = 260
SHARDS = 33
STAGED = 3
MAX_LENGTH = 64
APPEND = "nait_index.building.builder.SampleTable.append"


# ---- pieces ---------------------------------------------------------------------------------------------------------


def _shard(size: int, seed: int) -> tuple[ShardFacts, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    facts = ShardFacts(rng.integers(0, 99, size).astype(np.int32), rng.random(size) < 0.5, {size - 1: "it is the last"})
    columns = {
        "activations": rng.standard_normal((size, 2, 5)).astype(np.float32),
        "codes": rng.integers(-127, 128, (size, 7)).astype(np.int8),
        "halves": rng.standard_normal((size, 3)).astype(np.float16),
        "numbers": rng.integers(0, 2**16, (size, 4)).astype(np.uint16),
    }
    return facts, columns


@pytest.mark.parametrize("piece_bytes", [1, 200, 1 << 20])
@pytest.mark.parametrize("joined", [False, True])
def test_a_shard_survives_being_cut_and_joined(piece_bytes: int, joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nait_index.distributed.pieces.PIECE_BYTES", piece_bytes)
    shards = [_shard(size, size) for size in (1, 20, 3)]
    pieces = [piece for number, shard in enumerate(shards) for piece in to_pieces(number, *shard)]
    incoming = Incoming(iter([pa.concat_tables(pieces)] if joined else pieces))
    for number, (facts, columns) in enumerate(shards):
        size = len(facts.n_tokens)
        room = np.full((size, 2, 5), np.nan, np.float32)
        joined_facts, joined_columns = incoming.shard(number, size, {"activations": room})
        assert joined_columns["activations"] is room
        assert {name: (values.dtype, values.tobytes()) for name, values in joined_columns.items()} == {
            name: (values.dtype, values.tobytes()) for name, values in columns.items()
        }
        assert joined_facts.n_tokens.tolist() == facts.n_tokens.tolist()
        assert joined_facts.truncated.tolist() == facts.truncated.tolist()
        assert joined_facts.reasons == facts.reasons


def test_an_error_is_raised_where_its_shard_would_be() -> None:
    incoming = Incoming(iter([*to_pieces(0, *_shard(2, 0)), error_piece(FingerprintError("they differ"))]))
    incoming.shard(0, 2, {})
    with pytest.raises(FingerprintError, match=r"^they differ$"):
        incoming.shard(1, 2, {})


def test_shards_in_another_order_are_never_taken_for_one_another() -> None:
    with pytest.raises(RuntimeError, match="shard 0 were due"):
        Incoming(to_pieces(1, *_shard(2, 0))).shard(0, 2, {})


# ---- who works where ------------------------------------------------------------------------------------------------

SMALL, LARGE, GPUS = {"CPU": 2.0}, {"CPU": 16.0}, {"CPU": 8.0, "GPU": 4.0}


@pytest.mark.parametrize(
    ("workers", "machines", "use_gpus", "expected"),
    [
        (None, [SMALL], False, (1, Share(2, 0))),
        (2, [SMALL], False, (2, Share(1, 0))),
        (None, [{"memory": 1.0}, LARGE, LARGE], False, (2, Share(16, 0))),
        (4, [SMALL, LARGE, LARGE], False, (4, Share(8, 0))),
        (5, [SMALL, LARGE, LARGE], False, (5, Share(5, 0))),
        (None, [SMALL, GPUS, GPUS], True, (8, Share(0, 1))),
        (3, [GPUS], True, (3, Share(0, 1))),
        (3, [GPUS], False, (3, Share(2, 0))),
    ],
)
def test_every_worker_gets_its_share(
    workers: int | None, machines: list[dict[str, float]], use_gpus: bool, expected: tuple[int, Share]
) -> None:
    assert share_of(workers, machines, use_gpus=use_gpus) == expected


@pytest.mark.parametrize(
    ("machines", "use_gpus", "most"), [([SMALL], False, "2 CPUs"), ([SMALL, GPUS], True, "4 GPUs")]
)
def test_more_workers_than_there_is_room_for_are_refused(
    machines: list[dict[str, float]], use_gpus: bool, most: str
) -> None:
    with pytest.raises(NaitError, match=f"more than the {most}"):
        share_of(5, machines, use_gpus=use_gpus)


def test_a_model_is_not_split_on_a_cluster() -> None:
    with pytest.raises(NaitError, match="leave out --engine ray"):
        _worker_device(Device.SPLIT, [GPUS])
    assert _worker_device(Device.AUTO, [GPUS]) is Device.CUDA


def test_settings_of_another_engine_are_refused() -> None:
    for settings in ({"workers": 2}, {"address": "auto"}):
        with pytest.raises(NaitError, match="--engine ray"):
            RunnerConfig(**settings)
    with pytest.raises(NaitError, match="at least 1, not 0"):
        RunnerConfig(RunnerKind.RAY, workers=0)
    with pytest.raises(NaitError, match="Ray client"):
        RunnerConfig(RunnerKind.RAY, address="ray://head:10001")


def test_without_ray_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(3))
    line = refusal("build", tmp_path / "own.nait", corpus, "--engine", "ray")
    assert "pip install 'nait-index[ray]'" in line
    assert not (tmp_path / "own.nait").exists()


def test_a_local_build_does_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    build_small(tmp_path / "own.nait", write_lines(tmp_path / "corpus.jsonl", small_rows(3)))


# ---- clusters -------------------------------------------------------------------------------------------------------

# A process of its own, with shards as small as in the other tests.
_PROCESS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from helpers import small_shards, small_signatures

from nait_index.building.encoder import IndexEncoder
import nait_index_cli.build as command
from nait_index_cli.main import main

command.SignatureConfig = lambda **own: small_signatures(views=own["views"])
"""
_MAIN = """
sys.argv = ["nait-index", *sys.argv[2:]]
with small_shards():
    main()
"""
# The model's folder is another one by the time a worker loads it, as it may be on another machine.
_SWAP = """
load = IndexEncoder.__init__

def load_and_swap(encoder, model, signatures):
    load(encoder, model, signatures)
    os.replace(Path(model.name, "other.safetensors"), Path(model.name, "model.safetensors"))

IndexEncoder.__init__ = load_and_swap
"""


_PROGRESS = re.compile(r"about |[a-z ]+: [\d,]+ of [\d,]+ rows|warming up the gradients$")


class Process:
    """A build on a cluster of its own, with an empty home."""

    def __init__(
        self, root: Path, corpus: Path, model: Path, views: Sequence[View], *, workers: int = 1, before: str = ""
    ) -> None:
        self.home = root.parent / "home"
        self.home.mkdir(exist_ok=True)
        words = ["build", str(root), str(corpus), "--model", str(model), "--max-length", str(MAX_LENGTH)]
        words += ["--device", "cpu", "--engine", "ray", "--workers", str(workers), "--views", ",".join(views), "--json"]
        script = _PROCESS + before + _MAIN
        command = [sys.executable, "-c", script, str(Path(__file__).parent), *words]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HOME": str(self.home)},
        )

    def wait(self, seconds: float = 150) -> tuple[int, str, list[str]]:
        """Return exit code, output and the lines on the error stream, except those about progress."""
        out, err = self.process.communicate(timeout=seconds)
        assert list(self.home.iterdir()) == []
        return self.process.returncode, out, [line for line in err.splitlines() if not _PROGRESS.match(line)]

    def descendants(self, title: str = "") -> list[int]:
        """Return the processes that it started, directly or indirectly."""
        return descendants(self.process.pid, title)

    def until(self, condition: Callable[[], bool], seconds: float = 300) -> None:
        """Wait for a condition while the build runs."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "the build did not get that far"
            time.sleep(0.01)


def _committed(root: Path) -> int:
    """Count the shards that lie in the table of a first build."""
    return max(0, len(list((root / "lance" / "samples.lance" / "_versions").glob("*.manifest"))) - 1)


def _assert_same(root: Path, expected: Path) -> None:
    assert samples_of(root) == samples_of(expected)
    assert list(samples_of(root)) == list(samples_of(expected))
    assert counts_of(root) == counts_of(expected)
    assert basis_of(root) == basis_of(expected)
    assert (root / "rejected.jsonl").read_bytes() == (expected / "rejected.jsonl").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def _native_precision() -> Iterator[None]:
    """Restore what ``--dtype auto`` means outside the tests, which differs for gradients and activations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NAIT_INDEX_AUTO_DTYPE")
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = {"id": "long", "instruction": "Repeat.", "output": "la " * 200}
    lone = {"id": "lone", "instruction": "Half \ud83d of it", "output": "x"}
    rows = [json.dumps(row) for row in [*small_rows(ROWS), long, lone]]
    return write_lines(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", [*rows, "not json"])


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


ALL = (View.PCA, View.TOPK, View.HIDDEN, View.GRAD)


def _build(root: Path, corpus: Path, model: Path, views: Sequence[View]) -> Path:
    signatures = small_signatures(views=tuple(views))
    build_small(root, corpus, model=model, max_length=MAX_LENGTH, signatures=signatures)
    return root


@pytest.fixture(scope="module")
def whole(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(tmp_path_factory.mktemp("whole") / "whole.nait", corpus, model, ALL)


@pytest.mark.slow
def test_a_build_whose_worker_and_then_driver_are_killed_is_finished_here(
    corpus: Path, model: Path, whole: Path, tmp_path: Path
) -> None:
    root = tmp_path / "own.nait"
    build = Process(root, corpus, model, ALL, workers=2)
    build.until(lambda: _committed(root) >= STAGED + 1)
    os.kill(build.descendants("ray::MapWorker")[0], signal.SIGKILL)
    time.sleep(0.5)  # for what was on its way
    before = _committed(root)
    build.until(lambda: _committed(root) > before)
    workers = build.descendants("ray::MapWorker")
    build.process.kill()
    assert build.wait() == (-signal.SIGKILL, "", [])
    assert before < _committed(root) < SHARDS
    _build(root, corpus, model, ALL)
    _assert_same(root, whole)
    end = time.monotonic() + 60
    while [pid for pid in workers if _runs(pid)]:
        assert time.monotonic() < end, "the workers of the killed build are still there"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_build_begun_here_is_finished_by_a_worker(corpus: Path, model: Path, whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_call(patch, APPEND, call=STAGED + 2, after=True)
        with pytest.raises(KeyboardInterrupt):
            _build(root, corpus, model, ALL)
    assert _committed(root) == STAGED + 2
    code, out, err = Process(root, corpus, model, ALL).wait()
    notes = [f"rejected rows, with reasons: {root}/rejected.jsonl", "truncated rows were cut at 64 tokens"]
    alike = f"104 of {ROWS + 1} rows share at least 90% of their wording with another"
    alike += "; 'query --dedup 0.9' leaves them out"
    assert (code, sorted(_unhurried(err))) == (0, [alike, *notes]), err
    facts = json.loads(out)
    assert (facts["rows"], facts["present"]) == (ROWS + 1, (STAGED + 2) * SHARD)
    _assert_same(root, whole)
    assert not [*root.glob("engine/*/*.npy")], "whoever searches first makes the copies"


@pytest.mark.slow
def test_a_worker_with_another_model_ends_the_build_in_one_line(corpus: Path, model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(model, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    weights[min(name for name in weights if ".layers.0." in name)] += 1
    save_file(weights, folder / "other.safetensors", metadata={"format": "pt"})
    root = tmp_path / "own.nait"
    code, out, err = Process(root, corpus, folder, (View.PCA,), before=_SWAP).wait()
    err = _unhurried(err)
    assert (code, out, len(err)) == (1, "", 1), err
    assert err[0].startswith(f"Error: the model '{folder}' on {socket.gethostname()} is not the one")
    assert "differ in weights;" in err[0]


def test_a_worker_with_other_libraries_says_so_in_one_line(searched: Path) -> None:
    versions = library_versions()
    require_same_libraries(versions | {"python": "2.7", "torch": versions["torch"].partition("+")[0] + "+other"})
    others = versions | {"numpy": "0.1", "torch": "0.2"}
    both = f"has torch {versions['torch']} instead of 0.2, numpy {versions['numpy']} instead of 0.1, which"
    told = f"the worker on {socket.gethostname()} {both}"
    task: Any = None  # which is not looked at
    worker = ShardWorker(task, task, others)
    with pytest.raises(ModelError, match=re.escape(told)):
        Incoming(worker(pa.table({SHARD_COLUMN: [0], TEXTS: ["[]"]}))).shard(0, 1, {})
    with pytest.raises(ModelError, match=re.escape(told)):
        run_once(task, task, [], others)
    with pytest.raises(ModelError, match=f"has numpy {versions['numpy']} instead of 0.1, which"):
        ScanWorker(_task(searched), others).answer("longest", ("words_lsa", ScanStamp(1, 1, 1, "int8")))


def _unhurried(lines: Sequence[str]) -> list[str]:
    """Return the lines without that of a stage, which a pipe gets every half minute, on a machine that is busy."""
    return [line for line in lines if line != "reading" and not line.startswith("loading the model ")]


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# ---- searches -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("searched") / "own.nait"
    build_small(root, corpus, signatures=small_signatures(views=(View.WORDS,)))
    return root


def _task(root: Path, **changes: Any) -> ShareTask:
    """Describe the whole table of an index as the share of one worker."""
    table = SampleTable(Layout(root))
    ((share, spans),) = share_out(table.fragments_of("id"), 1)
    task = ShareTask(str(root), None, table.version, table.files_hash(), share, spans, 1)
    return replace(task, **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"index": "/nowhere/own.nait"}, "cannot read it (/nowhere/own.nait/lance/samples.lance is missing)"),
        ({"files_hash": "0" * 32}, "finds another index there"),
    ],
)
def test_a_worker_that_lacks_the_files_says_so_in_one_line(
    changes: dict[str, Any], problem: str, searched: Path
) -> None:
    worker = ScanWorker(_task(searched, **changes), library_versions())
    for _ in range(2):  # a request is answered alike however often it is made
        with pytest.raises(StoreError) as refused:
            worker.answer("longest", ("words_lsa", ScanStamp(1, 1, 1, "int8")))
        line = str(refused.value)
        assert f"the worker on {socket.gethostname()} {problem}; keep the index in an object store" in line


def test_a_worker_answers_from_the_table_that_was_opened(searched: Path) -> None:
    task = _task(searched)
    rows = SampleTable(Layout(searched), task.version)
    stamp = ScanStamp(task.version, len(rows), 128, "int8")
    answer = ScanWorker(task, library_versions()).answer("take", ("words_lsa", stamp, np.array([2, 0])))
    np.testing.assert_array_equal(answer, rows.signatures_at(np.array([2, 0]), "words_lsa"))


def test_workers_are_spread_over_the_machines_always_alike() -> None:
    machines = [{"NodeID": name, "Resources": resources} for name, resources in (("a", SMALL), ("b", LARGE), ("c", {}))]
    assert _hosts(machines, 2, 5) == ["a", "b", "b", "b", "b"]
    assert _hosts(machines, 8, 2) == ["b", "b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "need --engine ray"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "no Ray cluster at --address 127.0.0.1:9: "),
        (["--engine", "ray", "--address", "ray://head:10001"], "run the command on a machine of the cluster"),
    ],
)
def test_a_search_without_its_cluster_is_refused_in_one_line(
    options: list[str], message: str, searched: Path, corpus: Path
) -> None:
    command: list[str | Path] = ["query", searched, "-e", corpus, "--method", "probe-words", *options]
    assert message in refusal(*command)


def test_a_search_without_ray_says_what_to_install(
    searched: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    line = refusal("query", searched, "-e", corpus, "--method", "probe-words", "--engine", "ray")
    assert "pip install 'nait-index[ray]'" in line


def test_an_approximate_search_runs_in_one_process(
    searched: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nait_index.distributed.scanning.scans_for",
        lambda *_: MergedScans(lambda *_: [], lambda *_: iter(()), lambda *_: [], []),
    )
    command: list[str | Path] = ["query", searched, "-e", corpus, "--method", "probe-words", "--engine", "ray"]
    assert "leave it out, or --engine ray" in refusal(*command, "--search", "approximate")


@pytest.mark.slow
def test_workers_find_what_one_process_finds(
    storage: dict[str, str],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    """Rows tie across fragments: each of fifty is there three times, and some again."""
    rows = [row | {"id": f"{row['id']}-{copy}"} for copy in range(3) for row in small_rows(50)]
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    more = write_lines(tmp_path / "more.jsonl", [row | {"id": f"{row['id']}-3"} for row in small_rows(40, first=20)])
    examples = write_lines(tmp_path / "examples.jsonl", small_rows(6, first=500))
    here, there = str(tmp_path / "own.nait"), "s3://bucket/shared/own.nait"
    signatures = small_signatures(views=(View.PCA, View.TOPK, View.WORDS), pca_dim=6, fine_dim=12)
    for root, options in ((here, None), (there, storage)):
        index = build_small(root, corpus, signatures=signatures, storage=options)
        for name in NAMES:
            index.add_capability(name, examples)
        index.tag("before")
        build_small(root, more, signatures=signatures, storage=options)
    script = [sys.executable, str(Path(__file__).parent / "ray_searches.py"), here, there]
    script += [f"{key}={value}" for key, value in storage.items()]
    environment = os.environ | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    finished = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr
