"""What an index's views need of the model, and nothing else: an encoder, and gradients for the view ``grad``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nait_index.activations.capture import Probes
from nait_index.activations.encoder import Encoder
from nait_index.config import ModelConfig, SignatureConfig, View
from nait_index.store.fitted import load_warmup
from nait_index.store.layout import Layout

_SAE_TOKENS = 8192

if TYPE_CHECKING:
    from nait_index.activations.gradients.encoder import GradientEncoder


def open_encoder(model: ModelConfig, signatures: SignatureConfig) -> Encoder:
    """Load the model, and the sparse autoencoder where the view ``sae`` is kept.

    :raises ModelError: one of them cannot be loaded.
    """
    sae = None
    if signatures.sae is not None:
        from nait_index.activations.sae.formats import load_sae

        sae = load_sae(signatures.sae)
    return Encoder(model, probes=Probes(View.TOPK in signatures.views, hidden=View.HIDDEN in signatures.views, sae=sae))


def measure_sae(encoder: Encoder, texts: Sequence[str], add_special_tokens: bool) -> tuple[Encoder, float | None]:
    """Measure how much of a sample of activations the sparse autoencoder leaves unexplained.

    :returns: an encoder in place of the given one, whose hooks had to go; and Σ‖h − ĥ‖² / Σ‖h − mean‖² over at most
        8,192 tokens of the texts, ``None`` where the index has no autoencoder.
    """
    sae = encoder.probes.sae
    if sae is None:
        return encoder, None
    from nait_index.activations.sae.sites import site_module
    from nait_index.activations.sae.tokens import collect_tokens
    from nait_index.activations.sae.training import unexplained_share

    path = site_module(encoder.sites, sae.site, encoder.model.module)
    tokens = collect_tokens(encoder, texts, path, _SAE_TOKENS, seed=0, add_special_tokens=add_special_tokens)
    return Encoder(encoder.config, encoder.model, encoder.probes), unexplained_share(sae, tokens, 512)


def open_gradients(model: ModelConfig, signatures: SignatureConfig) -> "GradientEncoder | None":
    """Load the model with its head and adapters, where the view ``grad`` is kept; not warmed up yet.

    :raises ModelError: it is not a causal language model. :raises NaitError: PEFT is not installed.
    """
    if View.GRAD not in signatures.views:
        return None
    from nait_index.activations.gradients.adapters import GradientSettings
    from nait_index.activations.gradients.encoder import GradientEncoder

    model = model if model.gradient_dtype is None else replace(model, dtype=model.gradient_dtype)
    return GradientEncoder(model, GradientSettings(width=signatures.grad_dim, seed=signatures.seed))


def restore_gradients(gradients: "GradientEncoder", layout: Layout, expected_hash: str | None) -> None:
    """Put the adapters where the warm-up of an index left them.

    :raises StoreError: the file is missing or is not the one the index was built with.
    """
    from nait_index.activations.gradients.warmup import warmup_from_bytes

    gradients.restore(warmup_from_bytes(load_warmup(layout, expected_hash)))
