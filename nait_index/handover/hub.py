"""Selected rows → a private data set of the Hub: the rows, the sidecar, and a card that describes them.

The files are uploaded in one commit. The access token is the one of ``hf auth login`` or ``HF_TOKEN``.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nait_index.config import Trainer
from nait_index.corpus import to_json
from nait_index.errors import NaitError, OutputExistsError, one_line
from nait_index.handover.handover import OutputOptions, WrittenFiles
from nait_index.spelling import parse_enum
from nait_index.types import RowFormat

PREFIX = "hf://datasets/"
ROWS = "train.jsonl"
"""The file with the rows, whose name says which split they are."""

_LISTS = ("selected", "rejected", "missed", "decontaminated", "deduplicated", "contamination", "validation")
"""What a sidecar holds of single rows, which a card does not repeat."""

_CARD = """\
---
configs:
- config_name: default
  data_files:
  - split: train
    path: {rows}
{more}tags:
- nait-index
---

# {count:,} rows chosen by nait-index

Best first. How they were chosen; `{sidecar}` also holds the rank and score of every row:

```json
{facts}
```
"""


def output_options(
    path: str | Path,
    *,
    trainers: Sequence[Trainer | str] = (),
    **wishes: Any,  # noqa: ANN401
) -> "OutputOptions | HubOptions":
    """Return the options of an output, which is a file, a folder, or a data set of the Hub.

    :param wishes: see :class:`OutputOptions`.
    """
    if not str(path).startswith(PREFIX):
        return OutputOptions(path, trainers=trainers, **wishes)
    if trainers:
        raise NaitError(f"{path}: a trainer gets its configuration beside a file; write a file, or leave out --for")
    return HubOptions(str(path), **wishes)


class HubOptions:
    """A data set of the Hub that rows are written to, checked before any work is done.

    :param wishes: see :class:`OutputOptions`; ``force`` replaces the rows of a data set that exists.
    :raises OutputExistsError: it exists, and ``force`` is not set.
    :raises NaitError: the address is none, or the Hub cannot be asked.
    """

    def __init__(self, address: str, *, force: bool = False, **wishes: Any) -> None:  # noqa: ANN401
        self.name = address.removeprefix(PREFIX)
        self.address, self.force, self._wishes = address, force, wishes
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.name):
            raise NaitError(f"{address}: not a data set of the Hub; write it as {PREFIX}OWNER/NAME")
        if wishes.get("format") is not None:
            parse_enum(RowFormat, wishes["format"], "format")
        self.scores, self.weights = bool(wishes.get("scores")), bool(wishes.get("weights"))
        if self._call("repo_exists") and not force:
            raise OutputExistsError(f"{address} exists already; replace its rows with --force, or choose another name")

    def push(self, write: Callable[[OutputOptions], WrittenFiles]) -> WrittenFiles:
        """Write the rows into a folder, and upload it.

        :returns: what was written, by its names in the data set.
        :raises NaitError: the Hub refuses, or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            written = write(OutputOptions(Path(folder) / ROWS, **self._wishes))
            Path(folder, "README.md").write_text(_card(written), encoding="utf-8")
            self._call("create_repo", private=True, exist_ok=True)
            message = f"{written.rows:,} rows chosen by nait-index"
            self._call("upload_folder", folder_path=folder, commit_message=message, delete_patterns="train.*")
        sidecar, rejected = Path(written.sidecar.name), Path(written.rejected.name)
        notes = tuple(note.replace(f"{folder}/", "") for note in written.notes)
        return replace(written, path=Path(ROWS), sidecar=sidecar, rejected=rejected, notes=notes, hub=self.address)

    def _call(self, method: str, **options: Any) -> Any:  # noqa: ANN401
        from huggingface_hub import HfApi

        try:
            return getattr(HfApi(), method)(repo_id=self.name, repo_type="dataset", **options)
        except Exception as error:  # of several libraries, for network, login and permission
            reason = one_line(error)
            raise NaitError(f"{self.address}: {reason}; check the name, the network and hf auth whoami") from error


def _card(written: WrittenFiles) -> str:
    sidecar = json.loads(written.sidecar.read_bytes())
    held_out = sidecar.get("validation")
    more = f"  - split: validation\n    path: {held_out['file']}\n" if held_out else ""
    facts = to_json({name: value for name, value in sidecar.items() if name not in _LISTS}, indent=2)
    return _CARD.format(rows=ROWS, more=more, count=written.rows, sidecar=written.sidecar.name, facts=facts)
