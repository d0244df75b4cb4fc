"""What a build does for the views of gradients before it encodes rows: the adapters' warm-up, and the landmarks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np

from nait_index.building.encoder import IndexEncoder
from nait_index.building.report import Stage
from nait_index.building.runner import Runner
from nait_index.building.spool import Shards, Spool, WorkRow
from nait_index.config import View
from nait_index.store.fitted import Landmarks, load_fitted, save_fitted, save_landmarks
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, save_manifest

_WARM_UP_SHARE, _WARM_UP_ROWS = 0.05, (256, 1024)
"""Share of the corpus that the adapters are warmed up on, as in LESS, and the fewest and most rows of it."""


def prepare_gradients(
    runner: Runner,
    layout: Layout,
    manifest: Manifest,
    spool: Spool,
    shards: Shards,
    begin: Callable[[Stage], None],
) -> Manifest:
    """Warm the adapters up on the first rows and take the gradients of the landmarks, or restore what is there.

    Rows are encoded in random order, so the first of them are a random sample of the corpus.
    """
    signatures = runner.encoder.signatures
    if manifest.warmup_hash is None:
        begin(Stage.WARMING_UP)
        count = warm_up_rows(shards.rows)
        data = runner.once(IndexEncoder.warm_up, [row.marked for row in islice(_rows(spool, shards), count)])
        manifest = replace(manifest, warmup_hash=save_fitted(layout, layout.warmup, data))
        save_manifest(layout, manifest)
    warmup = load_fitted(layout, layout.warmup, manifest.warmup_hash)
    if View.LANDMARKS in signatures.views and manifest.landmarks_hash is None:
        begin(Stage.LANDMARKS)
        rows = list(islice(_rows(spool, shards), signatures.landmarks))
        taken = runner.once(partial(IndexEncoder.landmarks, warmup=warmup), [row.marked for row in rows])
        landmarks = landmarks_of([(row.id, row.content_hash) for row in rows], *taken)
        manifest = replace(manifest, landmarks_hash=save_landmarks(layout, landmarks))
        save_manifest(layout, manifest)
    if View.GRAD in signatures.views:
        runner.restore(warmup)
    return manifest


def warm_up_rows(rows: int) -> int:
    """Return how many rows of a corpus the adapters are warmed up on."""
    least, most = _WARM_UP_ROWS
    return min(max(int(rows * _WARM_UP_SHARE), least), most)


def landmarks_of(rows: Sequence[tuple[str, str]], usable: np.ndarray, gradients: np.ndarray) -> Landmarks:
    """Join rows, by id and hash of the content, with the gradients of those that have one, given by number (m,)."""
    ids, contents = zip(*(rows[number] for number in usable), strict=True) if len(usable) else ((), ())
    return Landmarks(ids, contents, gradients)


def _rows(spool: Spool, shards: Shards) -> Iterator[WorkRow]:
    for shard in shards:
        yield from spool.read(shard)
