"""The facade: one index on disk, and what can be asked of it. Wiring only; the work is done in the packages below."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from nait_index.building.builder import Builder, BuildReport, ProgressCallback
from nait_index.building.estimate import Estimate, estimate
from nait_index.building.examples import ExampleEncoder
from nait_index.building.opening import open_encoder
from nait_index.building.reopening import reopen
from nait_index.capability import Capability
from nait_index.choosing import Chooser, Question
from nait_index.config import (
    BUNDLED_MODEL,
    Combine,
    Device,
    EngineConfig,
    ModelConfig,
    SearchMode,
    SignatureConfig,
    View,
)
from nait_index.corpus import make_template, read_corpus
from nait_index.distributed.engine import open_engine
from nait_index.errors import IncompleteIndexError, NaitError, SelectionError
from nait_index.index_rows import IndexRows
from nait_index.inspection import Check, Verifier, describe
from nait_index.library import Library
from nait_index.methods.names import DEFAULT_METHOD, MethodName
from nait_index.methods.probe import sample_queries
from nait_index.scoring import Confirm, QualitySpec, ScoreProgress, ScoreReport, score_index
from nait_index.selection.selection import Selection
from nait_index.signatures.features import Feature
from nait_index.store.bases import load_compressor
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, load_manifest
from nait_index.store.samples import SampleTable
from nait_index.types import RowFormat

PathLike = str | Path


class NaitIndex:
    """An index, opened for reading.

    :param path: its directory.
    :param model: where its model lies now, if not where it lay at the build; it must be the same one.
    :param device: where to run the model for new examples.
    :raises NotAnIndexError: there is none. :raises IncompleteIndexError: its build was interrupted.
    """

    def __init__(self, path: PathLike, *, model: str | None = None, device: Device = Device.AUTO) -> None:
        self.layout = Layout(path)
        self.manifest: Manifest = load_manifest(self.layout)
        if self.manifest.table_version is None:
            raise IncompleteIndexError(
                f"the build of {path} was interrupted; run the same 'nait-index build' command again to finish it"
            )
        self.report: BuildReport | None = None
        self._model = model
        self._device = device
        self._loaded: ExampleEncoder | None = None
        self._table = SampleTable(self.layout, self.manifest.table_version)
        self._compressor = load_compressor(self.layout, self.manifest.basis_hash)
        own = self.manifest.fingerprint
        self._rows = IndexRows(self.layout, self._table, self._compressor, own.topk, own.pca_dim)
        self._chooser = Chooser(self.layout, self.manifest, self._table, self._rows)
        self._library = Library(self.layout, self.manifest, self._encoder)

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
        engine: EngineConfig | None = None,
    ) -> "NaitIndex":
        """Build an index, finish an interrupted build, or add what is new; then open it.

        :param corpus: files or folders of instruction rows; ``-`` is standard input.
        :param model: a folder or hub name, or a full configuration.
        :param limit: read only so many rows.
        :param approximate: make an approximate search too, for few rows of very many; see :meth:`query`.
        :param engine: what runs the rows through the model; ``None`` is this process.
        :raises NaitError: of the kind that says what is wrong.
        """
        files = _listed(corpus)
        items = _limited(read_corpus(files, row_format), limit)
        config = model if isinstance(model, ModelConfig) else ModelConfig(name=model)
        with (
            open_engine(engine or EngineConfig()) as own,
            Builder(path, config, signatures or SignatureConfig(), progress, own) as builder,
        ):
            report = builder.run(items, [str(file) for file in files])
        index = cls(path, model=config.name, device=config.device)
        index.report = report
        if View.PCA in index.manifest.fingerprint.views:
            index._rows.engine(Feature.UNIT)
            if approximate:
                index._rows.make_approximate(Feature.UNIT, sample_queries(index._rows))
        return index

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
        with open_encoder(config, signatures) as encoder:
            template = make_template(config.template, encoder.model.tokenizer)
            return estimate(items, encoder, template, signatures)

    # ---- capabilities ---------------------------------------------------------------------------------------------

    def examples(
        self, files: PathLike | Sequence[PathLike], name: str | None = None, *, row_format: RowFormat | None = None
    ) -> Capability:
        """Make a capability of example files without storing it."""
        own = _listed(files)
        return self._library.make(name or Path(own[0]).stem, own, row_format)

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
        return self._library.import_(Path(path), name, force=force)

    # ---- choosing -------------------------------------------------------------------------------------------------

    def query(
        self,
        capabilities: str | Capability | Sequence[str | Capability],
        *,
        top: str | int = "10%",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        combine: Combine | str = Combine.UNION,
        weights: Mapping[str, float] | None = None,
        blend: Mapping[str, float] | None = None,
        search: SearchMode | str = SearchMode.EXACT,
    ) -> Selection:
        """Choose the rows that teach a capability, or several together.

        :param capabilities: stored names, or what :meth:`examples` gave.
        :param top: ``10%`` (rounded down, at least 1) or a number of rows; of those that pass ``where``.
        :param where: SQL condition over ``id``, ``n_tokens``, ``truncated``, ``file``, ``format``, ``position`` and the
            scores that :meth:`score` made.
        :param combine: how several rankings become one: ``union`` (``top`` rows of each), or ``mean``, ``round-robin``
            or ``weighted``, which give exactly ``top`` rows; :param weights: of each capability, for ``weighted``.
        :param blend: weights of quality scores, by column: the score becomes (1 − Σ|w|)·rank of the method +
            Σ |w|·rank of the column, ranks from 0 to 1; a negative weight prefers low values.
        :param search: ``approximate`` finds few rows of many faster, where the index was built for it; which way was
            taken, and why, is in ``provenance["plan"]``.
        :raises CapabilityError: a name is unknown. :raises SelectionError: budget or filter cannot be met.
        """
        question = Question(top, method, where, blend or {}, SearchMode(search))
        return self._chooser.query(self._resolve(capabilities), question, _combine(combine), weights)

    def core(
        self,
        capabilities: Sequence[str | Capability],
        *,
        top: str | int = "10%",
        votes: str | int = "all",
        method: MethodName | str = DEFAULT_METHOD,
        where: str | None = None,
        blend: Mapping[str, float] | None = None,
        bootstrap: int = 0,
    ) -> Selection:
        """Choose the rows that several capabilities agree on.

        :param top: what each capability chooses first. :param votes: ``all``, or how many of them must agree.
        :param bootstrap: draw the examples of every capability anew so many times, with replacement, and give every
            row of the core the share of draws in which it stays (``details["stability"]``).
        :returns: never padded; ``provenance["core"]`` holds the size found and the size that chance would give.
        :raises SelectionError: fewer than two capabilities, or a number of votes that cannot be met.
        """
        own, question = self._resolve(capabilities), Question(top, method, where, blend or {})
        return self._chooser.core(own, question, votes, bootstrap, self._library.pooled)

    def cover(self, *, top: str | int = "15%", where: str | None = None, rare: bool = False) -> Selection:
        """Choose rows that together activate the most neurons, for diversity and with no target (MADS).

        :param rare: weight every neuron by its rarity, ln(n / rows that activate it).
        :returns: in the order of choice; the score is what a row newly covered, ``details["round"]`` in which round.
        :raises StoreError: the index lacks the view ``topk``. :raises SelectionError: the budget cannot be met.
        """
        return self._chooser.cover(top, where, rare=rare)

    def check_method(self, method: MethodName | str) -> None:
        """Refuse a method that this index lacks the view for.

        :raises StoreError: it does. :raises SelectionError: there is no such method.
        """
        self._chooser.check(method)

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

        :param spec: ``Ifd``, ``SelectIt``, ``Judge`` or ``Imported`` of :mod:`nait_index.scoring`.
        :param force: begin anew, whatever settings came before. :param confirm: asked before a judge is paid.
        """
        model, device = self._model, self._device
        return score_index(
            self.layout, spec, name=name, model=model, device=device, force=force, progress=progress, confirm=confirm
        )

    # ---- looking --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.manifest.rows

    def info(self) -> dict[str, Any]:
        """Describe the index: counts, model, layers, views with their bytes per row, fingerprint, capabilities."""
        return describe(self.layout, self.manifest, self._table, self._library.table)

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
        if ids is None:
            return self._table.listing(columns, where, limit)
        found = self._table.find(ids, columns)
        missing = [sample_id for sample_id in ids if sample_id not in {row["id"] for row in found}]
        if missing:
            raise SelectionError(f"there is no row with id {missing[0]!r} in {self.layout.root}")
        return found[:limit]

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _resolve(self, capabilities: str | Capability | Sequence[str | Capability]) -> list[Capability]:
        wanted = [capabilities] if isinstance(capabilities, str | Capability) else capabilities
        return [self.capability(one) if isinstance(one, str) else one for one in wanted]

    def _encoder(self) -> ExampleEncoder:
        """Load the index's own model when it is first needed, and refuse any other."""
        if self._loaded is None:
            self._loaded = reopen(self.layout, self.manifest, self._compressor, self._model, self._device)
        return self._loaded


def _combine(how: Combine | str) -> Combine:
    try:
        return Combine(how)
    except ValueError:
        raise SelectionError(f"there is no way to combine named '{how}'; there are: {', '.join(Combine)}") from None


def _listed(files: PathLike | Sequence[PathLike]) -> list[PathLike]:
    own = [files] if isinstance(files, str | Path) else list(files)
    if not own:
        raise NaitError("no file was given")
    return own


def _limited(items: Iterator[Any], limit: int | None) -> Iterator[Any]:
    if limit is not None and limit < 1:
        raise NaitError(f"--limit must be at least 1, not {limit}")
    return items if limit is None else islice(items, limit)
