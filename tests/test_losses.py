"""What a template leaves out of a row: looked for part by part, counted by kind, and told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import manifest_of, nait_index, refusal, samples_of, write_lines

from nait_index import NaitIndex
from nait_index.corpus import RowTemplateError, losses, make_template
from nait_index.corpus.formats import row_parts
from nait_index.corpus.losses import left_out
from nait_index.corpus.unread import UnreadFields
from nait_index.errors import ModelError, TemplateError
from nait_index.types import MarkedText, Origin, Part, Role, RowFormat, Sample

S, TOOLS, U, I, A, TOOL = Role.SYSTEM, Role.TOOLS, Role.USER, Role.INPUT, Role.ASSISTANT, Role.TOOL  # noqa: E741

CALL = '[{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}]'
ROW = (
    Part(S, "You are a careful clerk."),
    Part(TOOLS, '[{"name": "add", "description": "Adds."}]'),
    Part(U, "What is 17 + 4,\nand why? "),
    Part(A, f"<think>I need the tool.</think>\n{CALL}"),
    Part(TOOL, "21"),
    Part(A, 'It is <b>21</b>: naïve \\nabla "quoted".'),
    Part(U, "Thanks."),
    Part(A, "<think>Polite.</think>You are welcome."),
)
REST = ("tool definitions", "reasoning", "answers", "tool turns")
EVERY = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
VISION = (
    "{% for m in messages %}{{ m['role'] }}:{% for p in m['content'] %}{% if p['type'] == 'text' %}{{ p['text'] }}"
    "{% endif %}{% endfor %}[/]{% endfor %}"
)


def with_rule(content: str, roles: str = "['system', 'user', 'assistant', 'tool']") -> str:
    """Return a template that writes the content of some roles by a rule."""
    return f"{{% for m in messages if m.role in {roles} %}}<{{{{ m.role }}}}>{{{{ {content} }}}}{{% endfor %}}"


@pytest.fixture
def chat(tmp_path: Path) -> Callable[[str], Any]:
    """Return a function that makes the template of a file."""

    def make(source: str) -> Any:
        (tmp_path / "own.jinja").write_text(source)
        return make_template(str(tmp_path / "own.jinja"))

    return make


@pytest.mark.parametrize(
    "source",
    [
        EVERY,
        with_rule("m.content | trim"),
        with_rule("m.content | upper"),
        with_rule("m.content | tojson"),
        with_rule("m.content | e"),
        with_rule("m.content.split() | join(' ')"),
        with_rule("m.content | replace('\\n', '')"),
        "{{ messages }}",
        "{% for m in messages | reverse %}{{ m.content }}{% endfor %}",
        "{{ messages[1].content }} {{ messages[0].content }}{% for m in messages[2:] %}{{ m.content }}{% endfor %}",
        VISION,
    ],
)
def test_no_loss(source: str, chat: Callable[[str], Any]) -> None:
    """A template may strip, escape, re-order and change case; content may have to be a list of pieces."""
    assert chat(source).read(ROW).left_out == ()


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        (with_rule("m.content", "['system', 'user', 'assistant']"), ("tool turns",)),
        (with_rule("m.content", "['user', 'assistant', 'tool']"), ("system turns", "tool definitions")),
        (
            with_rule("m.content", "['user']"),
            ("system turns", "tool definitions", "reasoning", "answers", "tool turns"),
        ),
        (with_rule("m.content.split('</think>') | last"), ("reasoning",)),
        (
            "{% for m in messages %}{{ m.content if loop.last else m.content.split('</think>') | last }}{% endfor %}",
            ("reasoning",),
        ),
        (with_rule("m.content.split('[{')[0]"), ("tool definitions", "answers")),
        (with_rule("m.content[:20]"), ("part of system turns", "tool definitions", "user turns", "answers")),
        (
            "{{ messages | selectattr('role', 'eq', 'user') | map(attribute='content') | list | last }}",
            ("system turns", "user turns", *REST),
        ),
    ],
)
def test_losses_by_kind(source: str, kinds: tuple[str, ...], chat: Callable[[str], Any]) -> None:
    lost = chat(source).read(ROW).left_out
    assert {kind.removeprefix("part of ") for kind in kinds} <= {kind.removeprefix("part of ") for kind in lost}
    assert len(lost) <= len(kinds) + 1


def test_a_short_part_needs_a_place_of_its_own() -> None:
    """A tool's answer that the assistant repeats is not there because of that."""
    row = [Part(U, "Add 40 and 2."), Part(TOOL, "42"), Part(A, "The sum of 40 and 2 is 42.")]
    assert left_out(row, "Add 40 and 2. The sum of 40 and 2 is 42.") == (("tool turns",), False)
    assert left_out(row, "Add 40 and 2.42The sum of 40 and 2 is 42.") == ((), False)


