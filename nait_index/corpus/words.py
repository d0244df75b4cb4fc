r"""Text -> words, in every script.

A word is a run of letters, digits, underscores and combining marks, case-folded after NFKC. ``\w`` alone would split
Indic and Arabic words at every vowel sign, which Unicode counts as a mark. In scripts without spaces between words
(Chinese, Japanese, Thai, Lao, Burmese, Khmer) every character is a word: runs of those are whole clauses, which hardly
ever occur twice.
"""

import re
import unicodedata
from functools import cache
from itertools import pairwise

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"  # Japanese syllables, Bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MARKS_END = 0x10000
"""Scripts beyond are rare, and would make Python's regular expressions ten times slower."""
_INVISIBLE = frozenset("\u115f\u1160\u2800\u3164\ufe0e\ufe0f\uffa0")
"""Fillers, the empty pattern of Braille, and what chooses a form of the character before: not spaces in Unicode."""
_JOINERS = "\u200c\u200d"  # zero-width, inside words of Persian and Indic scripts


def words(text: str) -> list[str]:
    """Return the words of a text in their order."""
    unspaced, run = _patterns()
    text = unicodedata.normalize("NFKC", text).casefold()
    if not text.isascii():
        text = unspaced.sub(r" \g<0> ", text)
    return run.findall(text)


def terms(text: str) -> list[str]:
    """Return the words of a text and, in scripts without spaces, every two neighbouring characters as well."""
    singles = words(text)
    if text.isascii():
        return singles
    unspaced, _ = _patterns()
    pairs = (first + second for first, second in pairwise(singles) if unspaced.match(first) and unspaced.match(second))
    return [*singles, *pairs]


def is_visible(text: str) -> bool:
    """Return whether a text has a character that can be seen, and is not only spaces of no width and the like."""
    return any(
        not (character.isspace() or character in _INVISIBLE or unicodedata.category(character) in ("Cc", "Cf"))
        for character in text
    )


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a word in a script without spaces, and of any word, both with the marks that follow."""
    characters = (chr(code) for code in range(_MARKS_END) if unicodedata.category(chr(code)).startswith("M"))
    marks = re.escape("".join(characters) + _JOINERS)
    return re.compile(rf"[{_UNSPACED}][{marks}]*"), re.compile(rf"[\w{marks}]+")
