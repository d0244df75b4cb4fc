"""Corpus path -> its files, each with the split of the data set that it belongs to.

A folder holds splits if ``datasets`` saved a ``DatasetDict`` in it, or if its files or subfolders are named as on the
Hugging Face hub: ``train-00000-of-00002.parquet``, ``data/test.jsonl``, ``validation/rows.csv``.
"""

import json
import logging
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from nait_index.corpus.rows import printable
from nait_index.errors import CorpusError
from nait_index.spelling import did_you_mean

logger = logging.getLogger(__name__)

STDIN = Path("-")
STDIN_NAME = "stdin"

ALL_SPLITS = "all"
"""Stands for every split."""

_WORDS = frozenset("train training test testing eval evaluation validation valid val dev".split())
"""Words that mark a file as one of a split, as ``datasets`` takes them."""
_SHARD = re.compile(r"(.+?)[-_.]\d{5}-of-\d{5}(?:-\w+)?")
_BETWEEN_WORDS = re.compile(r"[-_. ]+")
_FACTS = frozenset({"dataset_infos.json", "dataset_info.json"})
"""Files beside data that describe it."""
SAVED_SPLITS, SAVED = "dataset_dict.json", "state.json"
"""Files by which a folder is known that ``save_to_disk`` wrote: for a ``DatasetDict``, and for a ``Dataset``."""


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file of a corpus, and its split, if it belongs to one."""

    path: Path
    split: str | None = None


def display_name(file: Path) -> str:
    """Return a file's name as the user gave it, in printable characters."""
    return STDIN_NAME if file == STDIN else printable(str(file))


def suffix_of(file: PurePath) -> str:
    """Return the ending that tells a file's kind, such as ``.jsonl.gz``."""
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    return "".join(suffixes) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def is_data(file: PurePath) -> bool:
    """Return whether a file among others may hold rows: it is not hidden, and does not describe the others."""
    return not file.name.startswith(".") and file.name not in _FACTS


def path_files(path: Path, suffixes: Sequence[str]) -> list[CorpusFile]:
    """List the files of a path that exists, in reading order.

    A folder that ``save_to_disk`` wrote yields its shards, any other folder the corpus files directly in it, by name;
    one without such files those of its folder ``data``, or of its subfolders if they are named like splits.

    :param suffixes: of corpus files.
    :raises CorpusError: the folder holds no corpus file, or is damaged.
    """
    if not path.is_dir():
        return with_splits([path])
    saved = _saved_files(path)
    if saved is not None:
        return saved
    files = [file for file in sorted(path.iterdir()) if suffix_of(file) in suffixes and is_data(file)]
    folders = [folder for folder in sorted(path.iterdir()) if _holds_files(folder, suffixes)]
    if files:
        if folders:
            names = ", ".join(printable(folder.name) for folder in folders)
            logger.warning("%s: only the files directly in it are read, not those in %s", display_name(path), names)
        return with_splits(files)
    if (path / "data").is_dir():
        return path_files(path / "data", suffixes)
    if not folders:
        raise CorpusError(f"{display_name(path)}: a folder with no file that ends in {', '.join(suffixes)}")
    if not all(_split_word(folder.name) for folder in folders):
        names = ", ".join(printable(folder.name) for folder in folders)
        raise CorpusError(f"{display_name(path)}: a folder with no corpus file; name one of the folders in it: {names}")
    return [
        CorpusFile(file.path, printable(folder.name)) for folder in folders for file in path_files(folder, suffixes)
    ]


