"""The facade: one index, with a method for each thing that can be done with it. The packages below do the work."""

from __future__ import annotations

import dataclasses
import gc
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.capabilities.capability import Capability
from nait_index.capabilities.library import CapabilityLibrary
from nait_index.config import (
    BUNDLED_MODEL,
    Combine,
    CoreRule,
    Device,
    Media,
    ModelConfig,
    RowRules,
    RunnerConfig,
    RunnerKind,
    SearchMode,
    Selector,
    SignatureConfig,
    Unanswered,
)
from nait_index.corpus import Corpus, corpus_list, label_of, naming_absent, read_corpus
from nait_index.errors import CorpusError, NaitError, StoreError
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.search.placement import products_for
from nait_index.search.rows import IndexRows
from nait_index.selection.budget import ALL_ROWS, Top
from nait_index.selection.choose import CapabilityLike, Chooser
from nait_index.selection.duplicates import DuplicateCount, count_duplicates
from nait_index.selection.ranking import score_rows
from nait_index.selection.selection import Selection
from nait_index.store.fitted import load_compressor
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout
from nait_index.store.locks import ReadingHold
from nait_index.store.manifest import Manifest, load_finished, recorded_rules
from nait_index.store.samples import SampleTable
from nait_index.types import RowFormat, RowRead, Sample

if TYPE_CHECKING:
    from nait_index.building.estimate import Estimate
    from nait_index.building.reading import TextRestorer
    from nait_index.building.report import BuildReport, ProgressCallback
    from nait_index.capabilities.examples import EncodingProgress, ExampleEncoder
    from nait_index.insight.compare import Comparison
    from nait_index.insight.explain import Depth
    from nait_index.insight.explanation import Explanation
    from nait_index.insight.parts import LayerShares
    from nait_index.quality.run import Confirm, ScoreProgress, ScoreReport
    from nait_index.quality.score import QualitySpec
    from nait_index.upkeep.optimize import Optimized
    from nait_index.upkeep.verify import Check

PathLike = str | Path
logger = logging.getLogger(__name__)


