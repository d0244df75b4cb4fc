"""The tests' side of the children: starting them, and what they left."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Ended:
    """What a child left: exit code, negative where a signal ended it, both streams, and its steps.

    :param steps: mark (``>`` begins, ``<`` ends), name, call, and seconds since the child began.
    """

    code: int
    seconds: float
    steps: list[list[str]]
    out: str
    err: str

    @property
    def was_at(self) -> str:
        """Name the innermost step that the child was in, or the one that it had last left."""
        begun: list[list[str]] = []
        last = "start"
        for mark, name, call, _ in self.steps:
            if mark == ">":
                begun.append([name, call])
            elif [name, call] in begun:
                begun.remove([name, call])
                last = name
        return f"in {begun[-1][0]}" if begun else f"after {last}"

    def refusal(self) -> str:
        """Return the only line of a command that must fail with exit code 1."""
        return refusal_of(self.code, self.out, self.err)


def refusal_of(code: int, out: str, err: str) -> str:
    """Return the only line that a failed command printed."""
    assert code == 1, (code, out, err)
    assert "Traceback" not in err, err
    assert "panicked" not in err, err
    assert out == "", out
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    others = [line for line in err.splitlines() if not line.startswith(("Error: ", "using the small", "the engine is"))]
    assert len(lines) == 1, err
    assert [line for line in others if line.strip()] == [], err
    return lines[0].removeprefix("Error: ")


class Running:
    """A child that was started."""

    def __init__(self, address: Path, request: dict[str, Any]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(address))
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        self.pid: int = json.loads(self._lines.readline())["pid"]

    def wait(self) -> Ended:
        """Wait for its end."""
        with self._socket, self._lines:
            return Ended(**json.loads(self._lines.readline()))


class Zygote:
    """The process that children are forked from.

    :param preload: a library that it is started with.
    """

    def __init__(self, folder: Path, preload: Path | None = None) -> None:
        self._address = folder / "socket"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        environment |= {} if preload is None else {"LD_PRELOAD": str(preload)}
        environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.zygote", str(self._address)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        names = {(task / "comm").read_text().strip() for task in tasks}
        assert names <= {"python", "python3", "jemalloc_bg_thd", Path(sys.executable).name[:15]}, names

    def start(self, run: str, **request: Any) -> Running:
        """Start a child; see :mod:`commands` for what it can run.

        :param request: what that needs, and: ``kill``, a plan; ``trace``; ``limits`` of the system; ``user``;
            ``moments``, what ``moments.c`` is told: its library, the folder to watch, and the write to die before.
        """
        return Running(self._address, {"run": run, "trace": "kill" in request} | request)

    def nait_index(self, *arguments: str | Path, **request: Any) -> Ended:
        """Run the command line to its end."""
        return self.start("nait-index", arguments=[str(argument) for argument in arguments], **request).wait()

    def several(
        self, commands: Sequence[Sequence[str | Path]], *, may_panic: bool = False, **request: Any
    ) -> list[dict[str, Any]]:
        """Run several commands in one child: exit code and both streams of each.

        :param may_panic: where a table's file is damaged behind our back, Lance may print that it panicked.
        """
        ended = self.start(
            "several", commands=[[str(part) for part in command] for command in commands], **request
        ).wait()
        assert ended.code == 0, (ended.code, ended.err)
        outcomes: list[dict[str, Any]] = json.loads(ended.out)
        assert may_panic or "panicked" not in ended.err, ended.err
        return outcomes

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def wait_until(path: Path, seconds: float = 60) -> None:
    """Wait for a file."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.005)
