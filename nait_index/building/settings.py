"""The settings of an index: its fingerprint, the record of its model, and both read back as configurations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nait_index.activations.encoder import Encoder
from nait_index.config import Device, ModelConfig, Precision, SignatureConfig
from nait_index.corpus import Template
from nait_index.errors import StoreError
from nait_index.store.manifest import Fingerprint, Manifest


def fingerprint_of(encoder: Encoder, template: Template, signatures: SignatureConfig) -> Fingerprint:
    """Collect everything that changes a number."""
    model, sae = encoder.model, encoder.probes.sae
    return Fingerprint(
        weights=model.weights_hash,
        model_config=model.config_hash,
        tokenizer=model.tokenizer_hash,
        template=template.content_hash,
        site=encoder.config.site,
        layers=encoder.layers,
        widths=encoder.widths,
        max_length=encoder.max_length,
        dtype=_dtype_name(encoder),
        signatures=replace(signatures, sae=None if sae is None else sae.content_hash),
    )


def model_record(encoder: Encoder, signatures: SignatureConfig) -> dict[str, Any]:
    """Collect what is needed to load the same model in the same way again."""
    config = encoder.config
    return {
        "name": config.name,
        "type": encoder.model.model_type,
        "site": config.site,
        "layers": config.layers,
        "template": config.template,
        "max_length": encoder.max_length,
        "dtype": _dtype_name(encoder),
        "gradient_dtype": None if config.gradient_dtype is None else str(config.gradient_dtype),
        # Unlike a model's name, this is always a folder: an absolute path works from any working directory.
        "sae": None if signatures.sae is None else str(Path(signatures.sae).resolve()),
    }


def _dtype_name(encoder: Encoder) -> str:
    """Return the model's dtype in the form that ``--dtype`` takes."""
    return str(encoder.model.dtype).removeprefix("torch.")


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
            max_length=record["max_length"],
            dtype=Precision(record["dtype"]),
            gradient_dtype=None if record["gradient_dtype"] is None else Precision(record["gradient_dtype"]),
            device=device,
        )
    except ValueError as error:
        raise StoreError(f"the manifest names unknown settings: {error}; build the index again") from error
    return config, replace(manifest.fingerprint.signatures, sae=record["sae"])
