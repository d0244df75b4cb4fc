"""Every command and every line of Python in the documentation runs.

The blocks named ``sh`` and ``python`` of a page run in order, in a fresh folder, in this process. What runs nowhere (an
installation, a cluster, a server that waits) stands after ``<!-- not run: REASON -->``. The commands and options
in these blocks and in running text must exist.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import pytest
from helpers import nait_index, write_lines
from nait_index_cli.main import cli

from tools.demo.corpus import Split, generate
from tools.demo.generate import write as write_demo_data

ROOT = Path(__file__).parents[1]
TEXTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

SUBSTITUTES = {
    r"Qwen/[\w.-]+": "bundled",  # a real model
    r"-n 2000\b": "-n 90",  # the demo's 2,400 rows are 120 here
    r"-n 400\b": "-n 30",
    "--tokens 1000 --steps 8": "--tokens 100 --steps 4",
    "logic-0056": "logic-0005",
    r"--top \d{3}\b": "--top 20",
}
"""Names on pages that the test lacks, and their substitutes."""

STAND_INS: dict[str, Callable[[], list[dict[str, str]]]] = {
    "alpaca.jsonl": lambda: generate(Split.CORPUS, 8),
    "gsm8k-examples.jsonl": lambda: generate(Split.EXAMPLES, {"arithmetic": 16}),
    "code-examples.jsonl": lambda: generate(Split.EXAMPLES, {"code": 16}),
    "this-week.jsonl": lambda: [row | {"id": f"new-{row['id']}"} for row in generate(Split.CORPUS, 2, seed=1)],
}
"""Files that pages presuppose, and the rows used for them."""

DEMO_ROWS, EXAMPLES = 10, 16
"""Of each skill, in the folder used in place of that of ``nait-index demo``."""

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n+)?```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_INLINE = re.compile(r"(?<!`)`(nait-index [a-z][^`]*)`")


@dataclass(frozen=True)
class Block:
    """One fenced block. :param line: where its code begins in the page, from 1."""

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the commands of a shell block with their line numbers, continued lines joined."""
        number, text = self.line, ""
        for offset, line in enumerate(self.code.splitlines()):
            number = number if text else self.line + offset
            text += line.removesuffix("\\")
            if not line.endswith("\\"):
                if text.strip() and not text.lstrip().startswith("#"):
                    yield number, text
                text = ""


def _blocks(text: Path) -> list[Block]:
    content, page = text.read_text(encoding="utf-8"), str(text.relative_to(ROOT))
    blocks = []
    for match in _BLOCK.finditer(content):
        line = content.count("\n", 0, match.start("code")) + 1
        blocks.append(Block(page, line, match["language"], match["code"], match["reason"]))
    return blocks


