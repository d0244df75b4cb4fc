"""How many rows to choose: a number, a share, as many as some tokens allow, or what ``auto`` reads off the scores.

Scores in falling order make a curve that usually drops steeply while rows still teach the skill, and then levels off.
``auto`` cuts where the scores of the better half of the rows separate best into two groups, high and low: where the
distance between the means of the groups, weighted by their sizes, is largest (Otsu, 1979). The other half, whose rows
are all unlike the examples, would move the cut. Of the rules tried, this one came closest to the intended rows over
seven methods; ``benchmarks/quality/budget.py`` measures how close.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nait_index.errors import SelectionError

ROUNDING = "a share of the rows is rounded down, and never below one row"

_STRAIGHT = 0.05
# Evenly distributed scores deviate from a straight line by this, times 1/√n, one time in twenty (Kolmogorov, Smirnov).
_BY_CHANCE = 1.36
_MIN_ROWS = 20
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of rows, a share of those that may be chosen (rounded down, but never below one row), or of tokens.

    None is set for ``auto``, for which :func:`suggest` reads a number off a score curve. With ``tokens``, ``rows`` is
    how many are tried first.
    """

    text: str
    rows: int | None = None
    share: Fraction | None = None
    tokens: int | None = None

    @classmethod
    def parse(cls, top: "Top") -> "Budget":
        """Parse ``10%``, ``0.5%``, ``500``, ``2M-tokens`` or ``auto``; a budget is returned unchanged.

        :raises SelectionError: it is none of these, selects nothing, or more than everything.
        """
        if isinstance(top, Budget):
            return top
        text = str(top).strip()
        if match := re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([kmb]?)[- ]?tokens", text.lower()):
            tokens = int(Fraction(match[1]) * _UNITS[match[2]])
            if tokens < 1:
                raise SelectionError(f"--top {text} selects nothing; give at least 1 token")
            return cls(text, tokens=tokens)
        match = re.fullmatch(r"(?P<rows>\d{1,18})|(?P<percent>\d{1,18}(?:\.\d{1,18})?)\s*%|auto", text)
        if match is None:
            share_meant = re.fullmatch(r"0?\.\d{1,18}", text)
            meant = f"; did you mean {100 * float(text):g}%?" if share_meant and float(text) else ""
            raise SelectionError(
                f"--top '{text}' is neither a share such as 10% nor a number of rows such as 500, of tokens such as "
                f"2M-tokens, nor auto{meant}"
            )
        rows = int(match["rows"]) if match["rows"] else None
        share = Fraction(match["percent"]) / 100 if match["percent"] else None
        if rows == 0:
            raise SelectionError("--top 0 selects nothing; give at least 1 row")
        if share is not None and not 0 < share <= 1:
            raise SelectionError(f"--top {text} is not between 0% and 100%")
        return cls(text, rows, share)

    def __str__(self) -> str:
        return self.text

    @property
    def is_auto(self) -> bool:
        """Whether the score curve decides."""
        return self.rows is None and self.share is None and self.tokens is None

    def refuse_tokens(self) -> None:
        """Refuse a budget in tokens.

        :raises SelectionError: it is one.
        """
        if self.tokens is not None:
            raise SelectionError("a budget in tokens is for 'query' and 'core'; give a share or a number of rows here")

    def resolve(self, available: int) -> int:
        """Return how many of ``available`` rows to choose.

        :raises SelectionError: there are not that many, or the budget is ``auto`` or in tokens.
        """
        rows = self.rows if self.share is None else max(1, int(available * self.share))
        if rows is None:
            self.refuse_tokens()
            raise SelectionError(
                "--top auto reads the score curve of one capability, in 'nait-index query'; give a share or a number "
                "here"
            )
        if available == 0:
            raise SelectionError(NOTHING_LEFT)
        if rows > available:
            raise SelectionError(f"--top {self.text} asks for more rows than the {available} there are")
        return rows


NOTHING_LEFT = "there are no rows to choose from; widen --where"

Top = str | int | Budget
"""A budget, parsed or not."""

ALL_ROWS = Budget.parse("100%")


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another budget that the same curve suggests. :param cut: score of the last row that it takes."""

    rows: int
    cut: float
    why: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A budget, and the reasons for it.

    :param rows: how many to take, of ``available``. :param cut: score of the last one.
    :param clarity: how far the curve of the better half bends below the straight line, as a share of its fall: 0 is a
        straight line, 1 a step. :param alternatives: fewest rows first.
    """

    rows: int
    available: int
    cut: float
    clarity: float
    alternatives: list[Alternative]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences with the reason, and the alternatives."""
        share = 100 * self.rows / self.available
        return (
            f"--top auto takes {self.rows:,} of {self.available:,} rows ({share:.3g}%), down to a score of "
            f"{self.cut:.4g}, where the scores of the better half separate best into high and low (clarity of the bend "
            f"{self.clarity:.2f}; 0 is a straight line, 1 a step)",
            *(f"or {other.rows:,} rows, down to {other.cut:.4g}: {other.why}" for other in self.alternatives),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but ``available`` as JSON can hold it."""
        return {name: value for name, value in asdict(self).items() if name != "available"}


def suggest(scores: Sequence[float] | np.ndarray) -> Suggestion:
    """Read a budget off a score curve.

    :param scores: (n,) of all rows that may be chosen, highest first.
    :raises SelectionError: there are too few rows, or the curve has no bend.
    """
    curve = np.asarray(scores, dtype=np.float64)
    better = curve[: (len(curve) + 1) // 2]
    if len(curve) < _MIN_ROWS:
        raise SelectionError(
            f"--top auto needs at least {_MIN_ROWS} rows to choose from, not {len(curve)}; give a number"
        )
    bend, clarity = knee(better)
    if clarity < max(_STRAIGHT, _BY_CHANCE / np.sqrt(len(better))):
        raise SelectionError(
            "--top auto found no bend: the scores fall evenly and suggest no budget; give a share or a number of rows"
        )
    rows = two_groups(better)
    others = {
        two_groups(curve): "where all scores separate best into high and low",
        bend: "where the curve of the better half bends most (its knee)",
        max(1, len(curve) // 10): "10%, the usual share",
    }
    alternatives = [Alternative(k, float(curve[k - 1]), why) for k, why in sorted(others.items()) if k != rows]
    return Suggestion(rows, len(curve), float(curve[rows - 1]), round(clarity, 4), alternatives)


def knee(curve: np.ndarray) -> tuple[int, float]:
    """Find the knee of a falling curve (n,): the point furthest below the straight line from its first to its last.

    As in "Kneedle", Satopää et al., 2011.

    :returns: the number of rows up to the knee, at least 1, and its distance below the line, as a share of the curve's
        fall; 0 if it does not fall.
    """
    fall = curve[0] - curve[-1]
    if len(curve) < 2 or fall <= 0:
        return 1, 0.0
    along = np.arange(len(curve)) / (len(curve) - 1)
    below = (1 - along) - (curve - curve[-1]) / fall
    deepest = int(below.argmax())
    return (deepest + 1, float(below[deepest])) if below[deepest] > 1e-9 else (1, 0.0)


def two_groups(curve: np.ndarray) -> int:
    """Return how many rows are in the higher of the two groups that separate best (Otsu, 1979)."""
    n = len(curve)
    first = np.arange(1, n)
    sums = np.cumsum(curve)
    apart = sums[:-1] / first - (sums[-1] - sums[:-1]) / (n - first)
    return int((first * (n - first) * apart**2).argmax()) + 1
