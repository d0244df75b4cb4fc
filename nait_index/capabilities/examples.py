"""Examples rendered and encoded exactly like the rows of the corpus."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import Advance, IndexEncoder
from nait_index.building.report import losses
from nait_index.building.settings import recorded_settings
from nait_index.building.without_model import open_encoder
from nait_index.capabilities.capability import Capability, digest_of, summarise
from nait_index.config import Device
from nait_index.corpus import RowTemplateError, plain_text, question_of
from nait_index.corpus.unread import UnreadFields, unread_sentences
from nait_index.corpus.words import terms
from nait_index.errors import CapabilityError, CorpusError
from nait_index.methods.base import Examples
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import word_columns
from nait_index.store.fitted import load_fitted
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.types import MarkedText, Rejected, Sample

logger = logging.getLogger(__name__)

EncodingProgress = Callable[[int, int], None]
"""Called with how many examples are encoded, and of how many."""


class ExampleEncoder:
    """Encodes examples like the rows of an index.

    :param encoder: of the index; with the gradients of examples, if the index has a view of gradients.
    :param state: identifies the model and the basis.
    """

    def __init__(self, encoder: IndexEncoder, compressor: Compressor, state: str) -> None:
        self._encoder = encoder
        self._template = encoder.template
        self._compressor = compressor
        self._state = state

    def encode(
        self,
        items: Iterable[Sample | Rejected],
        name: str,
        source: str,
        progress: EncodingProgress | None = None,
    ) -> Capability:
        """Make a capability from rows that were read.

        :param source: of the rows, for the message. :param progress: called after every batch; it may raise to stop.
        :raises CapabilityError: none of them can be used.
        """
        samples: list[Sample] = []
        texts: list[MarkedText] = []
        reasons: list[str] = []
        left_out: Counter[str] = Counter()
        unread = UnreadFields()
        for item in items:
            if isinstance(item, Rejected):
                reasons.append(f"{item.origin}: {item.reason}")
                continue
            try:
                read = self._template.read(item.parts)
            except RowTemplateError as error:
                reasons.append(f"{item.origin}: {error}")
                continue
            texts.append(read.marked)
            samples.append(item)
            left_out.update(read.left_out)
            unread.add(item)
        capability = self._encode(name, samples, texts, reasons, progress)
        if not capability.samples:
            reason = capability.reasons[0] if capability.reasons else "it is empty"
            raise CapabilityError(f"{source} holds no usable example ({reason})")
        sentences = (*losses(left_out, self._template.label, "example"), *unread_sentences(unread.by_file()))
        return replace(capability, losses=sentences)

    def encode_again(self, samples: Sequence[Sample]) -> Capability:
        """Make a nameless capability from samples that were encoded before.

        :raises CorpusError: one of them can no longer be used.
        """
        capability = self._encode("", samples, [self._template.read(sample.parts).marked for sample in samples], [])
        if capability.reasons:
            raise CorpusError(capability.reasons[0])
        return capability

    def split(
        self, sample: Sample, direction_of: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Split an inner product with a sample's pooled activations into the contributions of its T tokens.

        :param direction_of: returns the direction (2, D) for the pooled activations (2, D).
        :returns: the text of each token, (T,) what each contributes, and the direction.
        :raises CorpusError: the template cannot render it.
        """
        try:
            marked = self._template.read(sample.parts).marked
        except RowTemplateError as error:
            raise CorpusError(f"{sample.origin}: {error}") from error
        (tokens,) = self._encoder.tokenize([marked])
        encoder = self._encoder.model_encoder
        (pooled,) = encoder.encode([tokens])
        direction = direction_of(pooled.values[0])
        pieces = encoder.pieces(marked.text, tokens, add_special_tokens=self._template.adds_special_tokens)
        return pieces, encoder.split(tokens, direction), direction

    def _encode(
        self,
        name: str,
        samples: Sequence[Sample],
        texts: Sequence[MarkedText],
        reasons: Sequence[str],
        progress: EncodingProgress | None = None,
    ) -> Capability:
        encoder = self._encoder
        pooled = np.zeros((len(samples), 2, sum(encoder.widths.neurons)), dtype=np.float32)
        tokens = encoder.tokenize(texts)
        facts, columns = encoder.stage(tokens, pooled, _logged(tokens, progress))
        usable, pooled = facts.usable, pooled[facts.usable]
        columns = {column: values[usable] for column, values in columns.items()}
        columns |= encoder.compress(pooled, self._compressor)
        reasons = (*reasons, *(f"{samples[i].origin}: {reason}" for i, reason in facts.reasons.items()))
        kept = tuple(samples[i] for i in usable)
        plain = tuple(plain_text(sample.parts) for sample in kept)
        columns |= word_columns([terms(text) for text in plain], encoder.signatures, self._compressor)
        summary = summarise(pooled, encoder.widths.neurons) if kept else {}
        return Capability(
            name=name,
            examples=Examples(plain, summary, columns),
            truncated=int(facts.truncated[usable].sum()),
            rejected=len(reasons),
            made_for=self._state,
            digest=digest_of((sample.row for sample in kept), (str(sample.format) for sample in kept)),
            asked=tuple(question_of(sample, encoder.reading) for sample in kept),
            pooled=pooled,
            samples=kept,
            reasons=reasons,
        )


def load_example_encoder(
    layout: Layout, manifest: Manifest, compressor: Compressor, model: str | None, device: Device
) -> ExampleEncoder:
    """Load the model that an index was built with.

    :param model: its present path, if it was moved.
    :raises FingerprintError: it is another model. :raises ModelError: it cannot be loaded.
    """
    config, signatures = recorded_settings(manifest, model, device)
    encoder = open_encoder(config, signatures)
    models = manifest.model["name"], config.name
    manifest.fingerprint.require(encoder.fingerprint, f"the model at {config.name}", models)
    return example_encoder(layout, manifest, encoder, compressor)


def example_encoder(
    layout: Layout, manifest: Manifest, encoder: IndexEncoder, compressor: Compressor
) -> ExampleEncoder:
    """Return what encodes examples with the model of an index that is loaded already; it cannot encode rows then."""
    if encoder.has_gradients:
        encoder.load_gradients(for_examples=True)
        encoder.restore(load_fitted(layout, layout.warmup, manifest.warmup_hash))
    return ExampleEncoder(encoder, compressor, manifest.state)


def _logged(tokens: Sequence[Tokens], progress: EncodingProgress | None) -> Advance:
    """Return a callback that logs how many texts are encoded, and reports it."""
    total, done, started = len(tokens), 0, time.monotonic()
    logger.info("encoding %d texts, %d tokens", total, sum(len(text.ids) for text in tokens))

    def advance(rows: int, _: int) -> None:
        nonlocal done
        done += rows
        logger.debug("encoding texts: %d of %d", done, total)
        if progress is not None:
            progress(done, total)
        if done == total and rows:
            logger.info("%d texts encoded in %.1f s", total, time.monotonic() - started)

    return advance
