"""The stored capabilities of an index: making, storing and reading them, and carrying them to another index."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.capabilities.capability import Capability, digest_of, summarise
from nait_index.corpus import (
    Corpus,
    corpus_list,
    label_of,
    plain_text,
    question_of,
    read_examples,
    read_text,
    restore_sample,
    to_json,
)
from nait_index.corpus.formats import row_parts
from nait_index.corpus.rows import RowError, one_line
from nait_index.errors import CapabilityError, CapabilityExistsError, NaitError, StoreError, UnknownCapabilityError
from nait_index.files import check_writable, remove_abandoned
from nait_index.methods.base import Examples
from nait_index.signatures.views import example_types
from nait_index.spelling import did_you_mean, normal_name, parse_capability_name
from nait_index.store.capabilities import (
    CapabilityTable,
    StoredCapability,
    holds_capability,
    read_capability,
    write_capability,
)
from nait_index.store.layout import Layout
from nait_index.store.locks import write_lock
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, settled_capabilities
from nait_index.store.samples import SampleTable
from nait_index.types import Reading, Rejected, RowFormat, Sample

if TYPE_CHECKING:
    from nait_index.capabilities.examples import EncodingProgress, ExampleEncoder

logger = logging.getLogger(__name__)

_NAMED = 8  # capabilities that a message lists


class CapabilityLibrary:
    """The capabilities of one index.

    :param manifest: of the version that is read. :param encoder: loads what encodes examples; called when needed.
    :param changed: called with the new manifest after every change.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: Manifest,
        encoder: "Callable[[], ExampleEncoder]",
        changed: Callable[[Manifest], None],
    ) -> None:
        self.table = CapabilityTable(layout, manifest.head.capabilities_version)
        self._layout = layout
        self._manifest = manifest
        self._reading = manifest.reading
        self._encoder = encoder
        self._changed = changed
        self._read: dict[str, Capability] = {}  # kept, since they cache the queries that methods made of them

    # ---- from examples ----------------------------------------------------------------------------------------------

    def make(self, files: Corpus, name: str | None, row_format: RowFormat | None) -> Capability:
        """Make a capability from example files without storing it.

        :param name: the stem of the first file by default.
        """
        paths, name = corpus_list(files), None if name is None else parse_capability_name(name)
        # Before the model is loaded: a wrong path is reported at once.
        rows = read_examples(paths, row_format, self._reading, self._manifest.rules)
        return self._encoder().encode(rows, name or normal_name(Path(label_of(paths[0])).stem), label_of(paths[0]))

    def make_from(
        self,
        rows: str | Sequence[Mapping[str, Any]],
        name: str,
        row_format: RowFormat | None,
        limit: int | None,
        progress: "EncodingProgress | None",
    ) -> Capability:
        """Make a capability from examples in memory without storing it.

        :param limit: the most examples that are accepted.
        """
        name = parse_capability_name(name)
        text = rows if isinstance(rows, str) else to_json(list(rows))
        items = list(read_text(text, name, row_format, self._reading, self._manifest.rules))
        if limit is not None and len(items) > limit:
            raise CapabilityError(f"{name}: {len(items):,} examples are more than the {limit:,} allowed; give fewer")
        return self._encoder().encode(items, name, name, progress)

    def make_of(self, samples: Sequence[Sample], name: str) -> Capability:
        """Make a capability from samples, without storing it; of each, what the index reads of rows is encoded."""
        return self._encoder().encode([_as_read(sample, self._reading) for sample in samples], name, name)

    def add(self, name: str, files: Corpus, row_format: RowFormat | None, *, force: bool) -> Capability:
        """Make a capability from example files and store it, unless it is stored already with the same examples."""
        name, paths = parse_capability_name(name), corpus_list(files)
        rows = read_examples(paths, row_format, self._reading, self._manifest.rules)
        samples = [row for row in rows if isinstance(row, Sample)]
        if self._is_stored(name, samples, len(rows), force=force):
            return self.get(name)
        return self.store(self._encoder().encode(rows, name, label_of(paths[0])), force=force)

    def store(self, capability: Capability, name: str | None = None, *, force: bool) -> Capability:
        """Store a capability that was just made, without encoding its examples again.

        :param name: another name for it.
        """
        capability = replace(capability, name=parse_capability_name(capability.name if name is None else name))
        if not capability.samples or capability.made_for != self._manifest.state:
            raise CapabilityError(
                f"capability '{capability.name}' was not made from examples by this index in its present state; make "
                "it again from its examples, or carry it over with 'nait-index capability export' and 'import'"
            )
        read = len(capability.samples) + capability.rejected
        if self._is_stored(capability.name, capability.samples, read, force=force):
            return capability
        stored = StoredCapability(
            name=capability.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            fingerprint=self._manifest.fingerprint.digest,
            rows=tuple(sample.row for sample in capability.samples),
            formats=tuple(str(sample.format) for sample in capability.samples),
            truncated=capability.truncated,
            rejected=capability.rejected,
            arrays=_arrays(capability),
        )
        self._put(stored, force=force)
        return capability

    # ---- stored -----------------------------------------------------------------------------------------------------

    def resolve(self, capabilities: str | Capability | Sequence[str | Capability]) -> list[Capability]:
        """Return one or several capabilities, reading those that are given by name."""
        several = [capabilities] if isinstance(capabilities, str | Capability) else capabilities
        return [self.get(capability) if isinstance(capability, str) else capability for capability in several]

    def get(self, name: str) -> Capability:
        """Read a stored capability, once: later calls return the same object."""
        name = normal_name(name)
        if name not in self._read:
            stored = self._stored(name)
            if not self._is_usable(stored):
                raise CapabilityError(f"capability '{name}' was made for another index; add it again from its examples")
            samples, state = _samples(stored, self._reading), self._manifest.state
            texts = tuple(plain_text(sample.parts) for sample in samples)
            asked = tuple(question_of(sample, self._reading) for sample in samples)
            examples = Examples(texts, _arrays_of(stored, "summary"), _arrays_of(stored, "signatures"))
            digest = digest_of(stored.rows, stored.formats)
            self._read[name] = Capability(name, examples, stored.truncated, stored.rejected, state, digest, asked)
        return self._read[name]

    def rows(self, name: str) -> list[str]:
        """Return the examples of a stored capability, as JSON text, each on one line."""
        return [*map(one_line, self._stored(name).rows)]

    def samples(self, name: str) -> list[Sample]:
        """Return the examples of a stored capability as training reads them."""
        return _samples(self._stored(name), self._reading.for_training)

    def pooled(self, capability: Capability) -> np.ndarray:
        """Return the pooled activations of a capability's examples, encoding those of a stored one again."""
        if capability.pooled is None:
            capability = self._encoder().encode_again(_samples(self._stored(capability.name), self._reading))
            assert capability.pooled is not None
        return capability.pooled

    def remove(self, name: str) -> None:
        """Remove a stored capability; one that was removed before needs nothing."""
        name = normal_name(name)
        if name not in self.table.names() and name in self._manifest.removed_capabilities:
            logger.warning("capability '%s' was removed before; nothing was changed", name)
            return
        self._stored(name)
        self._change(f"capability '{name}' removed", lambda table: table.remove(name), removed=name)

    # ---- carried over -----------------------------------------------------------------------------------------------

    def export_file(self, name: str, path: Path, *, force: bool) -> None:
        """Write a stored capability to a file."""
        stored, basis = self._stored(name), self._manifest.basis
        if not force and holds_capability(path, stored, basis):
            logger.warning("%s is there already, with this capability; nothing was changed", path)
        else:
            check_writable(path, force=force)
            write_capability(path, stored, basis)
        remove_abandoned(path.parent)

    def import_file(self, path: Path, name: str | None, *, force: bool) -> Capability:
        """Store a capability from a file, encoding its examples again if they are from another basis."""
        stored, basis = read_capability(path)
        stored = replace(stored, name=parse_capability_name(stored.name if name is None else name))
        digest = self._manifest.fingerprint.digest
        if not self._is_usable(stored):
            raise CapabilityError(
                f"{path} is from an index of another fingerprint ({stored.fingerprint}, not {digest}): another "
                "model, template or length; add the examples themselves with 'nait-index capability add'"
            )
        try:
            samples = _samples(stored, self._reading)
        except (ValueError, NaitError) as error:
            raise CapabilityError(f"{path} holds examples that cannot be read ({error}); export it again") from error
        if self._is_stored(stored.name, samples, len(samples) + stored.rejected, force=force):
            return self.get(stored.name)
        if stored.fingerprint != digest or basis != self._manifest.basis or not self._fits(stored):
            stored = _encoded_again(stored, self._encoder(), self._manifest)
        self._put(stored, force=force)
        return self.get(stored.name)

    def _is_usable(self, stored: StoredCapability) -> bool:
        """Return whether a capability is of this index's fingerprint, or of that before landmarks were added."""
        return stored.fingerprint in (self._manifest.fingerprint.digest, *self._manifest.earlier_fingerprints)

    def _fits(self, stored: StoredCapability) -> bool:
        """Return whether the arrays from a file have the names and shapes that this index would give them."""
        widths = self._manifest.fingerprint.widths
        summary = summarise(np.ones((2, 2, sum(widths)), np.float32), widths)
        table = SampleTable(self._layout, self._manifest.table_version)
        columns = example_types(self._manifest.fingerprint.signatures, table.signature_types())
        shapes = {f"summary.{name}": array.shape for name, array in summary.items()}
        shapes |= {f"signatures.{name}": (len(stored.rows), width) for name, (_, width) in columns.items()}
        return {name: array.shape for name, array in stored.arrays.items()} == shapes

    # ---- changes ----------------------------------------------------------------------------------------------------

    def _put(self, stored: StoredCapability, *, force: bool) -> None:
        def put(table: CapabilityTable) -> None:
            # Checked again, since another process may have stored one of this name meanwhile.
            there = None if force else table.get(stored.name)
            if there is not None and there.fingerprint == stored.fingerprint:
                raise _taken(stored.name)
            table.put(stored)

        self._change(f"capability '{stored.name}' stored", put)

    def _change(self, description: str, change: Callable[[CapabilityTable], None], removed: str | None = None) -> None:
        """Change the table of capabilities, as one new version of the index.

        :param removed: name of the capability that goes.
        :raises StoreError: the settings of the index are others than when it was opened.
        """
        with write_lock(self._layout):
            manifest = settled_capabilities(self._layout)
            if manifest.state != self._manifest.state:
                raise StoreError(
                    f"the settings of {self._layout.name} have changed since it was opened; open it again, and repeat "
                    "this"
                )
            if removed is not None:
                names = dict.fromkeys([*manifest.removed_capabilities, removed])
                manifest = replace(manifest, removed_capabilities=tuple(names))
            table = CapabilityTable(self._layout)
            change(table)
            manifest = publish(self._layout, manifest, description, capabilities_version=table.version)
        self.table = CapabilityTable(self._layout, table.version)
        self._manifest = manifest
        self._read.clear()
        self._changed(manifest)

    def _stored(self, name: str) -> StoredCapability:
        name = normal_name(name)
        stored = self.table.get(name)
        if stored is None:
            names = self.table.names()
            more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            known = f"it has {', '.join(names[:_NAMED])}{more}" if names else "add one with 'nait-index capability add'"
            near, shown = did_you_mean(name[:200], names), f"{name[:80]}…" if len(name) > 80 else name
            raise UnknownCapabilityError(f"there is no capability '{shown}' in {self._layout.name}; {known}{near}")
        return stored

    def _is_stored(self, name: str, samples: Sequence[Sample], read: int, *, force: bool) -> bool:
        """Return whether a capability is stored already with these examples, as when a command is repeated.

        One that lacks the gradients of its examples, since it is from before landmarks were added, is to be replaced.

        :param read: how many rows there were, with those that cannot be used.
        :raises CapabilityExistsError: it is stored with other examples, and is not to be replaced.
        """
        stored = self.table.get(name)
        if stored is None:
            return False
        given = iter([(sample.row, str(sample.format)) for sample in samples])
        kept = list(zip(stored.rows, stored.formats, strict=True))
        if len(kept) + stored.rejected != read or not all(example in given for example in kept):  # in their order
            if force:
                return False
            raise _taken(name)
        if stored.fingerprint != self._manifest.fingerprint.digest:
            return False
        logger.warning("capability '%s' is stored already, with these examples; nothing was changed", name)
        return True


