"""Texts in batches: similar lengths together, padded to rectangles, halved where memory runs out.

Neurons, likelihoods, gradients and the tokens of a sparse autoencoder all run through :func:`run_batches`, each with a
forward function of its own.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nait_index.config import PaddingSide
from nait_index.errors import ModelError, NaitError, one_line

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")
# With today's vocabularies, the logits of a batch are by far its largest tensor.
_LOGITS_BYTES = 2**30


class Sharing(StrEnum):
    """Which texts may share a forward pass, so that none of them changes the numbers of another."""

    ANY_LENGTH = "any length"
    ONE_LENGTH = "one length"
    ALONE = "alone"


@dataclass(frozen=True, slots=True)
class BatchRule:
    """How the texts of one model are run together.

    :param model: its name, for messages. :param remedy: what to try where its forward pass fails.
    :param tokens: most tokens of a batch, padding counted. :param sharing: which texts share a batch.
    :param side: the side that is padded.
    """

    model: str
    remedy: str
    tokens: int
    sharing: Sharing = Sharing.ANY_LENGTH
    side: PaddingSide = PaddingSide.RIGHT


@dataclass(frozen=True, slots=True)
class Target:
    """A text and which of its tokens count in the loss.

    :param ids: (T,) int64 token ids. :param start: first token that counts, from 1 to T − 1.
    """

    ids: np.ndarray
    start: int


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """What a training step reads of a text, and which of its tokens count in the loss: those of the answers.

    :param ids: (T,) int64 token ids. :param counts: (T,) bool. :param is_cut: whether its end did not fit.
    """

    ids: np.ndarray
    counts: np.ndarray
    is_cut: bool = False

    @property
    def answer_length(self) -> int:
        """Number of tokens that count."""
        return int(self.counts.sum())


def token_budget(
    batch_tokens: int | None, device: "torch.device", *, on_gpu: int = 65_536, vocabulary: int | None = None
) -> int:
    """Decide how many tokens a batch may have, padding counted.

    :param batch_tokens: as set by the user; ``None`` is 2,048 on a CPU and ``on_gpu`` on a GPU.
    :param vocabulary: of a model whose logits are computed at every token; they may take a gigabyte.
    """
    tokens = batch_tokens or (on_gpu if device.type == "cuda" else 2_048)
    return tokens if vocabulary is None else min(tokens, _LOGITS_BYTES // (4 * vocabulary))


def run_batches(
    lengths: np.ndarray,
    rule: BatchRule,
    forward: Callable[[np.ndarray], Result],
    on_failure: Callable[[int, Exception], Result] | None = None,
) -> Iterator[Result]:
    """Run every text once, similar lengths together, and yield a result for every batch or part of one that ran.

    :param lengths: (n,) tokens of each text.
    :param forward: runs the texts with the given numbers (b,). A call that fails must leave no effect.
    :param on_failure: returns the result of a single text that failed. With it, a batch is halved on every error that
        one of its texts may have caused; without it, only when memory runs out.
    :raises ModelError: a single text does not fit into memory, or a library fails in the forward pass.
    """
    import torch

    waiting = deque(plan_batches(lengths, rule.tokens, rule.sharing))
    while waiting:
        rows = waiting.popleft()
        results: list[Result] = []
        failed = False
        try:
            results.append(forward(rows))
        except NaitError:
            raise
        except Exception as error:
            if on_failure is None and not is_out_of_memory(error):
                raise failure_of(rule, error) from error
            failed = True
            if len(rows) > 1:
                waiting.extendleft(reversed(np.array_split(rows, 2)))
            elif on_failure is not None:
                results.append(on_failure(int(rows[0]), error))
            else:
                length = lengths[rows[0]]
                raise ModelError(f"out of memory on a single text of {length} tokens; lower --max-length") from error
        # Outside the handler, so that the traceback no longer holds the failed batch's tensors.
        if failed and torch.cuda.is_available():
            torch.cuda.empty_cache()
        if results:
            yield results.pop()  # so that it is not held while the next batch runs


def plan_batches(lengths: np.ndarray, budget: int, sharing: Sharing = Sharing.ANY_LENGTH) -> Iterator[np.ndarray]:
    """Group texts of similar length into batches of at most ``budget`` tokens, padding counted; longest first.

    :param lengths: (n,) tokens of each text. A text longer than the budget is a batch by itself.
    :param sharing: with ``ONE_LENGTH``, no batch needs padding.
    :returns: (b,) row numbers of each batch; together every row once. Depends on the lengths alone.
    """
    order = np.argsort(-lengths, kind="stable")
    descending = -lengths[order]
    start = 0
    while start < len(order):
        size = 1 if sharing is Sharing.ALONE else max(1, budget // -int(descending[start]))
        if sharing is Sharing.ONE_LENGTH:
            size = min(size, int(np.searchsorted(descending, descending[start], side="right")) - start)
        yield order[start : start + size]
        start += size


@contextmanager
def library_errors(rule: BatchRule, part: str = "forward pass") -> Iterator[None]:
    """Turn whatever a library raises inside a part of a model into one line that names the model and a remedy.

    :raises ModelError: a library raised something.
    """
    try:
        yield
    except NaitError:
        raise
    except Exception as error:
        raise failure_of(rule, error, part) from error


def failure_of(rule: BatchRule, error: Exception, part: str = "forward pass") -> ModelError:
    """Describe what a library raised inside a part of a model, in one line."""
    if is_out_of_memory(error):
        return ModelError(f"out of memory while running model '{rule.model}'; lower --batch-tokens or --max-length")
    text = one_line(error)
    kind = type(error).__name__
    reason = text if text == kind else f"{kind}: {text}"
    return ModelError(f"model '{rule.model}' failed in its {part} ({reason}); {rule.remedy}")


def is_out_of_memory(error: Exception) -> bool:
    """Decide whether memory ran out; on a CPU, only torch's message shows it."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text
        or "can't allocate memory" in text
        or "cannot allocate memory" in text
        or "alloc_failed" in text  # cuBLAS and cuDNN
    )


