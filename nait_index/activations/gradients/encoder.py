"""Texts to projected gradients, the features of LESS: Xia et al., ICML 2024, arXiv 2402.04333.

With g = ∇ℓ the gradient of a text's loss, the mean over the tokens of its answers, with respect to the adapters'
weights, and m, v Adam's moments at a checkpoint of the warm-up (section 3.1, and ``obtain_gradients_with_adam`` in the
authors' code):

    example   g
    row       Γ = m' / √(v' + ε)      m' = β1·m + (1 − β1)·g      v' = β2·v + (1 − β2)·g²

that is, a row's feature is the step that Adam would take on it. The paper also corrects the bias of both moments, the
code does not: the correction scales all rows alike, which unit length undoes. Both features are projected to d numbers
(section 4.1) and scaled to unit length, so that an inner product of features estimates the cosine of two gradients.

The features of several checkpoints stand one after the other, each times √η, the root of its share of the learning
rate: so an inner product of whole features is Σ η·cos, the sum over the checkpoints in the paper's equation 3.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.answer_losses import AnswerBatch, has_plain_head
from nait_index.activations.batches import AnswerTokens, check_known, library_errors, run_batches, token_budget
from nait_index.activations.encoder import Tokens
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.per_sample import per_sample_gradients, sample_losses
from nait_index.activations.gradients.projection import Projection
from nait_index.activations.gradients.warmup import BETAS, EPSILON, Checkpoint, Warmup, warm_up
from nait_index.activations.likelihood import try_predictions
from nait_index.activations.loaded import LoadedModel
from nait_index.activations.loading import load_model
from nait_index.config import ModelConfig
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

Feature = Callable[[str, "torch.Tensor"], "torch.Tensor"]
"""Maps the gradients (B, p) of one weight, given by its path, to what is projected."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """Projected gradients of some texts.

    :param rows: (b,) numbers of the texts; :param values: (b, C·d) float32 of C checkpoints, of unit length.
    :param reasons: by the number of a text, why it has none.
    """

    rows: np.ndarray
    values: np.ndarray
    reasons: Mapping[int, str]


class GradientEncoder:
    """A causal model with adapters, ready to turn texts into gradients.

    A text is given as tokens that say which of them belong to an answer: only these count in its loss.

    :param model: a causal model that is loaded already; the adapters stay in it.
    :raises ModelError: the model is not a causal language model. :raises NaitError: PEFT is not installed.
    """

    def __init__(self, config: ModelConfig, settings: GradientSettings, model: LoadedModel | None = None) -> None:
        self.settings = settings
        self.model = load_model(config, causal=True) if model is None else model
        device, vocabulary = self.model.device, self.model.vocabulary
        self._rule = try_predictions(
            self.model, token_budget(config.batch_tokens, device, on_gpu=8_192, vocabulary=vocabulary)
        )
        with library_errors(self._rule):
            self.adapters = Adapters(self.model.module, settings)
        self._name = config.name
        self._projection = Projection(settings.width, settings.seed, device)
        self._blocks = {name: number for number, name in enumerate(self.adapters.layers)}
        self._checkpoints: tuple[Checkpoint, ...] = ()
        self._words: torch.Tensor | None = None
        self._loaded: Checkpoint | None = None
        #: By weight, β1·m and β2·v + ε.
        self._moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def width(self) -> int:
        """Numbers of a feature, those of all checkpoints together."""
        return self.settings.width * self.settings.checkpoints

    def warm_up(self, tokens: Sequence[Tokens]) -> Warmup:
        """Train the adapters on some texts; from then on, rows are preconditioned by the resulting moments.

        :returns: what :meth:`restore` needs to reproduce the same gradients.
        :raises ModelError: no text can be trained on.
        """
        check_known((text.ids for text in tokens), self.model.vocabulary, self._name)
        texts = list(_with_answers(tokens)[0].values())
        words = self._frequent(texts)
        warmup = warm_up(self.model.module, self.adapters, texts, self.settings, self._rule, words)
        self.restore(warmup)
        return warmup

    def _frequent(self, texts: Sequence[AnswerTokens]) -> np.ndarray:
        """Return the most frequent words of some texts, in order; none where all of the vocabulary is to be used."""
        import torch

        none = np.zeros(0, dtype=np.int64)
        if not texts or (self.model.vocabulary or 0) <= self.settings.words:
            return none
        trial = torch.from_numpy(texts[0].ids[None]).to(self.model.device)
        if not has_plain_head(self.model.module, trial):
            return none
        counts = np.bincount(np.concatenate([text.ids for text in texts]))
        frequent = np.argsort(-counts, kind="stable")[: self.settings.words]
        return np.sort(frequent[counts[frequent] > 0]).astype(np.int64)

    def restore(self, warmup: Warmup) -> None:
        """Take the checkpoints of a warm-up, at which gradients are taken from now on.

        :raises ModelError: the warm-up is of another model or has other settings.
        """
        import torch

        self._checkpoints, self._loaded = warmup.checkpoints, None
        self._words = torch.from_numpy(warmup.words).to(self.model.device) if len(warmup.words) else None
        for checkpoint in reversed(warmup.checkpoints):
            self._load(checkpoint)

    def _load(self, checkpoint: Checkpoint) -> None:
        """Bring the adapters and Adam's moments to one checkpoint, unless they are there."""
        import torch

        if checkpoint is self._loaded:
            return
        self.adapters.load(checkpoint.weights)

        def flat(values: np.ndarray) -> "torch.Tensor":
            return torch.tensor(values, device=self.model.device).flatten()

        first, second = checkpoint.first, checkpoint.second
        self._moments = {
            name: (BETAS[0] * flat(first[name]), BETAS[1] * flat(second[name]) + EPSILON)
            for name in self.adapters.layers
        }
        self._loaded = checkpoint

    def rows(self, tokens: Sequence[Tokens]) -> Iterator[Gradients]:
        """Yield the features of corpus rows, batch by batch: Adam's steps.

        :raises ModelError: there was no warm-up, or a single text does not fit into memory.
        """
        return self._encode(tokens, self._adam_step)

    def examples(self, tokens: Sequence[Tokens]) -> Iterator[Gradients]:
        """Yield the features of examples, batch by batch, as :meth:`rows` does: plain gradients."""
        return self._encode(tokens, lambda _, gradients: gradients)

    def _adam_step(self, name: str, gradients: "torch.Tensor") -> "torch.Tensor":
        first, second = self._moments[name]
        step = second.addcmul(gradients, gradients, value=1 - BETAS[1]).rsqrt_()
        return step.mul_(first.add(gradients, alpha=1 - BETAS[0]))

    def _encode(self, tokens: Sequence[Tokens], feature: Feature) -> Iterator[Gradients]:
        if not self._checkpoints:
            raise ModelError("the adapters have not been warmed up; warm them up or restore a warm-up first")
        check_known((text.ids for text in tokens), self.model.vocabulary, self._name)
        texts, reasons = _with_answers(tokens)
        if reasons:
            yield Gradients(np.zeros(0, np.int64), np.zeros((0, self.width), np.float32), reasons)
        usable = np.fromiter(texts, np.int64, len(texts))
        lengths = np.array([len(text.ids) for text in texts.values()])

        def forward(batch: np.ndarray) -> Gradients:
            rows, parts = usable[batch], []
            for checkpoint in self._checkpoints:
                self._load(checkpoint)
                parts.append(self._project([texts[row] for row in rows], feature))
            return _unit(rows, np.stack(parts, axis=1), [checkpoint.share for checkpoint in self._checkpoints])

        yield from run_batches(lengths, self._rule, forward)

    def _project(self, texts: Sequence[AnswerTokens], feature: Feature) -> np.ndarray:
        """Run one batch forward and back, and project each layer's gradients as they arrive: (b, d) float32."""
        import torch

        model: Any = self.model.module
        batch = AnswerBatch.of(texts, self.model.device)
        out = torch.zeros(len(texts), self.settings.width, device=self.model.device)

        def take(name: str, gradients: "torch.Tensor") -> None:
            self._projection.add(self._blocks[name], feature(name, gradients.flatten(1)), out)

        with per_sample_gradients(self.adapters.source, self.adapters.layers, batch.ids.shape, take) as backward:
            backward(sample_losses(model, batch, self._words).sum())
        return out.cpu().numpy()


