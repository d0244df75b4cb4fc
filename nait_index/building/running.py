"""The model of a build at work on one shard after another, in whichever process."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nait_index.activations.encoder import Encoder, Tokens
from nait_index.building.columns import Widths
from nait_index.building.opening import measure_sae, open_gradients
from nait_index.building.shards import ArraySink, ShardSink, SignatureSink, run_shard
from nait_index.building.staging import ShardFacts
from nait_index.config import ModelConfig, SignatureConfig
from nait_index.signatures.pca import Compressor

if TYPE_CHECKING:
    from nait_index.activations.gradients.encoder import GradientEncoder

Advance = Callable[[int, int], None]
"""Told of the rows and tokens that went through the model."""

Columns = dict[str, np.ndarray]
"""Signature columns (n, width), by name."""


class Runner:
    """Runs texts through a model, and where gradients are kept, through a second one with its head.

    :param encoder: the first; :param model: by what the second is loaded.
    :raises NaitError: the second cannot be loaded.
    """

    def __init__(
        self, encoder: Encoder, model: ModelConfig, signatures: SignatureConfig, *, add_special_tokens: bool
    ) -> None:
        self._encoder = encoder
        self._signatures = signatures
        self._widths = Widths.of(encoder)
        self._add_special_tokens = add_special_tokens
        self._gradients: GradientEncoder | None = open_gradients(model, signatures)

    def close(self) -> None:
        """Take the hooks off the first model, and let the second go."""
        self._encoder.close()
        if self._gradients is not None:
            self._gradients.close()

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise each text alone."""
        return self._encoder.tokenize(texts, add_special_tokens=self._add_special_tokens)

    def stage(self, tokens: Sequence[Tokens], activations: np.ndarray, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Run one shard and keep its activations whole.

        :param activations: (n, 2, D) float32, to be filled.
        :returns: with the columns that need no basis.
        """
        sink = ArraySink(activations, self._widths, self._signatures)
        return self._run(tokens, sink, advance), sink.columns

    def encode(self, tokens: Sequence[Tokens], compressor: Compressor, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Run one shard and keep its signatures: all columns."""
        sink = SignatureSink(len(tokens), self._widths, self._signatures, compressor)
        return self._run(tokens, sink, advance), sink.columns

    def measure_sae(self, texts: Sequence[str]) -> float | None:
        """Give the share of the texts' activations that the sparse autoencoder leaves unexplained, if there is one."""
        self._encoder, unexplained = measure_sae(self._encoder, texts, self._add_special_tokens)
        return unexplained

    def warm_up(self, texts: Sequence[str]) -> bytes:
        """Train the adapters of the second model on some texts, and give what :meth:`restore` takes."""
        from nait_index.activations.gradients.warmup import warmup_to_bytes

        assert self._gradients is not None
        return warmup_to_bytes(self._gradients.warm_up(self.tokenize(texts)))

    def restore(self, warmup: bytes) -> None:
        """Put the adapters where a warm-up left them."""
        from nait_index.activations.gradients.warmup import warmup_from_bytes

        assert self._gradients is not None
        self._gradients.restore(warmup_from_bytes(warmup))

    def _run(self, tokens: Sequence[Tokens], sink: ShardSink, advance: Advance) -> ShardFacts:
        gradients = None if self._gradients is None else self._gradients.rows
        return run_shard(self._encoder, tokens, sink, advance, gradients)