def test_a_part_without_letters() -> None:
    """It is looked for as it is, and as templates escape it."""
    row = [Part(U, "Is it?"), Part(A, '"👍"!')]
    assert left_out(row, "[user]Is it?") == (("answers",), False)
    assert left_out(row[1:], "[user]") == (("answers",), True)
    for text in ('is it "👍"!', '["Is it?", "\\"👍\\"!"]', json.dumps(["Is it?", '"👍"!']), "Is it? &quot;👍&quot;!"):
        assert left_out(row, text) == ((), False)


def test_a_huge_part_that_is_there_takes_no_time() -> None:
    """The letters of what is there as it is are not compared."""
    huge = "Word & word, \\n " * 200_000
    row = [Part(U, "Read this."), Part(TOOL, "Done with it."), Part(A, huge)]
    with pytest.MonkeyPatch.context() as patch:
        seen: list[int] = []
        letters = losses._letters
        patch.setattr(losses, "_letters", lambda text: (seen.append(len(text)), letters(text))[1])
        assert left_out(row, f"Read this. {huge}") == (("tool turns",), False)
    assert max(seen) < 1000
    assert left_out(row[2:], huge.upper()) == ((), False)


def test_a_row_of_which_nothing_is_left_is_refused(chat: Callable[[str], Any]) -> None:
    template = chat(with_rule("m.content", "['user', 'assistant']") + "Bye.")
    with pytest.raises(RowTemplateError, match=r"own\.jinja leaves out everything of this row"):
        template.read([Part(S, "You are a careful clerk."), Part(TOOL, "21")])


@pytest.mark.parametrize(
    "source", ["Hello.", " ", "{{ messages | length }}", with_rule("m.words")[:0] + "{{ messages[0].role }}"]
)
def test_a_template_that_leaves_nothing_is_refused(source: str, chat: Callable[[str], Any]) -> None:
    with pytest.raises(TemplateError, match=r"renders nothing of a conversation.*choose another with --template"):
        chat(source)


def test_content_as_a_list_for_some_roles_alone(chat: Callable[[str], Any]) -> None:
    asked, answered = "{% if m.role == 'user' %}{{ m.content[0]['text'] }}", "{% else %}{{ m.content }}{% endif %}"
    source = f"{{% for m in messages %}}{asked}{answered}{{% endfor %}}"
    assert chat(source).render([Part(U, "Which?"), Part(A, "This.")]) == "Which?This."
    assert chat(source).content_hash != make_template("text").content_hash


def test_many_turns_are_compared_in_time(chat: Callable[[str], Any]) -> None:
    """Ten thousand turns, of which one is left out: well under the minute that a quadratic search would take."""
    row = [
        Part(A if number % 2 else U, f"turn {number}, {number} of many {'x' * 40} {number}") for number in range(10_000)
    ]
    text = " ".join(part.text.upper() for part in row if part.text != row[5000].text)
    assert left_out(row, text)[0] == ("user turns",)


