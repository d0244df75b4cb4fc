"""The command line as people meet it: help, completion, colours, tables, the log, and what long work says."""

import io
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from helpers import build_small, nait_index, read_lines, refusal, small_rows, write_lines
from nait_index_cli import log, output, progress
from nait_index_cli.completion import capability_names
from nait_index_cli.headings import BUILDING, CHOOSING
from nait_index_cli.main import cli, main
from rich.cells import cell_len

from nait_index.quality.run import ScoreStep
from nait_index.spelling import did_you_mean, did_you_mean_id, did_you_mean_path
from nait_index.store.layout import Layout
from nait_index.store.manifest import load_manifest
from nait_index.upkeep.describe import size_on_disk

FORTY = {"COLUMNS": "40"}


class Terminal(io.StringIO):
    """What is drawn on a terminal."""

    def isatty(self) -> bool:
        return True


def width_of(text: str) -> int:
    """Return how many columns of a terminal text takes: two for a wide letter or emoji, none for a combining mark."""
    return sum(
        0
        if unicodedata.category(char) in ("Mn", "Me", "Cf")
        or "\u1160" <= char <= "\u11ff"  # the latter: parts of Hangul
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a small index with two capabilities and a tag, from rows whose ids are of many scripts."""
    folder = tmp_path_factory.mktemp("terminal")
    rows = small_rows(12)
    for row, name in zip(
        rows, ("日本語の行", "e\u0301te\u0301", "שלום", "👍", "row-100000000000000000004"), strict=False
    ):
        row["id"] = name
        row["instruction"] = f"{name} {row['instruction']}"
    index = build_small(folder / "small.nait", write_lines(folder / "corpus.jsonl", rows))
    for name in ("arithmetic", "words"):
        index.add_capability(name, write_lines(folder / f"{name}.jsonl", rows[:6]))
    index.tag("paper")
    return folder


@pytest.fixture(scope="module")
def index(folder: Path) -> Path:
    return folder / "small.nait"


def on_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> tuple[str, str]:
    """Run the command line on a terminal, and give what it shows of both streams."""
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "argv", ["nait-index", *map(str, arguments)])
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit):
        main()
    return out.getvalue(), err.getvalue()


def all_commands(group: click.Group) -> Iterator[click.Command]:
    yield group
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from all_commands(command)
        else:
            yield command


# ---- help ---------------------------------------------------------------------------------------------------------


def test_the_help_lists_every_command_once_under_a_job() -> None:
    shown = nait_index("--help").out
    listed = re.findall(r"^  ([a-z]+) +[A-Z]", shown, re.MULTILINE)
    assert sorted(listed) == sorted(cli.commands)
    assert listed.index("build") < listed.index("query") < listed.index("info") < listed.index("optimize")
    assert re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)[1:] == [*cli.jobs]  # type: ignore[attr-defined]


def test_every_short_help_fits_a_line_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for group in [command for command in all_commands(cli) if isinstance(command, click.Group)]:
        with click.Context(group, **cli.context_settings, terminal_width=80) as context:
            lines = group.get_help(context).splitlines()
        for name in group.commands:
            (line,) = [shown for shown in lines if re.match(f"  {name} +[A-Z]", shown)]
            assert line.endswith("."), line
            assert not line.endswith("..."), line


def test_the_group_alone_shows_its_help() -> None:
    outcome = nait_index()
    shown = outcome.err or outcome.out  # of click 8.1
    assert "Build:\n  build " in shown
    assert "\\n" not in shown


@pytest.mark.parametrize("name", ["query", "core", "cover", "export", "build", "add"])
def test_long_helps_list_every_option_once_under_a_heading(name: str) -> None:
    command, shown = cli.commands[name], nait_index(name, "--help").out
    options = [option for option in command.params if isinstance(option, click.Option)]
    listed = re.findall(
        r"^  (?:-\w, )?(--[a-z-]+)",
        shown.split("\n\nWhat to choose:\n")[-1].split("\n\nThe model:\n")[-1],
        re.MULTILINE,
    )
    assert sorted(listed) == sorted(["--help", *(option.opts[-1] for option in options)])
    assert "\nOptions:" not in shown
    assert listed[0] in ("--capability", "--rare", "--model")
    assert listed[-2:] == ["--verbose", "--help"]


def test_headings_name_only_options_that_there_are() -> None:
    for headings, names in ((CHOOSING, ("query", "core", "cover", "export")), (BUILDING, ("build", "add"))):
        known = {name for command in names for option in cli.commands[command].params for name in option.opts}
        listed = [name for names in headings.values() for name in names]
        assert set(listed) <= known
        assert len(listed) == len(set(listed))


# ---- completion ---------------------------------------------------------------------------------------------------


def completions(arguments: Sequence[str | Path], incomplete: str = "") -> list[tuple[str, str]]:
    shell = ShellComplete(cli, {}, "nait-index", "_NAIT_INDEX_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions([*map(str, arguments)], incomplete)]


def test_names_choices_and_versions_are_completed(index: Path) -> None:
    assert completions(["query", index, "-c"]) == [("plain", "arithmetic"), ("plain", "words")]
    assert completions(["query", index, "-c"], "wo") == [("plain", "words")]
    assert completions(["explain", index, "row-007", "-c"], "a") == [("plain", "arithmetic")]
    assert completions(["compare", index, "-c", "words", "--capability"], "a") == [("plain", "arithmetic")]
    assert completions(["capability", "show", index], "w") == [("plain", "words")]
    assert ("plain", "contrast") in completions(["query", index, "--method"])
    assert completions(["query", index, "--at"], "p") == [("plain", "paper")]
    assert ("plain", "query") in completions([], "q")


def test_paths_are_left_to_the_shell(index: Path) -> None:
    assert completions(["query"], "al") == [("dir", "al")]
    assert completions(["query", index, "-e"], "gs") == [("file", "gs")]
    assert completions(["build", index], "co") == [("file", "co")]
    assert completions(["add", index, "a.jsonl"], "co") == [("file", "co")]


@pytest.mark.parametrize("damage", ["missing", "empty", "no JSON", "other JSON", "folder"])
def test_completion_of_a_broken_index_is_empty_and_silent(damage: str, index: Path, tmp_path: Path) -> None:
    root = tmp_path / "own.nait"
    root.mkdir()
    manifest = root / "manifest.json"
    if damage == "folder":
        manifest.mkdir()
    elif damage != "missing":
        manifest.write_text({"empty": "", "no JSON": "{", "other JSON": '{"history": 3}'}[damage])
    assert completions(["query", root, "-c"]) == []
    assert completions(["query", root, "--at"]) == []
    assert completions(["query", "s3://bucket/my.nait", "-c"]) == []
    assert completions(["query", "-c"]) == []


def test_the_names_are_those_that_are_stored_whatever_became_of_them(index: Path, tmp_path: Path) -> None:
    from nait_index import NaitIndex

    root = Path(shutil.copytree(index, tmp_path / "own.nait"))
    opened = NaitIndex(root)
    opened.remove_capability("words")
    assert _names(root) == ["arithmetic"]
    NaitIndex.restore(root, "paper")
    assert _names(root) == ["arithmetic", "words"]
    del opened
    NaitIndex(root).optimize(0)
    assert len(load_manifest(Layout(root)).history) < load_manifest(Layout(root)).version
    assert _names(root) == ["arithmetic", "words"]


def _names(root: Path) -> list[str]:
    return capability_names(load_manifest(Layout(root)))


def test_completion_of_names_loads_nothing_heavy(index: Path) -> None:
    code = (
        "import atexit, sys; atexit.register(lambda: print('HEAVY', sorted({'torch', 'transformers', 'lance', 'numpy'} "
        "& set(sys.modules)))); from nait_index_cli.main import main; main()"
    )
    words = {"COMP_WORDS": f"nait-index query {index} -c w", "COMP_CWORD": "4", "_NAIT_INDEX_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | words, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["plain,words", "HEAVY []"]
    assert done.stderr == ""


def test_the_script_is_printed_for_every_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = nait_index("completion", shell).out
        assert f"_NAIT_INDEX_COMPLETE={shell}_complete" in script
        monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
        assert nait_index("completion").out == script
    for path in ("bash-completion/completions/nait-index", ".zfunc/_nait-index", "completions/nait-index.fish"):
        assert path in nait_index("completion", "--help").out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert refusal("completion", code=2) == "name your shell: bash, zsh, fish"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(nait_index("completion", "bash").out)
    done = subprocess.run(["bash", "-c", f"source {tmp_path}/script && complete -p nait-index"], capture_output=True)
    assert done.returncode == 0, done.stderr


# ---- colours and escape codes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, None),
        ({"TERM": "dumb"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_the_environment_says_whether_to_colour(
    environment: dict[str, str], expected: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert output.wants_color() is expected


@pytest.fixture
def styled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a command that prints in colour and draws a bar."""

    @click.command()
    def styled() -> None:
        click.echo(click.style("red", fg="red"))
        with progress.score_progress("tokens") as advance:
            for done in (1, 2, 3):
                advance(ScoreStep(done, 3, 10 * done, 30 - 10 * done))

    monkeypatch.setitem(cli.commands, "styled", styled)


COLOR = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.usefixtures("styled")
def test_no_escape_code_is_printed_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = on_terminal(monkeypatch, "styled")
    assert "\x1b[31m" in out
    assert COLOR.search(err)
    assert "\x1b" not in nait_index("styled").out + nait_index("styled").err
    with monkeypatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        out, err = on_terminal(patch, "styled")
        assert out == "red\n"
        assert "100%" in err
        assert not COLOR.search(err)  # the codes that are left move the cursor
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "dumb")
        assert on_terminal(patch, "styled") == ("red\n", "")
        assert not output.is_live(Terminal())
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = nait_index("styled")
    assert "\x1b[31m" in outcome.out
    assert outcome.err == ""  # colours do not make a terminal of a pipe


