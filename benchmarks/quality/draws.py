"""Draws of a capability's examples: all of them, resamples with replacement, and a few of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class DrawKind(StrEnum):
    """How examples are drawn."""

    ALL = "all"
    REDRAW = "redraw"
    FEW = "few"


@dataclass(frozen=True)
class Draw:
    """One draw, the same for every method. :param count: how many examples, where only a few are drawn."""

    kind: DrawKind
    number: int = 0
    count: int = 0

    def __str__(self) -> str:
        words = {DrawKind.ALL: "all", DrawKind.REDRAW: f"redraw {self.number}"}
        return words.get(self.kind, f"few {self.count} {self.number}")

    def rows(self, size: int) -> np.ndarray:
        """Return the numbers of the examples drawn from ``size``. Fewer ones are the first of more ones."""
        if self.kind is DrawKind.ALL:
            return np.arange(size)
        if self.kind is DrawKind.REDRAW:
            return np.random.default_rng([1, self.number]).integers(size, size=size)
        return np.random.default_rng([2, self.number]).permutation(size)[: self.count]


@dataclass(frozen=True)
class DrawPlan:
    """How often the examples are redrawn, and how often so few of them are drawn."""

    redraws: int
    few: tuple[int, ...]
    few_draws: int

    def __iter__(self) -> Iterator[Draw]:
        yield Draw(DrawKind.ALL)
        yield from (Draw(DrawKind.REDRAW, number) for number in range(self.redraws))
        for count in self.few:
            yield from (Draw(DrawKind.FEW, number, count) for number in range(self.few_draws))

    def __len__(self) -> int:
        return 1 + self.redraws + len(self.few) * self.few_draws


def spread(values: "np.ndarray | list[float]") -> float:
    """Return half the width of a 95 % interval, 1.96 standard deviations."""
    return round(1.96 * float(np.std(values, ddof=1)), 4)
