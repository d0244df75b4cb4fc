"""The words of the domain, as types.

Shape letters used in every docstring: B batch, T tokens, P poolings, L captured layers, N neurons a layer,
D = sum of the captured layers' neurons (L·N where all are alike), n samples, d signature width, k results.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from nait_index.files import hash_bytes


class RowFormat(StrEnum):
    """The shapes of instruction-tuning rows that are understood."""

    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt-completion"
    TEXT = "text"


class Role(StrEnum):
    """Who says a part. ``INPUT`` is Alpaca's second half of a user turn; ``TEXT`` is a row without roles."""

    SYSTEM = "system"
    TOOLS = "tools"
    USER = "user"
    INPUT = "input"
    ASSISTANT = "assistant"
    TOOL = "tool"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Part:
    """One non-empty piece of a sample's text."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row came from: the file as the user named it and the row's number in it, counted from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One usable training row.

    ``row`` is the original row as one JSON object, byte for byte where the source was JSON lines; ``parts`` is what
    of it becomes text, in reading order.
    """

    id: str
    row: str
    parts: tuple[Part, ...]
    origin: Origin
    format: RowFormat

    @property
    def content_hash(self) -> str:
        """Hash of the whole row (32 hex digits), the same for rows that differ only in spacing or key order."""
        canonical = json.dumps(json.loads(self.row), sort_keys=True, separators=(",", ":"))
        return hash_bytes(canonical.encode())


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that cannot be used, with the reason, kept so that nothing is lost."""

    origin: Origin
    reason: str
    row: str
