"""A new index from the rows that another one keeps, with a basis fitted to all of them."""

from collections.abc import Iterator

import numpy as np

from nait_index.building.builder import Builder
from nait_index.building.report import BuildReport, ProgressCallback
from nait_index.building.settings import recorded_settings
from nait_index.config import Device
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import OutputExistsError
from nait_index.quality.journal import journal_path
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_manifest
from nait_index.store.samples import SampleTable
from nait_index.store.scores import publish_scores, score_names, status_column
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
    table = SampleTable(old, manifest.table_version)
    with Builder(new, config, signatures, progress) as builder:
        report = builder.run(_samples(table), manifest.sources)
    for name in score_names(table):
        _copy_score(old, table, new, name)
    return report


def _samples(table: SampleTable) -> Iterator[Sample | Rejected]:
    order = np.argsort(table.numbers("position"), kind="stable")
    for at in range(0, len(order), _AT_ONCE):
        columns = table.take(order[at : at + _AT_ONCE], SAMPLE_COLUMNS)
        for values in zip(*columns.values(), strict=True):
            yield restore_sample(dict(zip(columns, values, strict=True)))


def _copy_score(old: Layout, table: SampleTable, new: Layout, name: str) -> None:
    columns = ["id", "content_hash", name, status_column(name)]
    known = {tuple(list(record.values())[:2]): tuple(list(record.values())[2:]) for record in table.records(columns)}
    publish_scores(new, name, lambda row_id, content: known.get((row_id, content), (None, None)))
    journal = journal_path(old, name)
    old.pull(journal)
    if journal.is_file():
        new.write(journal_path(new, name), journal.read_bytes())
