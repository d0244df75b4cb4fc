"""Chosen rows that are the examples themselves, or nearly.

What an example asks (its user turns; all of it where there are none) is compared word by word, as
:func:`nait_index.corpus.words.words` splits it.

``exact``  the row asks the same words as an example, whatever the answers
``near``   at least half of the words that an example asks stand in 8-word sequences which the row has too, anywhere in
           it, as Tülu 3 decontaminates (arXiv 2411.15124). Sequences that more than two examples have in common are
           of their template and count for nothing, nor do words that stand in no other; an example of fewer than 8
           words can only be met exactly.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nait_index.corpus import asked_text, plain_text
from nait_index.corpus.formats import row_parts
from nait_index.corpus.words import words
from nait_index.handover.rows import ChosenRow

GRAM = 8
SHARE = 0.5
TEMPLATE = 2
RULE = (
    "exact: the row asks the same words as an example; near: of the words that an example asks in 8-word sequences, "
    "at least half stand in sequences that the row has too, sequences that more than two examples share not counted"
)

Gram = tuple[str, ...]


class Likeness(StrEnum):
    """How a row is like an example."""

    EXACT = "exact"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Match:
    """The example that a row is most like.

    :param capability: whose example it is; :param example: its number, from 1.
    """

    likeness: Likeness
    capability: str
    example: int

    def to_dict(self) -> dict[str, Any]:
        """Give it for a sidecar."""
        return {"likeness": str(self.likeness), "capability": self.capability, "example": self.example}


class Contamination:
    """Finds rows that are like some examples.

    :param asked: what each example asks, by capability.
    """

    def __init__(self, asked: Mapping[str, Sequence[str]]) -> None:
        self._places = [(name, at) for name, texts in asked.items() for at in range(1, len(texts) + 1)]
        examples = [tuple(words(text)) for texts in asked.values() for text in texts]
        self._exact: dict[Gram, int] = {}
        for number, example in enumerate(examples):
            if example:
                self._exact.setdefault(example, number)
        self._grams, self._countable = _index({number: example for example, number in self._exact.items()})

    def __len__(self) -> int:
        return len(self._places)

    def match(self, asked: str, text: str) -> Match | None:
        """Compare one row.

        :param asked: what it asks. :param text: all that it says.
        """
        if (number := self._exact.get(tuple(words(asked)))) is not None:
            return Match(Likeness.EXACT, *self._places[number])
        covered: dict[int, set[int]] = defaultdict(set)
        for gram in set(_gram_list(tuple(words(text)))) & self._grams.keys():
            for number, at in self._grams[gram]:
                covered[number].update(range(at, at + GRAM))
        shares = {number: len(own) / self._countable[number] for number, own in covered.items()}
        best = max(shares, key=lambda own: (shares[own], -own), default=None)
        if best is None or shares[best] < SHARE:
            return None
        return Match(Likeness.NEAR, *self._places[best])

    def find(self, rows: Iterable[ChosenRow]) -> dict[str, Match]:
        """Give the match of every row that is like an example, by its id."""
        found = {}
        for row in rows:
            parts = row_parts(json.loads(row.row), row.format)
            match = self.match(asked_text(parts), plain_text(parts))
            if match is not None:
                found[row.id] = match
        return found

    def report(self, found: Mapping[str, Match]) -> dict[str, Any]:
        """Give counts, the rule and the rows, for a sidecar.

        :param found: by the rows' ids.
        """
        counts = Counter(own.likeness for own in found.values())
        rows = [{"id": sample_id} | own.to_dict() for sample_id, own in found.items()]
        return {str(own): counts[own] for own in Likeness} | {"examples": len(self), "rule": RULE, "rows": rows}


def _index(examples: Mapping[int, Gram]) -> tuple[dict[Gram, list[tuple[int, int]]], dict[int, int]]:
    """Give where each sequence stands (example, word), and how many words of each example are in any."""
    places: dict[Gram, list[tuple[int, int]]] = defaultdict(list)
    for number, example in examples.items():
        for position, gram in enumerate(_gram_list(example)):
            places[gram].append((number, position))
    grams = {gram: own for gram, own in places.items() if len({number for number, _ in own}) <= TEMPLATE}
    words_of: dict[int, set[int]] = defaultdict(set)
    for own in grams.values():
        for number, at in own:
            words_of[number].update(range(at, at + GRAM))
    return grams, {number: len(own) for number, own in words_of.items()}


def _gram_list(example: Gram) -> Iterable[Gram]:
    return zip(*(example[start:] for start in range(GRAM)), strict=False)
