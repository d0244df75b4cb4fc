"""Texts to projected gradients, the features of LESS: Xia et al., ICML 2024, arXiv 2402.04333.

With g = ∇ℓ the gradient of a text's mean next-token loss with respect to the adapters' weights, and m, v Adam's moments
after the warm-up (section 3.1, and ``obtain_gradients_with_adam`` in the authors' code):

    example   g
    row       Γ = m' / √(v' + ε)      m' = β1·m + (1 − β1)·g      v' = β2·v + (1 − β2)·g²

that is, a row's feature is the step that Adam would take on it. The paper also corrects the bias of both moments, the
code does not: the correction scales all rows alike, which unit length undoes. Both features are projected to d numbers
(section 4.1) and scaled to unit length, so that an inner product of features estimates the cosine of two gradients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import Target, check_known, library_errors, run_batches, token_budget
from nait_index.activations.encoder import Tokens
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.per_sample import Batch, per_sample_gradients, sample_losses
from nait_index.activations.gradients.projection import Projection
from nait_index.activations.gradients.warmup import BETAS, EPSILON, Warmup, warm_up
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

    :param rows: (b,) numbers of the texts; :param values: (b, d) float32, of unit length.
    :param reasons: by the number of a text, why it has none.
    """

    rows: np.ndarray
    values: np.ndarray
    reasons: Mapping[int, str]


class GradientEncoder:
    """A causal model with adapters, ready to turn texts into gradients.

    A text is given as tokens, together with the first token that counts in its loss if that is not the second one:
    LESS only counts the completion, where the prompt is known.

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
        self._moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def warm_up(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Warmup:
        """Train the adapters on some texts; from then on, rows are preconditioned by the resulting moments.

        :returns: what :meth:`restore` needs to reproduce the same gradients.
        :raises ModelError: no text can be trained on.
        """
        check_known((text.ids for text in tokens), self.model.vocabulary, self._name)
        targets, _ = _targets(tokens, loss_from)
        warmup = warm_up(self.model.module, self.adapters, list(targets.values()), self.settings, self._rule)
        self.restore(warmup)
        return warmup

    def restore(self, warmup: Warmup) -> None:
        """Restore the state at the end of a warm-up.

        :raises ModelError: the warm-up is of another model or has other settings.
        """
        import torch

        self.adapters.load(warmup.weights)

        def flat(values: np.ndarray) -> "torch.Tensor":
            return torch.tensor(values, device=self.model.device).flatten()

        self._moments = {name: (flat(warmup.first[name]), flat(warmup.second[name])) for name in self.adapters.layers}

    def rows(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Iterator[Gradients]:
        """Yield the features of corpus rows, batch by batch: Adam's steps.

        :param loss_from: for every text, the position of the first token that counts.
        :raises ModelError: there was no warm-up, or a single text does not fit into memory.
        """
        return self._encode(tokens, loss_from, self._adam_step)

    def examples(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Iterator[Gradients]:
        """Yield the features of examples, batch by batch, as :meth:`rows` does: plain gradients."""
        return self._encode(tokens, loss_from, lambda _, gradients: gradients)

    def _adam_step(self, name: str, gradients: "torch.Tensor") -> "torch.Tensor":
        first, second = self._moments[name]
        first = BETAS[0] * first + (1 - BETAS[0]) * gradients
        second = BETAS[1] * second + (1 - BETAS[1]) * gradients.square()
        return first / (second + EPSILON).sqrt()

    def _encode(
        self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None, feature: Feature
    ) -> Iterator[Gradients]:
        if not self._moments:
            raise ModelError("the adapters have not been warmed up; warm them up or restore a warm-up first")
        check_known((text.ids for text in tokens), self.model.vocabulary, self._name)
        targets, reasons = _targets(tokens, loss_from)
        if reasons:
            yield Gradients(np.zeros(0, np.int64), np.zeros((0, self.settings.width), np.float32), reasons)
        usable = np.fromiter(targets, np.int64, len(targets))
        lengths = np.array([len(target.ids) for target in targets.values()])

        def forward(batch: np.ndarray) -> Gradients:
            rows = usable[batch]
            return _unit(rows, self._project([targets[row] for row in rows], feature))

        yield from run_batches(lengths, self._rule, forward)

    def _project(self, targets: Sequence[Target], feature: Feature) -> np.ndarray:
        """Run one batch forward and back, and project each layer's gradients as they arrive: (b, d) float32."""
        import torch

        model: Any = self.model.module
        source = model.get_input_embeddings()
        batch = Batch.of(targets, self.model.device)
        out = torch.zeros(len(targets), self.settings.width, device=self.model.device)

        def take(name: str, gradients: "torch.Tensor") -> None:
            self._projection.add(self._blocks[name], feature(name, gradients.flatten(1)), out)

        with per_sample_gradients(source, self.adapters.layers, batch.ids.shape, take) as backward:
            backward(sample_losses(model, batch).sum())
        return out.cpu().numpy()


def _targets(tokens: Sequence[Tokens], loss_from: Sequence[int] | None) -> tuple[dict[int, Target], dict[int, str]]:
    """Find the texts that have a loss, and the reasons why the others have none, both by number."""
    targets: dict[int, Target] = {}
    reasons: dict[int, str] = {}
    for row, (text, first) in enumerate(zip(tokens, loss_from or [0] * len(tokens), strict=True)):
        start, count = max(1, first), len(text.ids)
        if start < count:
            targets[row] = Target(text.ids, start)
        elif count < 2:
            reasons[row] = "its text has fewer than 2 tokens, so there is none to predict"
        else:
            reasons[row] = f"its text ends after {count} tokens, before any that is to be predicted"
    return targets, reasons


def _unit(rows: np.ndarray, values: np.ndarray) -> Gradients:
    """Scale every row to unit length, and report a reason where that is not possible."""
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    finite = np.isfinite(lengths)
    usable = finite & (lengths > 0)
    reasons = {
        int(row): f"the gradient of its loss is {'zero' if is_finite else 'not finite'}"
        for row, is_finite in zip(rows[~usable], finite[~usable], strict=True)
    }
    return Gradients(rows[usable], (values[usable] / lengths[usable, None]).astype(np.float32), reasons)
