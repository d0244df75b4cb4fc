"""The forward pass by itself: the same body, rows and batches as a build, no hooks, nothing kept."""

from collections.abc import Sequence

import numpy as np
import torch

from nait_index.activations.encoder import Tokens, plan_batches
from nait_index.activations.model import load
from nait_index.activations.padding import pad
from nait_index.config import ModelConfig

BATCH_TOKENS = 2048
"""What a build takes on a CPU."""


class Bare:
    """A transformer body."""

    def __init__(self, config: ModelConfig) -> None:
        self._body = load(config).body

    def run(self, tokens: Sequence[Tokens]) -> None:
        """Run every text once."""
        lengths = np.array([len(own.ids) for own in tokens])
        extras = {} if self._body.config.model_type == "bert" else {"use_cache": False}
        with torch.inference_mode():
            for rows in plan_batches(lengths, BATCH_TOKENS):
                ids, mask = pad([tokens[row].ids for row in rows])
                self._body(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), **extras)


def padding_share(lengths: np.ndarray) -> float:
    """Give the share of what runs through the model that is padding: all that packed batches could save."""
    run = sum(len(rows) * int(lengths[rows].max()) for rows in plan_batches(lengths, BATCH_TOKENS))
    return 1 - float(lengths.sum()) / run