# ---- tables -------------------------------------------------------------------------------------------------------

ROWS = [
    (1, 0.9123, "alpaca_random_9k-1", "Classify this sentence according to sentiment. I had a delightful time there"),
    (2, -0.1, "日本語-id-2", "これは日本語の文です。とても長い文なので、どの端末でも切られるはずです。"),
    (
        3,
        0.1,
        "e\u0301te\u0301-אבג",
        "👍 emoji and שלום עולם, combining e\u0301e\u0301e\u0301, and more text to be cut off",
    ),
]


def drawn(width: int | None, monkeypatch: pytest.MonkeyPatch, draw: Callable[[], None]) -> list[str]:
    out = io.StringIO()
    monkeypatch.setattr(output, "columns", lambda: width)
    with redirect_stdout(out):
        draw()
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [28, 40, 60, 100, 200])
def test_a_table_is_aligned_and_never_wider_than_its_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    header = ("rank", "score", "id", "row")
    lines = drawn(width, monkeypatch, lambda: output.print_table(header, ROWS))
    assert max(map(width_of, lines)) <= width
    text = "\n".join(lines)
    assert all(str(row[2]) in text for row in ROWS)  # ids are never cut
    if width >= 60:
        starts = {width_of(line[: line.index(char)]) for line, char in zip(lines[1:], "C", strict=False)}
        places = [width_of(line.partition(row[3][:2])[0]) for line, row in zip(lines[1:], ROWS, strict=True)]
        assert set(places) == starts == {width_of(lines[0].partition("row")[0])}


