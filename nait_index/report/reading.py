"""Reading rows of an index: their fields, their words, and the groups that they fall into."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nait_index.corpus import restore_sample
from nait_index.errors import NaitError
from nait_index.index import NaitIndex

LENGTH_BANDS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
SOURCE_FIELDS = ("source", "dataset", "subset", "origin", "data_source", "task", "category", "skill", "domain", "topic")
NOWHERE = "(none)"
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
_LONGEST_NAME = 80
_LETTERS = 300  # characters that a language is told from
_SURE = 0.8
_BANDS = 5
_MOST_NUMBERS = 12  # different numbers that are groups of their own
_MOST_GROUPS = 2_000


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group each of some rows falls into, by one field.

    :param ordinals: (m,) places of the rows, ascending if :meth:`counts` is to be asked.
    :param codes: (m,) int, into ``names``. :param is_ordered: whether these stand in an order of their own.
    """

    field: str
    ordinals: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]
    is_ordered: bool = False

    def counts(self, of: np.ndarray) -> np.ndarray:
        """Count the groups among some rows, (G,); rows that were not read are passed over."""
        at = np.searchsorted(self.ordinals, of)
        at[at == len(self.ordinals)] = 0
        found = self.codes[at[self.ordinals[at] == of]]
        return np.bincount(found, minlength=len(self.names))

    def name_of(self, ordinal: int) -> str:
        """Name the group of a row; empty where it was not read."""
        at = int(np.searchsorted(self.ordinals, ordinal))
        known = at < len(self.ordinals) and self.ordinals[at] == ordinal
        return self.names[self.codes[at]] if known else ""


@dataclass(frozen=True, slots=True)
class Words:
    """What a row says, by who says it: (role, text) each."""

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(text for _, text in self.parts)


