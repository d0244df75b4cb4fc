"""What a training step reads of a text: as many tokens as the model does, and those of the answer count in the loss.

The token that ends an answer is added where the template does not write it. A text that is too long is cut as in
training: the end of its prompt goes first, down to half the tokens, and then the end of the answer. Cut at its end,
like the text whose activations are read, it would often have no answer left.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nait_index.activations.batches import AnswerTokens, library_errors
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.types import MarkedText, Span

_CHARACTERS_PER_TOKEN = 64
"""More than any tokenizer's average."""


def mark_answers(
    encoder: Encoder, texts: Sequence[MarkedText], tokens: Sequence[Tokens], *, add_special_tokens: bool
) -> list[Tokens]:
    """Add to the tokens of some texts what a training step would read of them.

    Where a tokenizer does not report which characters a token covers, all of a text counts as an answer.
    """
    if not encoder.model.tokenizer.is_fast or not texts:
        return list(tokens)
    with library_errors(encoder.rule, "tokenizer"):
        trained = answer_tokens(
            encoder.model.tokenizer, texts, encoder.max_length, add_special_tokens=add_special_tokens
        )
    return [replace(text, trained=of_text) for text, of_text in zip(tokens, trained, strict=True)]


def answer_tokens(
    tokenizer: Any,  # noqa: ANN401 - a tokenizer of transformers
    texts: Sequence[MarkedText],
    longest: int,
    *,
    add_special_tokens: bool,
) -> list[AnswerTokens]:
    """Tokenise texts as a training step reads them, at most ``longest`` tokens each.

    :param tokenizer: a fast one, which reports which characters a token covers.
    """
    short = [_joined(marked, _CHARACTERS_PER_TOKEN * longest) for marked in texts]
    encoded = tokenizer(
        [marked.text for marked in short],
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    made = []
    for part, ids, offsets in zip(short, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        counts = _within(np.array(offsets, dtype=np.int64).reshape(-1, 2), part.answers)
        trained = AnswerTokens(np.array(ids, dtype=np.int64), counts)
        if part.answers[-1][1] >= len(part.text):
            trained = _with_end(trained, tokenizer.eos_token_id)
        kept = shortened(trained.counts, longest)
        is_cut = bool(len(kept)) and bool(kept[-1] < len(trained.ids) - 1)
        made.append(AnswerTokens(trained.ids[kept], trained.counts[kept], is_cut))
    return made


def shortened(counts: np.ndarray, longest: int) -> np.ndarray:
    """Return the positions of the tokens to keep of a text, at most ``longest``.

    :param counts: (T,) bool, which of its tokens belong to an answer.
    """
    start = int(counts.argmax()) if counts.any() else len(counts)
    room = max(longest - (len(counts) - start), longest // 2)
    positions = np.arange(len(counts))
    return positions[(positions < min(start, room)) | (positions >= start)][:longest]


def _with_end(trained: AnswerTokens, end: int | None) -> AnswerTokens:
    """Add the token with which the model ends an answer, unless the text ends in it or there is none."""
    if end is None or not len(trained.ids) or trained.ids[-1] == end:
        return trained
    return AnswerTokens(np.append(trained.ids, end), np.append(trained.counts, True))


def _joined(marked: MarkedText, most: int) -> MarkedText:
    """Leave out the middle of a very long text, before its first answer, and its end: they would not be read."""
    start = marked.answers[0][0]
    if len(marked.text) <= most:
        return marked
    gap = max(0, start - most)
    text = marked.text[: start - gap] + marked.text[start : start + most]
    return MarkedText(text, tuple((begin - gap, end - gap) for begin, end in marked.answers))


def _within(offsets: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    """Return which tokens lie in one of some spans, at least in part: (T,) bool.

    :param offsets: (T, 2) where each begins and ends; a token that the tokenizer added is nowhere.
    """
    begins, ends = offsets.T
    inside = np.zeros(len(offsets), dtype=bool)
    for start, end in spans:
        inside |= (ends > start) & (begins < end)
    return np.asarray(inside & (ends > begins))