def test_a_table_on_a_pipe_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = drawn(None, monkeypatch, lambda: output.print_table(("rank", "score", "id", "row"), ROWS))
    assert [line.endswith(row[3]) for line, row in zip(lines[1:], ROWS, strict=True)] == [True] * 3
    assert output.columns() is None


def test_facts_are_folded_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"path": "/a/path/that/is/longer/than/any/terminal/of/forty/columns", "views": "one two three " * 5}
    lines = drawn(40, monkeypatch, lambda: output.print_facts(facts, as_json=False))
    assert "…" not in "".join(lines)
    assert "".join("".join(lines).split()) == "".join("".join(f"{a}{b}" for a, b in facts.items()).split())
    assert max(map(len, lines)) <= 40
    assert all(line.startswith("       ") or line[:4] in ("path", "view") for line in lines)


def test_a_wide_matrix_keeps_its_numbers_under_their_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"capability-{number}" for number in range(5)]
    rows = [[name, *("2,958" for _ in names)] for name in names]
    lines = drawn(40, monkeypatch, lambda: output.print_table(["", *names], rows))
    assert max(map(len, lines)) <= 40
    assert lines.count("capability-3  2,958") == 5


def test_widths_are_those_of_a_terminal() -> None:
    for text, width in {
        "abc": 3,
        "日本": 4,
        "e\u0301": 1,
        "👍": 2,
        "שלום": 4,
        "ｱ": 1,
        "한글": 4,
        "\u1112\u1161": 2,
    }.items():
        assert width_of(text) == cell_len(text) == width