class NaitIndex:
    """An index, opened for reading.

    It keeps showing the version that it was opened at while others write; open it again to see what they wrote. Once it
    stores or removes a capability, or is optimised, it shows the version that this made.

    Parameters that mean the same in several methods:

    ``capabilities``  names of stored capabilities, or what :meth:`make_capability` returned; one or several
    ``top``           how many rows to choose, of those that may be chosen: a number, a share such as ``10%`` (rounded
                      down, at least 1), or in :meth:`query` for one capability ``auto``, which reads a number off the
                      score curve and gives the reasons in ``provenance.reasons``
    ``method``        how examples become scores, see :class:`~nait_index.methods.registry.MethodName`
    ``where``         a SQL condition that rows must pass, over ``id``, ``n_tokens``, ``truncated``, ``left_out`` (what
                      the template leaves out, such as ``tool turns``), ``file``, ``format``, ``position``, the scores
                      that :meth:`score` made, and any field of the rows: ``source = 'gsm8k'``, ``meta.lang = 'en'``
    ``blend``         weights w of quality scores, by column: the score becomes (1 − Σ|w|) · rank by the method +
                      Σ |w| · rank by the column, with ranks from 0 to 1; a negative weight prefers low values
    ``decontaminate`` leave out rows that are like an example, and choose the next best instead
    ``dedup``         leave out rows whose wording is that of a better one to this share (0.2 to 1), and choose the next
                      best instead; see ``nait_index/selection/duplicates.py``
    ``unlike``        capabilities that are not wanted, for methods that heed them: ``probe``, its kin, and ``contrast``
    ``row_format``    the format of the rows in files; by default detected for each file from its first rows
    ``progress``      called as the work advances; it may raise to stop
    ``storage``       options of an object store, such as ``region`` and ``endpoint``
    ``force``         replace what is stored already

    A filter, budget or method that cannot be used, and an id that is not in the index, raise
    :class:`~nait_index.errors.SelectionError`; a capability that is unknown, whose name is taken or cannot be used, or
    that has no usable example, :class:`~nait_index.errors.CapabilityError`; a corpus or file of examples that cannot be
    read, :class:`~nait_index.errors.CorpusError`; a file that exists, :class:`~nait_index.errors.OutputExistsError`; a
    method whose view the index lacks, an unknown version or unusable tag, and any change of a version opened by name,
    :class:`~nait_index.errors.StoreError`.

    :param path: its folder, or a URI such as ``s3://bucket/my.nait``.
    :param version: number or tag of a version; the last one by default.
    :param model: present path of its model, if it was moved; it must be the same model.
    :param device: where to run the model for new examples.
    :param runner: what scans the rows when some are chosen; this process by default. The results are the same.
    :raises NotAnIndexError: there is none. :raises IncompleteIndexError: its build was interrupted.
    :raises StoreError: a file is damaged, or there is no such version.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        version: str | int | None = None,
        model: str | None = None,
        device: Device = Device.AUTO,
        storage: Mapping[str, str] | None = None,
        runner: RunnerConfig | None = None,
    ) -> None:
        self.layout = Layout(path, storage)
        load_finished(self.layout)
        hold = ReadingHold(self.layout)
        # Read again, since the version that it named may have been deleted before it was held.
        newest = load_finished(self.layout)
        self.manifest: Manifest = newest if version is None else newest.at_version(version, self.layout.name)
        self.report: BuildReport | None = None
        self.is_newest = version is None
        self._model = model
        self._device = device
        self._runner = runner or RunnerConfig()
        check_files(self.layout, self.manifest.head)
        self._open_table(hold)
        self._compressor = load_compressor(self.layout, self.manifest.basis_hash)
        self._encoder = cache(self._load_encoder)  # loads the model when it is first needed
        logger.info("%s opened: version %d, %d rows", self.layout.name, self.manifest.version, self.manifest.rows)

    def _load_encoder(self) -> ExampleEncoder:
        from nait_index.capabilities.examples import load_example_encoder

        return load_example_encoder(self.layout, self.manifest, self._compressor, self._model, self._device)

    # ---- build ----------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        path: PathLike,
        corpus: Corpus,
        *,
        model: PathLike | ModelConfig | None = None,
        signatures: SignatureConfig | None = None,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        progress: ProgressCallback | None = None,
        approximate: bool = False,
        replace: bool = False,
        unanswered: Unanswered | None = None,
        media: Media | None = None,
        split: str | None = None,
        storage: Mapping[str, str] | None = None,
        runner: RunnerConfig | None = None,
    ) -> NaitIndex:
        """Build an index, finish an interrupted build, or add new rows; then open it.

        :param corpus: one or several of: files, folders or patterns, addresses such as ``s3://…``, data sets of the
            Hub, a ``datasets.Dataset``, a frame of pandas or polars, any iterable of dictionaries; ``-`` is standard
            input.
        :param model: a folder or hub name, or a full configuration; by default, as ``signatures``, that of the index
            that is there, else the bundled model. :param limit: read at most this many rows.
        :param approximate: also build an approximate search, for choosing few of very many rows; see :meth:`query`.
        :param replace: let rows replace those with the same id and other content.
        :param unanswered: what becomes of rows without an answer; by default what the last build of this index did
            with them, and in a new index they are rejected. :param media: likewise of rows that carry images, video
            or audio.
        :param split: of folders that hold several: its name, or ``all``, which adds a field ``split`` to the rows.
        :param runner: what runs the rows through the model; this process by default.
        :returns: the index, with an account of the build in ``report``.
        :raises NaitError: the build cannot be done; its type and message say why.
        """
        from nait_index.building.builder import Builder
        from nait_index.building.settings import check_settings, settle
        from nait_index.distributed.runner import runner_for
        from nait_index.upkeep.optimize import prepare_search

        sources, layout = corpus_list(corpus), Layout(path, storage)
        rules = recorded_rules(layout).changed(unanswered, media)
        named, given = _model_config(model), () if model is None or isinstance(model, ModelConfig) else {"name"}
        config, settled = settle(layout, named, SignatureConfig(), given)
        config, signatures = model if isinstance(model, ModelConfig) else config, signatures or settled
        check_settings(config, signatures, given)
        items = naming_absent(read_corpus(sources, row_format, limit, config.reading, rules, split), config.columns)
        open_runner = runner_for(runner or RunnerConfig())
        with Builder(layout, config, signatures, progress, open_runner, replace_rows=replace, rules=rules) as builder:
            report = builder.run(items, [*map(label_of, sources)])
        index = cls(path, model=config.name, device=config.device, storage=storage)
        index.report = report
        # After a build on a cluster, whoever searches first makes the copies, which may be its workers.
        on_cluster = runner is not None and runner.kind is RunnerKind.RAY
        if approximate or index.manifest.approximate or not on_cluster:
            prepare_search(layout, index.manifest, index.columns, approximate=approximate)
        return index

    @staticmethod
    def settings(
        path: PathLike,
        model: ModelConfig,
        signatures: SignatureConfig,
        given: Collection[str],
        *,
        storage: Mapping[str, str] | None = None,
    ) -> tuple[ModelConfig, SignatureConfig]:
        """Complete the settings of a build by those of the index that is there, if there is one.

        :param given: names of the fields of ``model`` and ``signatures`` that were given; the others are defaults.
        :raises FingerprintError: the index was built with another view.
        """
        from nait_index.building.settings import settle

        return settle(Layout(path, storage), model, signatures, given)

    @classmethod
    def add(
        cls,
        path: PathLike,
        corpus: Corpus,
        *,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        replace: bool = False,
        unanswered: Unanswered | None = None,
        media: Media | None = None,
        split: str | None = None,
        model: str | None = None,
        device: Device = Device.AUTO,
        progress: ProgressCallback | None = None,
        storage: Mapping[str, str] | None = None,
        runner: RunnerConfig | None = None,
    ) -> NaitIndex:
        """Add rows to an index, with its own model and settings; rows that it has already are left out.

        The parameters are those of :meth:`build`, but ``model`` is the present path of the index's model, if it was
        moved.

        :raises CorpusError: a row has the id of another one and other content, and ``replace`` is not set.
        :raises IncompleteIndexError: the first build was interrupted.
        """
        from nait_index.building.settings import recorded_settings

        config, signatures = recorded_settings(load_finished(Layout(path, storage)), model, device)
        return cls.build(
            path,
            corpus,
            model=config,
            signatures=signatures,
            row_format=row_format,
            limit=limit,
            progress=progress,
            replace=replace,
            unanswered=unanswered,
            media=media,
            split=split,
            storage=storage,
            runner=runner,
        )

    @staticmethod
    def estimate(
        corpus: Corpus,
        *,
        model: PathLike | ModelConfig = BUNDLED_MODEL,
        signatures: SignatureConfig | None = None,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        unanswered: Unanswered | None = None,
        media: Media | None = None,
        split: str | None = None,
    ) -> Estimate:
        """Estimate the cost of a build; nothing is written. The parameters are those of :meth:`build`."""
        from nait_index.building.encoder import IndexEncoder
        from nait_index.building.estimate import estimate

        config = _model_config(model)
        if signatures is not None and not signatures.needs_model:
            raise NaitError(
                "there is nothing to estimate: the view words needs no model, and takes seconds; leave out --dry-run"
            )
        rules = RowRules().changed(unanswered, media)
        items = read_corpus(corpus_list(corpus), row_format, limit, config.reading, rules, split)
        with closing(IndexEncoder(config, signatures or SignatureConfig())) as encoder:
            return estimate(items, encoder)

    # ---- capabilities ---------------------------------------------------------------------------------------------

    def make_capability(
        self, files: Corpus, name: str | None = None, *, row_format: RowFormat | None = None
    ) -> Capability:
        """Make a capability from example files without storing it.

        :param name: the name of the first file by default.
        """
        return self._library.make(files, name, row_format)

    def make_capability_from(
        self,
        rows: str | Sequence[Mapping[str, Any]],
        name: str = "examples",
        *,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        progress: EncodingProgress | None = None,
    ) -> Capability:
        """Make a capability from examples in memory without storing it.

        :param rows: rows of any known format, or a text of them: JSON lines, a JSON list, or plain text with blank
            lines between the examples. :param limit: refuse more examples than this, before any is encoded.
        """
        return self._library.make_from(rows, name, row_format, limit, progress)

    def make_capability_of(self, samples: Sequence[Sample], name: str) -> Capability:
        """Make a capability from samples, without storing it; of each, what the index reads of rows is encoded."""
        return self._library.make_of(samples, name)

    def store_capability(self, capability: Capability, name: str | None = None, *, force: bool = False) -> Capability:
        """Store a capability that this index made, without encoding it again.

        :param name: another name for it.
        """
        self._check_newest()
        return self._library.store(capability, name, force=force)

    def add_capability(
        self, name: str, files: Corpus, *, row_format: RowFormat | None = None, force: bool = False
    ) -> Capability:
        """Make a capability from example files and store it."""
        self._check_newest()
        return self._library.add(name, files, row_format, force=force)

    def recorded_settings(self) -> tuple[ModelConfig, SignatureConfig]:
        """Return the settings that this index was built with, its model at its present place."""
        from nait_index.building.settings import recorded_settings

        return recorded_settings(self.manifest, self._model, self._device)

    def load_model(self) -> None:
        """Load the index's model now, instead of when examples first need it.

        :raises ModelError: it cannot be loaded. :raises FingerprintError: it is another model.
        """
        self._encoder()

    def capability(self, name: str) -> Capability:
        """Read a stored capability."""
        return self._library.get(name)

    def capabilities(self) -> list[dict[str, Any]]:
        """Return name, creation time and example counts of every stored capability, sorted by name."""
        return self._library.table.summaries()

    def capability_rows(self, name: str) -> list[str]:
        """Return the examples of a stored capability, as JSON text, each on one line."""
        return self._library.rows(name)

    def capability_samples(self, name: str) -> list[Sample]:
        """Return the examples of a stored capability, each read in its own format as training reads it."""
        return self._library.samples(name)

    def remove_capability(self, name: str) -> None:
        """Remove a stored capability."""
        self._check_newest()
        self._library.remove(name)

    def export_capability(self, name: str, path: PathLike, *, force: bool = False) -> Path:
        """Write a stored capability to a file, for another index of the same fingerprint to import."""
        self._library.export_file(name, Path(path), force=force)
        return Path(path)

    def import_capability(self, path: PathLike, name: str | None = None, *, force: bool = False) -> Capability:
        """Store a capability that :meth:`export_capability` wrote.

        If the other index was built from another corpus, the examples are encoded again, which needs the model.

        :param name: another name for it.
        :raises CapabilityError: the file cannot be used, or is from an index of another fingerprint.
        """
        self._check_newest()
        return self._library.import_file(Path(path), name, force=force)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def query(
        self,
        capabilities: CapabilityLike | Sequence[CapabilityLike],
        *,
        top: Top = "10%",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        combine: Combine | str = Combine.UNION,
        weights: Mapping[str, float] | None = None,
        blend: Mapping[str, float] | None = None,
        search: SearchMode | str = SearchMode.EXACT,
        decontaminate: bool = False,
        unlike: CapabilityLike | Sequence[CapabilityLike] = (),
        dedup: float | None = None,
        at_most: str | Sequence[str] = (),
        select: Selector | str = Selector.TOP,
        mix: str | None = None,
        margin: int = 0,
    ) -> Selection:
        """Choose the rows that teach a capability, or several together.

        :param unlike: capabilities that are not wanted. :param dedup: leave out rows that share this part of their
            wording with a better one. :param at_most: quotas by a column or field, such as ``source=20%``.
        :param select: which of the best rows are taken, see ``nait_index/selection/selectors.py``.
        :param mix: a part that is drawn at random, such as ``random=30%``.

        :param margin: also show so many of the rows that just missed the cut, in ``missed``; for one capability.
        :param combine: how several rankings become one: ``union`` (``top`` rows of each), or ``mean``, ``round-robin``
            or ``weighted``, which give exactly ``top`` rows; :param weights: of each capability, for ``weighted``.
        :param search: ``approximate`` finds few rows of many faster, if the index was built for it; what was done, and
            why, is in ``provenance.plan``.
        """
        request = self._chooser.request(
            capabilities,
            top,
            method,
            where,
            blend,
            search,
            decontaminate=decontaminate,
            unlike=unlike,
            dedup=dedup,
            at_most=at_most,
            select=select,
            mix=mix,
        )
        return self._chooser.query(request, combine, weights, margin)

    def core(
        self,
        capabilities: Sequence[CapabilityLike],
        *,
        top: Top = "10%",
        rule: CoreRule | str | None = None,
        votes: str | int | None = None,
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        blend: Mapping[str, float] | None = None,
        bootstrap: int | None = None,
        decontaminate: bool = False,
        unlike: CapabilityLike | Sequence[CapabilityLike] = (),
        dedup: float | None = None,
        at_most: str | Sequence[str] = (),
    ) -> Selection:
        """Choose exactly ``top`` rows that serve several capabilities, best first.

        :param rule: how: ``balanced`` (by default), ``joint``, ``worst-rank`` or ``round-robin``, see
            ``nait_index/selection/core.py``.
        :param votes: in place of a rule: the rows that at least so many capabilities (or ``all``) would choose alone,
            ``top`` each, however few these are.
        :param bootstrap: resample the examples of every capability this many times, and report for every row the share
            of resamples in whose core it stays (``details["stability"]``). By default 16 times, but not at all for
            methods that would need the model for it, or read the rows once for every query.
        :returns: ``details["serves"]`` are the capabilities that would choose a row alone, the one that ranks it best
            first, and ``details["ranks"]`` its rank for each; ``provenance.core`` is how many of its rows each
            capability keeps, and how many are shared.
        """
        request = self._chooser.request(
            capabilities,
            top,
            method,
            where,
            blend,
            decontaminate=decontaminate,
            unlike=unlike,
            dedup=dedup,
            at_most=at_most,
        )
        return self._chooser.core(request, rule, votes, bootstrap)

    def cover(
        self, *, top: Top = "15%", where: str | None = None, rare: bool = False, dedup: float | None = None
    ) -> Selection:
        """Choose rows that together activate the most neurons, for diversity and without a target (MADS).

        :param rare: weight every neuron by its rarity, ln(n / rows that activate it).
        :returns: in the order of choice; the score is what a row newly covers, ``details["round"]`` in which round.
        """
        return self._chooser.cover(top, where, rare=rare, dedup=dedup)

    def select_all(self, *, where: str | None = None, dedup: float | None = None) -> Selection:
        """Choose all rows that pass a filter, in corpus order and without scores."""
        return self._chooser.select_all(where, dedup)

    def load_selection(self, path: PathLike) -> Selection:
        """Read an earlier selection, to write it in another way.

        :param path: its sidecar, ``….meta.json``.
        :raises SelectionError: it is not a sidecar, or this version of the index has not the rows that were chosen.
        """
        return self._chooser.load(Path(path))

    def check_method(self, method: MethodName | str) -> None:
        """Check that a method exists, and that the index has the view that it needs."""
        self._chooser.check_method(method)

    def score(
        self,
        spec: QualitySpec,
        *,
        name: str | None = None,
        force: bool = False,
        progress: ScoreProgress | None = None,
        confirm: Confirm | None = None,
    ) -> ScoreReport:
        """Score the quality of every row that has no score yet, as the columns NAME and NAME_status.

        Open the index again to filter by the score.

        :param spec: ``Ifd``, ``SelectIt``, ``Judge`` or ``Imported`` of :mod:`nait_index.quality`.
        :param force: start again, even with other settings. :param confirm: called before a paid judge is used.
        """
        from nait_index.quality.run import score_index

        self._check_newest()
        model, device = self._model, self._device
        return score_index(
            self.layout, spec, name=name, model=model, device=device, force=force, progress=progress, confirm=confirm
        )

    # ---- looking --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.manifest.rows

    def __repr__(self) -> str:
        head = self.manifest.head
        names = ", ".join(head.capability_names[:3]) + (", …" if len(head.capability_names) > 3 else "")
        views = ", ".join(self.manifest.fingerprint.signatures.views)
        model = f"model {self.manifest.model['name']}, views {views}, capabilities: {names or 'none'}"
        return f"<NaitIndex {self.layout.name!r}, version {head.number}: {head.rows:,} rows, {model}>"

    @cached_property
    def columns(self) -> IndexRows:
        """The rows of the index and what is known of them, by column."""
        from nait_index.activations.products import TorchProducts
        from nait_index.distributed.scanning import scans_for

        signatures, reading = self.manifest.fingerprint.signatures, self.manifest.reading
        landmarks = self.manifest.landmarks_hash
        products, scans = products_for(TorchProducts(), self._device), scans_for(self._runner, self.layout, self._table)
        return IndexRows(self.layout, self._table, self._compressor, signatures, reading, landmarks, products, scans)

    def info(self) -> dict[str, Any]:
        """Describe the index: counts, model, layers, views with their bytes per row, fingerprint, capabilities."""
        from nait_index.upkeep.describe import describe

        return describe(self.layout, self.manifest, self._table)

    def near_duplicates(self) -> DuplicateCount:
        """Count the rows that nearly repeat another one; of a large index, in a random part of it."""
        return count_duplicates(self.columns)

    def verify(self, sample: int = 32) -> list[Check]:
        """Check the index against itself: counts, hashes, the search, and a sample of rows encoded again."""
        from nait_index.upkeep.verify import verify

        return verify(self.layout, self.manifest, self._table, self.columns, self._encoder, sample)

    def rows(
        self, ids: Sequence[str] | None = None, *, where: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return rows with what is known of them: those with some ids, in that order, or all in corpus order."""
        columns = ("n_tokens", "truncated", "format", "file", "file_row", "row")
        return self.columns.listing(columns, ids, where, limit)

    def capability_scores(
        self,
        capabilities: Sequence[CapabilityLike],
        *,
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
    ) -> np.ndarray:
        """Score every row for each of C capabilities: (C, n) float64 in table order, NaN for rows outside ``where``."""
        return score_rows(self.columns, self._chooser.request(capabilities, ALL_ROWS, method, where))

    def compare(
        self,
        capabilities: Sequence[CapabilityLike] | None = None,
        *,
        top: Top = "10%",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
    ) -> Comparison:
        """Compare capabilities: what they choose in common, how similarly they rank, which may as well be one.

        :param capabilities: at least two; all stored ones by default.
        """
        from nait_index.insight.compare import compare

        names = self._library.table.names() if capabilities is None else capabilities
        return compare(self.columns, self._chooser.request(names, top, method, where))

    def explain(
        self,
        row: str,
        capability: CapabilityLike,
        *,
        method: MethodName | str = DEFAULT_METHOD,
        top: Top = "10%",
        where: str | None = None,
        depth: Depth | None = None,
        words: bool = False,
    ) -> Explanation:
        """Explain why a row is ranked where it is: its score as a sum, its rank, and what would have to change.

        :param row: its id. :param depth: how many neurons, rows that activate them, and examples are listed.
        :param words: also report what each word of the row adds, which needs the model.
        :raises SelectionError: there is no such row, or the method's score is not a sum over neurons.
        """
        from nait_index.insight.explain import Depth, explain

        request = self._chooser.request(capability, top, method, where)
        layers, encoder = self.manifest.fingerprint.layers, self._encoder if words else None
        explanation = explain(self.columns, request, layers, row, depth or Depth(), encoder)
        return dataclasses.replace(explanation, read=self.row_read(row))

    def row_read(self, row: str | int) -> RowRead:
        """Return what the model read of a row: its text as the template renders it, up to where it was cut.

        :param row: its id, or its ordinal in the table.
        :raises SelectionError: there is no row of that id.
        """
        ordinal = self.columns.ordinal(row) if isinstance(row, str) else row
        facts = self.columns.take([ordinal], ["truncated", "row"])
        try:
            sample = self.columns.sample(ordinal)
        except CorpusError as error:
            return RowRead(facts["row"][0], problem=str(error))
        return self._restorer.read(sample, is_cut=facts["truncated"][0])

    def layer_shares(
        self,
        capability: CapabilityLike,
        *,
        method: MethodName | str = DEFAULT_METHOD,
        top: Top = "10%",
        where: str | None = None,
    ) -> LayerShares:
        """Report which layers distinguish the rows that a capability chooses from the average row.

        :raises SelectionError: the method's score is not a sum over neurons.
        """
        from nait_index.insight.explain import layer_shares

        request = self._chooser.request(capability, top, method, where)
        ordinals = np.array(self._chooser.query(request).ordinals)
        return layer_shares(self.columns, request, self.manifest.fingerprint.layers, ordinals)

    # ---- versions -------------------------------------------------------------------------------------------------

    @staticmethod
    def versions(path: PathLike, *, storage: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """List the versions of an index, oldest first: number, creation time, change, rows, tags."""
        from nait_index.upkeep.versions import list_versions

        return list_versions(Layout(path, storage))

    def tag(self, name: str, *, force: bool = False) -> int:
        """Name the version that was opened, so that it never expires, and return its number."""
        from nait_index.upkeep.versions import tag_version

        return tag_version(self.layout, name, self.manifest.version, force=force)

    def remove_tag(self, name: str) -> None:
        """Remove a tag; its version then expires like any other."""
        from nait_index.upkeep.versions import remove_tag

        remove_tag(self.layout, name)

    def remove(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Remove rows with some ids, or those that pass a filter, and return how many; repeating it changes nothing.

        :raises SelectionError: an id was never in the index, or no row would be left.
        """
        from nait_index.upkeep.remove import remove_rows

        self._check_newest()
        return remove_rows(self.layout, ids, where)

    def add_landmarks(self, **changes: int) -> NaitIndex:
        """Take the gradients of landmark rows and of the stored examples, for the method ``influence``.

        It is what the view ``landmarks`` does in a build; rows and signatures stay as they are.

        :param changes: the settings ``landmarks``, ``grad_dim``, ``grad_layers`` and ``grad_checkpoints``, see
            :class:`~nait_index.config.SignatureConfig`.
        :returns: the index as it is then. :raises StoreError: it has landmarks already.
        """
        from nait_index.upkeep.landmarks import add_landmarks

        self._check_newest()
        add_landmarks(self.layout, changes, model=self._model, device=self._device)
        return NaitIndex(self.layout.name, model=self._model, device=self._device, storage=self.layout.storage)

    @staticmethod
    def restore(path: PathLike, version: str | int, *, storage: Mapping[str, str] | None = None) -> int:
        """Make an old version the newest again, and return its new number; the versions in between are kept.

        This works even if the newest version is damaged. Restoring the newest itself discards an interrupted build.
        """
        from nait_index.upkeep.versions import restore_version

        return restore_version(Layout(path, storage), version).version

    def optimize(self, keep_days: float = 7) -> Optimized:
        """Merge files, and delete versions without a tag that were replaced more than ``keep_days`` days ago.

        A version that was opened by name is kept; and as long as there is a selection of rows, every version.
        """
        from nait_index.upkeep.optimize import optimize, prepare_search

        self._open_table(None)  # what was chosen from the table before still holds it
        gc.collect()  # unreachable objects do not count as readers
        try:
            optimized = optimize(self.layout, keep_days, opened=None if self.is_newest else self.manifest.version)
        finally:
            self._open_table(ReadingHold(self.layout))
        if self.is_newest:
            vars(self).pop("_library", None)
            self._go_on(load_finished(self.layout))
        if self.manifest.approximate:
            newest = NaitIndex(self.layout.name, storage=self.layout.storage)
            prepare_search(newest.layout, newest.manifest, newest.columns)
        return optimized

    def rebuild(
        self, path: PathLike, *, progress: ProgressCallback | None = None, storage: Mapping[str, str] | None = None
    ) -> NaitIndex:
        """Encode all rows again into a new index whose basis is fitted to all of them, with scores and capabilities.

        This index stays unchanged. If the rebuild is interrupted, call this again to finish it.

        :raises OutputExistsError: there is another index at the new path.
        """
        from nait_index.store.publish import mark_approximate
        from nait_index.upkeep.optimize import prepare_search
        from nait_index.upkeep.rebuild import rebuild

        target, model, device = Layout(path, storage), self._model, self._device
        report = rebuild(self.layout, self.manifest, target, model=model, device=device, progress=progress)
        if self.manifest.approximate:
            mark_approximate(target)
        index = NaitIndex(path, model=model, device=device, storage=storage)
        prepare_search(target, index.manifest, index.columns)
        index.report = report
        return index

    # ---- inside ---------------------------------------------------------------------------------------------------

    @property
    def _chooser(self) -> Chooser:
        return Chooser(self.layout, self.manifest, self._table, self.columns, self._library)

    @cached_property
    def _restorer(self) -> TextRestorer:
        from nait_index.building.reading import TextRestorer

        return TextRestorer(self.manifest, self._model)

    @cached_property
    def _library(self) -> CapabilityLibrary:
        return CapabilityLibrary(self.layout, self.manifest, self._encoder, self._go_on)

    def _go_on(self, manifest: Manifest) -> None:
        """Show another version from now on, as after a change of the capabilities."""
        before, self.manifest = self.manifest, manifest
        if manifest.state != before.state:  # as after another process has added landmarks
            for name in ("columns", "_restorer"):
                vars(self).pop(name, None)
            self._encoder.cache_clear()
        if manifest.table_version != before.table_version:
            self._open_table(self._hold)

    def _open_table(self, hold: ReadingHold | None) -> None:
        """Open the rows of the version that is shown."""
        self._hold = hold
        self._table = SampleTable(self.layout, self.manifest.head.table_version, hold)
        vars(self).pop("columns", None)

    def _check_newest(self) -> None:
        if not self.is_newest:
            raise StoreError(
                f"version {self.manifest.version} of {self.layout.name} was opened by name, and old versions are not "
                "changed; leave out --at, or make it the last one with 'nait-index restore'"
            )


def _model_config(model: PathLike | ModelConfig | None) -> ModelConfig:
    """Return a model's configuration: its own, or that of its folder or name with all else by default."""
    if isinstance(model, ModelConfig):
        return model
    return ModelConfig() if model is None else ModelConfig(name=str(model))
