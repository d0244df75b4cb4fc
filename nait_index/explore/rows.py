"""Rows as the page shows them: who says what, in a few words or whole."""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from nait_index.corpus import restore_sample

BRIEF = 320
"""Characters that are shown of a part before the row is opened."""

_BRIEF_PARTS = 4


def shown_row(row: Mapping[str, Any], *, whole: bool = False) -> dict[str, Any]:
    """Give what the page shows of a row, as :meth:`NaitIndex.rows` gave it.

    :param whole: all of its text, and the row itself as JSON.
    """
    parts = restore_sample(row).parts
    shown = parts if whole else parts[:_BRIEF_PARTS]
    own = {
        "id": row["id"],
        "tokens": row["n_tokens"],
        "truncated": row["truncated"],
        "source": source_of(row["row"]) or PurePath(row["file"]).name,
        "parts": [{"role": str(part.role), "text": part.text if whole else part.text[:BRIEF]} for part in shown],
    }
    if whole:
        return own | {"row": json.dumps(json.loads(row["row"]), ensure_ascii=False, indent=2)}
    return own | {"brief": len(shown) < len(parts) or any(len(part.text) > BRIEF for part in shown)}


def ranked_rows(
    rows: Sequence[Mapping[str, Any]], ranks: Sequence[int], scores: Sequence[float], details: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Give some rows with rank, score and what else is known of each."""
    return [
        {"rank": rank, "score": score} | {name: own[at] for name, own in details.items()} | shown_row(row)
        for at, (row, rank, score) in enumerate(zip(rows, ranks, scores, strict=True))
    ]


def source_of(row: str) -> str | None:
    """Give a row's field ``source``, where it has a short text there."""
    source = json.loads(row).get("source")
    return source if isinstance(source, str) and 0 < len(source) <= 100 else None
