"""Text that somebody pasted -> raw rows: JSON in any of its layouts, or plain text.

What begins like JSON is read as a list of objects, as JSON lines, or as objects spread over lines, one after another.
Anything else is plain text: blocks with blank lines between them, a row each.
"""

import io
import json
import re
from collections.abc import Iterator

from nait_index.corpus.json_rows import json_rows
from nait_index.corpus.rows import RawRow, parse_row, to_json
from nait_index.types import Origin, Rejected

_JSON = re.compile(r'\s*(?:\[\s*(?:[{\]"]|$)|\{\s*(?:["}]|$))')
_BETWEEN_BLOCKS = re.compile(r"\n(?:[ \t]*\n)+")


def pasted_rows(text: str, name: str) -> Iterator[RawRow | Rejected]:
    """Read pasted text.

    :param name: what it is called in messages and origins.
    :raises CorpusError: it begins like a JSON list, and is not a valid one.
    """
    text = text.replace("\r\n", "\n").removeprefix("\ufeff")
    if not _JSON.match(text):
        return _blocks(text, name)
    spread = _objects(text)
    if spread is None:
        return json_rows(io.BytesIO(text.encode("utf-8", "surrogatepass")), name)
    return (parse_row(Origin(name, number), own) for number, own in enumerate(spread, start=1))


def _blocks(text: str, name: str) -> Iterator[RawRow | Rejected]:
    blocks = (block.strip() for block in _BETWEEN_BLOCKS.split(text))
    for number, block in enumerate(filter(None, blocks), start=1):
        yield parse_row(Origin(name, number), to_json({"text": block}))


def _objects(text: str) -> list[str] | None:
    """Give the objects that a text consists of where one of them is spread over lines; ``None`` for anything else."""
    if text.lstrip().startswith("[") or _is_whole(text.lstrip().partition("\n")[0]):
        return None
    decoder, found, at = json.JSONDecoder(), [], 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(text[at:end])
        at = end
    return found


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
