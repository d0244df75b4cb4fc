"""The settings of a build: those that were given, else those of the index that is there, else the defaults."""

from collections.abc import Collection
from dataclasses import asdict, fields, replace

from nait_index.config import Device, ModelConfig, Precision, SignatureConfig, View
from nait_index.errors import NaitError, StoreError
from nait_index.store.fingerprint import differing
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest, interrupted, load_manifest
from nait_index.types import ReadPart

_OF_THE_RUN = {"device", "batch_tokens", "padding_side"}
"""Settings of a model that change no number, which an index does not record."""


def settle(
    layout: Layout, model: ModelConfig, signatures: SignatureConfig, given: Collection[str]
) -> tuple[ModelConfig, SignatureConfig]:
    """Complete the settings of a build by those that the index was built with, if there is one.

    Whether a model, template or length is another in effect is known when the model is loaded, and checked then.

    :param given: names of the settings that were given; the others are defaults.
    :raises FingerprintError: a view was given that the index was not built with.
    :raises IncompleteIndexError: what is there is to be finished by another command.
    :raises NaitError: a model was given that no view needs, or a view needs answers where none are read.
    """
    model, signatures = _settled(layout, model, signatures, given)
    check_settings(model, signatures, given)
    return model, signatures


def check_settings(model: ModelConfig, signatures: SignatureConfig, given: Collection[str]) -> None:
    """Refuse a model and views that do not go together.

    :param given: as for :func:`settle`.
    :raises NaitError: a model was given that no view needs, or a view needs answers where none are read.
    """
    if model.read is ReadPart.PROMPT and {View.GRAD, View.LANDMARKS} & set(signatures.views):
        raise NaitError(
            "the views grad and landmarks need answers, and --read prompt reads none; leave one of them out"
        )
    if "name" in given and not signatures.needs_model:
        raise NaitError(f"the view words needs no model; leave out --model {model.name}, or add views with --views")


def _settled(
    layout: Layout, model: ModelConfig, signatures: SignatureConfig, given: Collection[str]
) -> tuple[ModelConfig, SignatureConfig]:
    if layout.read(layout.manifest) is None:
        return model, signatures
    manifest = load_manifest(layout)
    if not manifest.history and manifest.rebuilt_from is not None:
        raise interrupted(manifest, layout.name)
    known_model, known_signatures = recorded_settings(manifest, None, model.device)
    for name in (setting.name for setting in fields(signatures) if setting.name in given):
        here, there = (_shown(getattr(settings, name)) for settings in (known_signatures, signatures))
        if here != there and (name != "sae" or None in (known_signatures.sae, signatures.sae)):
            raise differing(f"{name} ({here} here, {there} there)", "this build")
    taken = {setting.name for setting in fields(model)} & (_OF_THE_RUN | set(given))
    model = replace(known_model, **{name: getattr(model, name) for name in taken})
    return model, replace(known_signatures, sae=signatures.sae if "sae" in given else known_signatures.sae)


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else "full" if value is None else str(value)


def recorded_settings(manifest: Manifest, model: str | None, device: Device) -> tuple[ModelConfig, SignatureConfig]:
    """Return the settings that an index was built with.

    :param model: where its model is now, if it was moved since the build.
    :raises StoreError: the manifest names unknown settings.
    """
    record = manifest.model
    try:
        config = ModelConfig(
            name=model or record["name"],
            site=record["site"],
            layers=record["layers"],
            template=record["template"],
            **asdict(manifest.reading),
            max_length=record["max_length"],
            dtype=Precision(record["dtype"]),
            gradient_dtype=None if record["gradient_dtype"] is None else Precision(record["gradient_dtype"]),
            device=device,
        )
    except ValueError as error:
        raise StoreError(f"the manifest names unknown settings: {error}; build the index again") from error
    return config, replace(manifest.fingerprint.signatures, sae=record["sae"])
