"""Rows as token ids, and which of them are the answer that fine-tuning learns to give.

A row's text is the one that the index reads (same template), with its end token. Fine-tuning is standard instruction
tuning: the loss counts on the answer, given the prompt; a row without a prompt counts whole. If a row is too long, the
end of its prompt is cut first, down to half the limit, and then the answer: otherwise languages that the tokenizer
spells byte by byte would have no answer left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nait_index.corpus import Template
from nait_index.errors import CorpusError
from nait_index.types import Part, Role, Sample

Span = tuple[int, int]
"""Where a piece of a text begins and ends, in characters."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row as a model is trained or measured on it.

    :param ids: (T,) int64 token ids. :param answer: (T,) bool, whether a token is to be predicted.
    :param is_cut: whether the answer did not fit.
    """

    ids: np.ndarray
    answer: np.ndarray
    is_cut: bool = False

    @property
    def answer_tokens(self) -> int:
        """Number of tokens to predict."""
        return int(self.answer.sum())


@dataclass(frozen=True, slots=True)
class LessonMaker:
    """Turns samples into lessons.

    :param tokenizer: of transformers, a fast one. :param longest: most tokens of a lesson.
    """

    tokenizer: Any
    template: Template
    longest: int

    def lessons(self, samples: Sequence[Sample]) -> list[Lesson]:
        """Tokenise samples.

        :raises CorpusError: the template changes the answer of one so that it cannot be located.
        """
        texts = [self.template.render(sample.parts) for sample in samples]
        special = self.template.adds_special_tokens
        encoded = self.tokenizer(texts, return_offsets_mapping=True, add_special_tokens=special, verbose=False)
        lessons = []
        for sample, text, ids, offsets in zip(
            samples, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            try:
                spans = answer_spans(text, sample.parts)
            except ValueError as error:
                raise CorpusError(f"{sample.origin}: {error}") from None
            lessons.append(self._lesson(ids, offsets, spans))
        return lessons

    def _lesson(self, ids: Sequence[int], offsets: Sequence[Span], spans: Sequence[Span]) -> Lesson:
        """Mark the tokens of the answers, and the end token, so that the model learns to stop; then shorten."""
        begins, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
        tokens, answer = np.array(ids, dtype=np.int64), np.zeros(len(ids), dtype=bool)
        for first, last in spans:
            answer |= (ends > first) & (begins < last)
        end = self.tokenizer.eos_token_id
        if end is not None and (not len(tokens) or tokens[-1] != end):
            tokens, answer = np.append(tokens, end), np.append(answer, bool(spans))
        answer[:1] = False  # nothing comes before the first token that could predict it
        places = kept_places(answer, self.longest)
        return Lesson(tokens[places], answer[places], is_cut=bool(len(places)) and places[-1] < len(tokens) - 1)


def kept_places(answer: np.ndarray, longest: int) -> np.ndarray:
    """Return the positions of the tokens to keep of a row, at most ``longest``, by which of them are the answer."""
    start = int(answer.argmax()) if answer.any() else len(answer)
    room = max(longest - (len(answer) - start), longest // 2)
    places = np.arange(len(answer))
    return places[(places < min(start, room)) | (places >= start)][:longest]


def answer_spans(text: str, parts: Sequence[Part]) -> list[Span]:
    """Find the answers in a rendered text, in characters; without a prompt, the whole text is an answer.

    A chat template may strip a part, so a part that does not occur verbatim is searched for stripped.

    :raises ValueError: the template changed a part.
    """
    if not any(part.role in (Role.USER, Role.INPUT) for part in parts):
        return [(0, len(text))]
    spans, cursor = [], 0
    for part in parts:
        words = part.text if text.find(part.text, cursor) >= 0 else part.text.strip()
        start = text.find(words, cursor)
        if start < 0:
            raise ValueError(f"the template changed its {part.role} part, so its answer cannot be located")
        cursor = start + len(words)
        if part.role is Role.ASSISTANT:
            spans.append((start, cursor))
    return spans
