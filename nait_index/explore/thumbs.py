"""Rows with a thumb up or down: more examples of what is wanted, and of what is not, without the model.

A row keeps its signatures but not its activations, so its signatures serve as those of an example. That is enough for
methods that heed what is not wanted from signatures alone.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from nait_index.capabilities.capability import Capability
from nait_index.corpus import plain_text
from nait_index.errors import SelectionError, UnknownRowError
from nait_index.methods.base import Examples
from nait_index.methods.registry import MethodName, method_of
from nait_index.search.rows import IndexRows
from nait_index.selection.provenance import Provenance
from nait_index.signatures.views import dense_column

MAX_THUMBS = 100
"""Rows that may be liked and disliked at once."""


@dataclass(frozen=True, slots=True)
class Thumbs:
    """The ids of the rows that are liked and of those that are disliked."""

    liked: frozenset[str] = frozenset()
    disliked: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.liked or self.disliked)

    def check(self, method: MethodName) -> None:
        """Check that a choice can be refined by these rows.

        :raises SelectionError: they are too many, a row is both, or the method cannot heed them.
        """
        both, count = self.liked & self.disliked, len(self.liked) + len(self.disliked)
        if both:
            raise SelectionError(f"row {min(both)!r} cannot be liked and disliked at once")
        if count > MAX_THUMBS:
            raise SelectionError(f"{count} liked and disliked rows are more than the {MAX_THUMBS} allowed")
        refusal = refusal_of(method)
        if self and refusal:
            raise SelectionError(refusal)

    def record(self, provenance: Provenance) -> Provenance:
        """Return the provenance of a refined choice, with the ids of these rows."""
        return replace(provenance, liked=sorted(self.liked) or None, disliked=sorted(self.disliked) or None)


def refusal_of(method: MethodName) -> str:
    """Return why a method cannot heed liked and disliked rows; empty if it can."""
    heeding = [name for name in MethodName if method_of(name).takes_unlike]
    able = [name for name in heeding if not method_of(name).needs_activations]
    if method in able:
        return ""
    lack = "needs full activations, which rows do not keep" if method in heeding else "heeds no unwanted examples"
    return f"method {method} {lack}; to like and dislike rows, use one of: {', '.join(able)}"


def as_examples(rows: IndexRows, ids: Collection[str], method: MethodName) -> Examples:
    """Read some rows as examples for one method, in the order of their ids.

    :raises SelectionError: an id is not in the index.
    """
    try:
        ordinals = rows.ordinals(sorted(ids))
    except UnknownRowError as error:
        raise SelectionError(str(error)) from None
    columns, places = map(dense_column, method_of(method).features(rows)), np.array(ordinals, np.int64)
    signatures = {column: rows.signatures(places, column) for column in columns}
    return Examples([plain_text(rows.sample(ordinal).parts) for ordinal in ordinals], {}, signatures)


def refined(capability: Capability, liked: Examples, disliked: Examples) -> Capability:
    """Return a capability that has liked rows among its examples and knows disliked ones, for methods that can."""
    given = capability.examples
    signatures = {name: np.concatenate([given.signatures[name], values]) for name, values in liked.signatures.items()}
    unlike = (disliked,) if len(disliked) else ()
    return replace(capability, examples=Examples((*given.texts, *liked.texts), {}, signatures, unlike))
