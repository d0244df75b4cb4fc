"""Sparse signatures of a sparse autoencoder: the largest mean codes of every row.

Codes are never negative, and most are zero. Values are kept in float16, largest first: what exceeds 65,504 becomes
65,504, and what is below 3·10⁻⁸ becomes zero and is no code any more. They are not scaled, so that rows stay comparable
with one another; below 6·10⁻⁵ they are exact to 3·10⁻⁸ only, which no sum of codes that holds larger ones feels.
"""

import numpy as np

from nait_index.signatures.topk import number_dtype, strongest

_LIMIT = float(np.finfo(np.float16).max)


def code_dtype(latents: int) -> "np.dtype[np.unsignedinteger]":
    """Give the smallest dtype that numbers so many latents."""
    return number_dtype((latents,))


def top_codes(codes: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep the largest codes of every row, largest first, ties to the lower number.

    :param codes: (n, F) float32, none negative.
    :returns: numbers of the latents (n, min(keep, F)), unsigned, and their values, float16. A row with fewer codes that
        are not zero ends in number 0 with value 0.
    """
    # Adding zero turns −0, whose bits would sort above every number, into 0.
    own = np.ascontiguousarray(codes, dtype=np.float32) + np.float32(0)
    numbers = strongest(own, min(keep, own.shape[1]))
    values = np.minimum(np.take_along_axis(own, numbers, axis=1), _LIMIT).astype(np.float16)
    return np.where(values > 0, numbers, 0).astype(code_dtype(own.shape[1])), values