@pytest.mark.parametrize("width", [None, 40, 100])
def test_rows_are_never_taken_for_markup(width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("[red]a[/red]", "[bold]b [/] :smile: [link=http://x]c")]
    lines = drawn(width, monkeypatch, lambda: output.print_table(("id", "row"), rows))
    shown = lines[1].split(maxsplit=1)
    assert shown[0] == rows[0][0]
    assert shown[1] == rows[0][1] if width != 40 else rows[0][1].startswith(shown[1].removesuffix("…"))


def test_rows_of_any_script_stay_in_their_columns(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = on_terminal(monkeypatch, "rows", index)[0].splitlines()
    start = width_of(lines[0].partition("tokens")[0])
    for line in lines[1:]:
        before = re.match(r"(.*?\s{2,})\d+ ", line)
        assert before is not None, line
        assert width_of(before[1]) == start


# ---- what was meant -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "near", "code"),
    [
        (["query", "INDEX", "-c", "words", "--method", "contrats"], "did you mean contrast?", 2),
        (["query", "INDEX", "-c", "words", "--combine", "round_robin"], "did you mean round-robin?", 2),
        (["query", "INDEX", "-c", "words", "--format", "shargpt"], "did you mean sharegpt?", 2),
        (["query", "INDEX", "-c", "wrods"], "did you mean words?", 1),
        (["query", "INDEX", "-c", "words", "--at", "papr"], "did you mean paper?", 1),
        (["restore", "INDEX", "papre"], "did you mean paper?", 1),
        (["tag", "INDEX", "papre", "--delete"], "did you mean paper?", 1),
        (["rows", "INDEX", "rwo-007"], "did you mean row-007?", 1),
        (["explain", "INDEX", "row_007", "-c", "words"], "did you mean row-007?", 1),
        (["rows", "INDEX", "--where", "n_token > 3"], "did you mean n_tokens?", 1),
        (["rows", "INDEX", "--where", "instructoin = 'x'"], "did you mean instruction?", 1),
        (["query", "INDEX", "-e", "FOLDER/wrods.jsonl"], "did you mean FOLDER/words.jsonl?", 1),
        (["info", "FOLDER/smal.nait"], "did you mean FOLDER/small.nait?", 1),
        (["info", "FOLDER"], "did you mean FOLDER/small.nait?", 1),
        (["remove", "INDEX", "--ids", "FOLDER/wrods.jsonl"], "did you mean FOLDER/words.jsonl?", 1),
        (["capability", "import", "INDEX", "FOLDER/wrods.jsonl"], "did you mean FOLDER/words.jsonl?", 1),
        (["score", "INDEX", "import", "FOLDER/wrods.jsonl", "--name", "x"], "did you mean FOLDER/words.jsonl?", 1),
        (["build", "FOLDER/x.nait", "FOLDER/words.jsonl", "--views", "pac"], "did you mean pca?", 2),
        (["build", "FOLDER/x.nait", "FOLDER/words.jsonl", "--template", "alpca"], "did you mean alpaca?", 1),
    ],
)
def test_an_error_offers_what_was_meant(
    arguments: list[str], near: str, code: int, folder: Path, index: Path, tmp_path: Path
) -> None:
    given = [argument.replace("INDEX", str(index)).replace("FOLDER", str(folder)) for argument in arguments]
    assert refusal(*given, code=code).endswith(near.replace("FOLDER", str(folder)))


