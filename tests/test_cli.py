"""The command line: help, exit codes, streams, JSON, and the files it writes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from helpers import Outcome, build_small, nait_index, read_lines, refusal, samples_of, small_rows, write_lines
from nait_index_cli.demo import program
from nait_index_cli.main import cli
from nait_index_cli.output import preview

from nait_index import NaitIndex
from nait_index.methods.registry import DEFAULT_METHOD
from tools.demo.corpus import Split, generate
from tools.demo.generate import write as write_demo_data

pytestmark = pytest.mark.slow

SKILLS = ("arithmetic", "facts", "rewriting", "translation")
STORED = ("arithmetic", "facts", "translation")
HEAVY = ("torch", "transformers", "faiss", "lancedb", "lance", "pyarrow", "scipy", "safetensors", "numpy", "rich")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index of four skills with the model that comes with the package, and store three of the skills."""
    folder = tmp_path_factory.mktemp("cli")
    write_lines(folder / "corpus.jsonl", generate(Split.CORPUS, dict.fromkeys(SKILLS, 12)))
    for skill in SKILLS:
        write_lines(folder / f"{skill}.jsonl", generate(Split.EXAMPLES, {skill: 6}))
    build_small(folder / "own.nait", folder / "corpus.jsonl")
    for skill in STORED:
        assert nait_index("capability", "add", folder / "own.nait", skill, folder / f"{skill}.jsonl").code == 0
    return folder


@pytest.fixture(scope="module")
def index(folder: Path) -> Path:
    """Return the index; tests must not change it."""
    return folder / "own.nait"


@pytest.fixture
def own_index(index: Path, tmp_path: Path) -> Path:
    """Return a copy of the index that may be changed."""
    return Path(shutil.copytree(index, tmp_path / "copy.nait"))


