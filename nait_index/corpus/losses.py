"""Which parts of a row a template leaves out of the text it renders.

Every part is looked for in the text. Templates may strip it, change its case, spacing or punctuation, and write it as
JSON, as a Python literal or for HTML; none of that is a loss. So where a part is not there as it is, letters and digits
alone are compared, before and after undoing the escapes.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence

from nait_index.corpus.reasoning import segments
from nait_index.types import Part, Role

KINDS: Mapping[Role, str] = {
    Role.SYSTEM: "system turns",
    Role.TOOLS: "tool definitions",
    Role.USER: "user turns",
    Role.INPUT: "inputs",
    Role.ASSISTANT: "answers",
    Role.TOOL: "tool turns",
    Role.TEXT: "text",
}
REASONING = "reasoning"

_PARTLY = 12
"""Letters of the beginning or end of a part by which it counts as there in part."""
_HUGE = 1_000_000  # characters
_MOST_COMPARED = 2**30
"""Pieces times characters up to which every piece is looked for in the whole text; more would take seconds."""
_NO_LETTERS = re.compile(r"[\W_]+")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrtbf])|(.))", re.DOTALL)


def left_out(parts: Sequence[Part], text: str) -> tuple[tuple[str, ...], bool]:
    """Return the kinds of parts that a text leaves out, whole or in part, and whether nothing of the row is in it."""
    pieces = [piece for part in parts for piece in _pieces(part) if piece[1].strip()]
    if _in_order([piece.strip() for _, piece in pieces], text):
        return (), False
    total = len(pieces)
    pieces, text = _without_huge(pieces, text)
    letters = [_letters(piece) for _, piece in pieces]
    unescaped = _ESCAPED.sub(_plain, text)
    views = [_letters(view) for view in dict.fromkeys((text, unescaped, html.unescape(text), html.unescape(unescaped)))]
    whole = text + html.unescape(unescaped)
    signs = [number for number, piece in enumerate(letters) if not piece and not _is_in(pieces[number][1], whole)]
    if not signs and any(_in_order(letters, view) for view in views):
        return (), False
    missing, rest = min((_unplaced(letters, view) for view in views), key=lambda result: len(result[0]))
    missing = sorted({*missing, *signs})
    kinds = []
    for number in missing:
        piece, kind = letters[number], pieces[number][0]
        some = len(piece) > 2 * _PARTLY and (piece[:_PARTLY] in rest or piece[-_PARTLY:] in rest)
        kinds.append(f"part of {kind}" if some else kind)
    nothing = len(missing) == total and not any(kind.startswith("part of ") for kind in kinds)
    return tuple(dict.fromkeys(kinds)), nothing


def _pieces(part: Part) -> list[tuple[str, str]]:
    """Split a part where a template may: an answer into its reasoning and the rest."""
    if part.role is not Role.ASSISTANT:
        return [(KINDS[part.role], part.text)]
    return [(REASONING if is_reasoning else KINDS[part.role], text) for is_reasoning, text in segments(part.text)]


def _without_huge(pieces: list[tuple[str, str]], text: str) -> tuple[list[tuple[str, str]], str]:
    """Take huge pieces that are there as they are out of a text: to compare their letters would take long."""
    left = []
    for kind, piece in pieces:
        if len(piece) > _HUGE and piece.strip() in text:
            text = text.replace(piece.strip(), "\0", 1)
        else:
            left.append((kind, piece))
    return left, text


def _is_in(signs: str, text: str) -> bool:
    """Return whether a piece without letters, such as an emoji, is in a text, as it is or as JSON in ASCII."""
    return signs.strip() in text or json.dumps(signs.strip())[1:-1] in text


def _in_order(pieces: Sequence[str], text: str) -> bool:
    """Return whether a text holds all pieces one after another."""
    start = 0
    for piece in pieces:
        start = text.find(piece, start)
        if start < 0:
            return False
        start += len(piece)
    return True


def _unplaced(pieces: Sequence[str], text: str) -> tuple[list[int], str]:
    """Return the numbers of the pieces that have no place of their own in a text, and the text without the others.

    Long pieces are placed first: a short one is often contained in a long one. Of very many pieces, each is looked for
    behind the one before it only.
    """
    missing, start = [], 0
    if len(pieces) * len(text) > _MOST_COMPARED:
        for number, piece in enumerate(pieces):
            position = text.find(piece, start)
            start = position + len(piece) if position >= 0 else start
            missing += [number] if position < 0 else []
        return missing, ""
    for number in sorted(range(len(pieces)), key=lambda number: -len(pieces[number])):
        if pieces[number] not in text:
            missing.append(number)
        elif pieces[number]:
            text = text.replace(pieces[number], "\0", 1)
    return sorted(missing), text


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text).casefold()


def _plain(escape: re.Match[str]) -> str:
    """Undo one escape of JSON or Python."""
    code = escape[1] or escape[2]
    return chr(int(code, 16)) if code else " " if escape[3] else escape[4]
