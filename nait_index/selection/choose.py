"""Capabilities to selections: what each one ranks highest, their combination, their core; and coverage, without any."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nait_index.capabilities.capability import Capability, redrawn
from nait_index.config import Combine, SearchMode, View
from nait_index.errors import SelectionError, StoreError
from nait_index.handover.contamination import Match
from nait_index.methods.base import Scanned
from nait_index.methods.names import MethodName
from nait_index.methods.registry import METHODS
from nait_index.search.approximate import Plan, make_plan
from nait_index.search.rows import IndexRows
from nait_index.selection.budget import ROUNDING, Budget, suggest
from nait_index.selection.combine import agree, chance_size, combine, required_votes, stability
from nait_index.selection.coverage import cover, rarity
from nait_index.selection.ranking import Ranked, Terms, rank
from nait_index.selection.saved import Saved
from nait_index.selection.selection import Selection
from nait_index.signatures.topk import neuron_offsets
from nait_index.spelling import did_you_mean, parse_enum
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import TOPK_NUMBERS, SampleTable
from nait_index.store.scores import score_names

logger = logging.getLogger(__name__)

PooledOf = Callable[[Capability], np.ndarray]
"""Gives the pooled activations (n, 2, D) of a capability's examples."""


@dataclass(frozen=True, slots=True)
class Question:
    """What every choice is made from.

    :param top: how much is chosen. :param where: among which rows.
    :param blending: weights of quality scores that are blended with the method's.
    :param mode: how the dense signatures are searched.
    :param decontaminate: whether rows that are like an example are left out, and others chosen in their place.
    """

    top: str | int
    method: MethodName | str
    where: str | None
    blending: Mapping[str, float] = field(default_factory=dict)
    mode: SearchMode = SearchMode.EXACT
    decontaminate: bool = False


