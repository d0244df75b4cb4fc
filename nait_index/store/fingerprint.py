"""The fingerprint of an index: all settings that affect its numbers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nait_index.config import SignatureConfig, View
from nait_index.errors import FingerprintError, NaitError
from nait_index.store.sealed import check_types
from nait_index.types import Reading, ReadPart, Side


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All settings that affect numbers: indexes of one fingerprint hold the same numbers for the same row.

    :param signatures: the settings of the views, with the content hash of the sparse autoencoder for its folder.
    :param columns: the fields of known formats that columns of other names hold, such as ``output=reply``.
    :param gradient_dtype: of a view of gradients that are computed in another dtype than the rest.
    """

    weights: str
    model_config: str
    tokenizer: str
    template: str
    reasoning: str
    site: str
    layers: tuple[int, ...]
    widths: tuple[int, ...]
    max_length: int
    dtype: str
    signatures: SignatureConfig
    read: str = ReadPart.ALL
    side: str = Side.CHOSEN
    columns: str = ""
    gradient_dtype: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Fingerprint":
        """Restore a fingerprint from what :meth:`to_dict` returned.

        :raises TypeError: a field is missing, unknown or of another type. :raises ValueError: a value is not possible.
        """
        names = {setting.name for setting in fields(SignatureConfig)}
        settings = {name: value for name, value in record.items() if name in names}
        settings["views"] = tuple(View(name) for name in record["views"])
        try:
            signatures = SignatureConfig(**settings)
        except NaitError as error:
            raise ValueError(str(error)) from error
        check_types(signatures)
        return cls(signatures=signatures, **{name: value for name, value in record.items() if name not in names})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields in one dictionary, those of the signatures among them.

        Left out are the settings of views that the index has not, and readings that are the usual ones, so that older
        indexes keep their digests.
        """
        record, views = asdict(self), set(self.signatures.views)
        settings: dict[str, Any] = record.pop("signatures")
        unused = {name for name, users in _OF_VIEWS.items() if not users & views}
        record = {name: value for name, value in record.items() if _USUAL.get(name) != value}
        return record | {name: value for name, value in settings.items() if name not in unused}

    @property
    def digest(self) -> str:
        """16 hex digits: a hash of all fields."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def require(self, other: "Fingerprint", owner: str, models: tuple[str, str] = ("", "")) -> None:
        """Refuse another fingerprint.

        :param owner: what has the other one; :param models: names of this one's model and the other's, for the message.
        :raises FingerprintError: names every setting that differs, with both values.
        """
        mine, theirs = (dict(_USUAL) | mark.to_dict() for mark in (self, other))
        different = [name for name in mine if mine[name] != theirs.get(name)]
        if {"weights", "model_config"} & set(different):
            different = [name for name in different if name not in ("layers", "widths")]  # they follow from the model
        if different:
            values = {name: f"{_short(mine[name])} here, {_short(theirs.get(name))} there" for name in different}
            values |= {name: "not the same" for name in _HASHES if name in values}
            if models[0] != models[1] and different[0] in _HASHES:
                values[different[0]] = f"of {models[0]} here, of {models[1]} there"
            listed = ", ".join(f"{name} ({value})" for name, value in values.items())
            raise differing(listed, owner)


def differing(settings: str, owner: str) -> FingerprintError:
    """Return the error about settings that an index and something else do not share.

    :param settings: their names, with both values.
    """
    return FingerprintError(
        f"this index and {owner} differ in {settings}; use the settings the index was built with, or build another "
        "index"
    )


def recorded_reading(reading: Reading) -> dict[str, str]:
    """Return the fields of a fingerprint that say what is read of rows."""
    columns = ",".join(f"{field}={column}" for field, column in reading.columns)
    return {
        "reasoning": str(reading.reasoning),
        "read": str(reading.read),
        "side": str(reading.side),
        "columns": columns,
    }


_USUAL = {"read": ReadPart.ALL, "side": Side.CHOSEN, "columns": "", "gradient_dtype": ""}

_OF_VIEWS = {
    "words_dim": {View.WORDS},
    "grad_layers": {View.GRAD, View.LANDMARKS},
    "grad_checkpoints": {View.GRAD, View.LANDMARKS},
    "landmarks": {View.LANDMARKS},
}
"""Settings that only some views have."""

_HASHES = ("weights", "model_config", "tokenizer", "template")
"""The settings of which a fingerprint holds hashes, which would mean nothing to a reader."""


def _short(value: object) -> str:
    text = str(value) or "none"
    return text if len(text) <= 24 else text[:12] + "…"
