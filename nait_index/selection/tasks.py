"""What several tasks make of the same rows: every score, every rank, and a core of them as a selection."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nait_index.capabilities.capability import resampled
from nait_index.capabilities.library import CapabilityLibrary
from nait_index.config import CoreRule
from nait_index.errors import SelectionError
from nait_index.methods.base import Examples
from nait_index.methods.registry import method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.core import CoreRows, agreed, chance_size, choose_core, places, required_votes, stability
from nait_index.selection.provenance import CoreSummary, Provenance
from nait_index.selection.quota import over_quota
from nait_index.selection.ranking import RankingRequest, score_rows
from nait_index.selection.selection import Selection
from nait_index.spelling import parse_enum

logger = logging.getLogger(__name__)

DRAWS = 16
"""How often the examples are resampled, unless that would need the model or take long."""


@dataclass(frozen=True, slots=True)
class CoreWish:
    """How a core is chosen.

    :param votes: how many tasks must agree, however few rows that gives; ``None`` for exactly the budget, by ``rule``.
    """

    rule: CoreRule
    votes: int | None

    @classmethod
    def parse(cls, rule: CoreRule | str | None, votes: str | int | None, tasks: int) -> "CoreWish":
        """Parse what was asked.

        :raises SelectionError: it cannot be used, or there are fewer than two tasks.
        """
        if tasks < 2:
            raise SelectionError("a core needs at least two capabilities; give several -c or -e")
        if votes is not None and rule is not None:
            raise SelectionError("--rule chooses exactly --top rows, and --votes those that are agreed on; give one")
        parsed = CoreRule.BALANCED if rule is None else parse_enum(CoreRule, rule, "rule", SelectionError)
        return cls(parsed, None if votes is None else required_votes(votes, tasks))


class CoreChooser:
    """Chooses cores from the rows of one index.

    :param wish: how.
    """

    def __init__(self, rows: IndexRows, wish: CoreWish) -> None:
        self._rows = rows
        self._wish = wish
        self._order = rows.id_order()  # decides ties

    def choose(self, request: RankingRequest, provenance: Provenance) -> Selection:
        """Choose a core, and report which tasks every row serves."""
        ordinals, scores = self._scored(request, request.examples)
        names, ranks = [capability.name for capability in request.capabilities], places(scores)
        core = self._core(scores, ranks, request, names)
        chosen, of_chosen = ordinals[core.positions], ranks[:, core.positions].T
        serves = [_served(names, of_row, request.k) for of_row in of_chosen]
        details: dict[str, Sequence[Any]] = {} if self._wish.votes is None else {"votes": [*map(len, serves)]}
        details |= {"serves": serves, "ranks": [dict(zip(names, of_row, strict=True)) for of_row in of_chosen.tolist()]}
        return Selection(
            ids=tuple(self._rows.take_ids(chosen)),
            scores=tuple(core.values.tolist()),
            ordinals=tuple(chosen.tolist()),
            provenance=replace(provenance, core=self._summary(names, ranks, core, request)),
            fetch=self._rows.take,
            details=details,
            reading=self._rows.reading,
        )

    def with_stability(
        self, selection: Selection, request: RankingRequest, library: CapabilityLibrary, draws: int, seed: int
    ) -> Selection:
        """Add to every row of a core the share of the cores of resampled examples that hold it.

        :param request: whose quotas have left out no row yet; every resample applies them anew.
        """
        redrawn = self._redrawn(request, library, draws, seed)
        shares = stability(np.array(selection.ordinals, np.int64), redrawn, len(self._rows))
        summary = selection.provenance.core
        assert summary is not None
        mean = round(float(shares.mean()), 4) if len(shares) else None
        provenance = replace(selection.provenance, core=replace(summary, bootstrap=draws, stability=mean))
        return replace(selection, provenance=provenance, details={**selection.details, "stability": shares.tolist()})

    def _redrawn(
        self, request: RankingRequest, library: CapabilityLibrary, draws: int, seed: int
    ) -> Iterator[np.ndarray]:
        """Yield the core of each draw of resampled examples, as ordinals."""
        capabilities, rng = request.capabilities, np.random.default_rng(seed)
        names = [capability.name for capability in capabilities]
        needs_model = method_of(request.method).needs_activations
        pooled = [library.pooled(capability) if needs_model else None for capability in capabilities]
        for number in range(draws):
            logger.info("draw %d of %d", number + 1, draws)
            drawn = [
                resampled(item, values, self._rows.widths, rng.integers(len(item), size=len(item)), [request.method])
                for item, values in zip(capabilities, pooled, strict=True)
            ]
            yield self._within_quotas(request, drawn, names)

    def _within_quotas(self, request: RankingRequest, examples: Sequence[Examples], names: Sequence[str]) -> np.ndarray:
        """Return the core of some examples, as ordinals, without rows that exceed a quota."""
        ordinals, scores = self._scored(request, examples)
        quotas: list[tuple[np.ndarray, int]] | None = None
        while True:
            ranks = np.zeros(0) if self._wish.votes is None else places(scores)
            core: np.ndarray = ordinals[self._core(scores, ranks, request, names).positions]
            quotas = quotas or [(codes, quota.rows(len(core))) for quota, codes in request.quotas]
            out = over_quota(quotas, core)
            if not np.isin(core, out).any():
                return core
            request = request.without(out, len(self._rows))
            if request.blend:  # on the scale of the rows that are left
                ordinals, scores = self._scored(request, examples)
            else:
                left = ~np.isin(ordinals, out)
                ordinals, scores = ordinals[left], scores[:, left]

    def _scored(self, request: RankingRequest, examples: Sequence[Examples]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that may be chosen (n,), in the order of their ids, and all their scores (C, n)."""
        scores = score_rows(self._rows, request, examples)
        ordinals = self._order[np.isfinite(scores[0][self._order])]
        return ordinals, scores[:, ordinals]

    def _core(self, scores: np.ndarray, ranks: np.ndarray, request: RankingRequest, names: Sequence[str]) -> CoreRows:
        if self._wish.votes is not None:
            return agreed(ranks, request.k, self._wish.votes)
        if self._wish.rule is not CoreRule.ROUND_ROBIN:
            scores = scores[np.argsort(names)]  # so that not even rounding depends on the order of the capabilities
        return choose_core(scores, request.k, self._wish.rule)

    def _summary(self, names: Sequence[str], ranks: np.ndarray, core: CoreRows, request: RankingRequest) -> CoreSummary:
        chosen_by, votes, k = ranks <= request.k, self._wish.votes, request.k
        levels = range(1, len(names) + 1)
        everywhere, here = (held.sum(axis=0) for held in (chosen_by, chosen_by[:, core.positions]))
        chance = None if votes is None else round(chance_size([k] * len(names), request.available, votes), 2)
        return CoreSummary(
            rule=None if votes is not None else str(self._wish.rule),
            votes=votes,
            rows=len(core.positions),
            chance=chance,
            alone=k,
            kept=dict(zip(names, chosen_by[:, core.positions].sum(axis=1).tolist(), strict=True)),
            shared=[int((here >= level).sum()) for level in levels],
            agreement=[int((everywhere >= level).sum()) for level in levels],
        )


def draws_by_default(request: RankingRequest) -> int:
    """Return how often examples are resampled where nothing was asked: not at all where it needs the model.

    Nor where a method reads the rows once for every query.
    """
    method = method_of(request.method)
    has_activations = all(capability.pooled is not None for capability in request.capabilities)
    return DRAWS if method.feature is not None and (has_activations or not method.needs_activations) else 0


def _served(names: Sequence[str], ranks: np.ndarray, k: int) -> list[str]:
    """Return the tasks that rank a row among their best ``k``, the one that ranks it best first."""
    return [names[task] for task in np.argsort(ranks, kind="stable") if ranks[task] <= k]
