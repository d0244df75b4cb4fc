"""Finished runs, appended to a file as they end, so that an interrupted measurement can be resumed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def digest(*parts: object) -> str:
    """Hash JSON values and bytes: 32 hex digits."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        hasher.update(len(content).to_bytes(8) + content)
    return hasher.hexdigest()


class RunCache:
    """Records by key, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = {record["key"]: record for record in self._read()}

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._records[key]

    def add(self, record: Mapping[str, Any]) -> None:
        """Store a record, which has a field ``key``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self._records[record["key"]] = dict(record)

    def _read(self) -> list[dict[str, Any]]:
        """Read the records, and drop an incomplete last line."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._path.write_text(whole, encoding="utf-8")
        return [json.loads(line) for line in whole.splitlines()]
