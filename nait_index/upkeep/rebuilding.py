"""A new index from the rows that another one keeps, with a basis fitted to all of them."""

from collections.abc import Iterator

import numpy as np

from nait_index.building.builder import Builder
from nait_index.building.report import BuildReport, ProgressCallback
from nait_index.building.settings import recorded_settings
from nait_index.config import Device
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import OutputExistsError
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_manifest
from nait_index.store.samples import SampleTable
from nait_index.store.scores import copy_score, score_names
from nait_index.types import Rejected, Sample

_AT_ONCE = 1024


def rebuild(
    old: Layout,
    manifest: Manifest,
    new: Layout,
    *,
    model: str | None = None,
    device: Device = Device.AUTO,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Encode the rows of an index again, in their order, into a new one; the old one stays as it is.

    Quality scores come along; capabilities are for the caller to bring, since their examples must be encoded too.

    :param manifest: of the version that is taken.
    :raises OutputExistsError: there is a finished index in the new place.
    """
    if new.read(new.manifest) is not None and load_manifest(new).history:
        raise OutputExistsError(f"{new.name} already holds a finished index; choose another place for the new one")
    config, signatures = recorded_settings(manifest, model, device)
    with Builder(new, config, signatures, progress) as builder:
        table = SampleTable(old, manifest.table_version)
        report = builder.run(_samples(table), manifest.sources)
    for name in score_names(table):
        copy_score(old, table, new, name)
    return report


def _samples(table: SampleTable) -> Iterator[Sample | Rejected]:
    order = np.argsort(table.numbers("position"), kind="stable")
    for at in range(0, len(order), _AT_ONCE):
        columns = table.take(order[at : at + _AT_ONCE], SAMPLE_COLUMNS)
        for values in zip(*columns.values(), strict=True):
            yield restore_sample(dict(zip(columns, values, strict=True)))