def choose_split(name: str, files: Sequence[CorpusFile], split: str | None, *, is_folder: bool) -> list[CorpusFile]:
    """Keep the files of one split, without naming it in them, or those of all splits.

    :param name: of what holds them, for messages. :param is_folder: whether it is a folder, of which one is to be asked
        for; otherwise the files were named.
    :param split: its name, ``all``, or ``None`` if none was asked for.
    :raises CorpusError: none was asked for, and a folder holds several, or one that is not for training beside files of
        none; or there is no such split.
    """
    if split == ALL_SPLITS:
        return list(files)
    splits = list(dict.fromkeys(file.split for file in files if file.split is not None))
    if split is None and is_folder and len(splits) > 1:
        named = f"{', '.join(splits[:-1])} and {splits[-1]}"
        likely = shlex.quote(next((known for known in splits if known.startswith("train")), splits[0]))
        raise CorpusError(
            f"{name}: holds the splits {named}; 'build' and 'add' take one with --split {likely}, and "
            "all with --split all; elsewhere, name the files of one"
        )
    held_out = next((file for file in files if file.split and not file.split.startswith("train")), None)
    if split is None and is_folder and held_out is not None and any(file.split is None for file in files):
        raise CorpusError(
            f"{name}: holds {printable(held_out.path.name)}, of the split {held_out.split}, beside files of no split; "
            "'build' and 'add' take all with --split all; elsewhere, or without it, name the files"
        )
    if split is not None and split not in splits:
        there = f"it has {', '.join(splits)}{did_you_mean(split, splits)}" if splits else "it has no splits"
        raise CorpusError(f"{name}: has no split '{split}'; {there}")
    return [replace(file, split=None) for file in files if split in (None, file.split)]


def _saved_files(folder: Path) -> list[CorpusFile] | None:
    """Return the files of a folder that ``save_to_disk`` wrote; ``None`` for any other."""
    splits, state = folder / SAVED_SPLITS, folder / SAVED
    try:
        if splits.is_file():
            names = json.loads(splits.read_bytes())["splits"]
            return [replace(file, split=name) for name in names for file in _split_files(_inside(folder, name))]
        if state.is_file():
            shards = json.loads(state.read_bytes())["_data_files"]
            return [CorpusFile(_inside(folder, shard["filename"])) for shard in shards]
    except (ValueError, LookupError, TypeError) as error:
        raise CorpusError(f"{display_name(folder)}: damaged save_to_disk folder ({error!r}); save it again") from error
    return None


def _split_files(folder: Path) -> list[CorpusFile]:
    files = _saved_files(folder)
    if files is None:
        raise CorpusError(f"{display_name(folder)}: a split without state.json; save the data set again")
    return files


def _inside(folder: Path, name: str) -> Path:
    """Return a file directly in a folder, by a name that was read from a file and must not lead elsewhere."""
    if name in ("", "..") or Path(name).name != name or not name.isprintable():
        raise CorpusError(f"{display_name(folder)}: names {name!r}, which is not a file in this folder; save it again")
    return folder / name


def _holds_files(folder: Path, suffixes: Sequence[str]) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return any(suffix_of(file) in suffixes and not file.name.startswith(".") for file in folder.iterdir())


def with_splits(files: Sequence[Path]) -> list[CorpusFile]:
    """Mark files with their splits. If one shard is of a split, the names of all shards are those of splits."""
    splits = [_split_of(file) for file in files]
    if any(splits):
        shards = (_SHARD.fullmatch(_stem(file)) for file in files)
        splits = [split or (shard and printable(shard[1])) for split, shard in zip(splits, shards, strict=True)]
    return [CorpusFile(file, split) for file, split in zip(files, splits, strict=True)]


def _split_of(file: Path) -> str | None:
    """Return the split that a file's name tells: the whole name before the number of a shard, or else the word."""
    stem = _stem(file)
    shard = _SHARD.fullmatch(stem)
    word = _split_word(shard[1] if shard else stem)
    return printable(shard[1]) if shard and word and shard[1].lower().startswith(word) else word


def _split_word(name: str) -> str | None:
    """Return the first or last word of a name that marks a split; numbers at its end do not count."""
    words = _BETWEEN_WORDS.split(name.lower())
    while len(words) > 1 and words[-1].isdecimal():
        words.pop()
    return next((word for word in (words[0], words[-1]) if word in _WORDS), None)


def _stem(file: Path) -> str:
    return file.name[: len(file.name) - len(suffix_of(file))]


def is_name(path: Path) -> bool:
    """Return whether the system can have a file of this name."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # half a surrogate pair
        return False