def _ok(*arguments: str | Path) -> Outcome:
    outcome = nait_index(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def _selected(outcome: Outcome) -> list[tuple[str, float]]:
    return [(row["id"], row["score"]) for row in outcome.json["selected"]]


# ---- help and start -----------------------------------------------------------------------------------------------


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    commands: dict[tuple[str, ...], click.Command] = {path: group}
    arguments = tuple("alpaca.nait" for parameter in group.params if isinstance(parameter, click.Argument))
    for name, command in group.commands.items():
        full = (*path, *arguments, name)
        commands |= _commands(command, full) if isinstance(command, click.Group) else {full: command}
    return commands


COMMANDS = _commands(cli)


def test_the_commands_are_those_of_the_design() -> None:
    top = {path[0] for path in COMMANDS if path}
    assert {"build", "query", "core", "capability", "info", "verify", "rows", "demo"} <= top
    assert {path[1] for path in COMMANDS if len(path) == 2} >= {"add", "list", "show", "remove"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_and_explains_every_option(path: tuple[str, ...]) -> None:
    outcome = _ok(*path, "--help")
    assert "Example:" in outcome.out
    assert f"nait-index {' '.join(path)}".strip() in outcome.out.split("Example:")[1]
    assert outcome.err == ""
    options = [option for option in COMMANDS[path].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []
    assert _ok(*path, "-h").out == outcome.out


@pytest.mark.parametrize(
    "code",
    [
        "import nait_index",
        "from nait_index_cli.main import cli; cli(['--help'], standalone_mode=False)",
        "from nait_index_cli.main import cli; cli(['build', '--help'], standalone_mode=False)",
        "from nait_index_cli.main import cli; cli(['query', '--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_is_imported_for_help_or_for_the_package(code: str) -> None:
    check = f"{code}\nimport sys\nprint('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_the_version_is_that_of_the_package() -> None:
    import nait_index as package

    assert _ok("--version").out.strip().endswith(package.__version__)


def test_the_installed_command_ends_with_the_code_of_its_error(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "nait-index"
    done = subprocess.run([command, "info", tmp_path / "none.nait"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert subprocess.run([command, "no-such-command"], capture_output=True).returncode == 2


# ---- streams and JSON ---------------------------------------------------------------------------------------------


def test_data_goes_to_stdout_and_notes_to_stderr(folder: Path, index: Path) -> None:
    outcome = _ok("query", index, "-e", folder / "facts.jsonl", "--top", "3")
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["rank", "1", "2", "3"]
    assert "6 examples" in outcome.err
    assert "3 of 48 rows" in outcome.err


def test_a_build_in_a_pipe_draws_no_bar(folder: Path, tmp_path: Path) -> None:
    outcome = _ok("build", tmp_path / "own.nait", folder / "corpus.jsonl", "--limit", "4", "--json")
    facts = outcome.json
    assert (facts["read"], facts["indexed"], facts["rejected"], facts["truncated"]) == (4, 4, 0, 0)
    assert outcome.errors == []
    assert "\r" not in outcome.err


def test_a_build_on_a_terminal_draws_rows_speed_and_time_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from nait_index_cli.progress import build_progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with build_progress() as progress:
        build_small(tmp_path / "own.nait", folder / "corpus.jsonl", limit=20, progress=progress)
    drawn = terminal.getvalue()
    assert "20/20" in drawn
    assert "tokens/s" in drawn
    assert "fitting the basis" in drawn


INFO_KEYS = {
    "rows", "rejected", "truncated", "model", "layers", "neurons_per_layer", "views", "fingerprint", "capabilities",
}  # fmt: skip


def test_info_as_json_says_what_an_index_holds(index: Path) -> None:
    info = _ok("info", index, "--json").json
    assert INFO_KEYS <= set(info)
    assert (info["rows"], info["rejected"], info["truncated"]) == (48, 0, 0)
    assert info["capabilities"] == sorted(STORED)
    assert info["model"]["name"] == "bundled"
    assert all(view["bytes_per_row"] > 0 for view in info["views"].values())
    assert info["layers"] * info["neurons_per_layer"] == info["neurons"]


def test_info_for_people_names_the_same_facts(index: Path) -> None:
    printed = _ok("info", index).out
    for fact in ("48", "bundled", "arithmetic, facts, translation", "bytes a row"):
        assert fact in printed


def test_verify_finds_a_new_index_in_order(index: Path) -> None:
    checks = _ok("verify", index, "--json").json
    assert {check["name"] for check in checks} >= {"rows", "content", "encoding", "engine pca_unit"}
    assert [check for check in checks if check["passed"] is not True] == []
    assert "FAILED" not in _ok("verify", index).out


def test_rows_as_json_are_one_object_a_line_with_the_original_row(folder: Path, index: Path) -> None:
    corpus = read_lines(folder / "corpus.jsonl")
    shown = [json.loads(line) for line in _ok("rows", index, "--json", "--limit", "5").out.splitlines()]
    assert [row["row"] for row in shown] == corpus[:5]
    assert [row["file_row"] for row in shown] == [1, 2, 3, 4, 5]
    wanted = [corpus[30]["id"], corpus[2]["id"]]
    shown = [json.loads(line) for line in _ok("rows", index, *wanted, "--json").out.splitlines()]
    assert [row["id"] for row in shown] == wanted


def test_rows_are_filtered_by_sql(index: Path) -> None:
    lengths = {key: row["n_tokens"] for key, row in samples_of(index).items()}
    limit = sorted(lengths.values())[20]
    shown = _ok("rows", index, "--where", f"n_tokens < {limit}", "--json").out.splitlines()
    assert {json.loads(line)["id"] for line in shown} == {key for key, length in lengths.items() if length < limit}


# ---- query --------------------------------------------------------------------------------------------------------


def test_a_stored_capability_and_its_file_give_the_same_ranking(folder: Path, index: Path) -> None:
    for method in ("contrast", "nait", "nait-drift"):
        asked = ["--method", method, "--top", "100%", "--json"]
        stored = _selected(_ok("query", index, "-c", "facts", *asked))
        of_file = _selected(_ok("query", index, "-e", folder / "facts.jsonl", *asked))
        assert [row_id for row_id, _ in stored] == [row_id for row_id, _ in of_file]
        assert [score for _, score in stored] == pytest.approx([score for _, score in of_file], rel=1e-6)
        assert [score for _, score in stored] == sorted((score for _, score in stored), reverse=True)


def test_the_rows_chosen_are_mostly_of_the_skill_asked_for(index: Path) -> None:
    for skill in STORED:
        chosen = _selected(_ok("query", index, "-c", skill, "--top", "12", "--json"))
        assert sum(row_id.startswith(skill) for row_id, _ in chosen) >= 8


def test_an_output_holds_the_lines_of_the_corpus_best_first(folder: Path, index: Path, tmp_path: Path) -> None:
    lines = {json.loads(line)["id"]: line for line in (folder / "corpus.jsonl").read_bytes().splitlines(keepends=True)}
    out = tmp_path / "facts.jsonl"
    outcome = _ok("query", index, "-c", "facts", "--top", "25%", "-o", out)
    assert outcome.out == ""
    assert str(out) in outcome.err
    ranked = _selected(_ok("query", index, "-c", "facts", "--top", "25%", "--json"))
    assert len(ranked) == 12
    assert out.read_bytes() == b"".join(lines[row_id] for row_id, _ in ranked)


def test_the_file_beside_an_output_says_what_was_chosen_from_what_and_how(index: Path, tmp_path: Path) -> None:
    _ok("query", index, "-c", "facts", "--top", "10%", "--where", "n_tokens < 1000", "-o", tmp_path / "out.jsonl")
    beside = json.loads((tmp_path / "out.jsonl.meta.json").read_text(encoding="utf-8"))
    assert beside["index"] == str(index)
    assert beside["fingerprint"] == _ok("info", index, "--json").json["fingerprint"]
    assert (beside["method"], beside["budget"], beside["where"]) == (DEFAULT_METHOD, "10%", "n_tokens < 1000")
    assert (beside["available"], beside["rows"]) == (48, 4)
    assert beside["capabilities"]["facts"]["examples"] == 6
    assert [row["rank"] for row in beside["selected"]] == [1, 2, 3, 4]
    assert all(isinstance(row["score"], float) for row in beside["selected"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.meta.json"]


def test_scores_go_into_the_rows_when_asked_for(index: Path, tmp_path: Path) -> None:
    _ok("query", index, "-c", "facts", "--top", "3", "-o", tmp_path / "plain.jsonl")
    _ok("query", index, "-c", "facts", "--top", "3", "-o", tmp_path / "scored.jsonl", "--scores")
    ranked = _selected(_ok("query", index, "-c", "facts", "--top", "3", "--json"))
    scored = read_lines(tmp_path / "scored.jsonl")
    assert [(row.pop("nait_rank"), row.pop("nait_score")) for row in scored] == [
        (rank, score) for rank, (_, score) in enumerate(ranked, start=1)
    ]
    assert scored == read_lines(tmp_path / "plain.jsonl")


def test_an_output_is_overwritten_when_forced_alone(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine\n")
    line = refusal("query", index, "-c", "facts", "-o", out)
    assert str(out) in line
    assert "--force" in line
    assert out.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [out]
    _ok("query", index, "-c", "facts", "--top", "2", "-o", out, "--force")
    assert len(read_lines(out)) == 2


def test_budgets_are_shares_rounded_down_or_numbers_of_rows(index: Path) -> None:
    sizes = {
        top: len(_selected(_ok("query", index, "-c", "facts", "--top", top, "--json"))) for top in ("10%", "1%", "7")
    }
    assert sizes == {"10%": 4, "1%": 1, "7": 7}


def test_only_rows_that_pass_the_filter_are_chosen(index: Path) -> None:
    everything = _selected(_ok("query", index, "-c", "facts", "--top", "100%", "--json"))
    lengths = {key: row["n_tokens"] for key, row in samples_of(index).items()}
    limit = sorted(lengths.values())[24]
    outcome = _ok("query", index, "-c", "facts", "--top", "100%", "--where", f"n_tokens < {limit}", "--json")
    assert _selected(outcome) == [row for row in everything if lengths[row[0]] < limit]
    assert outcome.json["available"] == len(_selected(outcome))


def test_several_capabilities_choose_the_union_of_what_each_chooses(folder: Path, index: Path) -> None:
    single = [_selected(_ok("query", index, "-c", name, "--top", "5", "--json")) for name in ("facts", "arithmetic")]
    files = ["-e", folder / "facts.jsonl", "-e", folder / "arithmetic.jsonl"]
    for asked in (["-c", "facts", "-c", "arithmetic"], files):
        rows = _ok("query", index, *asked, "--top", "5", "--json").json["selected"]
        assert {row["id"] for row in rows} == {row_id for ranked in single for row_id, _ in ranked}
        assert [row["id"] for row in rows[:2]] == [ranked[0][0] for ranked in single]
        assert {row["capability"] for row in rows} == {"facts", "arithmetic"}


# ---- core ---------------------------------------------------------------------------------------------------------


def _agreeing(index: Path, top: str, names: tuple[str, ...]) -> Mapping[str, int]:
    votes: dict[str, int] = {}
    for name in names:
        for row_id, _ in _selected(_ok("query", index, "-c", name, "--top", top, "--json")):
            votes[row_id] = votes.get(row_id, 0) + 1
    return votes


@pytest.mark.parametrize(("votes", "needed"), [("all", 3), ("2", 2), ("1", 1)])
def test_a_core_is_what_enough_capabilities_choose(votes: str, needed: int, index: Path) -> None:
    asked = [argument for name in STORED for argument in ("-c", name)]
    outcome = _ok("core", index, *asked, "--top", "50%", "--votes", votes, "--json")
    expected = {row_id: count for row_id, count in _agreeing(index, "50%", STORED).items() if count >= needed}
    assert {row["id"]: row["votes"] for row in outcome.json["selected"]} == expected
    core = outcome.json["core"]
    assert (core["votes"], core["found"]) == (needed, len(expected))
    exactly = {3: 1 / 8, 2: 3 / 8, 1: 3 / 8}
    chance = 48 * sum(share for count, share in exactly.items() if count >= needed)
    assert core["chance"] == pytest.approx(chance, abs=0.01)
    assert "chance" in outcome.err


def test_the_core_of_two_shares_has_the_chance_size_of_their_product(index: Path) -> None:
    asked = ["-c", "facts", "-c", "arithmetic", "--top", "25%", "--votes", "all"]
    core = _ok("core", index, *asked, "--json").json["core"]
    assert core["chance"] == pytest.approx(48 * 0.25 * 0.25, abs=0.01)


def test_a_core_is_written_as_a_selection_is(folder: Path, index: Path, tmp_path: Path) -> None:
    corpus = {row["id"]: row for row in read_lines(folder / "corpus.jsonl")}
    asked = ["-c", "facts", "-c", "translation", "--top", "50%"]
    _ok("core", index, *asked, "-o", tmp_path / "core.jsonl")
    beside = json.loads((tmp_path / "core.jsonl.meta.json").read_text(encoding="utf-8"))
    assert read_lines(tmp_path / "core.jsonl") == [corpus[row["id"]] for row in beside["selected"]]
    assert beside["core"]["found"] == beside["rows"] == len(beside["selected"])


def test_a_core_that_is_empty_is_never_padded(index: Path) -> None:
    outcome = _ok("core", index, "-c", "facts", "-c", "arithmetic", "--top", "1", "--votes", "all", "--json")
    assert outcome.json["selected"] == []
    assert outcome.json["core"]["found"] == 0


# ---- capabilities -------------------------------------------------------------------------------------------------


def test_capabilities_are_listed_and_shown(folder: Path, index: Path) -> None:
    listed = _ok("capability", "list", index, "--json").json
    assert [(entry["name"], entry["examples"]) for entry in listed] == [(name, 6) for name in sorted(STORED)]
    assert [line.split()[0] for line in _ok("capability", "list", index).out.splitlines()] == ["name", *sorted(STORED)]
    shown = _ok("capability", "show", index, "facts", "--json").json
    assert shown == read_lines(folder / "facts.jsonl")
    assert len(_ok("capability", "show", index, "facts").out.splitlines()) == 7


def test_a_capability_is_replaced_when_forced_alone_and_removed(folder: Path, own_index: Path) -> None:
    line = refusal("capability", "add", own_index, "facts", folder / "rewriting.jsonl")
    assert "'facts'" in line
    assert "--force" in line
    assert _ok("capability", "show", own_index, "facts", "--json").json == read_lines(folder / "facts.jsonl")
    _ok("capability", "add", own_index, "facts", folder / "rewriting.jsonl", "--force")
    assert _ok("capability", "show", own_index, "facts", "--json").json == read_lines(folder / "rewriting.jsonl")
    _ok("capability", "remove", own_index, "facts")
    assert [entry["name"] for entry in _ok("capability", "list", own_index, "--json").json] == [
        "arithmetic",
        "translation",
    ]
    assert "'facts'" in refusal("query", own_index, "-c", "facts")


def test_a_capability_may_have_signs_in_its_name(folder: Path, own_index: Path) -> None:
    name = "the cook: second-best_skill v1.5"
    _ok("capability", "add", own_index, name, folder / "rewriting.jsonl")
    assert len(_selected(_ok("query", own_index, "-c", name, "--top", "3", "--json"))) == 3
    _ok("capability", "remove", own_index, name)
    assert name not in {entry["name"] for entry in _ok("capability", "list", own_index, "--json").json}


def test_a_list_without_capabilities_is_valid_json_and_says_how_to_add_one(folder: Path, tmp_path: Path) -> None:
    build_small(tmp_path / "own.nait", write_lines(tmp_path / "rows.jsonl", small_rows(4)))
    assert _ok("capability", "list", tmp_path / "own.nait", "--json").json == []
    assert "capability add" in _ok("capability", "list", tmp_path / "own.nait").err


# ---- text that is hard to print -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build rows that may break a terminal or a strict encoder, and store them as a capability."""
    folder = tmp_path_factory.mktemp("odd")
    lines = [
        '{"id": "it\'s \\"quoted\\"", "instruction": "Say it.", "output": "it"}',
        '{"id": "half", "instruction": "Fine.", "output": "yes", "note": "\\ud83d"}',
        '{"id": "escape", "instruction": "\\u001b[31mRed\\u0007", "output": "a\\nb\\tc"}',
        *(json.dumps(row) for row in small_rows(4)),
    ]
    build_small(folder / "own.nait", write_lines(folder / "corpus.jsonl", lines))
    examples = write_lines(folder / "odd.jsonl", lines[:4])
    assert nait_index("capability", "add", folder / "own.nait", "odd", examples).code == 0
    return folder / "own.nait"


def test_ids_with_quotes_are_found_and_written(odd: Path, tmp_path: Path) -> None:
    quoted = 'it\'s "quoted"'
    assert json.loads(_ok("rows", odd, quoted, "--json").out)["id"] == quoted
    _ok("query", odd, "-c", "odd", "--top", "100%", "-o", tmp_path / "out.jsonl")
    assert quoted in {row.get("id") for row in read_lines(tmp_path / "out.jsonl")}


def test_control_characters_of_rows_never_reach_the_terminal(odd: Path) -> None:
    for command in (["rows", odd], ["query", odd, "-c", "odd", "--top", "7"], ["capability", "show", odd, "odd"]):
        printed = _ok(*command).out
        assert "Red" in printed
        assert all(char.isprintable() or char == "\n" for char in printed)


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31mred", "\x9bred", "\udcff"])
def test_what_a_user_names_stays_on_the_line_of_the_error(name: str, odd: Path, tmp_path: Path) -> None:
    for arguments, code in (
        (["build", tmp_path / "new.nait", tmp_path / f"{name}.jsonl"], 1),
        (["query", odd, "-c", name], 1),
        (["query", odd, "-c", "odd", "-o", tmp_path / name / "out.jsonl"], 1),
        (["query", odd, "-c", "odd", "--method", name], 2),
        (["info", odd, f"--{name}"], 2),
    ):
        assert refusal(*arguments, code=code).isprintable()


@pytest.mark.parametrize("command", [["rows"], ["capability", "show"]], ids=" ".join)
def test_rows_with_half_a_surrogate_pair_are_shown_as_json(command: list[str], odd: Path) -> None:
    name = ["odd"] if command[0] == "capability" else []
    outcome = _ok(*command, odd, *name, "--json")
    assert '"\\ud83d"' in outcome.out


def test_rows_with_half_a_surrogate_pair_are_written_as_they_are(odd: Path, tmp_path: Path) -> None:
    _ok("query", odd, "-c", "odd", "--top", "100%", "-o", tmp_path / "out.jsonl")
    assert b'"note": "\\ud83d"' in (tmp_path / "out.jsonl").read_bytes()
    _ok("query", odd, "-c", "odd", "--top", "100%", "-o", tmp_path / "scored.jsonl", "--scores")
    assert {row.get("note") for row in read_lines(tmp_path / "scored.jsonl")} == {None, "\ud83d"}


# ---- demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_writes_index_selections_and_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On part of the corpus, for speed; all of it is measured elsewhere."""
    write_demo_data(tmp_path / "data", {Split.CORPUS: 8, Split.EXAMPLES: 3})
    monkeypatch.setattr("nait_index.demo.data.DATA", tmp_path / "data")
    out = tmp_path / "demo-out"
    outcome = _ok("demo", out)
    assert {path.name for path in out.iterdir()} >= {"demo.nait", "corpus.jsonl", "core.jsonl", "arithmetic.jsonl"}
    assert outcome.out.count("rank  score") >= 3
    assert "\ncore: 9 rows that serve arithmetic, logic, tables; " in outcome.out
    assert outcome.out.startswith("read ")
    assert re.search(
        r"^logic: \d+ of 96 rows chosen; \d of the 8 rows that are labelled logic are among them",
        outcome.out,
        re.MULTILINE,
    )
    assert f"report, to open in a browser: {out}/demo-report.html" in outcome.err
    for words in re.findall(r"^next: (.* (?:query|info) .*)$", outcome.err, re.MULTILINE):
        assert _ok(*shlex.split(words)[1:]).code == 0
    again = _ok("demo", out)
    assert (again.out, "--force makes it anew" in again.err) == ("", True)
    assert again.err.count("next: ") == outcome.err.count("next: ")
    info = _ok("info", out / "demo.nait", "--json").json
    assert len(info["capabilities"]) >= 8
    (out / "core.jsonl").unlink()  # as if it had been interrupted
    assert "--force" in refusal("demo", out)


def test_the_demo_names_the_program_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".venv" / "bin" / "nait-index"
    file.parent.mkdir(parents=True)
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program(str(file)) == program(".venv/bin/nait-index") == ".venv/bin/nait-index"
    monkeypatch.setenv("PATH", str(file.parent))
    assert program(str(file)) == program("nait-index") == "nait-index"
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "/nowhere")
    assert program(str(file)) == os.path.relpath(file)


# ---- words that do not mislead ------------------------------------------------------------------------------------


def test_previews_show_what_is_read_whatever_the_fields_are_called(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Translate.", "context": "into French", "response": "bonjour"},
        {"prompt": "Why?", "completion": "Because.", "meta": {"by": "nobody"}},
        {"messages": [{"role": "user", "content": "Add 1."}, {"role": "assistant", "content": "2"}], "tools": "[{}]"},
        {"text": "plain", "source": "web"},
        {"asked": "unknown?", "fields": ["a", {"b": "c"}]},
    ]
    shown = ["Translate. into French bonjour", "Why? Because.", "Add 1. 2", "plain", "unknown? a c"]
    assert [preview(json.dumps(row)) for row in rows] == shown
    assert preview(json.dumps({"text": f"a{' ' * 9999}b"})) == "a", "of a huge text only the beginning is looked at"


@pytest.mark.parametrize(("top", "meant"), [("0.1", "10%"), (".25", "25%"), ("0.005", "0.5%")])
def test_a_share_without_its_sign_is_told_with_it(top: str, meant: str, folder: Path, own_index: Path) -> None:
    line = refusal("query", own_index, "-e", folder / "rewriting.jsonl", "--top", top)
    assert line.endswith(f"did you mean {meant}?")


def test_an_empty_core_says_what_to_try_and_few_examples_are_warned_of(folder: Path, own_index: Path) -> None:
    lines = (folder / "rewriting.jsonl").read_text(encoding="utf-8").splitlines()
    one, other = write_lines(folder / "one.jsonl", lines[:1]), write_lines(folder / "other.jsonl", lines[1:4])
    outcome = _ok("core", own_index, "-e", one, "-e", other, "--top", "1", "--votes", "all")
    assert "one: 1 example\none: so few examples say little of a skill; give 16 to 64\n" in outcome.err
    assert ("leave --votes out for exactly 1 row" in outcome.err) == ("core: 0 rows" in outcome.err)
    eight = (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    enough = _ok("query", own_index, "-e", write_lines(folder / "eight.jsonl", eight), "--top", "1")
    assert "so few examples" not in enough.err


@pytest.mark.parametrize("words", [("ifd", "--help"), ("x.nait", "ifd", "-h"), ("--help", "ifd")])
def test_the_help_of_a_score_is_its_own(words: tuple[str, ...]) -> None:
    shown = _ok("score", *words).out
    assert shown.startswith("Usage: nait-index score INDEX ifd [OPTIONS]\n")
    assert "IFD = ppl(answer | question) / ppl(answer)" in shown
    assert "Score the quality of all rows of INDEX once" in _ok("score", "--help").out


def test_a_capability_is_exported_with_an_option_like_all_else(folder: Path, own_index: Path, tmp_path: Path) -> None:
    _ok("capability", "add", own_index, "travels", folder / "rewriting.jsonl")
    _ok("capability", "export", own_index, "travels", "-o", tmp_path / "a.capability")
    _ok("capability", "export", own_index, "travels", tmp_path / "b.capability")
    assert (tmp_path / "a.capability").stat().st_size == (tmp_path / "b.capability").stat().st_size > 0
    both = ("capability", "export", own_index, "travels", tmp_path / "c", "-o", tmp_path / "d")
    for words in (both, both[:4]):
        assert refusal(*words, code=2) == "say once where the capability goes, with -o FILE"


def test_what_python_shows_of_an_index_and_a_selection_says_what_they_are(folder: Path, own_index: Path) -> None:
    index = NaitIndex(own_index)
    assert repr(index).startswith(f"<NaitIndex '{own_index}', version ")
    assert f": {len(index):,} rows, " in repr(index)
    selection = index.query(index.make_capability(folder / "rewriting.jsonl"), top=5)
    best = ", ".join(repr(row) for row in selection.ids[:3])
    assert repr(selection) == f"<Selection of 5 of {len(index):,} rows for rewriting by probe: {best}, …>"
