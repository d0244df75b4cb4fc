"""Capabilities to selections: what each one ranks highest, their combination, their core."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.capability import Capability, redrawn
from nait_index.errors import SelectionError, StoreError
from nait_index.index_rows import IndexRows
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.ranking import Ranked, rank
from nait_index.selection.budget import Budget
from nait_index.selection.core import agree, chance_size, required_votes, stability
from nait_index.selection.selection import Selection
from nait_index.selection.union import unite
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable

PooledOf = Callable[[Capability], np.ndarray]
"""Gives the pooled activations (n, 2, D) of a capability's examples."""


@dataclass(frozen=True, slots=True)
class Question:
    """What every choice is made from: how much each capability selects, by which method, among which rows."""

    top: str | int
    method: MethodName | str
    where: str | None


@dataclass(frozen=True, slots=True)
class _Terms:
    """A question read against an index: ``k`` of the ``available`` rows."""

    method: MethodName
    budget: Budget
    k: int
    allowed: np.ndarray | None
    available: int


class Chooser:
    """Makes selections from one index."""

    def __init__(self, layout: Layout, manifest: Manifest, table: SampleTable, rows: IndexRows) -> None:
        self._layout = layout
        self._manifest = manifest
        self._table = table
        self._rows = rows

    def query(self, capabilities: Sequence[Capability], question: Question) -> Selection:
        """Choose what one capability ranks highest, or the union of what several do."""
        rankings, provenance = self._rank(capabilities, question)
        if len(rankings) == 1:
            ranked = next(iter(rankings.values()))
            return Selection(ranked.ids, ranked.scores, ranked.ordinals, provenance, self._rows_at)
        united = unite({name: ranked.ids for name, ranked in rankings.items()})
        places = {name: {own: at for at, own in enumerate(ranked.ids)} for name, ranked in rankings.items()}
        chosen = [(rankings[name], places[name][sample_id]) for sample_id, name in united]
        return Selection(
            ids=tuple(sample_id for sample_id, _ in united),
            scores=tuple(ranked.scores[at] for ranked, at in chosen),
            ordinals=tuple(ranked.ordinals[at] for ranked, at in chosen),
            provenance=provenance | {"combined": "union"},
            fetch=self._rows_at,
            details={"capability": [name for _, name in united]},
        )

    def core(
        self,
        capabilities: Sequence[Capability],
        question: Question,
        votes: str | int,
        bootstrap: int,
        pooled_of: PooledOf,
    ) -> Selection:
        """Choose what several capabilities agree on."""
        if len(capabilities) < 2:
            raise SelectionError("a core needs at least two capabilities; give several -c or -e")
        needed = required_votes(votes, len(capabilities))
        rankings, provenance = self._rank(capabilities, question)
        agreed = agree([ranked.ids for ranked in rankings.values()], needed)
        ids = tuple(sample_id for sample_id, _, _ in agreed)
        details: dict[str, list[Any]] = {"votes": [own for _, own, _ in agreed]}
        if bootstrap:
            draws = self._redraw(capabilities, pooled_of, question, needed, bootstrap)
            details["stability"] = stability(ids, draws)
        places = {own: at for ranked in rankings.values() for own, at in zip(ranked.ids, ranked.ordinals, strict=True)}
        sizes = [len(ranked.ids) for ranked in rankings.values()]
        chance = round(chance_size(sizes, provenance["available"], needed), 2)
        core = {"votes": needed, "found": len(ids), "chance": chance, "bootstrap": bootstrap}
        return Selection(
            ids=ids,
            scores=tuple(score for _, _, score in agreed),
            ordinals=tuple(places[sample_id] for sample_id in ids),
            provenance=provenance | {"core": core},
            fetch=self._rows_at,
            details=details,
        )

    def _rank(self, capabilities: Sequence[Capability], question: Question) -> tuple[dict[str, Ranked], dict[str, Any]]:
        if not capabilities:
            raise SelectionError("name at least one capability with -c, or a file of examples with -e")
        names = [own.name for own in capabilities]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise SelectionError(f"capability '{repeated[0]}' is given twice")
        terms = self._read(question)
        rankings = {
            own.name: rank(self._rows, own.examples, terms.method, terms.k, terms.allowed) for own in capabilities
        }
        provenance = {
            "index": str(self._layout.root),
            "fingerprint": self._manifest.fingerprint.digest,
            "table_version": self._manifest.table_version,
            "method": str(terms.method),
            "capabilities": {own.name: {"examples": len(own), "truncated": own.truncated} for own in capabilities},
            "budget": terms.budget.text,
            "where": question.where,
            "available": terms.available,
        }
        return rankings, provenance

    def _redraw(
        self, capabilities: Sequence[Capability], pooled_of: PooledOf, question: Question, votes: int, draws: int
    ) -> Iterator[set[str]]:
        """Find the core of redrawn examples, draw after draw."""
        terms, widths = self._read(question), self._rows.widths
        pooled = [pooled_of(own) for own in capabilities]
        rng = np.random.default_rng(self._manifest.fingerprint.seed)
        for _ in range(draws):
            drawn = [
                redrawn(own, values, widths, rng.integers(len(own), size=len(own)))
                for own, values in zip(capabilities, pooled, strict=True)
            ]
            chosen = [rank(self._rows, examples, terms.method, terms.k, terms.allowed).ids for examples in drawn]
            yield {sample_id for sample_id, _, _ in agree(chosen, votes)}

    def _read(self, question: Question) -> _Terms:
        try:
            method = MethodName(question.method)
        except ValueError:
            known = ", ".join(MethodName)
            raise SelectionError(f"there is no method '{question.method}'; there are: {known}") from None
        self._check_view(method)
        budget, allowed = Budget.parse(question.top), self._rows.allowed(question.where)
        available = self._manifest.rows if allowed is None else int(allowed.sum())
        return _Terms(method, budget, budget.resolve(available), allowed, available)

    def _check_view(self, method: MethodName) -> None:
        view, held = METHODS[method].view, self._manifest.fingerprint.views
        if view is not None and view not in held:
            views = ",".join([*held, view])
            raise StoreError(
                f"method {method} needs the view {view}, which {self._layout.root} was built without; build an index "
                f"with --views {views}"
            )

    def check(self, method: MethodName | str) -> None:
        """Refuse a method that the index lacks the view for, before any example is encoded."""
        if method in list(MethodName):
            self._check_view(MethodName(method))

    def _rows_at(self, ordinals: Sequence[int]) -> list[str]:
        return self._table.take(ordinals, ["row"])["row"]
