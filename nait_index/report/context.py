"""The index that a report is on, the rows to choose from, and what each capability chooses."""

from dataclasses import dataclass, field

import numpy as np

from nait_index.index import NaitIndex
from nait_index.report.request import ReportRequest
from nait_index.selection.budget import Budget
from nait_index.selection.ranking import best_first


@dataclass(frozen=True, slots=True)
class CapabilityChoice:
    """What one capability chooses.

    :param scores: (n,) of all rows, NaN where a row cannot be chosen.
    :param order: (available,) positions of the rows that can be chosen, best first. :param k: how many are chosen.
    """

    name: str
    scores: np.ndarray
    order: np.ndarray
    k: int

    @property
    def chosen(self) -> np.ndarray:
        """(k,) positions of the chosen rows, best first."""
        return self.order[: self.k]

    @property
    def cut(self) -> float:
        """The lowest chosen score."""
        return float(self.scores[self.order[self.k - 1]])


@dataclass(frozen=True, slots=True)
class RowSample:
    """Rows to read.

    :param evenly: positions that represent all rows that can be chosen. :param positions: these and some more from each
        choice. Both ascending. :param per_choice: how many rows represent a choice.
    :param is_whole: whether these are all rows that can be chosen.
    """

    evenly: np.ndarray
    positions: np.ndarray
    per_choice: int
    is_whole: bool

    def chosen(self, choice: CapabilityChoice) -> np.ndarray:
        """Return the positions that represent a choice."""
        return choice.chosen if self.is_whole else random_subset(choice.chosen, self.per_choice)


@dataclass(frozen=True, slots=True)
class ReportContext:
    """The index, and what is chosen from it.

    :param tokens: (n,) of all rows. :param available: positions of the rows that can be chosen, ascending.
    :param notes: what is left out, and why; filled in while the facts are gathered.
    """

    index: NaitIndex
    request: ReportRequest
    tokens: np.ndarray
    available: np.ndarray
    choices: tuple[CapabilityChoice, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The capabilities' names."""
        return [choice.name for choice in self.choices]

    def note(self, text: str) -> None:
        """Record once what is left out."""
        if text not in self.notes:
            self.notes.append(text)

    def sample(self, rows: int, per_choice: int) -> RowSample:
        """Draw rows uniformly, and some more from each choice; return all rows where there are at most ``rows``."""
        if len(self.available) <= rows:
            return RowSample(self.available, self.available, per_choice, True)
        evenly = np.sort(random_subset(self.available, rows))
        more = [random_subset(choice.chosen, per_choice) for choice in self.choices]
        return RowSample(evenly, np.unique(np.concatenate([evenly, *more])), per_choice, False)


def random_subset(values: np.ndarray, most: int) -> np.ndarray:
    """Draw at most ``most`` values of an array, with a fixed seed."""
    return np.random.default_rng(0).choice(values, min(most, len(values)), replace=False)


def prepare(index: NaitIndex, request: ReportRequest) -> ReportContext:
    """Choose rows for each requested capability.

    :raises NaitError: a name is unknown, or the method, budget or filter cannot be used.
    """
    stored = [capability["name"] for capability in index.capabilities()]
    names = stored if request.names is None else list(dict.fromkeys(request.names))
    index.check_method(request.method)
    budget = Budget.parse(request.top)
    tokens = index.columns.read(["n_tokens"]).column(0).to_numpy()
    allowed = index.columns.allowed(request.where)
    available = np.arange(len(tokens)) if allowed is None else np.flatnonzero(allowed)
    k = budget.resolve(len(available))
    scores = index.capability_scores(names, method=request.method, where=request.where) if names else ()
    choices = tuple(
        CapabilityChoice(name, values, _order(index, values, available, k), k)
        for name, values in zip(names, scores, strict=True)
    )
    return ReportContext(index, request, tokens, available, choices)


def _order(index: NaitIndex, scores: np.ndarray, available: np.ndarray, k: int) -> np.ndarray:
    """Order the rows that can be chosen, best first; ties down to the cut are broken by id, as in a query."""
    order = available[np.argsort(-scores[available], kind="stable")]
    taken = int(np.count_nonzero(scores[order] >= scores[order[k - 1]]))
    best = scores[order[:taken]]
    if len(np.unique(best)) < taken:
        order[:taken] = order[best_first(best, index.columns.take_ids(order[:taken]))]
    return order
