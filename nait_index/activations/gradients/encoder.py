"""Texts to projected gradients, the features of LESS: Xia et al., ICML 2024, arXiv 2402.04333.

With g = ∇ℓ the gradient of a text's mean next-token loss with respect to the adapters' weights, and m, v Adam's moments
after the warm-up (section 3.1, and ``obtain_gradients_with_adam`` in the authors' code):

    example   g
    row       Γ = m' / √(v' + ε)      m' = β1·m + (1 − β1)·g      v' = β2·v + (1 − β2)·g²

that is, a row's feature is the step that Adam would take on it. The paper also corrects both moments for their start,
the code does not: it scales all rows alike, which unit length undoes. Both features are projected to d numbers (section
4.1) and scaled to unit length, so that an inner product of features estimates the cosine of two gradients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.causal import LoadedCausal, load_causal
from nait_index.activations.encoder import Tokens, check_known, plan_batches
from nait_index.activations.gradients.adapters import Adapters, GradientSettings
from nait_index.activations.gradients.next_token import Batch, Target, refuse_large, sample_losses
from nait_index.activations.gradients.per_sample import per_sample_gradients
from nait_index.activations.gradients.projection import Projection
from nait_index.activations.gradients.warmup import BETAS, EPSILON, Warmup, warm_up
from nait_index.activations.halving import run_halving
from nait_index.config import ModelConfig
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

Feature = Callable[[str, "torch.Tensor"], "torch.Tensor"]
"""What becomes of the gradients (B, p) of one weight, given by its path, before they are projected."""

# Logits and their gradients: with the vocabularies of today the largest tensors of a batch by far.
_LOGITS_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Gradients:
    """Projected gradients of some texts.

    :param rows: (b,) which of the given texts; :param values: (b, d) float32, of unit length.
    :param reasons: by number, why other texts have none.
    """

    rows: np.ndarray
    values: np.ndarray
    reasons: Mapping[int, str]


class GradientEncoder:
    """A causal model with adapters, ready to turn texts into gradients. Close it when done (context manager).

    A text is given as tokens, together with the first token that counts in its loss where that is not the second: LESS
    counts the completion only, and has rows whose prompt is known.

    :raises ModelError: the model is not a causal language model. :raises NaitError: PEFT is not installed.
    """

    def __init__(
        self,
        config: ModelConfig,
        settings: GradientSettings,
        model: LoadedCausal | None = None,
    ) -> None:
        """Put adapters into the model.

        :param model: one that is loaded already; it keeps the adapters.
        """
        self.settings = settings
        self.model = load_causal(config) if model is None else model
        self.adapters = Adapters(self.model.model, settings)
        self._name = config.name
        tokens = config.batch_tokens or (8_192 if self.model.device.type == "cuda" else 2_048)
        self._budget = min(tokens, _LOGITS_BYTES // (4 * (self.model.vocabulary or 1)))
        self._projection = Projection(settings.width, settings.seed, self.model.device)
        self._blocks = {name: number for number, name in enumerate(self.adapters.layers)}
        self._moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __enter__(self) -> "GradientEncoder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the moments; the model goes with the last reference to it."""
        self._moments = {}

    def warm_up(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Warmup:
        """Train the adapters on some texts, and precondition rows by the moments of that from then on.

        :returns: what :meth:`restore` needs to give the same gradients again.
        :raises ModelError: no text can be trained on.
        """
        check_known(tokens, self.model.vocabulary, self._name)
        targets, _ = _targets(tokens, loss_from)
        made = warm_up(self.model.model, self.adapters, list(targets.values()), self.settings, self._budget)
        self.restore(made)
        return made

    def restore(self, warmup: Warmup) -> None:
        """Go back to where a warm-up ended.

        :raises ModelError: it is that of another model or of other settings.
        """
        import torch

        self.adapters.load(warmup.weights)
        device = self.model.device
        self._moments = {
            name: (
                torch.tensor(warmup.first[name], device=device).flatten(),
                torch.tensor(warmup.second[name], device=device).flatten(),
            )
            for name in self.adapters.layers
        }

    def rows(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Iterator[Gradients]:
        """Give the features of corpus rows, batch by batch: Adam's steps.

        :param loss_from: for every text, the number of the first token that counts.
        :raises ModelError: there was no warm-up, or a single text does not fit into memory.
        """
        return self._encode(tokens, loss_from, self._adam_step)

    def examples(self, tokens: Sequence[Tokens], loss_from: Sequence[int] | None = None) -> Iterator[Gradients]:
        """Give the features of examples, batch by batch: plain gradients.

        :param loss_from: for every text, the number of the first token that counts.
        :raises ModelError: there was no warm-up, or a single text does not fit into memory.
        """
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
            raise ModelError("the adapters have not been warmed up: their gradients say little before")
        check_known(tokens, self.model.vocabulary, self._name)
        targets, reasons = _targets(tokens, loss_from)
        if reasons:
            yield Gradients(np.zeros(0, np.int64), np.zeros((0, self.settings.width), np.float32), reasons)
        usable = np.fromiter(targets, np.int64, len(targets))
        lengths = np.array([len(target.ids) for target in targets.values()])

        def run(rows: np.ndarray) -> Gradients:
            return _unit(rows, self._project([targets[row] for row in rows], feature))

        for batch in plan_batches(lengths, self._budget):
            yield from run_halving(usable[batch], run, refuse_large)

    def _project(self, targets: Sequence[Target], feature: Feature) -> np.ndarray:
        """Run one batch forward and back, and project each layer's gradients as they come: (b, d) float32."""
        import torch

        model: Any = self.model.model
        batch = Batch.of(targets, self.model.device)
        out = torch.zeros(len(targets), self.settings.width, device=self.model.device)

        def take(name: str, gradients: "torch.Tensor") -> None:
            self._projection.add(self._blocks[name], feature(name, gradients.flatten(1)), out)

        with per_sample_gradients(model.get_input_embeddings(), self.adapters.layers, batch.shape, take) as backward:
            backward(sample_losses(model, batch).sum())
        return out.cpu().numpy()


def _targets(tokens: Sequence[Tokens], loss_from: Sequence[int] | None) -> tuple[dict[int, Target], dict[int, str]]:
    """Tell which texts have a loss, and of the others why they have none, both by number."""
    targets: dict[int, Target] = {}
    reasons: dict[int, str] = {}
    for row, (own, first) in enumerate(zip(tokens, loss_from or [0] * len(tokens), strict=True)):
        start = max(1, first)
        if start < len(own.ids):
            targets[row] = Target(own.ids, start)
        elif len(own.ids) < 2:
            reasons[row] = "its text has fewer than 2 tokens, so there is none to predict"
        else:
            reasons[row] = f"its text ends after {len(own.ids)} tokens, before any that is to be predicted"
    return targets, reasons


def _unit(rows: np.ndarray, values: np.ndarray) -> Gradients:
    """Scale every row to unit length, and give a reason where that is not possible."""
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    finite = np.isfinite(lengths)
    usable = finite & (lengths > 0)
    reasons = {
        int(row): f"the gradient of its loss is {'zero' if known else 'not finite'}"
        for row, known in zip(rows[~usable], finite[~usable], strict=True)
    }
    return Gradients(rows[usable], (values[usable] / lengths[usable, None]).astype(np.float32), reasons)