@pytest.mark.parametrize(
    ("arguments", "near"),
    [(["qurey"], "query"), (["capability", "lits"], "list"), (["query", "x", "--capabilty", "y"], "--capability")],
)
def test_commands_and_options_are_offered_too(arguments: list[str], near: str) -> None:
    line = refusal(*arguments, code=2)
    assert "id you mean" in line
    assert near in line.lower().partition("did you mean")[2]


def test_nothing_is_offered_where_nothing_is_near(index: Path) -> None:
    assert did_you_mean("xyz", ["abc", "def"]) == ""
    assert did_you_mean("abd\x1b", ["abd\x1b[31m"]) == ""
    assert did_you_mean_path("/no/such/folder/anywhere") == ""
    assert "did you mean" not in refusal("rows", index, "zzzzzzzz")
    assert "did you mean" not in refusal("query", index, "-c", "words", "--method", "xyz", code=2)


def test_the_nearest_of_many_ids_is_found_quickly() -> None:
    ids = [f"source_{number % 40}-{number}" for number in range(200_000)]
    started = time.perf_counter()
    assert did_you_mean_id("suorce_13-150013", ids) == "; did you mean source_13-150013?"
    assert time.perf_counter() - started < 3


# ---- the log ------------------------------------------------------------------------------------------------------

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|DEBUG) +nait_index\.[\w.]+: \S.*")


@pytest.mark.parametrize("width", [120, 80, 60, 30])
def test_a_bar_is_short_enough_for_its_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    err = Terminal()
    with redirect_stderr(err), progress._meter() as show:
        show("encoding", 1077, 2000, "rows", "909 tokens/s, 2 min left")
    lines = re.split("[\r\n]", ESCAPE.sub("", err.getvalue()))
    assert max(map(len, lines)) <= width
    assert max(line.count("━") for line in lines) <= 36
    if width >= 60:
        assert re.search("^encoding .*━.* 1077/2000 +54% 909 tokens/s, 2 min left$", lines[1])


# ---- closed streams -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>/dev/full", "2> >(true)"])
def test_a_stream_that_is_closed_or_full_stops_no_work(closed: str, index: Path, tmp_path: Path) -> None:
    """The process must be a real one: what it opens first would get the number of a closed stream."""
    out, program = tmp_path / "out.jsonl", "from nait_index_cli.main import main; main()"
    arguments = ["query", str(index), "-c", "words", "-o", str(out), "-v"]
    ended = subprocess.run(
        ["bash", "-c", f'"$0" "$@" {closed}', sys.executable, "-c", program, *arguments],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "")
    assert len(read_lines(out)) > 0
    assert nait_index("query", index, "-c", "words").code == 0  # nothing was written into a file of the index


@pytest.mark.parametrize("place", ["before", "after"])
def test_verbose_says_on_the_error_stream_what_is_done(place: str, index: Path, folder: Path) -> None:
    asked = ["query", index, "-e", folder / "words.jsonl", "--top", "3", "--json"]
    outcome = nait_index(*(["-v", *asked] if place == "before" else [*asked, "-v"]))
    lines = [line for line in outcome.err.splitlines() if LINE.fullmatch(line)]
    text = "\n".join(lines)
    for part in (
        "opened: version 3, 12 rows",
        "model bundled loaded in",
        "texts encoded in",
        "scanning pca_unit: 12 rows",
        "rows scored in",
    ):
        assert part in text
    assert len(outcome.json["selected"]) == 3
    assert "DEBUG" not in text
    assert len(outcome.err.splitlines()) - len(lines) == 3  # the usual notes, and that six examples are few


