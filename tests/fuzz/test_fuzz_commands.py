"""The whole command line on odd input: exit code 0, or one clear line; what comes out is what went in; no leftovers."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cases import COUNTED, LONG, cases
from helpers import Outcome, nait_index, read_lines, small_rows, write_lines
from hypothesis import assume, example, given
from hypothesis import strategies as st
from made import (
    HOSTILE,
    HOSTILE_LINES,
    WHOLE,
    any_bytes,
    arguments,
    damaged,
    good_rows,
    json_line,
    json_texts,
    line_files,
    texts,
)

from nait_index.corpus.words import is_visible

pytestmark = pytest.mark.slow

LENGTH = "32"


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def index(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index with a stored capability and a score; not to be changed."""
    folder = tmp_path_factory.mktemp("index")
    corpus = write_lines(folder / "corpus.jsonl", small_rows(20))
    assert nait_index("build", folder / "own.nait", corpus, "--model", model, "--max-length", LENGTH).code == 0
    examples = write_lines(folder / "examples.jsonl", small_rows(4, first=100))
    assert nait_index("capability", "add", folder / "own.nait", "letters", examples).code == 0
    (folder / "good.csv").write_text("id,value\nrow-001,0.5\n")
    assert nait_index("score", folder / "own.nait", "import", folder / "good.csv").code == 0
    return folder / "own.nait"


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a folder that every generated case empties."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def run(*arguments: str | Path) -> Outcome:
    """Run a command, which must end well or in one clear line."""
    COUNTED["commands"] += 1
    outcome = nait_index(*arguments)
    assert "Traceback" not in outcome.err
    assert outcome.code in (0, 1, 2), outcome
    if outcome.code == 0:
        return outcome
    assert outcome.out == ""
    lines = [line for line in outcome.errors if not line.startswith(("Usage:", "Try "))]
    if outcome.code == 1:
        assert len(lines) == 1, outcome.err
    assert lines[-1].startswith("Error: "), outcome.err
    assert all(char.isprintable() for char in lines[-1]), outcome.err
    return outcome


def emptied(place: Path) -> Path:
    """Remove what the case before left."""
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return place


