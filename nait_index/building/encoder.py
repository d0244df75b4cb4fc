"""The model of one index: shards of texts in, signature columns out.

The local runner, the workers of a Ray cluster and the encoding of examples all use this one class. A shard is run as a
whole, so its numbers do not depend on which process runs it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nait_index.activations.answer_tokens import mark_answers
from nait_index.activations.batches import finish_late, library_errors, start_copies
from nait_index.activations.beginnings import most_characters
from nait_index.activations.capture import Captured, Probes
from nait_index.activations.device import cpu_multiplies_bfloat16, settled_precision
from nait_index.activations.encoder import Encoder, Tokens
from nait_index.activations.gradients.adapters import GradientSettings
from nait_index.activations.gradients.encoder import GradientEncoder, Gradients
from nait_index.activations.gradients.warmup import warmup_from_bytes, warmup_to_bytes
from nait_index.activations.sae.formats import load_sae
from nait_index.activations.sae.sites import site_module
from nait_index.activations.sae.tokens import collect_tokens
from nait_index.activations.sae.training import unexplained_share
from nait_index.building.shards import ShardFacts
from nait_index.config import Device, ModelConfig, Precision, SignatureConfig, View
from nait_index.corpus import Template, make_template
from nait_index.errors import NaitError
from nait_index.signatures.fit import Arithmetic
from nait_index.signatures.pca import MANY_NEURONS, Compressor
from nait_index.signatures.projection import Projector
from nait_index.signatures.views import (
    GRADIENT,
    Widths,
    column_types,
    direct_columns,
    empty_columns,
    gradient_column,
)
from nait_index.store.fingerprint import Fingerprint, recorded_reading
from nait_index.types import MarkedText, Reading

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Advance = Callable[[int, int], None]
"""Receives the number of rows and of tokens that have just been through the model."""

Columns = dict[str, np.ndarray]
"""Signature columns (n, width), by name."""

MakeColumns = Callable[[Captured], "dict[str, torch.Tensor]"]
"""Makes columns of the pooled activations of b texts, (b, width) each, by name."""

_BLOCK_BYTES = 32 << 20
"""Bytes of pooled activations that are projected at a time: each product reads the whole basis."""

_SAE_TOKENS = 8192

_WHOLE = "activations"
"""Name of whole activations beside columns."""


class IndexEncoder:
    """A model with the text template and the views of one index; close it when done.

    :param template: used instead of the one that ``model`` names.
    :raises ModelError: the model or the sparse autoencoder cannot be loaded.
    """

    def __init__(self, model: ModelConfig, signatures: SignatureConfig, template: Template | None = None) -> None:
        self.signatures = signatures
        model = replace(model, gradient_dtype=gradient_precision(model, model.device))
        encoder = self.model_encoder = Encoder(model, probes=_probes(signatures))
        self.template = template or make_template(model.template_name, encoder.model.tokenizer)
        latents = 0 if encoder.probes.sae is None else encoder.probes.sae.latents
        self.widths = Widths(encoder.widths, encoder.hidden_size, latents)
        self._projected: tuple[Compressor, Projector] | None = None
        self._gradients: GradientEncoder | None = None
        self._gradients_of: Callable[[Sequence[Tokens]], Iterable[Gradients]] | None = None

    def close(self) -> None:
        """Remove the hooks from the model and release the model of the gradients."""
        self.model_encoder.close()
        self._gradients = self._gradients_of = self._projected = None

    # ---- settings -------------------------------------------------------------------------------------------------

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that changes a number."""
        encoder, sae = self.model_encoder, self.model_encoder.probes.sae
        return Fingerprint(
            weights=encoder.model.weights_hash,
            model_config=encoder.model.config_hash,
            tokenizer=encoder.model.tokenizer_hash,
            template=self.template.content_hash,
            **recorded_reading(encoder.config.reading),
            site=encoder.config.site,
            layers=encoder.layers,
            widths=encoder.widths,
            max_length=encoder.max_length,
            dtype=self._dtype_name,
            gradient_dtype=self._gradient_dtype_name,
            signatures=replace(self.signatures, sae=None if sae is None else sae.content_hash),
        )

    @property
    def record(self) -> dict[str, Any]:
        """Everything that is needed to load the same model in the same way again, see :func:`recorded_settings`."""
        config, sae = self.model_encoder.config, self.signatures.sae
        return {
            "name": config.name,
            "type": self.model_encoder.model.model_type,
            "site": config.site,
            "layers": config.layers,
            "template": config.template,
            "max_length": self.model_encoder.max_length,
            "dtype": self._dtype_name,
            "batches": str(self.model_encoder.rule.sharing),
            "gradient_dtype": None if config.gradient_dtype is None else str(config.gradient_dtype),
            # Unlike a model's name, this is always a folder: an absolute path works from any working directory.
            "sae": None if sae is None else str(Path(sae).resolve()),
        }

    @property
    def _dtype_name(self) -> str:
        """The model's dtype in the form that ``--dtype`` takes."""
        return str(self.model_encoder.model.dtype).removeprefix("torch.")

    @property
    def _gradient_dtype_name(self) -> str:
        """The dtype of gradients, if there are any and it is another one."""
        dtype = self.model_encoder.config.gradient_dtype
        return str(dtype) if self.has_gradients and dtype not in (None, self._dtype_name) else ""

    @property
    def reading(self) -> Reading:
        """What is read of rows."""
        return self.model_encoder.config.reading

    @property
    def max_length(self) -> int:
        """Tokens at which rows are cut."""
        return self.model_encoder.max_length

    @property
    def longest(self) -> int | None:
        """The most tokens that the model can read, if limited."""
        return self.model_encoder.model.positions

    # ---- gradients ------------------------------------------------------------------------------------------------

    def load_gradients(self, *, for_examples: bool = False) -> None:
        """Load the second model, with head and adapters, where the index has a view of gradients.

        It needs :meth:`warm_up` or :meth:`restore` before it is used.

        :param for_examples: compute the gradients of examples, which LESS defines differently from those of rows.
        :raises ModelError: it is not a causal language model. :raises NaitError: PEFT is not installed.
        """
        if not self.has_gradients:
            return
        model = self.model_encoder.config
        if model.device is Device.SPLIT:
            raise NaitError(
                "gradients need the model on one device: leave out --device split, or the views of gradients"
            )
        model = replace(model, dtype=model.gradient_dtype or model.dtype)
        signatures = self.signatures
        settings = GradientSettings(
            width=signatures.grad_dim,
            layers=signatures.grad_layers,
            checkpoints=signatures.grad_checkpoints,
            seed=signatures.seed,
        )
        self._gradients = GradientEncoder(model, settings)
        if for_examples:
            self._gradients_of = self._gradients.examples
        elif View.GRAD in signatures.views:
            self._gradients_of = self._gradients.rows

    @property
    def has_gradients(self) -> bool:
        """Whether the index needs the second model."""
        return bool({View.GRAD, View.LANDMARKS} & set(self.signatures.views))

    def warm_up(self, texts: Sequence[MarkedText]) -> bytes:
        """Train the adapters on some texts, and return what :meth:`restore` takes."""
        assert self._gradients is not None
        logger.info("warming up the gradients on %d texts", len(texts))
        return warmup_to_bytes(self._gradients.warm_up(self.tokenize(texts)))

    def landmarks(self, texts: Sequence[MarkedText], warmup: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Take the gradients of some rows, as steps of Adam: their numbers (m,) and features (m, width) float16."""
        assert self._gradients is not None
        self.restore(warmup)
        logger.info("taking the gradients of %d landmarks", len(texts))
        batches = []
        for batch in self._gradients.rows(self.tokenize(texts)):
            batches.append(replace(batch, values=batch.values.astype(np.float16)))
            logger.debug("gradients of landmarks: %d of %d", sum(len(done.rows) for done in batches), len(texts))
        rows = np.concatenate([batch.rows for batch in batches])
        order = np.argsort(rows)
        return rows[order], np.concatenate([batch.values for batch in batches])[order]

    def restore(self, warmup: bytes) -> None:
        """Return the adapters to the state in which a warm-up left them.

        :raises StoreError: the bytes are damaged.
        """
        assert self._gradients is not None
        self._gradients.restore(warmup_from_bytes(warmup))

    # ---- shards ---------------------------------------------------------------------------------------------------

    @property
    def most_characters(self) -> int | None:
        """Characters of a text that must be kept, so that it is tokenised as the whole text would be."""
        return most_characters(self.model_encoder.max_length) + 1  # one more shows that there are more

    def tokenize(self, texts: Sequence[MarkedText]) -> list[Tokens]:
        """Tokenise each text alone, and mark its answers where gradients need them."""
        encoder, special = self.model_encoder, self.template.adds_special_tokens
        tokens = encoder.tokenize([marked.text for marked in texts], add_special_tokens=special)
        return mark_answers(encoder, texts, tokens, add_special_tokens=special) if self.has_gradients else tokens

    def stage(self, tokens: Sequence[Tokens], activations: np.ndarray, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Run one shard and keep its activations whole, for a basis to be fitted on them.

        :param activations: (n, 2, D) float32, to be filled.
        :returns: with the columns that need no basis.
        """
        types = column_types(self.signatures, self.widths, None)
        if self._gradients_of is not None:
            types = {**types, **gradient_column(self.signatures)}
        facts, columns = facts_of(tokens), empty_columns(len(tokens), types, dense=False)
        self._run(tokens, facts, {**columns, _WHOLE: activations}, lambda captured: {_WHOLE: captured.neurons}, advance)
        self._run_gradients(tokens, facts, columns)
        return facts, columns

    def encode(self, tokens: Sequence[Tokens], compressor: Compressor, advance: Advance) -> tuple[ShardFacts, Columns]:
        """Run one shard and return all its signature columns."""
        types = column_types(self.signatures, self.widths, compressor.dims)
        facts, columns = facts_of(tokens), empty_columns(len(tokens), types, dense=True)
        projector = self._projector(compressor) if View.PCA in self.signatures.views else None

        def make(captured: Captured) -> "dict[str, torch.Tensor]":
            return {} if projector is None else projector.columns(captured.neurons)

        self._run(tokens, facts, columns, make, advance)
        self._run_gradients(tokens, facts, columns)
        return facts, columns

    def compress(self, pooled: np.ndarray, compressor: Compressor) -> Columns:
        """Make the columns that need the basis from pooled activations (n, 2, D), which may be on disk."""
        return self._projector(compressor).columns_of(pooled) if View.PCA in self.signatures.views else {}

    @property
    def arithmetic(self) -> Arithmetic:
        """Where and how a basis is fitted."""
        device, many = self.model_encoder.model.device, sum(self.widths.neurons) >= MANY_NEURONS
        return Arithmetic(device, rounded=many and device.type == Device.CPU and cpu_multiplies_bfloat16())

    def _projector(self, compressor: Compressor) -> Projector:
        """Return the compressor on the model's device, where it stays."""
        if self._projected is None or self._projected[0] is not compressor:
            self._projected = compressor, Projector(compressor, self.model_encoder.model.device)
        return self._projected[1]

    def _run(
        self, tokens: Sequence[Tokens], facts: ShardFacts, columns: Columns, make: MakeColumns, advance: Advance
    ) -> None:
        """Run the usable texts and fill columns, those that need no basis among them.

        Adds to ``facts`` the rows whose activations are not finite.

        :param make: makes the other columns of a batch, on the model's device.
        """
        usable, encoder = facts.usable, self.model_encoder

        def start(numbers: np.ndarray, captured: Captured) -> Callable[[], None]:
            rows = usable[numbers]
            with library_errors(encoder.rule):
                made = {**self._direct_columns(captured), **make(captured)}
                arrays = start_copies([captured.finite, *made.values()])

            def finish() -> None:
                with library_errors(encoder.rule):  # a GPU reports some errors only when its results are waited for
                    finite, *values = cast("list[np.ndarray]", arrays())
                for position in np.flatnonzero(~finite).tolist():
                    facts.reasons[int(rows[position])] = encoder.why_not_finite(captured, position)
                for name, column in zip(made, values, strict=True):
                    columns[name][rows[finite]] = column[finite]

            return finish

        def run() -> Iterator[tuple[np.ndarray, Captured]]:
            for numbers, captured in encoder.run([tokens[row] for row in usable]):
                yield numbers, captured
                advance(len(numbers), int(facts.n_tokens[usable[numbers]].sum()))

        for _ in finish_late((start(*batch) for batch in _joined(run())), encoder.running):
            pass
        advance(len(tokens) - len(usable), 0)

    def _direct_columns(self, captured: Captured) -> "dict[str, torch.Tensor]":
        mean, impact, hidden, codes = captured.neurons[:, 0], captured.impact, captured.hidden, captured.codes
        return direct_columns(mean, impact, hidden, codes, self.widths, self.signatures)

    def _run_gradients(self, tokens: Sequence[Tokens], facts: ShardFacts, columns: Columns) -> None:
        """Fill the column of gradients, where the index has one, and note rows whose gradients are not finite."""
        if self._gradients_of is None:
            return
        usable = facts.usable
        for gradients in self._gradients_of([tokens[row] for row in usable]):
            columns[GRADIENT][usable[gradients.rows]] = gradients.values
            if View.GRAD in self.signatures.views:
                facts.reasons.update((int(usable[row]), reason) for row, reason in gradients.reasons.items())

    def measure_sae(self, texts: Sequence[MarkedText]) -> float | None:
        """Measure how much of a sample of activations the sparse autoencoder leaves unexplained.

        :returns: Σ‖h − ĥ‖² / Σ‖h − mean‖² over at most 8,192 tokens of the texts; ``None`` without an autoencoder.
        """
        encoder, sae = self.model_encoder, self.model_encoder.probes.sae
        if sae is None:
            return None
        path = site_module(encoder.sites, sae.site, encoder.model.module)
        special = self.template.adds_special_tokens
        plain = [marked.text for marked in texts]
        tokens = collect_tokens(encoder, plain, path, _SAE_TOKENS, seed=0, add_special_tokens=special)
        # Collecting took the hooks off the model; a new encoder puts them back.
        self.model_encoder = Encoder(encoder.config, encoder.model, encoder.probes)
        return unexplained_share(sae, tokens, 512)


def gradient_precision(model: ModelConfig, device: Device) -> Precision:
    """Decide the precision of gradients on the device that computes them."""
    return model.gradient_dtype or settled_precision(model.dtype, device)


def _probes(signatures: SignatureConfig) -> Probes:
    """Collect what the views need from the model besides the neurons' activations."""
    sae = None
    if signatures.sae is not None:
        sae = load_sae(signatures.sae)
    return Probes(impact=View.TOPK in signatures.views, hidden=View.HIDDEN in signatures.views, sae=sae)


def facts_of(tokens: Sequence[Tokens]) -> ShardFacts:
    """Collect what tokenising alone says about the rows of a shard."""
    return ShardFacts(
        np.array([len(text.ids) for text in tokens], dtype=np.int32),
        np.array([text.truncated for text in tokens], dtype=bool),
        {row: "its text has no tokens" for row, text in enumerate(tokens) if len(text.ids) == 0},
    )


def _joined(batches: Iterable[tuple[np.ndarray, Captured]]) -> Iterator[tuple[np.ndarray, Captured]]:
    """Join batches until they are large enough to project."""
    waiting: list[tuple[np.ndarray, Captured]] = []

    def join() -> tuple[np.ndarray, Captured]:
        numbers, captured = zip(*waiting, strict=True)
        waiting.clear()
        return np.concatenate(numbers), Captured.joined(captured)

    for batch in batches:
        waiting.append(batch)
        if sum(captured.neurons.nbytes for _, captured in waiting) >= _BLOCK_BYTES:
            yield join()
    if waiting:
        yield join()
