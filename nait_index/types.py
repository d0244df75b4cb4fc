"""The types of the domain: rows, their parts and origins.

Shape letters used in every docstring: B batch, T tokens, P poolings, L captured layers, N neurons a layer,
D = sum of the captured layers' neurons (L·N where all are alike), n samples, d signature width, k results.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from nait_index.files import hash_bytes

_JSON_TEXT = ("tools", "tool_calls", "function_call", "arguments", "parameters")
"""Keys whose values some formats hold as JSON text."""
_EXACT = 2**53
"""Whole numbers up to which a table's column of floating-point numbers holds every one."""


class RowFormat(StrEnum):
    """The supported formats of instruction-tuning rows."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt-completion"
    PREFERENCE = "preference"
    TEXT = "text"


class Reasoning(StrEnum):
    """Whether the model reads the reasoning of an answer, or only the answer."""

    KEEP = "keep"
    DROP = "drop"


class ReadPart(StrEnum):
    """Which part of a row is read: all of it, what comes before its last answer, or that answer alone."""

    ALL = "all"
    PROMPT = "prompt"
    ANSWER = "answer"


class Side(StrEnum):
    """Which answer is read of a row that holds a preferred and a rejected one."""

    CHOSEN = "chosen"
    REJECTED = "rejected"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of rows; a different reading gives different numbers.

    :param columns: pairs of a field of a known format and the column that holds it, such as ``("output", "reply")``.
    """

    reasoning: Reasoning = Reasoning.KEEP
    read: ReadPart = ReadPart.ALL
    side: Side = Side.CHOSEN
    columns: tuple[tuple[str, str], ...] = ()

    @property
    def whole(self) -> "Reading":
        """The same for whole rows."""
        return self if self.read is ReadPart.ALL else replace(self, read=ReadPart.ALL)

    @property
    def for_training(self) -> "Reading":
        """The same for whole rows with the preferred of two answers, whichever is indexed."""
        whole = self.whole
        return whole if whole.side is Side.CHOSEN else replace(whole, side=Side.CHOSEN)


DEFAULT_READING = Reading()


class Role(StrEnum):
    """The speaker of a part. ``INPUT`` is the second half of Alpaca's user turn; ``TEXT`` is a row without roles."""

    SYSTEM = "system"
    TOOLS = "tools"
    USER = "user"
    INPUT = "input"
    ASSISTANT = "assistant"
    TOOL = "tool"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Part:
    """One non-empty piece of a sample's text.

    :param reasoning: of an answer, from a field of its own; the text begins with it as a block.
    :param answer: the text without that block.
    """

    role: Role
    text: str
    reasoning: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a row: the file as the user named it, and the row's number in it, counted from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One usable training row.

    ``row`` is the original row as one JSON object, byte for byte if the source was JSON lines; ``parts`` are the texts
    that the model reads, in reading order. ``answered`` is false where there is nothing to train on, only a question;
    ``text_only`` is true where the row carries images, video or audio as well.
    """

    id: str
    row: str
    parts: tuple[Part, ...]
    origin: Origin
    format: RowFormat
    answered: bool = True
    text_only: bool = False

    @property
    def content_hash(self) -> str:
        """Hash of the whole row, see :func:`content_hash_of`."""
        return content_hash_of(self.row)


def content_hash_of(row: str) -> str:
    """Return the hash of a row's JSON text (32 hex digits), equal for rows that mean the same.

    They may differ in spacing, in the order of keys, in fields that are empty, and as :func:`canonical` describes.
    """
    fields = {name: value for name, value in canonical(json.loads(row)).items() if value not in ("", [], {})}
    return hash_bytes(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())


def lookup(row: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a column, whose name may lead into objects with dots; ``None`` if there is none."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    inner = row.get(first)
    return lookup(inner, rest) if dot and isinstance(inner, dict) else None


def canonical(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Return JSON in the one form in which it is compared and read.

    A null, NaN or infinity in an object means the same as no such key, since a table fills in what a row lacks; 1.0 is
    1, since its columns have one type; and tools, their calls, arguments and parameters are parsed where they are JSON
    text, as which tables and ShareGPT hold them.

    :param key: of the object that the value is in.
    """
    if isinstance(value, dict):
        return {name: canonical(inner, name) for name, inner in value.items() if not is_nothing(inner)}
    if isinstance(value, list):
        return [canonical(item, key) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if key in _JSON_TEXT and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return canonical(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value


def is_nothing(value: object) -> bool:
    """Return whether a value in an object means the same as no such key: null, NaN or infinity."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


Span = tuple[int, int]
"""Where some characters of a text begin and end."""


class MarkedText(NamedTuple):
    """A text that a model reads, and the spans of its answers, which fine-tuning learns to write."""

    text: str
    answers: tuple[Span, ...]

    @classmethod
    def parsed(cls, value: Any) -> "MarkedText":  # noqa: ANN401 - JSON
        """Restore it from JSON, where it is a list."""
        text, answers = value
        return cls(text, tuple((start, end) for start, end in answers))


class RejectionCause(StrEnum):
    """Causes of rejections that are counted on their own, since whole corpora have them."""

    UNANSWERED = "unanswered"
    MEDIA = "media"


@dataclass(frozen=True, slots=True)
class RowRead:
    """What the model read of a row: its text as the template renders it, up to where it was cut.

    :param cut: characters after that, which were not read; :param rest: the first of these.
    :param left_out: kinds of parts that the template leaves out, such as ``tool turns``.
    :param problem: why this cannot be restored; then ``text`` is that of the row's parts.
    """

    text: str
    cut: int = 0
    rest: str = ""
    left_out: tuple[str, ...] = ()
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self) | {"left_out": list(self.left_out)}


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that cannot be used, with the reason, so that no row is lost."""

    origin: Origin
    reason: str
    row: str
    cause: RejectionCause | None = field(default=None, compare=False)
