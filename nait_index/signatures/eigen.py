"""The leading directions of a sample of rows, from the Gram matrix of their vectors."""

import numpy as np


def top_eigenpairs(gram: np.ndarray, dim: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest ``dim`` eigenvalues of a Gram matrix that are not rounding noise, descending, with vectors.

    The sign of every vector is fixed by its largest entry, so that a refit gives the same components.

    :param noise: what rounding may have added to any eigenvalue, as a share of the mean of all.
    """
    from scipy.linalg import eigh

    n = len(gram)
    values, vectors = eigh(gram, subset_by_index=[max(0, n - dim), n - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = max(float(values[0]), 1e-30)
    kept = values > max(largest * 1e-7, noise * float(np.trace(gram)) / n)
    kept[0] = True
    values, vectors = np.maximum(values[kept], 1e-30), vectors[:, kept]
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    return values, vectors * signs
