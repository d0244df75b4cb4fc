"""Texts to pooled activations: tokenise, batch by length, run, pool."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nait_index.activations.architectures import Site, find_sites
from nait_index.activations.capture import Capture, Captured, Probes
from nait_index.activations.halving import run_halving
from nait_index.activations.host import HostCopy, late
from nait_index.activations.model import LoadedModel, load
from nait_index.activations.padding import pad
from nait_index.activations.pooling import TokenScores, TokenSpan
from nait_index.config import ModelConfig, PaddingSide
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

# No tokenizer makes tokens so long on average; text beyond this many characters a token is looked at only if it does.
_CHARACTERS_PER_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids (T,) int64 of one text, and whether the text went on beyond the longest input."""

    ids: np.ndarray
    truncated: bool


@dataclass(frozen=True, slots=True)
class Pooled:
    """Pooled activations of some texts, float32; ``None`` for what was not asked for.

    :param rows: (b,) which of the given texts; :param values: (b, 2, D) mean and drift of every neuron.
    :param impact: (b, D) mean size of every neuron's up-projection.
    :param hidden: (b, 2, H) mean and position-weighted mean of the last hidden states.
    :param codes: (b, F) mean codes of the sparse autoencoder.
    """

    rows: np.ndarray
    values: np.ndarray
    impact: np.ndarray | None = None
    hidden: np.ndarray | None = None
    codes: np.ndarray | None = None

    @property
    def finite(self) -> np.ndarray:
        """Tell which rows (b,) are finite throughout."""
        parts = (self.values, self.impact, self.hidden, self.codes)
        finite = [np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts if part is not None]
        return np.asarray(np.all(finite, axis=0))

    def take(self, which: np.ndarray) -> "Pooled":
        """Keep some rows."""
        parts = (self.values, self.impact, self.hidden, self.codes)
        return Pooled(self.rows[which], *(None if part is None else part[which] for part in parts))  # type: ignore[arg-type]


class _Underway:
    """A batch whose pooled activations are on their way to the host."""

    def __init__(self, rows: np.ndarray, captured: Captured) -> None:
        self._rows = rows
        self._copy = HostCopy([captured.neurons, captured.impact, captured.hidden, captured.codes])

    def wait(self) -> Pooled:
        return Pooled(self._rows, *self._copy.arrays())  # type: ignore[arg-type]  # neurons are always there


