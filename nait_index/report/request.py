"""What a report is to show, and how much of the index it may read."""

from dataclasses import dataclass, field

from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.selection.budget import Top


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read at most, so that a report on a million rows takes as long as one on thirty thousand.

    Scores, lengths and files are always counted over all rows. Fields inside the rows are read from a random sample of
    ``rows`` of them, and of ``chosen`` of each selection; languages likewise. The map shows ``points`` rows drawn
    uniformly, and up to ``chosen_points`` more from all selections together. Texts are cut so that all of them take at
    most ``text_bytes`` of the page, once in the readable rows and once on the map. A field lists at most ``groups``
    groups.
    """

    rows: int = 30_000
    chosen: int = 3_000
    languages: int = 3_000
    chosen_languages: int = 500
    points: int = 2_400
    chosen_points: int = 1_200
    groups: int = 14
    text_bytes: int = 3_000_000


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is about.

    :param names: stored capabilities; ``None`` for all. :param by: columns or fields of the rows to compare by, besides
        source, length and language. :param bootstrap: how often the examples are resampled for the core's stability.
    :param command: what the user typed, to be shown on the page.
    """

    names: tuple[str, ...] | None = None
    top: Top = "10%"
    method: MethodName = DEFAULT_METHOD
    where: str | None = None
    by: tuple[str, ...] = ()
    bootstrap: int = 10
    limits: Limits = field(default_factory=Limits)
    command: str = ""
