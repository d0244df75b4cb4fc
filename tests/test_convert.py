"""Rows in another shape: the same conversation, all else kept, and what has no place refused with a reason."""

import json
from typing import Any

import pytest
from helpers import convert_rows
from hypothesis import given
from hypothesis import strategies as st

from nait_index.corpus.rows import RowError
from nait_index.errors import NaitError
from nait_index.handover.conversation import Turn, read_conversation
from nait_index.handover.convert import TARGETS, convert
from nait_index.handover.rows import ChosenRow
from nait_index.types import Role, RowFormat

ALPACA, SHAREGPT, MESSAGES = RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES
PAIRS = RowFormat.PROMPT_COMPLETION

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome", "days": 2}}}
TOOLS = {
    "id": "t",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Rome?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": '{"sky": "clear"}', "tool_call_id": "c1"},
        {"role": "assistant", "content": "Clear."},
    ],
    "tools": [WEATHER],
    "source": "made",
}


def _to(row: dict[str, Any], source: RowFormat, target: RowFormat) -> dict[str, Any]:
    return convert(row, source, target)[0]


def _said(row: dict[str, Any], form: RowFormat) -> tuple[tuple[Turn, ...], tuple[dict[str, Any], ...]]:
    conversation = read_conversation(row, form)
    return conversation.turns, conversation.tools


# ---- one shape to another --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"input": "1 and 2"}, {"input": ""}, {}, {"input": None, "history": []}])
def test_alpaca_that_is_so_already_stays_byte_for_byte(more: dict[str, Any]) -> None:
    text = json.dumps({"instruction": "Add."} | more | {"output": "3", "lang": "en"}, separators=(",", ":"))
    rows, refused, lost = convert_rows([ChosenRow("a", text, ALPACA, 5, False)], ALPACA)
    assert ([row.text for row in rows], refused, lost) == ([text], [], {})
    other = {"instruction": "Add.", "context": "1 and 2", "response": "3"}
    assert _to(other, ALPACA, ALPACA) == {"instruction": "Add.", "input": "1 and 2", "output": "3"}


def test_alpaca_becomes_messages() -> None:
    row = {"id": 7, "instruction": "Add.", "input": "1 and 2", "output": "3", "system": "Be exact.", "lang": "en"}
    assert _to(row, ALPACA, MESSAGES) == {
        "id": 7,
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Add.\n1 and 2"},
            {"role": "assistant", "content": "3"},
        ],
        "lang": "en",
    }


def test_history_stands_before_the_question() -> None:
    row = {"instruction": "And 2?", "output": "4", "history": [["Double 1", "2"], ["Again", "2"]]}
    turns = _to(row, ALPACA, SHAREGPT)["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * 3
    assert [turn["value"] for turn in turns] == ["Double 1", "2", "Again", "2", "And 2?", "4"]
    assert _to({"conversations": turns}, SHAREGPT, ALPACA) == row | {"input": ""}


def test_a_prompt_is_all_before_the_last_answer() -> None:
    made = _to(TOOLS, MESSAGES, PAIRS)
    assert made["prompt"] == TOOLS["messages"][:-1]
    assert made["completion"] == TOOLS["messages"][-1:]
    assert made["tools"] == [WEATHER]
    assert _to(made, PAIRS, MESSAGES) == TOOLS


def test_prompts_of_text_become_lists_too() -> None:
    """Both kinds cannot stand in one column."""
    made = _to({"prompt": "a", "completion": "b"}, PAIRS, PAIRS)
    assert made == {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]}


def test_calls_of_tools_are_turns_of_their_own_in_sharegpt() -> None:
    made = _to(TOOLS, MESSAGES, SHAREGPT)
    assert [turn["from"] for turn in made["conversations"]] == [
        "system",
        "human",
        "function_call",
        "observation",
        "gpt",
    ]
    call = json.loads(made["conversations"][2]["value"])
    assert call == {"name": "weather", "arguments": {"city": "Rome", "days": 2}, "id": "c1"}
    assert json.loads(made["tools"]) == [WEATHER["function"]]
    assert _to(made, SHAREGPT, MESSAGES) == TOOLS


@pytest.mark.parametrize(
    "call",
    [
        {"tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"function_call": {"name": "f", "arguments": '{"a": 1}'}},
        {"tool_calls": [{"name": "f", "arguments": {"a": 1}}]},
    ],
)
def test_calls_are_read_in_every_spelling(call: dict[str, Any]) -> None:
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": None} | call]}
    made = _to(row, MESSAGES, MESSAGES)["messages"][1]
    assert made["tool_calls"] == [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]


def test_roles_are_mapped_from_every_name() -> None:
    turns = [("developer", "s"), ("human", "a"), ("chatbot", "b"), ("user", "c"), ("model", "d")]
    row = {"conversations": [{"role": role, "content": text} for role, text in turns]}
    made = _to(row, SHAREGPT, MESSAGES)["messages"]
    assert [turn["role"] for turn in made] == ["system", "user", "assistant", "user", "assistant"]


def test_of_turns_in_pairs_nothing_is_left_out() -> None:
    row = {
        "conversation": [{"human": "a", "assistant": "", "weight": 0.5}, {"system": "", "human": "b", "assistant": "c"}]
    }
    assert _to(row, SHAREGPT, MESSAGES)["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "weight": 0.5},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": "c"},
    ]


