"""Landmarks for an index that was built without them: the gradients of a few rows, and of the stored examples."""

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from nait_index.building.encoder import IndexEncoder
from nait_index.building.gradients import landmarks_of, warm_up_rows
from nait_index.building.settings import recorded_settings
from nait_index.capabilities.examples import example_encoder
from nait_index.capabilities.library import adopt_all
from nait_index.config import Device, SignatureConfig, View
from nait_index.corpus import SAMPLE_COLUMNS, restore_sample
from nait_index.errors import StoreError
from nait_index.store.capabilities import CapabilityTable
from nait_index.store.fitted import load_compressor, load_fitted, save_fitted, save_landmarks
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, settled_capabilities
from nait_index.store.samples import SampleTable, spread
from nait_index.types import MarkedText

logger = logging.getLogger(__name__)


def add_landmarks(
    layout: Layout, changes: Mapping[str, Any], *, model: str | None = None, device: Device = Device.AUTO
) -> Manifest:
    """Take the gradients of a random sample of the rows of an index, and of all stored examples.

    The rows and their signatures stay as they are. The index has another fingerprint afterwards, which the stored
    capabilities take over; those of earlier versions keep the earlier one, and serve all methods but ``influence``.

    :param changes: settings of the gradients, by the names of the fields of :class:`SignatureConfig`.
    :raises StoreError: the index has landmarks already, or lacks the view that their scores are carried by.
    """
    with write_lock(layout):
        manifest = settled_capabilities(layout)
        if View.LANDMARKS in manifest.fingerprint.signatures.views:
            raise StoreError(f"{layout.name} has landmarks already; 'nait-index rebuild' takes new ones")
        if View.PCA not in manifest.fingerprint.signatures.views:
            raise StoreError(
                f"landmarks need the view pca, whose model they take gradients of, and {layout.name} was built without "
                "it; build another index with 'nait-index build' and --views pca,landmarks"
            )
        return _added(layout, manifest, changes, model, device)


def _added(
    layout: Layout, manifest: Manifest, changes: Mapping[str, Any], model: str | None, device: Device
) -> Manifest:
    config, signatures = recorded_settings(manifest, model, device)
    if View.GRAD not in signatures.views:
        config = replace(config, gradient_dtype=None)
    signatures = replace(signatures, views=(*signatures.views, View.LANDMARKS), **changes)
    with closing(IndexEncoder(config, signatures)) as encoder:
        _require_same_model(manifest, encoder, signatures)
        encoder.load_gradients()
        manifest = _take(layout, manifest, encoder)
        logger.info("%d landmarks taken; encoding the stored capabilities again", signatures.landmarks)
        compressor = load_compressor(layout, manifest.basis_hash)
        table = CapabilityTable(layout)
        adopt_all(table, table, example_encoder(layout, manifest, encoder, compressor), manifest)
    return publish(layout, manifest, "landmarks added", capabilities_version=table.version)


def _require_same_model(manifest: Manifest, encoder: IndexEncoder, signatures: SignatureConfig) -> None:
    """Refuse another model than that of the index.

    :raises FingerprintError: it is another one.
    """
    loaded = encoder.fingerprint
    stored = replace(manifest.fingerprint, signatures=loaded.signatures, gradient_dtype=loaded.gradient_dtype)
    stored.require(loaded, "the model", (manifest.model["name"], encoder.record["name"]))


def _take(layout: Layout, manifest: Manifest, encoder: IndexEncoder) -> Manifest:
    """Write the landmarks, and before them the warm-up where there is none, and return the manifest that names them."""
    table = SampleTable(layout, manifest.table_version)

    def drawn(count: int) -> tuple[list[dict[str, Any]], list[MarkedText]]:
        records = table.take(spread(len(table), count), [*SAMPLE_COLUMNS, "content_hash"]).to_pylist()
        samples = (restore_sample(record, manifest.reading) for record in records)
        return records, [encoder.template.read(sample.parts).marked for sample in samples]

    if manifest.warmup_hash is None:
        warmup = encoder.warm_up(drawn(warm_up_rows(len(table)))[1])
        manifest = replace(manifest, warmup_hash=save_fitted(layout, layout.warmup, warmup))
    else:
        warmup = load_fitted(layout, layout.warmup, manifest.warmup_hash)
    records, texts = drawn(encoder.signatures.landmarks)
    landmarks = landmarks_of(
        [(record["id"], record["content_hash"]) for record in records], *encoder.landmarks(texts, warmup)
    )
    model = {**manifest.model, "gradient_dtype": encoder.record["gradient_dtype"]}
    digest = save_landmarks(layout, landmarks)
    earlier = (*manifest.earlier_fingerprints, manifest.fingerprint.digest)
    return replace(
        manifest,
        fingerprint=encoder.fingerprint,
        earlier_fingerprints=earlier,
        landmarks_hash=digest,
        model=model,
    )
