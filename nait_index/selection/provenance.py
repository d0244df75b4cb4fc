"""What a selection was chosen from and how: kept with it, written to its sidecar, and read back from there."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nait_index.errors import SelectionError

_WRITTEN_EVEN_IF_NONE = frozenset({"method", "where"})

_ABOUT_THE_FILE = frozenset({"rows", "format", "tokens", "rejected", "left_out", "nait_weight", "selected"})
"""What a sidecar reports about the file beside it, not about the selection."""


@dataclass(frozen=True, slots=True)
class CoreSize:
    """The size of a core.

    :param votes: how many capabilities had to agree. :param rows: in the core, ``found`` in a sidecar.
    :param chance: rows expected if every capability chose as many at random.
    :param bootstrap: how often the examples were resampled.
    """

    votes: int
    rows: int
    chance: float
    bootstrap: int

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "CoreSize":
        """Read the part ``core`` of a sidecar."""
        return cls(saved["votes"], saved["found"], saved["chance"], saved["bootstrap"])

    def to_dict(self) -> dict[str, Any]:
        """Return the part ``core`` of a sidecar."""
        return {"votes": self.votes, "found": self.rows, "chance": self.chance, "bootstrap": self.bootstrap}


@dataclass(frozen=True, slots=True)
class CoverageSize:
    """What the rows of a cover activate.

    :param covered: neurons that the chosen rows activate. :param coverable: neurons that any row activates that could
        be chosen. :param rounds: rounds of coverage.
    """

    covered: int
    coverable: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Decontamination:
    """Rows that were left out because they are like an example.

    :param removed: how many. :param rows: the id of each, and the example it is like.
    """

    removed: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a selection was chosen from and how: enough to choose it again.

    The fields are in the order in which they are written; those that are ``None`` do not apply and are left out.

    :param index: path or URI. :param version: of the index. :param fingerprint: of its settings; :param basis: of its
        fitted compressor. :param max_length: tokens after which rows were cut. :param rounding: how a share is rounded.
    :param method: ``None`` if nothing ranks the rows. :param plan: how the search was done, and why.
    :param capabilities: numbers of examples, used and truncated, by capability.
    :param budget: as it was given. :param where: the SQL filter. :param blend: weights of quality scores, by column.
    :param available: rows that pass the filter and have all scores that are blended in.
    :param combined: how the rankings of several capabilities became one. :param weights: of the capabilities, or of
        the neurons of a cover.
    :param auto: the suggested budget and its alternatives; :param reasons: for it, in words.
    :param saved: what a sidecar said, which is written again unchanged.
    """

    index: str = ""
    fingerprint: str = ""
    basis: str = ""
    version: int = 0
    max_length: int = 0
    rounding: str = ""
    method: str | None
    plan: str | None = None
    capabilities: Mapping[str, Mapping[str, int]] | None = None
    budget: str | None = None
    where: str | None = None
    blend: Mapping[str, float] | None = None
    available: int
    decontaminated: Decontamination | None = None
    combined: str | None = None
    weights: Mapping[str, float] | str | None = None
    core: CoreSize | None = None
    coverage: CoverageSize | None = None
    auto: Mapping[str, Any] | None = None
    reasons: tuple[str, ...] | None = None
    saved: Mapping[str, Any] | None = None

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Provenance":
        """Read the provenance in a sidecar.

        :raises TypeError: a part of it has other fields. :raises LookupError: a part of ``core`` is missing.
        :raises ValueError: it lacks the method or the number of rows.
        """
        if not {"method", "available"} <= saved.keys():
            raise ValueError("no method or number of rows")
        names = {field.name for field in fields(cls)} - {"saved"}
        known = {name: value for name, value in saved.items() if name in names}
        if "core" in known:
            known["core"] = CoreSize.from_dict(known["core"])
        if "coverage" in known:
            known["coverage"] = CoverageSize(**known["coverage"])
        if "decontaminated" in known:
            known["decontaminated"] = Decontamination(**known["decontaminated"])
        return cls(**known, saved=saved)

    def to_dict(self) -> dict[str, Any]:
        """Return what is written to a sidecar and printed by ``--json``."""
        if self.saved is not None:
            return dict(self.saved)
        written = set(_WRITTEN_EVEN_IF_NONE)
        if self.combined is not None or self.coverage is not None:
            written.add("weights")
        facts = {name: value for name, value in asdict(self).items() if value is not None or name in written}
        return facts if self.core is None else facts | {"core": self.core.to_dict()}


@dataclass(frozen=True, slots=True)
class SavedSelection:
    """What a sidecar says about a selection.

    :param ids: best first, including rows that could not be converted. :param scores: empty if nothing ranks the rows.
    :param details: what else is known of each row, by column.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    details: Mapping[str, tuple[Any, ...]]
    provenance: Provenance


def read_sidecar(path: Path) -> SavedSelection:
    """Read the selection that a sidecar, ``….meta.json``, belongs to.

    :raises SelectionError: the file cannot be read, or is not the sidecar of a selection.
    """
    try:
        facts = json.loads(path.read_bytes())
        records = [dict(record) for record in (*facts["selected"], *facts.get("rejected", ()))]
        records.sort(key=lambda record: record["rank"])
        for record in records:
            del record["rank"]
            record.pop("reason", None)
        columns = {name: tuple(record[name] for record in records) for name in (records[0] if records else ())}
        ids = columns.pop("id")
        scores = tuple(float(score) for score in columns.pop("score", ()))
    except OSError as error:
        raise SelectionError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _not_a_sidecar(path) from error
    if not all(isinstance(sample_id, str) for sample_id in ids):
        raise _not_a_sidecar(path)
    saved = {name: value for name, value in facts.items() if name not in _ABOUT_THE_FILE}
    try:
        return SavedSelection(ids, scores, columns, Provenance.from_dict(saved))
    except ValueError as error:
        raise SelectionError(
            f"{path}: does not say by which method and from how many rows; give it as it was written"
        ) from error
    except (TypeError, LookupError) as error:
        raise _not_a_sidecar(path) from error


def _not_a_sidecar(path: Path) -> SelectionError:
    return SelectionError(f"{path}: not a .meta.json that was written beside a selection")
