"""The reasoning of answers: read wherever a row has it, dropped everywhere alike, and never lost in an export."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import manifest_of, nait_index, refusal, samples_of, write_lines

from nait_index import NaitIndex
from nait_index.config import Trainer
from nait_index.corpus.formats import row_parts
from nait_index.corpus.reasoning import segments, without_blocks
from nait_index.corpus.rows import RowError
from nait_index.corpus.templates import to_messages
from nait_index.errors import NaitError
from nait_index.handover.convert import convert
from nait_index.handover.handover import OutputOptions, hand_over
from nait_index.handover.rows import ChosenRow
from nait_index.types import Part, Reading, Reasoning, Role, RowFormat

ALPACA, SHAREGPT, MESSAGES = RowFormat.ALPACA, RowFormat.SHAREGPT, RowFormat.MESSAGES
PAIRS = RowFormat.PROMPT_COMPLETION
URAL = {"type": "text", "text": "The Ural."}
INLINE = "<think>\nIt is long.\n</think>\n\nThe Ural."


def answered(**turn: Any) -> dict[str, Any]:
    """Make a conversation whose answer has some fields."""
    return {"messages": [{"role": "user", "content": "Name a river."}, {"role": "assistant"} | turn]}


WITH_REASONING: list[tuple[RowFormat, dict[str, Any]]] = [
    (MESSAGES, answered(content="The Ural.", reasoning_content="It is long.")),
    (MESSAGES, answered(content="The Ural.", thinking="It is long.")),
    (MESSAGES, answered(content="The Ural.", reasoning="It is long.\n")),
    (MESSAGES, answered(content="The Ural.", reasoning="It is long.", reasoning_content="It is long.")),
    (MESSAGES, answered(content="The Ural.", reasoning_content=[{"type": "text", "text": "It is "}, "long."])),
    (MESSAGES, answered(content=[{"type": "thinking", "thinking": "It is long."}, URAL])),
    (MESSAGES, answered(content=[{"type": "reasoning", "text": "It is long."}, URAL])),
    (MESSAGES, answered(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "It is long."}]}, URAL])),
    (MESSAGES, answered(content=INLINE)),
    (
        SHAREGPT,
        {
            "conversations": [
                {"from": "human", "value": "Name a river."},
                {"from": "gpt", "value": "The Ural.", "reasoning_content": "It is long."},
            ]
        },
    ),
    (SHAREGPT, {"conversation": [{"human": "Name a river.", "assistant": "The Ural.", "thinking": "It is long."}]}),
    (ALPACA, {"instruction": "Name a river.", "output": "The Ural.", "reasoning": "It is long."}),
    (ALPACA, {"instruction": "Name a river.", "output": INLINE}),
    (PAIRS, {"prompt": "Name a river.", "completion": "The Ural.", "reasoning_content": "It is long."}),
]
WITH_REASONING += [
    (PAIRS, {"prompt": "Name a river.", "completion": row["messages"][1:]})
    for form, row in WITH_REASONING
    if form is MESSAGES
]


@pytest.mark.parametrize(("form", "row"), WITH_REASONING)
def test_reasoning_is_read_as_a_block_or_dropped(form: RowFormat, row: dict[str, Any]) -> None:
    """The same text whichever way a row holds it, so that the same reasoning gives the same numbers."""
    asked, answer = row_parts(row, form)
    assert (asked.text, answer.role, answer.text) == ("Name a river.", Role.ASSISTANT, INLINE)
    assert row_parts(row, form, Reading(Reasoning.DROP)) == (asked, Part(Role.ASSISTANT, "The Ural."))


@pytest.mark.parametrize("value", [True, 3, None, "on", "High", "", [], {}])
def test_a_field_that_only_says_whether_to_reason_is_not_read(value: Any) -> None:
    assert [part.text for part in row_parts(answered(content="The Ural.", reasoning=value), MESSAGES)][1] == "The Ural."


def test_an_answer_that_is_only_reasoning_is_empty_without_it() -> None:
    row = answered(content="", reasoning_content="It is long.")
    assert row_parts(row, MESSAGES)[1].text == "<think>\nIt is long.\n</think>"
    assert [part.role for part in row_parts(row, MESSAGES, Reading(Reasoning.DROP))] == [Role.USER]


def test_reasoning_in_several_places_is_read_from_all_of_them() -> None:
    pieces = [{"type": "thinking", "thinking": "First."}, URAL, {"type": "thinking", "thinking": "Second."}]
    row = answered(content=pieces, reasoning="Before that.", thinking="Before that.")
    text = "Before that.\n\nFirst.\n\nSecond."
    assert row_parts(row, MESSAGES)[1].text == f"<think>\n{text}\n</think>\n\nThe Ural."
    (*_, turn) = convert(row, MESSAGES, MESSAGES)[0]["messages"]
    assert turn == {"role": "assistant", "content": "The Ural.", "reasoning_content": text}


def test_reasoning_is_an_answers_alone() -> None:
    asked = {"role": "user", "content": [{"type": "thinking", "thinking": "Why?"}, {"type": "text", "text": "Why?"}]}
    with pytest.raises(RowError, match="turn 1 has content of type 'thinking', only text can be used"):
        row_parts({"messages": [asked]}, MESSAGES)


def test_reasoning_that_the_answer_repeats_is_read_once() -> None:
    (_, answer) = row_parts(answered(content=INLINE, reasoning_content="It is long."), MESSAGES)
    assert answer == Part(Role.ASSISTANT, INLINE)


@pytest.mark.parametrize(
    ("text", "reasoning", "rest"),
    [
        ("<think>a</think>b", "a", "b"),
        ("<think>a</think>\n\nb <think>c</think>d", "a\n\nc", "b d"),
        ("a</think>b", "a", "b"),
        ("<think>a", "a", ""),
        ("<thinking>a</thinking>b", "a", "b"),
        ("[THINK]a[/THINK]b", "a", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "a", "b"),
        (" b < think of a tag", "", " b < think of a tag"),
    ],
)
def test_blocks_of_reasoning(text: str, reasoning: str, rest: str) -> None:
    assert "\n\n".join(piece for is_reasoning, piece in segments(text) if is_reasoning) == reasoning
    assert without_blocks(Part(Role.ASSISTANT, text)).text == rest


def test_a_template_that_takes_reasoning_gets_its_field() -> None:
    """And the content without the block; a block that is written in the content stays there, as trainers render it."""
    parts = row_parts(answered(content="The Ural.", thinking="It is long."), MESSAGES)
    assert to_messages(parts, "reasoning_content")[1] == {
        "role": "assistant", "content": "The Ural.", "reasoning_content": "It is long.",
    }  # fmt: skip
    assert to_messages(row_parts(answered(content=INLINE), MESSAGES), "reasoning_content")[1]["content"] == INLINE


# ---- exports ---------------------------------------------------------------------------------------------------------


def _put(
    path: Path, row: dict[str, Any], form: RowFormat, trainer: Trainer, target: RowFormat | None
) -> dict[str, Any]:
    chosen = [ChosenRow("a", json.dumps(row), form, 5, False)]
    hand_over(
        chosen, [{"rank": 1, "id": "a", "score": 1.0}], {}, OutputOptions(path, trainers=(trainer,), format=target)
    )
    written: dict[str, Any] = json.loads(path.read_text())
    return written


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_messages_keep_the_field_and_others_get_a_block(key: str) -> None:
    row = answered(content="The Ural.", **{key: "It is long."})
    for target in (MESSAGES, PAIRS):
        (turn,) = list(convert(row, MESSAGES, target)[0].values())[-1][-1:]
        assert turn == {"role": "assistant", "content": "The Ural.", key: "It is long."}
    written, lost = convert(row, MESSAGES, SHAREGPT)
    assert written["conversations"][1] == {"from": "gpt", "value": INLINE}
    written, lost = convert(row, MESSAGES, ALPACA)
    assert (written["output"], lost) == (INLINE, frozenset())


def test_pieces_of_reasoning_and_fields_beside_an_answer_become_a_field_of_the_turn() -> None:
    pieces = answered(content=[{"type": "thinking", "thinking": "It is long."}, URAL])
    alpaca = {"instruction": "Name a river.", "output": "The Ural.", "reasoning_content": "It is long."}
    expected = answered(content="The Ural.", reasoning_content="It is long.")
    assert convert(pieces, MESSAGES, MESSAGES)[0] == convert(alpaca, ALPACA, MESSAGES)[0] == expected
    assert convert(alpaca, ALPACA, ALPACA)[0] == {"instruction": "Name a river.", "input": "", "output": INLINE}


@pytest.mark.parametrize(
    ("trainer", "form", "row", "target"),
    [
        (Trainer.LLAMAFACTORY, MESSAGES, answered(content="The Ural.", reasoning_content="It is long."), SHAREGPT),
        (Trainer.LLAMAFACTORY, ALPACA, {"instruction": "q", "output": "a", "thinking": "It is long."}, ALPACA),
        (Trainer.AXOLOTL, ALPACA, {"instruction": "q", "output": "a", "thinking": "It is long."}, MESSAGES),
        (Trainer.TRL, PAIRS, {"prompt": "q", "completion": "a", "reasoning": "It is long."}, PAIRS),
    ],
)
def test_a_trainer_that_would_pass_over_the_field_gets_no_such_row(
    trainer: Trainer, form: RowFormat, row: dict[str, Any], target: RowFormat, tmp_path: Path
) -> None:
    with pytest.raises(NaitError, match="its reasoning is in a field that would be lost; add --as "):
        _put(tmp_path / "a.jsonl", row, form, trainer, None)
    assert "It is long." in json.dumps(_put(tmp_path / "b.jsonl", row, form, trainer, target))


# ---- an index --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the same rows with their reasoning, without it, and with it written in the answers."""
    folder = tmp_path_factory.mktemp("reasoning")
    rows = [
        answered(content="The Ural.", reasoning_content=f"Long thoughts on {word}.") | {"id": word}
        for word in ("water", "stone", "trade", "maps")
    ]
    fields = write_lines(folder / "fields.jsonl", rows)
    blocks = write_lines(
        folder / "blocks.jsonl",
        [answered(content=row_parts(row, MESSAGES)[1].text) | {"id": row["id"]} for row in rows],
    )
    for name, corpus, options in (
        ("keep", fields, []), ("drop", fields, ["--reasoning", "drop"]), ("blocks", blocks, []),
    ):  # fmt: skip
        ran = nait_index("build", folder / name, corpus, "--device", "cpu", "--template", "text", *options)
        assert ran.code == 0, ran.err
    return {name: folder / name for name in ("keep", "drop", "blocks")}