def test_turns_in_pairs_and_content_in_pieces_are_read() -> None:
    paired = {"conversation": [{"user": "a", "assistant": "b"}], "system": "s"}
    pieces = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": "b"},
        ]
    }
    made = _to(paired, SHAREGPT, MESSAGES)
    assert [turn["content"] for turn in made["messages"]] == ["s", "a", "b"]
    assert "conversation" not in made
    assert "system" not in made
    assert [turn["content"] for turn in _to(pieces, MESSAGES, MESSAGES)["messages"]] == ["a", "b"]


def test_the_order_of_columns_is_kept_and_none_is_overwritten() -> None:
    row = {
        "prompt_id": "p",
        "prompt": "other",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        "z": 1,
    }
    made = _to(row, MESSAGES, PAIRS)
    assert list(made) == ["prompt_id", "original_prompt", "prompt", "completion", "z"]
    assert made["original_prompt"] == "other"


def test_what_turns_hold_besides_is_kept_where_it_can_be() -> None:
    row = {
        "conversations": [{"from": "human", "value": "a", "weight": None}, {"from": "gpt", "value": "b", "weight": 0}]
    }
    assert _to(row, SHAREGPT, MESSAGES)["messages"][1] == {"role": "assistant", "content": "b", "weight": 0}
    made, lost = convert(row, SHAREGPT, ALPACA)
    assert made == {"instruction": "a", "input": "", "output": "b"}
    assert lost == {"weight"}


def test_a_field_with_the_name_of_a_key_of_the_target_never_takes_its_place() -> None:
    """It stays where there is room for it, and is counted where there is none."""
    turns = [{"from": "human", "value": "a", "role": "expert"}, {"from": "gpt", "value": "b"}]
    row = {"conversations": [{"role": "user", "content": "a", "value": 0.5}, {"role": "assistant", "content": "b"}]}
    assert _to(row, SHAREGPT, MESSAGES)["messages"][0] == {"role": "user", "content": "a", "value": 0.5}
    made, lost = convert(row, SHAREGPT, SHAREGPT)
    assert (made["conversations"][0], lost) == ({"from": "human", "value": "a"}, {"value"})
    # The first key that is known names the role, as when rows are read.
    with pytest.raises(RowError, match="unknown role"):
        convert({"conversations": turns}, SHAREGPT, SHAREGPT)


def test_a_call_keeps_all_that_it_holds() -> None:
    call = {
        "id": "c",
        "type": "custom",
        "index": 0,
        "function": {"name": "f", "arguments": {"a": None}, "strict": True},
    }
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [call]}]}
    assert _to(row, MESSAGES, MESSAGES) == row
    value = json.loads(_to(row, MESSAGES, SHAREGPT)["conversations"][1]["value"])
    assert value == {"name": "f", "arguments": {"a": None}, "strict": True, "id": "c", "index": 0, "type": "custom"}


# ---- what is refused -------------------------------------------------------------------------------------------------


def _messages(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": role} for role in roles]}


@pytest.mark.parametrize(
    ("row", "source", "target", "reason"),
    [
        ({"text": "a"}, RowFormat.TEXT, MESSAGES, "plain text has no turns"),
        (TOOLS, MESSAGES, ALPACA, "it calls tools"),
        (_messages("user", "user", "assistant"), MESSAGES, SHAREGPT, "turn 2 has the role user"),
        (_messages("user", "user", "assistant"), MESSAGES, ALPACA, "alternate between question and answer"),
        (_messages("system", "assistant", "user"), MESSAGES, SHAREGPT, "turn 2 has the role assistant"),
        (_messages("user", "assistant", "user"), MESSAGES, SHAREGPT, "does not end with an answer"),
        (_messages("user", "assistant", "user"), MESSAGES, PAIRS, "does not end with an answer"),
        (_messages("system", "assistant"), MESSAGES, PAIRS, "nothing is asked"),
        (_messages("user", "system", "assistant"), MESSAGES, SHAREGPT, "turn 2 has the role system"),
        ({"instruction": "a"}, ALPACA, PAIRS, "does not end with an answer"),
        (
            {
                "messages": [
                    {"role": "user", "content": "a", "images": ["a.png"]},
                    {"role": "assistant", "content": "b"},
                ]
            },
            MESSAGES,
            ALPACA,
            "turn 1 holds images, video or audio",
        ),
        (_messages("user", "narrator"), MESSAGES, MESSAGES, "unknown role"),
        ({"messages": []}, MESSAGES, MESSAGES, "has no turns"),
        ({"conversations": [{"from": "function_call", "value": "{"}]}, SHAREGPT, MESSAGES, "turn 1 is a call"),
        (_messages("user", "assistant") | {"tools": "["}, MESSAGES, SHAREGPT, "'tools' is not JSON"),
        ({"instruction": 3, "output": "a"}, ALPACA, MESSAGES, "a number, expected text"),
    ],
)
def test_what_has_no_place_is_refused(row: dict[str, Any], source: RowFormat, target: RowFormat, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert(row, source, target)


def test_text_beside_a_call_has_no_place_in_sharegpt() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "wait", "tool_calls": [CALL]}]
    with pytest.raises(RowError, match="turn 2 has both text and a call of a tool"):
        convert({"messages": turns}, MESSAGES, SHAREGPT)


