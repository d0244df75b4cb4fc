"""Tables of the counts of ``make faults``, for docs/reliability.md."""

from collections import Counter
from typing import Any

Rows = list[tuple[str, list[str]]]

_DAMAGES = ("bit flipped", "cut", "emptied", "removed")


def tried_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Say what was tried how often, and how it ended; but for where kills hit and which files were damaged."""
    counts = result["counts"]
    rows = [
        (kind, [f"{sum(own.values()):,}", _endings(own)])
        for kind, own in counts.items()
        if not kind.endswith(": where") and not kind.startswith("damage: ")
    ]
    return ["what", "how often", "how it ended"], [*rows, ("tests that failed", [str(result["failed"]), ""])]


def where_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """At which step each kill hit: while it ran, or after it and before the next one."""
    kinds = {kind.removesuffix(": where"): own for kind, own in result["counts"].items() if kind.endswith(": where")}
    steps = sorted({place.split(" ", 1)[1] for own in kinds.values() for place in own})
    rows = [(step, [f"{own.get(f'in {step}', 0)} + {own.get(f'after {step}', 0)}" for own in kinds.values()])
            for step in steps]  # fmt: skip
    total = ("all", [f"{sum(own.values())}" for own in kinds.values()])
    return ["in a step + after it", *kinds], [*rows, total]


def damage_table(result: dict[str, Any]) -> tuple[list[str], Rows]:
    """Say what came of every damage to every kind of file."""
    rows = []
    for kind, own in result["counts"].items():
        if kind.startswith("damage: "):
            cells = [Counter({key.split(": ", 1)[1]: number for key, number in own.items() if key.startswith(damage)})
                     for damage in _DAMAGES]  # fmt: skip
            rows.append((kind.removeprefix("damage: "), [_endings(cell) for cell in cells]))
    return ["kind of file", *_DAMAGES], rows


def _endings(counts: dict[str, int]) -> str:
    return (
        "; ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items(), key=lambda own: -own[1])) or "–"
    )
