"""The facade: one index on disk, and what can be asked of it. Wiring only; the work is done in the packages below."""

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.building.builder import Builder
from nait_index.building.encoder import IndexEncoder
from nait_index.building.estimate import Estimate, estimate
from nait_index.building.report import BuildReport, ProgressCallback
from nait_index.building.settings import recorded_settings
from nait_index.capabilities.capability import Capability
from nait_index.capabilities.examples import EncodingProgress, ExampleEncoder, reopen
from nait_index.capabilities.library import CapabilityLibrary
from nait_index.config import (
    BUNDLED_MODEL,
    Combine,
    Device,
    ModelConfig,
    RunnerConfig,
    SearchMode,
    SignatureConfig,
    View,
)
from nait_index.corpus import read_corpus, read_text, to_json
from nait_index.distributed.runner import runner_for
from nait_index.errors import CapabilityError, NaitError, StoreError
from nait_index.insight.compare import Comparison, compare
from nait_index.insight.explain import Depth, explain, layer_shares
from nait_index.insight.explanation import Explanation
from nait_index.insight.parts import LayerShares
from nait_index.methods.probe import sample_queries
from nait_index.methods.registry import DEFAULT_METHOD, MethodName
from nait_index.quality.run import Confirm, ScoreProgress, ScoreReport, score_index
from nait_index.quality.score import QualitySpec
from nait_index.search.rows import IndexRows
from nait_index.selection.budget import ALL_ROWS, Budget
from nait_index.selection.choose import Chooser
from nait_index.selection.ranking import score_rows
from nait_index.selection.selection import Selection
from nait_index.signatures.features import Feature
from nait_index.store.fitted import load_compressor
from nait_index.store.integrity import check_files
from nait_index.store.layout import Layout, hold_for_reading
from nait_index.store.manifest import Manifest, load_finished, load_manifest
from nait_index.store.publish import mark_approximate
from nait_index.store.samples import SampleTable
from nait_index.types import RowFormat
from nait_index.upkeep.describe import describe
from nait_index.upkeep.optimize import Optimized, optimize
from nait_index.upkeep.rebuild import rebuild
from nait_index.upkeep.remove import remove_rows
from nait_index.upkeep.verify import Check, Verifier
from nait_index.upkeep.versions import remove_tag, restore_version, tag_version

PathLike = str | Path
logger = logging.getLogger(__name__)


