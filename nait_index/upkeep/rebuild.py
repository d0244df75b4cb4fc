"""A new index from the rows stored in another, with a basis fitted to all of them."""

from collections.abc import Iterator

import numpy as np

from nait_index.building.builder import Builder
from nait_index.building.encoder import recorded_settings
from nait_index.building.report import BuildReport, ProgressCallback
from nait_index.config import Device
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import OutputExistsError
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_manifest
from nait_index.store.samples import SampleTable
from nait_index.store.scores import copy_score, score_names
from nait_index.types import Reasoning, Rejected, Sample

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

    Quality scores are copied. Capabilities are left to the caller, since their examples must be encoded again.

    :param manifest: of the version whose rows are read.
    :raises OutputExistsError: the new place holds a finished index.
    """
    if new.read(new.manifest) is not None and load_manifest(new).history:
        raise OutputExistsError(f"{new.name} already holds a finished index; choose another place for the new one")
    config, signatures = recorded_settings(manifest, model, device)
    with Builder(new, config, signatures, progress) as builder:
        table = SampleTable(old, manifest.table_version)
        report = builder.run(_samples(table, manifest.reasoning), manifest.sources)
    for name in score_names(table):
        copy_score(old, table, new, name)
    return report


def _samples(table: SampleTable, reasoning: Reasoning) -> Iterator[Sample | Rejected]:
    order = np.argsort(table.numbers("position"), kind="stable")
    for start in range(0, len(order), _BATCH_ROWS):
        for record in table.take(order[start : start + _BATCH_ROWS], SAMPLE_COLUMNS).to_pylist():
            yield restore_sample(record, reasoning)
