"""The feature library of an index: stored capabilities, and carrying them from one index to another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from nait_index.capabilities.capability import Capability, capability_of, summarise
from nait_index.capabilities.examples import Encoded, EncodingProgress, ExampleEncoder
from nait_index.corpus import asked_text, plain_text, read_corpus, restore_sample
from nait_index.errors import CapabilityError, NaitError
from nait_index.files import check_writable
from nait_index.methods.base import Examples
from nait_index.spelling import did_you_mean
from nait_index.store.capabilities import CapabilityTable, StoredCapability, read_capability, write_capability
from nait_index.store.layout import Layout, write_lock
from nait_index.store.manifest import Manifest
from nait_index.store.publish import publish, settled_capabilities
from nait_index.store.samples import SampleTable
from nait_index.types import Rejected, RowFormat, Sample

_NAMED = 8  # capabilities that a message lists


class CapabilityLibrary:
    """Stored capabilities of one index.

    :param manifest: of the version that is read. :param encoder: gives what encodes examples; called when needed.
    :param changed: told the manifest after every change.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: Manifest,
        encoder: Callable[[], ExampleEncoder],
        changed: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        self.table = CapabilityTable(layout, manifest.head.capabilities_version)
        self._layout = layout
        self._manifest = manifest
        self._encoder = encoder
        self._changed = changed
        self._read: dict[str, Capability] = {}  # what methods made of the examples stays with them

    def make(self, name: str, files: Sequence[str | Path], row_format: RowFormat | None) -> Capability:
        """Make a capability of example files without storing it."""
        rows = list(read_corpus(files, row_format))  # before the model is loaded: a wrong path is told at once
        return self._capability(name, self._encoder().rows(rows, str(files[0])))

    def make_of(
        self, name: str, rows: Sequence[Sample | Rejected], progress: EncodingProgress | None = None
    ) -> Capability:
        """Make a capability of rows that were read, without storing it."""
        return self._capability(name, self._encoder().rows(rows, name, progress))

    def add(self, name: str, files: Sequence[str | Path], row_format: RowFormat | None, *, force: bool) -> Capability:
        """Make a capability of example files and store it."""
        self._check_free(name, force)
        capability = self.make(name, files, row_format)
        self.keep(capability, force=force)
        return capability

    def keep(self, capability: Capability, *, force: bool) -> None:
        """Store a capability that was just made, as it is."""
        self._check_free(capability.name, force)
        if not capability.samples or capability.made_for != self._state:
            raise CapabilityError(
                f"capability '{capability.name}' was not made of examples by this index as it is now; make it anew of "
                "its examples, or carry it over with 'nait-index capability export' and 'import'"
            )
        self._put(self._to_store(capability), force=force)

    def get(self, name: str) -> Capability:
        """Read a stored capability; again, the same one."""
        if name not in self._read:
            self._read[name] = self._restored(self._stored(name))
        return self._read[name]

    def _restored(self, stored: StoredCapability) -> Capability:
        if stored.fingerprint != self._manifest.fingerprint.digest:
            raise CapabilityError(
                f"capability '{stored.name}' was made for another index; add it again from its examples"
            )
        samples = _samples(stored)
        texts = tuple(plain_text(sample.parts) for sample in samples)
        asked = tuple(asked_text(sample.parts) for sample in samples)
        examples = Examples(texts, _part(stored.arrays, "summary."), _part(stored.arrays, "signatures."))
        return Capability(stored.name, examples, stored.truncated, stored.rejected, self._state, asked)

    def rows(self, name: str) -> list[str]:
        """Give the examples of a stored capability, as JSON text."""
        return list(self._stored(name).rows)

    def pooled(self, capability: Capability) -> np.ndarray:
        """Give the pooled activations of a capability's examples, encoding stored ones again."""
        if capability.pooled is not None:
            return capability.pooled
        return self._encoder().again(_samples(self._stored(capability.name))).pooled

    def remove(self, name: str) -> None:
        """Remove a stored capability."""
        self._stored(name)
        self._change(f"capability '{name}' removed", lambda table: table.remove(name))

    def export(self, name: str, path: Path, *, force: bool) -> None:
        """Write a stored capability to a file."""
        stored = self._stored(name)
        check_writable(path, force=force)
        write_capability(path, stored, self._manifest.basis)

    def import_(self, path: Path, name: str | None, *, force: bool) -> Capability:
        """Store a capability from a file, encoding its examples again where they are of another basis."""
        stored, basis = read_capability(path)
        stored = replace(stored, name=stored.name if name is None else name)
        self._check_free(stored.name, force)
        own = self._manifest.fingerprint
        if stored.fingerprint != own.digest:
            raise CapabilityError(
                f"{path} is of an index of another fingerprint ({stored.fingerprint}, not {own.digest}): another "
                "model, template or length; add the examples themselves with 'nait-index capability add'"
            )
        try:
            _samples(stored)
        except (ValueError, NaitError) as error:
            raise CapabilityError(f"{path} holds examples that cannot be read ({error}); export it again") from error
        if basis == self._manifest.basis and self._fits(stored):
            self._put(stored, force=force)
        else:
            self.adopt(stored, force=force)
        return self.get(stored.name)

    def _fits(self, stored: StoredCapability) -> bool:
        """Tell whether arrays from a file are such as this index makes them of so many examples."""
        widths = self._manifest.fingerprint.widths
        summary = summarise(np.ones((2, 2, sum(widths)), np.float32), widths)
        found = {name: own.shape for name, own in _part(stored.arrays, "summary.").items()}
        signatures = _part(stored.arrays, "signatures.")
        columns = SampleTable(self._layout, self._manifest.table_version).signature_widths()
        expected = {name: (len(stored.rows), width) for name, width in columns.items()}
        return found == {name: own.shape for name, own in summary.items()} and expected == {
            name: own.shape for name, own in signatures.items()
        }

    def adopt(self, stored: StoredCapability, *, force: bool = True) -> None:
        """Store a capability of an index with another basis, its examples encoded again."""
        encoded = self._encoder().again(_samples(stored))
        self._put(replace(stored, arrays=_arrays(self._capability(stored.name, encoded))), force=force)

    @property
    def _state(self) -> str:
        """What the numbers of a capability depend on besides its examples."""
        return f"{self._manifest.fingerprint.digest}/{self._manifest.basis}"

    def _capability(self, name: str, encoded: Encoded) -> Capability:
        return capability_of(name, encoded, self._manifest.fingerprint.widths, self._state)

    def _put(self, stored: StoredCapability, *, force: bool) -> None:
        def put(table: CapabilityTable) -> None:
            # Again, since another process may have stored one of this name meanwhile.
            self._check_free(stored.name, force, table)
            table.put(stored)

        self._change(f"capability '{stored.name}' stored", put)

    def _change(self, what: str, change: Callable[[CapabilityTable], None]) -> None:
        """Change the table of capabilities, as one new version of the index."""
        with write_lock(self._layout):
            manifest = settled_capabilities(self._layout)
            table = CapabilityTable(self._layout)
            change(table)
            manifest = publish(self._layout, manifest, what, capabilities_version=table.version)
        self.table = CapabilityTable(self._layout, table.version)
        self._read.clear()
        self._changed(manifest)

    def _stored(self, name: str) -> StoredCapability:
        stored = self.table.get(name)
        if stored is None:
            raise self._unknown(name)
        return stored

    def _check_free(self, name: str, force: bool, table: CapabilityTable | None = None) -> None:
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise CapabilityError(f"{name!r} is no usable name for a capability; take letters, digits, - and _")
        if not force and name in (table or self.table).names():
            raise CapabilityError(f"a capability '{name}' is stored already; replace it with --force, or choose a name")

    def _to_store(self, capability: Capability) -> StoredCapability:
        return StoredCapability(
            name=capability.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            fingerprint=self._manifest.fingerprint.digest,
            rows=tuple(sample.row for sample in capability.samples),
            formats=tuple(str(sample.format) for sample in capability.samples),
            truncated=capability.truncated,
            rejected=capability.rejected,
            arrays=_arrays(capability),
        )

    def _unknown(self, name: str) -> CapabilityError:
        names = self.table.names()
        more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        known = f"it has {', '.join(names[:_NAMED])}{more}" if names else "add one with 'nait-index capability add'"
        near = did_you_mean(name, names)
        return CapabilityError(f"there is no capability '{name}' in {self._layout.name}; {known}{near}")


def _samples(stored: StoredCapability) -> list[Sample]:
    return [
        restore_sample(
            {"id": str(number), "row": row, "format": form, "file": f"capability {stored.name}", "file_row": number}
        )
        for number, (row, form) in enumerate(zip(stored.rows, stored.formats, strict=True), start=1)
    ]


def _arrays(capability: Capability) -> dict[str, np.ndarray]:
    parts = {"summary": capability.examples.summary, "signatures": capability.examples.signatures}
    return {f"{part}.{name}": own for part, arrays in parts.items() for name, own in arrays.items()}


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): own for name, own in arrays.items() if name.startswith(prefix)}
