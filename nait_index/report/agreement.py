"""What the capabilities of a report agree on."""

import numpy as np

from nait_index.errors import NaitError
from nait_index.report.facts import Core, StableRow
from nait_index.report.ground import Ground
from nait_index.report.showing import Shower
from nait_index.selection.combine import chance_size
from nait_index.selection.selection import Selection

SHOWN = 12
_ENOUGH = 10  # rows, that make a core worth listing


def find_core(ground: Ground, shower: Shower) -> Core | None:
    """Count what 1, 2, … capabilities agree on, and list the strictest core that is not nearly empty."""
    count = len(ground.choices)
    if count < 2:
        return None
    votes = np.bincount(np.concatenate([own.chosen for own in ground.choices]), minlength=len(ground.tokens))
    levels = range(1, count + 1)
    found = tuple(int((votes >= level).sum()) for level in levels)
    sizes = [own.k for own in ground.choices]
    chance = tuple(chance_size(sizes, len(ground.available), level) for level in levels)
    wanted = max((level for level in levels if level >= 2 and found[level - 1] >= _ENOUGH), default=2)
    own, why = _listed(ground, wanted, found[wanted - 1])
    stability = tuple(float(one) for one in own.details.get("stability", ()))
    rows = [
        StableRow(own.details["votes"][at], stability[at] if stability else None, shower.show(place, at + 1, score))
        for at, (place, score) in enumerate(zip(own.ordinals[:SHOWN], own.scores[:SHOWN], strict=True))
    ]
    return Core(found, chance, wanted, len(own), tuple(rows), stability, ground.asked.bootstrap, why)


def _listed(ground: Ground, votes: int, found: int) -> tuple[Selection, str]:
    """Give the core, with the stability of its rows or the reason why there is none."""
    if not found:
        return _select(ground, votes, 0), "no row is chosen by two capabilities"
    if not ground.asked.bootstrap:
        return _select(ground, votes, 0), "no redraws were asked for"
    try:
        return _select(ground, votes, ground.asked.bootstrap), ""
    except NaitError as error:
        return _select(ground, votes, 0), f"the examples could not be encoded again, since {error}"


def _select(ground: Ground, votes: int, redraws: int) -> Selection:
    asked = ground.asked
    return ground.index.core(
        ground.names, top=asked.top, votes=votes, method=asked.method, where=asked.where, bootstrap=redraws
    )
