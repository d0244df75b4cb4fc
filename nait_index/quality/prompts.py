"""What a causal model reads: the text before an answer in a template of the corpus, and token ids piece by piece.

Pieces are tokenised separately and then joined, so no piece ever has to be located in a longer text.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from nait_index.corpus import Template, make_template
from nait_index.corpus.templates import TextTemplate
from nait_index.types import Part


class _AskingTokenizer:
    """A tokenizer whose chat template ends where the assistant's answer begins."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - a Hugging Face tokenizer
        self._tokenizer = tokenizer
        self.chat_template = getattr(tokenizer, "chat_template", None)

    def get_chat_template(self) -> str:
        return str(self._tokenizer.get_chat_template())

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, chat_template: str, tokenize: Literal[False]
    ) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                conversation, chat_template=chat_template, tokenize=tokenize, add_generation_prompt=True
            )
        )


class Prompter:
    """Renders questions with a template of the corpus.

    :param name: as in :func:`~nait_index.corpus.make_template`. :param tokenizer: that of the model.
    :raises TemplateError: there is no such template.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:  # noqa: ANN401
        self._template: Template = make_template(name, _AskingTokenizer(tokenizer))
        # The plain template joins parts by newlines, so one goes between question and answer too.
        self._end = "\n" if isinstance(self._template, TextTemplate) else ""
        self.content_hash = self._template.content_hash
        self.adds_special_tokens = self._template.adds_special_tokens

    def render(self, question: Sequence[Part]) -> str:
        """Return the text that the answer directly follows.

        :raises RowTemplateError: the template has no place for these parts.
        """
        return self._template.render(question) + self._end


def piece(tokenizer: Any, text: str) -> np.ndarray:  # noqa: ANN401
    """Return the token ids (T,) int64 of a text, without special tokens around it."""
    ids = tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return np.asarray(ids, dtype=np.int64)


def begin_markers(tokenizer: Any) -> np.ndarray:  # noqa: ANN401
    """Return the token ids that the tokenizer puts before every text, such as ``<s>``; often none.

    What it puts after a text is left out: no answer follows an end marker.
    """
    text = "a"
    bare = piece(tokenizer, text).tolist()
    marked = tokenizer(text, return_attention_mask=False)["input_ids"]
    starts = [start for start in range(len(marked) - len(bare) + 1) if marked[start : start + len(bare)] == bare]
    return np.asarray(marked[: starts[0]] if starts else [], dtype=np.int64)


def longest_input(max_length: int, positions: int | None) -> int:
    """Return the longest input in tokens: the configured one, or what the model can read if that is less."""
    return max_length if positions is None else min(max_length, positions)
