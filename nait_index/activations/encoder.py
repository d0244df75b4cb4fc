"""Texts to pooled activations: tokenise, batch by length, run, pool."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nait_index.activations.batches import (
    AnswerTokens,
    BatchRule,
    check_known,
    finish_late,
    library_errors,
    run_batches,
    start_copies,
    token_budget,
)
from nait_index.activations.beginnings import tokenize_beginnings
from nait_index.activations.capture import Capture, Captured, Probes
from nait_index.activations.experts import check_experts
from nait_index.activations.families import Site, find_sites
from nait_index.activations.loaded import LoadedModel
from nait_index.activations.loading import load_model
from nait_index.activations.pooling import TokenScores, TokenSpan
from nait_index.activations.trial import TrialTexts, rounding_of, settle, trial_ids
from nait_index.config import ModelConfig, PaddingSide
from nait_index.errors import ModelError


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids (T,) int64 of one text, and whether the text was cut to the longest input.

    :param trained: what a training step reads of it; ``None`` where that is not known, and all of it counts.
    """

    ids: np.ndarray
    truncated: bool
    trained: AnswerTokens | None = None


@dataclass(frozen=True, slots=True)
class Pooled:
    """Pooled activations of some texts, float32; ``None`` for what no probe asks for.

    :param rows: (b,) numbers of the texts; :param values: (b, 2, D) mean and drift of every neuron.
    :param impact: (b, D) mean size of every neuron's up-projection.
    :param hidden: (b, 2, H) mean and position-weighted mean of the last hidden states.
    :param codes: (b, F) mean codes of the sparse autoencoder.
    """

    rows: np.ndarray
    values: np.ndarray
    impact: np.ndarray | None = None
    hidden: np.ndarray | None = None
    codes: np.ndarray | None = None


