"""A map of some rows: their signatures laid out in two dimensions, rows that are alike near one another."""

from dataclasses import dataclass

import numpy as np

from nait_index.errors import NaitError

SCANNED = 512
"""How much of a signature is read."""

WIDTH = 50
"""How many principal components of what was read the map is made of."""

_PERPLEXITY = 30
_ROUNDS = 500
_FEWEST = 12  # rows, below which there is nothing to lay out


@dataclass(frozen=True, slots=True)
class Layout:
    """Where rows lie on the map.

    :param places: (m, 2) float, between -1 and 1. :param method: how they were found, in words.
    """

    places: np.ndarray
    method: str


def lay_out(signatures: np.ndarray) -> Layout | None:
    """Lay rows out by t-SNE, always the same way; ``None`` where there are too few.

    :param signatures: (m, d).
    :raises NaitError: scikit-learn is not installed.
    """
    if len(signatures) < _FEWEST:
        return None
    require_sklearn()
    from sklearn.manifold import TSNE

    leading = _leading(signatures.astype(np.float32))
    if not leading.std(axis=0).any():
        return None
    perplexity = min(_PERPLEXITY, (len(leading) - 1) / 3)
    made = TSNE(
        init="pca" if leading.shape[1] > 1 else "random", perplexity=perplexity, max_iter=_ROUNDS, random_state=0
    )
    places = made.fit_transform(leading).astype(np.float64)
    places -= (places.max(axis=0) + places.min(axis=0)) / 2
    places /= max(np.abs(places).max(), 1e-12)
    return Layout(places, f"t-SNE (perplexity {perplexity:.0f}) of the {leading.shape[1]} leading components")


def require_sklearn() -> None:
    """Refuse to begin without scikit-learn.

    :raises NaitError: it is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise NaitError("a report needs scikit-learn: pip install 'nait-index[report]'") from None


def _leading(signatures: np.ndarray) -> np.ndarray:
    """Turn them so that the first coordinates hold most, and keep these."""
    centred = signatures - signatures.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred.astype(np.float64))
    order = np.argsort(-values)[:WIDTH]
    return np.asarray(centred @ vectors[:, order], np.float32)
