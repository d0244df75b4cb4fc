"""What commands cost at a million rows, as a shell sees them: ``python -m benchmarks.speed.large``.

Each command runs in a process of its own, on a made-up index (:mod:`benchmarks.made_up`): seconds from its start to
its end, of the processor too, and the most memory it had, of its own (``RssAnon``) and with the parts of mapped files
that it read. ``written`` is the size of what it wrote. Results go to results/large.json; with ``--huge``, ten million
rows of 512 bytes are queried too, and go to results/large-huge.json.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import ROOT, environment
from benchmarks.made_up import CAPABILITIES, Width, make

_ONE, _ALL = ("-c", CAPABILITIES[0]), tuple(word for name in CAPABILITIES for word in ("-c", name))
_WRITE = ("--top", "10%", "-o", "out.jsonl", "--force")
_SAMPLED = 0.01  # seconds between two looks at a process's memory
_LONG = 30  # seconds from which on a command is run once

_KEEPS_A_FIELD, _NAIT = "query -o --where, a field", "query -o --method nait"
_KEPT = {_KEEPS_A_FIELD: "*/field-*", _NAIT: "*/pca_mean.npy"}
"""What the first run of a command keeps for later ones, in the index's folder ``engine``."""

QUERIES: Mapping[str, tuple[str, ...]] = {
    "query, 20 rows shown": ("query", *_ONE, "--top", "10%"),
    "query -o": ("query", *_ONE, *_WRITE),
    "query -o, of three": ("query", *_ALL, *_WRITE),
    "query -o --top 2M-tokens": ("query", *_ONE, "--top", "2M-tokens", *_WRITE[2:]),
    "query -o --where n_tokens": ("query", *_ONE, *_WRITE, "--where", "n_tokens < 60"),
    _KEEPS_A_FIELD: ("query", *_ONE, *_WRITE, "--where", "{field} = '{value}'"),
    "query -o --at-most file": ("query", *_ONE, *_WRITE, "--at-most", "file=5%"),
    "query -o --at-most, a field": ("query", *_ONE, *_WRITE, "--at-most", "{field}=5%"),
}
MORE: Mapping[str, tuple[str, ...]] = {
    _NAIT: ("query", *_ONE, *_WRITE, "--method", "nait"),
    "query -o --dedup, 1 %": ("query", *_ONE, "--top", "1%", *_WRITE[2:], "--dedup", "0.8"),
    "query -o --select coverage, 1 %": ("query", *_ONE, "--top", "1%", *_WRITE[2:], "--select", "coverage"),
    "query -o --select round-robin, 1 %": ("query", *_ONE, "--top", "1%", *_WRITE[2:], "--select", "round-robin"),
    "core -o": ("core", *_ALL, *_WRITE),
    "report": ("report", "-o", "report.html", "--force"),
}


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--huge", is_flag=True, help="Instead, query 10 million rows of 512 bytes; takes 20 GB of disk.")
@click.option("--index", type=click.Path(path_type=Path), help="Make the index here and keep it, or use the one there.")
@click.option("--runs", default=3, show_default=True, help="Of each command that is fast; the fastest counts.")
@click.option("--only", help="Measure only commands whose name holds this; other results stay.")
@click.option("--quick", is_flag=True, help="Only check that it runs: 6,000 rows of the demo, nothing is written.")
def main(rows: int, huge: bool, index: Path | None, runs: int, only: str | None, quick: bool) -> None:
    """Measure, and write results/large.json, command by command."""
    rows = 6_000 if quick else 10_000_000 if huge else rows
    width = Width.NARROW if huge else Width.FULL
    field, value = ("skill", "logic") if quick else ("source", "gsm8k_train")
    with tempfile.TemporaryDirectory() as scratch:
        path = index or Path(scratch) / "made-up.nait"
        if not path.exists():
            make(path, rows, width, 600 if quick else 3000, demo=quick)
        name = "large-huge.json" if huge else "large.json"
        kept = Kept(Path(scratch) / name if quick else ROOT / "benchmarks" / "results" / name, anew=only is None)
        kept.add({"rows": rows, "width": str(width)})
        shell = Shell(path, {"field": field, "value": value})
        commands = dict(QUERIES) if huge else {**QUERIES, **MORE}
        once = ("--bootstrap", "1") if quick else ()
        commands = {
            name: (*words, *once) if words[0] in ("core", "report") else words for name, words in commands.items()
        }
        wanted = {name: words for name, words in commands.items() if only is None or only in name}
        measure(shell, wanted, 1 if quick else runs, kept, first=only is None or only == "first")
        if not huge and (only is None or only in "explore"):
            kept.add({"explore": explore(shell)})
    click.echo(json.dumps(kept.result, indent=1))


class Kept:
    """The results so far, written whenever there are more, so that a part can be measured again with ``--only``.

    :param anew: begin without those of earlier runs.
    """

    def __init__(self, path: Path, *, anew: bool) -> None:
        old = {} if anew or not path.exists() else json.loads(path.read_text(encoding="utf-8"))
        earlier = [*old.pop("earlier", []), old.pop("environment")] if old else []
        self.result: dict[str, Any] = {"environment": environment(), "earlier": earlier, "commands": {}, **old}
        self._path = path

    def add(self, part: Mapping[str, Any]) -> None:
        """Add a part of the results."""
        self.result |= part
        self._path.write_text(json.dumps(self.result, indent=1) + "\n", encoding="utf-8")

    def add_command(self, name: str, figures: Mapping[str, Any]) -> None:
        """Add the figures of one command."""
        click.echo(f"{name}: {figures}", err=True)
        self.add({"commands": {**self.result["commands"], name: figures}})


