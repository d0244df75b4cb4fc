"""LLaMA-Factory: an entry in the ``dataset_info.json`` of the folder.

In an entry that names columns or tags, those that it does not name count as absent (``data/parser.py`` there), so every
one that the rows have is named. LLaMA-Factory skips rows whose turns do not alternate, with just a line in its log, so
such rows are refused; and its formatting ``openai`` adds a system prompt of its own, so it is not used.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nait_index.corpus import to_json
from nait_index.corpus.formats import ROLES, name_of
from nait_index.corpus.media import media_columns
from nait_index.errors import NaitError, OutputExistsError
from nait_index.handover import preferences
from nait_index.handover.rows import (
    SHAREGPT_ROLES,
    OutRow,
    Shape,
    UnreadableError,
    check_text,
    first_with_role,
    pair_names,
)
from nait_index.types import Role, RowFormat

FILE = "dataset_info.json"

_CALLING = "function_call"
_MEDIA = {"images": "images", "video": "videos", "audio": "audios"}
_PLAIN = "write the rows without --for"
_TAGS = {"user": Role.USER, "assistant": Role.ASSISTANT, "observation": Role.TOOL, "system": Role.SYSTEM}


def entry_name(out: Path) -> str:
    """Return the name of the entry, without commas and the like: LLaMA-Factory separates names with commas."""
    return re.sub(r"[^\w.+-]+", "_", out.stem)


def entry(rows: Sequence[OutRow], shape: Shape, out: Path) -> dict[str, Any]:
    """Return the entry.

    :raises UnreadableError: LLaMA-Factory cannot read a row, or would skip it.
    """
    if shape.format is RowFormat.ALPACA:
        settings = _alpaca(rows, shape)
    elif shape.format is RowFormat.PROMPT_COMPLETION:
        names = pair_names(rows)
        check_text(rows, *names)
        for row in rows:
            row.check_no_reasoning()
        columns = dict(zip(("prompt", "response"), names, strict=True))
        columns |= {name: name for name in ("system", "tools") if name in shape.columns}
        settings = {"formatting": "alpaca", "columns": columns}
    elif shape.format is RowFormat.PREFERENCE:
        settings = preferences.llamafactory(rows)
        if settings["formatting"] == "sharegpt":
            settings["tags"] = _preference_tags(rows)
    elif shape.format is RowFormat.TEXT:
        check_text(rows, "text")
        settings = {"formatting": "alpaca", "columns": {"prompt": "text"}}
    else:
        settings = _conversations(rows, shape)
    if "tools" in settings["columns"]:
        _check_tools(rows, preferences.REMEDY if shape.format is RowFormat.PREFERENCE else None)
    settings["columns"] |= _media(rows)
    return {"file_name": out.name} | settings


def _media(rows: Sequence[OutRow]) -> dict[str, str]:
    """Return the columns of images, video and audio, by the names that LLaMA-Factory has for them."""
    columns: dict[str, str] = {}
    for row in rows:
        if not media_columns(row.fields):
            row.check_no_media()
        for name, kind in media_columns(row.fields).items():
            value, key = row.fields[name], _MEDIA.get(kind)
            paths = value if isinstance(value, list) else [value]
            if key is None or not all(isinstance(path, str) for path in paths):
                raise UnreadableError(row, f"its {kind} in {name!r} are not all paths", _PLAIN)
            if columns.setdefault(key, name) != name:
                raise UnreadableError(row, f"it has {kind} in {name!r}, and others in {columns[key]!r}", _PLAIN)
    return columns


def merged(out: Path, added: dict[str, Any], *, force: bool) -> str:
    """Return the text of the file with the entry added; all others are kept.

    :raises OutputExistsError: the file has another entry of this name and ``force`` is not set.
    :raises NaitError: the existing file cannot be read.
    """
    path, name = out.with_name(FILE), entry_name(out)
    try:
        known = json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise NaitError(f"{path}: not a JSON object, so no entry can be added; repair or move it")
    if known.get(name, added) != added and not force:
        raise OutputExistsError(f"{path}: has another entry '{name}'; replace it with --force, or choose another name")
    return to_json(known | {name: added}, indent=2) + "\n"


def _alpaca(rows: Sequence[OutRow], shape: Shape) -> dict[str, Any]:
    names = {"prompt": "instruction"}
    names |= {"query": name_of(dict.fromkeys(shape.columns, True), "input", "context")}
    names |= {"response": name_of(dict.fromkeys(shape.columns, True), "output", "response")}
    names |= {name: name for name in ("history", "system", "tools")}
    check_text(rows, "instruction", names["response"])
    for row in rows:
        if names["query"] == "input" and not row.fields.get("input") and row.fields.get("context"):
            raise UnreadableError(row, "it has 'context' where others have 'input'")
        if name_of(row.fields, "output", "response") != names["response"]:
            raise UnreadableError(row, "it has 'response' where others have 'output'")
        row.check_no_reasoning()
    always = ("prompt", "response")
    columns = {key: name for key, name in names.items() if key in always or name in shape.columns}
    return {"formatting": "alpaca", "columns": columns}


def _conversations(rows: Sequence[OutRow], shape: Shape) -> dict[str, Any]:
    tags = _tags(shape.keys, {word: first_with_role(rows, shape, word) for word in shape.words})
    for row in rows:
        _check_turns(row, shape, tags)
    columns = {"messages": shape.name} | {name: name for name in ("system", "tools") if name in shape.columns}
    return {"formatting": "sharegpt", "columns": columns, "tags": tags}


def _tags(keys: tuple[str, str], words: Mapping[str, OutRow]) -> dict[str, str]:
    """Return what turns call their keys and roles.

    :param keys: of role and text. :param words: the names of roles, each with a row that uses it.
    :raises UnreadableError: a role has several names.
    """
    tags = {"role_tag": keys[0], "content_tag": keys[1], "function_tag": _CALLING}
    for name, role in _TAGS.items():
        known = sorted(word for word in words if ROLES.get(word) is role and word != _CALLING)
        if len(known) > 1:
            raise UnreadableError(words[known[1]], f"its role {known[1]!r} is called {known[0]!r} in other turns")
        tags[f"{name}_tag"] = known[0] if known else SHAREGPT_ROLES[role] if keys[0] == "from" else str(role)
    return tags


def _preference_tags(rows: Sequence[OutRow]) -> dict[str, str]:
    """Return the same of conversations with two answers.

    :raises UnreadableError: LLaMA-Factory would skip a row.
    """
    talks = [[[*row.turns("conversations"), row.fields[name]] for name in preferences.ANSWERS] for row in rows]
    of_rows = list(zip(rows, talks, strict=True))
    words = {str(turn.get("from")): row for row, pair in of_rows for talk in pair for turn in talk}
    tags = _tags(("from", "value"), words)
    for row, pair in of_rows:
        for talk in pair:
            _check_alternating(row, talk, "from", tags)
    return tags


def _check_alternating(row: OutRow, turns: Sequence[Mapping[str, Any]], role: str, tags: Mapping[str, str]) -> None:
    spoken = turns[1:] if turns and turns[0].get(role) == tags["system_tag"] else turns
    wanted = ((tags["user_tag"], tags["observation_tag"]), (tags["assistant_tag"], tags["function_tag"]))
    if not spoken or len(spoken) % 2 or any(turn.get(role) not in wanted[n % 2] for n, turn in enumerate(spoken)):
        raise UnreadableError(row, "its turns do not alternate between asking and answering, and it would be skipped")


def _check_turns(row: OutRow, shape: Shape, tags: dict[str, str]) -> None:
    role, text = shape.keys
    turns = list(row.turns(shape.name))
    _check_alternating(row, turns, role, tags)
    row.check_one_system(shape.name, role)
    row.check_no_reasoning(shape.name)
    if row.calls_tools(shape.name):
        raise UnreadableError(row, "it calls tools")
    row.check_turns_have_text(shape.name, text)


def _check_tools(rows: Sequence[OutRow], remedy: str | None) -> None:
    for row in rows:
        if not isinstance(row.fields.get("tools"), str | None):
            raise UnreadableError(row, "its tools are not JSON text", remedy)