def _with_answers(tokens: Sequence[Tokens]) -> tuple[dict[int, AnswerTokens], dict[int, str]]:
    """Find the texts that have a loss, and the reasons why the others have none, both by number."""
    texts: dict[int, AnswerTokens] = {}
    reasons: dict[int, str] = {}
    for row, text in enumerate(tokens):
        trained = text.trained or AnswerTokens(text.ids, np.ones(len(text.ids), dtype=bool))
        counts = trained.counts & (np.arange(len(trained.ids)) > 0)  # nothing comes before the first, to predict it
        if counts.any():
            texts[row] = AnswerTokens(trained.ids, counts)
        elif len(trained.ids) < 2:
            reasons[row] = "its text has fewer than 2 tokens, so there is none to predict"
        else:
            reasons[row] = "its answer has no token to predict"
    return texts, reasons


def _unit(rows: np.ndarray, parts: np.ndarray, shares: Sequence[float]) -> Gradients:
    """Scale every part (b, C, d) to the root of its share, and report a reason where that is not possible."""
    lengths = np.linalg.norm(parts.astype(np.float64), axis=2)
    finite = np.isfinite(lengths).all(axis=1)
    usable = finite & (lengths > 0).all(axis=1)
    reasons = {
        int(row): f"the gradient of its loss is {'zero' if is_finite else 'not finite'}"
        for row, is_finite in zip(rows[~usable], finite[~usable], strict=True)
    }
    scales = np.sqrt(shares) / lengths[usable]
    values = (parts[usable] * scales[:, :, None]).astype(np.float32)
    return Gradients(rows[usable], values.reshape(len(values), parts.shape[1] * parts.shape[2]), reasons)
