"""What somebody may have meant: the nearest of the names that there are, as the end of an error's line."""

from bisect import bisect
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

_BESIDE = 200
"""Ids on either side, in the order of the alphabet, that are looked at: there may be millions."""


def meant(wrong: str, names: Iterable[str]) -> str:
    """Give ``; did you mean NAME?`` with the nearest name, or nothing where none is near."""
    near = get_close_matches(wrong, [name for name in names if name.isprintable()], n=1)
    return f"; did you mean {near[0]}?" if near else ""


def meant_id(wrong: str, ids: Sequence[str]) -> str:
    """Give the same of many ids, of which only those are looked at that begin or end alike."""
    wrong = wrong[:200]
    forward, backward = sorted(ids), sorted(own[::-1] for own in ids)
    ends = [own[::-1] for own in _around(backward, wrong[::-1])]
    return meant(wrong, dict.fromkeys([*_around(forward, wrong), *ends]))


def meant_path(path: str | Path, holding: str | None = None) -> str:
    """Give the same of a path that is not there, from what lies beside it; of a folder, the only one in it.

    :param holding: only folders that hold a file of this name count.
    """
    own = Path(path)
    try:
        there = list(own.iterdir() if own.is_dir() else own.parent.iterdir())
        found = {other.name: other for other in there if holding is None or (other / holding).is_file()}
    except OSError:
        return ""
    if own.is_dir():
        return f"; did you mean {next(iter(found.values()))}?" if len(found) == 1 else ""
    near = get_close_matches(own.name, [name for name in found if name.isprintable()], n=1)
    return f"; did you mean {found[near[0]]}?" if near else ""


def _around(ordered: Sequence[str], wrong: str) -> Sequence[str]:
    at = bisect(ordered, wrong)
    return ordered[max(0, at - _BESIDE) : at + _BESIDE]
