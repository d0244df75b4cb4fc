"""A process that imports everything once and forks a child for every command, so that a trial costs no imports.

It listens on a socket. Every connection is one command: a line of JSON comes in, a line with the child's process number
goes out when it has started, and one with its end. The libraries that start threads are left to the child: only a
process without threads can be forked safely.
"""

import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any, NoReturn

_LONGEST = 600.0


_MODULES = (
    "lance_namespace",  # most of what importing lancedb costs, and none of its threads
    "pydantic",
    "scipy.linalg",
    "tokenizers",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llama.tokenization_llama",
    "transformers.tokenization_utils_tokenizers",
    "nait_index.index",
    "nait_index_cli.main",
    "faults.commands",
)


def _serve(address: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)  # noqa: T201
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _supervise(connection)
            connection.close()


def _supervise(connection: socket.socket) -> NoReturn:
    """Fork the child, watch it, kill it when its moment has come, and tell of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        with connection.makefile("rw", encoding="utf-8") as lines:
            request = json.loads(lines.readline())
            lines.write(json.dumps(_watched(request, lines)) + "\n")
        code = 0
    except BrokenPipeError:
        pass
    finally:
        os._exit(code)


def _watched(request: dict[str, Any], lines: Any) -> dict[str, Any]:
    pipes = {name: os.pipe() for name in ("steps", "out", "err")}
    pid = os.fork()
    if pid == 0:
        for reading, _ in pipes.values():
            os.close(reading)
        _run(request, *(writing for _, writing in pipes.values()))
    for _, writing in pipes.values():
        os.close(writing)
    lines.write(json.dumps({"pid": pid}) + "\n")
    lines.flush()
    watch = _Watch(pid, request.get("kill"))
    texts: dict[int, bytearray] = {reading: bytearray() for reading, _ in pipes.values()}
    open_ones = set(texts)
    while open_ones:
        ready, _, _ = select.select(list(open_ones), [], [], watch.patience())
        for reading in ready:
            block = os.read(reading, 65536)
            texts[reading] += block
            if not block:
                open_ones.discard(reading)
            if reading == pipes["steps"][0]:
                watch.see(block)
        watch.act()
    _, status = os.waitpid(pid, 0)
    steps, out, err = (bytes(texts[reading]).decode(errors="replace") for reading, _ in pipes.values())
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - watch.began,
        "steps": [line.split("\t") for line in steps.split("\n")[:-1]],
        "out": out,
        "err": err,
    }


class _Watch:
    """Kills a child at a moment: so long after its start, or so long after it has begun a step."""

    def __init__(self, pid: int, plan: dict[str, Any] | None) -> None:
        self.began = time.monotonic()
        self._pid = pid
        self._plan = plan or {}
        self._moment = self.began + _LONGEST
        if "seconds" in self._plan:
            self._moment = self.began + self._plan["seconds"]
        self._rest = b""

    def patience(self) -> float:
        return max(0.0, self._moment - time.monotonic())

    def see(self, block: bytes) -> None:
        if self._plan.get("when") != "within":
            return
        *whole, self._rest = (self._rest + block).split(b"\n")
        for line in whole:
            mark, name, call = line.decode().split("\t")[:3]
            if (mark, name, int(call)) == (">", self._plan["step"], self._plan["call"]):
                self._moment = time.monotonic() + self._plan["delay"]

    def act(self) -> None:
        if time.monotonic() >= self._moment:
            os.kill(self._pid, signal.SIGKILL)
            self._moment = time.monotonic() + _LONGEST


def _run(request: dict[str, Any], steps: int, out: int, err: int) -> NoReturn:
    """Act as the child: apply the requested limits, run the command, and exit with its code."""
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (open(fd, "w", encoding="utf-8", closefd=False) for fd in (1, 2))
        for name, limit in request.get("limits", {}).items():
            resource.setrlimit(getattr(resource, name), (limit, limit))
        if "user" in request:
            # Python itself may lie where another user may not read it.
            for module in ("lance", "lancedb", "bm25s", "scipy.sparse"):
                importlib.import_module(module)
            methods = importlib.import_module("nait_index.methods.registry")
            for name in methods.MethodName:
                methods.method_of(name)
            os.setgroups([])
            os.setgid(request["user"])
            os.setuid(request["user"])
        from faults import commands

        code = commands.run(request, steps)
    except BaseException:  # whatever comes so far is told of like a crash of Python itself
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for module in _MODULES:
        importlib.import_module(module)
    _serve(sys.argv[1])
