"""The build: take rows in, fit the basis on the first shards, encode the rest, commit shard by shard.

What makes a build resumable: rows are encoded in an order that depends on nothing but the rows; a shard is committed
whole; and shards are cut from what is left after the whole shards that an earlier start committed. So the batches, and
with them the numbers, are those of an uninterrupted build. Readers see the table's version that the manifest names,
which is written last.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from nait_index.building.columns import Widths, all_column_types, dense_columns
from nait_index.building.encoding import EncodedShard, Encoding, Engine, Job, LocalEngine
from nait_index.building.estimate import Outlook, look_ahead
from nait_index.building.finishing import check_place, known_rows, publish_rows
from nait_index.building.fitting import fidelity_of, fit_basis, fitted_shards
from nait_index.building.intake import Counts, Intake, Spool, WorkRow
from nait_index.building.opening import open_encoder
from nait_index.building.overlap import Behind
from nait_index.building.rejects import RejectedRows
from nait_index.building.report import BuildProgress, BuildReport, ProgressCallback, Stage
from nait_index.building.settings import fingerprint_of, model_record
from nait_index.building.shards import SHARD_ROWS, table_columns
from nait_index.building.shift import Shift, measure_shift
from nait_index.building.staging import ShardFacts, StagedShard
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.corpus import make_template, rejected_writer
from nait_index.errors import CorpusError, NaitError
from nait_index.signatures.pca import Compressor
from nait_index.store.fitted import load_compressor, load_warmup, save_compressor, save_warmup
from nait_index.store.layout import Layout
from nait_index.store.lock import write_lock
from nait_index.store.manifest import Manifest, library_versions, load_manifest, save_manifest
from nait_index.store.publish import interrupted_build
from nait_index.store.samples import SampleTable, schema
from nait_index.types import Rejected, Sample

_LOOKED_AT = 256
"""Rows, a random sample, from which the tokens and bytes of all are told ahead."""

_COMMITS = 256
"""Shards after which a running build merges files and forgets its own versions: each commit lists all files anew."""


class Builder:
    """One build of one index. Loads the model; close it when done (context manager).

    :param engine: what runs the rows through the model; ``None`` is this process.
    :param replace_rows: let rows take the place of those that have their id and another content.
    :raises NaitError: the place cannot hold an index, or the model cannot be loaded.
    """

    def __init__(
        self,
        layout: Layout,
        model: ModelConfig,
        signatures: SignatureConfig,
        progress: ProgressCallback | None = None,
        engine: Engine | None = None,
        *,
        replace_rows: bool = False,
    ) -> None:
        self._layout = layout
        check_place(self._layout)
        self._replace_rows = replace_rows
        engine = engine or LocalEngine()
        settled = engine.settle(model)
        self._model = replace(model, gradient_dtype=settled.gradient_dtype)
        self._signatures = signatures
        self._encoder = open_encoder(settled, signatures)
        self._widths = Widths.of(self._encoder)
        self._template = make_template(model.template, self._encoder.model.tokenizer)
        self._encoding = self._open_encoding(engine)
        self._notify = progress or (lambda _: None)
        self._table = SampleTable(self._layout)
        self._unusable: dict[str, Rejected] = {}
        self._tokens = 0
        self._truncated = 0
        self._replaced = 0
        self._commits = 0
        self._kept: set[int] = set()
        self._done = 0
        self._restored = 0
        self._total = 0
        self._outlook = Outlook()

    def __enter__(self) -> "Builder":
        return self

    def __exit__(self, *_: object) -> None:
        self._encoding.close()
        self._encoder.close()

    def run(self, items: Iterable[Sample | Rejected], sources: Sequence[str]) -> BuildReport:
        """Build the index, go on with an interrupted build, or add what is new.

        :param items: what the corpus holds, as :func:`~nait_index.corpus.read_corpus` gives it.
        :param sources: the corpus files' names, for the manifest.
        :raises NaitError: of the kind that says what is wrong; a build that had not begun leaves nothing behind.
        """
        was_there = self._layout.root.exists()
        with write_lock(self._layout):
            try:
                return self._run(items, sources)
            except NaitError:
                if not was_there and self._layout.read(self._layout.manifest) is None:
                    shutil.rmtree(self._layout.root, ignore_errors=True)
                raise

    def _run(self, items: Iterable[Sample | Rejected], sources: Sequence[str]) -> BuildReport:
        started = time.monotonic()
        manifest = self._open_manifest()
        self._layout.staging.mkdir(exist_ok=True)
        spool = Spool(self._layout.staging / "rows.jsonl", self._signatures.seed)
        try:
            self._notify(BuildProgress(Stage.READING, 0, 0, 0))
            counts = self._take_in(items, spool, manifest)
            save_manifest(self._layout, manifest)
            manifest = self._encode(spool, manifest)
        finally:
            spool.remove()
        before = manifest.next_position
        manifest = self._finish(manifest, sources, counts)
        unusable = len(self._unusable)
        return BuildReport(
            read=counts.read,
            indexed=counts.new - unusable,
            present=counts.present,
            truncated=self._truncated,
            rejected=counts.rejected + unusable,
            rows=manifest.rows,
            tokens=self._tokens,
            seconds=time.monotonic() - started,
            fidelity=manifest.fidelity,
            replaced=self._replaced,
            shift=self._shift(manifest, before),
        )

    def _open_manifest(self) -> Manifest:
        fingerprint = fingerprint_of(self._encoder, self._template, self._signatures)
        if self._layout.read(self._layout.manifest) is None:
            record = model_record(self._model, self._signatures, self._encoder)
            return Manifest(fingerprint=fingerprint, model=record, libraries=library_versions())
        manifest = load_manifest(self._layout)
        manifest.fingerprint.require(fingerprint, "this build")
        interrupted_build(self._layout, manifest)  # which this one goes on with
        return manifest

    def _take_in(self, items: Iterable[Sample | Rejected], spool: Spool, manifest: Manifest) -> Counts:
        intake = Intake(self._template, known_rows(self._table), manifest.next_position, replace=self._replace_rows)
        with rejected_writer(self._layout.staging / "rejected.jsonl") as rejects:
            return intake.run(items, spool, rejects)

    def _encode(self, spool: Spool, manifest: Manifest) -> Manifest:
        """Encode every row of the spool, fitting the basis first where there is none yet."""
        shards = spool.shards(SHARD_ROWS)
        self._total = sum(len(shard) for shard in shards)
        sample = spool.read(shards[0][:_LOOKED_AT]) if shards else []
        self._outlook = look_ahead(sample, self._total, self._encoder, self._template, self._signatures)
        manifest = self._measure_sae(spool, shards, manifest)
        manifest = self._warm_up(spool, shards, manifest)
        staged: Sequence[StagedShard]
        if manifest.basis_hash is None:
            staged, compressor = self._fit(spool, shards)
            manifest = replace(
                manifest,
                basis_hash=save_compressor(self._layout, compressor),
                fidelity=fidelity_of(staged, compressor, self._signatures),
            )
            save_manifest(self._layout, manifest)
        else:
            compressor = load_compressor(self._layout, manifest.basis_hash)
            # What was staged by an earlier start comes first, since that committed shards in their order.
            candidates = self._places(spool, shards[: fitted_shards(self._signatures) + 1])
            staged = list(takewhile(StagedShard.facts, candidates))
        self._table.create(self._schema(compressor))
        self._kept = {own.table_version for own in manifest.history}
        with Behind() as writer:
            for own, shard in zip(staged, shards, strict=False):
                self._commit(self._compressed(own, spool.read(shard), compressor), compressor, writer, own)
            with self._encoding.encode(spool, shards[len(staged) :], compressor) as encoded:
                for one in encoded:
                    self._commit(one, compressor, writer)
        return manifest

    def _fit(self, spool: Spool, shards: Sequence[Sequence[int]]) -> tuple[list[StagedShard], Compressor]:
        """Stage the first shards and fit the basis on them; on later ones, where no row of the first can be used."""
        staged: list[StagedShard] = []
        # One shard more than the basis is fitted on tells how faithful it is to rows that it has not seen.
        step = fitted_shards(self._signatures) + 1
        for start in range(0, len(shards), step):
            own = self._stage(spool, shards[start : start + step])
            staged += own
            self._notify(BuildProgress(Stage.FITTING, self._done, self._total, self._tokens))
            compressor = fit_basis(own, self._encoder.widths, self._signatures)
            if compressor is not None:
                return staged, compressor
        raise CorpusError(f"none of the rows can be used; the first: {next(iter(self._unusable.values())).reason}")

    def _open_encoding(self, engine: Engine) -> Encoding:
        return engine.open(
            Job(
                self._model,
                self._signatures,
                self._encoder,
                fingerprint_of(self._encoder, self._template, self._signatures),
                self._template.adds_special_tokens,
                self._advance,
            )
        )

    def _measure_sae(self, spool: Spool, shards: Sequence[Sequence[int]], manifest: Manifest) -> Manifest:
        """State once how well the sparse autoencoder of the view ``sae`` reconstructs this corpus."""
        if self._signatures.sae is None or manifest.sae_unexplained is not None or not shards:
            return manifest
        texts = [row.text for row in spool.read(shards[0])]
        return replace(manifest, sae_unexplained=self._encoding.measure_sae(texts))

    def _warm_up(self, spool: Spool, shards: Sequence[Sequence[int]], manifest: Manifest) -> Manifest:
        """Train the adapters of the view ``grad`` on the first shard, or put them where that left them."""
        if View.GRAD not in self._signatures.views or not shards:
            return manifest
        if manifest.warmup_hash is None:
            data = self._encoding.warm_up([row.text for row in spool.read(shards[0])])
            manifest = replace(manifest, warmup_hash=save_warmup(self._layout, data))
            save_manifest(self._layout, manifest)
        self._encoding.restore(load_warmup(self._layout, manifest.warmup_hash))
        return manifest

    def _places(self, spool: Spool, shards: Sequence[Sequence[int]]) -> list[StagedShard]:
        """Give where the activations of some shards lie, or will lie."""
        return [StagedShard(self._layout.staging, [row.id for row in spool.read(shard)]) for shard in shards]

    def _stage(self, spool: Spool, shards: Sequence[Sequence[int]]) -> list[StagedShard]:
        """Run the first shards and keep their activations whole on disk."""
        staged = self._places(spool, shards)
        left = []
        for number, own in enumerate(staged):
            facts = own.facts()
            if facts is None:
                left.append(number)
            else:
                self._note_unusable(spool.read(shards[number]), facts)
                self._restored += len(own.ids)
                self._advance(len(own.ids), 0)
        width = sum(self._encoder.widths)
        with (
            self._encoding.stage(
                spool, [shards[number] for number in left], lambda at: staged[left[at]].create(width)
            ) as encoded,
            Behind() as writer,
        ):
            for number, one in zip(left, encoded, strict=True):
                assert one.activations is not None
                writer.do(partial(staged[number].finish, one.activations, one.columns, one.facts))
                self._note_unusable(one.rows, one.facts)
        return staged

    def _compressed(self, staged: StagedShard, rows: Sequence[WorkRow], compressor: Compressor) -> EncodedShard:
        facts = staged.facts()
        assert facts is not None
        dense = dense_columns(staged.pooled(), self._signatures, compressor)
        return EncodedShard(rows, facts, staged.columns() | dense)

    def _commit(
        self, shard: EncodedShard, compressor: Compressor, writer: Behind, staged: StagedShard | None = None
    ) -> None:
        """Bring one shard into the table; what was staged of it is not needed any more then."""
        self._note_unusable(shard.rows, shard.facts)
        self._truncated += int(shard.facts.truncated[shard.facts.usable].sum())
        writer.do(partial(self._write, shard, compressor, staged))

    def _write(self, shard: EncodedShard, compressor: Compressor, staged: StagedShard | None) -> None:
        if len(shard.facts.usable):
            self._table.append(table_columns(shard.rows, shard.facts, shard.columns), self._schema(compressor))
            self._commits += 1
            if self._commits % _COMMITS == 0:
                self._table.compact()
                self._table.keep(self._kept)
        if staged is not None:
            staged.remove()

    def _schema(self, compressor: Compressor) -> Any:  # noqa: ANN401 - pyarrow is not typed
        return schema(all_column_types(self._widths, self._signatures, compressor))

    def _note_unusable(self, rows: Sequence[WorkRow], facts: ShardFacts) -> None:
        for number, reason in facts.reasons.items():
            row = rows[number]
            self._unusable[row.id] = Rejected(row.origin, reason, row.row)

    def _advance(self, rows: int, tokens: int) -> None:
        self._done += rows
        self._tokens += tokens
        expected = int(self._outlook.tokens * (self._total - self._restored))
        size = int(self._outlook.size * self._total)
        left = max(0, expected - self._tokens)
        self._notify(BuildProgress(Stage.ENCODING, self._done, self._total, self._tokens, left, size))

    def _finish(self, manifest: Manifest, sources: Sequence[str], counts: Counts) -> Manifest:
        """Merge the small files, write the rejects, and let readers see the new version."""
        self._notify(BuildProgress(Stage.FINISHING, self._done, self._total, self._tokens))
        rejects = RejectedRows(self._layout)
        rejects.prepare(self._unusable.values(), counts.last_rows)
        manifest = replace(manifest, sources=tuple(dict.fromkeys([*manifest.sources, *sources])))
        if self._table.version == manifest.table_version:
            rejects.publish()
            save_manifest(self._layout, manifest)
        else:
            rejects.publish()
            manifest, self._replaced = publish_rows(self._layout, self._table, manifest)
        shutil.rmtree(self._layout.staging, ignore_errors=True)
        return manifest

    def _shift(self, manifest: Manifest, first_new: int) -> Shift | None:
        """Measure how the rows that came in fit the basis; ``None`` for those that it was fitted on."""
        if first_new == 0 or manifest.basis_hash is None:
            return None
        compressor = load_compressor(self._layout, manifest.basis_hash)
        return measure_shift(self._table, compressor, manifest.fingerprint.reservoir, manifest.first_rows, first_new)