# ---- an index --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chatty(tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy a model whose chat template has no place for tools' answers."""
    import shutil

    folder = tmp_path_factory.mktemp("chatty") / "model"
    shutil.copytree(tiny_model("llama"), folder)
    (folder / "chat_template.jinja").write_text(with_rule("m.content", "['system', 'user', 'assistant']"))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write rows of which every second one has a tool's answer."""
    rows = []
    for number in range(12):
        turns = [{"role": "user", "content": f"Add {number} and 4."}]
        turns += [{"role": "tool", "content": f"result {number + 4}"}] if number % 2 else []
        rows.append(
            {"id": f"r{number:02}", "messages": [*turns, {"role": "assistant", "content": f"So {number + 4}."}]}
        )
    return write_lines(tmp_path_factory.mktemp("rows") / "tools.jsonl", rows)


def test_losses_are_counted_told_and_kept(chatty: Path, corpus: Path, tmp_path: Path) -> None:
    root, told = tmp_path / "own.nait", "6 rows: the chat template leaves out tool turns"
    command = ["build", root, corpus, "--model", chatty, "--device", "cpu"]
    assert told in nait_index(*command, "--dry-run").err
    assert told in nait_index(*command).err
    assert manifest_of(root).head.left_out == {"tool turns": 6}
    assert {name: row["left_out"] for name, row in samples_of(root).items()} == {
        f"r{number:02}": "tool turns" if number % 2 else "" for number in range(12)
    }
    assert "tool turns (6 rows)" in nait_index("info", root).out
    assert "tool turns" not in nait_index(*command).err
    examples = write_lines(tmp_path / "examples.jsonl", corpus.read_text().splitlines()[:3])
    assert "1 example: the chat template leaves out tool turns" in nait_index("query", root, "-e", examples).err
    assert "1 example: the chat" in nait_index("capability", "add", root, "sums", examples).err
    more = write_lines(tmp_path / "more.jsonl", [json.loads(corpus.read_text().splitlines()[1]) | {"id": "new"}])
    assert "1 row: the chat template leaves out tool turns" in nait_index("add", root, more).err
    index = NaitIndex(root)
    assert index.info()["left_out"] == {"tool turns": 7}
    assert len(index.rows(where="left_out = 'tool turns'")) == 7
    index.remove(["r01", "r02"])
    assert NaitIndex(root).info()["left_out"] == {"tool turns": 6}


def test_a_chat_template_that_leaves_nothing_makes_no_index(chatty: Path, corpus: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(chatty, tmp_path / "mute")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}{% endfor %}")
    message = refusal("build", tmp_path / "own.nait", corpus, "--model", folder, "--device", "cpu")
    assert "the chat template renders nothing of a conversation" in message
    assert not (tmp_path / "own.nait").exists()


# ---- fields that are not read ----------------------------------------------------------------------------------------


def _fields(row: dict[str, Any], row_format: RowFormat) -> list[str]:
    sample = Sample("a", json.dumps(row), row_parts(row, row_format), Origin("a.jsonl", 1), row_format)
    counter = UnreadFields()
    counter.add(sample)
    return list(counter.by_file().get("a.jsonl", {}))


