"""How numbers and findings are said."""

import numpy as np

from nait_index.report.facts import CapabilityFacts, Core, Facts
from nait_index.report.representation import Group, Representation

_FAR = 1.25
"""Ratios between this and its inverse are called what chance would give."""


def count(value: float) -> str:
    """Write a count: 29,581, or 4.2 where it is small and not whole."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.1f}"


def times(ratio: float) -> str:
    """Write a ratio: 12×, 3.1×, 0.42×, 0×."""
    if ratio >= 9.95:
        return f"{ratio:,.0f}×"
    if ratio >= 0.995:
        return f"{ratio:.1f}×"
    return f"{ratio:.2f}×" if ratio >= 0.005 else "0×" if ratio == 0 else "under 0.01×"


def share(part: float, whole: float) -> str:
    """Write a share in per cent."""
    if not whole:
        return "0 %"
    own = 100 * part / whole
    if 0 < own < 0.01:
        return "under 0.01 %"
    return f"{own:.0f} %" if own >= 9.95 or own == 0 else f"{own:.1f} %" if own >= 0.995 else f"{own:.2f} %"


def size(rows: int) -> str:
    """Write a large number briefly: 4.3 million."""
    if rows >= 1_000_000:
        return f"{rows / 1e6:.1f} million"
    return f"{rows:,}"


def group_text(group: Group, own: Representation) -> str:
    """Say all that is known of one group, for those who ask."""
    return (
        f"{group.name}: {times(group.ratio)} ({times(group.low)} to {times(group.high)})\n"
        f"{group.chosen:,} of {own.read:,} chosen rows ({share(group.chosen, own.read)})\n"
        f"{group.corpus:,} of {own.corpus_read:,} rows ({share(group.corpus, own.corpus_read)})"
    )


def transfer(one: str, other: str, lift: float) -> str:
    """Say what choosing for one capability means for another."""
    if lift == 0:
        return f"no row chosen for {one} is chosen for {other}"
    if 1 / _FAR < lift < _FAR:
        return f"a row chosen for {one} is about as likely as any row to be chosen for {other} ({times(lift)})"
    return f"a row chosen for {one} is {times(lift)} as likely as any row to be chosen for {other}"


def pairs(facts: Facts) -> list[tuple[str, str, int, float, float]]:
    """Give every pair of capabilities with overlap, chance and lift, highest lift first."""
    between = facts.between
    if between is None:
        return []
    names = between.names
    found = [
        (names[i], names[j], int(between.overlap[i, j]), float(between.chance[i, j]), float(between.lift[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return sorted(found, key=lambda own: (-own[4], own[0], own[1]))


def headlines(facts: Facts) -> list[str]:
    """Say what matters most, in a few sentences."""
    return [*_drawn_from(facts), *_between(facts), *_agreed(facts.core), *_lost(facts)]


def drawn_from(own: CapabilityFacts) -> tuple[list[Group], list[Group]]:
    """Give the sources that a selection most certainly has more of, and less of, than the corpus."""
    groups = own.groups[0].groups
    more = [group for group in groups if group.ratio > 1 and group.is_told_apart]
    less = [group for group in reversed(groups) if group.ratio < 1 and group.is_told_apart]
    return more[:3], sorted(less, key=lambda group: -group.corpus)[:3]


def _drawn_from(facts: Facts) -> list[str]:
    sharpest = [(own, *drawn_from(own)[0][:1]) for own in facts.capabilities if drawn_from(own)[0]]
    if not sharpest:
        return []
    told = sorted(sharpest, key=lambda pair: -pair[1].certain)[:3]
    said = [f"{own.name} draws on {group.name} {times(group.ratio)} as much as chance would" for own, group in told]
    return ["Selections have sources of their own: " + "; ".join(said) + "."]


def _between(facts: Facts) -> list[str]:
    found = pairs(facts)
    if not found:
        return []
    one, other, _, _, lift = found[0]
    said = [f"Closest: {transfer(one, other, lift)}."]
    if len(found) > 1 and found[-1][4] < 1 / _FAR:
        one, other, _, _, lift = found[-1]
        said.append(f"Farthest apart: {transfer(one, other, lift)}.")
    return said


def _agreed(core: Core | None) -> list[str]:
    if core is None:
        return []
    last = len(core.found)
    who = "both capabilities" if last == 2 else f"all {last} capabilities"
    said = f"{count(core.found[-1])} rows are chosen for {who}, where chance would give {count(round(core.chance[-1], 1))}"
    if core.votes != last:
        level = core.votes - 1
        said += (
            f"; {count(core.found[level])} by at least {core.votes} of them, where chance would give "
            f"{count(round(core.chance[level], 1))}"
        )
    if core.stability:
        said += f". Half of these stay in at least {np.median(core.stability):.0%} of the redraws".replace("%", " %")
    return [said + "."]


def _lost(facts: Facts) -> list[str]:
    corpus, said = facts.corpus, []
    if corpus.truncated:
        said.append(f"{count(corpus.truncated)} rows ({share(corpus.truncated, corpus.rows)}) were longer than the model "
                    "reads, and were judged by their beginning")  # fmt: skip
    if corpus.rejected:
        said.append(f"{count(corpus.rejected)} rows could not be used")
    return ["; ".join(said) + "."] if said else []
