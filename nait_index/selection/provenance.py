"""What a selection was chosen from and how: kept with it, written to its sidecar, and read back from there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nait_index.errors import SelectionError

_CORE_ROWS = "found"
"""What a sidecar calls the number of rows in a core."""

_LEVELS = 2  # smaller numbers of votes that are suggested


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSummary:
    """How a core was chosen, and how it serves each of C capabilities.

    :param rule: ``None`` if votes decided. :param votes: how many capabilities had to agree, if votes decided.
    :param rows: in the core, ``found`` in a sidecar. :param chance: rows on which random choices would agree as much;
        only for votes. :param alone: how many rows each capability would choose alone; :param kept: how many of these
        are in the core, by capability.
    :param shared: rows of the core that at least 1, 2, … C capabilities would choose alone; :param agreement: such rows
        among all that may be chosen.
    :param bootstrap: how often the examples were resampled. :param stability: the mean share of the resamples in whose
        core a row stays.
    """

    rule: str | None = None
    votes: int | None = None
    rows: int
    chance: float | None = None
    alone: int | None = None
    kept: Mapping[str, int] | None = None
    shared: Sequence[int] | None = None
    agreement: Sequence[int] | None = None
    bootstrap: int = 0
    stability: float | None = None

    @property
    def sentences(self) -> list[str]:
        """What a core holds, a line each."""
        lines = [] if self.chance is None else [f"{_rows(self.rows)} where chance would give {self.chance:,.1f}"]
        if self.kept is not None and self.rows:
            kept = ", ".join(f"{rows:,} ({name})" for name, rows in self.kept.items())
            lines.append(f"of the {_rows(self.alone or 0)} that each would choose alone, it holds {kept}")
        if self.shared is not None and self.rows:
            levels = [f"{rows:,} by at least {level}" for level, rows in enumerate(self.shared[2:], start=3) if rows]
            more = f" ({', '.join(levels)})" if levels else ""
            lines.append(f"{_rows(self.shared[1])} shared: several would choose them alone{more}")
        if self.stability is not None:
            lines.append(
                f"a row stays in {self.stability:.0%} of {self.bootstrap} resamples of the examples on average"
            )
        return [*lines, *self._next]

    @property
    def _next(self) -> list[str]:
        """What to do about a core by votes that is smaller than the budget."""
        if self.votes is None or self.agreement is None or self.alone is None or self.rows >= self.alone:
            return []
        levels = list(range(self.votes - 1, 1, -1))[:_LEVELS]
        fewer = ", ".join(f"--votes {level} would give {_rows(self.agreement[level - 1])}" for level in levels)
        return [f"{fewer}{'; ' if fewer else ''}leave --votes out for exactly {_rows(self.alone)}, for all"]

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "CoreSummary":
        """Read it from a sidecar. :raises LookupError: a part of it is missing."""
        known = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        return cls(**known | {name: facts[name] for name in ("votes", "bootstrap")}, rows=facts[_CORE_ROWS])

    def to_dict(self) -> dict[str, Any]:
        """Return what a sidecar holds of it."""
        named = {_CORE_ROWS if name == "rows" else name: value for name, value in asdict(self).items()}
        return {name: value for name, value in named.items() if value is not None or name == "votes"}


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


@dataclass(frozen=True, slots=True)
class CoverageSize:
    """What the rows of a cover activate.

    A row activates the neurons that are among the ``strongest`` of their layer in it.

    :param covered: neurons that the chosen rows activate. :param coverable: neurons that any candidate row activates.
    :param neurons: all that were captured. :param rounds: rounds of coverage.
    :param blocks: that the candidates were divided into, 1 if rows were chosen from all at once; :param block_rows: in
        the largest; :param together: rows that were chosen from at a time.
    """

    covered: int
    coverable: int
    neurons: int
    strongest: int
    rounds: int
    blocks: int = 1
    block_rows: int | None = None
    together: int | None = None


@dataclass(frozen=True, slots=True)
class Decontamination:
    """Rows that were left out because they are like an example.

    :param removed: how many. :param rows: the id of each, and the example it is like.
    """

    removed: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Deduplication:
    """Rows that were left out because they are near-duplicates of a better one.

    :param threshold: least likeness of near-duplicates. :param removed: how many. :param rows: the id of each, and the
        row that it is like.
    """

    threshold: float
    removed: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a selection was chosen from and how: enough to choose it again.

    The fields are in the order in which they are written. A field that does not apply is ``None`` and left out.

    :param index: path or URI. :param version: of the index. :param fingerprint: of its settings; :param basis: of its
        fitted compressor. :param max_length: tokens after which rows were cut. :param rounding: how a share is rounded.
    :param method: ``None`` if nothing ranks the rows. :param plan: how the search was done, and why, or how
        a cover was chosen. :param search: which search chose, unless it was the exact one.
    :param capabilities: numbers of examples, used and truncated, and a hash of them, by capability; :param unlike: of
        those that are not wanted.
    :param liked: ids of rows that are among the examples of every capability; :param disliked: of rows that are
        examples of what is not wanted.
    :param budget: as it was given. :param where: the SQL filter. :param blend: weights of quality scores, by column.
    :param available: rows that pass the filter and have all scores that are blended in.
    :param select: which of the best rows were taken, if not simply the best; :param at_most: quotas, as
        they were given; :param wanted: rows that were asked for, if the quotas leave fewer.
    :param mix: the part that was drawn at random, as it was given.
    :param combined: how the rankings of several capabilities became one. :param weights: of the capabilities, or of
        the neurons of a cover.
    :param auto: the suggested budget and its alternatives; :param reasons: for it, in words.
    :param contamination: which rows are like an example; set when the selection is written.
    """

    index: str | None = None
    fingerprint: str | None = None
    basis: str | None = None
    version: int | None = None
    max_length: int | None = None
    rounding: str | None = None
    method: str | None
    plan: str | None = None
    search: str | None = None
    capabilities: Mapping[str, Mapping[str, Any]] | None = None
    unlike: Mapping[str, Mapping[str, Any]] | None = None
    liked: Sequence[str] | None = None
    disliked: Sequence[str] | None = None
    budget: str | None = None
    where: str | None = None
    blend: Mapping[str, float] | None = None
    available: int
    decontaminated: Decontamination | None = None
    deduplicated: Deduplication | None = None
    select: str | None = None
    at_most: Sequence[str] | None = None
    wanted: int | None = None
    mix: str | None = None
    combined: str | None = None
    weights: Mapping[str, float] | str | None = None
    core: CoreSummary | None = None
    coverage: CoverageSize | None = None
    auto: Mapping[str, Any] | None = None
    reasons: Sequence[str] | None = None
    contamination: Mapping[str, Any] | None = None

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Provenance":
        """Read the provenance in a sidecar.

        :raises TypeError: a part of it has other fields. :raises LookupError: a part of ``core`` is missing.
        :raises ValueError: it lacks the method or the number of rows.
        """
        if not {"method", "available"} <= facts.keys():
            raise ValueError("no method or number of rows")
        known = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        if "core" in known:
            known["core"] = CoreSummary.from_dict(known["core"])
        if "coverage" in known:
            known["coverage"] = CoverageSize(**known["coverage"])
        if "decontaminated" in known:
            known["decontaminated"] = Decontamination(**known["decontaminated"])
        if "deduplicated" in known:
            known["deduplicated"] = Deduplication(**known["deduplicated"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to a sidecar and printed by ``--json``."""
        written = {"method", "where"}  # even if they are None
        if self.combined is not None or self.coverage is not None:
            written.add("weights")
        facts = {name: value for name, value in asdict(self).items() if value is not None or name in written}
        return facts if self.core is None else facts | {"core": self.core.to_dict()}


def read_sidecar(path: Path) -> tuple[dict[str, tuple[Any, ...]], Provenance, tuple[frozenset[str], int]]:
    """Read the selection that a sidecar, ``….meta.json``, belongs to.

    :returns: what is known of each row, best first, by column, including rows that could not be converted: its ``id``,
        its ``score`` if a method ranked it, and its details; the provenance; and the ids of the rows that were kept
        for validation, with the seed.
    :raises SelectionError: the file cannot be read, or is not the sidecar of a selection.
    """
    wrong = SelectionError(f"{path}: not a .meta.json that was written beside a selection")
    try:
        facts = json.loads(path.read_bytes())
        records = sorted((*facts["selected"], *facts.get("rejected", ())), key=lambda record: record["rank"])
        names = [name for name in (records[0] if records else ()) if name not in ("rank", "reason")]
        columns = {name: tuple(record[name] for record in records) for name in names}
        if "score" in columns:
            columns["score"] = tuple(map(float, columns["score"]))
        if not all(isinstance(sample_id, str) for sample_id in columns["id"]):
            raise wrong
        kept = facts.get("validation") or {"ids": (), "seed": 0}
        held_out = frozenset(kept["ids"]), int(kept["seed"])
    except OSError as error:
        raise SelectionError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise wrong from error
    try:
        return columns, Provenance.from_dict(facts), held_out
    except ValueError as error:
        raise SelectionError(
            f"{path}: the method or the number of available rows is missing; pass the sidecar as it was written"
        ) from error
    except (TypeError, LookupError) as error:
        raise wrong from error
