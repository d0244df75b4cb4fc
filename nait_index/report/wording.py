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


def number(value: float) -> str:
    """Write a score: three figures that matter, and no more decimals than those."""
    own = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) < 0.001 else f"{value:.3f}"
    return own.replace("-", "−")


def signed(value: float) -> str:
    """Write a correlation: +0.46, −0.20, 0.00."""
    own = f"{value:+.2f}".replace("-", "−")
    return own if own[1:] != "0.00" else "0.00"


def share(part: float, whole: float) -> str:
    """Write a share in per cent."""
    if not whole:
        return "0 %"
    own = 100 * part / whole
    if 0 < own < 0.01:
        return "under 0.01 %"
    return f"{own:.0f} %" if own >= 9.95 or own == 0 else f"{own:.1f} %" if own >= 0.995 else f"{own:.2f} %"


def size(rows: int) -> str:
    """Write a large number briefly: 4.3M."""
    if rows >= 1_000_000:
        return f"{rows / 1e6:.1f}M"
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
    only = "only " if lift < 1 else ""
    return f"a row chosen for {one} is {only}{times(lift)} as likely as any row to be chosen for {other}"


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


def drawn_from(own: CapabilityFacts, source_field: str) -> tuple[list[Group], list[Group], int]:
    """Give the sources that a selection has more of, and less of, than the corpus; and how many rows were read."""
    by_source = next(one for one in own.groups if one.field == source_field)
    groups = by_source.groups
    more = [group for group in groups if group.ratio > 1 and group.is_told_apart]
    less = [group for group in reversed(groups) if group.ratio < 1 and group.is_told_apart]
    return more[:3], sorted(less, key=lambda group: -group.corpus)[:3], by_source.read


def _drawn_from(facts: Facts) -> list[str]:
    source = facts.corpus.source_field
    found = [(own, more[0]) for own in facts.capabilities if (more := drawn_from(own, source)[0])]
    if not found:
        return []
    told = sorted(found, key=lambda pair: -pair[1].certain)[:3]
    said = [f"{own.name} on {group.name} ({times(group.ratio)})" for own, group in told]
    return [f"Selections draw on sources of their own, against chance: {', '.join(said)}."]


def _between(facts: Facts) -> list[str]:
    found = pairs(facts)
    if not found:
        return []
    one, other, _, _, lift = found[0]
    said = [f"Closest: {transfer(one, other, lift)}."]
    none = sum(own[2] == 0 for own in found)
    if none > 1:
        said.append(f"Farthest apart: {none} of {len(found)} pairs of capabilities have no row in common.")
    elif len(found) > 1 and found[-1][4] < 1 / _FAR:
        one, other, _, _, lift = found[-1]
        said.append(f"Farthest apart: {transfer(one, other, lift)}.")
    return said


def _agreed(core: Core | None) -> list[str]:
    if core is None:
        return []
    last = len(core.found)
    said = [_agreed_by("both capabilities" if last == 2 else f"all {last} capabilities", core, last)]
    if core.votes != last:
        said.append(_agreed_by(f"at least {core.votes} of them", core, core.votes))
    if core.stability:
        half = float(np.median(core.stability))
        often = "every one" if half == 1 else f"at least {half:.0%}".replace("%", " %")
        said.append(f"Half of these stay chosen in {often} of {core.redraws} redraws of the examples")
    return [". ".join(said) + "."]


def _agreed_by(who: str, core: Core, votes: int) -> str:
    found, chance = core.found[votes - 1], core.chance[votes - 1]
    by_chance = "less than one" if chance < 0.95 else count(round(chance, 1) if chance < 100 else round(chance))
    if chance < 1 or 1 / _FAR < found / chance < _FAR:
        return f"{_rows(found)} chosen for {who}, where chance would give {by_chance}"
    return f"{_rows(found)} chosen for {who}, {'more' if found > chance else 'fewer'} than the {by_chance} of chance"


def _rows(found: int) -> str:
    return "No row is" if not found else "1 row is" if found == 1 else f"{count(found)} rows are"


def _lost(facts: Facts) -> list[str]:
    corpus, said = facts.corpus, []
    if corpus.truncated:
        part = share(corpus.truncated, corpus.rows)
        said.append(
            f"{count(corpus.truncated)} rows ({part}) are too long for the model, and judged by their beginning"
        )
    if corpus.rejected:
        said.append(f"{count(corpus.rejected)} rows could not be used")
    return ["; ".join(said) + "."] if said else []
