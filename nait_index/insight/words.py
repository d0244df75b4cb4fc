"""Which words of a row move its score: the row encoded again, and its pooled activations split into its tokens.

Pooling is a sum over tokens: a token has a T-th of itself in the mean, and the drift is the last token less the first.
With x_t the share of token t, g the direction of the score, c the corpus mean, and a the factor by which the feature
scales each block (1/(‖x − c‖·√(2L)) of ``unit``, 1 otherwise):

    score = b + Σ_t Σ_f a_f g_f (x_t,f − c_t,f)

where the corpus mean c is taken off in equal parts of all tokens in the mean, and half of the first and half of the
last in the drift. The scaling is that of the row as it is: a word's part is what it adds here, not what the row would
lose without it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.insight.dense import DenseParts
from nait_index.signatures.features import POOLINGS, Feature


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or special token, of a row, and what it adds to the score."""

    text: str
    value: float


def direction_of(parts: DenseParts, pooled: np.ndarray, center: np.ndarray, divisor: float) -> np.ndarray:
    """Give a·g, what the activations of one row are multiplied with: (2, D) float64, 0 for a pooling that is not used.

    :param pooled: (2, D) the row's activations, which the feature may be scaled by; :param center: (2, D) the corpus
        mean; :param divisor: what the score is divided by.
    """
    direction = np.zeros(pooled.shape)
    total, layers = pooled.shape[1], len(parts.blocks) // len(POOLINGS[parts.feature])
    for block in parts.blocks:
        pooling = POOLINGS[parts.feature][block.where.start // total]
        neurons = slice(block.where.start % total, block.where.start % total + block.where.stop - block.where.start)
        off = pooled[pooling, neurons] - center[pooling, neurons]
        length = float(np.linalg.norm(off)) * np.sqrt(2 * layers) if parts.feature is Feature.UNIT else 1.0
        direction[pooling, neurons] = parts.direction[block.where] / (length or 1.0) / divisor
    return direction


def words_of(pieces: Sequence[str], added: np.ndarray, direction: np.ndarray, center: np.ndarray) -> tuple[Word, ...]:
    """Take the corpus mean off what tokens add, and join them to words.

    With the baseline, words add up to the score, but for what compression leaves out.

    :param pieces: the text of each of T tokens; :param added: (T,) Σ_f a_f g_f x_t,f.
    """
    mean, drift = np.einsum("pd,pd->p", direction, center.astype(np.float64))
    own = added - mean / len(added)
    own[0] -= drift / 2
    own[-1] -= drift / 2
    return join(pieces, own)


# Chinese and Japanese leave no spaces between words; there each token stands for itself.
_JOINED = re.compile(r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def join(pieces: Sequence[str], values: np.ndarray) -> tuple[Word, ...]:
    """Add tokens up to words: a token goes on with the word before it where neither leaves a space between them."""
    words: list[Word] = []
    for piece, value in zip(pieces, values.tolist(), strict=True):
        goes_on = words and (not piece or (_JOINED.match(piece) and _JOINED.match(words[-1].text[-1:])))
        if goes_on:
            words[-1] = Word(words[-1].text + piece, words[-1].value + value)
        else:
            words.append(Word(piece, value))
    return tuple(words)
