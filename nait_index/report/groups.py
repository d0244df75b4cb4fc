"""The groups that rows fall into, by source, length, language or any field, and how a choice compares by them."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nait_index.errors import NaitError
from nait_index.index import NaitIndex
from nait_index.report.context import ReportContext, RowSample
from nait_index.report.representation import Representation, represent
from nait_index.report.rows import printable, read_texts

LENGTH_BANDS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SOURCE_FIELDS = (
    "source",
    "dataset",
    "subset",
    "origin",
    "data_source",
    "task",
    "category",
    "skill",
    "domain",
    "topic",
    "split",
)
NO_VALUE = "(none)"
UNCLEAR = "(unclear)"
OTHER = "(other)"

_LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "km": "Khmer", "ko": "Korean", "la": "Latin", "lo": "Lao", "lt": "Lithuanian",
    "lv": "Latvian", "mr": "Marathi", "ms": "Malay", "my": "Burmese", "ne": "Nepali", "nl": "Dutch",
    "no": "Norwegian", "pl": "Polish", "ps": "Pashto", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "si": "Sinhala", "sk": "Slovak", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili",
    "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
_MAX_NAME = 80
_LANGUAGE_CHARACTERS = 300  # of a row, from which its language is detected
_LANGUAGE_PROBABILITY = 0.8
_BANDS = 5
_MOST_NUMBERS = 12  # more distinct numbers than these are grouped into bands
_MOST_GROUPS = 2_000


@dataclass(frozen=True, slots=True)
class Grouping:
    """The group that each of some rows falls into, by one field.

    :param positions: (m,) of the rows in the table, ascending where :meth:`counts` is used.
    :param codes: (m,) int, into ``names``. :param is_ordered: whether the names have an order, such as lengths.
    """

    field: str
    positions: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]
    is_ordered: bool = False

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Count the groups among the rows at some positions: (G,). Rows that were not read are skipped."""
        indices = np.searchsorted(self.positions, rows)
        indices[indices == len(self.positions)] = 0
        codes = self.codes[indices[self.positions[indices] == rows]]
        return np.bincount(codes, minlength=len(self.names))

    def represent(
        self, chosen: np.ndarray, corpus: np.ndarray, *, is_whole: bool, highest: float, most: int
    ) -> Representation:
        """Compare the chosen rows with those of the corpus by this field; see :func:`represent`."""
        return represent(
            self.field,
            self.names,
            self.counts(chosen),
            self.counts(corpus),
            is_whole=is_whole,
            is_ordered=self.is_ordered,
            highest=highest,
            most=most,
        )

    def name_of(self, position: int) -> str:
        """Return the name of a row's group; empty if the row was not read."""
        index = int(np.searchsorted(self.positions, position))
        is_known = index < len(self.positions) and self.positions[index] == position
        return self.names[self.codes[index]] if is_known else ""


SampledGrouping = tuple[Grouping, RowSample]
"""Rows grouped by a field, and which rows those were."""


