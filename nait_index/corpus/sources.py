"""What a corpus is named by → its parts: files and folders, patterns, addresses, data sets of the Hub, rows in memory.

| named by | read by |
|---|---|
| a file or folder, a pattern such as ``data/*.jsonl``, ``-`` for standard input | this package |
| ``s3://``, ``gs://``, ``https://`` and what else fsspec knows: a file, folder or pattern | fsspec, through a copy |
| ``hf://datasets/OWNER/NAME[@REVISION][:CONFIG][/SPLIT]``, or ``OWNER/NAME`` alone | ``datasets``, streamed |
| a ``Dataset``, ``IterableDataset``, frame of pandas or polars, iterable of dictionaries | through Arrow or JSON |
"""

import glob
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from nait_index.corpus.arrow_rows import object_row, table_rows
from nait_index.corpus.folders import (
    ALL_SPLITS,
    SAVED,
    SAVED_SPLITS,
    STDIN,
    STDIN_NAME,
    choose_split,
    display_name,
    is_data,
    suffix_of,
    with_splits,
)
from nait_index.corpus.readers import SUFFIXES, check_suffix, corpus_files, read_rows
from nait_index.corpus.rows import RawRow, printable
from nait_index.corpus.text_rows import refuse_repeated
from nait_index.errors import CorpusError, NaitError, one_line
from nait_index.spelling import did_you_mean
from nait_index.types import Rejected

Rows = Generator[RawRow | Rejected, None, None]
Corpus = Any
"""What a corpus or some examples can be given by, see above; or several of it."""

_BATCH = 1024
_ONE_TYPE = "make its values of one type, such as text"
_MAGIC = re.compile(r"[*?\[]")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_HUB = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:/]+))?(?::(?P<config>[^/]+))?(?:/(?P<split>[\w.-]+))?"
)
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class SourcePart:
    """A part of a source whose rows have one format, such as a file.

    :param name: in messages and origins. :param rows: reads it. :param key: the same for what is the same.
    :param split: of the data set, if it has any.
    """

    name: str
    rows: Callable[[], Rows]
    key: object
    split: str | None = None


@dataclass(frozen=True)
class Source:
    """One thing that a corpus was named by.

    :param label: as it was named. :param stem: what generated ids begin with.
    :param is_one_part: whether generated ids have the numbers that its only part gives its rows.
    """

    label: str
    stem: str
    parts: tuple[SourcePart, ...]
    is_one_part: bool


def corpus_list(corpus: Corpus) -> list[Any]:
    """Return one or several sources as a list.

    :raises NaitError: there is none.
    """
    if isinstance(corpus, str | Path) or _is_table(corpus) or not isinstance(corpus, list | tuple | set | frozenset):
        return [corpus]
    several = list(corpus)
    if not several:
        raise NaitError("no file was given")
    return [several] if all(isinstance(item, Mapping) for item in several) else several


def label_of(source: Any) -> str:  # noqa: ANN401
    """Return how a source is called in messages and in the manifest."""
    return printable(str(source)) if isinstance(source, str | Path) else _name_in_memory(source)


def open_sources(sources: Iterable[Any], split: str | None = None) -> list[Source]:
    """Find the parts of several sources; no row is read yet.

    Rows in memory have no names of their own, so those after the first are numbered: ``rows``, ``rows-2``.

    :param split: of a source that holds several: its name, or ``all``.
    :raises CorpusError: one cannot be read, or holds several splits and none was asked for.
    """
    opened, numbers = [], Counter[str]()
    for source in sources:
        if isinstance(source, str | Path):
            opened.append(_open_named(source, split))
            continue
        name = _name_in_memory(source)
        numbers[name] += 1
        opened.append(_in_memory(source, name if numbers[name] == 1 else f"{name}-{numbers[name]}", split))
    return opened


def _open_named(source: str | Path, split: str | None) -> Source:
    text = str(source)
    if (named := _HUB.fullmatch(text)) and PurePosixPath(text).suffix not in SUFFIXES:
        return _hub(text, named["repo"], named["config"], named["revision"], named["split"] or split)
    if _URL.match(text):
        return _remote(text, split)
    path = Path(text)
    if is_elsewhere(text):
        return _hub(text, text, None, None, split)
    if _MAGIC.search(text) and not path.exists() and (matches := _matches(text, glob.glob(text, recursive=True))):
        files = [file for name in matches for file in corpus_files(Path(name), split)]
        parts = tuple(_file(file.path, file.split) for file in files)
        return Source(printable(text), printable(path.parent.name or "rows"), parts, is_one_part=False)
    files = corpus_files(path, split)
    stem = STDIN_NAME if path == STDIN else printable(path.absolute().name)
    return Source(
        display_name(path), stem, tuple(_file(file.path, file.split) for file in files), files[0].path == path
    )


