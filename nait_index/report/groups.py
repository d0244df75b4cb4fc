"""The fields that selections and corpus are compared by, and the comparison."""

from dataclasses import dataclass

import numpy as np

from nait_index.report.ground import Choice, Drawn, Ground
from nait_index.report.reading import Grouping, RowReader, by_column, by_language, by_length
from nait_index.report.representation import Representation, represent


@dataclass(frozen=True, slots=True)
class Grouped:
    """A field by which rows were grouped, and the rows that were."""

    grouping: Grouping
    drawn: Drawn

    def represent(self, ground: Ground, choice: Choice) -> Representation:
        """Compare a selection with the corpus by this field."""
        return represent(
            self.grouping.field,
            self.grouping.names,
            self.grouping.counts(self.drawn.chosen(choice)),
            self.grouping.counts(self.drawn.evenly),
            is_whole=self.drawn.is_whole,
            is_ordered=self.grouping.is_ordered,
            highest=len(ground.available) / choice.k,
            most=ground.asked.limits.groups,
        )


def by_fields(ground: Ground) -> list[Grouped]:
    """Group rows by where they are from, by length, and by the fields that were asked for.

    The first is a field of the rows that says where they are from, or else their file.
    """
    index, limits = ground.index, ground.asked.limits
    drawn = ground.draw(limits.rows, limits.chosen)
    everything = Drawn(ground.available, ground.available, 0, True)
    reader = RowReader(index, drawn.places)
    columns, source = set(index.columns.column_names()), reader.source_field()
    lengths = by_length(ground.available, ground.tokens[ground.available])
    found = [Grouped(lengths, everything)]
    for name in dict.fromkeys((source or "file", *ground.asked.by)):
        if name in columns and name != source:
            found.append(Grouped(by_column(index, name, ground.available), everything))
        else:
            found.append(Grouped(reader.by_field(name), drawn))
    return [found[1], found[0], *found[2:]]


def by_languages(ground: Ground) -> Grouped:
    """Group rows by language."""
    limits = ground.asked.limits
    drawn = ground.draw(limits.languages, limits.chosen_languages)
    return Grouped(by_language(ground.index, drawn.places), drawn)


def sources_at(ground: Ground, field: str, places: np.ndarray) -> Grouping:
    """Say of some rows where they are from, in their order."""
    if field in ground.index.columns.column_names():
        return by_column(ground.index, field, places)
    return RowReader(ground.index, places).by_field(field)