class RowReader:
    """Reads rows of one index by their place in the table.

    :param index: opened for reading. :param ordinals: (m,) the rows whose fields will be asked for.
    """

    def __init__(self, index: NaitIndex, ordinals: np.ndarray) -> None:
        self._index = index
        self._ordinals = ordinals
        self._rows: list[dict[str, Any]] = [json.loads(own) for own in index.columns.take(ordinals, ["row"])["row"]]

    def source_field(self) -> str | None:
        """Name the field that says where a row is from; ``None`` where there is none that most rows have."""
        for name in SOURCE_FIELDS:
            found = [row[name] for row in self._rows if isinstance(row.get(name), str)]
            if len(found) * 2 > len(self._rows) and len(set(found)) <= max(2, len(found) // 3):
                return name
        return None

    def by_field(self, name: str) -> Grouping:
        """Group the rows by one of their own fields, such as ``source`` or ``meta.lang``.

        :raises NaitError: no row has it.
        """
        values = [_field(row, name) for row in self._rows]
        if all(value is None for value in values):
            own = sorted({key for row in self._rows[:256] for key in row if key.isprintable()})
            there = ", ".join(dict.fromkeys([*self._index.columns.column_names(), *own]))
            raise NaitError(f"--by '{name}': no row has such a field; there are {there}")
        return _grouped(name, self._ordinals, values)


def by_column(index: NaitIndex, name: str, ordinals: np.ndarray) -> Grouping:
    """Group all of some rows by a plain column of the table."""
    column = index.columns.read([name]).column(0).take(ordinals).combine_chunks()
    coded = column.dictionary_encode()
    values = coded.dictionary.to_pylist()
    if _are_many_numbers(values):
        return _banded(name, ordinals, column.to_numpy(zero_copy_only=False).astype(np.float64))
    # Names may become equal when they are cut.
    names, places = np.unique(np.array([*map(_name, values), NOWHERE], dtype=object), return_inverse=True)
    codes = places[coded.indices.fill_null(len(values)).to_numpy()]
    return Grouping(name, ordinals, *_most_frequent(codes, names.tolist()))


def by_length(ordinals: np.ndarray, tokens: np.ndarray) -> Grouping:
    """Group rows by how long they are in tokens, in powers of two."""
    names = [f"up to {LENGTH_BANDS[0]}", *_bands(LENGTH_BANDS), f"over {LENGTH_BANDS[-1]:,}"]
    return Grouping("length", ordinals, np.digitize(tokens, LENGTH_BANDS, right=True), tuple(names), is_ordered=True)


def by_language(index: NaitIndex, ordinals: np.ndarray) -> Grouping:
    """Group rows by the language that their words look like."""
    tell = _teller()
    names = [tell(own.text[:_LETTERS]) for own in words_of(index, ordinals)]
    return _grouped("language", ordinals, names)


def require_langid() -> None:
    """Refuse to begin without py3langid.

    :raises NaitError: it is not installed.
    """
    try:
        import py3langid  # noqa: F401
    except ImportError:
        raise NaitError("a report needs py3langid: pip install 'nait-index[report]'") from None


def words_of(index: NaitIndex, ordinals: Sequence[int] | np.ndarray) -> list[Words]:
    """Read what some rows say."""
    taken = index.columns.take(ordinals, ["id", "row", "format"])
    return [_words(dict(zip(taken, values, strict=True))) for values in zip(*taken.values(), strict=True)]


def clean(text: str) -> str:
    """Make text fit to be written as UTF-8, with no control character but tab and newline."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(
        own if own in "\n\t" or (ord(own) >= 32 and not 127 <= ord(own) < 160) else "\ufffd" for own in whole
    )


def fit(text: str, room: int) -> str:
    """Give as much of the beginning of a text as takes about so many bytes of a page, where some signs take six."""
    own = text[:room]
    while (cost := len(own.encode()) + 5 * sum(map(own.count, "<>&\"'"))) > room:
        own = own[: min(len(own) * room // cost, len(own) - 1)]
    return own


def _words(record: Mapping[str, Any]) -> Words:
    try:
        sample = restore_sample(record)
    except NaitError:
        return Words((("row", clean(record["row"])),))
    return Words(tuple((str(part.role), clean(part.text)) for part in sample.parts))


def _teller() -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def tell(text: str) -> str:
        language, probability = identifier.classify(text)
        return _LANGUAGES.get(language, str(language)) if probability >= _SURE else UNCLEAR

    return tell


def _field(row: dict[str, Any], name: str) -> object:
    if name in row:
        return row[name]
    value: object = row
    for part in name.removeprefix("fields.").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _grouped(name: str, ordinals: np.ndarray, values: Sequence[object]) -> Grouping:
    if _are_many_numbers([value for value in values if value is not None]):
        return _banded(name, ordinals, np.array([_float(value) for value in values]))
    names = [_name(value) for value in values]
    frequent = [own for own, _ in Counter(names).most_common(_MOST_GROUPS)]
    places = {own: at for at, own in enumerate(frequent)}
    known = [*frequent, OTHER] if len(set(names)) > len(frequent) else frequent
    codes = np.array([places.get(own, len(frequent)) for own in names], np.int64)
    return Grouping(name, ordinals, codes, tuple(known))


def _most_frequent(codes: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Make one group of all groups but the largest, where there are very many, as of ids."""
    if len(names) <= _MOST_GROUPS:
        return codes, tuple(names)
    kept = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")[:_MOST_GROUPS]
    places = np.full(len(names), len(kept))
    places[kept] = np.arange(len(kept))
    return places[codes], (*(names[at] for at in kept.tolist()), OTHER)


def _are_many_numbers(values: Sequence[object]) -> bool:
    """Tell whether values are numbers, and too many different ones for a group each."""
    are_numbers = all(type(value) in (int, float) for value in values)
    return are_numbers and len({own for own in map(_float, values) if math.isfinite(own)}) > _MOST_NUMBERS


def _float(value: Any) -> float:  # noqa: ANN401
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # JSON has whole numbers of any size
        return math.inf


def _banded(name: str, ordinals: np.ndarray, values: np.ndarray) -> Grouping:
    """Group numbers into fifths of the rows."""
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _BANDS + 1)))
    codes = np.clip(np.searchsorted(edges, values, "right") - 1, 0, max(len(edges) - 2, 0))
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)] or [f"{edges[0]:.4g}"]
    codes[~np.isfinite(values)] = len(names)
    return Grouping(name, ordinals, codes, (*names, NOWHERE), is_ordered=True)


def _name(value: object) -> str:
    if value is None or value == "":
        return NOWHERE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(clean(text).split()) or NOWHERE
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _bands(edges: Sequence[int]) -> list[str]:
    return [f"{low + 1:,}–{high:,}" for low, high in pairwise(edges)]