def _tokens(root: Path) -> list[int]:
    return [row["n_tokens"] for _, row in sorted(samples_of(root).items())]


def test_an_index_reads_reasoning_or_not(indexes: dict[str, Path]) -> None:
    keep, drop = samples_of(indexes["keep"]), samples_of(indexes["drop"])
    assert _tokens(indexes["keep"]) == _tokens(indexes["blocks"])
    assert len(set(_tokens(indexes["drop"]))) == 1
    assert max(_tokens(indexes["drop"])) < min(_tokens(indexes["keep"]))
    assert len({row["content_hash"] for row in drop.values()}) == len(drop)
    assert {name: row["row"] for name, row in keep.items()} == {name: row["row"] for name, row in drop.items()}


def test_the_choice_is_recorded_and_held(indexes: dict[str, Path], tmp_path: Path) -> None:
    assert manifest_of(indexes["drop"]).fingerprint.reasoning == "drop"
    corpus = indexes["drop"].parent / "fields.jsonl"
    assert "reasoning (drop here, keep there)" in refusal(
        "build", indexes["drop"], corpus, "--device", "cpu", "--reasoning", "keep"
    )
    index = NaitIndex(indexes["drop"])
    rows = [json.loads(line) for line in corpus.read_text().splitlines()][:2]
    capability = index.make_capability_from(rows, "rivers")
    assert [text.count("thoughts") for text in capability.examples.texts] == [0, 0]
    assert not any("thoughts" in text for text in index.columns.texts())
    assert all("thoughts" in text for text in NaitIndex(indexes["keep"]).columns.texts())