ASKED = {"instruction": "Name a long river.", "input": "In Russia.", "output": "It is the Ural."}
TURNS = [
    {"role": "user", "content": "Name a long river."},
    {"role": "assistant", "content": "It is the Ural.", "reasoning": "Think of maps."},
]


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"rationale": "The Volga is longer."}, ["'rationale'"]),
        ({"hint": "Carry the one.", "notes": "Not in the west."}, ["'hint'", "'notes'"]),
        ({"context": "Rivers flow to seas."}, ["'context'"]),
        ({"提示": "这条河流向南方"}, ["'提示'"]),
        ({"steps": ["Look at maps.", "Name it."]}, ["'steps'"]),
        ({"more": {"why": "It is long enough.", "source": "a b c d"}}, ["'more'"]),
        ({"rejected": [{"role": "assistant", "content": "The Rhine it is."}]}, ["'rejected'"]),
        ({"id": "a b c d", "source": "made by hand now", "task_name": "name a long one", "created_at": "a b c"}, []),
        ({"source": "The Ural is long, and flows from its mountains " * 4}, ["'source'"]),
        ({"url": "https://example.org/a/long/path", "level": "very hard for all", "score": 3, "kind": None}, []),
        ({"flag": "yes", "topic_of": "rivers", "date": "2024-01-01 12:00", "where": "in Asia"}, []),
        ({"text": "### Name a long river.\nIn Russia.\n### It is the Ural.", "question": "Name a long river."}, []),
        ({"system": "Be brief, please do.", "history": [["Hello to you.", "Hello."]], "thinking": "Think hard."}, []),
    ],
)  # fmt: skip
def test_fields_of_text_that_are_not_read(more: dict[str, Any], names: list[str]) -> None:
    """Text is named; descriptions of the row, repetitions, and what is read are not."""
    assert _fields(ASKED | more, RowFormat.ALPACA) == names


def test_fields_of_turns_that_are_not_read() -> None:
    row = {"messages": [TURNS[0] | {"name": "a b c d"}, TURNS[1] | {"critique": "It could be longer."}]}
    assert _fields(row, RowFormat.MESSAGES) == ["'critique' of turns"]
    pair = {"conversation": [{"human": "Name a long river.", "assistant": "It is the Ural.", "why": "It is long."}]}
    assert _fields(pair, RowFormat.SHAREGPT) == ["'why' of turns"]
    row = {"messages": [TURNS[0] | {"thinking": "I want to know it."}, TURNS[1]], "system_prompt": "Be brief, please."}
    assert _fields(row, RowFormat.MESSAGES) == ["'system_prompt'", "'thinking' of turns"]
    row = {"messages": [TURNS[0], TURNS[1] | {"reasoning": {"steps": ["Look at maps.", "Name it."]}}]}
    assert _fields(row, RowFormat.MESSAGES) == ["'reasoning' of turns"]
    row = {
        "prompt": TURNS[:1],
        "completion": [TURNS[1] | {"critique": "It could be longer."}],
        "preamble": "Be very brief.",
        "system": "You are an expert of rivers.",
    }
    assert _fields(row, RowFormat.PROMPT_COMPLETION) == ["'critique' of turns", "'preamble'"]


def test_unread_fields_are_told_and_kept_by_file(tmp_path: Path) -> None:
    rows = [ASKED | {"id": f"{number}", "rationale": f"It is number {number} of all."} for number in range(8)]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    write_lines(one, rows[:5])
    write_lines(two, [row | {"hint": "Look at a map."} for row in rows[5:]])
    told = [f"{one}: not read: 'rationale' (5 rows)", f"{two}: not read: 'hint' (3 rows), 'rationale' (3 rows)"]
    command = ["build", tmp_path / "own.nait", one, two, "--device", "cpu"]
    for ran in (nait_index(*command, "--dry-run"), nait_index(*command)):
        assert [line for line in ran.err.splitlines() if "not read" in line] == told
    unread = {str(one): {"'rationale'": 5}, str(two): {"'hint'": 3, "'rationale'": 3}}
    assert NaitIndex(tmp_path / "own.nait").info()["unread"] == unread
    assert f"{one}: 'rationale' (5 rows); " in nait_index("info", tmp_path / "own.nait").out
    assert f"{two}: not read: " in nait_index("query", tmp_path / "own.nait", "-e", two).err
    rebuilt = NaitIndex(tmp_path / "own.nait").rebuild(tmp_path / "new.nait")
    assert rebuilt.info()["unread"] == unread


# ---- what the model read ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cut(chatty: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an index whose longer rows are cut, with a capability."""
    root = tmp_path_factory.mktemp("cut") / "own.nait"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    rows[3]["messages"][-1]["content"] += " That is all there is to say of it." * 4
    lines = write_lines(root.parent / "rows.jsonl", rows)
    assert nait_index("build", root, lines, "--model", chatty, "--device", "cpu", "--max-length", "64").code == 0
    assert nait_index("capability", "add", root, "sums", write_lines(root.parent / "e.jsonl", rows[:2])).code == 0
    return root


