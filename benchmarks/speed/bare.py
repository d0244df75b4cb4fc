"""The forward pass by itself: the same model, rows and batches as a build, no hooks, nothing kept."""

from collections.abc import Sequence

import numpy as np
import torch

from nait_index.activations.batches import plan_batches
from nait_index.activations.encoder import Tokens
from nait_index.activations.loading import load_model
from nait_index.config import ModelConfig

BATCH_TOKENS = 2048
"""What a build takes on a CPU."""


class Bare:
    """A bare transformer."""

    def __init__(self, config: ModelConfig) -> None:
        self._model = load_model(config)

    def run(self, tokens: Sequence[Tokens]) -> None:
        """Run every text once."""
        lengths = np.array([len(text.ids) for text in tokens])
        with torch.inference_mode():
            for rows in plan_batches(lengths, BATCH_TOKENS):
                self._model.module(**self._model.inputs([tokens[row].ids for row in rows]))


def padding_share(lengths: np.ndarray) -> float:
    """Give the share of what runs through the model that is padding: all that packed batches could save."""
    run = sum(len(rows) * int(lengths[rows].max()) for rows in plan_batches(lengths, BATCH_TOKENS))
    return 1 - float(lengths.sum()) / run
