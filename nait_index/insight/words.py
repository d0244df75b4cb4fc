"""Which words of a row move its score: the row encoded again, and its pooled activations split into its tokens.

Pooling is a sum over tokens: each of T tokens contributes a T-th of its activations to the mean, and the drift is the
last token less the first. With x_t the contribution of token t, g the direction of the score, c the corpus mean, and a
the factor by which the feature scales each block (1/(‖x − c‖·√(2L)) of ``unit``, 1 otherwise):

    score = b + Σ_t Σ_f a_f g_f (x_t,f − c_t,f)

where the corpus mean c is subtracted in equal parts from all tokens in the mean, and half from the first and half from
the last in the drift. The scaling is that of the whole row: a word's part is what it adds here, not what the row would
lose without it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.capabilities.examples import ExampleEncoder
from nait_index.search.rows import IndexRows

DirectionOf = Callable[[np.ndarray], np.ndarray]

# Chinese and Japanese leave no spaces between words; there each token is a word of its own.
_JOINED = re.compile(r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or special token, of a row, and what it adds to the score."""

    text: str
    contribution: float


def words_of(rows: IndexRows, ordinal: int, direction_of: DirectionOf, encoder: ExampleEncoder) -> tuple[Word, ...]:
    """Encode a row again, and split its score among its words.

    The baseline and the words add up to the score, except for what compression leaves out.

    :param direction_of: makes the direction of the score from the row's pooled activations (2, D).
    """
    pieces, added, direction = encoder.split(rows.sample(ordinal), direction_of)
    mean, drift = np.einsum("pd,pd->p", direction, rows.center.astype(np.float64))
    values = added - mean / len(added)
    values[0] -= drift / 2
    values[-1] -= drift / 2
    return join(pieces, values)


def join(pieces: Sequence[str], values: np.ndarray) -> tuple[Word, ...]:
    """Join tokens to words: a token continues the word before it if neither leaves a space between them."""
    words: list[Word] = []
    for piece, value in zip(pieces, values.tolist(), strict=True):
        continues = words and (not piece or (_JOINED.match(piece) and _JOINED.match(words[-1].text[-1:])))
        if continues:
            words[-1] = Word(words[-1].text + piece, words[-1].contribution + value)
        else:
            words.append(Word(piece, value))
    return tuple(words)