def test_what_the_model_read_is_what_was_encoded(cut: Path) -> None:
    """Tokenised again, the shown text gives as many tokens as the index counts, and the rest completes the row."""
    index = NaitIndex(cut)
    encoder = index._encoder()._encoder
    for row in index.rows():
        read = index.row_read(row["id"])
        assert (read.problem, bool(read.cut)) == ("", row["truncated"])
        assert read.left_out == (("tool turns",) if int(row["id"][1:]) % 2 else ())
        (tokens,) = encoder.tokenize([MarkedText(read.text, ())])
        assert len(tokens.ids) == row["n_tokens"]
        whole = encoder.template.read(index.columns.sample(index.columns.ordinal(row["id"])).parts).text
        assert whole[: len(read.text)] == read.text
        assert len(whole) - len(read.text) == read.cut
        assert whole[len(read.text) :].startswith(read.rest)
    assert [row["id"] for row in index.rows(where="truncated")] == ["r03"]


def test_explain_shows_what_the_model_read(cut: Path) -> None:
    out = nait_index("explain", cut, "r03", "-c", "sums").out
    read = NaitIndex(cut).row_read("r03")
    assert f"what the model read ({len(read.text):,} characters): <user>Add 3 and 4.<assistant>So 7." in out
    assert f"cut by --max-length: {read.cut:,} more characters, from: {read.rest[:60]}" in out
    assert "left out by the template: tool turns" in out
    shown = json.loads(nait_index("explain", cut, "r03", "-c", "sums", "--json").out)["read"]
    assert (shown["text"], shown["cut"], shown["left_out"]) == (read.text, read.cut, ["tool turns"])
    assert "left out" not in nait_index("explain", cut, "r02", "-c", "sums").out


def test_a_tokenizer_that_is_gone_or_another_is_told(cut: Path, tmp_path: Path) -> None:
    ran = nait_index("explain", cut, "r03", "-c", "sums", "--model", tmp_path / "gone")
    assert ran.code == 0
    assert "what the model read cannot be shown: " in ran.err
    from nait_index.config import BUNDLED_MODEL

    read = NaitIndex(cut, model=BUNDLED_MODEL).row_read("r03")
    assert read.problem == "the tokenizer of 'bundled' is not the one that the index was built with"
    assert "Add 3 and 4." in read.text


def test_a_tokenizer_that_cannot_be_loaded_is_asked_for_once(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report shows hundreds of rows, and a hub that is out of reach takes its time to say so."""
    asked: list[str] = []

    def unreachable(name: str) -> Any:
        asked.append(name)
        raise ModelError("out of reach")

    monkeypatch.setattr("nait_index.building.reading.load_tokenizer", unreachable)
    index = NaitIndex(cut)
    assert [index.row_read(row).problem for row in ("r01", "r02", "r03")] == ["out of reach"] * 3
    assert len(asked) == 1


def test_the_report_and_the_page_show_what_the_model_read(cut: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("plotly")
    from nait_index.explore.session import Session
    from nait_index.report import ReportRequest, write_report

    index = NaitIndex(cut)
    page = write_report(index, tmp_path / "r.html", ReportRequest()).path.read_text()
    assert '<th scope="row">Left out</th><td>by the template: tool turns (6 rows)</td>' in page
    assert "<summary>As the model read it</summary>" in page
    assert "&lt;user&gt;Add 3 and 4.&lt;assistant&gt;So 7." in page
    assert "The template leaves out tool turns." in page
    assert "Cut by the maximum length: the model did not read the last" in page
    read = Session(index).row("r03")["read"]
    assert (read["text"], read["left_out"]) == (index.row_read("r03").text, ["tool turns"])
