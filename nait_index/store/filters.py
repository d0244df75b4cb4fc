"""SQL conditions on rows: over the table's plain columns, and over any field of the rows themselves.

A condition that names a field, such as ``source = 'gsm8k'`` or ``metadata.lang = 'en'``, is evaluated by reading that
field from the rows' JSON into a table in memory (:mod:`nait_index.store.fields`) and running the same SQL on it. The
schema does not change when rows with new fields are added, and old versions can be filtered the same way.
"""

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.errors import SelectionError, StoreError
from nait_index.spelling import did_you_mean
from nait_index.store.dataset import explained
from nait_index.store.fields import WHOLE, Tree, field_column, field_columns, fields_of
from nait_index.store.samples import SIGNATURE_PREFIXES, SampleTable

if TYPE_CHECKING:
    import pyarrow as pa

_ORDINAL = "place_in_table_order"
_LONGEST = 10_000  # characters
_DEEPEST = 12  # parentheses: the parser is recursive, and some nested ones double its time
_MOST_SIGNS = 50  # arithmetic operators, and NOTs: the parser recurses into each
_SIGNS = frozenset("(),.=<>!+-*/%[]0123456789")
_FUNCTIONS = frozenset(
    "abs btrim ceil char_length character_length coalesce concat contains ends_with floor greatest least left length "
    "lower ltrim nullif regexp_like regexp_match replace reverse right round rtrim signum starts_with strpos substr "
    "trim upper".split()
)
"""What a condition may call: nothing that makes large values of small ones, or is known to crash Lance."""
_WORDS = frozenset("all and any between case else end escape false ilike in is like not null or then true when".split())
_SCORED = frozenset({"ifd", "selectit", "judge"})
"""Columns that exist once the score was computed."""
_SAMPLED = 256  # rows whose fields a message lists
_TOKEN = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|`([^`]+)`|([^\W\d]\w*)|(.)""", re.DOTALL)


def matching_rows(table: SampleTable, where: str, folder: Path | None = None) -> np.ndarray:
    """Return for which rows (n,) bool, in table order, a SQL condition holds.

    :param folder: where fields that conditions name are kept as columns; ``None`` to keep none.
    :raises SelectionError: the condition cannot be evaluated.
    """
    names = _names(where)
    try:
        with explained("", ""):
            return table.matching(where)
    except StoreError as error:
        # Not all names are columns of the table: the others are fields of the rows, or unknown.
        plain = plain_columns(table)
        fields = {name: inner for name, inner in names.items() if name not in plain}
        if WHOLE not in fields and not any(
            fields.keys() & fields_of(record).keys() for record in table.records(["row"])
        ):
            raise _refusal(table, where, error) from error
    import lance

    rows = _in_memory(table, [name for name in plain if name in names], fields, folder)
    mask = np.zeros(len(rows), dtype=bool)
    try:
        with explained("", ""):
            memory = lance.write_dataset(rows, "memory://filter")
            mask[memory.scanner(columns=[_ORDINAL], filter=where).to_table()[_ORDINAL].to_numpy()] = True
    except StoreError as error:
        raise _refusal(table, where, error) from error
    return mask


def _names(where: str) -> dict[str, Any]:
    """Return the names that a condition may refer to, as a tree by their parts; extra ones do no harm.

    :raises SelectionError: this cannot be one condition.
    """
    if len(re.findall(r"\bnot\b", where, re.IGNORECASE)) > _MOST_SIGNS:
        raise SelectionError("--where has too many NOT")
    if len(where) > _LONGEST:
        raise SelectionError(f"--where has {len(where):,} characters, {_LONGEST:,} are allowed")
    names: dict[str, Any] = {}
    branch = names
    depth = signs = 0
    before: str | None = None  # the last token that was not a space
    for match in _TOKEN.finditer(where):
        quoted, plain, sign = match.groups()
        if sign is not None and sign.isspace():
            continue
        name = quoted or plain
        if name:
            branch = (branch if before == "." else names).setdefault(name, {})
        elif sign == "(" and before and before.isidentifier() and before.lower() not in _FUNCTIONS | _WORDS:
            raise SelectionError(f"--where cannot call {before}; use one of: {', '.join(sorted(_FUNCTIONS))}")
        elif sign is not None and sign not in _SIGNS:
            raise SelectionError(f"--where '{where[:200]}' cannot be used: {sign!r} is not allowed in a condition")
        depth += (sign == "(") - (sign == ")")
        signs += sign is not None and sign in "+-*/%"
        if depth > _DEEPEST or signs > _MOST_SIGNS:
            raise SelectionError(
                f"--where is nested more than {_DEEPEST} levels deep, or has more than {_MOST_SIGNS} operators"
            )
        before = plain or quoted or sign or "'"
    return names


def plain_columns(table: SampleTable) -> list[str]:
    """List the columns of the table that are not signatures."""
    return [name for name in table.schema().names if not name.startswith(SIGNATURE_PREFIXES)]


def values_of(table: SampleTable, name: str, option: str, folder: Path | None = None) -> "pa.Array":
    """Read a plain column, or else a field of the rows, whose name may lead into objects with dots; null where absent.

    :param option: what asks for it, for the message. :param folder: as for :func:`matching_rows`.
    :raises SelectionError: there is no such column, and no row has the field.
    """
    if name in plain_columns(table):
        return table.read([name]).column(0).combine_chunks()
    column = field_column(table, name.removeprefix(f"{WHOLE}."), folder)
    if column is None:
        fields = {field for record in islice(table.records(["row"]), _SAMPLED) for field in fields_of(record)}
        known = sorted({*plain_columns(table), *fields})
        hint = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
        raise SelectionError(f"{option}: there is no column or field '{name}'{hint}")
    return column


def _in_memory(table: SampleTable, columns: list[str], fields: Tree, folder: Path | None) -> "pa.Table":
    import pyarrow as pa

    rows = table.read(columns) if columns else pa.table({})
    rows = pa.table({_ORDINAL: pa.array(np.arange(len(table)))} | {name: rows[name] for name in columns})
    for name, column in field_columns(table, fields, folder).items():
        rows = rows.append_column(name, column)
    return rows


def _refusal(table: SampleTable, where: str, error: StoreError) -> SelectionError:
    message = " ".join(str(error.__cause__).split()).removeprefix("Invalid user input: ")
    reason = (
        message.split(", /")[0].split(" Valid fields are")[0].split(" Did you mean")[0].removeprefix("Schema error: ")
    )
    reason = reason[:200]
    sampled = [fields_of(record) for record in islice(table.records(["row"]), _SAMPLED)]
    fields = dict.fromkeys(name for row in sampled for name in row)
    names = [*plain_columns(table), *(name for name in fields if name.isprintable())]
    if (absent := re.search(r"Field (\S+) not found in struct", message)) is not None:
        inner = {
            name
            for row in sampled
            for value in row.values()
            if isinstance(value, dict)
            for name in value
            if name.isprintable()
        }
        near = did_you_mean(absent[1], sorted(inner))
        return SelectionError(f"--where '{where[:200]}' cannot be used: no object in a row has '{absent[1]}'{near}")
    unknown = re.search(r"No field named ([^\s.]+)", reason)
    name = unknown[1].strip("\"'`") if unknown else ""
    if name.removesuffix("_status") in _SCORED:
        near = f"; 'nait-index score INDEX {name.removesuffix('_status')}' creates that column"
    else:
        near = did_you_mean(name, names) if name else ""
    known = ", ".join(dict.fromkeys(names))
    return SelectionError(f"--where '{where[:200]}' cannot be used: {reason.rstrip('. ')}; the names are {known}{near}")