class Encoder:
    """A model with its hooks, ready to turn texts into pooled activations. Close it when done (context manager)."""

    def __init__(self, config: ModelConfig, model: LoadedModel | None = None, probes: Probes | None = None) -> None:
        self.config = config
        self.model = load(config) if model is None else model
        self.sites = _choose_layers(
            find_sites(self.model.body, self.model.model_type, None if config.site == "mlp" else config.site),
            config.layers,
        )
        self.max_length = min(config.max_length, self.model.positions or config.max_length)
        padding = self.model.tokenizer.pad_token_id
        # Any token does; the tokenizer's own may be one that the model has no embedding for.
        self._padding = 0 if padding is None or padding >= (self.model.vocabulary or np.inf) else padding
        # Keeps decoders from building a key-value cache that nothing reads.
        self._extras: dict[str, Any] = {"use_cache": False} if _accepts(self.model.body, "use_cache") else {}
        self._batch_tokens = config.batch_tokens or (65_536 if self.model.device.type == "cuda" else 2_048)
        self._stack = ExitStack()
        probes = probes or Probes()
        sae = None if probes.sae is None else probes.sae.to(self.model.device)
        self.probes = replace(probes, own_site=config.site != "mlp", sae=sae)
        self._capture = self._stack.enter_context(Capture(self.model.body, self.sites, self.probes).installed())

    def __enter__(self) -> "Encoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the hooks off the model."""
        self._stack.close()

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the captured layers, ascending."""
        return tuple(sorted({site.layer for site in self.sites}))

    @property
    def hidden_size(self) -> int:
        """Width H of the hidden states."""
        settings: Any = self.model.body.config
        return int(settings.get_text_config().hidden_size)

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each captured layer; they sum to D."""
        return tuple(sum(site.width for site in self.sites if site.layer == layer) for layer in self.layers)

    def tokenize(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[Tokens]:
        """Tokenise each text alone, cut at the end to the longest input, special tokens kept."""
        if not texts:
            return []
        cut = self.max_length * _CHARACTERS_PER_TOKEN
        beginnings = [text[:cut] for text in texts]
        encoded = self._ids(beginnings, add_special_tokens, truncate=False)
        tokens = []
        for text, beginning, ids in zip(texts, beginnings, encoded, strict=True):
            if len(beginning) < len(text) and len(ids) <= self.max_length:
                beginning = text
                ids = self._ids([text], add_special_tokens, truncate=False)[0]
            truncated = len(ids) > self.max_length
            if truncated:
                ids = self._ids([beginning], add_special_tokens, truncate=True)[0]
            tokens.append(Tokens(np.asarray(ids, dtype=np.int64), truncated))
        return tokens

    def _ids(self, texts: list[str], add_special_tokens: bool, *, truncate: bool) -> list[list[int]]:
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

    def encode(self, tokens: Sequence[Tokens]) -> Iterator[Pooled]:
        """Run every text once, similar lengths together, and give the pooled activations batch by batch.

        :raises ModelError: a single text does not fit into memory.
        """
        lengths = np.array([len(t.ids) for t in tokens])
        if lengths.size and lengths.min() < 1:
            raise ModelError(f"text {int(lengths.argmin())} has no tokens")
        check_known(tokens, self.model.vocabulary, self.config.name)

        def run(rows: np.ndarray) -> _Underway:
            return _Underway(rows, self._run([tokens[row].ids for row in rows]))

        def refuse(row: int, error: Exception) -> NoReturn:
            raise ModelError(f"out of memory on a single text of {lengths[row]} tokens; lower --max-length") from error

        batches = plan_batches(lengths, self._batch_tokens)
        begun = (batch for rows in batches for batch in run_halving(rows, run, refuse))
        yield from late(begun, 1 if self.model.device.type == "cuda" else 0)

    def split(self, tokens: Tokens, direction: np.ndarray) -> np.ndarray:
        """Run one text, and give what each token adds to the inner product of its pooled activations: (T,) float64.

        :param direction: (2, D) what mean and drift are multiplied with.
        """
        import torch

        with torch.inference_mode():
            inputs, mask = self._pad([tokens.ids])
            span = TokenScores(mask, torch.from_numpy(direction.astype(np.float64)).to(mask.device))
            self._capture.run(inputs | self._extras, span)
            return np.asarray(span.values.cpu().numpy())

    def pieces(self, text: str, tokens: Tokens, *, add_special_tokens: bool) -> list[str]:
        """Give the piece of the text that each of its tokens (T,) stands for, with the space before it.

        A special token stands for itself. Of several tokens that make one character, the first has it.
        """
        own = self.model.tokenizer
        names: list[str] = own.convert_ids_to_tokens(tokens.ids.tolist())
        if not own.is_fast:
            return names
        encoded = own(text, add_special_tokens=add_special_tokens, return_offsets_mapping=True, verbose=False)
        places = encoded["offset_mapping"]
        # A text that was cut may end in a special token that the whole one has elsewhere.
        special = set(own.all_special_ids)
        found, covered = [], 0
        for at, (token, name) in enumerate(zip(tokens.ids.tolist(), names, strict=True)):
            start, end = places[at] if at < len(places) else (0, 0)
            found.append(name if end <= start or token in special else text[covered:end])
            covered = max(covered, end)
        return found

    def _run(self, batch: list[np.ndarray]) -> Captured:
        import torch

        with torch.inference_mode():
            inputs, mask = self._pad(batch)
            return self._capture.run(inputs | self._extras, TokenSpan(mask))

    def _pad(self, batch: list[np.ndarray]) -> tuple[dict[str, "torch.Tensor"], "torch.Tensor"]:
        import torch

        ids, mask = pad(batch, self._padding, self.config.padding_side)
        device = self.model.device
        inputs = {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}
        if self.config.padding_side is PaddingSide.LEFT:
            positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0) + self.model.first_position
            if _accepts(self.model.body, "position_ids"):
                inputs["position_ids"] = positions
        return inputs, inputs["attention_mask"]


def check_known(tokens: Sequence[Tokens], vocabulary: int | None, name: str) -> None:
    """Refuse tokens that the model has no embedding for: on a GPU they would end the process.

    :param vocabulary: how many tokens it has an embedding for, where it says; :param name: of the model.
    :raises ModelError: there is such a token.
    """
    largest = max((int(own.ids.max(initial=0)) for own in tokens), default=0)
    if vocabulary is not None and largest >= vocabulary:
        raise ModelError(
            f"the tokenizer gives token {largest}, but the model knows {vocabulary} tokens only; "
            f"model and tokenizer of '{name}' do not belong together"
        )


def plan_batches(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Group texts of similar length into batches of at most ``budget`` tokens, padding counted; longest first.

    :param lengths: (n,) tokens of each text. A text longer than the budget is a batch of its own.
    :returns: (b,) row numbers of each batch; together every row once. Depends on the lengths alone.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _choose_layers(sites: tuple[Site, ...], wanted: str) -> tuple[Site, ...]:
    count = sites[-1].layer + 1
    if wanted == "all":
        return sites
    numbers = [count - 1] if wanted == "last" else [int(number) for number in wanted.split(",")]
    chosen = {number + count if number < 0 else number for number in numbers}
    outside = sorted(number for number in chosen if not 0 <= number < count)
    if outside:
        raise ModelError(f"--layers {wanted}: this model has layers 0 to {count - 1}, no layer {outside[0]}")
    return tuple(site for site in sites if site.layer in chosen)


def _accepts(body: Any, name: str) -> bool:  # noqa: ANN401
    import inspect

    return name in inspect.signature(body.forward).parameters
