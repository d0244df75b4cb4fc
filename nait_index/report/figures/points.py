"""What the map is drawn from; the page draws it, anew whenever another capability or colour is asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.report.facts import Map

_SOURCES = 8  # sources that have a colour of their own


def map_data(own: Map, names: Sequence[str]) -> dict[str, Any]:
    """Give what the map is drawn from; the page draws it anew when another capability or colour is asked for."""
    counts = np.bincount(own.sources, minlength=len(own.source_names))
    largest = np.argsort(-counts, kind="stable")[:_SOURCES].tolist()
    return {
        "x": np.round(own.places[:, 0], 3).tolist(),
        "y": np.round(own.places[:, 1], 3).tolist(),
        "ids": own.ids,
        "tokens": own.tokens,
        "source": own.sources.tolist(),
        "sources": own.source_names,
        "coloured": largest,
        "names": list(names),
        "chosen": [np.flatnonzero(one).tolist() for one in own.chosen],
        "percentile": own.percentiles.tolist(),
        "text": own.texts,
    }
