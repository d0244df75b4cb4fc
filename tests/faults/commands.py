"""What the children of the tests run: the command line with small shards, traced; and readers that go on reading."""

import ctypes
import hashlib
import importlib
import inspect
import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import nait_index, small_shards, small_signatures

STEPS = {
    "load model": "nait_index.building.encoder.IndexEncoder.__init__",
    "read rows": "nait_index.building.intake.Intake.run",
    "forward": "nait_index.activations.encoder.Encoder._forward",
    "stage shard": "nait_index.building.encoder.IndexEncoder.stage",
    "encode shard": "nait_index.building.encoder.IndexEncoder.encode",
    "staged create": "nait_index.building.shards.StagedShard.create",
    "staged finish": "nait_index.building.shards.StagedShard.finish",
    "staged remove": "nait_index.building.shards.StagedShard.remove",
    "fit": "nait_index.building.basis.fit_basis",
    "save basis": "nait_index.store.fitted.save_compressor",
    "save manifest": "nait_index.store.manifest.save_manifest",
    "create table": "nait_index.store.samples.SampleTable.create",
    "append": "nait_index.store.samples.SampleTable.append",
    "delete": "nait_index.store.samples.SampleTable.delete",
    "compact": "nait_index.store.samples.SampleTable.compact",
    "restore": "nait_index.store.samples.SampleTable.restore",
    "keep versions": "nait_index.store.dataset.LanceTable.keep",
    "rejects prepare": "nait_index.building.commit.merge_rejected",
    "rejects publish": "nait_index.building.commit.publish_rejected",
    "publish": "nait_index.store.publish.publish",
    "seal files": "nait_index.store.integrity.seal_files",
    "check files": "nait_index.store.integrity.check_files",
    "engine write": "nait_index.search.exact.ExactScan.write",
    "drift": "nait_index.building.basis.measure_shift",
    "fsync": "os.fsync",
    "rename": "os.replace",
    "rename into place": "pathlib.Path.replace",
}
"""Functions whose calls are told of as they begin and end."""


def run(request: dict[str, Any], steps: int) -> int:
    """Run what a request asks for, and give the exit code."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with ExitStack() as stack:
        stack.enter_context(small_shards())
        stack.enter_context(_small_settings(request.get("fragments", 64)))
        if "moments" in request:
            library, folder, number = request["moments"]
            ctypes.CDLL(library).moments_arm(folder.encode(), ctypes.c_long(number), steps)
        if request.get("trace"):
            stack.enter_context(Tracer(steps, request.get("kill") or {}).installed())
        return COMMANDS[request["run"]](request)


@contextmanager
def _small_settings(fragments: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index_cli.build.SignatureConfig", lambda **settings: small_signatures())
        patch.setattr("nait_index.building.commit._MOST_FRAGMENTS", fragments)
        yield


class Tracer:
    """Tells of the steps of this process over a pipe, and kills it right before or after the one it is told.

    :param pipe: takes a line as each begins (``>``) and ends (``<``).
    """

    def __init__(self, pipe: int, kill: dict[str, Any]) -> None:
        self._pipe = pipe
        self._kill = kill
        self._calls: Counter[str] = Counter()
        self._began = time.monotonic()

    @contextmanager
    def installed(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, place in STEPS.items():
                self._install(patch, name, place)
            yield

    def _install(self, patch: pytest.MonkeyPatch, name: str, place: str) -> None:
        owner, _, attribute = place.rpartition(".")
        try:
            target: Any = importlib.import_module(owner)
        except ModuleNotFoundError:
            module, _, kind = owner.rpartition(".")
            target = getattr(importlib.import_module(module), kind)
        original = getattr(target, attribute)
        static = inspect.getattr_static(target, attribute)
        if isinstance(static, classmethod):
            inner = self._wrapped(name, static.__func__)
            patch.setattr(target, attribute, classmethod(inner))
            return
        wrapped = self._wrapped(name, original)
        patch.setattr(target, attribute, wrapped)
        for module_name, module in list(sys.modules.items()):  # and where it was imported by its name
            if module_name.startswith("nait_index") and vars(module).get(attribute) is original:
                patch.setattr(module, attribute, wrapped)

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any, **options: Any) -> Any:
            self._calls[name] += 1
            call = self._calls[name]
            self._tell(">", name, call)
            try:
                return function(*args, **options)
            finally:
                self._tell("<", name, call)

        return traced

    def _tell(self, mark: str, name: str, call: int) -> None:
        os.write(self._pipe, f"{mark}\t{name}\t{call}\t{time.monotonic() - self._began:.4f}\n".encode())
        kill = self._kill
        if (kill.get("step"), kill.get("call")) == (name, call) and kill["when"] == {">": "before", "<": "after"}[mark]:
            os.kill(os.getpid(), signal.SIGKILL)


# ---- commands -----------------------------------------------------------------------------------------------------


def _command_line(request: dict[str, Any]) -> int:
    """Act as the command line."""
    from nait_index_cli.main import main

    sys.argv = ["nait-index", *request["arguments"]]
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0


def _several(request: dict[str, Any]) -> int:
    """Run several commands one after another and print what came of each, as JSON."""
    print(json.dumps([_outcome(command) for command in request["commands"]]))  # noqa: T201
    return 0


def _outcome(command: list[str]) -> dict[str, Any]:
    try:
        ended = nait_index(*command)
    except BaseException:  # what the command line lets through is what the user would see as a traceback
        return {"code": 70, "out": "", "err": traceback.format_exc()}
    return {"code": ended.code, "out": ended.out, "err": ended.err}


def _read_on(request: dict[str, Any]) -> int:
    """Open an index and query it, again and again until a file is there; print how often each answer came.

    Every other time the index that was opened first is asked instead, which must go on giving the same.
    """
    from nait_index import NaitIndex

    root, stop = request["index"], Path(request["stop"])
    held = NaitIndex(root)
    answers: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    while not stop.exists():
        answers[answer(NaitIndex(root))] += 1
        kept[answer(held)] += 1
        Path(request["began"]).touch()
    print(json.dumps({"answers": answers, "held": kept}))  # noqa: T201
    return 0


def answer(index: Any) -> str:
    """Stand for everything that readers see of an index: its version, all rows, and two rankings of them."""
    rows = json.dumps(index.rows())
    chosen = [index.query("own", top="100%", method=method) for method in ("probe", "nait")]
    ranked = json.dumps([[list(selection.ids), list(selection.scores)] for selection in chosen])
    return f"{index.manifest.version}:{hashlib.blake2b((rows + ranked).encode(), digest_size=8).hexdigest()}"


COMMANDS: dict[str, Callable[[dict[str, Any]], int]] = {
    "nait-index": _command_line,
    "several": _several,
    "read on": _read_on,
}
