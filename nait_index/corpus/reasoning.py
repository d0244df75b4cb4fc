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


def segments(text: str) -> list[tuple[bool, str]]:
    """Split an answer into its reasoning and the rest, in reading order, each with whether it is reasoning.

    Some answers are written without the opening mark, which the prompt holds, and some end before the closing one.
    """
    pieces, end = [], 0
    for block in _BLOCK.finditer(text):
        pieces += [(False, text[end : block.start()]), (True, next(filter(None, block.groups()[1:]), ""))]
        end = block.end()
    rest = text[end:]
    if closing := _CLOSE.search(rest):
        pieces += [(True, rest[: closing.start()]), (False, rest[closing.end() :])]
    elif opening := _OPEN.match(rest):
        pieces.append((True, rest[opening.end() :]))
    else:
        pieces.append((False, rest))
    return pieces


def without_blocks(part: Part) -> Part:
    """Return a part without the blocks of reasoning in its text; only answers, and text without roles, have any."""
    match part.role:
        case Role.ASSISTANT:
            pieces = segments(part.text)
            answer = "".join(text for is_reasoning, text in pieces if not is_reasoning)
            return Part(part.role, answer.lstrip() if len(pieces) > 1 else answer)
        case Role.TEXT:
            return Part(part.role, _BLOCK.sub("", part.text))
        case _:
            return part
