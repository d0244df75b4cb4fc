"""A new index from the rows stored in another, with a basis fitted to all of them."""

import logging
import shutil
from collections.abc import Iterator

import numpy as np

from nait_index.building.builder import Builder
from nait_index.building.encoder import IndexEncoder
from nait_index.building.report import BuildReport, ProgressCallback
from nait_index.building.settings import recorded_settings
from nait_index.capabilities.examples import example_encoder
from nait_index.capabilities.library import adopt_all
from nait_index.config import Device
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import IncompleteIndexError, OutputExistsError
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.dataset import drop_torn_versions
from nait_index.store.fitted import load_compressor
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.manifest import Manifest, RebuildOrigin, load_manifest
from nait_index.store.samples import SampleTable
from nait_index.store.scores import copy_score, score_names
from nait_index.types import Reading, Rejected, Sample

logger = logging.getLogger(__name__)

_BATCH_ROWS = 1024


def rebuild(
    old: Layout,
    manifest: Manifest,
    new: Layout,
    *,
    model: str | None = None,
    device: Device = Device.AUTO,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Encode the rows of an index again, in their order, into a new one; the old index is not changed.

    Quality scores are copied, and capabilities encoded again. The new index has its first version when all of that is
    there. Run again, it finishes an interrupted rebuild, and changes nothing where there is none to finish.

    :param manifest: of the version whose rows are read.
    :raises OutputExistsError: the new place holds another index. :raises IncompleteIndexError: one not yet finished.
    """
    origin = RebuildOrigin(old.name, manifest.version, manifest.state)
    if _is_done(new, origin):
        return _nothing_done(new)
    config, signatures = recorded_settings(manifest, model, device)
    table = SampleTable(old, manifest.table_version)

    def complete(unpublished: Manifest, encoder: IndexEncoder) -> dict[str, int]:
        for name in score_names(table):
            copy_score(old, table, new, name)
        stored, capabilities = CapabilityTable(old, manifest.head.capabilities_version), CapabilityTable(new)
        if stored.names():
            drop_torn_versions(new, new.capabilities)
            compressor = load_compressor(new, unpublished.basis_hash)
            adopt_all(stored, capabilities, example_encoder(new, unpublished, encoder, compressor), unpublished)
        return {"capabilities_version": capabilities.version}

    with Builder(
        new, config, signatures, progress, rebuilt_from=origin, complete=complete, rules=manifest.rules
    ) as builder:
        return builder.run(_samples(table, manifest.reading), manifest.sources)


def _is_done(new: Layout, origin: RebuildOrigin) -> bool:
    """Return whether there is a finished rebuild of the same index.

    :raises NaitError: something else is there.
    """
    if new.read(new.manifest) is None:
        return False
    there = load_manifest(new)
    known = there.rebuilt_from
    if known != origin and there.history:
        raise OutputExistsError(f"{new.name} already holds a finished index; choose another place for the new one")
    if known != origin:
        begun = "a build" if known is None else f"a rebuild of version {known.version} of {known.source}"
        raise IncompleteIndexError(
            f"{new.name} holds {begun} that was interrupted, which version {origin.version} of {origin.source} cannot "
            "finish; run the same command as before, or delete that folder"
        )
    return bool(there.history)


def _nothing_done(new: Layout) -> BuildReport:
    """Report on a rebuild that was finished before, and delete what it may have left when it was killed at its end."""
    with write_lock(new):
        shutil.rmtree(new.staging, ignore_errors=True)
    there = load_manifest(new)
    logger.warning("%s is a finished rebuild already; nothing was changed", new.name)
    rows = there.rows
    return BuildReport(
        read=rows, indexed=0, present=rows, truncated=0, rejected=0, rows=rows, tokens=0, seconds=0.0,
        fidelity=there.fidelity,
    )  # fmt: skip


def _samples(table: SampleTable, reading: Reading) -> Iterator[Sample | Rejected]:
    order = np.argsort(table.numbers("position"), kind="stable")
    for start in range(0, len(order), _BATCH_ROWS):
        for record in table.take(order[start : start + _BATCH_ROWS], SAMPLE_COLUMNS).to_pylist():
            yield restore_sample(record, reading)
