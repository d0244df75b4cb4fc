"""Lance datasets: opening, creating, appending and pruning them, with Lance's errors turned into one line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nait_index.errors import StoreError
from nait_index.store.layout import Layout

if TYPE_CHECKING:
    import pyarrow as pa

MERGED_ROWS = 2**18
"""Rows from which a file is large enough, and is not merged with others any more."""

_KEPT = "kept-"


@contextmanager
def explained(failure: str, remedy: str) -> Iterator[None]:
    """Turn an error of Lance into one clear line.

    :param failure: which operation failed on which table. :param remedy: what the user can do.
    :raises StoreError: Lance raised an error.
    """
    try:
        yield
    except BaseException as error:
        # A panic in Lance's Rust code is not a subclass of Exception.
        if not isinstance(error, ValueError | OSError | RuntimeError) and type(error).__name__ != "PanicException":
            raise
        raise StoreError(f"{failure}: {_first_line(error)}; {remedy}") from error


def open_dataset(layout: Layout, uri: str, version: int | None = None) -> Any:  # noqa: ANN401 - lance is not typed
    """Open a table.

    :param version: which committed version; ``None`` for the last.
    :raises StoreError: it is missing or damaged.
    """
    import lance

    if layout.remote is None and not has_dataset(layout, uri):
        raise StoreError(f"{uri} is missing; restore it from a copy, or build the index again")
    with explained(f"{uri} cannot be read", "restore it from a copy, or build the index again"):
        return lance.dataset(uri, version=version, storage_options=layout.storage)


def has_dataset(layout: Layout, uri: str) -> bool:
    """Return whether a table was created."""
    if layout.remote is None:
        return any((Path(uri) / "_versions").glob("*.manifest"))
    import lance

    try:
        lance.dataset(uri, storage_options=layout.storage)
    except ValueError as error:
        if "was not found" in str(error):
            return False
        raise StoreError(f"{uri} cannot be read: {_first_line(error)}") from error
    return True


@contextmanager
def writing(layout: Layout) -> Iterator[None]:
    """Explain in one line why a write failed: disk full, no permission, a file cut short.

    :raises IndexBusyError: this process has lost the lock of an index in an object store.
    """
    if layout.remote is not None:
        layout.remote.require_lock()
    remedy = "what was committed is kept; fix that and run it again"
    with explained(f"{layout.name} cannot be written", remedy):
        yield
        for uri in (layout.samples, layout.capabilities):
            if layout.remote is None and has_dataset(layout, uri):
                torn = torn_file(uri, open_dataset(layout, uri))
                if torn is not None:
                    raise StoreError(f"{torn} was not written completely, as on a full disk; {remedy}")


def torn_file(uri: str, dataset: Any) -> Path | None:  # noqa: ANN401
    """Return a data file that is shorter than its version records, if there is one.

    Lance commits a file even if its last bytes could not be written.
    """
    for fragment in dataset.get_fragments():
        for file in fragment.data_files():
            path = Path(uri, "data", file.path)
            if file.file_size_bytes and path.is_file() and path.stat().st_size < file.file_size_bytes:
                return path
    return None


def drop_torn_versions(layout: Layout, uri: str) -> None:
    """Restore the last version of a table whose files were all written completely."""
    if layout.remote is not None or not has_dataset(layout, uri):
        return
    dataset = newest = open_dataset(layout, uri)
    while torn_file(uri, dataset) is not None:
        older = [entry["version"] for entry in newest.versions() if entry["version"] < dataset.version]
        if not older:
            return  # the next reader reports it
        dataset = open_dataset(layout, uri, max(older))
    if dataset is not newest:
        with writing(layout):
            dataset.restore()


def files_of(uri: str, dataset: Any) -> list[Path]:  # noqa: ANN401
    """List the files that a version of a table on this machine is read from, its manifest first."""
    root = Path(uri)
    files = [version_file(uri, dataset.version)]
    for fragment in dataset.get_fragments():
        files += [root / "data" / file.path for file in fragment.data_files()]
        deleted = fragment.deletion_file()
        files += [root / deleted] if deleted else []
    return files


def version_file(uri: str, version: int) -> Path:
    """Return the path of Lance's manifest of a version of a table."""
    return Path(uri) / "_versions" / f"{2**64 - 1 - version}.manifest"


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split(", /home/")[0].split())[:300].rstrip(". ")


class LanceTable:
    """A table of an index at one of its committed versions; a version is read once and never changes.

    :param version: the version to read; ``None`` reads the last.
    """

    def __init__(self, layout: Layout, uri: str, version: int | None) -> None:
        self._layout = layout
        self._uri = uri
        self._version = version
        self._opened: Any = None

    def exists(self) -> bool:
        """Return whether the table was created."""
        return has_dataset(self._layout, self._uri)

    @property
    def version(self) -> int:
        """Number of the committed version that is read."""
        return int(self._dataset().version)

    def compact(self) -> None:
        """Merge the table's small files; earlier versions stay readable."""
        # Bytes are copied as they are where no rows were deleted, else by one thread, a few rows at a time: so merging
        # takes no more memory than building.
        with writing(self._layout):
            self._dataset().optimize.compact_files(
                target_rows_per_fragment=MERGED_ROWS,
                compaction_mode="try_binary_copy",
                batch_size=1024,
                num_threads=1,
            )

    def restore(self) -> None:
        """Make the version that is read the last one again."""
        with writing(self._layout):
            self._dataset().restore()
        self._opened = None

    def keep(self, versions: Iterable[int]) -> None:
        """Delete all versions but these and the last; these are tagged against any other cleanup."""
        tags = {f"{_KEPT}{version}": version for version in versions}
        with writing(self._layout):
            dataset = open_dataset(self._layout, self._uri)
            existing = {name for name in dataset.tags.list() if name.startswith(_KEPT)}
            for name in sorted(tags.keys() - existing):
                dataset.tags.create(name, tags[name])
            for name in sorted(existing - tags.keys()):
                dataset.tags.delete(name)
            # Files of no version were left by killed writers, since the caller holds the write lock. In an object
            # store, where a lock can be taken over, Lance keeps them for a week.
            dataset.cleanup_old_versions(
                older_than=timedelta(0),
                error_if_tagged_old_versions=False,
                delete_unverified=self._layout.remote is None,
            )

    def _create(self, schema: "pa.Schema") -> None:
        """Create the table if it does not exist."""
        import lancedb

        layout, name = self._layout, Path(self._uri).stem
        # exist_ok: a plain create is not exclusive in Lance: a second one would silently replace the first one's rows.
        with explained(f"{layout.name}: the table {name} cannot be created", "fix that and run the command again"):
            database = lancedb.connect(layout.database, storage_options=layout.storage)
            database.create_table(name, schema=schema, exist_ok=True)

    def _dataset(self) -> Any:  # noqa: ANN401 - lance is not typed
        if self._version is None:
            return open_dataset(self._layout, self._uri)
        if self._opened is None:
            self._opened = open_dataset(self._layout, self._uri, self._version)
        return self._opened
