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
_LINE = "↵"
"""Begins the term of a line's beginning, followed by the spaces there, as no word or run of marks is."""

_NO_WORDS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
"""Replaces what belongs to no word in ASCII."""
_LATIN = frozenset(map(chr, range(0x250)))

_LINE_BEGINNING = re.compile(r"\n([ \t]{0,16})")
_JOINERS = "\u200c\u200d"  # zero-width, inside words of Persian and Indic scripts


def words(text: str) -> list[str]:
    """Return the words of a text in their order."""
    if text.isascii():  # the same words as below, in half the time
        return text.casefold().translate(_NO_WORDS).split()
    unspaced, run, _ = _patterns()
    text = unicodedata.normalize("NFKC", text).casefold()
    if any(map(unspaced.match, set(text) - _LATIN)):  # few characters are looked up, where each place would be searched
        text = " ".join(unspaced.split(text))
    return run.findall(text)


def terms(text: str) -> list[str]:
    """Return what a text is made of, whatever its script: its words, its marks, and how its lines begin.

    Marks are runs of punctuation and symbols; a line's beginning is a line break with the spaces that follow. In
    scripts without spaces, every two neighbouring characters are a term as well.
    """
    singles, (unspaced, _, mark) = words(text), _patterns()
    marks = mark.findall(unicodedata.normalize("NFKC", text))
    lines = [_LINE + spaces for spaces in _LINE_BEGINNING.findall(text)]
    if text.isascii():
        return [*singles, *marks, *lines]
    pairs = [one + two for one, two in pairwise(singles) if unspaced.match(one) and unspaced.match(two)]
    return [*singles, *pairs, *marks, *lines]


def is_visible(text: str) -> bool:
    """Return whether a text has a character that can be seen, and is not only spaces of no width and the like."""
    if text[:1].isascii() and text[:1].isalnum():
        return True
    return any(
        not (character.isspace() or character in _INVISIBLE or unicodedata.category(character) in ("Cc", "Cf"))
        for character in text
    )


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a word in a script without spaces, of any word, and of a run of punctuation and symbols.

    Combining marks belong to the word that they follow. The first is a group, so that splitting a text keeps its words.
    """
    characters = (chr(code) for code in range(_MARKS_END) if unicodedata.category(chr(code)).startswith("M"))
    marks = re.escape("".join(characters) + _JOINERS)
    return re.compile(rf"([{_UNSPACED}][{marks}]*)"), re.compile(rf"[\w{marks}]+"), re.compile(rf"[^\w\s{marks}]+")