class RowReader:
    """Reads rows of an index once, to group them by their fields.

    :param index: opened for reading. :param positions: (m,) of the rows in the table.
    """

    def __init__(self, index: NaitIndex, positions: np.ndarray) -> None:
        self._index = index
        self._positions = positions
        self._rows: list[dict[str, Any]] = [json.loads(row) for row in index.columns.take(positions, ["row"])["row"]]

    def source_field(self) -> str | None:
        """Return the field that says where a row comes from; ``None`` if most rows have no such field."""
        for name in SOURCE_FIELDS:
            values = [row[name] for row in self._rows if isinstance(row.get(name), str)]
            if len(values) * 2 > len(self._rows) and len(set(values)) <= max(2, len(values) // 3):
                return name
        return None

    def by_field(self, name: str) -> Grouping:
        """Group the rows by one of their own fields, such as ``source`` or ``meta.lang``.

        :raises NaitError: no row has it.
        """
        values = [_field(row, name) for row in self._rows]
        if all(value is None for value in values):
            keys = sorted({key for row in self._rows[:256] for key in row if key.isprintable()})
            known = ", ".join(dict.fromkeys([*self._index.columns.column_names(), *keys]))
            raise NaitError(f"--by '{name}': no row has such a field; there are {known}")
        return _by_values(name, self._positions, values)


def by_fields(context: ReportContext) -> list[SampledGrouping]:
    """Group rows by source, by length, and by the requested fields, in this order.

    The source is a field of the rows that says where they come from, or else their file.
    """
    index, limits = context.index, context.request.limits
    sample = context.sample(limits.rows, limits.chosen)
    everything = RowSample(context.available, context.available, 0, True)
    reader = RowReader(index, sample.positions)
    columns, source = set(index.columns.column_names()), reader.source_field()
    groupings: list[SampledGrouping] = []
    for name in dict.fromkeys((source or "file", *context.request.by)):
        if name in columns and name != source:
            groupings.append((by_column(index, name, context.available), everything))
        else:
            groupings.append((reader.by_field(name), sample))
    lengths = by_length(context.available, context.tokens[context.available])
    groupings.insert(1, (lengths, everything))
    return groupings


def by_languages(context: ReportContext) -> SampledGrouping:
    """Group a sample of the rows by the language that their text seems to be in."""
    limits = context.request.limits
    sample = context.sample(limits.languages, limits.chosen_languages)
    detect = _language_detector()
    texts = read_texts(context.index, sample.positions)
    names = [detect(row.text[:_LANGUAGE_CHARACTERS]) for row in texts]
    return _by_values("language", sample.positions, names), sample


def by_column_or_field(index: NaitIndex, name: str, positions: np.ndarray) -> Grouping:
    """Group the rows at some positions by a column of the table, or by a field of the rows of that name."""
    if name in index.columns.column_names():
        return by_column(index, name, positions)
    return RowReader(index, positions).by_field(name)


def by_column(index: NaitIndex, name: str, positions: np.ndarray) -> Grouping:
    """Group the rows at some positions by a plain column of the table."""
    column = index.columns.read([name]).column(0).take(positions).combine_chunks()
    coded = column.dictionary_encode()
    values = coded.dictionary.to_pylist()
    if _are_many_numbers(values):
        return _by_bands(name, positions, column.to_numpy(zero_copy_only=False).astype(np.float64))
    # Names may become equal when they are cut.
    names, name_codes = np.unique(np.array([*map(_name, values), NO_VALUE], dtype=object), return_inverse=True)
    codes = name_codes[coded.indices.fill_null(len(values)).to_numpy()]
    return Grouping(name, positions, *_most_frequent(codes, names.tolist()))


def by_length(positions: np.ndarray, tokens: np.ndarray) -> Grouping:
    """Group rows by their length in tokens, in powers of two."""
    bands = [f"{low + 1:,}–{high:,}" for low, high in pairwise(LENGTH_BANDS)]
    names = (f"up to {LENGTH_BANDS[0]}", *bands, f"over {LENGTH_BANDS[-1]:,}")
    return Grouping("length", positions, np.digitize(tokens, LENGTH_BANDS, right=True), names, is_ordered=True)


def _language_detector() -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def detect(text: str) -> str:
        language, probability = identifier.classify(text)
        return _LANGUAGES.get(language, str(language)) if probability >= _LANGUAGE_PROBABILITY else UNCLEAR

    return detect


def _field(row: dict[str, Any], name: str) -> object:
    if name in row:
        return row[name]
    value: object = row
    for key in name.removeprefix("fields.").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _by_values(field: str, positions: np.ndarray, values: Sequence[object]) -> Grouping:
    """Group rows by one value each: numbers in bands if there are many, else by name, most frequent first."""
    if _are_many_numbers([value for value in values if value is not None]):
        return _by_bands(field, positions, np.array([_float(value) for value in values]))
    names = [_name(value) for value in values]
    frequent = [name for name, _ in Counter(names).most_common(_MOST_GROUPS)]
    codes = {name: code for code, name in enumerate(frequent)}
    known = [*frequent, OTHER] if len(set(names)) > len(frequent) else frequent
    return Grouping(
        field, positions, np.array([codes.get(name, len(frequent)) for name in names], np.int64), tuple(known)
    )


def _most_frequent(codes: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Merge all but the largest groups into one where there are very many, such as ids."""
    if len(names) <= _MOST_GROUPS:
        return codes, tuple(names)
    kept = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:_MOST_GROUPS]
    new_codes = np.full(len(names), len(kept))
    new_codes[kept] = np.arange(len(kept))
    return new_codes[codes], (*(names[code] for code in kept.tolist()), OTHER)


def _are_many_numbers(values: Sequence[object]) -> bool:
    """Report whether all values are numbers, with too many distinct ones for a group each."""
    are_numbers = all(type(value) in (int, float) for value in values)
    return are_numbers and len({number for number in map(_float, values) if math.isfinite(number)}) > _MOST_NUMBERS


def _float(value: Any) -> float:  # noqa: ANN401
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # JSON has integers of any size
        return math.inf


def _by_bands(field: str, positions: np.ndarray, values: np.ndarray) -> Grouping:
    """Group rows by quintiles of a number."""
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _BANDS + 1)))
    codes = np.clip(np.searchsorted(edges, values, "right") - 1, 0, max(len(edges) - 2, 0))
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)] or [f"{edges[0]:.4g}"]
    codes[~np.isfinite(values)] = len(names)
    return Grouping(field, positions, codes, (*names, NO_VALUE), is_ordered=True)


def _name(value: object) -> str:
    if value is None or value == "":
        return NO_VALUE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(printable(text).split()) or NO_VALUE
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"
