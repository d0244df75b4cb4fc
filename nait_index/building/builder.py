"""The build: take rows in, fit the basis on the first shards, encode the rest, commit shard by shard, publish.

What makes a build resumable: rows are encoded in an order that depends on the rows alone; a shard is committed as a
whole; and shards are cut from what remains after the shards that an earlier start committed. So the batches, and with
them the numbers, are those of an uninterrupted build. Readers see the version of the table that the manifest names,
which is written last.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from itertools import chain, takewhile
from typing import Any

from nait_index.building.basis import Shift, fidelity_of, fit_basis, fitted_shards, measure_shift
from nait_index.building.commit import (
    BackgroundWriter,
    Committer,
    committing,
    merge_rejected,
    publish_rejected,
    publish_rows,
    rejected_before,
)
from nait_index.building.encoder import IndexEncoder
from nait_index.building.estimate import outlook
from nait_index.building.gradients import prepare_gradients
from nait_index.building.intake import Counts, Intake, documents_of
from nait_index.building.known import KnownRows, RejectedBefore
from nait_index.building.report import BuildReport, ProgressCallback, ProgressMeter, Stage
from nait_index.building.runner import LocalRunner, OpenRunner
from nait_index.building.shards import SHARD_ROWS, EncodedShard, StagedShard
from nait_index.building.spool import RowOffsets, Shards, Spool, WorkRow
from nait_index.config import ModelConfig, RowRules, SignatureConfig, View
from nait_index.corpus import rejected_writer
from nait_index.errors import CorpusError, NaitError
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import column_types, word_columns
from nait_index.signatures.words import Document
from nait_index.store.fitted import load_compressor, save_compressor
from nait_index.store.layout import Layout, refuse_other_contents
from nait_index.store.locks import write_lock
from nait_index.store.manifest import (
    Manifest,
    RebuildOrigin,
    interrupted,
    library_versions,
    load_manifest,
    save_manifest,
)
from nait_index.store.publish import interrupted_build
from nait_index.store.samples import SampleTable
from nait_index.types import MarkedText, Rejected, Sample

Complete = Callable[[Manifest, IndexEncoder], Mapping[str, Any]]
"""Writes more for the version that is about to be published, and returns the fields of the version that differ."""

_DEFAULT_RULES = RowRules()
_SAMPLE_ROWS = 256  # drawn at random; the tokens and bytes of all rows are estimated from them


class Builder:
    """One build of one index. Loads the model; close it when done (context manager).

    :param open_runner: opens what runs the rows through the model; by default this process.
    :param replace_rows: let rows replace those that have the same id and other content.
    :param rebuilt_from: the index that the rows come from, if a rebuild and no corpus is read.
    :param complete: writes what readers shall see together with the rows.
    :param rules: by which the corpus was read, for the manifest.
    :raises NaitError: the folder cannot hold an index, or the model cannot be loaded.
    """

    def __init__(
        self,
        layout: Layout,
        model: ModelConfig,
        signatures: SignatureConfig,
        progress: ProgressCallback | None = None,
        open_runner: OpenRunner = LocalRunner,
        *,
        replace_rows: bool = False,
        rebuilt_from: RebuildOrigin | None = None,
        complete: Complete | None = None,
        rules: RowRules = _DEFAULT_RULES,
    ) -> None:
        refuse_other_contents(layout)
        self._layout, self._signatures = layout, signatures
        self._replace_rows, self._rules = replace_rows, rules
        self._origin, self._complete = rebuilt_from, complete
        self._runner = open_runner(model, signatures)
        self._encoder = self._runner.encoder
        self._table = SampleTable(layout)
        self._meter = ProgressMeter(progress)
        self._unusable = self._truncated = 0

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, items: Iterable[Sample | Rejected], sources: Sequence[str]) -> BuildReport:
        """Build the index, continue an interrupted build, or add what is new.

        :param items: the rows of the corpus, as :func:`~nait_index.corpus.read_corpus` yields them.
        :param sources: the corpus files' names, for the manifest.
        :raises NaitError: its subclass names the cause; a build that had not begun leaves no files behind.
        """
        existed = self._layout.root.exists()
        with write_lock(self._layout):
            try:
                return self._run(items, sources)
            except NaitError:
                if not existed and self._layout.read(self._layout.manifest) is None:
                    shutil.rmtree(self._layout.root, ignore_errors=True)
                raise

    def _run(self, items: Iterable[Sample | Rejected], sources: Sequence[str]) -> BuildReport:
        started = time.monotonic()
        manifest = self._open_manifest()
        with closing(RejectedBefore(rejected_before(self._layout))) as before:
            self._layout.staging.mkdir(exist_ok=True)
            spool = Spool(self._layout.staging / "rows.jsonl", self._signatures.seed)
            try:
                counts = self._take_in(items, spool, manifest, before)
                if not manifest.history:  # what is recorded of later builds is published with their rows
                    manifest = replace(manifest, **asdict(self._rules))
                    save_manifest(self._layout, manifest)
                manifest = self._encode(spool, manifest)
            finally:
                spool.remove()
            first_new = manifest.next_position
            manifest, replaced = self._publish(manifest, sources, counts, before)
        return BuildReport.of(
            counts,
            self._encoder,
            self._unusable,
            truncated=self._truncated,
            rows=manifest.rows,
            tokens=self._meter.tokens,
            seconds=time.monotonic() - started,
            fidelity=manifest.fidelity,
            replaced=replaced,
            shift=self._measure_shift(manifest, first_new),
        )

    # ---- take in --------------------------------------------------------------------------------------------------

    def _open_manifest(self) -> Manifest:
        fingerprint = self._encoder.fingerprint
        if self._layout.read(self._layout.manifest) is None:
            # Of an index that was deleted in an object store, these are left on this machine.
            for left in (self._layout.engines, self._layout.staging):
                shutil.rmtree(left, ignore_errors=True)
            record, libraries = self._encoder.record, library_versions()
            manifest = Manifest(fingerprint, record, libraries=libraries, rebuilt_from=self._origin)
            if self._origin is not None:  # from now on, every message about this index names the rebuild
                save_manifest(self._layout, manifest)
            return manifest
        manifest = load_manifest(self._layout)
        if not manifest.history and manifest.rebuilt_from != self._origin:
            raise interrupted(manifest, self._layout.name)
        models = manifest.model["name"], self._encoder.record["name"]
        manifest.fingerprint.require(fingerprint, "this build", models)
        interrupted_build(self._layout, manifest)  # this build continues it
        return manifest

    def _take_in(
        self, items: Iterable[Sample | Rejected], spool: Spool, manifest: Manifest, before: RejectedBefore
    ) -> Counts:
        self._meter.begin(Stage.READING)
        template, most = self._encoder.template, self._encoder.most_characters
        first, replace_rows = manifest.next_position, self._replace_rows
        rejected = self._layout.staging / self._layout.rejected.name
        with closing(KnownRows.of(self._table)) as known, rejected_writer(rejected) as rejects:
            intake = Intake(template, known, first, before, replace=replace_rows, most_characters=most)
            return intake.run(items, spool, rejects)

    # ---- fit the basis --------------------------------------------------------------------------------------------

    def _fit(self, spool: Spool, shards: Shards, manifest: Manifest) -> tuple[list[StagedShard], Compressor]:
        """Stage the first shards and fit the basis on them; on later ones, where no row of the first can be used."""
        staged: list[StagedShard] = []
        # Fidelity is measured on one more shard than the basis is fitted on, so on rows that the basis has not seen.
        step = fitted_shards(self._signatures) + 1
        for start in range(0, len(shards), step):
            latest = self._stage(spool, shards[start : start + step], manifest)
            staged += latest
            self._meter.begin(Stage.FITTING)
            compressor = fit_basis(
                latest,
                self._encoder,
                partial(self._documents, spool, shards[start:], latest),
            )
            if compressor is not None:
                return staged, compressor
        facts = staged[0].facts()
        assert facts is not None
        raise CorpusError(f"none of the rows can be used; the first: {next(iter(facts.reasons.values()))}")

    def _documents(
        self, spool: Spool, shards: Shards, staged: Sequence[StagedShard], number: int
    ) -> Sequence[Document]:
        """Return the terms of the usable rows of one of the staged shards."""
        facts, rows = staged[number].facts(), spool.read(shards[number])
        assert facts is not None
        return documents_of([rows[row] for row in facts.usable], self._encoder.reading)

    def _stage(self, spool: Spool, shards: Shards, manifest: Manifest) -> list[StagedShard]:
        """Run shards and keep their whole activations on disk, except those that an earlier start has staged."""
        staged = self._staged_shards(spool, shards, manifest)
        left: list[tuple[StagedShard, RowOffsets]] = []
        for shard, offsets in zip(staged, shards, strict=True):
            if shard.facts() is None:
                left.append((shard, offsets))
            else:
                self._meter.restore(len(offsets))
        width = sum(self._encoder.widths.neurons)
        rows, advance = [offsets for _, offsets in left], self._meter.advance
        encoded = self._runner.stage(spool, rows, lambda number: left[number][0].create(width), advance)
        with closing(encoded), BackgroundWriter() as writer:
            for (shard, _), done in zip(left, encoded, strict=True):
                writer.do(partial(shard.finish, done.columns, done.facts))
        return staged

    def _staged_shards(self, spool: Spool, shards: Shards, manifest: Manifest) -> list[StagedShard]:
        """Locate the staged activations of some shards, whether they exist yet or not."""
        settings = f"{manifest.fingerprint.digest}/{manifest.warmup_hash}"
        return [StagedShard(self._layout.staging, settings, spool.identities(shard)) for shard in shards]

    # ---- encode and commit ----------------------------------------------------------------------------------------

    def _encode(self, spool: Spool, manifest: Manifest) -> Manifest:
        """Encode and commit every row of the spool, after fitting the basis where there is none yet."""
        shards = spool.shards(SHARD_ROWS)
        first = spool.read(shards[0]) if shards else []
        if first:
            self._meter.expect(shards.rows, *outlook(self._encoder, first[:_SAMPLE_ROWS], shards.rows, manifest))
        manifest = self._measure_sae([row.marked for row in first], manifest)
        if shards and self._encoder.has_gradients:
            manifest = prepare_gradients(self._runner, self._layout, manifest, spool, shards, self._meter.begin)
        staged: Sequence[StagedShard]
        if manifest.basis_hash is None:
            staged, compressor = self._fit(spool, shards, manifest)
            fidelity = fidelity_of(staged, compressor, self._encoder)
            manifest = replace(manifest, basis_hash=save_compressor(self._layout, compressor), fidelity=fidelity)
            save_manifest(self._layout, manifest)
        else:
            compressor = load_compressor(self._layout, manifest.basis_hash)
            # Shards are committed in their order, so what an earlier start staged and did not commit comes first.
            candidates = self._staged_shards(spool, shards[: fitted_shards(self._signatures) + 1], manifest)
            staged = list(takewhile(StagedShard.facts, candidates))
        self._commit(spool, shards, staged, compressor, {version.table_version for version in manifest.history})
        return manifest

    def _commit(
        self,
        spool: Spool,
        shards: Shards,
        staged: Sequence[StagedShard],
        compressor: Compressor,
        kept: set[int],
    ) -> None:
        """Compress and commit the staged shards, then encode and commit all others."""
        types = column_types(self._signatures, self._encoder.widths, compressor.dims)
        compressed = (
            self._compress(shard, spool.read(offsets), compressor)
            for shard, offsets in zip(staged, shards, strict=False)
        )
        encoded = self._runner.encode(spool, shards[len(staged) :], compressor, self._meter.advance)
        committed = committing(self._layout, self._table, types, kept)
        with committed as committer, BackgroundWriter() as writer, closing(encoded):
            for shard in chain(compressed, encoded):
                writer.do(partial(self._commit_shard, committer, shard, compressor))
        self._unusable, self._truncated = committer.unusable, committer.truncated

    def _commit_shard(self, committer: Committer, shard: EncodedShard, compressor: Compressor) -> None:
        """Add what is made of the rows' words to an encoded shard, and commit it or have it wait."""
        documents = documents_of(shard.rows, self._encoder.reading) if View.WORDS in self._signatures.views else ()
        columns = word_columns(documents, self._signatures, compressor)
        committer.add(replace(shard, columns={**shard.columns, **columns}))

    def _measure_sae(self, texts: Sequence[MarkedText], manifest: Manifest) -> Manifest:
        """Record once how well the sparse autoencoder of the view ``sae`` reconstructs this corpus."""
        if self._signatures.sae is None or manifest.sae_unexplained is not None or not texts:
            return manifest
        return replace(manifest, sae_unexplained=self._runner.once(IndexEncoder.measure_sae, texts))

    def _compress(self, staged: StagedShard, rows: Sequence[WorkRow], compressor: Compressor) -> EncodedShard:
        facts = staged.facts()
        assert facts is not None
        dense = self._encoder.compress(staged.pooled(), compressor)
        return EncodedShard(rows, facts, staged.columns() | dense, staged)

    # ---- publish --------------------------------------------------------------------------------------------------

    def _publish(
        self, manifest: Manifest, sources: Sequence[str], counts: Counts, before: RejectedBefore
    ) -> tuple[Manifest, int]:
        """Write the rejected rows, and make the new version visible to readers.

        :param before: what earlier runs rejected. :returns: the manifest, and how many rows were replaced.
        """
        self._meter.begin(Stage.FINISHING)
        last_rows = {name: row for name, row in counts.last_rows.items() if name in counts.edited}
        rejected = merge_rejected(self._layout, before, last_rows)
        earlier = {name: fields for name, fields in manifest.unread.items() if name not in counts.edited}
        unread = {**manifest.unread, **counts.unread.by_file(earlier)}
        sources = tuple(dict.fromkeys([*manifest.sources, *sources]))
        manifest = replace(manifest, sources=sources, unread=unread, **asdict(self._rules))
        replaced = 0
        if self._table.version == manifest.table_version:
            publish_rejected(self._layout, rejected)
            save_manifest(self._layout, manifest)
        else:
            state = {} if self._complete is None else self._complete(manifest, self._encoder)
            replacing = counts.superseding
            manifest, replaced = publish_rows(
                self._layout, self._table, manifest, state, rejected, superseding=replacing
            )
        shutil.rmtree(self._layout.staging, ignore_errors=True)
        return manifest, replaced

    def _measure_shift(self, manifest: Manifest, first_new: int) -> Shift | None:
        """Measure how well the basis fits the new rows; ``None`` where it was fitted on them."""
        if first_new == 0 or manifest.basis_hash is None:
            return None
        compressor = load_compressor(self._layout, manifest.basis_hash)
        return measure_shift(
            self._table, compressor, manifest.fingerprint.signatures.reservoir, manifest.first_rows, first_new
        )