class NaitIndex:
    """An index, opened for reading.

    What it shows stays as it is while others write; open it again to see what they wrote.

    :param path: its folder, or a URI such as ``s3://bucket/my.nait``.
    :param version: a version, by number or tag; by default the last.
    :param model: where its model lies now, if not where it lay at the build; it must be the same one.
    :param device: where to run the model for new examples.
    :param storage: options of the object store, such as ``region`` and ``endpoint``.
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
    ) -> None:
        self.layout = Layout(path, storage)
        load_finished(self.layout)
        self._release = hold_for_reading(self.layout, self)
        # Read again, since what it named may have been forgotten before it was held.
        newest = load_finished(self.layout)
        self.manifest: Manifest = newest if version is None else newest.at_version(version, self.layout.name)
        self.report: BuildReport | None = None
        self._is_newest = version is None
        self._model = model
        self._device = device
        self._loaded: ExampleEncoder | None = None
        head = self.manifest.head
        check_files(self.layout, head)
        self._table = SampleTable(self.layout, head.table_version)
        self._compressor = load_compressor(self.layout, self.manifest.basis_hash)
        logger.info("%s opened: version %d, %d rows", self.layout.name, self.manifest.version, self.manifest.rows)

    @property
    def columns(self) -> IndexRows:
        """The rows and everything stored about them, as columns."""
        return self._rows

    @cached_property
    def _rows(self) -> IndexRows:
        return IndexRows(self.layout, self._table, self._compressor, self.manifest.fingerprint.signatures)

    @property
    def _chooser(self) -> Chooser:
        return Chooser(self.layout, self.manifest, self._table, self._rows)

    @cached_property
    def _library(self) -> CapabilityLibrary:
        return CapabilityLibrary(self.layout, self.manifest, self._encoder, self._moved)

    # ---- build ----------------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        path: PathLike,
        corpus: PathLike | Sequence[PathLike],
        *,
        model: str | ModelConfig = BUNDLED_MODEL,
        signatures: SignatureConfig | None = None,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        progress: ProgressCallback | None = None,
        approximate: bool = False,
        replace: bool = False,
        storage: Mapping[str, str] | None = None,
        runner: RunnerConfig | None = None,
    ) -> "NaitIndex":
        """Build an index, finish an interrupted build, or add what is new; then open it.

        :param corpus: files or folders of instruction rows; ``-`` is standard input.
        :param model: a folder or hub name, or a full configuration.
        :param limit: read only so many rows.
        :param approximate: make an approximate search too, for few rows of very many; see :meth:`query`.
        :param replace: let rows take the place of those that have their id and another content.
        :param runner: what runs the rows through the model; by default this process.
        :raises NaitError: of the kind that says what is wrong.
        """
        files = _listed(corpus)
        items = _limited(read_corpus(files, row_format), limit)
        config = model if isinstance(model, ModelConfig) else ModelConfig(name=model)
        layout = Layout(path, storage)
        open_runner = runner_for(runner or RunnerConfig())
        signatures = signatures or SignatureConfig()
        with Builder(layout, config, signatures, progress, open_runner, replace_rows=replace) as builder:
            report = builder.run(items, [str(file) for file in files])
        index = cls(path, model=config.name, device=config.device, storage=storage)
        index.report = report
        if View.PCA in index.manifest.fingerprint.signatures.views:
            index._rows.exact(Feature.UNIT)
            if approximate or index.manifest.approximate:
                index._make_approximate()
        return index

    @classmethod
    def add(
        cls,
        path: PathLike,
        corpus: PathLike | Sequence[PathLike],
        *,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        replace: bool = False,
        model: str | None = None,
        device: Device = Device.AUTO,
        progress: ProgressCallback | None = None,
        storage: Mapping[str, str] | None = None,
        runner: RunnerConfig | None = None,
    ) -> "NaitIndex":
        """Add rows to an index, with its own model and settings; those that it has already are left out.

        :param replace: let rows take the place of those that have their id and another content, which is an error
            otherwise. :param model: where the index's model lies now, if it was moved.
        :returns: the index, opened, with what was done in ``report``.
        :raises CorpusError: an id is there with another content. :raises IncompleteIndexError: the first build was
            interrupted, and would be given up.
        """
        manifest = load_finished(Layout(path, storage))
        config, signatures = recorded_settings(manifest, model, device)
        return cls.build(
            path,
            corpus,
            model=config,
            signatures=signatures,
            row_format=row_format,
            limit=limit,
            progress=progress,
            replace=replace,
            storage=storage,
            runner=runner,
        )

    @staticmethod
    def estimate(
        corpus: PathLike | Sequence[PathLike],
        *,
        model: str | ModelConfig = BUNDLED_MODEL,
        signatures: SignatureConfig | None = None,
        row_format: RowFormat | None = None,
        limit: int | None = None,
    ) -> Estimate:
        """Tell what such a build would cost; nothing is written."""
        items = _limited(read_corpus(_listed(corpus), row_format), limit)
        config = model if isinstance(model, ModelConfig) else ModelConfig(name=model)
        signatures = signatures or SignatureConfig()
        with IndexEncoder(config, signatures) as encoder:
            return estimate(items, encoder)

    # ---- capabilities ---------------------------------------------------------------------------------------------

    def make_capability(
        self, files: PathLike | Sequence[PathLike], name: str | None = None, *, row_format: RowFormat | None = None
    ) -> Capability:
        """Make a capability of example files without storing it."""
        own = _listed(files)
        return self._library.make(name or Path(own[0]).stem, own, row_format)

    def make_capability_from(
        self,
        rows: str | Sequence[Mapping[str, Any]],
        name: str = "examples",
        *,
        row_format: RowFormat | None = None,
        limit: int | None = None,
        progress: EncodingProgress | None = None,
    ) -> Capability:
        """Make a capability of examples in memory, without storing it; :meth:`store_capability` does.

        :param rows: rows of any known format, or a text of them: JSON lines, a JSON list, or plain text with blank
            lines between the examples.
        :param limit: refuse more than so many, before any is encoded.
        :param progress: told after every batch how many are encoded, and of how many; it may raise, to stop.
        :raises CapabilityError: there are too many, or none can be used. :raises CorpusError: they cannot be read.
        """
        text = rows if isinstance(rows, str) else to_json(list(rows))
        items = list(read_text(text, name, row_format))
        if limit is not None and len(items) > limit:
            raise CapabilityError(f"{name}: {len(items):,} examples are more than the {limit:,} allowed; give fewer")
        return self._library.make_of(name, items, progress)

    def store_capability(self, capability: Capability, name: str | None = None, *, force: bool = False) -> Capability:
        """Store a capability from :meth:`make_capability` or :meth:`make_capability_from`, without encoding it again.

        :param name: another name for it. :param force: replace a stored one of that name.
        :raises CapabilityError: the name is taken or empty, or it was made by another index.
        """
        self._check_newest()
        kept = capability if name is None else replace(capability, name=name)
        self._library.keep(kept, force=force)
        return kept

    def load_model(self) -> None:
        """Load the index's model now, and not when examples first need it.

        :raises ModelError: it cannot be loaded. :raises FingerprintError: it is another one.
        """
        self._encoder()

    def add_capability(
        self,
        name: str,
        files: PathLike | Sequence[PathLike],
        *,
        row_format: RowFormat | None = None,
        force: bool = False,
    ) -> Capability:
        """Make a capability of example files and store it under a name.

        :param force: replace a stored one of that name.
        :raises CapabilityError: there is one of that name, the name is empty, or no example is usable.
        """
        self._check_newest()
        return self._library.add(name, _listed(files), row_format, force=force)

    def capability(self, name: str) -> Capability:
        """Read a stored capability.

        :raises CapabilityError: there is none of this name; the nearest names are offered.
        """
        return self._library.get(name)

    def capabilities(self) -> list[dict[str, Any]]:
        """Give name, creation time and example counts of every stored capability, sorted by name."""
        return self._library.table.summaries()

    def capability_rows(self, name: str) -> list[str]:
        """Give the examples of a stored capability, as JSON text."""
        return self._library.rows(name)

    def remove_capability(self, name: str) -> None:
        """Remove a stored capability."""
        self._check_newest()
        self._library.remove(name)

    def export_capability(self, name: str, path: PathLike, *, force: bool = False) -> Path:
        """Write a stored capability to a file, to be imported into another index of the same fingerprint.

        :raises OutputExistsError: the file is there and ``force`` was not given.
        """
        self._library.export(name, Path(path), force=force)
        return Path(path)

    def import_capability(self, path: PathLike, name: str | None = None, *, force: bool = False) -> Capability:
        """Store a capability that :meth:`export_capability` wrote.

        Where the other index was fitted on another corpus, the examples are encoded again, since signatures are of one
        basis only; the model is needed then.

        :param name: another name for it. :param force: replace a stored one of that name.
        :raises CapabilityError: the file is none, or is of an index of another fingerprint; or the name is taken.
        """
        self._check_newest()
        return self._library.import_(Path(path), name, force=force)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def query(
        self,
        capabilities: str | Capability | Sequence[str | Capability],
        *,
        top: str | int | Budget = "10%",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        combine: Combine | str = Combine.UNION,
        weights: Mapping[str, float] | None = None,
        blend: Mapping[str, float] | None = None,
        search: SearchMode | str = SearchMode.EXACT,
        decontaminate: bool = False,
    ) -> Selection:
        """Choose the rows that teach a capability, or several together.

        :param capabilities: stored names, or what :meth:`make_capability` gave.
        :param top: ``10%`` (rounded down, at least 1) or a number of rows; of those that pass ``where``. ``auto``, for
            one capability, reads a number off the score curve, with the reasons in ``provenance.reasons``.
        :param where: SQL condition over ``id``, ``n_tokens``, ``truncated``, ``file``, ``format``, ``position``, the
            scores that :meth:`score` made, and any field of the rows: ``source = 'gsm8k'``, ``meta.lang = 'en'``.
        :param combine: how several rankings become one: ``union`` (``top`` rows of each), or ``mean``, ``round-robin``
            or ``weighted``, which give exactly ``top`` rows; :param weights: of each capability, for ``weighted``.
        :param blend: weights of quality scores, by column: the score becomes (1 − Σ|w|)·rank of the method +
            Σ |w|·rank of the column, ranks from 0 to 1; a negative weight prefers low values.
        :param search: ``approximate`` finds few rows of many faster, where the index was built for it; which way was
            taken, and why, is in ``provenance.plan``.
        :param decontaminate: leave out rows that are like an example, and choose the next best in their place.
        :raises CapabilityError: a name is unknown. :raises SelectionError: budget or filter cannot be met.
        """
        request = self._chooser.request(
            self._resolve(capabilities),
            top=top,
            method=method,
            where=where,
            blend=blend,
            search=search,
            decontaminate=decontaminate,
        )
        return self._chooser.query(request, combine, weights)

    def core(
        self,
        capabilities: Sequence[str | Capability],
        *,
        top: str | int | Budget = "10%",
        votes: str | int = "all",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        blend: Mapping[str, float] | None = None,
        bootstrap: int = 0,
        decontaminate: bool = False,
    ) -> Selection:
        """Choose the rows that several capabilities agree on.

        :param top: what each capability chooses first. :param votes: ``all``, or how many of them must agree.
        :param bootstrap: draw the examples of every capability anew so many times, with replacement, and give every
            row of the core the share of draws in which it stays (``details["stability"]``).
        :param decontaminate: as if the corpus had no rows that are like an example.
        :returns: never padded; ``provenance.core`` holds the size found and the size that chance would give.
        :raises SelectionError: fewer than two capabilities, or a number of votes that cannot be met.
        """
        request = self._chooser.request(
            self._resolve(capabilities), top=top, method=method, where=where, blend=blend, decontaminate=decontaminate
        )
        return self._chooser.core(request, votes, bootstrap, self._library.pooled)

    def cover(self, *, top: str | int | Budget = "15%", where: str | None = None, rare: bool = False) -> Selection:
        """Choose rows that together activate the most neurons, for diversity and with no target (MADS).

        :param rare: weight every neuron by its rarity, ln(n / rows that activate it).
        :returns: in the order of choice; the score is what a row newly covered, ``details["round"]`` in which round.
        :raises StoreError: the index lacks the view ``topk``. :raises SelectionError: the budget cannot be met.
        """
        return self._chooser.cover(top, where, rare=rare)

    def select_all(self, *, where: str | None = None) -> Selection:
        """Take all rows that pass a filter, in the order of the corpus; nothing ranks them.

        :raises SelectionError: no row passes, or the filter cannot be used.
        """
        return self._chooser.select_all(where)

    def load_selection(self, path: PathLike) -> Selection:
        """Take a selection that was written before, to write it again in another way.

        :param path: its sidecar, ``….meta.json``.
        :raises SelectionError: it is none, or one of its rows is not in this version of the index.
        """
        return self._chooser.load(Path(path))

    def check_method(self, method: MethodName | str) -> None:
        """Refuse a method that this index lacks the view for.

        :raises StoreError: it does. :raises SelectionError: there is no such method.
        """
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

        This object goes on seeing the index as it was: open it again to filter by the score.

        :param spec: ``Ifd``, ``SelectIt``, ``Judge`` or ``Imported`` of :mod:`nait_index.quality`.
        :param force: begin anew, whatever settings came before. :param confirm: asked before a judge is paid.
        """
        model, device = self._model, self._device
        self._check_newest()
        return score_index(
            self.layout, spec, name=name, model=model, device=device, force=force, progress=progress, confirm=confirm
        )

    # ---- looking --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def is_newest(self) -> bool:
        """Whether this is the last version, and may be changed; not one that was opened by name."""
        return self._is_newest

    def info(self) -> dict[str, Any]:
        """Describe the index: counts, model, layers, views with their bytes per row, fingerprint, capabilities."""
        return describe(self.layout, self.manifest, self._table)

    def verify(self, sample: int = 32) -> list[Check]:
        """Check the index against itself: counts, hashes, engine, and a sample of rows encoded again."""
        return Verifier(self.layout, self.manifest, self._table, self._compressor, self._encoder).run(sample)

    def rows(
        self, ids: Sequence[str] | None = None, *, where: str | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Give rows with what is known of them: those of some ids in that order, else in the order of the corpus.

        :raises SelectionError: an id is not in the index, or the filter cannot be used.
        """
        columns = ("n_tokens", "truncated", "format", "file", "file_row", "row")
        return self._rows.listing(columns, ids, where, limit)

    def capability_scores(
        self,
        capabilities: Sequence[str | Capability],
        *,
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
    ) -> np.ndarray:
        """Score every row for each of C capabilities: (C, n) in table order, NaN where ``where`` does not hold."""
        request = self._chooser.request(self._resolve(capabilities), top=ALL_ROWS, method=method, where=where)
        return score_rows(self._rows, request)

    # ---- explaining -----------------------------------------------------------------------------------------------

    def compare(
        self,
        capabilities: Sequence[str | Capability] | None = None,
        *,
        top: str | int | Budget = "10%",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
    ) -> Comparison:
        """Compare capabilities: what they choose in common, how alike they rank, which may as well be one.

        :param capabilities: all stored ones by default.
        :raises SelectionError: there are fewer than two.
        """
        names = [own["name"] for own in self.capabilities()] if capabilities is None else capabilities
        return compare(self._rows, self._chooser.request(self._resolve(names), top=top, method=method, where=where))

    def explain(
        self,
        row: str,
        capability: str | Capability,
        *,
        method: MethodName | str = DEFAULT_METHOD,
        top: str | int | Budget = "10%",
        where: str | None = None,
        depth: Depth | None = None,
        words: bool = False,
    ) -> Explanation:
        """Say why a row stands where it stands for a capability: its score as a sum, its rank, what would change it.

        :param row: its id. :param depth: how many neurons, rows that fire them, and examples are told.
        :param words: encode the row again, and say what each of its words adds; this needs the model.
        :raises SelectionError: there is no such row, or the method's score is no sum over neurons.
        """
        request = self._chooser.request(self._resolve(capability), top=top, method=method, where=where)
        layers, encoder = self.manifest.fingerprint.layers, self._encoder if words else None
        return explain(self._rows, request, layers, row, depth or Depth(), encoder)

    def layer_shares(
        self,
        capability: str | Capability,
        *,
        method: MethodName | str = DEFAULT_METHOD,
        top: str | int | Budget = "10%",
        where: str | None = None,
    ) -> LayerShares:
        """Say which layers set the rows that a capability chooses apart from the average row.

        :raises SelectionError: the method's score is no sum over neurons.
        """
        request = self._chooser.request(self._resolve(capability), top=top, method=method, where=where)
        selection = self._chooser.query(request)
        layers = self.manifest.fingerprint.layers
        return layer_shares(self._rows, request, layers, np.array(selection.ordinals))

    # ---- a living index -------------------------------------------------------------------------------------------

    @staticmethod
    def versions(path: PathLike, *, storage: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """List the versions of an index that are kept, oldest first: number, time, what changed, rows, tags."""
        manifest = load_manifest(Layout(path, storage))
        return [
            {"version": own.number, "created": own.created, "change": own.change, "rows": own.rows}
            | {"tags": [name for name, number in manifest.tags.items() if number == own.number]}
            for own in manifest.history
        ]

    def tag(self, name: str, *, force: bool = False) -> int:
        """Name the version that this object shows, so that it is kept; :param force: move a tag that is there."""
        return tag_version(self.layout, name, self.manifest.version, force=force)

    def remove_tag(self, name: str) -> None:
        """Forget a tag."""
        remove_tag(self.layout, name)

    def remove(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> int:
        """Remove rows by their ids, or those that a filter holds for; this object goes on showing them.

        :returns: how many. :raises SelectionError: an id is not there, no row matches, or none would be left.
        """
        self._check_newest()
        return remove_rows(self.layout, ids, where)

    @staticmethod
    def restore(path: PathLike, version: str | int, *, storage: Mapping[str, str] | None = None) -> int:
        """Make an old version of an index the last one again, even where the last one is damaged.

        Of the last version itself, this gives up an interrupted build. Versions between stay.

        :returns: the new version's number. :raises StoreError: there is no such version.
        """
        return restore_version(Layout(path, storage), version).version

    def optimize(self, keep_days: float = 7) -> Optimized:
        """Merge files, and forget versions without a tag that were replaced more than so many days ago."""
        gc.collect()  # objects that nobody has any more are no readers
        self._release()
        try:
            done = optimize(self.layout, keep_days)
        finally:
            self._release = hold_for_reading(self.layout, self)
        if self.manifest.approximate:
            NaitIndex(self.layout.name, storage=self.layout.storage)._make_approximate()
        return done

    def rebuild(
        self, path: PathLike, *, progress: ProgressCallback | None = None, storage: Mapping[str, str] | None = None
    ) -> "NaitIndex":
        """Encode the rows of this index again into a new one, whose basis is fitted to all of them.

        Scores and capabilities come along. This index stays as it is.

        :raises OutputExistsError: there is a finished index in the new place.
        """
        place = Layout(path, storage)
        report = rebuild(self.layout, self.manifest, place, model=self._model, device=self._device, progress=progress)
        index = NaitIndex(path, model=self._model, device=self._device, storage=storage)
        index.report = report
        names = self._library.table.names()
        for number, name in enumerate(names, start=1):
            logger.info("encoding the capability %s again, %d of %d", name, number, len(names))
            stored = self._library.table.get(name)
            assert stored is not None
            index._library.adopt(stored)
        return index

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _resolve(self, capabilities: str | Capability | Sequence[str | Capability]) -> list[Capability]:
        wanted = [capabilities] if isinstance(capabilities, str | Capability) else capabilities
        return [self.capability(one) if isinstance(one, str) else one for one in wanted]

    def _make_approximate(self) -> None:
        """Make the approximate search of this version, and write down that there is one."""
        self._rows.make_approximate(Feature.UNIT, sample_queries(self._rows))
        mark_approximate(self.layout)

    def _moved(self, manifest: Manifest) -> None:
        """Go on with the manifest that a change of the capabilities left, unless the rows have changed as well."""
        if manifest.table_version == self.manifest.table_version:
            self.manifest = manifest

    def _check_newest(self) -> None:
        if not self._is_newest:
            raise StoreError(
                f"version {self.manifest.version} of {self.layout.name} was opened by name, and old versions are not "
                "changed; leave out --at, or make it the last one with 'nait-index restore'"
            )

    def _encoder(self) -> ExampleEncoder:
        """Load the index's own model when it is first needed, and refuse any other."""
        if self._loaded is None:
            self._loaded = reopen(self.layout, self.manifest, self._compressor, self._model, self._device)
        return self._loaded


def _listed(files: PathLike | Sequence[PathLike]) -> list[PathLike]:
    own = [files] if isinstance(files, str | Path) else list(files)
    if not own:
        raise NaitError("no file was given")
    return own


def _limited(items: Iterator[Any], limit: int | None) -> Iterator[Any]:
    if limit is not None and limit < 1:
        raise NaitError(f"--limit must be at least 1, not {limit}")
    return items if limit is None else islice(items, limit)