BLOCKS = [block for text in TEXTS for block in _blocks(text)]
RUN = {
    page: list(blocks)
    for page, blocks in groupby(
        [block for block in BLOCKS if block.language in ("sh", "python") and not block.reason], lambda block: block.page
    )
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder like that of ``nait-index demo``, with few rows."""
    from nait_index.demo.run import run

    folder = tmp_path_factory.mktemp("demo") / "demo-out"
    write_demo_data(folder.parent / "data", {Split.CORPUS: DEMO_ROWS, Split.EXAMPLES: EXAMPLES})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nait_index.demo.data.DATA", folder.parent / "data")
        run(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_everything_on_a_page_runs(page: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    names: dict[str, Any] = {"__name__": "page"}
    for block in RUN[page]:
        if block.language == "python":
            _run_python(block, names)
            continue
        for line, text in block.lines():
            _run_line(f"{page}:{line}", _prepared(text), demo)


@pytest.mark.slow
def test_the_python_of_the_first_page_needs_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in RUN["README.md"]:
        if block.language == "python":
            _run_python(block, {"__name__": "page"})


def _prepared(text: str) -> str:
    """Make the files that a text needs, and substitute names in it."""
    for name, rows in STAND_INS.items():
        if name in text and not Path(name).exists():
            write_lines(Path(name), rows())
    for pattern, value in SUBSTITUTES.items():
        text = re.sub(pattern, value, text)
    return text


def _run_python(block: Block, names: dict[str, Any]) -> None:
    code = "\n" * (block.line - 1) + _prepared(block.code)
    try:
        exec(compile(code, block.page, "exec"), names)  # the project's own pages
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != block.page:
            trace = trace.tb_next
        line = trace.tb_lineno if trace else block.line
        pytest.fail(f"{block.page}:{line}: {type(error).__name__}: {error}", pytrace=False)


def _run_line(where: str, text: str, demo: Path) -> None:
    """Run one line of shell: the project's own commands here, others by bash, whichever is piped into which."""
    if text.startswith("cd "):
        os.chdir(text.split()[1])
        return
    if "nait-index" not in text:
        _bash(where, text)
        return
    data = b""
    for words in _stages(text):
        if words[0] != "nait-index":
            data = _bash(where, shlex.join(words), data)
        elif words[1] == "demo":
            shutil.copytree(demo, words[2])
        else:
            words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
            outcome = nait_index(*words[1:], stdin=data)
            if outcome.code:
                pytest.fail(f"{where}: {shlex.join(words)}: exit code {outcome.code}\n{outcome.err}", pytrace=False)
            data = outcome.out.encode()
            if target:
                Path(target).write_bytes(data)


def _bash(where: str, text: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["bash", "-euc", text], input=data, capture_output=True, check=False)
    if done.returncode:
        pytest.fail(f"{where}: {text}: exit code {done.returncode}\n{done.stderr.decode()}", pytrace=False)
    return done.stdout


def _stages(text: str) -> list[list[str]]:
    """Split a line at its pipes into words, without comments."""
    reader = shlex.shlex(text, posix=True, punctuation_chars="|>")
    reader.whitespace_split = True
    return [list(words) for pipe, words in groupby(reader, lambda word: word == "|") if not pipe]


# ---- what does not run ----------------------------------------------------------------------------------------------


def _commands_only_read() -> Iterator[Any]:
    for block in BLOCKS:
        for line, text in block.lines() if block.language == "sh" and block.reason else ():
            for words in _stages(text):
                if words[0] == "nait-index":
                    yield pytest.param(words[1:], id=f"{block.page}:{line}")


@pytest.mark.parametrize("words", list(_commands_only_read()))
def test_what_does_not_run_can_be_read(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the line and do nothing; an unknown command or option is a usage error."""
    monkeypatch.setattr(click.Command, "invoke", lambda self, context: None)
    try:
        cli.main(words, prog_name="nait-index", standalone_mode=False)
    except click.ClickException as error:
        pytest.fail(f"nait-index {shlex.join(words)}: {error.format_message()}", pytrace=False)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(ROOT)))
def test_what_is_said_in_passing_exists(text: Path) -> None:
    for mention in _INLINE.findall(text.read_text(encoding="utf-8")):
        command: click.Command = cli
        for word in mention.split()[1:]:
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif word.startswith("--"):
                context = click.Context(command, **cli.context_settings)
                known = [name for param in command.get_params(context) for name in param.opts]
                assert word in known, f"`{mention}`: no option {word}"
        assert command is not cli, f"`{mention}`: no such command"


def test_no_block_escapes() -> None:
    """Blocks of commands are named ``sh``, so that none is missed under another name."""
    odd = [
        f"{block.page}:{block.line}"
        for block in BLOCKS
        if block.language not in ("sh", "python", "text", "json", "yaml")
    ]
    assert odd == []
    bare = [str(text) for text in TEXTS if re.search(r"^```\n(?=.*\bnait-index )", text.read_text(), re.MULTILINE)]
    assert bare == []
    assert len(RUN) >= 10