class Chooser:
    """Makes selections from one index."""

    def __init__(self, layout: Layout, manifest: Manifest, table: SampleTable, rows: IndexRows) -> None:
        self._layout = layout
        self._manifest = manifest
        self._table = table
        self._rows = rows

    def query(
        self,
        capabilities: Sequence[Capability],
        question: Question,
        how: Combine = Combine.UNION,
        weights: Mapping[str, float] | None = None,
    ) -> Selection:
        """Choose what one capability ranks highest, or combine what several do."""
        if Budget.parse(question.top).is_auto and len(capabilities) == 1:
            return self._by_curve(capabilities, question, weights)

        def choose(terms: Terms) -> Selection:
            everything = len(capabilities) > 1 and how is Combine.MEAN
            rankings = self._rank(capabilities, terms, self._available(terms) if everything else terms.k)
            if len(rankings) == 1 and weights is None:
                ranked = next(iter(rankings.values()))
                return Selection(ranked.ids, ranked.scores, ranked.ordinals, {}, self._table.take)
            chosen = combine({name: ranked.ids for name, ranked in rankings.items()}, how, terms.k, weights)
            return self._combined(rankings, chosen)

        combined = {"combined": str(how), "weights": weights} if len(capabilities) > 1 or weights is not None else {}
        return self._choose(capabilities, question, choose, combined)[0]

    def _by_curve(
        self, capabilities: Sequence[Capability], question: Question, weights: Mapping[str, float] | None
    ) -> Selection:
        """Choose what one capability ranks highest, as much as its score curve suggests."""
        if weights is not None:
            raise SelectionError("--weight shares rows among capabilities, and --top auto is of one; leave it out")
        whole = self.query(capabilities, replace(question, top="100%", mode=SearchMode.EXACT, decontaminate=False))
        suggestion = suggest(whole.scores)
        chosen = whole.first(suggestion.rows, whole.provenance)
        if question.decontaminate:
            chosen = self.query(capabilities, replace(question, top=suggestion.rows, mode=SearchMode.EXACT))
        auto = {"budget": "auto", "auto": suggestion.to_dict(), "reasons": list(suggestion.reasons)}
        return replace(chosen, provenance={**chosen.provenance, **auto})

    def _choose(
        self,
        capabilities: Sequence[Capability],
        question: Question,
        choose: Callable[[Terms], Selection],
        facts: Mapping[str, Any],
    ) -> tuple[Selection, Terms]:
        """Choose; and, where that is wanted, again without what is like an example, until nothing is."""
        terms, provenance = self.read(question, capabilities)
        asked = {own.name: own.asked for own in capabilities}
        selection = replace(choose(terms), asked=asked)
        removed: dict[str, Match] = {}
        while question.decontaminate and (found := selection.like_examples()):
            removed |= found
            places = dict(zip(selection.ids, selection.ordinals, strict=True))
            terms = terms.without([places[sample_id] for sample_id in found], self._manifest.rows)
            if not terms.k:
                raise SelectionError("--decontaminate leaves no row: all that may be chosen are like an example")
            selection = replace(choose(terms), asked=asked)
        if question.decontaminate:
            rows = [{"id": sample_id} | own.to_dict() for sample_id, own in removed.items()]
            provenance |= {"decontaminated": {"removed": len(rows), "rows": rows}}
        return replace(selection, provenance={**provenance, **facts, **selection.provenance}), terms

    def _combined(self, rankings: Mapping[str, Ranked], chosen: Sequence[tuple[str, str]]) -> Selection:
        places = {name: {own: at for at, own in enumerate(ranked.ids)} for name, ranked in rankings.items()}
        found = [(rankings[name], places[name][sample_id]) for sample_id, name in chosen]
        return Selection(
            ids=tuple(sample_id for sample_id, _ in chosen),
            scores=tuple(ranked.scores[at] for ranked, at in found),
            ordinals=tuple(ranked.ordinals[at] for ranked, at in found),
            provenance={},
            fetch=self._table.take,
            details={"capability": [name for _, name in chosen]},
        )

    def cover(self, top: str | int, where: str | None, *, rare: bool) -> Selection:
        """Choose rows that together activate the most neurons, with no target (MADS)."""
        self._check_view("cover", View.TOPK)
        budget, allowed = Budget.parse(top), self._rows.allowed(where)
        available = self._manifest.rows if allowed is None else int(allowed.sum())
        logger.info("reading which neurons %d rows activate", self._manifest.rows)
        # Half as wide as they come: the sets of 300,000 rows are a gigabyte otherwise.
        offsets = neuron_offsets(self._rows.widths, self._rows.topk).astype(np.int32)
        sets = np.concatenate([block + offsets for block in self._rows.blocks(TOPK_NUMBERS)])
        logger.info("choosing rows that cover the most neurons")
        weights = rarity(sets, sum(self._rows.widths)) if rare else None
        found = cover(sets, self._rows.ids(), budget.resolve(available), weights, allowed)
        coverage = {"covered": found.covered, "coverable": found.coverable, "rounds": int(found.rounds.max())}
        return Selection(
            ids=tuple(self._rows.take_ids(found.ordinals)),
            scores=tuple(found.gains.tolist()),
            ordinals=tuple(found.ordinals.tolist()),
            provenance=self._origin()
            | {"method": "cover", "budget": budget.text, "where": where, "available": available}
            | {"weights": "rarity" if rare else None, "coverage": coverage},
            fetch=self._table.take,
            details={"round": found.rounds.tolist()},
        )

    def everything(self, where: str | None) -> Selection:
        """Take all rows that pass a filter, in the order of the corpus."""
        ordinals = self._rows.passing(where)
        if not len(ordinals):
            raise SelectionError("no row passes --where; widen it")
        facts = {"method": None, "where": where, "available": len(ordinals)}
        ids = tuple(self._rows.take_ids(ordinals))
        return Selection(ids, (), tuple(ordinals.tolist()), self._origin() | facts, self._table.take)

    def again(self, saved: Saved, name: str) -> Selection:
        """Take the rows of a selection that was written before.

        :param name: of its sidecar, for the message.
        """
        places = {own: at for at, own in enumerate(self._rows.ids())}
        missing = [own for own in saved.ids if own not in places]
        if missing:
            raise SelectionError(
                f"{name} names {missing[0]!r}, which is not in {self._layout.name}; name the index that it was chosen "
                "from, or its version with --at"
            )
        ordinals = tuple(places[own] for own in saved.ids)
        return Selection(saved.ids, saved.scores, ordinals, saved.provenance, self._table.take, saved.details)

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

        def choose(terms: Terms) -> Selection:
            rankings = self._rank(capabilities, terms, terms.k)
            agreed = agree([ranked.ids for ranked in rankings.values()], needed)
            ids = tuple(sample_id for sample_id, _, _ in agreed)
            places = dict(pair for one in rankings.values() for pair in zip(one.ids, one.ordinals, strict=True))
            sizes = [len(ranked.ids) for ranked in rankings.values()]
            chance = round(chance_size(sizes, self._available(terms), needed), 2)
            return Selection(
                ids=ids,
                scores=tuple(score for _, _, score in agreed),
                ordinals=tuple(places[sample_id] for sample_id in ids),
                provenance={"core": {"votes": needed, "found": len(ids), "chance": chance, "bootstrap": bootstrap}},
                fetch=self._table.take,
                details={"votes": [votes for _, votes, _ in agreed]},
            )

        selection, terms = self._choose(capabilities, question, choose, {})
        if bootstrap:
            draws = self._redraw(capabilities, pooled_of, terms, needed, bootstrap)
            stable = {"stability": stability(selection.ids, draws)}
            selection = replace(selection, details={**selection.details, **stable})
        return selection

    def _available(self, terms: Terms) -> int:
        return self._manifest.rows if terms.allowed is None else int(terms.allowed.sum())

    def _rank(self, capabilities: Sequence[Capability], terms: Terms, k: int) -> dict[str, Ranked]:
        logger.info("scoring %d rows by %s", len(self._rows), terms.method)
        ranked = rank(self._rows, [own.examples for own in capabilities], terms, k)
        return {own.name: one for own, one in zip(capabilities, ranked, strict=True)}

    def _redraw(
        self, capabilities: Sequence[Capability], pooled_of: PooledOf, terms: Terms, votes: int, draws: int
    ) -> Iterator[set[str]]:
        """Find the core of redrawn examples, draw after draw."""
        widths = self._rows.widths
        pooled = [pooled_of(own) for own in capabilities]
        rng = np.random.default_rng(self._manifest.fingerprint.seed)
        for number in range(draws):
            logger.info("draw %d of %d", number + 1, draws)
            drawn = [
                redrawn(own, values, widths, rng.integers(len(own), size=len(own)))
                for own, values in zip(capabilities, pooled, strict=True)
            ]
            chosen = [ranked.ids for ranked in rank(self._rows, drawn, terms)]
            yield {sample_id for sample_id, _, _ in agree(chosen, votes)}

    def read(self, question: Question, capabilities: Sequence[Capability]) -> tuple[Terms, dict[str, Any]]:
        """Read a question against the index, and say what it comes down to."""
        _check_different(capabilities)
        method = parse_enum(MethodName, question.method, "method", SelectionError)
        self._check_view(f"method {method}", METHODS[method].view)
        budget, allowed = Budget.parse(question.top), self._rows.allowed(question.where)
        quality = {name: self._quality(name) for name in question.blending}
        for scores in quality.values():
            has = np.isfinite(scores)
            allowed = has if allowed is None else allowed & has
        available = self._manifest.rows if allowed is None else int(allowed.sum())
        if question.blending and not available:
            raise SelectionError(
                f"--blend: no row to choose from has {' and '.join(question.blending)}; compute them with 'nait-index "
                "score', or widen --where"
            )
        k = budget.resolve(available)
        filtered = allowed is not None or question.decontaminate
        plan = self._plan(method, question.mode, k, len(capabilities), filtered=filtered)
        terms = Terms(method, k, allowed, question.blending, quality, plan.mode)
        return terms, self._origin() | {
            "method": str(method),
            "plan": plan.why,
            "capabilities": {own.name: {"examples": len(own), "truncated": own.truncated} for own in capabilities},
            "budget": budget.text,
            "where": question.where,
            "blend": dict(question.blending),
            "available": available,
        }

    def _plan(self, method: MethodName, wanted: SearchMode, k: int, queries: int, *, filtered: bool) -> Plan:
        own = METHODS[method]
        if not isinstance(own, Scanned):
            return Plan(SearchMode.EXACT, f"{method} scores every one of the {len(self._rows):,} rows")
        made = self._rows.approximate(own.feature) if wanted is SearchMode.APPROXIMATE else None
        recall, scanned = None if made is None else made.recall, self._rows.stamp(own.feature)
        width = scanned.dim * np.dtype(scanned.dtype).itemsize
        return make_plan(wanted, k, scanned.rows, width, queries, filtered=filtered, recall=recall)

    def _origin(self) -> dict[str, Any]:
        return {
            "index": self._layout.name,
            "fingerprint": self._manifest.fingerprint.digest,
            "basis": self._manifest.basis,
            "version": self._manifest.version,
            "max_length": self._manifest.fingerprint.max_length,
            "rounding": ROUNDING,
        }

    def _quality(self, name: str) -> np.ndarray:
        known = score_names(self._table)
        if name not in known:
            raise SelectionError(
                f"--blend: {self._layout.name} has no score '{name}'; "
                + (
                    f"it has {', '.join(known)}{did_you_mean(name, known)}"
                    if known
                    else "make one with 'nait-index score'"
                )
            )
        return self._rows.numbers(name)

    def check(self, method: MethodName | str) -> None:
        """Refuse a method that the index lacks the view for, before any example is encoded."""
        own = parse_enum(MethodName, method, "method", SelectionError)
        self._check_view(f"method {own}", METHODS[own].view)

    def _check_view(self, what: str, view: View | None) -> None:
        held = self._manifest.fingerprint.views
        if view is not None and view not in held:
            options = f"--views {','.join([*held, view])}" + (" --sae FOLDER" if view is View.SAE else "")
            raise StoreError(
                f"{what} needs the view {view}, which {self._layout.name} was built without; build another index with "
                f"'nait-index build' and {options}"
            )


def _check_different(capabilities: Sequence[Capability]) -> None:
    if not capabilities:
        raise SelectionError("name at least one capability with -c, or a file of examples with -e")
    names = [own.name for own in capabilities]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise SelectionError(f"capability '{repeated[0]}' is given twice")
