"""What a model and its settings come down to: the fingerprint that an index carries."""

from pathlib import Path
from typing import Any

from nait_index.activations.encoder import Encoder
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.corpus import Template
from nait_index.store.manifest import Fingerprint


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
