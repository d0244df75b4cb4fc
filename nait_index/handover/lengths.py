"""How long the written rows are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the rows as the index counted them, with its own tokenizer and template.

    :param tokens: of every row; :param limit: where the index stopped; :param cut: how many rows go on after that.
    """

    tokens: Sequence[int]
    limit: int | None
    cut: int

    def over(self, length: int) -> str:
        """Say how many rows are longer than so many tokens."""
        if self.cut and self.limit is not None and self.limit <= length:
            return (
                f"how many of {len(self.tokens):,} rows are longer than {length:,} tokens is not known: the index"
                f" counts up to {self.limit:,} with its own tokenizer, and {self.cut:,} are longer"
            )
        found = sum(own > length for own in self.tokens)
        return f"{found:,} of {len(self.tokens):,} rows are longer than {length:,} tokens by the index's own tokenizer"

    def to_dict(self) -> dict[str, Any]:
        """Give them for a sidecar."""
        return {"total": sum(self.tokens), "longest": max(self.tokens, default=0), "limit": self.limit, "cut": self.cut}
