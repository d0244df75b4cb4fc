"""An encoder that reads off the model what an index's views need, and nothing else."""

from nait_index.activations.capture import Probes
from nait_index.activations.encoder import Encoder
from nait_index.config import ModelConfig, SignatureConfig, View


def open_encoder(model: ModelConfig, signatures: SignatureConfig) -> Encoder:
    """Load the model, and the sparse autoencoder where the view ``sae`` is kept.

    :raises ModelError: one of them cannot be loaded.
    """
    sae = None
    if signatures.sae is not None:
        from nait_index.activations.sae import load_sae

        sae = load_sae(signatures.sae)
    return Encoder(model, probes=Probes(View.TOPK in signatures.views, hidden=View.HIDDEN in signatures.views, sae=sae))
