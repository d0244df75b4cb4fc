"""A model is tried on a few short texts when it is opened, before any row is read.

A text must have the same activations alone and in any batch. Some models let padding reach a text's tokens: they ignore
the attention mask, count positions from the left edge, or look at neighbouring tokens in a convolution. Where a padded
text differs from the same text alone by more than rounding, the other side is padded; where that differs too, a batch
holds texts of one length, or a single text. A model that fails, is not finite or changes by itself is refused.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nait_index.activations.batches import BatchRule, Sharing, is_out_of_memory, library_errors
from nait_index.config import PaddingSide
from nait_index.errors import ModelError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_TEXT = (
    "Add 17 and 25, then halve the sum. The answer is 21. Name three rivers of Europe, longest first: the Volga, the "
    "Danube, the Ural. None of them is in Spain."
)
_SHORT, _LONG = 7, 40
# How far the same text may differ, relative to its activations. Rounding makes 1e-6, 3e-3 and 3e-2 in models of 32
# layers; the smallest leak seen makes 0.1. On a GPU, convolutions in float32 may round like float16.
_ROUNDING = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
_SAME_SHAPE = 1e-3
"""How far a text may differ when only its neighbours change: batches of one shape are rounded alike."""

Parts = Mapping[str, np.ndarray]
"""What a text gets, by the name of the layer or output that it comes from."""

Run = Callable[[Sequence[np.ndarray], PaddingSide, int | None], Parts]
"""Runs a batch of texts (T_b,), padded on a side with a token (``None`` for the usual one), and returns the first
text's parts."""


@dataclass(frozen=True, slots=True)
class TrialTexts:
    """Texts (T,) of token ids: a short one, two others of its length, and two long ones of one length."""

    short: np.ndarray
    others: tuple[np.ndarray, np.ndarray]
    long: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, ids: Sequence[int], longest: int | None) -> "TrialTexts":
        """Cut them out of the tokens of one text, none longer than the longest input."""
        size = min(_LONG, longest or _LONG)
        long = np.resize(np.asarray(ids or [0], dtype=np.int64), size)
        width = max(1, min(_SHORT, size - 1))
        return cls(long[:width], (long[-width:], long[::-1][:width].copy()), (long[::-1].copy(), np.roll(long, 5)))


def trial_ids(tokenizer: Any, rule: BatchRule) -> list[int]:  # noqa: ANN401 - a tokenizer of transformers
    """Return the tokens of the text that every model is tried on, those that are put around it included."""
    with library_errors(rule, "tokenizer"):
        ids: list[int] = tokenizer(_TEXT, return_attention_mask=False, verbose=False)["input_ids"]
    return ids


def rounding_of(dtype: "torch.dtype", device: "torch.device") -> float:
    """Return how far the same text may differ in batches of other shapes."""
    name = str(dtype).removeprefix("torch.")
    return _ROUNDING["float16" if name == "float32" and device.type == "cuda" else name]


def settle(
    run: Run, texts: TrialTexts, rule: BatchRule, rounding: float, *, mixture: bool, either_side: bool = True
) -> BatchRule:
    """Try a model, and return the rule under which no text changes another.

    :param rule: with the side that is tried first. :param mixture: whether it is a mixture of experts, where rounding
        can send a token to another expert.
    :param either_side: whether texts may be padded on the other side.
    :raises ModelError: the model fails on a short text, or its activations are not finite or not always the same.
    """
    trial = _Trial(run, texts, rule, rounding, mixture)
    others = [side for side in PaddingSide if side is not rule.side and either_side]
    try:
        for side in (rule.side, *others):
            if trial.padding_is_harmless(side):
                if side is not rule.side:
                    logger.info("model %s: texts are padded on the %s, which changes nothing", rule.model, side)
                return replace(rule, side=side)
        sharing = trial.without_padding()
        cause = f"padding changes what model '{rule.model}' computes"
    except _NoRoomError:
        sharing = Sharing.ALONE
        cause = f"two short texts at once are too much for the memory that model '{rule.model}' leaves"
    consequence = "every row is run alone" if sharing is Sharing.ALONE else "only rows of equal length share a batch"
    logger.warning("%s, so %s; this is slower", cause, consequence)
    return replace(rule, sharing=sharing)


class _NoRoomError(Exception):
    """A batch of two short texts does not fit into memory."""


class _Trial:
    """One model's trial; ``alone`` is what the short text gets by itself."""

    def __init__(self, run: Run, texts: TrialTexts, rule: BatchRule, rounding: float, mixture: bool) -> None:
        self._run, self._texts, self._rule = run, texts, rule
        self._rounding, self._mixture = rounding, mixture
        self._alone = self._run_alone()
        for name, part in self._alone.items():
            if not np.isfinite(part).all():
                raise ModelError(
                    f"the activations of model '{rule.model}' are not finite, on a short text in {name} already; "
                    f"{rule.remedy}"
                )

    def padding_is_harmless(self, side: PaddingSide) -> bool:
        """Report whether the short text stays the same beside a long one, whatever the padding and the neighbour."""
        short, (first, second) = self._texts.short, self._texts.long
        padded = self._attempt([short, first], side)
        if not self._same(self._alone, padded, self._rounding):
            return False
        if self._rounding <= _SAME_SHAPE or self._mixture:
            return True
        return self._same(padded, self._attempt([short, second], side, int(first[0])), _SAME_SHAPE)

    def without_padding(self) -> Sharing:
        """Report whether texts of one length may share a batch.

        :raises ModelError: the same text, alone, gets other numbers the second time.
        """
        if not self._same(self._alone, self._run_alone(), _SAME_SHAPE):
            raise ModelError(
                f"model '{self._rule.model}' computes something else every time it reads the same text, so no rows "
                "can be compared; name another with --model"
            )
        short, (first, second) = self._texts.short, self._texts.others
        beside = self._attempt([short, first])
        alike = self._same(beside, self._attempt([short, second]), self._rounding if self._mixture else _SAME_SHAPE)
        return Sharing.ONE_LENGTH if alike and self._same(self._alone, beside, self._rounding) else Sharing.ALONE

    def _run_alone(self) -> Parts:
        with library_errors(self._rule):
            return self._run([self._texts.short], self._rule.side, None)

    def _attempt(
        self, texts: Sequence[np.ndarray], side: PaddingSide = PaddingSide.RIGHT, token: int | None = None
    ) -> Parts | None:
        """Run a batch; ``None`` if the model cannot."""
        try:
            return self._run(texts, side, token)
        except Exception as error:  # a model that cannot run batches runs its texts alone
            if is_out_of_memory(error):
                raise _NoRoomError from error
            logger.debug("model %s cannot run the batch: %s", self._rule.model, error)
            return None

    def _same(self, expected: Parts | None, given: Parts | None, tolerance: float) -> bool:
        if expected is None or given is None:
            return False
        differences = [_difference(part, given[name]) for name, part in expected.items()]
        worst = np.median(differences) if self._mixture else np.max(differences)
        return bool(worst <= tolerance)


def _difference(expected: np.ndarray, given: np.ndarray) -> float:
    """Return ‖expected − given‖ / ‖expected‖."""
    left, right = expected.astype(np.float64), given.astype(np.float64)
    size, distance = np.linalg.norm(left), np.linalg.norm(left - right)
    if not np.isfinite(distance):
        return np.inf
    return float(distance / size) if size else float(distance > 0)