def test_twice_verbose_says_more_and_the_next_command_is_quiet(index: Path, tmp_path: Path) -> None:
    asked = ["query", index, "-c", "words", "--top", "3", "-o"]
    assert (
        f"nait_index.files: writing {str(tmp_path / 'a.jsonl')!r}"
        in nait_index("-vv", *asked, tmp_path / "a.jsonl").err
    )
    assert (
        "DEBUG   nait_index.capabilities" in nait_index("-vv", "query", index, "-e", index.parent / "words.jsonl").err
    )
    assert "nait_index." not in nait_index(*asked, tmp_path / "b.jsonl").err
    assert len(read_lines(tmp_path / "a.jsonl")) == 3


def test_every_command_takes_verbose() -> None:
    for command in all_commands(cli):
        assert [parameter.name for parameter in command.params if "-v" in parameter.opts] == ["verbose"], command.name


def test_a_change_logs_the_version_that_it_makes(index: Path, tmp_path: Path) -> None:
    root = shutil.copytree(index, tmp_path / "own.nait")
    err = nait_index("-v", "capability", "remove", root, "words").err
    assert "capability 'words' removed" in err
    assert f"version 4 of {root} written" in err


def test_warnings_are_said_without_being_asked_for() -> None:
    err = io.StringIO()
    with redirect_stderr(err), log.speaking():
        logging.getLogger("nait_index.anything").warning("mind \x1b[31m this")
        logging.getLogger("nait_index.anything").info("not this")
    assert err.getvalue() == "mind \\x1b[31m this\n"


def test_who_uses_the_package_hears_nothing() -> None:
    code = (
        "import logging, nait_index; logging.getLogger('nait_index.x').warning('heard'); "
        "print(logging.getLogger().handlers, logging.getLogger('nait_index').level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[] 0\n", "")


