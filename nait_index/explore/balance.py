"""What a choice has more or less of than the rows it was made from: by source and by length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.index import NaitIndex
from nait_index.report.groups import Grouping, RowReader, by_column, by_length
from nait_index.report.representation import Representation, represent

READ = 30_000
"""Rows whose own fields are read at most; of a larger corpus, a random sample stands for it."""

_GROUPS = 12


class Balance:
    """The groups of an index's rows, read once.

    :param index: opened for reading.
    """

    def __init__(self, index: NaitIndex) -> None:
        every = np.arange(len(index))
        self._all = len(every)
        whole = len(every) <= READ
        read = every if whole else np.sort(np.random.default_rng(0).choice(every, READ, replace=False))
        reader = RowReader(index, read)
        source = reader.source_field()
        lengths = by_length(every, index.columns.read(["n_tokens"])["n_tokens"].to_numpy())
        self._groupings: tuple[Grouping, ...] = (
            by_column(index, "file", every) if source is None else reader.by_field(source),
            lengths,
        )

    def of(self, chosen: Sequence[int], allowed: np.ndarray | None) -> list[dict[str, Any]]:
        """Compare some rows with those that could have been chosen.

        :param chosen: their places. :param allowed: (n,) bool; ``None`` for all rows.
        """
        return [_facts(self._represent(own, np.asarray(chosen), allowed)) for own in self._groupings]

    def _represent(self, grouping: Grouping, chosen: np.ndarray, allowed: np.ndarray | None) -> Representation:
        corpus = grouping.positions if allowed is None else grouping.positions[allowed[grouping.positions]]
        available = self._all if allowed is None else int(allowed.sum())
        return represent(
            grouping.field,
            grouping.names,
            grouping.counts(chosen),
            grouping.counts(corpus),
            is_whole=len(grouping.positions) == self._all,
            highest=max(available, 1) / max(len(chosen), 1),
            is_ordered=grouping.is_ordered,
            most=_GROUPS,
        )


def _facts(found: Representation) -> dict[str, Any]:
    groups = [
        {"name": own.name, "chosen": own.chosen, "corpus": own.corpus, "ratio": own.ratio}
        | {"low": own.low, "high": own.high, "certain": own.is_significant}
        for own in found.groups
    ]
    shares = {"read": found.read, "corpus_read": found.corpus_read, "whole": found.is_whole}
    return {"by": found.field, "groups": groups, "left_out": found.left_out} | shares
