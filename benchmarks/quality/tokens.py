"""Rows as tokens: ids, and which of them are the answer that fine-tuning learns to give.

A row's text is the one that the index reads (same template), with its end token. Fine-tuning is standard instruction
tuning: the loss counts on the answer, given the prompt; a row without a prompt counts whole. If a row is too long, the
end of its prompt is cut first, down to half the limit, and then the answer: otherwise languages that the tokenizer
spells byte by byte would have no answer left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nait_index.corpus import Template
from nait_index.types import Part, Role, Sample

BATCH_ROWS = 2000


@dataclass(frozen=True)
class TokenizedRows:
    """Rows end to end.

    :param ids: (T,) tokens; :param answer: (T,) whether a token is part of an answer.
    :param starts: (n + 1,) where each row starts; :param cut: (n,) whether its answer did not fit.
    """

    ids: np.ndarray
    answer: np.ndarray
    starts: np.ndarray
    cut: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def length(self, row: int) -> int:
        """Return the number of tokens of a row."""
        return int(self.starts[row + 1] - self.starts[row])

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of every row: (n,)."""
        lengths: np.ndarray = np.diff(self.starts)
        return lengths

    def save(self, path: Path) -> None:
        """Write them atomically."""
        partial = path.with_suffix(".part.npz")
        np.savez(partial, ids=self.ids, answer=self.answer, starts=self.starts, cut=self.cut)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "TokenizedRows":
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in ("ids", "answer", "starts", "cut")})


def tokenize(samples: Sequence[Sample], tokenizer: Any, template: Template, longest: int) -> TokenizedRows:  # noqa: ANN401
    """Tokenize rows, at most ``longest`` tokens each."""
    rows = list(_rows(samples, tokenizer, template))
    kept = [shortened(answer, longest) for _, answer in rows]
    return TokenizedRows(
        ids=np.concatenate([ids[places] for (ids, _), places in zip(rows, kept, strict=True)]).astype(np.int32),
        answer=np.concatenate([answer[places] for (_, answer), places in zip(rows, kept, strict=True)]),
        starts=np.concatenate([[0], np.cumsum([len(places) for places in kept])]).astype(np.int64),
        cut=np.array([places[-1] < len(ids) - 1 for (ids, _), places in zip(rows, kept, strict=True)]),
    )


def shortened(answer: np.ndarray, longest: int) -> np.ndarray:
    """Return the positions of the tokens to keep of a row, at most ``longest``, by which of them are the answer."""
    start = int(answer.argmax()) if answer.any() else len(answer)
    room = max(longest - (len(answer) - start), longest // 2)
    places = np.arange(len(answer))
    return places[(places < min(start, room)) | (places >= start)][:longest]


def answer_spans(text: str, parts: Sequence[Part]) -> list[tuple[int, int]]:
    """Find the answers in a rendered text, in characters; without a prompt, the whole text is an answer.

    A chat template may strip a part, so a part that does not occur verbatim is searched for stripped.
    """
    if not any(part.role in (Role.USER, Role.INPUT) for part in parts):
        return [(0, len(text))]
    spans, cursor = [], 0
    for part in parts:
        words = part.text if text.find(part.text, cursor) >= 0 else part.text.strip()
        start = text.find(words, cursor)
        if start < 0:
            raise ValueError(f"the template changed the {part.role} of a row; its answer cannot be located")
        cursor = start + len(words)
        if part.role is Role.ASSISTANT:
            spans.append((start, cursor))
    return spans


def _rows(
    samples: Sequence[Sample],
    tokenizer: Any,  # noqa: ANN401 - transformers is untyped here
    template: Template,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (ids, answer) of every row, including its end token."""
    for first in range(0, len(samples), BATCH_ROWS):
        batch = samples[first : first + BATCH_ROWS]
        texts = [template.render(sample.parts) for sample in batch]
        encoded = tokenizer(
            texts, return_offsets_mapping=True, add_special_tokens=template.adds_special_tokens, verbose=False
        )
        for sample, text, ids, offsets in zip(
            batch, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            yield _with_end(ids, offsets, answer_spans(text, sample.parts), tokenizer.eos_token_id)


def _with_end(
    ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]], end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mark the tokens of the answers, including the end token, so that the model learns to stop."""
    begins, ends = np.array(offsets).T
    answer = np.zeros(len(ids), dtype=bool)
    for first, last in spans:
        answer |= (ends > first) & (begins < last)
    if ids[-1] == end:
        return np.array(ids), answer
    return np.array([*ids, end]), np.append(answer, bool(spans))