# ---- the line that comes and goes ---------------------------------------------------------------------------------


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw at once."""
    monkeypatch.setattr(log, "_SILENT", 0.0)
    monkeypatch.setattr(log.StatusLine, "tick", 0.01)


ESCAPE = re.compile(r"\x1b\[\??[\d;]*[A-Za-z]")


def screen(drawn: str) -> list[str]:
    """Return what a terminal shows in the end, where codes go back on a line, up a line, and clear it."""
    lines, row, column = [""], 0, 0
    for part in re.split(f"({ESCAPE.pattern}|[\r\n])", drawn):
        if part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part == "\r":
            column = 0
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif not ESCAPE.fullmatch(part):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    assert not any(lines[row + 1 :])
    return [line.rstrip() for line in lines[: row + 1]]


@pytest.mark.usefixtures("patient")
def test_long_work_shows_what_it_does_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    logger, both = logging.getLogger("nait_index.work"), Terminal()
    monkeypatch.setenv("COLUMNS", "30")
    with redirect_stdout(both), redirect_stderr(both), log.speaking():
        logger.info("reading \x1b[31m %s", "a name that is much longer than the line")
        _until(lambda: "reading" in both.getvalue())
        logger.debug("done 3 of 4")
        _until(lambda: "done 3 of 4 … 0 s" in both.getvalue())
        click.echo("the data")
        time.sleep(0.05)
        logger.info("and on")
        _until(lambda: "and on" in both.getvalue())
    assert screen(both.getvalue()) == ["the data", ""]
    assert "\x1b[31m" not in both.getvalue()
    assert max(map(len, re.split("[\r\n]", ESCAPE.sub("", both.getvalue())))) <= 30
    assert (sys.stdout, logger.getEffectiveLevel()) == (
        sys.__stdout__ if sys.stdout is sys.__stdout__ else sys.stdout,
        30,
    )


@pytest.mark.usefixtures("patient")
def test_a_bar_has_the_last_line_to_itself() -> None:
    both = Terminal()
    with redirect_stderr(both), log.speaking():
        with log.without_log():
            logging.getLogger("nait_index.work").info("hidden")
            time.sleep(0.05)
        assert both.getvalue() == ""
        logging.getLogger("nait_index.work").info("shown")
        _until(lambda: "shown" in both.getvalue())


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    assert true()


@pytest.mark.usefixtures("patient")
def test_commands_show_what_they_do_on_a_terminal_alone(
    folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_PERIOD", 3600.0)  # however slow the machine is
    asked = ["core", index, "-c", "words", "-c", "arithmetic", "--bootstrap", "40", "--top", "50%", "--votes", "1"]
    shown = on_terminal(monkeypatch, *asked)
    assert re.search(r"(draw \d+ of 40|rows scored in .*|loading .*) … \d+ s", shown[1])
    assert [line for line in screen(shown[1]) if "…" in line] == []
    assert [line for line in nait_index(*asked).err.splitlines() if "…" in line or "draw" in line] == []


# ---- the line every half minute -----------------------------------------------------------------------------------


def test_a_pipe_gets_the_last_news_every_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    err, heard = io.StringIO(), []
    with redirect_stderr(err), closing(log.Heartbeat()) as heartbeat:
        for now[0], text in [(1, "reading"), (29, "encoding"), (30, None), (40, None), (59, "done 7"), (61, "done 8")]:
            if text is not None:
                heartbeat.emit(logging.LogRecord("nait_index.x", logging.DEBUG, "", 0, text, None, None))
            heartbeat.beat()
            heard.append(err.getvalue().splitlines())
    assert heard == [[], [], ["encoding"], ["encoding"], ["encoding"], ["encoding", "done 8"]]


def test_a_build_in_a_pipe_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_PERIOD", 0.0)
    monkeypatch.setattr(log.Heartbeat, "tick", 0.001)
    corpus = write_lines(tmp_path / "rows.jsonl", small_rows(40))
    outcome = nait_index("build", tmp_path / "own.nait", corpus, "--batch-tokens", "64", "--max-length", "64")
    line = r"^encoding: \d+ of 40 rows, [\d.,]+ tokens/s, \d+ (s|min) left$"
    assert re.search(line, outcome.err, re.MULTILINE)
    assert outcome.out.startswith("read")


def test_every_long_command_in_a_pipe_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock, a minute passes whenever the heartbeat looks at it."""
    index, small = tmp_path / "my.nait", ("--max-length", "64")
    corpus = write_lines(tmp_path / "rows.jsonl", small_rows(40))
    more = write_lines(tmp_path / "more.jsonl", small_rows(24, first=40))
    build_small(index, corpus)
    minutes = count()
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: 60.0 * next(minutes)))
    monkeypatch.setattr(log.Heartbeat, "tick", 0.005)
    expected = {
        ("add", index, more): r"^encoding: \d+ of 24 rows, ",
        ("score", index, "ifd", "--batch-tokens", "64", *small): r"^scoring: \d+ of 64 rows, ",
        ("sae", "train", tmp_path / "my.sae", index, "--latents", "32", "--tokens", "900"): r"^training: [\d,]+ of ",
        ("rebuild", index, tmp_path / "new.nait"): r"^encoding: \d+ of 64 rows, ",
    }
    for words, line in expected.items():
        outcome = nait_index(*words)
        assert outcome.code == 0, outcome
        assert re.search(line, outcome.err, re.MULTILINE), (words, outcome.err)


# ---- how long it will take ----------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def _printed(
    clock: list[float], work: progress.Forecast, steps: Sequence[tuple[float, int, int]], size: int = 0
) -> str:
    err = io.StringIO()
    with redirect_stderr(err):
        for clock[0], done, left in steps:
            work.update(done, left, size)
    return err.getvalue()


def test_what_takes_over_a_minute_says_so_once_even_on_a_pipe(clock: list[float]) -> None:
    steps = [(0.0, 1000, 10**7), (3.0, 30_000, 10**7), (6.0, 61_000, 6_000_000), (9.0, 90_000, 5_000_000)]
    printed = _printed(clock, progress.Forecast("tokens"), steps, 155_000_000)
    assert printed == "about 10 min left, at 10,000 tokens/s; about 155.0 MB on disk\n"