class Encoder:
    """A model with its hooks, ready to turn texts into pooled activations. Close it when done (context manager)."""

    def __init__(self, config: ModelConfig, model: LoadedModel | None = None, probes: Probes | None = None) -> None:
        self.config = config
        self.model = load_model(config) if model is None else model
        self.sites = _choose_layers(
            find_sites(self.model.module, self.model.model_type, None if config.site == "mlp" else config.site),
            config.layers,
        )
        self.max_length = min(config.max_length, self.model.positions or config.max_length)
        padding = self.model.tokenizer.pad_token_id
        # Any token will do, where the model has no embedding for the tokenizer's.
        self._padding = 0 if padding is None or padding >= (self.model.vocabulary or np.inf) else padding
        self.rule = self.model.batch_rule(token_budget(config.batch_tokens, self.model.device), config.padding_side)
        if experts := [site.path for site in self.sites if site.has_experts]:
            with library_errors(self.rule):
                check_experts(self.model.module, experts, self.model.inputs([np.arange(3, 15)]))
        self._stack = ExitStack()
        probes = probes or Probes()
        sae = None if probes.sae is None else probes.sae.to(self.model.device)
        self.probes = replace(probes, own_site=config.site != "mlp", sae=sae)
        self._capture = self._stack.enter_context(Capture(self.model.module, self.sites, self.probes).installed())
        try:
            self.rule = self._tried()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks from the model."""
        self._stack.close()

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the captured layers, in ascending order."""
        return tuple(sorted({site.layer for site in self.sites}))

    @property
    def hidden_size(self) -> int:
        """Width H of the hidden states."""
        settings: Any = self.model.module.config
        return int(settings.get_text_config().hidden_size)

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of neurons of each captured layer; they sum to D."""
        return tuple(sum(site.width for site in self.sites if site.layer == layer) for layer in self.layers)

    def tokenize(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Tokens]:
        """Tokenise each text separately, cut at the end to the longest input; special tokens are kept."""
        tokens = []
        whole = partial(self._ids, add_special_tokens=add_special_tokens, truncate=False)
        for text, (beginning, ids) in zip(texts, tokenize_beginnings(texts, self.max_length, whole), strict=True):
            is_cut = len(ids) > self.max_length
            if is_cut:
                ids = self._ids([beginning], add_special_tokens, truncate=True)[0]
            tokens.append(Tokens(np.asarray(ids, dtype=np.int64), is_cut or len(beginning) < len(text)))
        return tokens

    def _ids(self, texts: list[str], add_special_tokens: bool, *, truncate: bool) -> list[list[int]]:
        with library_errors(self.rule, "tokenizer"):
            encoded = self.model.tokenizer(
                texts,
                add_special_tokens=add_special_tokens,
                truncation=truncate,
                max_length=self.max_length if truncate else None,
                return_attention_mask=False,
                verbose=False,
            )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def run(self, tokens: Sequence[Tokens]) -> "Iterator[tuple[np.ndarray, Captured]]":
        """Run every text once, similar lengths together, and leave the results on the device.

        :returns: batch by batch the numbers of its texts (b,), and their pooled activations.
        :raises ModelError: a single text does not fit into memory.
        """
        lengths = np.array([len(text.ids) for text in tokens])
        if lengths.size and lengths.min() < 1:
            raise ModelError(f"text {int(lengths.argmin())} has no tokens")
        check_known((text.ids for text in tokens), self.model.vocabulary, self.config.name)
        with library_errors(self.rule):
            yield from run_batches(
                lengths, self.rule, lambda rows: (rows, self._forward([tokens[row].ids for row in rows]))
            )

    @property
    def running(self) -> int:
        """How many batches are started before the first is waited for, so that a GPU always has work."""
        return 1 if self.model.device.type == "cuda" else 0

    def encode(self, tokens: Sequence[Tokens]) -> Iterator[Pooled]:
        """Do as :meth:`run`, and copy the results to the host."""

        def start(rows: np.ndarray, captured: Captured) -> Callable[[], Pooled]:
            arrays = start_copies([captured.neurons, captured.impact, captured.hidden, captured.codes])
            return lambda: Pooled(rows, *arrays())  # type: ignore[arg-type]  # neurons are always captured

        with library_errors(self.rule):  # a GPU reports some errors only when its results are waited for
            yield from finish_late((start(*batch) for batch in self.run(tokens)), self.running)

    def split(self, tokens: Tokens, direction: np.ndarray) -> np.ndarray:
        """Run one text, and compute what each token adds to an inner product with its pooled activations: (T,) float64.

        :param direction: (2, D) the other vector: mean, then drift.
        """
        import torch

        with torch.inference_mode(), library_errors(self.rule):
            inputs = self.inputs([tokens.ids])
            factors = torch.from_numpy(direction.astype(np.float64)).to(self.model.device)
            span = TokenScores(inputs["attention_mask"], factors)
            self._capture.run(inputs, span)
            return np.asarray(span.values.cpu().numpy())

    def pieces(self, text: str, tokens: Tokens, *, add_special_tokens: bool) -> list[str]:
        """Return the piece of the text that each of its tokens (T,) covers, including the space before it.

        For a special token this is its name. Where several tokens make up one character, the first one covers it.
        """
        tokenizer = self.model.tokenizer
        names: list[str] = tokenizer.convert_ids_to_tokens(tokens.ids.tolist())
        if not tokenizer.is_fast:
            return names
        encoded = tokenizer(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True, verbose=False)
        offsets = encoded["offset_mapping"]
        # A text that was cut may end in a special token, which the whole text has elsewhere.
        special = set(tokenizer.all_special_ids)
        pieces, covered = [], 0
        for position, (token, name) in enumerate(zip(tokens.ids.tolist(), names, strict=True)):
            start, end = offsets[position] if position < len(offsets) else (0, 0)
            pieces.append(name if end <= start or token in special else text[covered:end])
            covered = max(covered, end)
        return pieces

    def why_not_finite(self, captured: Captured, position: int) -> str:
        """Describe where the activations of a text in a batch stop being finite, and what may help."""
        finite = np.isfinite(captured.neurons[position].cpu().numpy()).all(axis=0)
        ends = np.cumsum(self.widths)
        layers = [
            layer
            for layer, width, end in zip(self.layers, self.widths, ends, strict=True)
            if not finite[end - width : end].all()
        ]
        place = f"from layer {layers[0]} on" if layers else "after the neurons"
        remedy = "" if str(self.model.dtype) == "torch.float32" else "; try --dtype float32"
        return f"the model's activations for it are not finite, {place}{remedy}"

    def inputs(self, texts: Sequence[np.ndarray]) -> dict[str, Any]:
        """Pad texts (T_b,) of token ids as configured, and return the keyword arguments of the model, (B, T) each."""
        return self.model.inputs(texts, self._padding, self.rule.side)

    def _tried(self) -> BatchRule:
        """Try the model on short texts, and return the rule for its batches.

        :raises ModelError: the model cannot run them, or what it computes cannot be used.
        """
        import torch

        ids = trial_ids(self.model.tokenizer, self.rule)
        check_known([np.asarray(ids)], self.model.vocabulary, self.config.name)

        def run(texts: Sequence[np.ndarray], side: PaddingSide, token: int | None) -> dict[str, np.ndarray]:
            with torch.inference_mode():
                inputs = self.model.inputs(texts, self._padding if token is None else token, side)
                return self._parts(self._capture.run(inputs, TokenSpan(inputs["attention_mask"])))

        texts = TrialTexts.of(ids, self.max_length)
        rounding = rounding_of(self.model.dtype, self.model.device)
        return settle(run, texts, self.rule, rounding, mixture=self.model.is_mixture)

    def _parts(self, captured: Captured) -> dict[str, np.ndarray]:
        """Return what the first text of a batch gets in every layer, by name."""
        values = captured.neurons[0].cpu().numpy()
        ends = np.cumsum(self.widths)
        parts = {
            f"layer {layer}": values[:, end - width : end]
            for layer, width, end in zip(self.layers, self.widths, ends, strict=True)
        }
        if captured.hidden is not None:
            parts["the last hidden states"] = captured.hidden[0].cpu().numpy()
        return parts

    def _forward(self, texts: Sequence[np.ndarray]) -> Captured:
        import torch

        with torch.inference_mode():
            inputs = self.inputs(texts)
            return self._capture.run(inputs, TokenSpan(inputs["attention_mask"]))


def _choose_layers(sites: tuple[Site, ...], layers: str) -> tuple[Site, ...]:
    """Keep the sites of some layers: ``all``, ``last``, or numbers with commas; negative numbers count from the end."""
    count = sites[-1].layer + 1
    if layers == "all":
        return sites
    numbers = [count - 1] if layers == "last" else [int(number) for number in layers.split(",")]
    chosen = {number + count if number < 0 else number for number in numbers}
    outside = sorted(number for number in chosen if not 0 <= number < count)
    if outside:
        raise ModelError(f"--layers {layers}: this model has layers 0 to {count - 1}, no layer {outside[0]}")
    holders = sorted({site.layer for site in sites})
    if idle := sorted(chosen - set(holders)):
        raise ModelError(
            f"--layers {layers}: layer {idle[0]} of this model has no feed-forward block; those that have one: "
            + ", ".join(map(str, holders))
        )
    return tuple(site for site in sites if site.layer in chosen)
