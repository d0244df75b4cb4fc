"""Rows of every format -> parts, or the reason why not."""

from typing import Any

import pytest

from nait_index.corpus.formats import detect_format, row_parts
from nait_index.corpus.rows import RowError
from nait_index.errors import CorpusError
from nait_index.types import Part, Role, RowFormat

S, TOOLS, U, I, A, TOOL = Role.SYSTEM, Role.TOOLS, Role.USER, Role.INPUT, Role.ASSISTANT, Role.TOOL  # noqa: E741
ALPACA, SHAREGPT, MESSAGES = RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES
PROMPT, TEXT = RowFormat.PROMPT_COMPLETION, RowFormat.TEXT
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALL_JSON = '[{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}]'

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
        {"conversation": [{"human": "a", "assistant": "b"}, {"human": "c", "assistant": "d"}]},
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
    (MESSAGES, turns({"role": "user", "content": [{"type": "image_url"}]}), "content of type 'image_url', only text"),
    (MESSAGES, turns({"role": "user", "content": ["a"]}), "a piece of content that is text, expected an object"),
    (MESSAGES, turns({"role": "user", "content": [{"type": "text", "text": 1}]}), "text content that is a number"),
    (MESSAGES, turns({"role": "user", "content": "\udfff"}), "turn 1 holds a lone surrogate (U+DFFF)"),
    (
        MESSAGES,
        turns({"role": "user", "content": "a"}) | {"tools": {"a": 1}},
        "field 'tools' is an object, expected text",
    ),
    (PROMPT, {"prompt": "a"}, "field 'completion' is missing"),
    (PROMPT, {"prompt": 1, "completion": "a"}, "field 'prompt' is a number, expected text"),
    (TEXT, {"instruction": "a"}, "field 'text' is missing"),
    (TEXT, {"text": 1.5}, "field 'text' is a number, expected text"),
    (TEXT, {"text": "  \n"}, "no text: every text field is empty"),
]


@pytest.mark.parametrize(("row_format", "row", "reason"), REFUSED)
def test_reason_of_a_refused_row(row_format: RowFormat, row: dict[str, Any], reason: str) -> None:
    """The reason names the field and what is wrong with it."""
    with pytest.raises(RowError) as refusal:
        row_parts(row, row_format)
    assert reason in str(refusal.value)


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
    ],
)
def test_detection_by_majority_then_priority(rows: list[dict[str, Any]], expected: RowFormat) -> None:
    """Most rows decide; a row with the fields of several formats, and a tie, go to the first in the order."""
    assert detect_format(rows, "rows.jsonl") == expected


def test_no_format_names_found_and_wanted_fields() -> None:
    """The message is enough to repair the file."""
    with pytest.raises(CorpusError) as error:
        detect_format([{"question": "a", "answer": "b"}], "qa.jsonl")
    message = str(error.value)
    assert message.startswith("qa.jsonl: ")
    assert "'answer', 'question'" in message
    assert "prompt and completion" in message
    assert "--format" in message
    assert "\n" not in message
