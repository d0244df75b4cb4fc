"""The demo corpus: generated rows of twelve skills, in three splits that never share a row.

The split of a row is a function of its text alone. So the splits stay disjoint for any sizes and seeds, and requesting
more rows of one split changes nothing in the others.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from random import Random

from nait_index.errors import CorpusError
from tools.demo.skills import (
    arithmetic,
    classification,
    code,
    dialogue,
    extraction,
    facts,
    logic,
    rewriting,
    summarisation,
    tables,
    tool_calls,
    translation,
)
from tools.demo.skills.row import Row

SKILLS: dict[str, Callable[[Random], Row]] = {
    "arithmetic": arithmetic.generate,
    "classification": classification.generate,
    "code": code.generate,
    "dialogue": dialogue.generate,
    "extraction": extraction.generate,
    "facts": facts.generate,
    "logic": logic.generate,
    "rewriting": rewriting.generate,
    "summarisation": summarisation.generate,
    "tables": tables.generate,
    "tool_calls": tool_calls.generate,
    "translation": translation.generate,
}


class Split(StrEnum):
    """The purpose of a row: to be selected from, to describe a skill, or to train the demo model."""

    CORPUS = "corpus"
    EXAMPLES = "examples"
    TRAIN = "train"


CORPUS_ROWS = {
    "arithmetic": 300,
    "code": 260,
    "translation": 240,
    "dialogue": 230,
    "extraction": 220,
    "facts": 210,
    "classification": 200,
    "summarisation": 180,
    "tool_calls": 160,
    "logic": 140,
    "rewriting": 140,
    "tables": 120,
}
_DEFAULT_ROWS: dict[Split, Mapping[str, int]] = {
    Split.CORPUS: CORPUS_ROWS,
    Split.EXAMPLES: dict.fromkeys(SKILLS, 32),
    Split.TRAIN: dict.fromkeys(SKILLS, 1500),
}
_DEAL = (Split.CORPUS,) * 3 + (Split.EXAMPLES,) + (Split.TRAIN,) * 12
_PATIENCE = 20_000
"""Draws in a row without a new row of the split before a skill counts as exhausted."""


def generate(split: Split, per_skill: int | Mapping[str, int] | None = None, seed: int = 0) -> list[dict[str, str]]:
    """Generate the rows of one split, the same for the same arguments on any machine.

    :param split: the corpus is shuffled, the others are ordered by skill.
    :param per_skill: rows of every skill, or of each named skill and none of the others; by default the usual sizes of
        the split.
    :param seed: another seed generates other rows.
    :raises CorpusError: a skill is unknown, or has fewer rows.
    """
    rows: list[dict[str, str]] = []
    for skill, wanted in _sizes(split, per_skill).items():
        prefix = skill if split is Split.CORPUS else f"{skill}-{split}"
        stream = _stream(skill, split, seed)
        for number in range(wanted):
            row = next(stream, None)
            if row is None:
                raise CorpusError(
                    f"skill {skill!r} has only {number} rows for the {split} split, not {wanted}: ask for fewer"
                )
            rows.append(
                {
                    "id": f"{prefix}-{number:04}",
                    "instruction": row["instruction"],
                    "input": row["input"],
                    "output": row["output"],
                    "skill": skill,
                }
            )
    if split is Split.CORPUS:
        Random(f"{seed}/shuffle").shuffle(rows)
    return rows


def _sizes(split: Split, per_skill: int | Mapping[str, int] | None) -> Mapping[str, int]:
    if per_skill is None:
        return _DEFAULT_ROWS[split]
    if isinstance(per_skill, int):
        return dict.fromkeys(SKILLS, per_skill)
    unknown = sorted(name for name in per_skill if name not in SKILLS)
    if unknown:
        raise CorpusError(f"no demo skill is called {unknown[0]!r}; the skills are {', '.join(SKILLS)}")
    return per_skill


def _stream(skill: str, split: Split, seed: int) -> Iterator[Row]:
    """Yield different rows of one skill in one split, until no new one has come up for long."""
    draw, rng = SKILLS[skill], Random(f"{seed}/{skill}")
    seen: set[bytes] = set()
    idle = 0
    while idle < _PATIENCE:
        row = draw(rng)
        key = _digest(row)
        if key in seen or _DEAL[key[0] % len(_DEAL)] is not split:
            idle += 1
            continue
        seen.add(key)
        idle = 0
        yield row


def _digest(row: Row) -> bytes:
    text = json.dumps([row["instruction"], row["input"], row["output"]])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
