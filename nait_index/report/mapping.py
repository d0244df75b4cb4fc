"""The map: some rows drawn evenly, some more of each selection, laid out in two dimensions."""

import numpy as np

from nait_index.config import View
from nait_index.report.facts import Map
from nait_index.report.ground import Choice, Ground, some
from nait_index.report.groups import sources_at
from nait_index.report.projection import SCANNED, lay_out
from nait_index.report.reading import clean, fit, words_of

_HOVER = 800  # bytes of a row


def draw_map(ground: Ground, source_field: str) -> Map | None:
    """Lay out some rows; ``None``, with a note, where that cannot be done."""
    if View.PCA not in ground.index.manifest.fingerprint.views:
        ground.note("The map is left out: the index has no dense signatures, which a build with the view pca keeps.")
        return None
    places, added = _places(ground)
    layout = lay_out(ground.index.columns.coordinates(places, SCANNED))
    if layout is None:
        ground.note("The map is left out: there are too few different rows to lay out.")
        return None
    taken = ground.index.columns.take(places, ["id", "n_tokens"])
    room = min(_HOVER, ground.asked.limits.room // len(places))
    sources = sources_at(ground, source_field, places)
    shape = (len(ground.choices), len(places))
    return Map(
        places=layout.places,
        method=layout.method,
        evenly=len(places) - added,
        added=added,
        ids=tuple(clean(own) for own in taken["id"]),
        tokens=tuple(taken["n_tokens"]),
        sources=sources.codes,
        source_names=sources.names,
        chosen=np.array([np.isin(places, own.chosen) for own in ground.choices], bool).reshape(shape),
        percentiles=np.array([_percentiles(own, places) for own in ground.choices], int).reshape(shape),
        texts=tuple(_beginning(own.text, room) for own in words_of(ground.index, places)),
    )


def _places(ground: Ground) -> tuple[np.ndarray, int]:
    """Draw rows: those drawn evenly first, then those added."""
    limits = ground.asked.limits
    evenly = np.sort(some(ground.available, limits.points))
    each = limits.chosen_points // max(1, len(ground.choices))
    more = np.concatenate([evenly[:0], *(some(own.chosen, each) for own in ground.choices)])
    added = np.setdiff1d(more, evenly)
    return np.concatenate([evenly, added]), len(added)


def _beginning(text: str, room: int) -> str:
    own = fit(text, room)
    return own if len(own) == len(text) else own + "…"


def _percentiles(choice: Choice, places: np.ndarray) -> np.ndarray:
    """Give the share of the rows, in per cent rounded down, that score lower than each of some."""
    ascending = choice.scores[choice.order][::-1]
    return np.asarray(100 * np.searchsorted(ascending, choice.scores[places]) // len(ascending))
