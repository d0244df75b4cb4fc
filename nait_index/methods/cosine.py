"""Cosines, as several methods take them: of rows scaled to unit length, rounded."""

import numpy as np


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Scale rows (n, d) to length 1, float32; a row of zeros stays zero."""
    values = values.astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0))


def rounded(cosines: np.ndarray) -> np.ndarray:
    """Round cosines to six digits, so that equal rows tie whatever block of a product they lay in."""
    return np.asarray(np.round(cosines, 6).clip(-1, 1))