class Shell:
    """Runs commands on an index, in a folder beside it.

    :param names: what stands for the words in braces.
    """

    def __init__(self, index: Path, names: Mapping[str, str]) -> None:
        self.index = index.resolve()
        self._names = names

    def run(self, words: Sequence[str]) -> dict[str, float]:
        """Run a command, and return what it took."""
        with tempfile.TemporaryDirectory(dir=self.index.parent) as folder:
            figures, output = self._watched(words, Path(folder))
            files = [path.stat().st_size for path in Path(folder).iterdir()]
        return figures | {"written, MB": round(sum(files) / 1e6, 1), "printed, MB": round(len(output) / 1e6, 1)}

    def start(self, words: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
        """Start a command; its first word is its name, which the index follows."""
        command, *rest = (word.format(**self._names) for word in words)
        program = str(Path(sys.executable).parent / "nait-index")
        return subprocess.Popen(
            [program, command, str(self.index), *rest], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _watched(self, words: Sequence[str], folder: Path) -> tuple[dict[str, float], bytes]:
        started = time.monotonic()
        process = self.start(words, folder)
        memory = Memory(process.pid)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # its peak of memory would be this process's, which it began as
        seconds, process.returncode = time.monotonic() - started, os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise click.ClickException(output.decode(errors="replace")[-2000:])
        figures = {"seconds": round(seconds, 2), "processor": round(usage.ru_utime + usage.ru_stime, 2)}
        return figures | {"own, MiB": memory.peak("RssAnon"), "peak, MiB": memory.peak("VmHWM")}, output


class Memory:
    """Looks at the memory of a process until it ends."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peaks: dict[str, int] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while fields := self._fields():
            for name, size in fields.items():
                self._peaks[name] = max(size, self._peaks.get(name, 0))
            time.sleep(_SAMPLED)

    def _fields(self) -> dict[str, int]:
        try:
            text = self._status.read_text()
        except OSError:
            return {}
        return {name: int(size) // 1024 for name, size in re.findall(r"(\w+):\s+(\d+) kB", text)}

    def peak(self, name: str) -> int:
        """Return the largest value of a field so far, in MiB."""
        return self._peaks.get(name, 0)


def measure(shell: Shell, commands: Mapping[str, Sequence[str]], most: int, kept: Kept, *, first: bool) -> None:
    """Run every command, and those that are fast ``most`` times; of these, keep the run of least seconds.

    What a command keeps for later ones is made in a run of its own, ``…, the first``.

    :param first: begin without the copies that are scanned, and with no field kept as a column.
    """
    if first:
        shutil.rmtree(shell.index / "engine", ignore_errors=True)
        kept.add_command("query -o, the first", shell.run(QUERIES["query -o"]))
    for name, words in commands.items():
        if name in _KEPT and not any((shell.index / "engine").glob(_KEPT[name])):
            kept.add_command(f"{name}, the first", shell.run(words))
        runs = [shell.run(words)]
        while runs[0]["seconds"] < _LONG and len(runs) < most:
            runs.append(shell.run(words))
        best = min(runs, key=lambda run: run["seconds"])
        kept.add_command(name, best | {"runs": [run["seconds"] for run in runs]})


def explore(shell: Shell) -> dict[str, Any]:
    """Open the page in the browser's place, choose a tenth, and read a page of rows."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        process = shell.start(("explore", "--no-open", "--port", "0"), Path(folder))
        memory = Memory(process.pid)
        try:
            address = _address(process)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            page, seconds = _timed(lambda: opener.open(address).read())
            figures: dict[str, Any] = {"until it listens": round(time.monotonic() - started - seconds, 2)}
            figures |= {"page": seconds, "page, kB": round(len(page) / 1e3, 1)}
            api = f"{address.partition('?')[0]}api/"
            for name, top in (("choice", "10%"), ("again", "10%"), ("another budget", "5%"), ("top 500", "500")):
                figures |= _answer(opener, f"{api}choice", name, top=top)
            figures |= _answer(opener, f"{api}rows", "a page of rows", top="10%", first="50", count="50")
        finally:
            process.terminate()
            process.wait()
    return figures | {"own, MiB": memory.peak("RssAnon"), "peak, MiB": memory.peak("VmHWM")}


def _answer(opener: urllib.request.OpenerDirector, address: str, name: str, **query: str) -> dict[str, float]:
    """Ask for something about the first capability, and return the seconds and the size of the answer."""
    whole = f"{address}?{urllib.parse.urlencode({'name': CAPABILITIES[0], **query})}"
    answer, seconds = _timed(lambda: opener.open(whole).read())
    return {name: seconds, f"{name}, kB": round(len(answer) / 1e3, 1)}


def _address(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(rb"http://\S+token=\S+", line):
            return match[0].decode()
    raise click.ClickException("explore did not start")


def _timed(work: Callable[[], bytes]) -> tuple[bytes, float]:
    started = time.monotonic()
    answer = work()
    return answer, round(time.monotonic() - started, 2)


if __name__ == "__main__":
    main()
