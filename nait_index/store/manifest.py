"""The manifest: what an index is made of, and the fingerprint of everything that changes a number in it."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from nait_index.errors import FingerprintError, NotAnIndexError, StoreError
from nait_index.files import atomic_write
from nait_index.store.layout import Layout

SCHEMA_VERSION = 3
_LIBRARIES = ("nait-index", "torch", "transformers", "tokenizers", "numpy", "lancedb", "pylance")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that changes a number: two indexes of one fingerprint hold the same numbers for the same row."""

    weights: str
    model_config: str
    tokenizer: str
    template: str
    site: str
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    max_length: int
    dtype: str
    views: tuple[str, ...]
    pca_dim: int | None
    fine_dim: int
    topk: int
    sae: str | None
    sae_keep: int
    grad_dim: int
    reservoir: int
    seed: int

    @property
    def digest(self) -> str:
        """Give 16 hex digits that stand for all fields."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def require(self, other: "Fingerprint", what: str) -> None:
        """Refuse another fingerprint.

        :param what: the thing that has the other one, for the message.
        :raises FingerprintError: names every field that differs, with both values.
        """
        mine, theirs = asdict(self), asdict(other)
        different = [
            f"{name} ({_short(mine[name])} here, {_short(theirs[name])} there)"
            for name in mine
            if mine[name] != theirs[name]
        ]
        if different:
            raise FingerprintError(
                f"this index and {what} differ in {', '.join(different)}; use the settings the index was built with, "
                "or build another index"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says.

    :param table_version: the version of the table that readers see, which the last finished build left; ``None`` until
        the first build is finished, and an index without it is not opened.
    :param model: its name as given, the resolved settings, and its family.
    :param basis_hash: of the fitted compressor; :param warmup_hash: of the adapters of the view ``grad``.
    :param sae_unexplained: share of the activations' variance that the sparse autoencoder leaves unexplained.
    :param fidelity: how faithful the signatures are, as :mod:`nait_index.fidelity` measured it when the basis was
        fitted; ``None`` where they are exact.
    :param versions: libraries at the time of the first build: recorded, not compared, since an upgrade must not lock
        anyone out of an index.
    """

    fingerprint: Fingerprint
    model: Mapping[str, Any]
    sources: tuple[str, ...] = ()
    rows: int = 0
    truncated: int = 0
    tokens: int = 0
    next_position: int = 0
    table_version: int | None = None
    basis_hash: str | None = None
    warmup_hash: str | None = None
    sae_unexplained: float | None = None
    fidelity: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def basis(self) -> str:
        """Stands for the fitted parts, in which indexes of one fingerprint still differ."""
        return f"{self.basis_hash}/{self.warmup_hash}"


def library_versions() -> dict[str, str]:
    """Give the versions of what computes and stores the numbers."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def save_manifest(layout: Layout, manifest: Manifest) -> None:
    """Write the manifest, whole or not at all."""
    data = {"schema_version": SCHEMA_VERSION, "fingerprint_digest": manifest.fingerprint.digest} | asdict(manifest)
    with atomic_write(layout.manifest) as file:
        file.write(json.dumps(data, indent=2, ensure_ascii=False).encode() + b"\n")


def load_manifest(layout: Layout) -> Manifest:
    """Read the manifest.

    :raises NotAnIndexError: there is none. :raises StoreError: it is damaged, or of a newer version of this package.
    """
    if not layout.manifest.is_file():
        what = "does not exist" if not layout.root.exists() else "holds no manifest.json"
        raise NotAnIndexError(f"{layout.root} is not an index: it {what}; make one with 'nait-index build'")
    try:
        data = json.loads(layout.manifest.read_text(encoding="utf-8"))
        version = data.pop("schema_version")
        digest = data.pop("fingerprint_digest")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{layout.root} was written by a newer nait-index (schema {version}, not {SCHEMA_VERSION}); upgrade"
            )
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"{layout.root} was written by an older nait-index (schema {version}, not {SCHEMA_VERSION}); remove "
                "it and build it again"
            )
        raw = data.pop("fingerprint")
        fields: dict[str, Any] = {key: tuple(own) if isinstance(own, list) else own for key, own in raw.items()}
        fingerprint = Fingerprint(**fields)
        manifest = Manifest(fingerprint=fingerprint, **data | {"sources": tuple(data["sources"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{layout.manifest} is damaged ({error}); restore it from a copy or build the index again"
        ) from error
    if digest != fingerprint.digest:
        raise StoreError(
            f"{layout.manifest} was altered: its fingerprint does not match its fields; build the index again"
        )
    return manifest
