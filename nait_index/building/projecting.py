"""Dense signatures made between two forward passes, with products that leave the model's threads alone."""

import numpy as np

from nait_index.activations.products import multiply
from nait_index.config import SignatureConfig, View
from nait_index.signatures.features import Feature, feature_blocks
from nait_index.signatures.pca import BASIS_OF, Compressor
from nait_index.store.samples import dense_column

_ROWS = 256


def project_columns(pooled: np.ndarray, config: SignatureConfig, compressor: Compressor) -> dict[str, np.ndarray]:
    """Make the columns that need the basis of pooled activations (n, 2, D), which may lie on disk."""
    if View.PCA not in config.views:
        return {}
    starts = range(0, max(len(pooled), 1), _ROWS)
    return {
        dense_column(feature): np.concatenate([_project(pooled[at : at + _ROWS], compressor, feature) for at in starts])
        for feature in Feature
    }


def _project(pooled: np.ndarray, compressor: Compressor, feature: Feature) -> np.ndarray:
    """Turn pooled activations (n, 2, D) into signatures (n, d), as the compressor does but for rounding."""
    if not compressor.bases:
        return compressor.compress(pooled, feature)
    basis = compressor.bases[BASIS_OF[feature]]
    signatures = np.zeros((len(pooled), compressor.dim(feature)), dtype=np.float32)
    start = 0
    for block in feature_blocks(pooled, compressor.center, feature, compressor.widths):
        end = start + block.shape[1]
        signatures += multiply(block, basis.components[:, start:end].T)
        start = end
    return (signatures / np.float32(basis.scale)).astype(compressor.dtype)
