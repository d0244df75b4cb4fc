"""Builds on several devices of one machine: the same bits as in one process, whoever is killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import (
    SHARD,
    basis_of,
    build_small,
    interrupt_call,
    refusal,
    samples_of,
    small_rows,
    small_signatures,
    write_lines,
)

from nait_index import NaitIndex, SignatureConfig
from nait_index.building.shards import ShardFacts
from nait_index.config import Device, RunnerConfig, View
from nait_index.distributed.process_runner import _Schedule
from nait_index.distributed.seats import Seat, seats_of
from nait_index.distributed.worker_process import Kit, OneRequest, ShardRequest, WorkerProcess
from nait_index.errors import ModelError, NaitError

# ---- which devices ---------------------------------------------------------------------------------------------------


def test_a_process_sees_its_own_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seats = seats_of(["0", "2+3", "cpu"], 4)
    assert [seat.visible for seat in seats] == [("0",), ("2", "3"), ()]
    assert [seat.device for seat in seats] == [Device.CUDA, Device.SPLIT, Device.CPU]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-8f2a")
    assert [seat.visible for seat in seats_of(["1", "0+1"], 2)] == [("GPU-8f2a",), ("5", "GPU-8f2a")]
    seats[1].take()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    seats[2].take()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(("gpus", "remedy"), [(0, "so use --devices cpu"), (2, "numbers 0 to 1")])
def test_a_gpu_that_is_not_there_is_named(gpus: int, remedy: str) -> None:
    with pytest.raises(NaitError, match=f"there is no GPU 2; torch sees {gpus} here, {remedy}"):
        seats_of(["0+2" if gpus else "2"], gpus)


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        (("gpu",), "'gpu' is not cpu, the number of a GPU"),
        (("0", ""), "'' is not cpu"),
        (("0+0",), r"'0\+0' is not cpu"),
        (("cpu+0",), "is not cpu"),
        (("0", "cpu"), "round differently"),
    ],
)
def test_devices_that_cannot_be_meant_are_refused(devices: tuple[str, ...], reason: str) -> None:
    with pytest.raises(NaitError, match=reason):
        RunnerConfig(devices=devices)


def test_devices_and_what_contradicts_them_are_refused_in_one_line(tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(3))
    build = ("build", tmp_path / "own.nait", corpus, "--devices")
    assert "leave out one of them" in refusal(*build, "0,1", "--engine", "ray")
    assert "leave out --device cuda" in refusal(*build, "cpu,cpu", "--device", "cuda")


@pytest.mark.parametrize("option", [("--devices", "cpu,cpu"), ("--engine", "ray")])
def test_a_build_without_a_model_is_not_shared_out(option: tuple[str, ...], tmp_path: Path) -> None:
    corpus, index = write_lines(tmp_path / "corpus.jsonl", small_rows(3)), tmp_path / "own.nait"
    reason = f"the view words needs no model; leave out {' '.join(option).removesuffix(' cpu,cpu')}"
    assert reason in refusal("build", index, corpus, "--no-model", *option)
    assert not index.exists()
    NaitIndex.build(index, corpus, signatures=SignatureConfig(views=(View.WORDS,)))
    more = write_lines(tmp_path / "more.jsonl", small_rows(2, first=3))
    assert reason in refusal("add", index, more, *option)
    assert len(NaitIndex(index)) == 3


# ---- processes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """Stands in for the task of a worker: its process loads no model, and misbehaves when a text asks for it."""

    folder: Path
    refuses: bool = False

    def open(self) -> Any:
        if self.refuses:
            raise ModelError("the model is another one")
        return self

    def restore(self, warmup: bytes) -> None:
        (self.folder / f"restored-{os.getpid()}").write_bytes(warmup)

    def tokenize(self, texts: Sequence[Any]) -> list[str]:
        return [marked.text for marked in texts]

    def encode(self, tokens: list[str], compressor: Any, advance: Any) -> tuple[ShardFacts, dict[str, np.ndarray]]:
        self._obey(tokens[0])
        time.sleep(0.05 if "slow" in tokens else 0)
        facts = ShardFacts(np.array([len(tokens)]), np.array([False]), {})
        return facts, {"code": np.array([hash_of(tokens), len(compressor)])}

    def stage(self, tokens: list[str], room: np.ndarray, advance: Any) -> tuple[ShardFacts, dict[str, np.ndarray]]:
        room[:] = hash_of(tokens)
        return ShardFacts(np.array([len(tokens)]), np.array([False]), {}), {}

    def _obey(self, text: str) -> None:
        if text == "fail":
            raise ModelError("the model failed")
        if text == "bug":
            raise ZeroDivisionError("a bug")
        died = self.folder / "died"
        if text == "die" or (text == "die once" and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def hash_of(tokens: Sequence[str]) -> int:
    return sum(map(ord, "".join(tokens)))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[..., list[WorkerProcess]]]:
    """Start processes that load nothing."""
    started: list[WorkerProcess] = []

    def start(count: int = 1, **settings: Any) -> list[WorkerProcess]:
        started.extend(WorkerProcess(Seat("cpu", ()), Task(tmp_path, **settings)) for _ in range(count))  # type: ignore[arg-type]
        return started

    yield start
    for process in started:
        process.close()
    assert multiprocessing.active_children() == []


def _requests(folder: Path, shards: Sequence[Sequence[str]]) -> Iterator[ShardRequest]:
    """Write the texts of shards as a spool does, and ask for each."""
    spool = folder / "spool.jsonl"
    with spool.open("w") as file:
        for number, texts in enumerate(shards):
            offsets = []
            for text in texts:
                offsets.append(file.tell())
                file.write(json.dumps([[text, []]]) + "\n")
            file.flush()
            yield ShardRequest(number, spool, offsets)


def _codes(processes: list[WorkerProcess], folder: Path, shards: Sequence[Sequence[str]]) -> list[int]:
    for process in processes:
        process.send(Kit("basis", b"warm"))  # type: ignore[arg-type]
    advanced: list[int] = []
    schedule = _Schedule(processes, _requests(folder, shards), len(shards), lambda rows, _: advanced.append(rows))
    codes = [schedule.result(number)[1]["code"] for number in range(len(shards))]
    assert sum(advanced) == len(shards)
    assert {int(code[1]) for code in codes} == {len("basis")}
    return [int(code[0]) for code in codes]


def test_shards_return_in_their_order_and_a_process_that_is_killed_starts_once_more(
    processes: Callable[..., list[WorkerProcess]], tmp_path: Path
) -> None:
    shards = [["die once", "slow"], *([f"text {number}"] for number in range(20)), ["slow", "slow"], ["last"]]
    assert _codes(processes(2), tmp_path, shards) == [*map(hash_of, shards)]
    assert len([*tmp_path.glob("restored-*")]) == 3
    (process, _), room = processes(0), tmp_path / "room.npy"
    np.lib.format.open_memmap(room, mode="w+", dtype=np.float32, shape=(2, 3))
    process.send(OneRequest(lengths, ["a", "bcd"]))  # type: ignore[arg-type, list-item]
    received = process.receive()
    assert received is not None
    assert received[1] == [1, 3]
    (request,) = _requests(tmp_path, [["staged"]])
    process.send(ShardRequest(0, request.spool, request.offsets, str(room)))
    assert process.receive() is not None
    assert (np.load(room) == hash_of(["staged"])).all()


class _Worker:
    """Answers at once what it was asked."""

    def __init__(self) -> None:
        self.asked: deque[ShardRequest] = deque()
        self.connection = self

    def send(self, request: ShardRequest) -> None:
        self.asked.append(request)

    def receive(self) -> tuple[ShardRequest, tuple[ShardFacts, dict[str, np.ndarray]]]:
        return self.asked.popleft(), (ShardFacts(np.array([1]), np.array([False]), {}), {})


def test_no_process_runs_far_ahead_of_one_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = _Worker(), _Worker()
    waited: list[int] = []

    def wait(busy: Sequence[_Worker]) -> list[_Worker]:
        waited.append(schedule._sent)
        return [quick] if quick in busy else [slow]

    monkeypatch.setattr("nait_index.distributed.process_runner.wait", wait)
    requests = (ShardRequest(number, Path("spool"), []) for number in range(100))
    schedule = _Schedule([slow, quick], requests, 100, lambda rows, tokens: None)  # type: ignore[list-item]
    schedule.result(0)
    assert max(waited) == 8, "two for each process, and two more that wait"
    for number in range(1, 100):
        schedule.result(number)
    assert next(requests, None) is None


def lengths(_: Any, texts: Sequence[str]) -> list[int]:
    return [*map(len, texts)]


def test_what_goes_wrong_in_a_process_is_raised_here(
    processes: Callable[..., list[WorkerProcess]], tmp_path: Path
) -> None:
    started = processes()
    with pytest.raises(ModelError, match=r"^the model failed$"):
        _codes(started, tmp_path, [["good"], ["fail"]])
    with pytest.raises(RuntimeError, match=r"(?s)device cpu failed:.*ZeroDivisionError: a bug"):
        _codes(started, tmp_path, [["bug"]])
    with pytest.raises(NaitError, match=r"device cpu ended twice .*killed by SIGKILL.* lower --batch-tokens"):
        _codes(started, tmp_path, [["die"]])


def test_a_process_whose_model_is_another_says_so(
    processes: Callable[..., list[WorkerProcess]], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"^the model is another one$"):
        _codes(processes(refuses=True), tmp_path, [["text"]])


_ABANDONED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_devices import OneRequest, Seat, Task, WorkerProcess, lengths, os, signal

process = WorkerProcess(Seat("cpu", ()), Task(Path(sys.argv[2])))
process.send(OneRequest(lengths, []))
process.receive()
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_build_that_is_killed_and_do_not_run_its_script_again(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(_ABANDONED)
    killed = subprocess.run(
        [sys.executable, script, Path(__file__).parent, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    (pid,) = map(int, killed.stdout.split())
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < end, "the process is still there"
        time.sleep(0.05)


# ---- builds ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_build_in_two_processes_that_is_interrupted_is_finished_here_to_the_same_bits(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    import torch

    rows = [*small_rows(100), {"id": "long", "instruction": "Repeat.", "output": "la " * 200}]
    corpus, threads = write_lines(tmp_path / "corpus.jsonl", rows), torch.get_num_threads()
    settings: dict[str, Any] = {"model": tiny_model("llama"), "max_length": 64}
    settings["signatures"] = small_signatures(views=(View.PCA, View.TOPK, View.HIDDEN))
    torch.set_num_threads(1)  # which is then the share of each process too
    try:
        whole = build_small(tmp_path / "whole.nait", corpus, **settings)
        with pytest.MonkeyPatch.context() as patch:
            interrupt_call(patch, "nait_index.building.builder.SampleTable.append", call=8, after=True)
            with pytest.raises(KeyboardInterrupt):
                build_small(tmp_path / "own.nait", corpus, runner=RunnerConfig(devices=("cpu", "cpu")), **settings)
        assert multiprocessing.active_children() == []
        finished = build_small(tmp_path / "own.nait", corpus, **settings)
    finally:
        torch.set_num_threads(threads)
    assert finished.report is not None
    assert finished.report.present == 8 * SHARD
    assert [*samples_of(whole.layout.name).items()] == [*samples_of(finished.layout.name).items()]
    assert basis_of(tmp_path / "own.nait") == basis_of(tmp_path / "whole.nait")
