"""The reasoning of an answer: a field of its turn, pieces of its content, or a block marked inside its text.

Kept, a field or piece becomes a ``<think>`` block before the answer, unless the chat template takes reasoning itself.
Dropped, blocks inside the text go as well, so that the same reasoning is left out wherever a row has it.
"""

import re
from collections.abc import Mapping
from typing import Any

from nait_index.types import Part, Role

FIELDS = ("reasoning_content", "reasoning", "thinking")
"""Names of a field of reasoning, in a turn or beside the answer of a row without turns."""

PIECES = ("thinking", "reasoning")
"""Types of a piece of content that is reasoning."""

_TEXT_KEYS = ("text", "thinking", "reasoning", "reasoning_content", "content", "summary")
# Some corpora have a field of this name that says whether, or how much, a model was to reason.
_SWITCHES = frozenset("on off true false yes no none auto minimal low medium high enabled disabled".split())
_BLOCK = re.compile(
    r"<(think|thinking|thought|reasoning|seed:think)>(?P<tagged>.*?)</\1>"
    r"|\[THINK\](?P<bracketed>.*?)\[/THINK\]"
    r"|<\|begin_of_thought\|>(?P<thought>.*?)<\|end_of_thought\|>"
    r"|◁think▷(?P<kimi>.*?)◁/think▷",
    re.DOTALL,
)
_OPEN = re.compile(r"\s*(?:<(?:think|thinking)>|\[THINK\])", re.DOTALL)
_CLOSE = re.compile(r"</(?:think|thinking)>|\[/THINK\]")


def reasoning_of(fields: Mapping[str, Any]) -> str:
    """Return the reasoning in the fields of a turn, or an empty text; each text once, where several fields hold it."""
    texts = (reasoning_text(fields[name]) for name in FIELDS if name in fields)
    return "\n\n".join(dict.fromkeys(text for text in texts if text.strip()))


def reasoning_text(value: object) -> str:
    """Return the text of a field or piece of reasoning: text, a list of pieces, or an object that holds either."""
    if isinstance(value, str):
        return "" if value.strip().lower() in _SWITCHES else value
    if isinstance(value, list):
        return "".join(map(reasoning_text, value))
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := reasoning_text(value.get(key))).strip()), "")
    return ""


def inlined(reasoning: str, answer: str) -> str:
    """Put reasoning before an answer as a block, unless it is empty or the answer repeats it."""
    if not reasoning.strip() or reasoning.strip() in answer:
        return answer
    block = reasoning if _BLOCK.match(reasoning.lstrip()) else f"<think>\n{reasoning.strip()}\n</think>"
    return f"{block}\n\n{answer}" if answer.strip() else block


def split_blocks(text: str) -> tuple[str, str]:
    """Split an answer into the reasoning in its blocks and the rest.

    Some answers are written without the opening mark, which the prompt holds, and some end before the closing one.
    """
    blocks = (block.groupdict().values() for block in _BLOCK.finditer(text))
    reasoning = [next(inner for inner in inners if inner is not None) for inners in blocks]
    rest = _BLOCK.sub("", text) if reasoning else text
    if closing := _CLOSE.search(rest):
        reasoning.append(rest[: closing.start()])
        rest = rest[closing.end() :]
    elif opening := _OPEN.match(rest):
        reasoning.append(rest[opening.end() :])
        rest = ""
    return "\n\n".join(reasoning), rest.lstrip() if reasoning else rest


def without_blocks(part: Part) -> Part:
    """Return a part without the blocks of reasoning in its text; only answers, and text without roles, have any."""
    match part.role:
        case Role.ASSISTANT:
            return Part(part.role, split_blocks(part.text)[1])
        case Role.TEXT:
            return Part(part.role, _BLOCK.sub("", part.text))
        case _:
            return part
