"""From capabilities to selections: what each ranks highest, their combination, their core; and coverage without any."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.capabilities.capability import Capability
from nait_index.capabilities.library import CapabilityLibrary
from nait_index.config import Combine, CoreRule, SearchMode, Selector, View
from nait_index.errors import SelectionError, StoreError
from nait_index.methods.registry import MethodName, approximated, method_of
from nait_index.search.approximate import Plan, make_plan
from nait_index.search.rows import IndexRows
from nait_index.selection.blocks import Division, Proposal, cover_rows
from nait_index.selection.budget import ALL_ROWS, NOTHING_LEFT, ROUNDING, Budget, Top, suggest
from nait_index.selection.combine import combine
from nait_index.selection.coverage import rarity
from nait_index.selection.duplicates import check_threshold
from nait_index.selection.fill import fill, fill_without_duplicates, mix_in
from nait_index.selection.neuron_sets import NeuronSets, parts
from nait_index.selection.provenance import CoverageSize, Provenance, read_sidecar
from nait_index.selection.quota import Mix, Quota, value_codes
from nait_index.selection.ranking import Ranked, RankingRequest, rank
from nait_index.selection.selection import Selection, content_key
from nait_index.selection.selectors import POOL, select
from nait_index.selection.tasks import CoreChooser, CoreWish, draws_by_default
from nait_index.signatures.features import Feature
from nait_index.spelling import did_you_mean, parse_enum
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.store.samples import SampleTable
from nait_index.store.scores import score_names

logger = logging.getLogger(__name__)

CapabilityLike = str | Capability
"""The name of a stored capability, or a capability."""


@dataclass(frozen=True, slots=True)
class Chooser:
    """Makes selections from one index."""

    layout: Layout
    manifest: Manifest
    table: SampleTable
    rows: IndexRows
    library: CapabilityLibrary

    # ---- requests ---------------------------------------------------------------------------------------------------

    def request(
        self,
        capabilities: CapabilityLike | Sequence[CapabilityLike],
        top: Top,
        method: MethodName | str,
        where: str | None,
        blend: Mapping[str, float] | None = None,
        search: SearchMode | str = SearchMode.EXACT,
        *,
        decontaminate: bool = False,
        unlike: CapabilityLike | Sequence[CapabilityLike] = (),
        dedup: float | None = None,
        at_most: str | Sequence[str] = (),
        select: Selector | str = Selector.TOP,
        mix: str | None = None,
    ) -> RankingRequest:
        """Parse the arguments of a query, and determine which rows may be chosen.

        :param unlike: capabilities that are not wanted. :param dedup: likeness from which on rows are near-duplicates.
        :param at_most: quotas such as ``source=20%``. :param select: which of the best rows are taken.
        :param mix: the part that is drawn at random, such as ``random=30%``.
        :raises SelectionError: one of them cannot be used. :raises StoreError: the index lacks the method's view.
        """
        resolved, blend = self.library.resolve(capabilities), dict(blend or {})
        names = [capability.name for capability in resolved]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise SelectionError(f"capability '{repeated[0]}' is given twice")
        checked = self.check_method(method)
        selector = parse_enum(Selector, select, "selector", SelectionError)
        if selector is Selector.COVERAGE:
            self._check_view("--select coverage", View.TOPK)
        unwanted = self._unwanted(unlike, names, checked)
        if unwanted:
            made = tuple(capability.examples for capability in unwanted)
            resolved = [replace(item, examples=replace(item.examples, unlike=made, queries={})) for item in resolved]
        quality = {name: self._quality(name) for name in blend}
        allowed = self._allowed(where, quality)
        available = self._available(allowed)
        return RankingRequest(
            capabilities=resolved,
            method=checked,
            budget=self._budget(top, allowed, available),
            available=available,
            allowed=allowed,
            where=where,
            blend=blend,
            quality=quality,
            search=parse_enum(SearchMode, search, "search", SelectionError),
            decontaminate=decontaminate,
            unlike=unwanted,
            dedup=None if dedup is None else check_threshold(dedup),
            quotas=self._quotas([at_most] if isinstance(at_most, str) else at_most),
            select=selector,
            mix=None if mix is None else Mix.parse(mix),
        )

    def _allowed(self, where: str | None, quality: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Return which rows pass a filter and have all quality scores that are blended in; ``None`` for all."""
        allowed = self.rows.allowed(where)
        if not quality:
            return allowed
        has_all: np.ndarray = np.all([np.isfinite(scores) for scores in quality.values()], axis=0)
        allowed = has_all if allowed is None else allowed & has_all
        if not allowed.any():
            raise SelectionError(
                f"--blend: no row to choose from has {' and '.join(quality)}; compute them with 'nait-index score', "
                "or widen --where"
            )
        return allowed

    def _budget(self, top: Top, allowed: np.ndarray | None, available: int) -> Budget:
        """Parse a budget; one in tokens is tried first with as many rows as their mean length suggests."""
        budget = Budget.parse(top)
        if budget.tokens is None:
            return budget
        if not available:
            raise SelectionError(NOTHING_LEFT)
        lengths = self.rows.numbers("n_tokens")
        mean = float(lengths.mean() if allowed is None else lengths[allowed].mean())
        return replace(budget, rows=min(available, max(1, round(budget.tokens / max(mean, 1)))))

    def _quotas(self, texts: Sequence[str]) -> list[tuple[Quota, np.ndarray]]:
        quotas = list(map(Quota.parse, texts))  # all of them, before a column is read
        return [(quota, value_codes(self.rows.values(quota.column, "--at-most"))) for quota in quotas]

    def _unwanted(
        self, unlike: CapabilityLike | Sequence[CapabilityLike], names: Sequence[str], method: MethodName
    ) -> list[Capability]:
        """Return the capabilities that are not wanted, if the method can heed them."""
        unwanted = self.library.resolve(unlike)
        both = next((item.name for item in unwanted if item.name in names), None)
        if both is not None:
            raise SelectionError(f"capability '{both}' cannot be wanted and unwanted at once")
        if unwanted and not method_of(method).takes_unlike:
            able = ", ".join(name for name in MethodName if method_of(name).takes_unlike)
            raise SelectionError(f"method {method} does not heed examples of what is not wanted; use one of: {able}")
        return unwanted

    def check_method(self, method: MethodName | str) -> MethodName:
        """Parse a method's name, and check that the index has the view that the method needs.

        :raises StoreError: it lacks the view. :raises SelectionError: there is no such method.
        """
        name = parse_enum(MethodName, method, "method", SelectionError)
        self._check_view(f"method {name}", method_of(name).view, method_of(name).instead)
        return name

    def _check_view(self, user: str, view: View | None, instead: Sequence[View] = ()) -> None:
        views = self.manifest.fingerprint.signatures.views
        if view is not None and not {view, *instead} & set(views):
            options = f"--views {','.join([*views, view])}" + (" --sae FOLDER" if view is View.SAE else "")
            later = ", or add it with 'nait-index landmarks'" if view is View.LANDMARKS and View.PCA in views else ""
            raise StoreError(
                f"{user} needs the view {view}, which {self.layout.name} was built without; build another index with "
                f"'nait-index build' and {options}{later}"
            )

    def _available(self, allowed: np.ndarray | None) -> int:
        return self.manifest.rows if allowed is None else int(allowed.sum())

    def _quality(self, name: str) -> np.ndarray:
        known = score_names(self.table)
        if name not in known:
            listed = f"it has {', '.join(known)}" if known else "make one with 'nait-index score'"
            near = did_you_mean(name, known)
            raise SelectionError(f"--blend: {self.layout.name} has no score '{name}'; {listed}{near}")
        return self.rows.numbers(name)

    # ---- query ------------------------------------------------------------------------------------------------------

    def query(
        self,
        request: RankingRequest,
        combine_by: Combine | str = Combine.UNION,
        weights: Mapping[str, float] | None = None,
        margin: int = 0,
    ) -> Selection:
        """Choose what one capability ranks highest, or combine what several rank highest.

        :param margin: of one capability, show as many of the rows that just missed the cut.
        """
        how = parse_enum(Combine, combine_by, "way to combine", SelectionError)
        if not request.capabilities:
            raise SelectionError("name at least one capability with -c, or a file of examples with -e")
        several = len(request.capabilities) > 1
        _check_margin(margin, request, several=several)
        if several and how is Combine.MEAN and request.select is not Selector.TOP:
            raise SelectionError(
                "--combine mean ranks every row, so there is nothing to --select; leave one of them out"
            )
        if request.budget.is_auto and not several:
            return self._by_curve(request, weights, margin)
        ranks_all = several and how is Combine.MEAN
        request, provenance = self._planned(request, all_needed=ranks_all)
        if several or weights is not None:
            provenance = replace(provenance, combined=str(how), weights=weights)

        def choose(request: RankingRequest) -> Selection:
            k = request.available if ranks_all else request.k
            ranked = self._ranked(request, k)
            if not several and weights is None:
                return Selection(
                    ranked[0].ids,
                    ranked[0].scores,
                    ranked[0].ordinals,
                    provenance,
                    self.rows.take,
                    reading=self.rows.reading,
                )
            names = [capability.name for capability in request.capabilities]
            rankings = dict(zip(names, ranked, strict=True))
            chosen = combine({name: ranked.ids for name, ranked in rankings.items()}, how, request.k, weights)
            return self._combined(rankings, chosen, provenance)

        selection, answered, before_quotas = fill(request, choose, self.rows)
        if request.mix is not None:
            return mix_in(selection, before_quotas, request.mix, self.rows, self.manifest.fingerprint.signatures.seed)
        return selection if not margin else self._with_margin(selection, answered, margin)

    def _ranked(self, request: RankingRequest, k: int) -> list[Ranked]:
        """Rank the rows for each capability, and take ``k`` of the best as the request asks."""
        if request.select is Selector.TOP:
            return rank(self.rows, request.examples, request, k)
        pool = min(POOL * k, request.available)
        best = rank(self.rows, request.examples, request, pool)
        return [
            select(request.select, self.rows, examples, of_capability, k)
            for examples, of_capability in zip(request.examples, best, strict=True)
        ]

    def _with_margin(self, selection: Selection, request: RankingRequest, margin: int) -> Selection:
        """Add the rows that come after those that were chosen."""
        k = min(len(selection) + margin, request.available)
        if k == len(selection):
            return selection
        after = rank(self.rows, request.examples, replace(request, search=SearchMode.EXACT), k)[0]
        chosen = set(selection.ids)
        rows = zip(after.ids, after.scores, after.ordinals, strict=True)
        ids, scores, ordinals = zip(*(row for row in rows if row[0] not in chosen), strict=True)
        before = len(selection)
        missed = replace(selection, ids=ids, scores=scores, ordinals=ordinals, details={}, asked={}, before=before)
        return replace(selection, missed=missed)

    def _by_curve(self, request: RankingRequest, weights: Mapping[str, float] | None, margin: int) -> Selection:
        """Choose what one capability ranks highest, as many rows as the curve of all its scores suggests."""
        if weights is not None:
            raise SelectionError("--weight is for several capabilities, and --top auto for one; leave --weight out")
        exact = replace(request, search=SearchMode.EXACT)
        plain = replace(exact, decontaminate=False, dedup=None, quotas=(), select=Selector.TOP, mix=None)
        ranking = self.query(replace(plain, budget=ALL_ROWS))
        suggestion = suggest(ranking.scores)
        if margin or request.cleaning or request.mix or request.select is not Selector.TOP:
            chosen = self.query(replace(exact, budget=Budget.parse(suggestion.rows)), margin=margin)
        else:
            chosen = ranking.first(suggestion.rows)
        auto, reasons = suggestion.to_dict(), suggestion.reasons
        return replace(chosen, provenance=replace(chosen.provenance, budget="auto", auto=auto, reasons=reasons))

    def _combined(
        self, rankings: Mapping[str, Ranked], chosen: Sequence[tuple[str, str]], provenance: Provenance
    ) -> Selection:
        ranks = {name: {sample_id: i for i, sample_id in enumerate(ranked.ids)} for name, ranked in rankings.items()}
        ids, names = zip(*chosen, strict=True)
        sources = [(rankings[name], ranks[name][sample_id]) for sample_id, name in chosen]
        scores = tuple(ranked.scores[i] for ranked, i in sources)
        ordinals = tuple(ranked.ordinals[i] for ranked, i in sources)
        return Selection(
            ids, scores, ordinals, provenance, self.rows.take, {"capability": list(names)}, reading=self.rows.reading
        )

    # ---- core -------------------------------------------------------------------------------------------------------

    def core(
        self, request: RankingRequest, rule: CoreRule | str | None, votes: str | int | None, bootstrap: int | None
    ) -> Selection:
        """Choose the rows that serve several capabilities.

        :param bootstrap: how often the examples are resampled to measure how stable the core is; ``None`` to decide
            by what it costs.
        """
        chooser = CoreChooser(self.rows, CoreWish.parse(rule, votes, len(request.capabilities)))
        if votes is not None and request.budget.tokens is not None:
            raise SelectionError(
                f"--top {request.budget} would fill up what is agreed on; with --votes, give the number or share of "
                "rows that each capability chooses"
            )
        request, provenance = self._planned(request)
        draws = draws_by_default(request) if bootstrap is None else bootstrap
        selection, _, before_quotas = fill(request, lambda request: chooser.choose(request, provenance), self.rows)
        seed = self.manifest.fingerprint.signatures.seed
        return (
            chooser.with_stability(selection, before_quotas, self.library, draws, seed)
            if draws and selection.ids
            else selection
        )

    # ---- what a query and a core share ------------------------------------------------------------------------------

    def _planned(self, request: RankingRequest, *, all_needed: bool = False) -> tuple[RankingRequest, Provenance]:
        """Decide how the rows are searched, and record what the selection is made from.

        :param all_needed: whether every row's score is needed.
        """
        plan = self._plan(request, all_needed)
        provenance = self._provenance(str(request.method), request.where, request.available)
        budget, blend = request.budget.text, request.blend
        capabilities, unlike = _described(request.capabilities), _described(request.unlike)
        provenance = replace(provenance, plan=plan.why, capabilities=capabilities, budget=budget, blend=blend)
        provenance = replace(
            provenance,
            search=None if plan.mode is SearchMode.EXACT else str(plan.mode),
            unlike=unlike or None,
            select=None if request.select is Selector.TOP else str(request.select),
            at_most=[str(quota) for quota, _ in request.quotas] or None,
            mix=None if request.mix is None else str(request.mix),
        )
        return replace(request, search=plan.mode), provenance

    def _plan(self, request: RankingRequest, all_needed: bool) -> Plan:
        features = method_of(request.method).features(self.rows)
        if request.select is not Selector.TOP:
            return Plan(SearchMode.EXACT, f"--select {request.select} takes from the best of an exact search")
        if not features or Feature.HIDDEN in features:
            return Plan(SearchMode.EXACT, f"{request.method} scores every one of the {len(self.rows):,} rows")
        approximate = self.rows.approximate(*features) if request.search is SearchMode.APPROXIMATE else None
        recall, scanned = None if approximate is None else approximate.recall, [*map(self.rows.stamp, features)]
        width = sum(stamp.dim * np.dtype(stamp.dtype).itemsize for stamp in scanned)
        rows, queries = len(self.rows), len(request.capabilities)
        passing = None if request.allowed is None else request.available
        read = self.rows.count_read(features, passing)
        plan = make_plan(
            request.search,
            request.k,
            rows,
            width,
            queries,
            read=read,
            passing=passing,
            all_needed=bool(all_needed or request.blend or request.cleaning),
            recall=recall,
            able="" if approximate or request.search is SearchMode.EXACT else self._approximate_methods(features),
        )
        reason = self.rows.scan_reason(width, scanned[0].dtype, queries)
        if not reason or plan.mode is not SearchMode.EXACT or read < rows:
            return plan
        return replace(plan, why=f"{plan.why}; multiplied {reason}")

    def _approximate_methods(self, features: tuple[Feature, ...]) -> str:
        """Return the methods that are searched by approximation; nothing where some features are among theirs."""
        searched, views = approximated(self.rows), {None, *self.manifest.fingerprint.signatures.views}
        if features in searched:
            return ""
        usable = (name for name in MethodName if {method_of(name).view, *method_of(name).instead} & views)
        return ", ".join(name for name in usable if method_of(name).features(self.rows) in searched)

    def _provenance(self, method: str | None, where: str | None, available: int) -> Provenance:
        return Provenance(
            index=self.layout.name,
            fingerprint=self.manifest.fingerprint.digest,
            basis=self.manifest.basis,
            version=self.manifest.version,
            max_length=self.manifest.fingerprint.max_length,
            rounding=ROUNDING,
            method=method,
            where=where,
            available=available,
        )

    # ---- without capabilities ---------------------------------------------------------------------------------------

    def cover(self, top: Top, where: str | None, *, rare: bool, dedup: float | None = None) -> Selection:
        """Choose rows that together activate the most neurons, with no target (MADS)."""
        self._check_view("cover", View.TOPK)
        budget, allowed = Budget.parse(top), self.rows.allowed(where)
        available = self._available(allowed)
        wanted = budget.resolve(available)
        rows, neurons = self.rows, NeuronSets(self.rows.widths, self.rows.topk)
        weights = np.ones(neurons.neurons)
        if rare:
            weights = rarity(reduce(np.add, rows.each(neurons.count, parts(len(rows)))), len(rows))
        provenance = replace(
            self._provenance("cover", where, available), budget=budget.text, weights="rarity" if rare else None
        )

        def proposals_of(count: int, blocks: Iterable[np.ndarray]) -> Iterable[Proposal]:
            return rows.each(partial(neurons.propose, count, weights), blocks)

        def choose(allowed: np.ndarray | None) -> Selection:
            candidates = np.arange(len(rows)) if allowed is None else np.flatnonzero(allowed)
            k = min(wanted, len(candidates))
            division = Division.of(len(candidates), neurons.width)
            logger.info("choosing rows that cover the most neurons: %s", division.why(rows.workers))
            chosen = cover_rows(partial(neurons.read, rows.table), candidates, k, division, weights, proposals_of)
            size = CoverageSize(
                covered=chosen.covered,
                coverable=chosen.coverable,
                neurons=neurons.neurons,
                strongest=self.rows.topk,
                rounds=int(chosen.rounds[-1]),
                blocks=division.blocks,
                block_rows=division.rows,
                together=division.together,
            )
            return Selection(
                ids=tuple(self.rows.take_ids(chosen.ordinals)),
                scores=tuple(chosen.gains.tolist()),
                ordinals=tuple(chosen.ordinals.tolist()),
                provenance=replace(provenance, coverage=size, plan=division.why(rows.workers)),
                reading=self.rows.reading,
                fetch=self.rows.take,
                details={"round": chosen.rounds.tolist()},
            )

        return fill_without_duplicates(choose, allowed, dedup, len(self.rows))

    def select_all(self, where: str | None, dedup: float | None = None) -> Selection:
        """Choose all rows that pass a filter, in corpus order."""
        passing = self.rows.passing(where)
        if not len(passing):
            raise SelectionError("no row passes --where; widen it")
        provenance = self._provenance(None, where, len(passing))

        def choose(allowed: np.ndarray | None) -> Selection:
            ordinals = passing if allowed is None else passing[allowed[passing]]
            ids = tuple(self.rows.take_ids(ordinals))
            return Selection(ids, (), tuple(ordinals.tolist()), provenance, self.rows.take, reading=self.rows.reading)

        return fill_without_duplicates(choose, None, dedup, len(self.rows))

    def load(self, sidecar: Path) -> Selection:
        """Read the selection that a sidecar describes.

        :raises SelectionError: this version of the index has not the rows that were chosen.
        """
        columns, provenance, held_out = read_sidecar(sidecar)
        ids, scores, contents = columns.pop("id"), columns.pop("score", ()), columns.pop("content", None)
        ordinal_of = {sample_id: ordinal for ordinal, sample_id in enumerate(self.rows.ids())}
        missing = [sample_id for sample_id in ids if sample_id not in ordinal_of]
        if missing:
            raise SelectionError(
                f"{sidecar} names {missing[0]!r}, which is not in {self.layout.name}; name the index that it was "
                "chosen from, or its version with --at"
            )
        ordinals = tuple(ordinal_of[sample_id] for sample_id in ids)
        self._require_same_rows(sidecar, provenance, ids, ordinals, contents)
        reading, fetch = self.rows.reading, self.rows.take
        return Selection(ids, scores, ordinals, provenance, fetch, columns, reading=reading, held_out=held_out)

    def _require_same_rows(
        self,
        sidecar: Path,
        provenance: Provenance,
        ids: Sequence[str],
        ordinals: Sequence[int],
        contents: Sequence[str] | None,
    ) -> None:
        """Refuse rows that have the ids of chosen ones and other content.

        :param contents: of the chosen rows; ``None`` if the sidecar is of a release that did not record them.
        """
        chosen_from, name = provenance.index or "another index", self.layout.name
        # Landmarks that were added since change the settings and what follows the basis's own hash, and no row.
        has_same_basis = (provenance.basis or "").split("/")[0] == self.manifest.basis.split("/")[0]
        settings = self.manifest.fingerprint.digest, *self.manifest.earlier_fingerprints
        if contents is None:
            if not has_same_basis or provenance.fingerprint not in settings:
                raise SelectionError(
                    f"{sidecar} was chosen from {chosen_from} with another basis or other settings than those of "
                    f"{name}, and does not record the rows' content; name the index that it was chosen from"
                )
            return
        stored = map(content_key, self.rows.take(ordinals, ["content_hash"])["content_hash"])
        rows = zip(ids, contents, stored, strict=True)
        changed = next((sample_id for sample_id, content, now in rows if content != now), None)
        if changed is not None:
            is_earlier = has_same_basis and provenance.version in {kept.number for kept in self.manifest.history[:-1]}
            remedy = f"add --at {provenance.version}" if is_earlier else "name the index that it was chosen from"
            raise SelectionError(
                f"{sidecar} names {changed!r}, which is another row in {name} than it was in {chosen_from} at version "
                f"{provenance.version}; {remedy}, or choose again"
            )


def _check_margin(margin: int, request: RankingRequest, *, several: bool) -> None:
    """Check that the rows that just missed the cut can be shown.

    :param several: whether several capabilities are queried.
    """
    if margin < 0:
        raise SelectionError(f"--margin must be at least 0, not {margin}")
    if margin and several:
        raise SelectionError("--margin shows what just missed the cut of one capability; query them one by one")
    if margin and (request.mix or request.select is not Selector.TOP):
        raise SelectionError("--margin shows what just missed the best scores; leave --select and --mix out")


def _described(capabilities: Sequence[Capability]) -> dict[str, dict[str, Any]]:
    """Return what provenance says of capabilities, by name."""
    return {
        item.name: {"examples": len(item), "truncated": item.truncated, "hash": item.digest} for item in capabilities
    }
