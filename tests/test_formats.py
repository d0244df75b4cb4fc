"""Rows of every format -> parts, or the reason why not."""

import json
from typing import Any

import pytest

from nait_index.corpus import plain_text, restore_sample, rows, stored_text
from nait_index.corpus.answers import missing_answer
from nait_index.corpus.formats import detect_format, row_parts
from nait_index.corpus.rows import RowError
from nait_index.errors import CorpusError
from nait_index.types import Part, Reading, Reasoning, Role, RowFormat

S, TOOLS, U, I, A, TOOL = Role.SYSTEM, Role.TOOLS, Role.USER, Role.INPUT, Role.ASSISTANT, Role.TOOL  # noqa: E741
ALPACA, SHAREGPT, MESSAGES = RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES
PROMPT, TEXT, PREFERENCE = RowFormat.PROMPT_COMPLETION, RowFormat.TEXT, RowFormat.PREFERENCE
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALL_JSON = '[{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]'

USABLE: list[tuple[RowFormat, dict[str, Any], list[tuple[Role, str]]]] = [
    (ALPACA, {"instruction": "Add.", "input": "1 1", "output": "2"}, [(U, "Add."), (I, "1 1"), (A, "2")]),
    (ALPACA, {"instruction": "Add.", "input": "", "output": None}, [(U, "Add.")]),
    (ALPACA, {"instruction": "q", "context": "c", "response": "a"}, [(U, "q"), (I, "c"), (A, "a")]),
    (ALPACA, {"instruction": " \n", "input": "\t", "output": " 2 "}, [(A, " 2 ")]),
    (
        ALPACA,
        {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]},
        [(S, "s"), (U, "a"), (A, "b"), (U, "c"), (A, "d")],
    ),
    (ALPACA, {"instruction": "q", "output": "a", "tools": "[f]"}, [(TOOLS, "[f]"), (U, "q"), (A, "a")]),
    (
        SHAREGPT,
        {
            "system": "s",
            "tools": '[{"name": "f"}]',
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": "f()"},
                {"from": "observation", "value": "1"},
                {"from": "gpt", "value": "a", "weight": None},
            ],
        },
        [(S, "s"), (TOOLS, '[{"name": "f"}]'), (U, "q"), (A, "f()"), (TOOL, "1"), (A, "a")],
    ),
    (
        SHAREGPT,
        {"conversation": [{"from": "system", "value": "s"}, {"from": "user", "value": "q"}]},
        [(S, "s"), (U, "q")],
    ),
    (
        SHAREGPT,
        {
            "conversations": [
                {"from": name, "value": name} for name in ("assistant", "model", "chatbot", "tool", "function")
            ]
        },
        [(A, "assistant"), (A, "model"), (A, "chatbot"), (TOOL, "tool"), (TOOL, "function")],
    ),
    (
        SHAREGPT,
        {"conversation": [{"human": "a", "assistant": "b"}, {"assistant": "d", "user": "c"}]},
        [(U, "a"), (A, "b"), (U, "c"), (A, "d")],
    ),
    (SHAREGPT, {"conversations": [{"role": "user", "content": "q"}]}, [(U, "q")]),
    (
        MESSAGES,
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
        [(S, "s"), (U, "q"), (A, "a")],
    ),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}]},
        [(U, "a b")],
    ),
    (
        MESSAGES,
        {
            "tools": [{"name": "é"}],
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "2"},
                {"role": "assistant", "content": "so", "tool_calls": [CALL]},
            ],
        },
        [(TOOLS, '[{"name": "é"}]'), (U, "q"), (A, CALL_JSON), (TOOL, "2"), (A, f"so\n{CALL_JSON}")],
    ),
    (MESSAGES, {"tools": [], "messages": [{"role": "developer", "content": "s"}]}, [(S, "s")]),
    (PROMPT, {"prompt": "q ", "completion": " a"}, [(U, "q "), (A, " a")]),
    (
        PROMPT,
        {
            "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "a"}],
        },
        [(S, "s"), (U, "q"), (A, "a")],
    ),
    (TEXT, {"text": "\n as it is \u2028\x00"}, [(Role.TEXT, "\n as it is \u2028\x00")]),
]


