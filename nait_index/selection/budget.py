"""How many rows to choose."""

import re
from dataclasses import dataclass
from fractions import Fraction

from nait_index.errors import SelectionError

ROUNDING = "a share of the rows is rounded down, and never below one row"


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of rows, or a share of those there are. Shares are rounded down, but never below one row.

    Neither is set for ``auto``, which only a score curve can tell; see :mod:`nait_index.selection.auto`.
    """

    text: str
    rows: int | None = None
    share: Fraction | None = None

    @classmethod
    def parse(cls, text: str | int) -> "Budget":
        """Read ``10%``, ``0.5%``, ``500`` or ``auto``.

        :raises SelectionError: it is neither, or selects nothing, or more than everything.
        """
        text = str(text).strip()
        if match := re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*%", text):
            share = Fraction(match[1]) / 100
            if not 0 < share <= 1:
                raise SelectionError(f"--top {text} is not between 0% and 100%")
            return cls(text, share=share)
        if re.fullmatch(r"\d{1,18}", text):
            if int(text) == 0:
                raise SelectionError("--top 0 selects nothing; give at least 1 row")
            return cls(text, rows=int(text))
        if text == "auto":
            return cls(text)
        raise SelectionError(
            f"--top '{text}' is neither a share such as 10% nor a number of rows such as 500, nor auto"
        )

    @property
    def is_auto(self) -> bool:
        """Tell whether the score curve is to decide."""
        return self.rows is None and self.share is None

    def resolve(self, available: int) -> int:
        """Give the number of rows to choose from ``available`` ones.

        :raises SelectionError: there are not that many, or the score curve would have to tell.
        """
        if self.is_auto:
            raise SelectionError(
                "--top auto reads the score curve of one capability, in 'nait-index query'; here, give a share or a "
                "number"
            )
        if available == 0:
            raise SelectionError("there are no rows to choose from; widen --where")
        if self.share is not None:
            return max(1, int(available * self.share))
        assert self.rows is not None
        if self.rows > available:
            raise SelectionError(f"--top {self.text} asks for more rows than the {available} there are")
        return self.rows
