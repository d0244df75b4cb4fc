"""The scan copies of one version of the table: opened, made from those of another version, or else from the table."""

import logging
from dataclasses import dataclass
from pathlib import Path

from nait_index.errors import NaitError, StoreError
from nait_index.search.exact import ExactScan, ScanStamp
from nait_index.search.renewal import plan_renewal
from nait_index.store.engines import drop_older, drop_other_shares, other_copies, share_folder
from nait_index.store.fragments import Fragment
from nait_index.store.integrity import Looks
from nait_index.store.layout import Layout
from nait_index.store.samples import SampleTable
from nait_index.store.sealed import read_sealed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RowShare:
    """The rows of one of several processes that scan a table together.

    :param pieces: of fragments, in table order.
    """

    number: int
    shares: int
    pieces: tuple[Fragment, ...]


class ScanCopies:
    """The scan copies of the version that a table is read at.

    :param share: whose rows they hold; ``None`` for all rows.
    """

    def __init__(self, layout: Layout, table: SampleTable, share: RowShare | None = None) -> None:
        self._layout = layout
        #: The table that is copied.
        self.table = table
        self._share = share
        self._engines = layout.engines if share is None else share_folder(layout, share.number, share.shares)
        self._folder = self._engines / str(table.version)

    def open(self, column: str, stamp: ScanStamp) -> ExactScan:
        """Open the copy of a column; make it where there is none for this state of the table.

        :raises StoreError: the table does not have the rows of the stamp.
        """
        return self._checked(self._folder, column, stamp) or self._make(column, stamp)

    def _make(self, column: str, stamp: ScanStamp) -> ExactScan:
        fragments, wanted = self._fragments(column)
        try:
            if self._share is not None:
                drop_other_shares(self._layout, self._share.shares)
            if not self._renew(column, stamp, fragments):
                logger.info("building the exact scan of %s", column)
                ExactScan.write(self._folder, column, self.table.signatures(column, wanted), stamp, fragments)
        except StoreError:
            raise
        except NaitError as error:  # only a cache: without it, the next start takes longer
            logger.warning("the exact scan cannot be cached, so every start builds it again: %s", error)
        made = ExactScan.open(self._folder, column, stamp)
        if made is None:
            return ExactScan.build(self.table.signatures(column, wanted), stamp)
        drop_older(self._engines, column, stamp.table_version)
        return made

    def _fragments(self, column: str) -> tuple[list[Fragment], list[Fragment] | None]:
        """Return which fragments the copy holds, and which of them are to be read; ``None`` for the whole table."""
        if self._share is None:
            return self.table.fragments_of(column), None
        pieces = self.table.revalued(column, self._share.pieces)
        return pieces, pieces

    def _renew(self, column: str, stamp: ScanStamp, fragments: list[Fragment]) -> bool:
        """Make the copy from that of another version; return whether that was possible and certain."""
        for folder in other_copies(self._engines, column, stamp.table_version):
            try:
                if self._renew_from(folder, column, stamp, fragments):
                    return True
            except (NaitError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                logger.info("the exact scan of %s cannot be made from %s: %s", column, folder, error)
                # Where there is no room for two, the old one goes.
                drop_older(self._engines, column, stamp.table_version)
        return False

    def _renew_from(self, folder: Path, column: str, stamp: ScanStamp, fragments: list[Fragment]) -> bool:
        record = read_sealed(folder / f"{column}.rows.json")
        if record is None:
            return False
        old, old_stamp = [Fragment.from_record(part) for part in record["fragments"]], ScanStamp(**record["stamp"])
        alike = (old_stamp.dim, old_stamp.dtype, str(old_stamp.table_version)) == (stamp.dim, stamp.dtype, folder.name)
        renewal = plan_renewal(old, fragments)
        # Checking a large copy for the sake of a few of its rows would take longer than reading those.
        worthwhile = 2 * renewal.copied >= old_stamp.rows > 0
        if not alike or not worthwhile or sum(part.rows for part in old) != old_stamp.rows:
            return False
        source = self._checked(folder, column, old_stamp)
        if source is None or not source.has_whole_sums():
            return False
        logger.info("bringing the exact scan of %s up to date", column)
        batches = renewal.batches(source, lambda some: self.table.signatures(column, some))
        ExactScan.write(self._folder, column, batches, stamp, fragments)
        return True

    def _checked(self, folder: Path, column: str, stamp: ScanStamp) -> ExactScan | None:
        """Open the files of a copy; ``None`` where they are damaged."""
        exact = ExactScan.open(folder, column, stamp)
        path, looks = folder / f"{column}.npy", Looks(self._layout, self._engines)
        try:
            if exact is not None and not looks.same(path):
                if not exact.is_whole():
                    return None
                looks.remember(path)
                looks.save()
        except FileNotFoundError:  # another process has just deleted it
            return None
        return exact
