"""The manifest: what an index is made of, its versions, and the fingerprint of all settings that affect its numbers."""

import json
import platform
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from nait_index.config import Media, RowRules, Unanswered
from nait_index.errors import IncompleteIndexError, NotAnIndexError, StoreError
from nait_index.spelling import did_you_mean, did_you_mean_path
from nait_index.store.fingerprint import Fingerprint
from nait_index.store.layout import Layout
from nait_index.store.sealed import check_types, seal, unseal
from nait_index.types import Reading, ReadPart, Reasoning, Side

SCHEMA_VERSION = 5
_LIBRARIES = ("nait-index", "torch", "transformers", "tokenizers", "numpy", "lancedb", "pylance")


@dataclass(frozen=True, slots=True)
class Version:
    """One state of an index that readers can see.

    :param number: counted from 1. :param created: UTC, ISO 8601. :param change: what made it, in words.
    :param rows: how many samples there are. :param truncated: how many of them were cut. :param tokens: in all of them.
    :param left_out: of how many samples the template left out a kind of part, by kind.
    :param table_version: of the samples' table. :param capabilities_version: of the capabilities' table, 0 for none.
    :param capability_names: of the capabilities stored in this version, sorted.
    :param restored: number of the version whose content this one has again, if it was made by restoring one.
    """

    number: int
    created: str
    change: str
    rows: int
    truncated: int
    tokens: int
    table_version: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    capabilities_version: int = 0
    capability_names: tuple[str, ...] = ()
    restored: int | None = None


