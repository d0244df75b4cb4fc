"""Texts of different lengths as one rectangle of tokens."""

from collections.abc import Sequence

import numpy as np

from nait_index.config import PaddingSide


def pad(
    texts: Sequence[np.ndarray], token: int = 0, side: PaddingSide = PaddingSide.RIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """Fill texts (T_b,) of token ids up to the longest.

    :param token: what to fill with. :param side: where.
    :returns: ids (B, T) int64, and the mask (B, T) int64, 1 for a text's own token.
    """
    ids = np.full((len(texts), max(map(len, texts))), token, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, own in enumerate(texts):
        where = slice(0, len(own)) if side is PaddingSide.RIGHT else slice(-len(own), None)
        ids[row, where], mask[row, where] = own, 1
    return ids, mask
