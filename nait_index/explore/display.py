"""What the page shows of a choice: its rows, the curve of scores, and how it compares with the corpus."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import numpy as np

from nait_index.corpus import restore_sample
from nait_index.index import NaitIndex
from nait_index.report.context import random_subset
from nait_index.report.groups import Grouping, RowReader, by_column, by_length
from nait_index.report.representation import Representation
from nait_index.types import Reading

ROWS_READ = 30_000
"""Rows whose own fields are read at most; a larger corpus is represented by a random sample."""

PREVIEW = 320
"""Characters of each part that are shown before a row is opened."""

CURVE_POINTS = 400

_PREVIEW_PARTS = 4
_GROUPS = 12


def shown_row(row: Mapping[str, Any], reading: Reading, *, whole: bool = False) -> dict[str, Any]:
    """Return what the page shows of a row.

    :param row: as :meth:`NaitIndex.rows` returns it. :param reading: as the index was built.
    :param whole: include all text, and the row itself as JSON.
    """
    parts = restore_sample(row, reading).parts
    shown = parts if whole else parts[:_PREVIEW_PARTS]
    raw = json.loads(row["row"])
    source = raw.get("source")
    described = {
        "id": row["id"],
        "tokens": row["n_tokens"],
        "truncated": row["truncated"],
        "source": source if isinstance(source, str) and 0 < len(source) <= 100 else PurePath(row["file"]).name,
        "parts": [{"role": str(part.role), "text": part.text if whole else part.text[:PREVIEW]} for part in shown],
    }
    if whole:
        return described | {"row": json.dumps(raw, ensure_ascii=False, indent=2)}
    return described | {"brief": len(shown) < len(parts) or any(len(part.text) > PREVIEW for part in shown)}


def curve(scores: Sequence[float], cut: int) -> list[tuple[int, float]]:
    """Thin out scores that fall with their rank, so that they can be drawn.

    The first and last scores and those at the cut are kept; half of the points are among the chosen rows.

    :param cut: how many are chosen. :returns: (rank from 1, score) of each point.
    """
    last, half = len(scores), CURVE_POINTS // 2
    ranks = np.concatenate([np.linspace(1, cut, half), np.linspace(min(cut + 1, last), last, half)])
    return [(int(rank), float(scores[rank - 1])) for rank in np.unique(np.rint(ranks).astype(int))]


class CorpusGroups:
    """The rows of an index grouped by source and by length, read once.

    :param index: opened for reading.
    """

    def __init__(self, index: NaitIndex) -> None:
        every = np.arange(len(index))
        self._rows = len(every)
        reader = RowReader(index, every if self._rows <= ROWS_READ else np.sort(random_subset(every, ROWS_READ)))
        source = reader.source_field()
        by_source = by_column(index, "file", every) if source is None else reader.by_field(source)
        lengths = by_length(every, index.columns.read(["n_tokens"])["n_tokens"].to_numpy())
        self._groupings: tuple[Grouping, ...] = (by_source, lengths)

    def compare(self, chosen: Sequence[int], allowed: np.ndarray | None) -> list[dict[str, Any]]:
        """Compare chosen rows with those that could have been chosen, by each field.

        :param chosen: positions of the rows. :param allowed: (n,) bool; ``None`` for all rows.
        """
        available = self._rows if allowed is None else int(allowed.sum())
        compared = []
        for grouping in self._groupings:
            corpus = grouping.positions if allowed is None else grouping.positions[allowed[grouping.positions]]
            representation = grouping.represent(
                np.asarray(chosen),
                corpus,
                is_whole=len(grouping.positions) == self._rows,
                highest=max(available, 1) / max(len(chosen), 1),
                most=_GROUPS,
            )
            compared.append(_as_json(representation))
        return compared


def _as_json(field: Representation) -> dict[str, Any]:
    groups = [asdict(group) | {"certain": group.is_significant} for group in field.groups]
    read = {"read": field.read, "corpus_read": field.corpus_read, "whole": field.is_whole}
    return {"by": field.field, "groups": groups, "left_out": field.left_out} | read