def is_elsewhere(name: str, folder: Path = Path()) -> bool:
    """Return whether a name is an address or a data set of the Hub, and no path relative to a folder."""
    path = folder / name
    is_hub_name = _HUB_NAME.fullmatch(name) and path.suffix not in SUFFIXES
    return bool(_URL.match(name)) or bool(is_hub_name and not path.exists() and not path.parent.exists())


def is_pattern(name: str) -> bool:
    """Return whether a name may stand for several files."""
    return bool(_MAGIC.search(name))


def _matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Return in order what a pattern stands for: of hidden files and those that describe data, none unasked."""
    is_asked = PurePosixPath(pattern).name.startswith(".")
    return [name for name in sorted(names) if is_asked or is_data(_file_name(name))]


def _file(path: Path, split: str | None) -> SourcePart:
    return SourcePart(display_name(path), partial(read_rows, path), path.resolve(), split)


# ---- addresses ------------------------------------------------------------------------------------------------------


def _remote(url: str, split: str | None) -> Source:
    with _reachable(url):
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
        is_folder = False
        if _MAGIC.search(path):
            paths = _matches(path, system.glob(path))
        elif is_folder := system.isdir(path):
            paths = _in_folder(url, sorted(system.ls(path, detail=False)))
        else:
            system.info(path)
            paths = [path]
    if not paths:
        raise CorpusError(f"{url}: there is no file that ends in {', '.join(SUFFIXES)}")
    names = {_file_name(at): (at, url if at == path else system.unstrip_protocol(at)) for at in paths}
    for file, (_, name) in names.items():
        check_suffix(file, name)
    files = choose_split(url, with_splits([*names]), split, is_folder=is_folder)
    parts = [_remote_file(system, *names[file.path], file.split) for file in files]
    stem = PurePosixPath(url.split("?")[0].rstrip("/")).name
    return Source(url, printable(stem), tuple(parts), is_one_part=paths == [path])


def _in_folder(url: str, paths: Sequence[str]) -> list[str]:
    """Return the corpus files among the paths in a folder.

    :raises CorpusError: ``save_to_disk`` wrote splits there.
    """
    names = {_file_name(path).name for path in paths}
    if SAVED_SPLITS in names:
        raise CorpusError(f"{url}: a DatasetDict that save_to_disk wrote; name the folder of one of its splits")
    suffixes = (".arrow",) if SAVED in names else SUFFIXES
    return [path for path in paths if suffix_of(_file_name(path)) in suffixes and is_data(_file_name(path))]


def _file_name(path: str) -> Path:
    """Return the path of a file of another system, without the query of an address."""
    return Path(path.split("?")[0])


def _remote_file(system: Any, path: str, name: str, split: str | None) -> SourcePart:  # noqa: ANN401
    return SourcePart(name, partial(_fetched, system, path, name), name, split)


def _fetched(system: Any, path: str, name: str) -> Generator[RawRow | Rejected, None, None]:  # noqa: ANN401
    """Read a file of another system through a copy, since its rows may have to be read from the end."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(path.split("?")[0]).name
        with _reachable(name):
            system.get_file(path, str(copy))
        yield from read_rows(copy, name)


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    """Turn the errors of other systems, which are of any type, into one clear line."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorpusError(f"{url}: there is no such file") from error
    except ImportError as error:
        raise CorpusError(f"{url}: cannot be read: {one_line(error)}; pip install 'nait-index[remote]'") from error
    except NaitError:
        raise
    except Exception as error:
        raise CorpusError(f"{url}: cannot be read: {one_line(error)}") from error


# ---- the Hub --------------------------------------------------------------------------------------------------------


def _hub(label: str, repo: str, config: str | None, revision: str | None, split: str | None) -> Source:
    try:
        import datasets
    except ImportError as error:
        raise CorpusError(f"{label}: data sets of the Hub need pip install 'nait-index[export]' ({error})") from error

    try:
        there = datasets.load_dataset(repo, config, revision=revision, streaming=True)
    except Exception as error:  # of the network, the Hub, or the data set
        raise CorpusError(
            f"{label}: neither a file or folder here, nor a data set that can be read from the Hub: {one_line(error)}"
        ) from error
    parts = _splits(label, dict(there.items()), split)
    chosen = None if split in (None, ALL_SPLITS) else split
    return Source(label, f"{repo}/{chosen}" if chosen else repo, parts, len(parts) == 1)


def _splits(label: str, there: Mapping[str, Any], split: str | None) -> tuple[SourcePart, ...]:
    if split is None and len(there) > 1:
        names = ", ".join(there)
        raise CorpusError(f"{label}: holds the splits {names}; take one with --split NAME, or all with --split all")
    if split is not None and split not in (ALL_SPLITS, *there):
        raise CorpusError(f"{label}: has no split '{split}'; it has {', '.join(there)}{did_you_mean(split, there)}")
    taken = there if split is None or split == ALL_SPLITS else {split: there[split]}
    return tuple(
        SourcePart(
            f"{label}/{name}" if len(there) > 1 else label,
            partial(_memory_rows, rows, f"{label}/{name}" if len(there) > 1 else label),
            (label, name),
            name if split == ALL_SPLITS else None,
        )
        for name, rows in taken.items()
    )


# ---- rows in memory -------------------------------------------------------------------------------------------------


def _in_memory(source: Any, name: str, split: str | None) -> Source:  # noqa: ANN401
    if _is_from("datasets", source) and isinstance(source, Mapping):
        return Source(name, name, _splits(name, source, split), is_one_part=False)
    if split is not None:
        raise CorpusError(f"{name}: rows in memory have no splits; give those of one")
    is_column = any(_is_from(package, source) for package in ("pandas", "polars")) and not hasattr(source, "columns")
    if is_column or not (isinstance(source, Iterable) or _is_table(source)):
        raise CorpusError(f"{type(source).__name__} is not a corpus: give files, a data set, a data frame, or rows")
    return Source(name, name, (SourcePart(name, partial(_memory_rows, source, name), id(source)),), is_one_part=True)


def _memory_rows(source: Any, name: str) -> Rows:  # noqa: ANN401
    if hasattr(source, "features") and hasattr(source, "with_format") and hasattr(source, "num_rows"):
        batches = (batch for table in source.with_format("arrow").iter(_BATCH) for batch in table.to_batches())
        yield from table_rows(batches, name, "Arrow")
    elif _is_from("pandas", source):
        yield from table_rows(iter(_pandas_table(source, name).to_batches()), name, "pandas")
    elif _is_from("polars", source):
        frame = source.collect() if hasattr(source, "collect") else source
        for column, kind in frame.schema.items():
            if str(kind) == "Object":  # Arrow would get the addresses of the objects
                raise CorpusError(f"{name}: the column {column!r} holds Python objects; {_ONE_TYPE}")
        yield from table_rows(iter(frame.to_arrow().to_batches()), name, "polars")
    elif _is_from("pyarrow", source):
        yield from table_rows(iter(source.to_batches()), name, "Arrow")
    else:
        for number, row in enumerate(source, start=1):
            yield object_row(row, name, number)


def _pandas_table(frame: Any, name: str) -> Any:  # noqa: ANN401
    import pyarrow as pa

    refuse_repeated([str(column) for column in frame.columns], name)
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        reason = " ".join(str(error.args[-1]).split())  # "Conversion failed for column label with type object"
        raise CorpusError(f"{name}: {reason}; {_ONE_TYPE}") from error
    except OverflowError as error:
        raise CorpusError(f"{name}: an integer is too large; make it text") from error


def _is_table(source: object) -> bool:
    return any(_is_from(package, source) for package in ("datasets", "pandas", "polars", "pyarrow"))


def _is_from(package: str, source: object) -> bool:
    """Return whether an object is of a package, which is not imported for that."""
    return any(kind.__module__.partition(".")[0] == package for kind in type(source).__mro__)


def _name_in_memory(source: Any) -> str:  # noqa: ANN401
    """Return the name of a data set, if it knows one."""
    info = getattr(source, "info", None)
    return str(getattr(info, "dataset_name", None) or "rows")
