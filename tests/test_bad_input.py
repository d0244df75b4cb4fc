"""Bad input: one clear line that names file, row and remedy; the right exit code; nothing half-written."""

import functools
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import build_small, nait_index, read_lines, refusal, samples_of, small_rows, write_lines

pytestmark = pytest.mark.slow

LONE = '{"id": "lone", "instruction": "half \\ud83d of a pair", "output": "x"}'


@pytest.fixture(scope="module")
def model(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def index(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index with a stored capability; tests must not change it."""
    folder = tmp_path_factory.mktemp("index")
    build_small(folder / "own.nait", write_lines(folder / "corpus.jsonl", small_rows(20)), model=model)
    examples = write_lines(folder / "examples.jsonl", small_rows(4, first=100))
    for name in ("additions", "letters"):
        assert nait_index("capability", "add", folder / "own.nait", name, examples).code == 0
    return folder / "own.nait"


def _tree(folder: Path) -> dict[str, bytes]:
    left_out = (".lock", "checked.json")  # who writes, and a cache that readers fill
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in left_out]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# ---- paths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("new\nline", "it has a line break in its path"),
        ("new\rline", "it has a carriage return in its path"),
        ("tab\t", "it has a tab in its path"),
        ("\x07bell", "it has the control character '\\x07' in its path"),
        ("\x7f", "it has the control character '\\x7f' in its path"),
        ("\udcff\udcfe", "its path is not UTF-8"),
        ("é" * 200, "its path has a name of more than 255 bytes"),
        ("/".join(["x" * 200] * 25), "its path has more than 3,800 bytes"),
    ],
)
def test_a_path_that_no_index_can_have_is_told_as_such(name: str, reason: str, index: Path, tmp_path: Path) -> None:
    place = tmp_path / name
    for command in (
        ["info", place],
        ["query", place, "-c", "letters"],
        ["build", place, index.parent / "corpus.jsonl"],
    ):
        line = refusal(*command)
        assert reason in line
        assert "no index can be here" in line
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_counts_as_part_of_the_path(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new\nline"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "the current folder" in refusal("build", "own.nait", index.parent / "corpus.jsonl")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["sp ace", "quo'te", '"', "50%", "a%20b", "#?&;", "\\", "{x}[y]*", "-", "~", "数 😀", "x" * 240]
)
def test_any_other_path_is_an_index(name: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    shutil.copytree(index, tmp_path / name)
    expected = nait_index("query", index, "-c", "letters", "--json").json["selected"]
    assert nait_index("query", f"./{name}", "-c", "letters", "--json").json["selected"] == expected
    monkeypatch.chdir(tmp_path / "inner")
    assert nait_index("remove", f"../{name}", "--where", "id = 'row-001'").code == 0


# ---- files that hold nothing usable -------------------------------------------------------------------------------


BAD_FILES: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "empty": ("corpus.jsonl", b"", ("corpus.jsonl", "empty")),
    "blank lines": ("corpus.jsonl", b"\n \n", ("corpus.jsonl", "empty")),
    "empty list": ("corpus.json", b"[]", ("corpus.json", "empty")),
    "not JSON": ("corpus.jsonl", b"once upon a time\n", ("corpus.jsonl, row 1", "not JSON")),
    "cut JSON list": ("corpus.json", b'[{"text": "a"}, {"te', ("corpus.json", "line 1")),
    "list of strings": ("corpus.json", b'["one", "two"]', ("corpus.json, row 1", "object", "text")),
    "strings a line": ("corpus.jsonl", b'"one"\n"two"\n', ("corpus.jsonl, row 1", "object", "text")),
    "no text": ("corpus.jsonl", b'{"text": ""}\n{"text": "  "}\n', ("corpus.jsonl, row 1", "no text")),
    "unknown fields": ("corpus.jsonl", b'{"q": "a", "a": "b"}\n', ("corpus.jsonl", "'q'", "--columns")),
    "lone surrogate": ("corpus.jsonl", LONE.encode() + b"\n", ("corpus.jsonl, row 1", "surrogate", "U+D83D")),
    "not UTF-8": ("corpus.jsonl", b'{"text": "\xff\xfe"}\n', ("corpus.jsonl, row 1", "UTF-8")),
    "not gzip": ("corpus.jsonl.gz", b'{"text": "a"}\n', ("corpus.jsonl.gz", "gzip")),
    "cut gzip": (
        "corpus.jsonl.gz",
        gzip.compress(b'{"text": "abc"}\n' * 99, mtime=0)[:40],
        ("corpus.jsonl.gz", "gzip"),
    ),
    "not Parquet": ("corpus.parquet", b"nothing of the kind", ("corpus.parquet", "Parquet")),
    "unknown ending": ("corpus.xlsx", b"x", ("corpus.xlsx", ".xlsx", ".jsonl")),
    "header alone": ("corpus.csv", b"instruction,output\n", ("corpus.csv", "empty")),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_corpus_without_a_usable_row_is_refused_and_leaves_nothing(
    name: str, content: bytes, message: tuple[str, ...], model: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    line = refusal("build", tmp_path / "own.nait", tmp_path / name, "--model", model)
    for part in message:
        assert part in line
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_examples_without_a_usable_row_are_refused(
    name: str, content: bytes, message: tuple[str, ...], index: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    before = _tree(index)
    line = refusal("capability", "add", index, "new", tmp_path / name)
    for part in message:
        assert part in line
    assert _tree(index) == before


def test_a_missing_file_is_named_with_the_nearest_name(model: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "alpaca.jsonl", small_rows(2))
    line = refusal("build", tmp_path / "own.nait", tmp_path / "alpacca.jsonl", "--model", model)
    assert f"{tmp_path / 'alpacca.jsonl'}: no such file" in line
    assert f"did you mean {tmp_path / 'alpaca.jsonl'}?" in line
    assert not (tmp_path / "own.nait").exists()


def test_a_missing_file_of_examples_is_named(index: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    line = refusal("query", index, "-e", tmp_path / "none.jsonl", "-o", out)
    assert f"{tmp_path / 'none.jsonl'}: no such file" in line
    assert list(tmp_path.iterdir()) == []


def test_a_second_file_that_is_missing_is_told_before_the_first_is_read(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(2))
    line = refusal("build", tmp_path / "own.nait", corpus, tmp_path / "other.jsonl", "--model", model)
    assert "other.jsonl" in line
    assert not (tmp_path / "own.nait").exists()


def test_empty_standard_input_is_named(model: Path, tmp_path: Path) -> None:
    assert "stdin: empty" in refusal("build", tmp_path / "own.nait", "-", "--model", model)
    assert list(tmp_path.iterdir()) == []


# ---- rows among good ones -----------------------------------------------------------------------------------------


def test_unusable_rows_go_to_the_rejected_ones_with_the_reason_and_the_rest_is_built(
    model: Path, tmp_path: Path
) -> None:
    rows = [
        *small_rows(3),
        "{cut",
        "[1, 2]",
        {"id": "no-text", "instruction": " ", "output": ""},
        {"id": "no-field", "output": "only an answer"},
        {"id": "row-001", "instruction": "The same id", "output": "twice"},
        LONE,
        {"id": ["a"], "instruction": "An id that is none", "output": "x"},
        {"id": "number", "instruction": 5, "output": "x"},
        {"id": 'it\'s "quoted"; DROP TABLE samples', "instruction": "Quotes", "output": "are fine"},
    ]
    corpus = write_lines(tmp_path / "corpus.jsonl", rows)
    outcome = nait_index("build", tmp_path / "own.nait", corpus, "--model", model, "--json")
    counts = outcome.json
    assert (counts["read"], counts["indexed"], counts["rejected"]) == (12, 4, 8)
    assert "Traceback" not in outcome.err
    reasons = {row["row"]: row["reason"] for row in read_lines(tmp_path / "own.nait" / "rejected.jsonl")}
    expected = {
        4: "not JSON", 5: "a list", 6: "no text", 7: "'instruction' is missing", 8: "duplicate id 'row-001'",
        9: "lone surrogate (U+D83D)", 10: "'id' is a list", 11: "'instruction' is a number",
    }  # fmt: skip
    assert reasons.keys() == expected.keys()
    for row, reason in expected.items():
        assert reason in reasons[row]
    assert f"{corpus}, row 2" in reasons[8]
    rows = nait_index("rows", tmp_path / "own.nait", 'it\'s "quoted"; DROP TABLE samples', "--json")
    assert json.loads(rows.out)["row"]["output"] == "are fine"


def test_a_row_of_100000_tokens_is_cut_counted_and_told(model: Path, tmp_path: Path) -> None:
    long = {"id": "long", "instruction": "word " * 100_000, "output": "end"}
    corpus = write_lines(tmp_path / "corpus.jsonl", [*small_rows(3), long])
    outcome = nait_index("build", tmp_path / "own.nait", corpus, "--model", model, "--max-length", "100", "--json")
    assert outcome.json["truncated"] == 1
    assert any("cut at 100 tokens" in line for line in outcome.errors)
    stored = samples_of(tmp_path / "own.nait")["long"]
    assert (stored["n_tokens"], stored["truncated"]) == (100, True)
    assert json.loads(stored["row"]) == long
    assert nait_index("info", tmp_path / "own.nait", "--json").json["truncated"] == 1


def test_a_tokenizer_without_a_pad_token_is_no_obstacle(model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(model).pad_token_id is None
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(6))
    assert nait_index("build", tmp_path / "own.nait", corpus, "--model", model).code == 0
    assert len(samples_of(tmp_path / "own.nait")) == 6


# ---- models -------------------------------------------------------------------------------------------------------


def _without(model: Path, folder: Path, *patterns: str) -> Path:
    shutil.copytree(model, folder)
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()
    return folder


def _build_with(model: Path | str, tmp_path: Path) -> str:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(2))
    line = refusal("build", tmp_path / "own.nait", corpus, "--model", model)
    assert not (tmp_path / "own.nait").exists()
    return line


def test_a_model_folder_without_weights_is_named(model: Path, tmp_path: Path) -> None:
    folder = _without(model, tmp_path / "model", "*.safetensors")
    line = _build_with(folder, tmp_path)
    assert str(folder) in line
    assert "weights" in line


def test_a_model_folder_without_a_tokenizer_is_named(model: Path, tmp_path: Path) -> None:
    folder = _without(model, tmp_path / "model", "tokenizer*", "special_tokens*")
    line = _build_with(folder, tmp_path)
    assert str(folder) in line
    assert "tokenizer" in line


def test_a_model_folder_without_a_configuration_is_named(model: Path, tmp_path: Path) -> None:
    folder = _without(model, tmp_path / "model", "config.json")
    assert f"{folder} holds no config.json" in _build_with(folder, tmp_path)


def test_a_model_with_damaged_weights_is_named(model: Path, tmp_path: Path) -> None:
    folder = _without(model, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert str(folder) in _build_with(folder, tmp_path)


def test_a_model_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert f"no model folder at {tmp_path / 'none'}" in _build_with(tmp_path / "none", tmp_path)


# ---- errors inside a model ----------------------------------------------------------------------------------------


def _fail_after(calls: int, patch: pytest.MonkeyPatch) -> None:
    """Let a library fail inside the model, from a certain forward pass on."""
    from transformers import LlamaModel

    forward, seen = LlamaModel.forward, []

    @functools.wraps(forward)
    def failing(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(1)
        if len(seen) > calls:
            raise AttributeError("'tuple' object has no attribute 'abs'")
        return forward(self, *args, **options)

    patch.setattr(LlamaModel, "forward", failing)


_OPENED = 3
"""Forward passes of a causal model while it is opened: whether it sees ahead, a short text, and the same padded."""


@pytest.mark.parametrize(
    ("command", "opened"),
    [
        ("build NEW CORPUS --model MODEL", 2),
        ("build NEW CORPUS --model MODEL --views pca,grad", 2 + _OPENED + 1),
        ("add INDEX CORPUS", 2),
        ("query INDEX -e EXAMPLES -o OUT", 2),
        ("capability add INDEX more EXAMPLES", 2),
        ("explain INDEX row-001 -c letters --tokens", 2),
        ("score INDEX ifd", _OPENED),
        ("score INDEX selectit", _OPENED),
        ("sae train NEW CORPUS --model MODEL", 2),
    ],
)
def test_whatever_a_library_raises_inside_a_model_is_one_line(
    command: str, opened: int, model: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Path(shutil.copytree(index, tmp_path / "own.nait"))
    paths = {
        "NEW": tmp_path / "new",
        "INDEX": copied,
        "MODEL": model,
        "OUT": tmp_path / "out.jsonl",
        "CORPUS": write_lines(tmp_path / "corpus.jsonl", small_rows(9, first=40)),
        "EXAMPLES": index.parent / "examples.jsonl",
    }
    for calls in (0, opened):
        with monkeypatch.context() as patch:
            _fail_after(calls, patch)
            line = refusal(*(paths.get(word, word) for word in command.split()))
        assert "'tuple' object has no attribute 'abs'" in line
        assert f"model '{model}' failed in its forward pass" in line or line.startswith("no row could be scored, ")
        assert not (tmp_path / "out.jsonl").exists()


# ---- indexes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["query", "core", "info", "verify", "rows", "capability list", "capability add"])
def test_a_path_that_is_no_index_is_named_with_the_remedy(command: str, index: Path, tmp_path: Path) -> None:
    more = {
        "query": ["-c", "letters"],
        "core": ["-c", "letters", "-c", "additions"],
        "capability add": ["new", index.parent / "examples.jsonl"],
    }.get(command, [])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for path in ("none", "folder", "file"):
        line = refusal(*command.split(), tmp_path / path, *more)
        assert f"{tmp_path / path} is not an index" in line
        assert "nait-index build" in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "notes.txt"]


def test_a_folder_or_file_of_something_else_is_never_built_into(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(2))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    assert "notes.txt" in refusal("build", tmp_path / "folder", corpus, "--model", model)
    assert "is a file" in refusal("build", corpus, corpus, "--model", model)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["corpus.jsonl", "folder", "notes.txt"]


def test_an_index_of_another_model_refuses_rows_and_examples(
    index: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    other = tiny_model("mistral")
    before = _tree(index)
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(2, first=50))
    out = tmp_path / "out.jsonl"
    commands: list[list[str | Path]] = [
        ["build", index, corpus, "--model", other],
        ["query", index, "-e", corpus, "--model", other, "-o", out],
        ["capability", "add", index, "new", corpus, "--model", other],
    ]
    for command in commands:
        line = refusal(*command)
        for field in ("weights", "model_config"):
            assert field in line
    assert list(tmp_path.iterdir()) == [corpus]
    caches = ("staging", "engine/checked.json")
    left = {name: content for name, content in _tree(index).items() if not name.startswith(caches)}
    assert left == {name: content for name, content in before.items() if not name.startswith(caches)}


def test_a_model_that_moved_is_asked_for_and_found_again(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(6))
    old, new = tmp_path / "here", tmp_path / "there"
    shutil.copytree(model, old)
    assert nait_index("build", tmp_path / "own.nait", corpus, "--model", old).code == 0
    old.rename(new)
    examples = write_lines(tmp_path / "examples.jsonl", small_rows(2))
    assert str(old) in refusal("query", tmp_path / "own.nait", "-e", examples)
    assert nait_index("query", tmp_path / "own.nait", "-e", examples, "--model", new).code == 0


def test_examples_that_nothing_tells_apart_from_the_corpus_are_refused(model: Path, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(8))
    assert nait_index("build", tmp_path / "own.nait", corpus, "--model", model).code == 0
    line = refusal("query", tmp_path / "own.nait", "-e", corpus, "--method", "contrast")
    assert "every row would score the same" in line


# ---- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("0%", "0%"), ("200%", "200%"), ("100.1%", "100.1%"), ("0", "0"), ("21", "20"), ("-5%", "-5%"),
        ("ten", "ten"), ("", "''"), ("5%%", "5%%"), ("1e3", "1e3"), ("9" * 5000, "999"), ("9" * 5000 + "%", "999"),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_met_is_refused(top: str, message: str, index: Path, tmp_path: Path) -> None:
    line = refusal("query", index, "-c", "letters", "--top", top, "-o", tmp_path / "out.jsonl")
    assert "--top" in line
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_capability_is_refused_with_the_closest_names(index: Path) -> None:
    for command in (["query", index, "-c", "leters"], ["core", index, "-c", "leters", "-c", "additions"]):
        line = refusal(*command)
        assert "'leters'" in line
        assert "did you mean letters?" in line
    for verb in ("show", "remove"):
        assert "did you mean additions?" in refusal("capability", verb, index, "aditions")


def test_an_output_that_exists_is_refused_before_any_work(index: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.meta.json").write_text("{}")
    missing = tmp_path / "none.jsonl"
    line = refusal("query", index, "-e", missing, "-o", tmp_path / "out.jsonl")
    assert f"{tmp_path / 'out.jsonl.meta.json'} already exists" in line
    assert "--force" in line


@pytest.mark.parametrize(
    ("name", "message"), [("out.txt", ".jsonl"), ("none/out.jsonl", "no folder"), ("folder.jsonl", "folder")]
)
def test_an_output_that_cannot_be_written_is_refused(name: str, message: str, index: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    line = refusal("query", index, "-c", "letters", "-o", tmp_path / name, "--force")
    assert str(tmp_path / name) in line
    assert message in line
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.jsonl"]


@pytest.mark.parametrize(
    "where",
    [
        "n_toks < 5",
        "n_tokens <",
        "n_tokens",
        "",
        "n_tokens < 0",
        "nope(n_tokens)",
    ],
)
def test_a_filter_that_cannot_be_used_is_refused(where: str, index: Path, tmp_path: Path) -> None:
    line = refusal("query", index, "-c", "letters", "--where", where, "-o", tmp_path / "out.jsonl")
    assert "--where" in line
    assert list(tmp_path.iterdir()) == []


def test_a_core_of_one_capability_or_with_votes_that_cannot_be_met_is_refused(index: Path) -> None:
    assert "two" in refusal("core", index, "-c", "letters")
    for votes in ("0", "3", "-1", "some"):
        line = refusal("core", index, "-c", "letters", "-c", "additions", "--votes", votes)
        assert f"'{votes}'" in line
        assert "from 1 to 2" in line
    assert "twice" in refusal("core", index, "-c", "letters", "-c", "letters")


def test_a_method_that_needs_more_examples_says_so(index: Path, tmp_path: Path) -> None:
    example = write_lines(tmp_path / "one.jsonl", small_rows(1))
    outcome = nait_index("query", index, "-e", example, "--method", "nait")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1].startswith("Error: nait needs at least 2 examples")


def test_a_row_that_is_not_in_the_index_is_named(index: Path) -> None:
    assert "'nobody'" in refusal("rows", index, "row-001", "nobody")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-length", "1"], "--max-length"),
        (["--batch-tokens", "0"], "--batch-tokens"),
        (["--layers", "7"], "--layers 7"),
        (["--layers", "one"], "--layers 'one'"),
        (["--topk", "0"], "--topk"),
        (["--pca-dim", "0"], "--pca-dim"),
        (["--limit", "0"], "--limit"),
        (["--template", "none.jinja"], "none.jinja"),
        (["--site", "nowhere.{i}"], "nowhere.{i}"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_and_leaves_nothing(
    options: list[str], message: str, model: Path, tmp_path: Path
) -> None:
    corpus = write_lines(tmp_path / "corpus.jsonl", small_rows(2))
    line = refusal("build", tmp_path / "own.nait", corpus, "--model", model, *options)
    assert message in line
    assert list(tmp_path.iterdir()) == [corpus]


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["build", "INDEX"],
        ["build", "INDEX", "CORPUS", "--views", "dense"],
        ["build", "INDEX", "CORPUS", "--pca-dim", "wide"],
        ["build", "INDEX", "CORPUS", "--dtype", "int8"],
        ["build", "INDEX", "CORPUS", "--limit", "few"],
        ["query", "INDEX"],
        ["query", "INDEX", "-c", "letters", "--method", "best"],
        ["core", "INDEX"],
        ["capability", "add", "INDEX"],
        ["capability", "ad", "INDEX"],
        ["no-such-command"],
        ["info", "INDEX", "--no-such-option"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_in_one_line(arguments: list[str], index: Path, tmp_path: Path) -> None:
    substitutes = {"INDEX": str(index), "CORPUS": str(tmp_path / "none.jsonl")}
    refusal(*(substitutes.get(word, word) for word in arguments), code=2)


@pytest.mark.parametrize("sample", ["0", "-1"])
def test_a_sample_of_no_rows_is_refused(sample: str, index: Path) -> None:
    outcome = nait_index("verify", index, "--sample", sample)
    assert outcome.code in (1, 2)
    assert "--sample" in outcome.err


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_of_no_rows_is_refused(limit: str, index: Path) -> None:
    outcome = nait_index("rows", index, "--limit", limit)
    assert outcome.code in (1, 2)
    assert "--limit" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "NEW", "CORPUS", "--pca-dim", "²"],
        ["core", "INDEX", "-c", "letters", "-c", "additions", "--votes", "²"],
    ],
)
def test_a_number_in_odd_digits_is_refused(arguments: list[str], index: Path, tmp_path: Path) -> None:
    substitutes = {"INDEX": str(index), "NEW": str(tmp_path / "new.nait"), "CORPUS": str(index.parent / "corpus.jsonl")}
    outcome = nait_index(*(substitutes.get(word, word) for word in arguments))
    assert outcome.code in (1, 2)
    assert "²" in outcome.err
