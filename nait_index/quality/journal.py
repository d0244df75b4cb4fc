"""The journal of one score: the outcome of each row as it is computed, so that an interrupted run can continue.

``INDEX/scores/NAME.jsonl``: first the settings, then one line per row; the last line of a row counts::

    {"settings": {"kind": "ifd", …}}
    {"id": "row-001", "value": 0.71, "status": "ok", "content": "…", "seal": "…"}
    {"id": "row-002", "value": null, "status": "failed", "content": "…", "reason": "out of memory", "seal": "…"}

``content`` is the content hash of the row that was scored: the score of a row that has been replaced does not count.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nait_index.errors import FingerprintError, IndexBusyError, StoreError
from nait_index.quality.score import Score, Status
from nait_index.store.sealed import seal, unseal


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal holds about one row."""

    value: float | None
    status: Status
    content: str


class Journal:
    """One score's journal, locked by this process until it is closed (context manager).

    :param settings: everything that affects the numbers.
    :param force: start again, and discard the old entries once :meth:`begin` is called.
    :raises FingerprintError: it was begun with other settings. :raises IndexBusyError: another process writes it.
    :raises StoreError: it is damaged.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, force: bool = False) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        self._settings = json.loads(json.dumps(settings))
        self._file = _open(path)
        try:
            self._lock()
            self._anew = force or not self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def begin(self) -> None:
        """Start writing: a new journal gets its first line, and one that is discarded is emptied first."""
        if self._anew:
            self._file.truncate(0)
            self._write({"settings": self._settings})
            self._anew = False

    def entry(self, row_id: str, content: str) -> Entry | None:
        """Return the entry of a row, or ``None`` if it has none for this content."""
        entry = self.entries.get(row_id)
        return entry if entry is not None and entry.content == content else None

    def lookup(self, row_id: str, content: str) -> tuple[float | None, str | None]:
        """Return value and status of a row, or ``None`` for both."""
        entry = self.entry(row_id, content)
        return (None, None) if entry is None else (entry.value, str(entry.status))

    def is_done(self, row_id: str, content: str) -> bool:
        """Report whether a row needs no more work: rows that have no entry, or failed, or were refused, do."""
        entry = self.entry(row_id, content)
        return entry is not None and entry.status.is_final

    def add(self, score: Score) -> None:
        """Append the outcome of a row; it survives the end of this process."""
        row = score.row
        line = {"id": row.id, "value": score.value, "status": str(score.status), "content": row.content}
        line |= {"reason": score.reason} if score.reason else {}
        self._write(seal(line))
        self.entries[row.id] = Entry(score.value, score.status, row.content)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IndexBusyError(f"{self.path} is being written by another process; wait until it is done") from None

    def _read(self) -> bool:
        """Read the entries, and report whether the file holds anything."""
        self._drop_torn_line()
        self._file.seek(0)
        number = 0
        for number, line in enumerate(self._file, start=1):
            try:
                record = json.loads(line)
                if number == 1:
                    self._check_settings({**record["settings"]})
                else:
                    record = unseal(record)
                    self.entries[record["id"]] = Entry(record["value"], Status(record["status"]), record["content"])
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{self.path}, line {number}: damaged; repair the line, or start again with --force"
                ) from error
        return number > 0

    def _drop_torn_line(self) -> None:
        """Cut off a last line that a killed process did not finish."""
        self._file.seek(0)
        end = 0
        for line in self._file:
            end += len(line) if line.endswith(b"\n") else 0
        self._file.truncate(end)

    def _check_settings(self, old: dict[str, Any]) -> None:
        new = self._settings
        different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if different:
            raise FingerprintError(
                f"{self.path} was begun with another {', '.join(different)}; use the same settings, choose another "
                "--name, or start again with --force"
            )

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n")
        self._file.flush()


def _open(path: Path) -> BinaryIO:
    """Open a journal for reading and appending; links are not followed, as the index may be from someone else."""
    if path.parent.is_symlink() or path.is_symlink():
        raise StoreError(f"{path} is a link or in a linked folder, and links are not followed; remove the link")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b")