@dataclass(frozen=True, slots=True)
class RebuildOrigin:
    """The index that another was rebuilt from.

    :param source: its path as it was given. :param version: whose rows were read. :param state: as of its manifest.
    """

    source: str = field(compare=False)
    version: int
    state: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of ``manifest.json``.

    :param model: its name as given, the resolved settings, and its family.
    :param unread: fields of the rows that hold text which is not read, by corpus file, with the number of rows.
    :param sources: all corpus files that were read. :param next_position: of the next row that is added.
    :param first_rows: positions before this one were in the first build, whose rows the basis was fitted on.
    :param earlier_fingerprints: digests of those that the index had before landmarks were added, which capabilities of
        earlier versions still have.
    :param basis_hash: of the fitted compressor. :param warmup_hash: of the adapters of the views of gradients;
        :param landmarks_hash: of the gradients of the view ``landmarks``.
    :param sae_unexplained: share of the activations' variance that the sparse autoencoder leaves unexplained.
    :param fidelity: how faithful the signatures are, as :mod:`nait_index.building.basis` measured it when the basis
        was fitted; ``None`` where they are exact.
    :param libraries: at the first build: recorded but not compared, since an upgrade must not make an index unusable.
    :param unanswered: what the last build did with rows that have no answer, and :param media: with those that carry
        more than text, see :class:`~nait_index.config.RowRules`; rows that are added later follow it.
    :param approximate: whether there is an approximate search, which is made again when rows are added.
    :param history: all versions that are kept, oldest first; readers see the last. It is empty until the first build is
        finished, and such an index cannot be opened.
    :param tags: the version that each tag names.
    :param rebuilt_from: the index that this one is, or while there is no version, is to be a rebuild of.
    :param removed_capabilities: names of all capabilities that were ever removed, and :param removed_tags: of all tags,
        so that a repeated removal is told apart from a wrong name.
    """

    fingerprint: Fingerprint
    model: Mapping[str, Any]
    sources: tuple[str, ...] = ()
    unread: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    next_position: int = 0
    first_rows: int = 0
    earlier_fingerprints: tuple[str, ...] = ()
    basis_hash: str | None = None
    warmup_hash: str | None = None
    landmarks_hash: str | None = None
    sae_unexplained: float | None = None
    fidelity: Mapping[str, Any] | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    unanswered: str = Unanswered.REJECT
    media: str = Media.REJECT
    approximate: bool = False
    history: tuple[Version, ...] = ()
    tags: Mapping[str, int] = field(default_factory=dict)
    rebuilt_from: RebuildOrigin | None = None
    removed_capabilities: tuple[str, ...] = ()
    removed_tags: tuple[str, ...] = ()

    @property
    def rules(self) -> RowRules:
        """The rules by which the last build read rows."""
        return RowRules(Unanswered(self.unanswered), Media(self.media))

    @property
    def head(self) -> Version:
        """The version that readers see; there is none before the first build is finished."""
        return self.history[-1]

    @property
    def version(self) -> int:
        """Number of the version that readers see, 0 if there is none."""
        return self.head.number if self.history else 0

    @property
    def rows(self) -> int:
        """How many samples readers see."""
        return self.head.rows if self.history else 0

    @property
    def table_version(self) -> int | None:
        """Version of the table that readers see."""
        return self.head.table_version if self.history else None

    @property
    def reading(self) -> Reading:
        """What the model read of rows."""
        mark = self.fingerprint
        reasoning = Reasoning.DROP if mark.reasoning == Reasoning.DROP else Reasoning.KEEP
        pairs = (pair.partition("=") for pair in mark.columns.split(",") if pair)
        columns = tuple((field, column) for field, _, column in pairs)
        return Reading(reasoning, ReadPart(mark.read), Side(mark.side), columns)

    @property
    def basis(self) -> str:
        """Hashes of the fitted parts, in which indexes of one fingerprint still differ."""
        return "/".join(digest for digest in (self.basis_hash, self.warmup_hash) if digest)

    @property
    def state(self) -> str:
        """What the numbers of a capability depend on besides its examples: the fingerprint and the fitted parts."""
        return f"{self.fingerprint.digest}/{self.basis}"

    def then(self, change: str, **state: Any) -> "Manifest":  # noqa: ANN401 - the fields of Version
        """Return the manifest with one more version.

        :param state: the fields that differ from the last version.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        state = {"restored": None} | state | {"number": self.version + 1, "created": now, "change": change}
        head = replace(self.head, **state) if self.history else Version(**state)
        return replace(self, history=(*self.history, head))

    def at_version(self, version: str | int, name: str) -> "Manifest":
        """Return the manifest as it was at a version.

        :param version: its number or tag. :param name: of the index, for the message.
        :raises StoreError: there is no such version.
        """
        number = self.tags.get(str(version))
        if number is None and str(version).isdecimal():
            number = int(version)
        history = tuple(known for known in self.history if number is not None and known.number <= number)
        if not history or history[-1].number != number:
            tags = f", and the tags {', '.join(self.tags)}" if self.tags else ""
            numbers = ", ".join(str(known.number) for known in self.history[-10:])
            more = f"see 'nait-index versions'{did_you_mean(str(version), self.tags)}"
            raise StoreError(f"{name} has no version '{version}'; it has {numbers}{tags}; {more}")
        return replace(self, history=history)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute and store the numbers."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def save_manifest(layout: Layout, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    digest = manifest.fingerprint.digest
    state = asdict(manifest) | {"fingerprint": manifest.fingerprint.to_dict()}
    record = seal({"schema_version": SCHEMA_VERSION, "fingerprint_digest": digest} | state)
    layout.write(layout.manifest, json.dumps(record, indent=2, ensure_ascii=False).encode() + b"\n")


