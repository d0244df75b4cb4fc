"""What a report is asked for, how much it may read, and how it says how far it is."""

import logging
from dataclasses import dataclass, field

from nait_index.methods.names import DEFAULT_METHOD, MethodName

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read at most, so that a report of a million rows takes as long as one of thirty thousand.

    Scores, lengths and files are always counted over all rows. Fields inside the rows are read of a random sample of
    ``rows`` of them, and of ``chosen`` of each selection; languages likewise; the map shows ``points`` rows drawn
    evenly, and up to ``chosen_points`` more of the selections together. Texts are cut so that all of them take at most
    ``room`` bytes of the page, once in the readable samples and once on the map. A field has at most ``groups`` groups
    listed.
    """

    rows: int = 30_000
    chosen: int = 3_000
    languages: int = 3_000
    chosen_languages: int = 500
    points: int = 2_400
    chosen_points: int = 1_200
    groups: int = 14
    room: int = 3_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is about.

    :param names: stored capabilities; ``None`` for all. :param by: columns or fields of the rows to compare by, besides
        source, length and language. :param bootstrap: redraws of the examples, for the stability of the core.
    :param command: what the user typed, to be shown.
    """

    names: tuple[str, ...] | None = None
    top: str = "10%"
    method: MethodName = DEFAULT_METHOD
    where: str | None = None
    by: tuple[str, ...] = ()
    bootstrap: int = 10
    limits: Limits = field(default_factory=Limits)
    command: str = ""


class Steps:
    """Counts the steps of the work, and tells the log of them."""

    OF = 7

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, what: str) -> None:
        """Begin the next step."""
        self._number += 1
        logger.info("report, %d of %d: %s", self._number, self.OF, what)