def test_nothing_becomes_plain_text() -> None:
    with pytest.raises(NaitError, match="cannot be converted to 'text'"):
        convert(_messages("user", "assistant"), MESSAGES, RowFormat.TEXT)


# ---- there and back --------------------------------------------------------------------------------------------------

_words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
_json_objects = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.integers() | st.text("xyz", max_size=3), max_size=3
)
_calls = st.builds(
    lambda name, arguments: {"type": "function", "function": {"name": name, "arguments": arguments}},
    st.sampled_from(["f", "g"]),
    _json_objects,
)
_answers = st.builds(lambda text: {"role": "assistant", "content": text}, _words)
_asked = st.builds(lambda text: {"role": "user", "content": text}, _words)
_plain = st.lists(st.tuples(_asked, _answers), min_size=1, max_size=3).map(
    lambda pairs: [turn for pair in pairs for turn in pair]
)
_with_tools = st.builds(
    lambda first, call, result, last: [
        first,
        {"role": "assistant", "content": "", "tool_calls": call},
        {"role": "tool", "content": result},
        last,
    ],
    _asked,
    st.lists(_calls, min_size=1, max_size=2),
    _words,
    _answers,
)
_system = st.none() | st.builds(lambda text: {"role": "system", "content": text}, _words)
_rows = st.builds(
    lambda system, turns, more: {"messages": [system, *turns] if system else turns} | more,
    _system,
    st.one_of(_plain, _with_tools),
    st.fixed_dictionaries({}, optional={"id": _words, "tools": st.just([WEATHER]), "prompt_of": _words}),
)


@given(row=_rows, through=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=3))
def test_the_conversation_survives_every_way(row: dict[str, Any], through: list[RowFormat]) -> None:
    """Whatever shapes it goes through that have a place for it, and back, it is the same row."""
    made, form = row, MESSAGES
    for target in (*through, MESSAGES):
        try:
            made, form = _to(made, form, target), target
        except RowError:
            assert target is ALPACA
            assert any("tool_calls" in turn for turn in row["messages"])
            return
        assert _said(made, form) == _said(row, MESSAGES)
        assert {name: made[name] for name in ("id", "prompt_of") if name in row} == {
            name: row[name] for name in ("id", "prompt_of") if name in row
        }
    assert made == row


# ---- many rows -------------------------------------------------------------------------------------------------------


def test_rows_that_are_so_already_stay_byte_for_byte() -> None:
    text = '{ "messages":[{"role":"user","content":"\\u00e9"},{"role":"assistant","content":"b"}] , "n":1.50}'
    chosen = [ChosenRow("a", text, MESSAGES, 3, False)]
    for target in (None, MESSAGES):
        done, refused, lost = convert_rows(chosen, target)
        assert [row.text for row in done] == [text]
        assert (refused, lost) == ([], {})


def test_refused_rows_are_counted_and_none_is_lost() -> None:
    rows = [_messages("user", "assistant"), _messages("assistant"), {"text": "a"}]
    forms = [MESSAGES, MESSAGES, RowFormat.TEXT]
    chosen = [
        ChosenRow(str(number), json.dumps(row), form, 1, False)
        for number, (row, form) in enumerate(zip(rows, forms, strict=True))
    ]
    done, refused, _ = convert_rows(chosen, ALPACA)
    assert [(row.id, row.number, row.format) for row in done] == [("0", 0, ALPACA)]
    assert [(row.id, row.number) for row in refused] == [("1", 1), ("2", 2)]
    assert all(row.reason for row in refused)


def test_a_system_turn_is_a_turn_of_the_system() -> None:
    assert read_conversation(TOOLS, MESSAGES).turns[0] == Turn(Role.SYSTEM, "Be brief.")