def state_of(index: Path) -> dict[str, tuple[int, int]]:
    """Return what shows whether anything in an index was written."""
    files = [path for path in index.rglob("*") if path.is_file() and path.name not in (".lock", "checked.json")]
    return {str(path.relative_to(index)): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def check_build(place: Path, corpus: Path, model: Path) -> None:
    """Build an index of a file; where that works, every row is accounted for and comes back as it was."""
    index, out = place / "own.nait", place / "out.jsonl"
    outcome = run("build", index, corpus, "--model", model, "--max-length", LENGTH, "--json")
    if outcome.code:
        assert [path.name for path in place.iterdir()] == [corpus.name]
        return
    counts = json.loads(outcome.out)
    assert counts["read"] == counts["indexed"] + counts["present"] + counts["rejected"]
    assert counts["rejected"] == len(read_lines(index / "rejected.jsonl"))
    listed = run("rows", index, "--json", "--limit", "1000").out.encode().splitlines()
    assert len(listed) == counts["indexed"] == counts["rows"]
    by_id = {row["id"]: row for row in map(json.loads, listed)}
    assert len(by_id) == len(listed)
    chosen = run("query", index, "-e", corpus, "--method", "length", "--top", "100%", "-o", out)
    assert chosen.code == 0, chosen.err
    written = out.read_bytes().split(b"\n")[:-1]
    selected = json.loads((place / "out.jsonl.meta.json").read_bytes())["selected"]
    assert len(written) == len(selected) == len(listed)
    for line, record in zip(written, selected, strict=True):
        assert json_line(json.loads(line)) == json_line(by_id[record["id"]]["row"])
    if corpus.suffix == ".jsonl":
        lines = corpus.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        for line, record in zip(written, selected, strict=True):
            assert line == lines[by_id[record["id"]]["file_row"] - 1].removesuffix(b"\r")


@cases(12, 250)
@given(good=st.lists(good_rows, max_size=3), data=line_files)
@example(good=[], data=HOSTILE_LINES)
def test_a_build_of_any_lines(model: Path, place: Path, good: list[dict[str, str]], data: bytes) -> None:
    corpus = emptied(place) / "corpus.jsonl"
    corpus.write_bytes(b"".join(json_line(row).encode() + b"\n" for row in good) + data)
    check_build(place, corpus, model)


@cases(8, 150)
@given(ids=st.lists(texts | st.integers(), min_size=1, max_size=4))
def test_a_row_of_any_id_is_found_by_it(model: Path, place: Path, ids: list[str | int]) -> None:
    corpus = write_lines(
        emptied(place) / "corpus.jsonl",
        [json_line({"id": sample_id, "text": f"row {number}"}) for number, sample_id in enumerate(ids)],
    )
    check_build(place, corpus, model)
    if (place / "own.nait").exists():
        rejected = {row["row"] for row in read_lines(place / "own.nait" / "rejected.jsonl")}
        for number, sample_id in enumerate(ids, start=1):
            if number not in rejected and is_visible(str(sample_id)) and not str(sample_id).startswith("-"):
                listed = json.loads(run("rows", place / "own.nait", str(sample_id), "--json").out)
                assert (listed["id"], listed["row"]) == (str(sample_id), {"id": sample_id, "text": f"row {number - 1}"})


@pytest.mark.parametrize("form", WHOLE)
@cases(3, 60)
@given(data=st.data())
def test_a_build_of_damaged_files(form: str, model: Path, place: Path, data: st.DataObject) -> None:
    suffix, whole = WHOLE[form]
    corpus = emptied(place) / f"corpus{suffix}"
    corpus.write_bytes(data.draw(damaged(whole) | any_bytes))
    check_build(place, corpus, model)


_OPERANDS = (
    "id", "n_tokens", "truncated", "file", "format", "position", "row", "pca_unit", "good", "good_status", "nothing",
    "_rowid", "1", "0", "-1", "9223372036854775808", "1e400", "NULL", "true", "'a'", "''", "'it''s'", "'x", '"id"',
    "`id`", "''';--", "now()", "(SELECT id FROM samples)", "read_csv('/etc/passwd')", "read_text('/etc/passwd')",
    "pg_read_file('/etc/passwd')", "CAST(id AS INT)", "n_tokens / 0", "lower(id)", "sum(n_tokens)", "x'00'", "[1]",
)  # fmt: skip
_JOINTS = (
    "=", "<", ">=", "<>", " AND ", " OR ", " LIKE ", " IN ", " IS ", " NOT ", "+", "%", "||", ";",
    "; DROP TABLE samples;", " UNION SELECT * FROM samples", " --", " /*", "(", ")", ",", " BETWEEN ", "::int", ".",
    "[0]", "~", "\n",
)  # fmt: skip
ATTACKS = (
    "1=1; DROP TABLE samples", "id = 'a' UNION SELECT * FROM samples", "id IN (SELECT id FROM samples)",
    "EXISTS (SELECT 1)", "COPY samples TO '/tmp/owned'", "SET x = 1", "id = '",
    "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    "row_number() OVER () > 1", "count(*) > 0", "id = ?", "id = $1", "id = :name", "n_tokens::decimal(99,0) > 1",
    " OR ".join(["id = 'a'"] * 500), "(" * 500 + "true" + ")" * 500,
    "id = '" + "x" * 100_000 + "'", "id IN (" + ", ".join(["'a'"] * 5000) + ")", "NOT " * 300 + "truncated",
    "id LIKE '" + "%a" * 500 + "'", "regexp_like(id, '" + "(a*)*" * 30 + "b')", "id = '\0'", "\udcff",
)  # fmt: skip
filters = (
    st.sampled_from(ATTACKS)
    | texts
    | st.lists(st.sampled_from(_OPERANDS) | st.sampled_from(_JOINTS), min_size=1, max_size=8).map("".join)
    | st.tuples(st.sampled_from(_OPERANDS), st.sampled_from(["=", "<", " LIKE "]), texts.map(repr)).map("".join)
)


@cases(80, 1500)
@given(where=filters)
def test_a_filter_of_any_text_reads_rows_or_is_refused(index: Path, place: Path, where: str) -> None:
    before = state_of(index)
    outcome = run("rows", index, "--json", f"--where={where}")
    assert "root:" not in outcome.out + outcome.err
    assert state_of(index) == before
    out = emptied(place) / "out.jsonl"
    chosen = run("query", index, "-c", "letters", f"--where={where}", "--top", "1", "-o", out)
    assert (chosen.code == 0) == out.exists() == out.with_name("out.jsonl.meta.json").exists()
    assert len(list(place.iterdir())) == (0 if chosen.code else 2)


@pytest.mark.parametrize("where", ["id = ?", "id = $1", "id = :name", "n_tokens::decimal(99,0) > 1"])
def test_a_filter_that_the_planner_gives_up_on_is_refused(where: str, index: Path) -> None:
    assert "--where" in run("rows", index, f"--where={where}").err


def test_a_filter_of_a_thousand_sums_does_not_end_the_process(index: Path) -> None:
    where = "n_tokens" + "+1" * 1000 + " > 0"
    code = "from nait_index_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "rows", index, "--where", where], capture_output=True, check=False
    )
    assert done.returncode in (0, 1)


def test_an_id_that_is_no_text_is_not_found(index: Path) -> None:
    assert "there is no row" in run("rows", index, os.fsdecode(b"\xff")).err


