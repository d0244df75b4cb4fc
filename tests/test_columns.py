"""Columns as they come: questions and answers of many names, rows with two answers, and what is read of a row."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import convert_rows, nait_index, read_lines, refusal, small_signatures, write_lines

from nait_index import NaitIndex, SignatureConfig
from nait_index.config import ModelConfig, View
from nait_index.corpus import naming_absent, parts_of, read_corpus
from nait_index.corpus.answers import missing_answer
from nait_index.corpus.columns import parse_columns, with_columns
from nait_index.corpus.formats import detect_format, row_parts
from nait_index.corpus.unread import unread_fields
from nait_index.errors import CorpusError, ModelError, NaitError
from nait_index.handover.rows import ChosenRow
from nait_index.types import Origin, Reading, ReadPart, Role, RowFormat, Sample, Side

U, A = Role.USER, Role.ASSISTANT


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def spoken(row: Mapping[str, Any], reading: Reading | None = None) -> list[tuple[Role, str]]:
    parts = row_parts(row, detect_format([row], "rows"), reading or Reading())
    return [(part.role, part.text) for part in parts]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": "a"},
        {"prompt": "q", "response": "a"},
        {"prompt": "q", "completion": "a", "label": True},
        {"problem": "q", "solution": "a", "answer": "42"},
        {"query": "q", "response": "a"},
        {"input": "q", "output": "a"},
        {"prompt": "q", "label": "a"},
        {"prompt": "q", "answer": "a", "text": "q a"},
        {"instruction": "q", "context": "", "response": "a", "category": "open_qa"},
        {"prompt": [turn("user", "q")], "reward_model": {"style": "rule", "ground_truth": "a"}, "data_source": "d"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"question": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a")], "rejected": [turn("assistant", "b")]},
        {"prompt": "q", "chosen": [turn("user", "q"), turn("assistant", "a")], "rejected": [turn("assistant", "b")]},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
    ],
)
def test_question_and_answer_are_known_by_themselves(row: dict[str, Any]) -> None:
    assert spoken(row) == [(U, "q"), (A, "a")]
    assert spoken(row, Reading(read=ReadPart.PROMPT)) == [(U, "q")]
    assert spoken(row, Reading(read=ReadPart.ANSWER)) == [(Role.TEXT, "a")]
    if "rejected" in row:
        assert spoken(row, Reading(side=Side.REJECTED)) == [(U, "q"), (A, "b")]
        assert spoken(row, Reading(side=Side.BOTH)) == [(U, "q"), (A, "a\n\nb")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "", "question": "q", "completion": "", "response": " ", "answer": "a"},
        {"prompt": [], "question": "q", "completion": [], "solution": "a", "label": "good"},
        {"instruction": "q", "input": "", "context": "c", "output": "", "response": "a"},
        {"instruction": "", "prompt": "q", "chosen": "a", "rejected": "b"},
    ],
)
def test_empty_columns_give_way_to_others(row: dict[str, Any]) -> None:
    """A table of several data sets has empty columns where a row has nothing."""
    assert [part for part in spoken(row) if part[0] is not Role.INPUT] == [(U, "q"), (A, "a")]
    kept = [ChosenRow("1", json.dumps(row), detect_format([row], "rows"), 5, cut=False)]
    (written,), _, _ = convert_rows(kept, RowFormat.MESSAGES)
    assert json.loads(written.text)["messages"][-1] == turn("assistant", "a")
    assert missing_answer(row, kept[0].format) is None


@pytest.mark.parametrize(
    "row",
    [
        {"system": "s", "question": "q", "answer": "a"},
        {"system": "s", "prompt": [turn("user", "q")], "completion": [turn("assistant", "a")]},
        {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
        {"system": "s", "instruction": "q", "chosen": "a", "rejected": "b"},
        {"system": "s", "instruction": "q", "output": "a"},
        {"system": "s", "messages": [turn("user", "q"), turn("assistant", "a")]},
    ],
)
def test_a_system_prompt_in_a_column_is_read_and_converted(row: dict[str, Any]) -> None:
    assert spoken(row) == [(Role.SYSTEM, "s"), (U, "q"), (A, "a")]
    kept = [ChosenRow("1", json.dumps(row), detect_format([row], "rows"), 5, cut=False)]
    (written,), _, _ = convert_rows(kept, RowFormat.MESSAGES)
    turns = [turn("system", "s"), turn("user", "q"), turn("assistant", "a")]
    assert json.loads(written.text) == {"messages": turns}


def test_other_columns_of_questions_and_answers_are_named_as_not_read() -> None:
    row = {"prompt": "Do what it says below.", "input": "Sort the list of names.", "output": "It is sorted now."}
    row |= {"solution": "Names are sorted by letters.", "answer": "sorted"}
    parts = row_parts(row, RowFormat.PROMPT_COMPLETION)
    sample = Sample("1", json.dumps(row), parts, Origin("rows", 1), RowFormat.PROMPT_COMPLETION)
    assert list(unread_fields(sample)) == ["'input'", "'solution'"]
    two: dict[str, Any] = {"prompt": "Why?", "history": [["Is it blue?", "No."]], "chosen": "a", "rejected": "b"}
    sample = Sample("1", json.dumps(two), row_parts(two, RowFormat.PREFERENCE), Origin("rows", 1), RowFormat.PREFERENCE)
    assert list(unread_fields(sample)) == ["'history'"]


def test_an_empty_answer_of_two_is_not_taken_from_another_column() -> None:
    for asked, other in (("prompt", "response"), ("instruction", "response")):
        row = {asked: "q", "chosen": "", "rejected": "b", other: "c"}
        assert spoken(row) == [(U, "q")]
        assert missing_answer(row, RowFormat.PREFERENCE) == "no answer: 'chosen' is empty"


CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CALLED = '{"name": "look", "arguments": {}}'


@pytest.mark.parametrize(
    "asked", [{"conversations": [{"from": "human", "value": "q"}]}, {"prompt": "q"}, {"prompt": [turn("user", "q")]}]
)
def test_a_call_as_an_answer_of_two_follows_its_question(asked: dict[str, Any]) -> None:
    row = asked | {"chosen": {"from": "function_call", "value": CALLED}, "rejected": {"from": "gpt", "value": "b"}}
    assert spoken(row) == [(U, "q"), (A, CALLED)]
    assert spoken(row, Reading(side=Side.BOTH)) == [(U, "q"), (A, CALLED), (A, "b")]


@pytest.mark.parametrize("asked", [{}, {"prompt": "q"}])
def test_turns_in_a_row_keep_what_they_hold_besides_text(asked: dict[str, Any]) -> None:
    question = [] if asked else [turn("user", "q")]
    calling = [turn("assistant", "Let me look."), turn("assistant", "") | {"tool_calls": [CALL]}]
    thinking = turn("assistant", "b") | {"reasoning_content": "Hm, it is b."}
    row = asked | {"chosen": [*question, *calling], "rejected": [*question, thinking]}
    (_, _), (_, first), (_, call) = spoken(row)
    assert first == "Let me look."
    assert "look" in call
    row["chosen"] = [*question, turn("assistant", "a") | {"tool_calls": None}]
    assert spoken(row, Reading(side=Side.BOTH))[1:] == [(A, "a"), (A, "<think>\nHm, it is b.\n</think>\n\nb")]
    row["rejected"] = [*question, turn("assistant", "b")]
    assert spoken(row, Reading(side=Side.BOTH))[1:] == [(A, "a\n\nb")]


@pytest.mark.parametrize("chosen", ["a", [turn("assistant", "a")], turn("assistant", "a")])
def test_an_answer_and_a_whole_conversation_are_both_read(chosen: Any) -> None:
    row = {"prompt": "q", "chosen": chosen, "rejected": [turn("user", "q"), turn("assistant", "b")]}
    assert spoken(row, Reading(side=Side.BOTH)) == [(U, "q"), (A, "a\n\nb")]
    row |= {"chosen": row["rejected"], "rejected": chosen}
    assert spoken(row, Reading(side=Side.BOTH)) == [(U, "q"), (A, "b\n\na")]


def test_an_answer_to_an_instruction_that_holds_a_call_is_refused() -> None:
    calling = [turn("assistant", "Let me look.") | {"tool_calls": [CALL]}]
    with pytest.raises(CorpusError, match="nor turns of text alone"):
        row_parts({"instruction": "q", "chosen": calling, "rejected": "b"}, RowFormat.PREFERENCE)


def test_answers_that_are_not_text_are_no_answers() -> None:
    with pytest.raises(CorpusError, match="is a number"):
        parts_of({"question": "q", "answer": 4})
    with pytest.raises(CorpusError, match=r"'reward_model.ground_truth' is a number"):
        parts_of({"prompt": "q", "reward_model": {"ground_truth": 4}})
    with pytest.raises(CorpusError, match="'answer' is a number"):
        parts_of({"question": "q", "answer": 4, "label": "hard"})
    assert detect_format([{"text": "t", "label": 1}], "rows") is RowFormat.TEXT


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": 1, "rejected": "b"}, "'chosen' is a number"),
        ({"prompt": "q", "chosen": "a", "rejected": None}, "'rejected' is missing"),
        ({"chosen": [turn("assistant", "a")], "rejected": [turn("assistant", "b")]}, "without a question"),
    ],
)
def test_rows_of_two_answers_that_cannot_be_read(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        row_parts(row, RowFormat.PREFERENCE)


def test_any_other_columns_are_named() -> None:
    columns = parse_columns("instruction=ask, output=reply.text")
    row = {"ask": "q", "reply": {"text": "a", "by": "x"}, "id": 7}
    assert with_columns(row, columns) == {"reply": row["reply"], "id": 7, "instruction": "q", "output": "a"}
    assert detect_format([row], "rows", columns) is RowFormat.ALPACA
    assert [part.text for part in row_parts(row, RowFormat.ALPACA, Reading(columns=columns))] == ["q", "a"]
    usual = {"instruction": "q", "output": "a"}
    assert with_columns(usual, columns) is usual


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("instruction", "FIELD=COLUMN"),
        ("=a", "FIELD=COLUMN"),
        ("outptu=a", "did you mean output"),
        ("text=a,text=b", "twice"),
    ],
)
def test_columns_that_cannot_be_used(text: str, problem: str) -> None:
    with pytest.raises(NaitError, match=problem):
        parse_columns(text)


def test_columns_that_no_row_has_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"ask": f"q{n}", "reply": {"text": "a"}} for n in range(3)]
    columns = parse_columns("instruction=ask,output=reply.text,system=sytsem")
    read = read_corpus([rows], reading=Reading(columns=columns))
    assert len(list(naming_absent(read, columns))) == 3
    assert caplog.messages == ["--columns system=sytsem: no row that can be used has a column 'sytsem'"]


def test_an_answer_alone_has_no_question_for_a_template() -> None:
    assert ModelConfig(read=ReadPart.ANSWER).template_name == "text"
    with pytest.raises(ModelError, match="--read answer"):
        ModelConfig(read=ReadPart.ANSWER, template="chat")


def test_rows_of_two_answers_are_converted_to_the_preferred_one() -> None:
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "source": "s"}
    chosen = [ChosenRow("1", json.dumps(row), RowFormat.PREFERENCE, 5, cut=False)]
    (same,), _, _ = convert_rows(chosen, None)
    assert json.loads(same.text) == row
    (written,), _, _ = convert_rows(chosen, RowFormat.MESSAGES)
    assert json.loads(written.text) == {"messages": [turn("user", "q"), turn("assistant", "a")], "source": "s"}


def test_other_columns_of_two_whole_conversations_are_kept() -> None:
    both = {name: [turn("user", "q"), turn("assistant", name)] for name in ("chosen", "rejected")}
    row = {"prompt": "q", "prompt_id": "7", "source": "s"} | both | {"messages": both["chosen"], "score_chosen": 8.5}
    (written,), _, _ = convert_rows(
        [ChosenRow("1", json.dumps(row), RowFormat.PREFERENCE, 5, cut=False)], RowFormat.MESSAGES
    )
    assert json.loads(written.text) == {
        "prompt_id": "7",
        "source": "s",
        "score_chosen": 8.5,
        "messages": both["chosen"],
    }


# ---- the command ---------------------------------------------------------------------------------------------------

ROWS = [{"ask": f"What is {n} + {n}?", "reply": {"text": f"It is {2 * n}."}, "n": n} for n in range(30)]


def test_an_index_of_other_columns_is_built_queried_and_exported(tmp_path: Path, tiny_model: Any) -> None:
    corpus, index = write_lines(tmp_path / "rows.jsonl", ROWS), tmp_path / "small.nait"
    model = ["--model", tiny_model("llama"), "--max-length", "48", "--pca-dim", "8"]
    assert "match no row format" in refusal("build", index, corpus, *model)
    columns = ["--columns", "instruction=ask,output=reply.text"]
    assert nait_index("build", index, corpus, *model, *columns).code == 0
    examples = write_lines(tmp_path / "examples.jsonl", [{"question": "What is 3 + 4?", "answer": "It is 7."}] * 3)
    out = tmp_path / "out.jsonl"
    assert nait_index("query", index, "-e", examples, "--top", "5", "-o", out).code == 0
    assert all(json.loads(line) in ROWS for line in out.read_text().splitlines())
    asked = nait_index("query", index, "-e", examples, "--top", "5", "-o", tmp_path / "m.jsonl", "--as", "messages")
    assert asked.code == 0, asked.err
    first = json.loads((tmp_path / "m.jsonl").read_text().splitlines()[0])
    assert [message["role"] for message in first["messages"]] == ["user", "assistant"]
    more = write_lines(tmp_path / "more.jsonl", [{"ask": "Why?", "reply": {"text": "Because."}}])
    assert nait_index("add", index, more).code == 0
    checks = {check["name"]: check["passed"] for check in nait_index("verify", index, "--json").json}
    assert {checks[name] for name in ("content", "words", "encoding")} == {True}
    assert nait_index("info", index, "--json").json["reading"]["columns"] == "instruction=ask,output=reply.text"
    assert "columns instruction=ask,output=reply.text" in nait_index("info", index).out
    assert "columns" in refusal("build", index, corpus, *model, "--columns", "prompt=ask,completion=reply.text")


@pytest.mark.parametrize(("read", "texts"), [("prompt", "What is"), ("answer", "It is")])
def test_an_index_of_questions_or_answers_alone(tmp_path: Path, tiny_model: Any, read: str, texts: str) -> None:
    rows = [{"question": row["ask"], "answer": row["reply"]["text"]} for row in ROWS]
    corpus, index = write_lines(tmp_path / "rows.jsonl", rows), tmp_path / "small.nait"
    words = ["build", index, corpus, "--model", tiny_model("llama"), "--max-length", "48", "--pca-dim", "8"]
    assert nait_index(*words, "--read", read).code == 0
    opened = NaitIndex(index)
    assert all(text.startswith(texts) for text in opened.columns.texts())
    other = {"prompt": "answer", "answer": "prompt"}[read]
    assert "read" in refusal(*words, "--read", other)
    assert nait_index(*words).code == 0  # as the index was built
    examples = write_lines(tmp_path / "examples.jsonl", [{"prompt": "What is 3 + 4?"}])
    asked = nait_index("query", index, "-e", examples, "--top", "5")
    assert (asked.code == 0) == (read == "prompt"), asked.err


def test_gradients_need_answers(tmp_path: Path, tiny_model: Any) -> None:
    corpus = write_lines(tmp_path / "rows.jsonl", [{"question": "q", "answer": "a"}])
    words = ["build", tmp_path / "x.nait", corpus, "--model", tiny_model("llama"), "--views", "pca,grad"]
    assert "--read prompt" in refusal(*words, "--read", "prompt")


def test_preferences_are_indexed_by_one_side_and_exported_untouched(tmp_path: Path, tiny_model: Any) -> None:
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "No idea."} for n in range(30)]
    corpus = write_lines(tmp_path / "rows.jsonl", rows)
    for side in Side:
        model = ModelConfig(str(tiny_model("llama")), max_length=48, side=side)
        index = NaitIndex.build(tmp_path / f"{side}.nait", corpus, model=model, signatures=small_signatures())
        assert ("No idea." in next(index.columns.texts())) == (side is not Side.CHOSEN)
    out = tmp_path / "out.jsonl"
    words = ["query", tmp_path / "chosen.nait", "-e", corpus, "--top", "5", "-o", out, "--for", "trl"]
    assert nait_index(*words).code == 0
    assert all(json.loads(line) in rows for line in out.read_text().splitlines())
    assert "DPOTrainer" in (tmp_path / "out.jsonl.trl.py").read_text()


@pytest.mark.parametrize("side", Side)
def test_training_rows_hold_the_preferred_answer_whichever_is_indexed(tmp_path: Path, side: Side) -> None:
    rows = [{"id": str(n), "prompt": f"Which {n}?", "chosen": f"good {n}", "rejected": "BAD"} for n in range(20)]
    rows.append({"id": "none", "prompt": "Which is none?", "chosen": "", "rejected": "BAD"})
    words = SignatureConfig(views=(View.WORDS,))
    chosen = NaitIndex.build(tmp_path / "x.nait", rows, model=ModelConfig(side=side), signatures=words).select_all()
    written = chosen.write(tmp_path / "out.jsonl", format="messages")
    said = {row["id"]: row["messages"][-1]["content"] for row in read_lines(written.path)}
    assert said == {str(n): f"good {n}" for n in range(20)}
    assert written.refused == (0 if side is Side.CHOSEN else 1)  # the row without a preferred answer
    if side is Side.REJECTED:
        with pytest.raises(NaitError, match="row 'none' cannot be a training row: no answer: 'chosen' is empty"):
            chosen.to_dataset()
