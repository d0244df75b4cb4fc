"""Example files to signatures, rendered and encoded exactly like the corpus."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nait_index.activations.device import multiply
from nait_index.activations.encoder import Tokens
from nait_index.building.encoder import IndexEncoder
from nait_index.building.settings import recorded_settings
from nait_index.config import Device, View
from nait_index.corpus import RowTemplateError
from nait_index.errors import CapabilityError, CorpusError
from nait_index.signatures.pca import Compressor
from nait_index.signatures.views import dense_columns
from nait_index.store.fitted import load_warmup
from nait_index.store.layout import Layout
from nait_index.store.manifest import Manifest
from nait_index.types import Rejected, Sample

logger = logging.getLogger(__name__)

EncodingProgress = Callable[[int, int], None]
"""Told how many examples are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded samples.

    :param samples: the usable ones, in their order.
    :param pooled: (n, 2, D) float32, mean and drift of every neuron.
    :param signatures: (n, width) each, in the columns of the table.
    :param truncated: how many were cut; :param rejected: the rows that could not be used, with reasons.
    """

    samples: tuple[Sample, ...]
    pooled: np.ndarray
    signatures: dict[str, np.ndarray]
    truncated: int
    rejected: tuple[Rejected, ...]


class ExampleEncoder:
    """Encodes examples like the rows of an index.

    :param encoder: of the index, with the gradients of examples where the index has those of its rows.
    """

    def __init__(self, encoder: IndexEncoder, compressor: Compressor) -> None:
        self._encoder = encoder
        self._template = encoder.template
        self._compressor = compressor

    def rows(self, items: Iterable[Sample | Rejected], name: str, progress: EncodingProgress | None = None) -> Encoded:
        """Encode rows that are being read.

        :param name: where they come from, for the message.
        :param progress: told after every batch how many are done, and of how many; it may raise, to stop.
        :raises CapabilityError: not one of them can be used.
        """
        samples: list[Sample] = []
        texts: list[str] = []
        rejected: list[Rejected] = []
        for item in items:
            if isinstance(item, Rejected):
                rejected.append(item)
                continue
            try:
                texts.append(self._template.render(item.parts))
                samples.append(item)
            except RowTemplateError as error:
                rejected.append(Rejected(item.origin, str(error), item.row))
        encoded = self._encode(samples, texts, rejected, progress)
        if not encoded.samples:
            first = encoded.rejected[0] if encoded.rejected else None
            reason = f"{first.origin}: {first.reason}" if first else "it is empty"
            raise CapabilityError(f"{name} holds no usable example ({reason})")
        return encoded

    def again(self, samples: Sequence[Sample]) -> Encoded:
        """Encode samples that were encoded before.

        :raises CorpusError: one of them cannot be used any more.
        """
        encoded = self._encode(samples, [self._template.render(sample.parts) for sample in samples], [])
        if encoded.rejected:
            raise CorpusError(f"{encoded.rejected[0].origin}: {encoded.rejected[0].reason}")
        return encoded

    def split(
        self, sample: Sample, direct: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Split an inner product with a sample's pooled activations into its T tokens.

        :param direct: gives the direction (2, D), of the pooled activations (2, D).
        :returns: the pieces of text that tokens stand for, (T,) what each adds, and the direction.
        :raises CorpusError: the template cannot render it.
        """
        try:
            text = self._template.render(sample.parts)
        except RowTemplateError as error:
            raise CorpusError(f"{sample.origin}: {error}") from error
        (tokens,) = self._encoder.tokenize([text])
        encoder = self._encoder.encoder
        (pooled,) = encoder.encode([tokens])
        direction = direct(pooled.values[0])
        pieces = encoder.pieces(text, tokens, add_special_tokens=self._template.adds_special_tokens)
        return pieces, encoder.split(tokens, direction), direction

    def _encode(
        self,
        samples: Sequence[Sample],
        texts: Sequence[str],
        rejected: Sequence[Rejected],
        progress: EncodingProgress | None = None,
    ) -> Encoded:
        pooled = np.zeros((len(samples), 2, sum(self._encoder.widths.neurons)), dtype=np.float32)
        tokens = self._encoder.tokenize(texts)
        facts, columns = self._encoder.stage(tokens, pooled, _Said(tokens, progress))
        unusable = [Rejected(samples[i].origin, reason, samples[i].row) for i, reason in facts.reasons.items()]
        usable = facts.usable
        columns = {name: values[usable] for name, values in columns.items()}
        columns |= dense_columns(pooled[usable], self._encoder.signatures, self._compressor, multiply)
        return Encoded(
            samples=tuple(samples[i] for i in usable),
            pooled=pooled[usable],
            signatures=columns,
            truncated=int(facts.truncated[usable].sum()),
            rejected=(*rejected, *unusable),
        )


def reopen(
    layout: Layout, manifest: Manifest, compressor: Compressor, model: str | None, device: Device
) -> ExampleEncoder:
    """Load the model of a finished index again, as it was, and refuse any other.

    :param model: where it lies now, if not where it lay at the build.
    :raises FingerprintError: it is not the same model. :raises ModelError: it cannot be loaded.
    """
    config, signatures = recorded_settings(manifest, model, device)
    encoder = IndexEncoder(config, signatures)
    manifest.fingerprint.require(encoder.fingerprint, f"the model at {config.name}")
    if View.GRAD in signatures.views:
        encoder.load_gradients(for_examples=True)
        encoder.restore(load_warmup(layout, manifest.warmup_hash))
    return ExampleEncoder(encoder, compressor)


class _Said:
    """Says how far the encoding of some texts is."""

    def __init__(self, tokens: Sequence[Tokens], progress: EncodingProgress | None = None) -> None:
        self._progress = progress
        self._texts, self._tokens = len(tokens), sum(len(own.ids) for own in tokens)
        self._done, self._started = 0, time.monotonic()
        logger.info("encoding %d texts, %d tokens", self._texts, self._tokens)

    def __call__(self, rows: int, tokens: int) -> None:
        self._done += rows
        logger.debug("encoding texts: %d of %d", self._done, self._texts)
        if self._progress is not None:
            self._progress(self._done, self._texts)
        if self._done == self._texts and rows:
            seconds = time.monotonic() - self._started
            logger.info("%d texts encoded in %.1f s", self._texts, seconds)