@cases(12, 250)
@given(name=texts)
def test_a_capability_of_any_name(index: Path, place: Path, name: str) -> None:
    assume(name != "letters")
    outside = sorted(path.name for path in index.parent.iterdir())
    examples = index.parent / "examples.jsonl"
    added = run("capability", "add", index, "--", name, examples)
    listed = run("capability", "list", index, "--json").json
    assert (name in [entry["name"] for entry in listed]) == (added.code == 0)
    shown = run("capability", "show", index, "--json", "--", name)
    assert shown.code == added.code
    chosen = run("query", index, f"--capability={name}", "--top", "2", "--json")
    assert chosen.code == added.code
    exported = emptied(place) / "one.capability"
    assert run("capability", "export", index, "--", name, exported).code == added.code
    if added.code == 0:
        assert shown.json == read_lines(examples)
        assert "nothing was changed" in run("capability", "import", index, exported).err
        assert run("capability", "remove", index, "--", name).code == 0
        assert run("capability", "import", index, exported).code == 0
    assert run("capability", "remove", index, "--", name).code == added.code
    assert sorted(path.name for path in index.parent.iterdir()) == outside


@cases(12, 250)
@given(name=texts)
def test_a_score_of_any_name(index: Path, name: str) -> None:
    assume(name != "good")
    before = sorted(index.rglob("*"))
    outcome = run("score", index, "import", index.parent / "good.csv", f"--name={name}")
    if outcome.code:
        assert sorted(index.rglob("*")) == before
    else:
        assert name in ("", "good") or re.fullmatch(r"[a-z][a-z0-9_]*", name)


score_lines = st.lists(
    st.fixed_dictionaries({"id": texts | st.just("row-001"), "value": st.floats() | texts}).map(json_line)
    | json_texts(),
    max_size=4,
)


@cases(15, 300)
@given(lines=score_lines, form=st.sampled_from([".jsonl", ".csv"]))
@example(lines=["[" * 100_000], form=".jsonl")
def test_scores_from_any_file(index: Path, place: Path, lines: list[str], form: str) -> None:
    path = emptied(place) / f"other{form}"
    header = "id,value\n" if form == ".csv" else ""
    path.write_bytes((header + "\n".join(lines)).encode("utf-8", "surrogatepass"))
    outcome = run("score", index, "import", path, "--force")
    if outcome.code == 0:
        assert [entry["status"] for entry in read_lines(index / "scores" / "other.jsonl")[1:]] == ["ok"] * (
            len(read_lines(index / "scores" / "other.jsonl")) - 1
        )
        read_lines(index / "scores" / "other.rejected.jsonl")


@cases(30, 500)
@given(name=arguments, suffix=st.sampled_from(["", ".jsonl", ".JSONL", ".txt"]))
def test_an_output_of_any_name(index: Path, place: Path, name: str, suffix: str) -> None:
    """It is written where it was named, with its file of facts, or nothing is."""
    assume(not name.startswith(("/", "~")) and ".." not in name)
    out = emptied(place) / f"{name}{suffix}"
    outcome = run("query", index, "-c", "letters", "--top", "2", f"--output={out}")
    left = [path for path in place.rglob("*") if out not in path.parents]  # out may be a folder
    if outcome.code:
        assert left == []
    else:
        assert sorted(left) == sorted([out, out.with_name(out.name + ".meta.json")])


_OPTIONS = (
    "--top",
    "--blend",
    "--weight",
    "--combine",
    "--method",
    "--search",
    "--votes",
    "--device",
    "--format",
    "--model",
)
NUMBERS = ("nan", "inf", "-inf", "1e999", "0", "-1", "5%", "1e-300%", "9" * 5000, "²", "x")
option_values = (
    st.sampled_from(NUMBERS)
    | st.sampled_from(HOSTILE)
    | st.tuples(st.sampled_from(["good", "letters", "nothing", ""]), st.sampled_from(NUMBERS)).map("=".join)
    | texts
)


@cases(40, 800)
@given(option=st.sampled_from(_OPTIONS), value=option_values, weighted=st.booleans())
@example(option="--top", value="9" * 5000, weighted=False)
@example(option="--weight", value="letters=nan", weighted=True)
def test_options_of_any_text(index: Path, option: str, value: str, weighted: bool) -> None:
    command = ["core", index, "-c", "letters"] if option == "--votes" else ["query", index, "-c", "letters"]
    more = ["--combine=weighted"] if weighted and option == "--weight" else []
    run(*command, "--json", *more, f"{option}={value}")


@cases(12, 200)
@given(paths=st.lists(arguments, min_size=1, max_size=2))
def test_a_corpus_or_index_at_any_path(index: Path, model: Path, place: Path, paths: list[str]) -> None:
    assume(not any(path.startswith(("/", "~", "-")) or ".." in path or path in ("", ".") for path in paths))
    emptied(place)
    run("build", place / "own.nait", *(place / path for path in paths), "--model", model)
    run("info", place / paths[0])
    assert list(place.iterdir()) == []
    run("query", index, "-e", place / paths[0], "--top", "1")
    run("capability", "import", index, place / paths[0])
    run("score", index, "import", place / paths[0])


@pytest.mark.skipif(not LONG, reason="the long form alone")
def test_a_build_of_a_row_of_ten_megabytes(model: Path, place: Path) -> None:
    rows = [{"text": "word 😀 " * 10**6}, {"text": "x" * 10 * 2**20}]
    check_build(place, write_lines(place / "corpus.jsonl", [*small_rows(3), *rows][3:]), model)