def adopt_all(old: CapabilityTable, new: CapabilityTable, encoder: "ExampleEncoder", manifest: Manifest) -> None:
    """Store all capabilities of one index in another, or in itself, encoding their examples again.

    The caller publishes them.

    :param manifest: of the index that they are stored in.
    """
    names = old.names()
    for number, name in enumerate(names, start=1):
        logger.info("encoding the capability %s again, %d of %d", name, number, len(names))
        stored = old.get(name)
        assert stored is not None
        new.put(_encoded_again(stored, encoder, manifest))


def _encoded_again(stored: StoredCapability, encoder: "ExampleEncoder", manifest: Manifest) -> StoredCapability:
    arrays = _arrays(encoder.encode_again(_samples(stored, manifest.reading)))
    return replace(stored, fingerprint=manifest.fingerprint.digest, arrays=arrays)


def _samples(stored: StoredCapability, reading: Reading) -> list[Sample]:
    file = f"capability {stored.name}"
    records = enumerate(zip(stored.rows, stored.formats, strict=True), start=1)
    return [
        restore_sample({"id": str(number), "row": row, "format": form, "file": file, "file_row": number}, reading)
        for number, (row, form) in records
    ]


def _as_read(sample: Sample, reading: Reading) -> Sample | Rejected:
    """Return a sample as an index reads rows."""
    try:
        return replace(sample, parts=row_parts(json.loads(sample.row), sample.format, reading))
    except RowError as error:
        return Rejected(sample.origin, str(error), sample.row)


def _taken(name: str) -> CapabilityExistsError:
    return CapabilityExistsError(
        f"a capability '{name}' is stored already, with other examples; choose another name, or use --force"
    )


def _arrays(capability: Capability) -> dict[str, np.ndarray]:
    groups = {"summary": capability.examples.summary, "signatures": capability.examples.signatures}
    return {f"{group}.{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def _arrays_of(stored: StoredCapability, group: str) -> dict[str, np.ndarray]:
    prefix = f"{group}."
    return {name.removeprefix(prefix): array for name, array in stored.arrays.items() if name.startswith(prefix)}
