"""Token ids of pieces of text, made apart and put together: no piece is ever looked for in a longer text."""

from typing import Any

import numpy as np


def piece(tokenizer: Any, text: str) -> np.ndarray:  # noqa: ANN401 - a Hugging Face tokenizer
    """Give the token ids (T,) int64 of a text alone, without markers around it."""
    ids = tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return np.asarray(ids, dtype=np.int64)


def begin_markers(tokenizer: Any) -> np.ndarray:  # noqa: ANN401
    """Give what the tokenizer puts before every text, such as ``<s>``; empty where it puts nothing there.

    What it puts after a text is left out: an answer does not begin after an end marker.
    """
    text = "a"
    bare = piece(tokenizer, text).tolist()
    marked = tokenizer(text, return_attention_mask=False)["input_ids"]
    starts = [at for at in range(len(marked) - len(bare) + 1) if marked[at : at + len(bare)] == bare]
    return np.asarray(marked[: starts[0]] if starts else [], dtype=np.int64)


def longest_input(wanted: int, positions: int | None) -> int:
    """Give the longest input in tokens: what was asked for, or what the model can read if that is less."""
    return wanted if positions is None else min(wanted, positions)
