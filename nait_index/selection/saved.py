"""A selection that was written before, from its sidecar."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nait_index.errors import SelectionError

_OF_THE_FILE = ("rows", "format", "tokens", "rejected", "left_out", "nait_weight", "selected")
"""What a sidecar says of the file beside it, and not of the selection."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a sidecar says of a selection.

    :param ids: best first, also of what could not be converted; :param scores: of each, none where nothing ranks them.
    """

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    details: Mapping[str, tuple[Any, ...]]
    provenance: Mapping[str, Any]


def read_saved(path: Path) -> Saved:
    """Read one.

    :raises SelectionError: it is no sidecar of a selection.
    """
    try:
        facts = json.loads(path.read_bytes())
        records = [dict(own) for own in (*facts["selected"], *facts.get("rejected", ()))]
        records.sort(key=lambda own: own["rank"])
        for own in records:
            del own["rank"]
            own.pop("reason", None)
        columns = {name: tuple(own[name] for own in records) for name in (records[0] if records else ())}
        ids = columns.pop("id")
        scores = tuple(float(own) for own in columns.pop("score", ()))
    except OSError as error:
        raise SelectionError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SelectionError(f"{path}: no .meta.json that was written beside a selection") from error
    if not all(isinstance(own, str) for own in ids):
        raise SelectionError(f"{path}: no .meta.json that was written beside a selection")
    provenance = {name: own for name, own in facts.items() if name not in _OF_THE_FILE}
    if not {"method", "available"} <= provenance.keys():
        raise SelectionError(f"{path}: does not say by which method and from how many rows; give it as it was written")
    return Saved(ids, scores, columns, provenance)
