"""The model of a finished index, loaded again as it was, to encode examples like its rows."""

from nait_index.building.examples import ExampleEncoder
from nait_index.building.fingerprint import fingerprint_of
from nait_index.building.opening import open_encoder, open_gradients, restore_gradients
from nait_index.config import Device, ModelConfig, Precision, SignatureConfig, View
from nait_index.corpus import make_template
from nait_index.errors import StoreError
from nait_index.signatures.pca import Compressor
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest


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


def reopen(
    layout: Layout, manifest: Manifest, compressor: Compressor, model: str | None, device: Device
) -> ExampleEncoder:
    """Load it, and refuse any other.

    :param model: where it lies now, if not where it lay at the build.
    :raises FingerprintError: it is not the same model. :raises ModelError: it cannot be loaded.
    """
    config, signatures = recorded(manifest, model, device)
    encoder = open_encoder(config, signatures)
    template = make_template(config.template, encoder.model.tokenizer)
    manifest.fingerprint.require(fingerprint_of(encoder, template, signatures), f"the model at {config.name}")
    gradients = open_gradients(config, signatures)
    if gradients is not None:
        restore_gradients(gradients, layout, manifest.warmup_hash)
    made = None if gradients is None else gradients.examples
    return ExampleEncoder(encoder, template, signatures, compressor, made)
