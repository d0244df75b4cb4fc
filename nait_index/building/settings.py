"""The settings of a build: the fingerprint and the model record made from them, and the settings read back."""

from pathlib import Path
from typing import Any

from nait_index.activations.encoder import Encoder
from nait_index.config import Device, ModelConfig, Precision, SignatureConfig, View
from nait_index.corpus import Template
from nait_index.errors import StoreError
from nait_index.store.manifest import Fingerprint, Manifest


def fingerprint_of(encoder: Encoder, template: Template, signatures: SignatureConfig) -> Fingerprint:
    """Collect everything that changes a number."""
    model = encoder.model
    return Fingerprint(
        weights=model.weights_hash,
        model_config=model.config_hash,
        tokenizer=model.tokenizer_hash,
        template=template.content_hash,
        site=encoder.config.site,
        layers=encoder.layers,
        widths=encoder.widths,
        max_length=encoder.max_length,
        dtype=dtype_name(encoder),
        views=tuple(signatures.views),
        pca_dim=signatures.pca_dim,
        fine_dim=signatures.fine_dim,
        topk=signatures.topk,
        sae=None if encoder.probes.sae is None else encoder.probes.sae.content_hash,
        sae_keep=signatures.sae_keep,
        grad_dim=signatures.grad_dim,
        reservoir=signatures.reservoir,
        seed=signatures.seed,
    )


def model_record(config: ModelConfig, signatures: SignatureConfig, encoder: Encoder) -> dict[str, Any]:
    """Give what must be known to load the same model in the same way again."""
    return {
        "name": config.name,
        "type": encoder.model.model_type,
        "site": config.site,
        "layers": config.layers,
        "template": config.template,
        "max_length": encoder.max_length,
        "dtype": dtype_name(encoder),
        "gradient_dtype": None if config.gradient_dtype is None else str(config.gradient_dtype),
        # Unlike a model's, its name is always that of a folder, so it is found from anywhere.
        "sae": None if signatures.sae is None else str(Path(signatures.sae).resolve()),
    }


def dtype_name(encoder: Encoder) -> str:
    """Give the model's dtype as ``--dtype`` takes it."""
    return str(encoder.model.dtype).removeprefix("torch.")


def recorded(manifest: Manifest, model: str | None, device: Device) -> tuple[ModelConfig, SignatureConfig]:
    """Give the settings that an index was built with.

    :param model: where its model lies now, if not where it lay at the build.
    :raises StoreError: the manifest names some that there are not.
    """
    try:
        return _recorded(manifest, model, device)
    except ValueError as error:
        raise StoreError(f"the manifest names settings that there are not: {error}; build the index again") from error


def _recorded(manifest: Manifest, model: str | None, device: Device) -> tuple[ModelConfig, SignatureConfig]:
    record, own = manifest.model, manifest.fingerprint
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
    signatures = SignatureConfig(
        views=tuple(View(view) for view in own.views),
        pca_dim=own.pca_dim,
        fine_dim=own.fine_dim,
        topk=own.topk,
        sae=record["sae"],
        sae_keep=own.sae_keep,
        grad_dim=own.grad_dim,
        reservoir=own.reservoir,
        seed=own.seed,
    )
    return config, signatures