def check_known(texts: Iterable[np.ndarray], vocabulary: int | None, name: str) -> None:
    """Refuse tokens that the model has no embedding for: on a GPU they would crash the process.

    :param texts: (T,) token ids each; :param vocabulary: number of tokens that have an embedding, where known.
    :param name: of the model.
    :raises ModelError: there is such a token.
    """
    largest = max((int(ids.max(initial=0)) for ids in texts), default=0)
    if vocabulary is not None and largest >= vocabulary:
        raise ModelError(
            f"the tokenizer produces token {largest}, but the model has embeddings for {vocabulary} tokens only; "
            f"model and tokenizer of '{name}' do not belong together"
        )


def pad(
    texts: Sequence[np.ndarray], token: int = 0, side: PaddingSide = PaddingSide.RIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """Pad texts (T_b,) of token ids to the length of the longest.

    :param token: id to pad with; :param side: where to pad.
    :returns: ids (B, T) int64, and the mask (B, T) int64, 1 for a text's tokens and 0 for padding.
    """
    padded = np.full((len(texts), max(map(len, texts))), token, dtype=np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(texts):
        span = slice(0, len(ids)) if side is PaddingSide.RIGHT else slice(-len(ids), None)
        padded[row, span], mask[row, span] = ids, 1
    return padded, mask


def start_copies(tensors: "Sequence[torch.Tensor | None]") -> Callable[[], list[np.ndarray | None]]:
    """Start copying tensors to the host, from a GPU in the background; return the function that waits for arrays."""
    import torch

    copies = [None if tensor is None else _start_copy(tensor) for tensor in tensors]
    event = None
    if any(tensor is not None and tensor.is_cuda for tensor in tensors):
        event = torch.cuda.Event()
        event.record()

    def finish() -> list[np.ndarray | None]:
        if event is not None:
            event.synchronize()
        return [None if copy is None else copy.numpy() for copy in copies]

    return finish


def _start_copy(tensor: "torch.Tensor") -> "torch.Tensor":
    import torch

    if not tensor.is_cuda:
        return tensor.cpu()
    # The copy runs in the stream that reuses the GPU's memory, so that memory is not overwritten before it is done.
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def finish_late(started: Iterable[Callable[[], Result]], depth: int) -> Iterator[Result]:
    """Finish each batch only after ``depth`` more were started, so that the device is busy meanwhile.

    :param started: yields, for every batch it starts, the function that waits for it and returns its result.
    """
    waiting: list[Callable[[], Result]] = []
    for finish in started:
        waiting.append(finish)
        if len(waiting) > depth:
            yield waiting.pop(0)()
    for finish in waiting:
        yield finish()
