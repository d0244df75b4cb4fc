"""Selected rows that repeat one of the examples, exactly or nearly.

The question of an example (its user turns, or all of it where there are none) is compared word by word, as
:func:`nait_index.corpus.words.words` splits it.

``exact``  the question of the row has the same words as that of an example, whatever the answers
``near``   at least half of the words of the example's question are in 8-word sequences that also occur anywhere in the
           row, as in the decontamination of Tülu 3 (arXiv 2411.15124). Sequences that more than two examples share
           belong to a template and are ignored, as are words in no other sequence. An example of fewer than 8 words
           can only match exactly.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import compress, count
from typing import Any

from nait_index.corpus import asked_text, plain_text
from nait_index.corpus.words import words
from nait_index.handover.rows import ChosenRow

GRAM = 8
SHARE = 0.5
TEMPLATE = 2
_MIDDLE = GRAM // 2
RULE = (
    "exact: the row's question has the same words as an example's; near: of the words in 8-word sequences of an "
    "example's question, at least half are in sequences that also occur in the row; sequences that more than two "
    "examples share are ignored"
)

Gram = tuple[str, ...]


class Likeness(StrEnum):
    """How closely a row repeats an example."""

    EXACT = "exact"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Match:
    """The example that a row repeats.

    :param capability: the capability of the example. :param example: the number of the example there, from 1.
    """

    likeness: Likeness
    capability: str
    example: int


class Contamination:
    """Finds rows that repeat an example.

    :param asked: the questions of the examples, by capability. :param share: of an example's words, from which on a row
        is near it.
    """

    def __init__(self, asked: Mapping[str, Sequence[str]], share: float = SHARE) -> None:
        self._share = share
        self._examples = [(name, number) for name, texts in asked.items() for number in range(1, len(texts) + 1)]
        self._exact: dict[Gram, int] = {}
        for index, text in enumerate(text for texts in asked.values() for text in texts):
            if example_words := tuple(words(text)):
                self._exact.setdefault(example_words, index)
        self._by_longest: dict[str, list[frozenset[str]]] = defaultdict(list)
        for example_words in self._exact:
            self._by_longest[max(example_words, key=len)].append(frozenset(example_words))
        self._grams = _index_grams(self._exact)
        self._sieve = {(gram[0], gram[_MIDDLE], gram[-1]) for gram in self._grams}
        self._countable = {index: len(covered) for index, covered in _covered(self._grams, self._grams).items()}

    def match(self, asked: str, text: str) -> Match | None:
        """Return the example that a row repeats, or the first of those that it repeats most closely.

        :param asked: the question of the row. :param text: the whole row, which contains it.
        """
        text_words = tuple(words(text))
        if self._holds_example(set(text_words)) and (index := self._exact.get(tuple(words(asked)))) is not None:
            return Match(Likeness.EXACT, *self._examples[index])
        covered = _covered(self._grams, self._likely_grams(text_words))
        shares = {index: len(positions) / self._countable[index] for index, positions in covered.items()}
        best = max(shares, key=lambda index: (shares[index], -index), default=None)
        if best is None or shares[best] < self._share:
            return None
        return Match(Likeness.NEAR, *self._examples[best])

    def match_row(self, row: ChosenRow) -> Match | None:
        """Return the example that a row repeats, as :meth:`match` does."""
        parts = row.parts()
        return self.match(asked_text(parts), plain_text(parts))

    def find(self, rows: Iterable[ChosenRow]) -> dict[str, Match]:
        """Return the matches of the rows that repeat an example, by row id."""
        matches = ((row.id, self.match_row(row)) for row in rows)
        return {row_id: match for row_id, match in matches if match is not None}

    def watch(self, rows: Iterable[ChosenRow], matches: dict[str, Match]) -> Iterator[ChosenRow]:
        """Yield rows as they are, and put the matches of those that repeat an example into ``matches``."""
        for row in rows:
            if (match := self.match_row(row)) is not None:
                matches[row.id] = match
            yield row

    def _holds_example(self, text_words: set[str]) -> bool:
        """Return whether a text has all words of an example; one without the longest of them does not."""
        present = self._by_longest.keys() & text_words
        return any(example_words <= text_words for word in present for example_words in self._by_longest[word])

    def _likely_grams(self, text_words: Gram) -> Iterator[Gram]:
        """Yield the word sequences of a text that have three words of one of an example at the same places."""
        threes = zip(text_words, text_words[_MIDDLE:], text_words[GRAM - 1 :], strict=False)
        likely = compress(count(), map(self._sieve.__contains__, threes))
        return (text_words[start : start + GRAM] for start in likely)

    def report(self, matches: Mapping[str, Match]) -> dict[str, Any]:
        """Return counts, the rule and the rows, for a sidecar.

        :param matches: by row id.
        """
        counts = Counter(match.likeness for match in matches.values())
        rows = [{"id": row_id} | asdict(match) for row_id, match in matches.items()]
        return {str(kind): counts[kind] for kind in Likeness} | {
            "examples": len(self._examples),
            "rule": RULE,
            "rows": rows,
        }


def _index_grams(examples: Mapping[Gram, int]) -> dict[Gram, list[tuple[int, int]]]:
    """Return where each word sequence occurs, as (example, position of its first word); without those of templates."""
    occurrences: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
    for example_words, index in examples.items():
        for position, gram in enumerate(_gram_list(example_words)):
            occurrences[gram].append((index, position))
    return {gram: pairs for gram, pairs in occurrences.items() if len({index for index, _ in pairs}) <= TEMPLATE}


def _covered(grams: Mapping[Gram, list[tuple[int, int]]], present: Iterable[Gram]) -> dict[int, set[int]]:
    """Return, by example, the positions of its words that are in one of the sequences present."""
    covered: dict[int, set[int]] = defaultdict(set)
    for gram in present:
        for index, position in grams.get(gram, ()):
            covered[index].update(range(position, position + GRAM))
    return covered


def _gram_list(text_words: Gram) -> Iterable[Gram]:
    return zip(*(text_words[start:] for start in range(GRAM)), strict=False)
