"""An index whose rows, sources and capabilities are as hostile to a page as text can be, for the tests of reports."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers import build_small, small_rows, write_lines

if TYPE_CHECKING:
    from nait_index import NaitIndex

HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">{{ 7 * 7 }}<b>bold</b>'
SOURCE = '<img src="http://example.invalid/x.png" onerror="window.hacked = 3">'
NAME = "<svg onload=window.hacked=4>"
SUMS = "sums"


def rows(count: int) -> list[dict[str, Any]]:
    """Make rows of three sources: sums, words, and every fifth a hostile one; each with a language in ``meta``."""
    made = small_rows(count)
    for number, row in enumerate(made):
        is_hostile = number % 5 == 0
        row["source"] = SOURCE if is_hostile else "sums" if number % 2 else "words"
        row["meta"] = {"lang": "en" if number % 3 else "de", "level": number % 7 / 2}
        if is_hostile:
            row["output"] = f"{HOSTILE} {number}"
    made[4]["output"] = "\u202e turned, \u2028 a line, \x07 a bell"
    return made


def hostile_index(folder: Path, count: int = 80) -> "NaitIndex":
    """Build it, with a rejected row, and store two capabilities: sums, and one with a hostile name."""
    lines = [*(json.dumps(row) for row in rows(count)), '{"instruction": 3, "output": "x"}']
    index = build_small(folder / "h.nait", write_lines(folder / "corpus.jsonl", lines), shard=32)
    examples = [row | {"id": f"e{row['id']}"} for row in small_rows(24, first=1000)]
    index.add_capability(SUMS, write_lines(folder / "sums.jsonl", examples[1::2]))
    with pytest.MonkeyPatch.context() as patch:  # an index of somebody else may hold any name
        patch.setattr("nait_index.capabilities.library.parse_capability_name", str)
        index.add_capability(NAME, write_lines(folder / "words.jsonl", examples[::2]))
    return index