@pytest.mark.parametrize(("row_format", "row", "expected"), USABLE)
def test_parts_of_a_usable_row(row_format: RowFormat, row: dict[str, Any], expected: list[tuple[Role, str]]) -> None:
    """Each field and turn becomes a part with its role, in reading order, empty ones left out."""
    assert row_parts(row, row_format) == tuple(Part(role, text) for role, text in expected)
    assert detect_format([row], "rows.jsonl") == row_format


@pytest.mark.parametrize(("row_format", "row", "expected"), USABLE)
def test_the_text_of_a_stored_row_is_that_of_the_sample_it_was(
    row_format: RowFormat, row: dict[str, Any], expected: list[tuple[Role, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, reading = {"id": "a", "row": json.dumps(row), "format": str(row_format)}, Reading(Reasoning.DROP)
    texts = [plain_text(restore_sample(record, asked).parts) for asked in (Reading(), reading)]
    monkeypatch.setattr(rows, "unique_keys", None)  # rows are checked when they are taken in, and not again
    assert [stored_text(record["row"], record["format"], asked) for asked in (Reading(), reading)] == texts
    assert texts[0] == "\n".join(text for _, text in expected)


def turns(*turns: Any) -> dict[str, Any]:
    """Make a messages row."""
    return {"messages": list(turns)}


REFUSED: list[tuple[RowFormat, dict[str, Any], str]] = [
    (ALPACA, {"output": "2"}, "field 'instruction' is missing"),
    (ALPACA, {"instruction": None, "output": "2"}, "field 'instruction' is missing"),
    (ALPACA, {"instruction": "a", "output": 2}, "field 'output' is a number, expected text"),
    (ALPACA, {"instruction": True}, "field 'instruction' is a boolean, expected text"),
    (ALPACA, {"instruction": "a", "input": ["b"]}, "field 'input' is a list, expected text"),
    (ALPACA, {"instruction": "a", "history": "b"}, "field 'history' is text, expected a list"),
    (ALPACA, {"instruction": "a", "history": [["b"]]}, "field 'history', turn 1 is not a pair of question and answer"),
    (ALPACA, {"instruction": " ", "input": "", "output": "\n"}, "no text: every text field is empty"),
    (ALPACA, {"instruction": "a", "output": "b\ud800"}, "field 'output' holds a lone surrogate (U+D800)"),
    (SHAREGPT, {"text": "a"}, "field 'conversations' is missing"),
    (SHAREGPT, {"conversations": "a"}, "field 'conversations' is text, expected a list"),
    (SHAREGPT, {"conversations": [{"from": "bot", "value": "a"}]}, "turn 1 has an unknown role: 'bot'"),
    (
        SHAREGPT,
        {"conversations": [{"from": "gpt", "value": 1}]},
        "field 'conversations', turn 1 is a number, expected text",
    ),
    (MESSAGES, turns(), "no text: every text field is empty"),
    (MESSAGES, turns("hello"), "field 'messages', turn 1 is text, expected an object"),
    (MESSAGES, turns({"role": "user", "content": "a"}, {"content": "a"}), "field 'messages', turn 2 has no role"),
    (MESSAGES, turns({"role": ["user"], "content": "a"}), "turn 1 has an unknown role: ['user']"),
    (MESSAGES, turns({"role": "user", "content": {"a": 1}}), "turn 1 is an object, expected text"),
    (MESSAGES, turns({"role": "user", "content": 1, "tool_calls": [CALL]}), "turn 1 is a number, expected text"),
    (MESSAGES, turns({"role": "user", "content": [{"type": "file"}]}), "content of type 'file', only text"),
    (MESSAGES, turns({"role": "user", "content": ["a"]}), "a piece of content that is text, expected an object"),
    (MESSAGES, turns({"role": "user", "content": [{"type": "text", "text": 1}]}), "text content that is a number"),
    (MESSAGES, turns({"role": "user", "content": "\udfff"}), "turn 1 holds a lone surrogate (U+DFFF)"),
    (
        MESSAGES,
        turns({"role": "user", "content": "a"}) | {"tools": {"a": 1}},
        "field 'tools' is an object, expected text",
    ),
    (PROMPT, {"completion": "a"}, "field 'prompt' is missing"),
    (PROMPT, {"prompt": 1, "completion": "a"}, "field 'prompt' is a number, expected text"),
    (TEXT, {"instruction": "a"}, "field 'text' is missing"),
    (TEXT, {"text": 1.5}, "field 'text' is a number, expected text"),
    (TEXT, {"text": "\u200b\n"}, "no text: every text field is empty"),
    (TEXT, {"text": "  \n"}, "no text: every text field is empty"),
]


@pytest.mark.parametrize(("row_format", "row", "reason"), REFUSED)
def test_reason_of_a_refused_row(row_format: RowFormat, row: dict[str, Any], reason: str) -> None:
    """The reason names the field and what is wrong with it."""
    with pytest.raises(RowError) as refusal:
        row_parts(row, row_format)
    assert reason in str(refusal.value)


def unanswered(reason: str | None, row_format: RowFormat, **row: Any) -> tuple[RowFormat, dict[str, Any], str | None]:
    """Name the arguments of a case."""
    return row_format, row, reason


ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
HUMAN = {"from": "human", "value": "q"}


@pytest.mark.parametrize(
    ("row_format", "row", "reason"),
    [
        unanswered("no 'output'; the row has 'answer'", ALPACA, instruction="q", answer="1", source="x"),
        unanswered(
            "no 'output'; the row has 'chosen' and 'rejected'", ALPACA, instruction="q", chosen="1", rejected="2"
        ),
        unanswered("no 'output'", ALPACA, instruction="q", input="i", source="x"),
        unanswered("'output' is empty", ALPACA, instruction="q", output=" \n"),
        unanswered("'response' is empty", ALPACA, instruction="q", response=""),
        unanswered("'output' is empty", ALPACA, instruction="q", output="\u200b \ufeff\u2060\xad\u3164\ufe0f\0"),
        unanswered("the last turn of 'messages' is empty", MESSAGES, messages=[ASKED, SAID | {"content": "\u200b"}]),
        unanswered("'completion' is empty", PROMPT, prompt="q", completion="<think>\u200b</think>\u200b"),
        unanswered(None, ALPACA, instruction="q", output="\u200b1"),
        unanswered(
            "turn 1 of 'history' is the assistant's and empty",
            ALPACA,
            instruction="q",
            output="a",
            history=[["q", ""], ["q", "a"]],
        ),
        unanswered(
            "turn 2 of 'messages' is the assistant's and empty",
            MESSAGES,
            messages=[ASKED, SAID | {"content": None}, ASKED, SAID],
        ),
        unanswered(
            "turn 1 of 'conversation' is the assistant's and empty",
            SHAREGPT,
            conversation=[{"human": "q", "assistant": ""}, {"human": "q", "assistant": "a"}],
        ),
        unanswered(
            "the last turn of 'messages' is empty",
            MESSAGES,
            messages=[ASKED, SAID | {"content": "", "tool_calls": [{"id": "", "type": "function", "function": {}}]}],
        ),
        unanswered(
            "the last turn of 'messages' is empty",
            MESSAGES,
            messages=[ASKED, SAID | {"content": "", "tool_calls": "null"}],
        ),
        unanswered(None, MESSAGES, messages=[ASKED, SAID | {"content": "", "tool_calls": [CALL]}, ASKED, SAID]),
        unanswered("no 'output'; the row has 'Answer'", ALPACA, instruction="q", history=[["a", "b"]], Answer="1"),
        unanswered("the last turn of 'messages' is the user's", MESSAGES, messages=[ASKED]),
        unanswered("the last turn of 'messages' is the user's", MESSAGES, messages=[ASKED, SAID, ASKED]),
        unanswered("the last turn of 'messages' is empty", MESSAGES, messages=[ASKED, SAID, ASKED | {"content": ""}]),
        unanswered("the last turn of 'messages' is empty", MESSAGES, messages=[ASKED, SAID | {"content": None}]),
        unanswered("the last turn of 'messages' is empty", MESSAGES, messages=[ASKED, SAID, SAID | {"content": " "}]),
        unanswered(
            "the last turn of 'messages' is empty",
            MESSAGES,
            messages=[ASKED, SAID | {"content": [], "tool_calls": [None], "function_call": {"name": None}}],
        ),
        unanswered(
            "the last turn of 'messages' is the tool's",
            MESSAGES,
            messages=[ASKED, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "1"}],
        ),
        unanswered(
            "the last turn of 'conversations' is the user's; the row has 'chosen' and 'rejected'",
            SHAREGPT,
            conversations=[HUMAN],
            chosen={"from": "gpt", "value": "1"},
            rejected={"from": "gpt", "value": "2"},
        ),
        unanswered("the last turn of 'conversation' is the user's", SHAREGPT, conversation=[{"human": "q"}]),
        unanswered("'completion' is empty", PROMPT, prompt="q", completion=""),
        unanswered("'completion' is empty", PROMPT, prompt=[ASKED], completion=[]),
        unanswered("'completion' is empty", PROMPT, prompt="q", completion="<think>\n</think>\n\n"),
        unanswered("no 'completion'; the row has 'chosen'", PROMPT, prompt="q", completion=None, chosen="1"),
        unanswered("no 'completion'; the row has 'final_answer'", PROMPT, prompt="q", final_answer="1"),
        unanswered("the last turn of 'completion' is the user's", PROMPT, prompt=[ASKED], completion=[SAID, ASKED]),
        unanswered(None, MESSAGES, messages=[ASKED, {"role": "assistant", "tool_calls": [CALL]}]),
        unanswered(None, MESSAGES, messages=[ASKED, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]),
        unanswered(None, SHAREGPT, conversations=[HUMAN, {"from": "function_call", "value": "f()"}]),
        unanswered(None, ALPACA, instruction="q", context="c", response="a", answer="other"),
        unanswered(None, TEXT, text="a", answer="b"),
    ],
)
def test_a_row_without_an_answer(row_format: RowFormat, row: dict[str, Any], reason: str | None) -> None:
    """The reason names where the answer is missing, and the fields in which it may lie instead."""
    assert row_parts(row, row_format)
    assert missing_answer(row, row_format) == (None if reason is None else f"no answer: {reason}")


@pytest.mark.parametrize(
    ("row_format", "row"),
    [
        (MESSAGES, {"messages": [ASKED, {"role": "assistant", "content": "", "reasoning_content": "so"}]}),
        (MESSAGES, {"messages": [ASKED, {"role": "assistant", "content": "<think>so</think>"}]}),
        (ALPACA, {"instruction": "q", "output": "", "reasoning": "so"}),
        (PROMPT, {"prompt": "q", "completion": "<think>so</think>"}),
    ],
)
def test_an_answer_that_is_only_reasoning(row_format: RowFormat, row: dict[str, Any]) -> None:
    """It is an answer if the reasoning is read."""
    assert missing_answer(row, row_format) is None
    assert "is empty without its reasoning" in str(missing_answer(row, row_format, Reading(Reasoning.DROP)))


def test_calls_in_lone_surrogates_stay_writable() -> None:
    """Serialised tool calls are ASCII where the original holds half a surrogate pair."""
    row = turns({"role": "assistant", "tool_calls": ["\ud800"]})
    assert row_parts(row, MESSAGES) == (Part(A, '["\\ud800"]'),)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"instruction": "a", "output": "b", "text": "a b"}], ALPACA),
        ([{"prompt": "a", "messages": [], "text": "a"}], MESSAGES),
        ([{"messages": [], "conversations": []}], MESSAGES),
        ([{"instruction": None, "text": "a"}], TEXT),
        ([{"text": "a"}, {"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "b"}], PROMPT),
        ([{"text": "a"}, {"instruction": "a"}], ALPACA),
        ([{"other": 1}, {"text": "a"}], TEXT),
        ([{"prompt": "a", "text": "a"}], TEXT),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], PREFERENCE),
        ([{"prompt": "a", "chosen": "b", "rejected": None}], PROMPT),
        ([{"prompt": "a", "completion": None}], PROMPT),
    ],
)
def test_detection_by_majority_then_priority(rows: list[dict[str, Any]], expected: RowFormat) -> None:
    """Most rows decide; a row with the fields of several formats, and a tie, go to the first in the order."""
    assert detect_format(rows, "rows.jsonl") == expected


def test_no_format_names_found_and_wanted_fields() -> None:
    """The message is enough to repair the file."""
    with pytest.raises(CorpusError) as error:
        detect_format([{"ask": "a", "reply": "b"}], "qa.jsonl")
    message = str(error.value)
    assert message.startswith("qa.jsonl: ")
    assert "'ask', 'reply'" in message
    assert "prompt, question" in message
    assert "--columns" in message
    assert "\n" not in message
