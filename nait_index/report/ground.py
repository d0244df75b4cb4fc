"""What every part of a report stands on: the index, the rows that can be chosen, and what each capability chooses."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nait_index.index import NaitIndex
from nait_index.report.asked import Asked
from nait_index.selection.budget import Budget


@dataclass(frozen=True, slots=True)
class Choice:
    """What one capability chooses.

    :param scores: (n,) of all rows, NaN where a row cannot be chosen. :param order: (available,) places, best first.
    :param k: how many are chosen.
    """

    name: str
    scores: np.ndarray
    order: np.ndarray
    k: int

    @property
    def chosen(self) -> np.ndarray:
        """Places of the chosen rows (k,), best first."""
        return self.order[: self.k]

    @property
    def cut(self) -> float:
        """The lowest score that is chosen."""
        return float(self.scores[self.order[self.k - 1]])


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows drawn to be read.

    :param evenly: places that stand for all rows that can be chosen. :param places: these and more of each selection.
        Both ascending. :param of_each: how many stand for a selection. :param is_whole: whether that is all there is.
    """

    evenly: np.ndarray
    places: np.ndarray
    of_each: int
    is_whole: bool

    def chosen(self, choice: Choice) -> np.ndarray:
        """Give the rows that stand for a selection."""
        return choice.chosen if self.is_whole else some(choice.chosen, self.of_each)


@dataclass(frozen=True, slots=True)
class Ground:
    """The index, and what is chosen from it.

    :param tokens: (n,) of all rows. :param available: places of the rows that can be chosen, ascending.
    :param notes: what is left out, and why; the parts add to it.
    """

    index: NaitIndex
    asked: Asked
    tokens: np.ndarray
    available: np.ndarray
    choices: tuple[Choice, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The capabilities' names."""
        return [choice.name for choice in self.choices]

    def note(self, text: str) -> None:
        """Say, once, what is left out."""
        if text not in self.notes:
            self.notes.append(text)

    def draw(self, rows: int, of_each: int) -> Drawn:
        """Draw so many rows evenly and so many of each selection; all of them where they are not too many."""
        if len(self.available) <= rows:
            return Drawn(self.available, self.available, of_each, True)
        evenly = np.sort(some(self.available, rows))
        more = [some(choice.chosen, of_each) for choice in self.choices]
        return Drawn(evenly, np.unique(np.concatenate([evenly, *more])), of_each, False)


def some(of: np.ndarray, most: int) -> np.ndarray:
    """Draw some of an array, always the same ones."""
    return np.random.default_rng(0).choice(of, min(most, len(of)), replace=False)


def lay_ground(index: NaitIndex, asked: Asked) -> Ground:
    """Choose for every capability that is asked for; all stored ones unless some are named."""
    stored = [own["name"] for own in index.capabilities()]
    names = stored if asked.names is None else list(dict.fromkeys(asked.names))
    index.check_method(asked.method)
    budget = Budget.parse(asked.top)
    tokens = index.columns.read(["n_tokens"]).column(0).to_numpy()
    allowed = index.columns.allowed(asked.where)
    available = np.arange(len(tokens)) if allowed is None else np.flatnonzero(allowed)
    k = budget.resolve(len(available))
    choices = _choose(index, asked, names, available, k) if names else ()
    return Ground(index, asked, tokens, available, choices)


def _choose(index: NaitIndex, asked: Asked, names: Sequence[str], available: np.ndarray, k: int) -> tuple[Choice, ...]:
    scores = index.capability_scores(names, method=asked.method, where=asked.where)
    return tuple(
        Choice(name, own, _order(index, own, available, k), k) for name, own in zip(names, scores, strict=True)
    )


def _order(index: NaitIndex, scores: np.ndarray, available: np.ndarray, k: int) -> np.ndarray:
    """Order the rows that can be chosen, best first; those that tie at the cut by their ids, as a query does."""
    order = available[np.argsort(-scores[available], kind="stable")]
    tied = np.flatnonzero(scores[order] == scores[order[k - 1]])
    if len(tied) > 1:
        ids = index.columns.take(order[tied], ["id"])["id"]
        order[tied] = order[tied][sorted(range(len(ids)), key=ids.__getitem__)]
    return order
