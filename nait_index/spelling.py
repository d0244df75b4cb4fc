"""Names that the user wrote: parse one of a fixed set, and suggest the nearest known name at the end of an error."""

import unicodedata
from bisect import bisect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from nait_index.errors import CapabilityError, NaitError

Kind = TypeVar("Kind", bound=StrEnum)

_NEIGHBOURS = 200
"""Ids compared on either side of the wrong one in alphabetical order; there may be millions."""


_LONGEST_NAME = 200
_SIGNS = " -_.:"


def normal_name(text: str) -> str:
    """Return a name in the form in which names are stored and compared, NFC: the same letters, the same name."""
    return unicodedata.normalize("NFC", text)


def parse_capability_name(text: str) -> str:
    """Return a name that a capability can have, in NFC.

    Combining marks count as letters: without vowel signs, there is no word in most Indic scripts.

    :raises CapabilityError: the name breaks the rule, which the message states.
    """
    name = normal_name(text)
    kinds = {unicodedata.category(char) for char in name if char not in _SIGNS}
    fits = 0 < len(name) <= _LONGEST_NAME and name == name.strip(" ")
    if fits and all(kind[0] in "LM" or kind == "Nd" for kind in kinds):
        return name
    shown = repr(f"{text[:40]}…" if len(text) > 40 else text)
    raise CapabilityError(
        f"{shown} cannot name a capability; use letters of any script, digits, spaces (not at the ends), and - _ . :, "
        f"at most {_LONGEST_NAME} characters"
    )


def parse_enum(kind: type[Kind], text: str, noun: str, error: type[NaitError] = NaitError) -> Kind:
    """Return the member of an enum that has a value.

    :param noun: what the enum's members are, such as ``method``, for the message.
    :raises NaitError: no member has it; of the type ``error``.
    """
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(kind)
        raise error(f"unknown {noun} '{text}'; choose one of: {names}{did_you_mean(text, kind)}") from None


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """Return ``; did you mean NAME?`` with the nearest name, or an empty text if none is near."""
    near = get_close_matches(wrong, [name for name in names if name.isprintable()], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def did_you_mean_id(wrong: str, ids: Sequence[str]) -> str:
    """Return the same for one of many ids, comparing only those that begin or end alike."""
    wrong = wrong[:200]
    forward, backward = sorted(ids), sorted(row_id[::-1] for row_id in ids)
    same_ends = [row_id[::-1] for row_id in _around(backward, wrong[::-1])]
    return did_you_mean(wrong, dict.fromkeys([*_around(forward, wrong), *same_ends]))


def did_you_mean_path(path: str | Path, holding: str | None = None) -> str:
    """Return the same for a missing path, from its siblings; for a folder, its only entry.

    :param holding: consider only folders that hold a file of this name.
    """
    wrong = Path(path)
    try:
        entries = list(wrong.iterdir() if wrong.is_dir() else wrong.parent.iterdir())
        candidates = {entry.name: entry for entry in entries if holding is None or (entry / holding).is_file()}
    except OSError:
        return ""
    if wrong.is_dir():
        return f"; did you mean {next(iter(candidates.values()))}?" if len(candidates) == 1 else ""
    near = get_close_matches(wrong.name, [name for name in candidates if name.isprintable()], n=1)
    return f"; did you mean {candidates[near[0]]}?" if near else ""


def _around(ordered: Sequence[str], wrong: str) -> Sequence[str]:
    position = bisect(ordered, wrong)
    return ordered[max(0, position - _NEIGHBOURS) : position + _NEIGHBOURS]
