"""A causal model, and its input made from pieces of text.

Pieces are tokenized separately and then joined, so no piece ever has to be located in a longer text.
"""

from typing import Any

import numpy as np

from nait_index.activations.beginnings import tokenize_beginnings
from nait_index.activations.likelihood import Likelihood
from nait_index.activations.loading import load_model
from nait_index.config import ModelConfig


class CausalModel:
    """A causal model with its tokenizer.

    ``begin`` holds the token ids that precede every text, ``limit`` is the longest input in tokens: the configured one,
    or what the model can read if that is less.

    :raises ModelError: it is not a causal model.
    """

    def __init__(self, config: ModelConfig) -> None:
        loaded = load_model(config, causal=True)
        self.likelihood, self.parameters = Likelihood(loaded, config.batch_tokens), loaded.parameters
        self.tokenizer, self.begin = loaded.tokenizer, begin_markers(loaded.tokenizer)
        self.limit = min(config.max_length, loaded.positions or config.max_length)

    def piece(self, text: str) -> np.ndarray:
        """Return the token ids (T,) int64 of a text: all, or more than the model can read."""
        return piece(self.tokenizer, text, self.limit)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything about the model that affects scores."""
        loaded = self.likelihood.loaded
        return {
            "max_length": self.limit,
            "weights": loaded.weights_hash,
            "config": loaded.config_hash,
            "tokenizer": loaded.tokenizer_hash,
            "dtype": str(loaded.dtype).removeprefix("torch."),
        }


def piece(tokenizer: Any, text: str, limit: int | None = None) -> np.ndarray:  # noqa: ANN401
    """Return the token ids (T,) int64 of a text, without special tokens around it.

    :param limit: of a longer text, more tokens than this are not needed.
    """

    def ids_of(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)[
            "input_ids"
        ]
        return ids

    if limit is None:
        return np.asarray(ids_of([text])[0], dtype=np.int64)
    ((_, ids),) = tokenize_beginnings([text], limit, ids_of)
    return np.asarray(ids, dtype=np.int64)


def begin_markers(tokenizer: Any) -> np.ndarray:  # noqa: ANN401
    """Return the token ids that the tokenizer puts before every text, such as ``<s>``; often none.

    What it puts after a text is left out: no answer follows an end marker.
    """
    text = "a"
    bare = piece(tokenizer, text).tolist()
    marked = tokenizer(text, return_attention_mask=False)["input_ids"]
    starts = [start for start in range(len(marked) - len(bare) + 1) if marked[start : start + len(bare)] == bare]
    return np.asarray(marked[: starts[0]] if starts else [], dtype=np.int64)
