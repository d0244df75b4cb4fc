"""Numbers and findings in words."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath

import numpy as np

from nait_index.report.facts import CapabilityFacts, CoreFacts, Facts
from nait_index.report.representation import Group, Representation

_NEAR_CHANCE = 1.25
"""A ratio between this and its inverse is called about what chance would give."""


def count(value: float) -> str:
    """Write a count: 29,581, or 4.2 if it is small and not whole."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:,.1f}"


def times(ratio: float) -> str:
    """Write a ratio: 12×, 3.1×, 0.42×, 0×."""
    if ratio >= 9.95:
        return f"{ratio:,.0f}×"
    if ratio >= 0.995:
        return f"{ratio:.1f}×"
    return f"{ratio:.2f}×" if ratio >= 0.005 else "0×" if ratio == 0 else "under 0.01×"


def number(value: float) -> str:
    """Write a score with three significant figures and no more decimals than those."""
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) < 0.001 else f"{value:.3f}"
    return text.replace("-", "−")


def signed(value: float) -> str:
    """Write a correlation: +0.46, −0.20, 0.00."""
    text = f"{value:+.2f}".replace("-", "−")
    return text if text[1:] != "0.00" else "0.00"


def share(part: float, whole: float) -> str:
    """Write a share in per cent."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "under 0.01 %"
    decimals = 0 if percent >= 9.95 or percent == 0 else 1 if percent >= 0.995 else 2
    return f"{percent:.{decimals}f} %"


def capitalised(sentence: str) -> str:
    """Begin a sentence with a capital letter, and leave the rest, names included, as it is."""
    return sentence[:1].upper() + sentence[1:]


def size(rows: int) -> str:
    """Write a large number briefly: 4.3M."""
    return f"{rows / 1e6:.1f}M" if rows >= 1_000_000 else f"{rows:,}"


def short_name(name: str) -> str:
    """Return the last part of a path on this machine; any other name stays as it is."""
    return PurePath(name).name if PurePath(name).is_absolute() else name


def group_text(group: Group, field: Representation) -> str:
    """Write everything that is known of one group."""
    return (
        f"{group.name}: {times(group.ratio)} ({times(group.low)} to {times(group.high)})\n"
        f"{group.chosen:,} of {field.read:,} chosen rows ({share(group.chosen, field.read)})\n"
        f"{group.corpus:,} of {field.corpus_read:,} rows ({share(group.corpus, field.corpus_read)})"
    )


@dataclass(frozen=True, slots=True)
class CapabilityPair:
    """Two capabilities and the rows that both choose.

    :param overlap: how many; :param chance: how many random choices would share; :param lift: the ratio of the two.
    """

    first: str
    second: str
    overlap: int
    chance: float
    lift: float

    @property
    def sentence(self) -> str:
        """What choosing for one means for the other."""
        if self.overlap == 0:
            return f"no row chosen for {self.first} is chosen for {self.second}"
        likely = f"{'only ' if self.lift < 1 else ''}{times(self.lift)} as likely as any row"
        if 1 / _NEAR_CHANCE < self.lift < _NEAR_CHANCE:
            likely = f"about as likely as any row ({times(self.lift)})"
        return f"a row chosen for {self.first} is {likely} to be chosen for {self.second}"


def pairs(facts: Facts) -> list[CapabilityPair]:
    """List every pair of capabilities, highest lift first."""
    comparison = facts.comparison
    if comparison is None:
        return []
    names, overlap, chance, lift = comparison.names, comparison.overlap, comparison.chance, comparison.lift
    listed = [
        CapabilityPair(names[i], names[j], int(overlap[i, j]), float(chance[i, j]), float(lift[i, j]))
        for i, j in combinations(range(len(names)), 2)
    ]
    return sorted(listed, key=lambda pair: (-pair.lift, pair.first, pair.second))


def source_findings(capability: CapabilityFacts, source_field: str) -> tuple[list[Group], list[Group], int]:
    """Find the sources that a capability chooses more from than chance would, and less: at most three each.

    :returns: these, and how many of the chosen rows were read.
    """
    by_source = next(field for field in capability.groups if field.field == source_field)
    significant = [group for group in by_source.groups if group.is_significant]
    more = [group for group in significant if group.ratio > 1]
    less = [group for group in reversed(significant) if group.ratio < 1]
    return more[:3], sorted(less, key=lambda group: -group.corpus)[:3], by_source.read


def headlines(facts: Facts) -> list[str]:
    """Write the most important findings, a sentence or two each."""
    return [*_sources(facts), *_comparison(facts), *_core(facts.core), *_unused(facts)]


def _sources(facts: Facts) -> list[str]:
    source_field = facts.corpus.source_field
    strongest = [
        (capability.name, more[0])
        for capability in facts.capabilities
        if (more := source_findings(capability, source_field)[0])
    ]
    if not strongest:
        return []
    strongest = sorted(strongest, key=lambda item: -item[1].bound)[:3]
    listed = [f"{group.name} for {name} ({times(group.ratio)})" for name, group in strongest]
    return [f"Sources chosen most above chance: {', '.join(listed)}."]


def _comparison(facts: Facts) -> list[str]:
    listed = pairs(facts)
    if not listed or not listed[0].overlap:  # the sentence on the core says that nothing is shared
        return []
    closest, farthest = listed[0], listed[-1]
    sentences = [f"Closest: {closest.sentence}."]
    disjoint = sum(not pair.overlap for pair in listed)
    if disjoint > 1:
        sentences.append(f"Farthest apart: {disjoint} of {len(listed)} pairs of capabilities have no row in common.")
    elif len(listed) > 1 and farthest.lift < 1 / _NEAR_CHANCE:
        sentences.append(f"Farthest apart: {farthest.sentence}.")
    return sentences


def _core(core: CoreFacts | None) -> list[str]:
    if core is None:
        return []
    last = len(core.sizes)
    sentences = [_core_size("both capabilities" if last == 2 else f"all {last} capabilities", core, last)]
    if core.votes != last:
        sentences.append(_core_size(f"at least {core.votes} of them", core, core.votes))
    if core.stability:
        median = float(np.median(core.stability))
        often = "every one" if median == 1 else f"at least {median:.0%}".replace("%", " %")
        sentences.append(f"Half of these are still chosen in {often} of {core.redraws} resamples of the examples")
    return [". ".join(sentences) + "."]


def _core_size(voters: str, core: CoreFacts, votes: int) -> str:
    rows, chance = core.sizes[votes - 1], core.chance[votes - 1]
    by_chance = "less than one" if chance < 0.95 else count(round(chance, 1) if chance < 100 else round(chance))
    subject = "No row is" if not rows else "1 row is" if rows == 1 else f"{count(rows)} rows are"
    if chance < 1 or 1 / _NEAR_CHANCE < rows / chance < _NEAR_CHANCE:
        return f"{subject} chosen for {voters}, where chance would give {by_chance}"
    compared = "more" if rows > chance else "fewer"
    return f"{subject} chosen for {voters}, {compared} than the {by_chance} that chance would give"


def _unused(facts: Facts) -> list[str]:
    corpus, clauses = facts.corpus, []
    if corpus.truncated:
        rows = f"{count(corpus.truncated)} rows ({share(corpus.truncated, corpus.rows)})"
        clauses.append(f"{rows} are too long for the model and ranked by their beginning")
    if corpus.rejected:
        clauses.append(f"{count(corpus.rejected)} {'row' if corpus.rejected == 1 else 'rows'} could not be used")
    return ["; ".join(clauses) + "."] if clauses else []