def test_a_bar_says_speed_and_time_left_by_what_is_counted(clock: list[float]) -> None:
    work = progress.Forecast("tokens")
    assert work.update(2_000, 98_000) == "0 tokens/s"
    clock[0] = 2.0
    assert work.update(4_000, 96_000) == "1,000 tokens/s, 2 min left"
    assert work.update(90_000, 10_000) == "44,000 tokens/s, 0 s left"


def test_what_takes_less_says_nothing(clock: list[float]) -> None:
    assert _printed(clock, progress.Forecast("tokens"), [(0.0, 0, 100), (6.0, 60, 40), (9.0, 90, 10)]) == ""


def test_long_work_is_told_in_hours(clock: list[float]) -> None:
    slow = [(0.0, 0, 30_000), (30.0, 60, 29_940)]
    assert _printed(clock, progress.Forecast("rows"), slow) == "about 4.2 hours left, at 2 rows/s\n"


def test_a_forecast_that_was_wrong_is_corrected(clock: list[float]) -> None:
    steps = [(0.0, 0, 2400), (21.0, 42, 2358), (30.0, 300, 2100), (40.0, 900, 1500)]
    printed = _printed(clock, progress.Forecast("rows"), steps)
    assert printed == "about 20 min left, at 2 rows/s\nabout 4 min left, at 10 rows/s\nabout 1 min left, at 22 rows/s\n"
    right = [(0.0, 0, 2400), (21.0, 42, 2358), (150.0, 300, 2100)]
    assert _printed(clock, progress.Forecast("rows"), right) == "about 20 min left, at 2 rows/s\n"


def test_work_that_is_not_counted_belongs_to_the_time_left(clock: list[float]) -> None:
    work = progress.Forecast("tokens")
    work.update(0, 60_000)
    clock[0] = 10.0
    assert work.update(10_000, 50_000, extra=100.0) == "1,000 tokens/s, 2 min left"


def test_a_build_tells_how_much_is_left_and_how_large_it_gets(tmp_path: Path) -> None:
    seen: list[Any] = []
    corpus = write_lines(tmp_path / "rows.jsonl", small_rows(40))
    built = build_small(tmp_path / "own.nait", corpus, progress=seen.append)
    encoding = [step for step in seen if step.stage == "encoding"]
    assert built.report is not None
    first, last, total = encoding[0], encoding[-1], built.report.tokens
    assert first.tokens + first.left == pytest.approx(total, rel=0.25)
    assert last.tokens == total
    assert first.size == pytest.approx(size_on_disk(built.layout), rel=0.2)
    assert (first.fit > 0, last.fit) == (True, 0)
    more = write_lines(tmp_path / "more.jsonl", small_rows(24, first=40))
    before, seen[:] = size_on_disk(built.layout), []
    grown = build_small(tmp_path / "own.nait", more, progress=seen.append)
    (step, *_) = [step for step in seen if step.stage == "encoding"]
    assert step.size < size_on_disk(grown.layout) - before < 2 * step.size + 20_000  # a basis is not written again
    assert step.fit == 0


def test_builds_and_scores_say_how_long_they_take(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    monkeypatch.setattr(progress, "_WORTH", 0.0)
    corpus = write_lines(tmp_path / "rows.jsonl", small_rows(40))
    outcome = nait_index("build", tmp_path / "own.nait", corpus, "--batch-tokens", "64", "--max-length", "64")
    assert re.search(
        r"^about \d+ (s|min) left, at [\d,]+ tokens/s; about [\d.]+ [kM]B on disk$", outcome.err, re.MULTILINE
    )
    outcome = nait_index("score", tmp_path / "own.nait", "ifd", "--batch-tokens", "64")
    assert re.search(r"^about \d+ (s|min) left, at [\d.,]+ tokens/s$", outcome.err, re.MULTILINE)
