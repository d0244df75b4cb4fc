"""An encoder that has no model, for indexes whose views need none."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import Advance, Columns, IndexEncoder, facts_of
from nait_index.building.shards import ShardFacts
from nait_index.config import NO_MODEL, ModelConfig, SignatureConfig
from nait_index.corpus import Template, TemplateName, make_template
from nait_index.corpus.words import words
from nait_index.signatures.fit import Arithmetic
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import Widths
from nait_index.store.fingerprint import Fingerprint, recorded_reading
from nait_index.types import MarkedText, Reading


def open_encoder(model: ModelConfig, signatures: SignatureConfig, template: Template | None = None) -> IndexEncoder:
    """Load the model of an index, or none if its views need none.

    :raises ModelError: it cannot be loaded.
    """
    if signatures.needs_model:
        return IndexEncoder(model, signatures, template)
    return TextEncoder(model, signatures)


class TextEncoder(IndexEncoder):
    """Counts the words of rows, and leaves what is made of them to the builder. A row's tokens are its words."""

    def __init__(self, model: ModelConfig, signatures: SignatureConfig) -> None:
        self.signatures = signatures
        self.template = make_template(TemplateName.TEXT)
        self.widths = Widths((), 0)
        self._reading = model.reading

    def close(self) -> None:
        """Release nothing."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that changes a number."""
        return Fingerprint(
            weights="",
            model_config="",
            tokenizer="",
            template=self.template.content_hash,
            **recorded_reading(self._reading),
            site="",
            layers=(),
            widths=(),
            max_length=self.max_length,
            dtype="",
            signatures=self.signatures,
        )

    @property
    def record(self) -> dict[str, Any]:
        """Everything that is needed to open the same encoder again."""
        defaults = ModelConfig(name=NO_MODEL, template=TemplateName.TEXT)
        return {
            "name": defaults.name,
            "type": NO_MODEL,
            "site": defaults.site,
            "layers": defaults.layers,
            "template": defaults.template,
            "max_length": defaults.max_length,
            "dtype": str(defaults.dtype),
            "batches": "",
            "gradient_dtype": None,
            "sae": None,
        }

    @property
    def reading(self) -> Reading:
        """What is read of rows."""
        return self._reading

    @property
    def max_length(self) -> int:
        """Tokens at which rows are cut; 0, since none is."""
        return 0

    @property
    def longest(self) -> None:
        """There is no limit."""

    @property
    def most_characters(self) -> None:
        """There is no limit."""

    def tokenize(self, texts: Sequence[MarkedText]) -> list[Tokens]:
        """Count the words of each text: at least one, since a text without words is a row all the same."""
        return [Tokens(np.zeros(max(1, len(words(marked.text))), np.int64), False) for marked in texts]

    def stage(self, tokens: Sequence[Tokens], activations: np.ndarray, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Return facts about the rows alone."""
        facts = facts_of(tokens)
        advance(len(tokens), int(facts.n_tokens.sum()))
        return facts, {}

    def encode(self, tokens: Sequence[Tokens], compressor: Compressor, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Return facts about the rows alone."""
        return self.stage(tokens, np.zeros(0), advance)

    def compress(self, pooled: np.ndarray, compressor: Compressor) -> Columns:
        """Return nothing: no column is made of activations."""
        return {}

    @property
    def arithmetic(self) -> Arithmetic:
        """Where and how a basis is fitted."""
        return Arithmetic()