def load_manifest(layout: Layout) -> Manifest:
    """Read the manifest.

    :raises NotAnIndexError: there is none. :raises StoreError: it is damaged, or of another schema.
    """
    layout.refuse_links()
    text = layout.read(layout.manifest)
    if text is None:
        if layout.remote is None and layout.seals.is_file():
            raise NotAnIndexError(
                f"{layout.manifest} is missing; restore it from a copy, or remove the folder and build the index again"
            )
        exists = layout.remote is not None or layout.root.exists()
        problem = "holds no manifest.json" if exists else "does not exist"
        if layout.lock.is_file() and layout.remote is None:
            problem += " yet; if a build or rebuild was interrupted, run the same command again"
            raise NotAnIndexError(f"{layout.name} is not an index: it {problem}")
        near = did_you_mean_path(layout.name, layout.manifest.name) if layout.remote is None else ""
        raise NotAnIndexError(f"{layout.name} is not an index: it {problem}; make one with 'nait-index build'{near}")
    try:
        return _parsed(json.loads(text), layout.name)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{layout.manifest} is damaged ({error}); restore it from a copy, or build the index again"
        ) from error


def load_finished(layout: Layout) -> Manifest:
    """Read the manifest of an index that has a version to read.

    :raises IncompleteIndexError: its first build was interrupted. :raises StoreError: as :func:`load_manifest`.
    """
    manifest = load_manifest(layout)
    if not manifest.history:
        raise interrupted(manifest, layout.name)
    return manifest


def interrupted(manifest: Manifest, name: str) -> IncompleteIndexError:
    """Return the error about an index that has no version yet, which names the command that finishes it."""
    origin = manifest.rebuilt_from
    work, command = ("build", "build") if origin is None else ("rebuild", shlex.join(["rebuild", origin.source, name]))
    return IncompleteIndexError(
        f"the {work} of {name} was interrupted; run the same 'nait-index {command}' command again to finish it"
    )


def recorded_rules(layout: Layout) -> RowRules:
    """Return the rules by which the last build of an index read rows; the default ones where there is no index.

    :raises StoreError: as :func:`load_manifest`.
    """
    return load_manifest(layout).rules if layout.read(layout.manifest) is not None else RowRules()


def _parsed(data: dict[str, Any], name: str) -> Manifest:
    version = data["schema_version"]
    if version != SCHEMA_VERSION:
        newer = version > SCHEMA_VERSION
        age, remedy = ("a newer", "upgrade") if newer else ("an older", "remove it and build it again")
        raise StoreError(f"{name} was written by {age} nait-index (schema {version}, not {SCHEMA_VERSION}); {remedy}")
    state = unseal(data)
    del state["schema_version"]
    digest = state.pop("fingerprint_digest")
    fingerprint = Fingerprint.of(_with_tuples(state.pop("fingerprint")))
    history = tuple(Version(**_with_tuples(version)) for version in state.pop("history"))
    origin = None if state.get("rebuilt_from") is None else RebuildOrigin(**state["rebuilt_from"])
    manifest = Manifest(fingerprint, history=history, **(_with_tuples(state) | {"rebuilt_from": origin}))
    if digest != fingerprint.digest:
        raise ValueError("its fingerprint does not match its digest")
    for record in (manifest, fingerprint, *history, *([] if origin is None else [origin])):
        check_types(record)
    _check_values(manifest)
    return manifest


def _with_tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the tuples that JSON turned into lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}


def _check_values(manifest: Manifest) -> None:
    """Check what :func:`check_types` does not: the mappings' values and the tables' versions."""
    model, fidelity = manifest.model, manifest.fidelity
    texts = ("name", "type", "site", "layers", "template", "dtype")
    wrong = [name for name in texts if not isinstance(model[name], str)]
    wrong += [name for name in ("sae", "gradient_dtype") if not isinstance(model[name], str | None)]
    if wrong or not isinstance(model["max_length"], int):
        raise TypeError(f"model is {dict(model)!r:.80}")
    if fidelity is not None and not all(
        isinstance(number, float | int) for method in ("probe", "nait") for number in fidelity[method]
    ):
        raise TypeError(f"fidelity is {dict(fidelity)!r:.80}")
    assert manifest.rules  # raises ValueError
    if any(version.table_version < 1 or version.capabilities_version < 0 for version in manifest.history):
        raise ValueError("a version of a table is out of range")
