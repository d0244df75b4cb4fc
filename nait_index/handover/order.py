"""In which order rows are written, and which of them are kept for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from nait_index.errors import NaitError
from nait_index.handover.rows import OutRow


@dataclass(frozen=True, slots=True)
class Order:
    """How rows are ordered.

    :param shuffle: whether they are written in random order, and not best first. :param validation: how many of them
        are kept for validation, as a number or a share. :param seed: of what is drawn at random.
    :param kept: ids of those kept for validation, instead of others that are drawn.
    """

    shuffle: bool = False
    validation: int | Fraction | None = None
    seed: int = 0
    kept: frozenset[str] = frozenset()

    @property
    def is_split(self) -> bool:
        """Whether some rows are kept for validation."""
        return self.validation is not None or bool(self.kept)

    @classmethod
    def parse(cls, shuffle: bool, validation: str | int | None, seed: int) -> "Order":
        """Parse what was asked.

        :raises NaitError: the part for validation is no number or share, or the seed is negative.
        """
        if seed < 0:
            raise NaitError(f"--seed must be 0 or more, not {seed}")
        if validation is None:
            return cls(shuffle, None, seed)
        text = str(validation).strip()
        try:
            part = Fraction(text.removesuffix("%")) / 100 if text.endswith("%") else int(text)
        except (ValueError, ZeroDivisionError):
            part = 0
        if part <= 0 or (isinstance(part, Fraction) and part >= 1):
            raise NaitError(f"--validation '{text}' is neither a share such as 5% nor a number of rows such as 200")
        return cls(shuffle, part, seed)

    def split(self, rows: Sequence[OutRow]) -> tuple[list[OutRow], list[OutRow]]:
        """Return the rows to train on, in their order, and those for validation, best first.

        :raises NaitError: nothing would be left to train on.
        """
        order = np.random.default_rng(self.seed).permutation(len(rows)).tolist()
        count = 0
        if self.kept:
            order.sort(key=lambda place: rows[place].id not in self.kept)
            count = sum(row.id in self.kept for row in rows)
        elif self.validation is not None:
            part = self.validation
            count = max(1, int(len(rows) * part)) if isinstance(part, Fraction) else part
        if self.is_split and count >= len(rows):
            raise NaitError(f"--validation leaves none of the {len(rows):,} rows to train on; give less")
        held_out, taught = order[:count], order[count:]
        placed = taught if self.shuffle else sorted(taught)
        return [rows[place] for place in placed], [rows[place] for place in sorted(held_out)]

    def facts(self, name: str, held_out: Sequence[OutRow]) -> dict[str, Any]:
        """Return what the sidecar says of it.

        :param name: of the file of the rows for validation.
        """
        facts: dict[str, Any] = {"shuffled": self.seed} if self.shuffle else {}
        if held_out:
            kept = {"file": name, "rows": len(held_out), "seed": self.seed, "ids": [row.id for row in held_out]}
            facts["validation"] = kept
        return facts
