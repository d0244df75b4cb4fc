"""What an explanation says: the parts of a row's score, its rank, and what would have to change."""

from dataclasses import asdict, dataclass
from typing import Any

from nait_index.insight.parts import LayerPart
from nait_index.insight.words import Word
from nait_index.types import RowRead


@dataclass(frozen=True, slots=True)
class FiringRow:
    """A row of the corpus that activates a neuron strongly.

    :param row: the row itself, as JSON text.
    """

    id: str
    activation: float
    row: str


@dataclass(frozen=True, slots=True)
class NeuronPart:
    """What one neuron, or one feature of a sparse autoencoder, adds to a score.

    :param number: within its layer. :param activation: of the row.
    :param deviation: how many standard deviations of the corpus the activation is from its mean; ``None`` if unknown.
    :param rows: the rows of the corpus that activate it most, strongest first; if the row's own activation is below the
        corpus mean, the rows that are lowest.
    """

    layer: int | None
    pooling: str | None
    number: int
    contribution: float
    activation: float
    deviation: float | None
    rows: tuple[FiringRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON can hold it."""
        return asdict(self) | {"rows": [{"id": row.id, "activation": row.activation} for row in self.rows]}


@dataclass(frozen=True, slots=True)
class NearestExample:
    """An example that is similar to the row.

    :param example: its number in the capability, from 1. :param likeness: 1 is the same.
    """

    example: int
    likeness: float
    text: str


@dataclass(frozen=True, slots=True)
class RankPosition:
    """The rank of a row among those that may be chosen.

    :param rank: from 1, of ``available`` rows. :param chosen: how many rows the budget takes.
    :param score: that ranks the row; :param cut: of the last chosen row; :param after: of the first row that is not
        chosen, ``None`` if all are.
    """

    rank: int
    available: int
    chosen: int
    score: float
    cut: float
    after: float | None

    @property
    def is_in(self) -> bool:
        """Whether the row is chosen."""
        return self.rank <= self.chosen

    @property
    def percentile(self) -> float:
        """The percentage of rows that rank below it."""
        return 100 * (self.available - self.rank) / self.available


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row's score for one capability: ``score = baseline + Σ layers + Σ views``; ``Σ layers = Σ neurons + rest``.

    :param baseline: the score of a row whose parts are all 0; :param zero: that row, in words.
    :param unit: ``neuron``, or ``feature`` of a sparse autoencoder.
    :param views: what other views than neurons add, which are not taken apart.
    :param neurons: those that add or subtract most; :param rest: the sum of all others.
    :param nearest: the examples that are most similar to the row.
    :param flips: how many of the neurons that count most for the row (against it, if it is not chosen) would have to be
        as in the row ``zero`` for it to change sides; ``None`` if even all of them would not do.
    :param movable: whether any neuron counts for (or against) it.
    :param read: what the model read of the row.
    :param words: what each word of the row adds, in their order; ``None`` if that was not asked for.
    """

    id: str
    row: str
    capability: str
    method: str
    score: float
    baseline: float
    zero: str
    unit: str
    layers: tuple[LayerPart, ...]
    views: tuple[LayerPart, ...]
    neurons: tuple[NeuronPart, ...]
    rest: float
    nearest: tuple[NearestExample, ...]
    position: RankPosition
    flips: int | None
    movable: bool = True
    words: tuple[Word, ...] | None = None
    read: RowRead | None = None

    @property
    def words_rest(self) -> float | None:
        """What the words do not account for, since signatures are compressed: what neurons add, less the words."""
        if self.words is None:
            return None
        by_views = sum(part.contribution for part in self.views)
        return self.score - self.baseline - by_views - sum(word.contribution for word in self.words)

    @property
    def changes(self) -> tuple[str, ...]:
        """Sentences on what would have to change for the row to be chosen, or not to be."""
        position, unit = self.position, self.unit
        if position.is_in:
            below = f"a budget below --top {position.rank} would leave it out"
            budget = "any budget takes it" if position.rank == 1 else below
            side, now, then, place = "for", "in", "out", "above"
        else:
            share = 100 * position.rank / position.available
            budget = f"--top {position.rank} ({share:.3g}% of {position.available:,}) would take it in"
            side, now, then, place = "against", "out", "in", "below"
        budget += f"; it lies {abs(position.score - position.cut):.4g} {place} the cut"
        if self.flips is not None:
            most = f"{unit} that counts" if self.flips == 1 else f"{self.flips:,} {unit}s that count"
            return budget, f"with the {most} most {side} it as in {self.zero}, it would be {then}"
        if self.movable:
            return budget, f"even with all {unit}s that count {side} it as in {self.zero}, it would still be {now}"
        return budget, f"no {unit} counts {side} it"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "id": self.id,
            "capability": self.capability,
            "method": self.method,
            "read": None if self.read is None else self.read.to_dict(),
            "score": self.score,
            "baseline": self.baseline,
            "rank": self.position.rank,
            "available": self.position.available,
            "percentile": round(self.position.percentile, 4),
            "chosen": self.position.chosen,
            "cut": self.position.cut,
            "in": self.position.is_in,
            "flips": self.flips,
            "changes": list(self.changes),
            "layers": [asdict(part) for part in self.layers],
            "views": [{"view": part.name, "contribution": part.contribution} for part in self.views],
            f"{self.unit}s": [part.to_dict() for part in self.neurons],
            "rest": self.rest,
            "nearest": [asdict(near) for near in self.nearest],
            "words": None if self.words is None else [asdict(word) for word in self.words],
            "words_rest": self.words_rest,
        }
